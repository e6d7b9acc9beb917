// colony replay-outcomes: recorded outcomes streamed through the swarm as it serves, beside central baselines.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "app/options.h"
#include "base/result.h"

namespace colony::app {

struct ReplayOptions {
  std::string folder;      // "": the synthetic bench
  std::string synthetic;   // its variant
  std::string policies = "colony";  // comma-separated, or "all"
  uint64_t seeds = 5, first_seed = 1;
  std::string pool = "all";  // or "small"
  std::string scores = "scores.csv";
  std::string places = "auto";  // file, model, tokens
  bool labels = false, drift = false, arrival = false;
  int nodes = 1;
  uint64_t tasks = 0;      // 0: all
  std::string ablate;      // switched off in the colony, comma-separated
  bool ablations = false;  // the colony once more without each switch
  double cost_weight = 0;  // what tokens cost a bid
  uint64_t gate = 0;       // questions held out as every agent's test
  bool own_test = false;   // and the test is the home's own, not brought along
  std::string home;
  ModelOptions model;      // for places without embeddings.f16
  bool json = false;
};

// Whether the options go together and name what there is. Fails kInvalid (wrong usage).
Status check_usage(const ReplayOptions& options);

// Prints a table, or one JSON line a policy (conventions 2b). Needs check_usage().
Result<int> run_replay_outcomes(const ReplayOptions& options);

}  // namespace colony::app
