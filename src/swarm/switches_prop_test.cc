// Prices in bounds, memory per agent, and each switch changes what it names and nothing else: properties 14, 17 and 18 of
// swarm_algorithms 11. (13 is in quorum_test, 15 in specialisation_test; what is chosen of pruned candidates in node_test.)
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>

#include "base/rng.h"
#include "swarm/gossip.h"
#include "swarm/host_test.h"
#include "swarm/specialisation.h"

namespace colony::swarm {
namespace {

double whole(const Bid& bid) { return bid.mean + bid.recent + 2 * bid.deviation; }

// ---- 14 ----

TEST(PriceProperties, AnyLoadKeepsThemInBoundsAndARestEndsThem) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    RngStream rng(seed, 0, 0, 7);
    const double target = .5 + 8 * rng.uniform();
    double price = 0;
    for (int i = 0; i < 500; ++i) {
      const double load = rng.uniform() < .2 ? 1e6 * rng.uniform() : 2 * target * rng.uniform(), before = price;
      price = next_price(price, load, target);
      ASSERT_TRUE(price >= 0 && price <= .8);
      ASSERT_TRUE((price - before) * (load - target) >= 0) << "up above the target, down below";
    }
    const double below = target * rng.uniform() * .9;
    int steps = 0;
    for (; price > 0 && steps < 1000; ++steps) price = next_price(price, below, target);
    ASSERT_EQ(price, 0);
    ASSERT_LE(steps, std::ceil(.8 / (.02 * (1 - below / target))) + 1);
    ASSERT_EQ(next_price(0, below, target), 0);
  }
}

// Bursts, silences, work that never ends, outcomes that come twice: what a bid pays stays a price, and nothing of it is left when the
// agents rest.
TEST(PriceProperties, BidsPayNoMoreThanAPriceWhateverArrives) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    NodeOptions options{.id = 0, .seed = seed};
    options.price = true;
    Host host(options);
    RngStream rng(seed, 0, 0, 7);
    std::vector<std::pair<TaskId, AgentId>> working;
    double most = 0;
    TaskId task = 0;
    const auto watch = [&](const std::vector<Bid>& bids) {
      for (const Bid& bid : bids) {
        const double price = whole(bid) - bid.index;
        ASSERT_TRUE(price >= -1e-9 && price <= .8 + 1e-9) << price;
        most = std::max(most, price);
      }
    };
    for (int i = 0; i < 1500; ++i) {
      const double dice = rng.uniform();
      const AgentId agent = rng.uniform() < .7 ? 1 : 1 + rng.below(3);  // one of them is flooded
      if (dice < .6) {
        watch(host.announce(++task));
        host.assign(task, agent);
        working.emplace_back(task, agent);
      } else if (dice < .7 && !working.empty()) {
        const auto [done, by] = working[rng.below(working.size())];
        host.outcome(done, by, rng.uniform());
        host.outcome(done, by, rng.uniform());
      } else if (dice < .8) {
        host.assign(rng.below(task + 1), 1 + rng.below(3));
      } else {
        host.node.step(TaskWithdrawn{rng.below(task + 1)}, host.now);
      }
    }
    EXPECT_GT(most, .3);
    for (TaskId old = 0; old <= task; ++old) host.node.step(TaskWithdrawn{old}, host.now);
    for (int i = 0; i < 60; ++i) watch(host.announce(1'000'000 + static_cast<TaskId>(i)));
    for (const Bid& bid : host.announce(2'000'000)) {
      EXPECT_EQ(bid.load, 0);
      EXPECT_NEAR(bid.index, whole(bid), 1e-12) << "at rest nothing is paid";
    }
  }
}

// ---- 17: 16 writers on each agent's trail ----

