// colony replay-outcomes --synthetic load, newcomer: parts of the swarm with and without, where they act (swarm/parts_bench.h).
#pragma once
#include <cstdint>
#include <string>

#include "base/result.h"

namespace colony::app {

// "load": agents with queues, at three loads on four nodes and on one node. "newcomer": few of many agents are asked, and a good one is born.
bool is_parts_bench(const std::string& variant);
// Prints a table a load, or one JSON line a row; paired with the first row of each, by seed. Needs is_parts_bench().
Result<int> run_parts_bench(const std::string& variant, uint64_t seeds, uint64_t first_seed, bool json);

}  // namespace colony::app
