#include "swarm/dance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <iostream>
#include <memory>

#include "base/rng.h"
#include "swarm/node.h"

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

struct Spread {
  double tasks_to_half = 0;  // after its birth, until half of the last 100 tasks go to the newcomer
  double success = 0;        // over all tasks after it
  double bids = 0;           // a task
  int switches = 0;
};

Spread spread(uint64_t seed, bool dances) {
  constexpr NodeId kNodes = 16;
  constexpr AgentId kAgents = 200, kNew = 1000;
  constexpr int kBefore = 600, kAfter = 3000;
  std::vector<std::unique_ptr<Node>> nodes;
  Now now;
  Spread out;
  for (NodeId id = 0; id < kNodes; ++id) {
    NodeOptions options;
    options.id = id, options.seed = seed, options.ask_most = 8, options.dances = dances, options.gossip = false;
    nodes.push_back(std::make_unique<Node>(options));
  }
  const auto run = [&](NodeId at, const Event& event) {
    AgentId worker = 0;
    std::vector<std::pair<NodeId, Message>> bus;
    const std::function<void(std::vector<Effect>)> take = [&](std::vector<Effect> effects) {
      for (auto& effect : effects) {
        if (const auto* work = std::get_if<Work>(&effect)) worker = work->agent;
        out.switches += std::holds_alternative<Switched>(effect);
        const auto* send = std::get_if<Send>(&effect);
        if (send == nullptr) continue;
        out.bids += std::holds_alternative<Bid>(send->message);
        for (NodeId to = 0; to < kNodes; ++to) {
          if (!send->to || *send->to == to) bus.emplace_back(to, send->message);
        }
      }
    };
    take(nodes[at]->step(event, now));
    for (size_t i = 0; i < bus.size(); ++i) take(nodes[bus[i].first]->step(Received{bus[i].second}, now));
    return worker;
  };
  for (NodeId id = 0; id < kNodes; ++id) {
    for (NodeId other = 0; other < kNodes; ++other) run(id, PeerJoined{other});
  }
  for (AgentId a = 1; a <= kAgents; ++a) run(static_cast<NodeId>(a % kNodes), AgentBorn{a, "a"});
  std::vector<int> last;
  for (int t = 0; t < kBefore + kAfter; ++t) {
    if (t == kBefore) run(3, AgentBorn{kNew, "new"});
    ++now.task_time;
    const auto id = static_cast<TaskId>(t + 1);
    RngStream rng(seed, id, 9, 7);
    Place place{};
    place[0] = 1;
    for (size_t i = 1; i < kPlaceDim; ++i) place[i] = static_cast<float>(.05 * rng.normal());
    const auto asker = static_cast<NodeId>(rng.below(kNodes));
    run(asker, TaskEntered{id, place, 10, 0});
    const AgentId agent = run(asker, BidsClosed{id});
    const double quality = agent == kNew ? .97 : .4 + .4 * static_cast<double>(agent % 11) / 10;
    run(asker, Checked{id, agent, rng.uniform() < quality ? 1.0 : 0.0, 5, true});
    if (t < kBefore) continue;
    out.success += quality / kAfter;
    last.push_back(agent == kNew);
    int recent = 0;
    for (size_t i = last.size() > 100 ? last.size() - 100 : 0; i < last.size(); ++i) recent += last[i];
    if (out.tasks_to_half == 0 && recent >= 50) out.tasks_to_half = t - kBefore;
  }
  if (out.tasks_to_half == 0) out.tasks_to_half = kAfter;
  out.bids /= kBefore + kAfter;
  return out;
}

TEST(SlowDance, ANewcomerIsFoundSooner) {
  Spread with, without;
  constexpr int kSeeds = 3;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    for (const bool dances : {true, false}) {
      const Spread one = spread(seed, dances);
      Spread& sum = dances ? with : without;
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
