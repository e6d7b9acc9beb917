// colony run, runs: a stream of tasks through the colony, its report, and going on after a stop.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "app/options.h"
#include "base/result.h"

namespace colony::app {

struct RunOptions {
  std::string file;              // task lines; "-" = standard input (kept in the run's folder)
  std::string out;               // result lines; "" = HOME/runs/<run>/results.jsonl
  std::string home;              // "" = COLONY_HOME or ~/.local/share/colony
  std::string agents;            // folder; "" = found as find_agents says
  std::vector<std::string> only; // these agents only
  ModelOptions model;
  int max_tokens = 256;
  int nodes = 1;
  uint64_t seed = 0;
  bool shuffle = false;
  bool raw = false;
  bool quorum = false;           // votes instead of one answer a task
  bool gossip = true;            // nodes share what they learn
  bool tested = true;            // new agents begin with what they showed in tests
  std::optional<double> half_life_days;  // of what was learned; unset: it does not fade with time
  std::optional<uint64_t> budget_tokens;
  std::optional<double> deadline_seconds;
  std::string resume;            // "" = a new run; "last" or a run's name
  bool json = false;
  std::vector<std::string> given;  // the options that were said, as "--seed"
};

Result<int> run_run(RunOptions options);
Result<int> run_runs(const std::string& home, bool json);

}  // namespace colony::app