TEST(MemoryProperties, AnAgentOfSixteenWritersFitsItsShare) {
  constexpr size_t kAgents = 100, kWriters = 16;
  const auto used = [] {
    const auto info = ::mallinfo2();
    return static_cast<double>(info.uordblks + info.hblkhd);
  };
  const double before = used();
  Node node({.id = 0, .seed = 5});
  Now now;
  for (AgentId a = 1; a <= kAgents; ++a) node.step(AgentBorn{a, "agent " + std::to_string(a)}, now);
  for (TaskId task = 1; task <= 1200; ++task) {  // past the last map
    now.task_time = now.step = task;
    node.step(Received{Announce{task, 1, place_of(task, 30), 1, 0}}, now);
    node.step(Received{Assign{task, 1, 1 + task % kAgents, place_of(task, 30), 0, 1}}, now);
    if (task % 10 != 0) node.step(Received{Outcome{task, 1 + task % kAgents, place_of(task, 30), .5, 100, 30}}, now);
  }
  // The same landmarks as here, or the records count for nothing: the node's own records, under other writers' names.
  Replica reader(999);
  reader.hear(Digest{});
  for (int round = 0; round < 40; ++round) {
    for (const auto& effect : node.step(Received{Digest(reader.digest(true))}, now)) {
      if (const auto* send = std::get_if<Send>(&effect)) {
        if (const auto* delta = std::get_if<Delta>(&send->message)) reader.merge(*delta);
      }
    }
  }
  ASSERT_EQ(reader.trails().size(), kAgents);
  for (NodeId writer = 1; writer < kWriters; ++writer) {
    Replica other(writer);
    other.hear(Digest{});
    for (const auto& [key, record] : reader.trails()) other.write(TrailRecord(record));
    Digest has;
    for (int round = 0; round < 40; ++round) {
      const Delta delta = other.delta_for(has);
      if (delta.ranges.empty()) break;
      node.step(Received{delta}, now);
      has.seen = {{writer, delta.ranges[0].upto}};
    }
  }
  double n = 0;
  for (const auto& trail : node.trails()) n += trail.n;
  EXPECT_GT(n, 1080 * 4) << "of each other writer as much as may be believed beside ours";
  const double bytes = (used() - before) / kAgents;
  std::cout << "  " << bytes / 1024 << " KiB an agent of " << kWriters << " writers, the node's own and what this test keeps included\n";
  EXPECT_LE(bytes, 64 * 1024);
}

// ---- 18: the same events to a node with the switch and to one without ----

constexpr TaskId kLogged = 1500, kLag = 40;  // tasks; an outcome comes so many tasks later
constexpr TaskId kFails = 700;                // agent 1, from this task on

std::vector<std::vector<Bid>> bids_over_log(const NodeOptions& options, NodeId asker) {
  Node node(options);
  Now now;
  for (AgentId a = 1; a <= 6; ++a) node.step(AgentBorn{a, "a"}, now);
  std::vector<std::vector<Bid>> out;
  for (TaskId task = 1; task <= kLogged; ++task) {
    now.task_time = now.step = task;
    out.push_back(bids_of(node.step(Received{Announce{task, asker, place_of(task, 5), 1, 0}}, now)));
    const AgentId agent = 1 + task % 6;
    node.step(Received{Assign{task, asker, agent, place_of(task, 5), 0, 1}}, now);
    if (task <= kLag) continue;
    const TaskId done = task - kLag;
    RngStream rng(11, done, 0, 7);
    const double chance = 1 + done % 6 == 1 ? (done < kFails ? .95 : .02) : .5;
    node.step(Received{Outcome{done, 1 + done % 6, place_of(done, 5), rng.uniform() < chance ? 1.0 : 0.0, 50 * (1 + done % 6), 7}}, now);
  }
  return out;
}

// What two bids of one agent differ in.
enum Field : uint32_t { kIndex = 1, kMean = 2, kDeviation = 4, kRecent = 8, kN = 16, kLoad = 32, kCosts = 64, kSilent = 128, kWait = 256 };
uint32_t differences(const std::vector<Bid>& a, const std::vector<Bid>& b) {
  uint32_t fields = 0;
  for (const Bid& one : a) {
    const auto other = std::find_if(b.begin(), b.end(), [&](const Bid& bid) { return bid.agent == one.agent; });
    if (other == b.end()) {
      fields |= kSilent;
      continue;
    }
    fields |= (one.index != other->index ? kIndex : 0U) | (one.mean != other->mean ? kMean : 0U) | (one.deviation != other->deviation ? kDeviation : 0U) |
              (one.recent != other->recent ? kRecent : 0U) | (one.n != other->n ? kN : 0U) | (one.load != other->load ? kLoad : 0U) |
              (one.tokens != other->tokens || one.ms != other->ms ? kCosts : 0U) | (one.wait_ms != other->wait_ms ? kWait : 0U);
  }
  return fields | (a.size() != b.size() ? kSilent : 0U);
}

