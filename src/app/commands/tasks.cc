#include "app/commands/tasks.h"

#include <algorithm>
#include <map>

#include "agent/script_sandbox.h"
#include "app/console.h"

namespace colony::app {

Result<CheckedTasks> read_checked_tasks(const std::string& path) {
  static const SystemClock clock;  // scripts keep it
  ASSIGN_OR_RETURN(data::TaskFile read, data::read_tasks(path));
  CheckedTasks out;
  std::map<std::string, Result<std::shared_ptr<const data::Check>>> made;  // by spec
  std::vector<data::TaskLine> good;
  for (auto& task : read.tasks) {
    std::shared_ptr<const data::Check> check;
    if (!task.check.empty()) {
      auto at = made.find(task.check);
      if (at == made.end()) at = made.emplace(task.check, data::Check::make(task.check, read.folder, agent::make_script_check(clock))).first;
      if (!at->second) {
        read.problems.push_back({task.line, at->second.error().message});
        continue;
      }
      check = *at->second;
      // An empty output finds what a check needs of the task and does not have: a number in the answer, say.
      if (!task.check.starts_with("script:")) {
        if (const auto tried = check->score(task, ""); !tried) {
          read.problems.push_back({task.line, tried.error().message});
          continue;
        }
      }
    }
    good.push_back(std::move(task));
    out.checks.push_back(std::move(check));
  }
  read.tasks = std::move(good);
  std::sort(read.problems.begin(), read.problems.end(), [](const auto& a, const auto& b) { return a.line < b.line; });  // a line has one
  constexpr size_t kTold = 20;
  for (size_t i = 0; i < read.problems.size() && i < kTold; ++i) {
    note("{}:{}: {}", path == "-" ? "standard input" : path, read.problems[i].line, read.problems[i].reason);
  }
  if (read.problems.size() > kTold) note("… and {} more bad lines", read.problems.size() - kTold);
  if (read.tasks.empty()) return invalid("{}: no task in it can be run ({} bad lines)", path, read.problems.size());
  out.file = std::move(read);
  return out;
}

}  // namespace colony::app
