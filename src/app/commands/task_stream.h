// Task lines through a pipe: taken as they come, and kept in a file, so that the run can go on later.
#pragma once
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "app/commands/tasks.h"

namespace colony::app {

// Threads: one owner.
class TaskStream {
 public:
  // `file`: a pipe, or "-" for standard input. `kept`: made here.
  static Result<std::unique_ptr<TaskStream>> open(const std::string& file, const std::filesystem::path& kept);
  ~TaskStream();

  struct Task {
    data::TaskLine line;
    std::shared_ptr<const data::Check> check;
  };
  // The next good task, or nothing when none came within `wait` or the input has ended. Bad lines are said on standard error and counted.
  // A line is in the file before it is a task here.
  Result<std::optional<Task>> next(std::chrono::milliseconds wait);
  bool ended() const;
  size_t problems() const;

 private:
  TaskStream();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace colony::app