TEST(SwitchProperties, EachChangesWhatItNamesAndNothingElse) {
  struct Case {
    const char* name;
    std::function<void(NodeOptions&)> set;
    uint32_t changes;  // these fields, and no other
    bool alone = false;  // the node asks itself and knows of no other: then there is nothing to gossip, audit or dance for
    std::function<void(const Bid& plain, const Bid& with)> how = {};
  };
  const std::vector<Case> cases{
      {"trails", [](auto& o) { o.trails = false; }, kIndex, false, [](const Bid&, const Bid& b) { EXPECT_EQ(b.index, 0); }},
      {"places", [](auto& o) { o.places = false; }, kIndex | kMean | kDeviation | kRecent | kCosts},
      {"recent", [](auto& o) { o.recent = false; }, kIndex | kDeviation | kRecent, false,
       [](const Bid& a, const Bid& b) { EXPECT_TRUE(b.recent == 0 && b.deviation <= a.deviation); }},
      {"detection", [](auto& o) { o.detection = false; }, kIndex | kMean | kDeviation | kRecent},
      {"exploration", [](auto& o) { o.explore = false; }, kIndex, false, [](const Bid&, const Bid& b) { EXPECT_EQ(b.index, b.mean + b.recent); }},
      {"early-optimism", [](auto& o) { o.early_optimism = false; }, 0},  // of one node among others (9 asks) it is never less
      {"thresholds", [](auto& o) { o.thresholds = true; }, kSilent},
      {"price", [](auto& o) { o.price = true; }, kIndex, false, [](const Bid& a, const Bid& b) { EXPECT_TRUE(b.index <= a.index && b.index >= a.index - .8 - 1e-12); }},
      {"queues", [](auto& o) { o.queues = true; }, kWait},  // no task here has a deadline; what one does is in work_queue_test
      {"cost", [](auto& o) { o.cost_weight = .05; }, kIndex, false,
       [](const Bid& a, const Bid& b) { EXPECT_NEAR(a.index - b.index, .05 * static_cast<double>(b.tokens) / kCostReference, 1e-6); }},
      {"evaporation", [](auto& o) { o.half_life_ms = kHalfLifeMs; }, 0},  // no time passes here; what it does is in evaporation_test
      {"gossip", [](auto& o) { o.gossip = false; }, 0, true},
      {"audit", [](auto& o) { o.audit = false; }, 0, true},
      {"dances", [](auto& o) { o.dances = false; }, 0, true},
      {"few asked", [](auto& o) { o.ask_most = 3; }, 0, true},
  };
  const auto plain_asked = bids_over_log({.id = 0, .seed = 5}, 9), plain_alone = bids_over_log({.id = 0, .seed = 5}, 0);
  for (const Case& one : cases) {
    NodeOptions options{.id = 0, .seed = 5};
    one.set(options);
    const auto& plain = one.alone ? plain_alone : plain_asked;
    const auto with = bids_over_log(options, one.alone ? 0 : 9);
    uint32_t changed = 0;
    for (size_t task = 0; task < plain.size(); ++task) {
      changed |= differences(plain[task], with[task]);
      for (const Bid& b : with[task]) {
        const auto a = std::find_if(plain[task].begin(), plain[task].end(), [&](const Bid& bid) { return bid.agent == b.agent; });
        ASSERT_NE(a, plain[task].end()) << one.name;
        if (one.how) one.how(*a, b);
      }
    }
    EXPECT_EQ(changed, one.changes) << one.name;
  }
  // An alarm comes, and detection changes nothing before it.
  NodeOptions options{.id = 0, .seed = 5};
  options.detection = false;
  const auto without = bids_over_log(options, 9);
  for (size_t task = 0; task < kFails; ++task) EXPECT_EQ(differences(plain_asked[task], without[task]), 0U) << task;
  // A node alone: optimism may rise there.
  Node alone({.id = 9, .seed = 5});
  NodeOptions rising{.id = 9, .seed = 5};
  rising.early_optimism = false;
  Node young(rising);
  for (Node* node : {&alone, &young}) node->step(AgentBorn{1, "a"}, {});
  const Announce announce{1, 9, place_of(1, 5), 1, 0};
  EXPECT_EQ(differences(bids_of(alone.step(Received{announce}, {1, 1})), bids_of(young.step(Received{announce}, {1, 1}))), uint32_t{kIndex});
}

}  // namespace
}  // namespace colony::swarm
