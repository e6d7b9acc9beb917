#include "swarm/dance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <iostream>

#include "swarm/node.h"
#include "swarm/parts_bench.h"

namespace colony::swarm {
namespace {

TEST(Dance, TheLowerBoundIsTheFivePercentQuantile) {
  for (const double n : {3.0, 20.0, 400.0}) {
    double before = -1;
    for (const double mean : {.1, .5, .9, 1.0}) {
      const double lower = lower_bound_of(mean, n), a = n * mean + .5, b = n * (1 - mean) + .5;
      EXPECT_GT(lower, before);
      before = lower;
      // By the midpoint rule, in a variable that takes the poles at 0 and 1 away: x = sin² t.
      const double top = std::asin(std::sqrt(lower));
      double sum = 0;
      constexpr int kParts = 20'000;
      for (int i = 0; i < kParts; ++i) {
        const double t = top * (i + .5) / kParts;
        sum += 2 * std::pow(std::sin(t), 2 * a - 1) * std::pow(std::cos(t), 2 * b - 1) * top / kParts;
      }
      EXPECT_NEAR(sum * std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b)), .05, 1e-4) << mean << " of " << n;
    }
  }
}

Dance of(AgentId agent, NodeId origin, uint64_t time, float value, DanceKind kind = DanceKind::kSuccess) {
  return {kind, agent, 1, origin, time, 0, {}, value, .5F, .4F, 20};
}

std::vector<AgentId> best(const DanceFloor& floor, uint64_t time, size_t most) {
  std::vector<AgentId> agents;
  for (const auto& one : floor.candidates(-1, time, most, 0, 0, 1, 1)) agents.push_back(one.agent);
  return agents;
}

TEST(Dance, MovesAnAgentUpTheListUntilItsOwnBidSaysMore) {
  DanceFloor floor;
  for (AgentId a = 1; a <= 10; ++a) floor.heard_bid(Bid{1, 2, a, .5 + .01 * static_cast<double>(a), 0, 0, 0, 0, 0, 0}, -1);
  EXPECT_EQ(best(floor, 0, 2), (std::vector<AgentId>{9, 10}));
  EXPECT_TRUE(floor.heard(of(3, 5, 100, .95F), -1, 100));
  EXPECT_EQ(best(floor, 100, 2), (std::vector<AgentId>{3, 10}));
  EXPECT_FALSE(floor.heard(of(3, 5, 120, .99F), -1, 120)) << "one in 50 tasks";
  EXPECT_FALSE(floor.heard(of(4, 5, 0, .99F), -1, 6000)) << "too old";
  EXPECT_EQ(best(floor, 4000, 2), (std::vector<AgentId>{9, 10})) << "it fades";
  EXPECT_TRUE(floor.heard(of(3, 5, 4000, .95F), -1, 4000));
  floor.heard_bid(Bid{1, 2, 3, .1, 0, 0, 0, 0, 0, 0}, -1);
  EXPECT_EQ(best(floor, 4000, 2), (std::vector<AgentId>{9, 10}));
}

TEST(Dance, StopSignalsOfSeveralNodesEndIt) {
  DanceFloor floor;
  for (AgentId a = 1; a <= 3; ++a) floor.heard_bid(Bid{1, 2, a, .5 + .1 * static_cast<double>(a), 0, 0, 0, 0, 0, 0}, -1);
  floor.heard(of(1, 5, 100, .95F), -1, 100);
  EXPECT_EQ(best(floor, 100, 1), (std::vector<AgentId>{1}));
  floor.heard(of(1, 6, 100, 0, DanceKind::kStop), -1, 100);
  EXPECT_EQ(best(floor, 100, 1), (std::vector<AgentId>{1})) << "one node may err";
  floor.heard(of(1, 7, 100, 0, DanceKind::kStop), -1, 100);
  EXPECT_EQ(best(floor, 100, 1), (std::vector<AgentId>{3})) << ".6 and half of .35 are less than .8";
  // And it does not become the default while they are fresh.
  for (NodeId node = 0; node < 3; ++node) EXPECT_FALSE(floor.ready(1, node, 4, 200));
  EXPECT_TRUE(floor.ready(1, 0, 4, 1000));
  EXPECT_FALSE(floor.ready(2, 0, 4, 1000)) << "one of four";
}

// ---- nodes: one kind of task, a newcomer of .97 among rivals of .80, eight asked ----

TEST(SlowDance, ANewcomerIsFoundSooner) {
  Found with, without;
  constexpr int kSeeds = 3;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    for (const bool dances : {true, false}) {
      NodeOptions rules;
      rules.ask_most = 8, rules.dances = dances, rules.gossip = false;
      const Found one = play_newcomer(rules, seed);
      Found& sum = dances ? with : without;
      sum.tasks_to_half += one.tasks_to_half / kSeeds;
      sum.success += one.success / kSeeds;
      sum.bids += one.bids / kSeeds;
      sum.switches += one.switches;
    }
  }
  std::cout << "  tasks until half go to the newcomer: with dances " << with.tasks_to_half << ", without " << without.tasks_to_half
            << "; success over 3,000 tasks " << with.success << ", " << without.success << "; bids a task " << with.bids << ", " << without.bids
            << "; switches of the default agent " << with.switches << ", " << without.switches << "\n";
  EXPECT_LT(with.tasks_to_half, without.tasks_to_half);
  EXPECT_GT(with.success, without.success);
}

}  // namespace
}  // namespace colony::swarm
