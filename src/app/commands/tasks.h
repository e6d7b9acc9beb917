// A task file with its checks made, as run and eval read it.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/check.h"
#include "data/task_line.h"

namespace colony::app {

struct CheckedTasks {
  data::TaskFile file;   // tasks whose check cannot be made have moved to its problems
  std::vector<std::shared_ptr<const data::Check>> checks;  // one a task; null: not scored
};

// Says on standard error which lines are bad. Fails when the file cannot be read or no task is left.
Result<CheckedTasks> read_checked_tasks(const std::string& path);
// Bytes that came through a pipe; `name` is for messages. Files of checks are looked for in the current folder. May have no task.
Result<CheckedTasks> checked_tasks_of(std::string_view bytes, const std::string& name);

// The checks of tasks, each made once.
class CheckMaker {
 public:
  explicit CheckMaker(std::filesystem::path folder) : folder_(std::move(folder)) {}
  // Null for a task without one. Fails when it cannot be made, or misses something in the task.
  Result<std::shared_ptr<const data::Check>> of(const data::TaskLine& task);

 private:
  std::filesystem::path folder_;
  std::map<std::string, Result<std::shared_ptr<const data::Check>>> made_;  // by spec
};

}  // namespace colony::app
