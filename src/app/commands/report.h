// The end of a run: the summary object of conventions 2b out of its result lines, and its tables.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace colony::app {

struct RunTotals {
  std::string run, ledger;
  int64_t tasks = 0;       // of the whole run
  int64_t nodes = 1;
  double seconds = 0;      // of this process
  uint64_t tokens_here = 0;       // prompt and completion tokens, this process
  int64_t tasks_here = 0;         // made final by this process
  uint64_t peak_bytes = 0;
  std::vector<std::pair<std::string, std::string>> not_hosted;  // (agent, reason)
  std::vector<std::string> news;                                // of agents edited meanwhile, a line each
  struct Gossip {
    uint64_t messages = 0, records = 0, bytes = 0;
  } gossip;  // between the nodes, this process
};

// `results`: (index, result line), ascending. A failed task that has a check counts 0. Of an agent: the tasks it worked on and those of them
// at which it failed by its own fault, which count 0; seconds of work are those of all attempts, which overlap. first_tenth and last_tenth are mean successes over the
// first and the last tenth of the scored tasks in order; null when fewer than ten are scored. division_of_labour: of the
// last thousand with a kind and an agent (swarm/specialisation.h).
Json make_summary(const RunTotals& totals, const std::vector<std::pair<int64_t, Json>>& results);

// The tables a person reads.
std::string report(const Json& summary);

}  // namespace colony::app
