// colony runs, runs show, why: what the ledger has of runs and of a task.
#pragma once
#include <string>

#include "base/result.h"

namespace colony::app {

Result<int> run_runs(const std::string& home, bool json);
// A run's report again, from its result lines. `run`: a name, or "last".
Result<int> run_runs_show(const std::string& home, const std::string& run, bool json);
// The story of one task: who bid, why it went where it went, who tried, the answer, its check, what it cost. `task`: its id, else its place in
// the run from 0. Prompt and expected answer are read from the run's task file, where that is as it was; the ledger keeps no prompt.
Result<int> run_why(const std::string& home, const std::string& run, const std::string& task, bool json);

}  // namespace colony::app
