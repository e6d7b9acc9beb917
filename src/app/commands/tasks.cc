#include "app/commands/tasks.h"

#include <algorithm>

#include "agent/script_sandbox.h"
#include "app/console.h"

namespace colony::app {
namespace {

CheckedTasks with_checks(data::TaskFile read, const std::string& name) {
  CheckedTasks out;
  CheckMaker checks(read.folder);
  std::vector<data::TaskLine> good;
  for (auto& task : read.tasks) {
    auto check = checks.of(task);
    if (!check) {
      read.problems.push_back({task.line, std::move(check).error().message});
      continue;
    }
    good.push_back(std::move(task));
    out.checks.push_back(std::move(*check));
  }
  read.tasks = std::move(good);
  std::sort(read.problems.begin(), read.problems.end(), [](const auto& a, const auto& b) { return a.line < b.line; });  // a line has one
  constexpr size_t kTold = 20;
  for (size_t i = 0; i < read.problems.size() && i < kTold; ++i) note("{}:{}: {}", name, read.problems[i].line, read.problems[i].reason);
  if (read.problems.size() > kTold) note("… and {} more bad lines", read.problems.size() - kTold);
  out.file = std::move(read);
  return out;
}

}  // namespace

Result<std::shared_ptr<const data::Check>> CheckMaker::of(const data::TaskLine& task) {
  static const SystemClock clock;  // scripts keep it
  if (task.check.empty()) return std::shared_ptr<const data::Check>();
  auto at = made_.find(task.check);
  if (at == made_.end()) at = made_.emplace(task.check, data::Check::make(task.check, folder_, agent::make_script_check(clock))).first;
  if (!at->second) return at->second.error();
  // An empty output finds what a check needs of the task and does not have: a number in the answer, say.
  if (!task.check.starts_with("script:")) {
    if (auto tried = (*at->second)->score(task, ""); !tried) return std::move(tried).error();
  }
  return *at->second;
}

Result<CheckedTasks> read_checked_tasks(const std::string& path) {
  ASSIGN_OR_RETURN(data::TaskFile read, data::read_tasks(path));
  CheckedTasks out = with_checks(std::move(read), path == "-" ? "standard input" : path);
  if (out.file.tasks.empty()) return invalid("{}: no task in it can be run ({} bad lines)", path, out.file.problems.size());
  return out;
}

Result<CheckedTasks> checked_tasks_of(std::string_view bytes, const std::string& name) {
  if (bytes.empty()) return CheckedTasks();
  ASSIGN_OR_RETURN(data::TaskFile read, data::parse_tasks(bytes, ""));
  return with_checks(std::move(read), name);
}

}  // namespace colony::app
