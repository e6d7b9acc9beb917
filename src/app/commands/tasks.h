// A task file with its checks made, as run and eval read it.
#pragma once
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

}  // namespace colony::app
