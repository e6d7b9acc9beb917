// Where parts of the swarm act that a stream answered at once cannot show: agents with queues of their own (prices, response
// thresholds), and many agents of which few are asked (dances).
//
// Both are simulations from a seed, over the same steps that serve. Source: swarm_algorithms 2.5 and 3.2.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "swarm/replay.h"

namespace colony::swarm {

// Tasks of a course arrive by chance; each agent does one after another and an answer counts when it is right and in time.
struct LoadOptions {
  double load = 0.8;         // work that arrives over what all agents can do
  size_t tasks = 4000;       // the first of the course
  NodeId nodes = 4;          // agents and tasks are spread over them
  double service_s = 1.5;    // mean; log-normal, spread .5
  double deadline_s = 8;
};
struct Loaded {
  double goodput = 0;        // share of tasks answered right and in time
  double right = 0;          // share answered right, however late
  double p95_s = 0;          // from a task's arrival to its answer
  double bids = 0;           // a task
};
// `who`: "colony" with `rules`, or a mark: "random", "shortest-queue" (both see no outcome).
Loaded play_loaded(const Course& course, const LoadOptions& options, const std::string& who, const NodeOptions& rules, uint64_t seed);

// One kind of task, 16 nodes, 200 agents of .4 to .8; after 600 tasks one of .97 is born, and 3,000 tasks follow.
struct Found {
  double tasks_to_half = 0;  // after its birth, until half of the last 100 tasks go to it
  double success = 0;        // of the 3,000, by the agents' true chances
  double bids = 0;           // a task
  uint64_t switches = 0;     // of a node's default agent
};
Found play_newcomer(const NodeOptions& rules, uint64_t seed);

}  // namespace colony::swarm
