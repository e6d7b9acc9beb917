// colony bench swarm: time of a decision and of a deposit, and memory, at 10 to 10,000 agents on one node.
#pragma once
#include "app/commands/bench.h"

namespace colony::app {

// Cells "decide N" and "deposit N": the median over 2,000 tasks behind 1,100 that made the map. A decision is the
// whole way from the task's entry to the assignment, all messages and the map's learning in it.
Status bench_swarm(const BenchOptions& options);

}  // namespace colony::app
