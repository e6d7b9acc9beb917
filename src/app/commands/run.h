// colony run: a stream of tasks through the colony, its report, and going on after a stop.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "app/options.h"
#include "base/result.h"

namespace colony::app {

struct RunOptions {
  std::string file;              // task lines; "-" = standard input (kept under HOME/inputs)
  std::string out;               // result lines; "-" = standard output, "" = that for "-", else HOME/runs/<run>/results.jsonl
  std::string home;              // "" = COLONY_HOME or ~/.local/share/colony
  std::string agents;            // folder; "" = found as find_agents says
  std::vector<std::string> only; // these agents only
  ModelOptions model;
  int max_tokens = 256;
  int nodes = 1;
  int attempts = 3;              // agents that may fail at one task
  bool full = false;             // result lines have prompt, expected and raw too
  uint64_t seed = 0;
  bool shuffle = false;
  bool raw = false;
  bool quorum = false;           // votes instead of one answer a task
  bool gossip = true;            // nodes share what they learn
  bool tested = true;            // new agents begin with what they showed in tests
  bool priors = true;            // and lean to tasks like what they say of themselves
  std::string held_out;          // tasks on which new agents are tested before the stream; "" = they are not
  std::vector<std::string> route;  // kind=agent: tasks of that kind go to that agent
  std::optional<double> half_life_days;  // of what was learned; unset: it does not fade with time
  std::optional<uint64_t> budget_tokens;
  std::optional<double> deadline_seconds;
  bool streamed = false;         // file is what was kept of a pipe
  std::string resume;            // "" = a new run; "last" or a run's name
  bool json = false;
  std::vector<std::string> given;  // the options that were said, as "--seed"
};

// Results go to --out in the order of the input, each as soon as all before it are final when --out is "-".
Result<int> run_run(RunOptions options);

}  // namespace colony::app
