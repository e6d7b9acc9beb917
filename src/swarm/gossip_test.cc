// Merging: commutative, associative, idempotent; what is late, repeated, lost, forged or reborn.
#include "swarm/gossip.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <map>
#include <memory>

#include "base/rng.h"
#include "swarm/node.h"
#include "swarm/places_test.h"

namespace colony::swarm {
namespace {

// Sums of `deposits` random deposits.
Evidence some_evidence(RngStream& rng, int deposits) {
  Evidence e;
  for (int d = 0; d < deposits; ++d) {
    std::array<double, kFeatures> phi{1};
    const size_t a = 1 + rng.below(kLandmarks), b = 1 + rng.below(kLandmarks);
    const double share = a == b ? 1 : rng.uniform();
    phi[a] += share;
    if (a != b) phi[b] += 1 - share;
    const double r = rng.uniform();
    for (size_t i = 0; i < kFeatures; ++i) {
      e.b[i] += phi[i] * r;
      for (size_t j = 0; j < kFeatures; ++j) e.s[i * kFeatures + j] += phi[i] * phi[j];
    }
    e.n += 1;
  }
  return e;
}

// Nobody knows anything of an earlier one.
Replica first_life(NodeId id) {
  Replica replica(id);
  replica.hear(Digest{});
  return replica;
}

struct Replicas {
  std::vector<Replica> nodes;
  RngStream rng;
  std::map<std::pair<AgentId, NodeId>, Evidence> truth;
  explicit Replicas(uint64_t seed, NodeId count) : rng(seed, 0, 0, 7) {
    for (NodeId id = 0; id < count; ++id) nodes.push_back(first_life(id));
  }
  void write() {
    const auto at = static_cast<NodeId>(rng.below(nodes.size()));
    const AgentId agent = 1 + rng.below(8);
    Evidence& e = truth[{agent, at}];
    const Evidence more = some_evidence(rng, 3);
    for (size_t i = 0; i < e.s.size(); ++i) e.s[i] += more.s[i];
    for (size_t i = 0; i < e.b.size(); ++i) e.b[i] += more.b[i];
    e.n += more.n;
    nodes[at].write(trail_record(agent, 5, e));
  }
  Delta delta(NodeId from, NodeId to) { return nodes[from].delta_for(nodes[to].digest(false)); }
  // Everybody with everybody, until nothing moves.
  void settle() {
    for (size_t round = 0; round < nodes.size() + 3; ++round) {
      for (NodeId a = 0; a < nodes.size(); ++a) {
        for (NodeId b = 0; b < nodes.size(); ++b) {
          if (a != b) nodes[a].merge(delta(b, a));
        }
      }
    }
  }
};

TEST(Gossip, AnyOrderAnyNumberGivesEqualReplicasThatHoldAllDeposits) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Replicas r(seed, 4);
    std::vector<std::pair<NodeId, Delta>> late;
    for (int step = 0; step < 60; ++step) {
      if (r.rng.uniform() < .6) {
        r.write();
        continue;
      }
      const auto a = static_cast<NodeId>(r.rng.below(4)), b = static_cast<NodeId>(r.rng.below(4));
      if (a == b) continue;
      late.emplace_back(b, r.delta(a, b));
      // Delivered now or later, once or more, or never.
      while (!late.empty() && r.rng.uniform() < .7) {
        const size_t at = r.rng.below(late.size());
        r.nodes[late[at].first].merge(late[at].second);
        if (r.rng.uniform() < .5) late.erase(late.begin() + static_cast<ptrdiff_t>(at));
      }
    }
    r.settle();
    for (NodeId id = 1; id < 4; ++id) ASSERT_TRUE(r.nodes[id].bytes() == r.nodes[0].bytes()) << "seed " << seed;
    for (const auto& [to, delta] : late) r.nodes[to].merge(delta);  // no merge brings the old back
    for (NodeId id = 1; id < 4; ++id) ASSERT_TRUE(r.nodes[id].bytes() == r.nodes[0].bytes()) << "seed " << seed;
    for (const auto& [key, truth] : r.truth) {
      const auto at = r.nodes[3].trails().find(key);
      ASSERT_NE(at, r.nodes[3].trails().end());
      const Evidence got = evidence_of(at->second);
      EXPECT_EQ(got.n, truth.n);
      for (size_t i = 0; i < got.s.size(); ++i) ASSERT_NEAR(got.s[i], truth.s[i], 1e-5 * (1 + std::abs(truth.s[i])));
    }
  }
}

TEST(Gossip, MergingTwoThingsIsTheSameEitherWayRound) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Replicas r(seed, 3);
    for (int i = 0; i < 20; ++i) r.write();
    const Digest nothing{9, false, 0, 0, {}};
    const Delta a = r.nodes[0].delta_for(nothing), b = r.nodes[1].delta_for(nothing), c = r.nodes[2].delta_for(nothing);
    const auto merged = [](std::vector<const Delta*> deltas) {
      Replica replica(9);
      for (const Delta* delta : deltas) replica.merge(*delta);
      return replica.bytes();
    };
    const std::string all = merged({&a, &b, &c});
    EXPECT_GT(all.size(), 10'000U);
    EXPECT_TRUE(merged({&c, &b, &a}) == all);
    EXPECT_TRUE(merged({&b, &a, &b, &c, &a, &a}) == all);
  }
}

TEST(Gossip, OfTwoThingsSaidUnderOneStampAllKeepTheSame) {
  Replica liar = first_life(1), other_liar = first_life(1);
  RngStream rng(3, 0, 0, 7);
  liar.write(trail_record(7, 5, some_evidence(rng, 4)));
  other_liar.write(trail_record(7, 5, some_evidence(rng, 9)));
  const Digest nothing{9, false, 0, 0, {}};
  const Delta a = liar.delta_for(nothing), b = other_liar.delta_for(nothing);
  Replica one(8), two(9);
  one.merge(a), one.merge(b);
  two.merge(b), two.merge(a);
  EXPECT_TRUE(one.bytes() == two.bytes());
}

TEST(Gossip, ADeltaIsBoundedAndTheRestComesNext) {
  Replica one = first_life(1), two = first_life(2);
  RngStream rng(3, 0, 0, 7);
  for (AgentId agent = 1; agent <= 500; ++agent) one.write(trail_record(agent, 5, some_evidence(rng, 2)));
  int exchanges = 0;
  for (; two.trails().size() < 500 && exchanges < 100; ++exchanges) {
    const Delta delta = one.delta_for(two.digest(false));
    EXPECT_LE(encode(delta).size(), kMessageBytesMax);
    const auto again = decode(encode(delta));
    ASSERT_TRUE(again) << again.error().message;
    two.merge(std::get<Delta>(*again));
  }
  EXPECT_GT(exchanges, 8);
  EXPECT_LT(exchanges, 20);
  EXPECT_TRUE(one.bytes() == two.bytes());
  EXPECT_TRUE(one.delta_for(two.digest(false)).ranges.empty());
}

TEST(Gossip, WhatCannotBeSumsIsRefused) {
  RngStream rng(3, 0, 0, 7);
  const TrailRecord good = trail_record(7, 5, some_evidence(rng, 40));
  ASSERT_TRUE(plausible(good));
  const auto broken = [&](auto change) {
    TrailRecord bad = good;
    change(bad);
    EXPECT_FALSE(plausible(bad));
    Replica replica(9);
    Delta delta;
    bad.writer = 1;
    bad.stamp = {1, 1};
    delta.ranges.push_back({1, {}, {1, 1}});
    delta.trails.push_back(bad);
    replica.merge(delta);
    EXPECT_TRUE(replica.trails().empty());
    EXPECT_EQ(replica.refused(), 1U);
    EXPECT_EQ(replica.seen(1), Stamp{}) << "it is asked for again";
  };
  broken([](TrailRecord& r) { r.n = NAN; });
  broken([](TrailRecord& r) { r.n = 1; });               // fewer than S says
  broken([](TrailRecord& r) { r.s[0] = 1e9F; });
  broken([](TrailRecord& r) { r.b[0] = 1000; });         // better than perfect
  broken([](TrailRecord& r) { r.b[3] = -INFINITY; });
  broken([](TrailRecord& r) { r.s[1] = 1e4F; });         // no sum of squares
  broken([](TrailRecord& r) { r.s[5] = -1; });
  broken([](TrailRecord& r) { r.agent = 0; });
  // A version out of reach of the last one.
  Replica replica(9);
  Delta delta;
  TrailRecord r = good;
  r.writer = 1;
  r.stamp = {1, 10};
  delta.ranges.push_back({1, {}, {1, 10}});
  delta.trails.push_back(r);
  replica.merge(delta);
  ASSERT_EQ(replica.trails().size(), 1U);
  delta.trails[0].stamp = {1, 5'000'000};
  delta.ranges[0] = {1, {1, 10}, {1, 5'000'000}};
  replica.merge(delta);
  EXPECT_EQ(replica.trails().begin()->second.stamp, (Stamp{1, 10}));
}

// ---- nodes ----

// Nodes on a bus that loses what the test says.
struct World {
  std::vector<std::unique_ptr<Node>> nodes;  // null: dead
  std::map<AgentId, NodeId> host;
  Now now;
  uint64_t seed;
  NodeOptions rules;
  double quality(AgentId agent, uint64_t task) const { return task % 6 == agent % 6 ? .9 : .3; }
  World(NodeId count, AgentId agents, uint64_t seed_, const NodeOptions& rules_ = {}) : seed(seed_), rules(rules_) {
    for (NodeId id = 0; id < count; ++id) start(id);
    for (AgentId a = 1; a <= agents; ++a) born(a, static_cast<NodeId>(a % count));
  }
  void start(NodeId id) {
    if (nodes.size() <= id) nodes.resize(id + 1);
    NodeOptions options = rules;
    options.id = id;
    options.seed = seed;
    nodes[id] = std::make_unique<Node>(options);
  }
  void born(AgentId agent, NodeId at) {
    if (const auto was = host.find(agent); was != host.end() && nodes[was->second]) nodes[was->second]->step(AgentRetired{agent}, now);
    host[agent] = at;
    nodes[at]->step(AgentBorn{agent, "a" + std::to_string(agent)}, now);
  }
  std::function<void(NodeId, std::vector<Effect>&)> twist = [](NodeId, std::vector<Effect>&) {};
  AgentId run(NodeId at, const Event& event) {
    AgentId worker = 0;
    std::vector<std::pair<NodeId, Message>> bus;
    const auto take = [&](NodeId from, std::vector<Effect> effects) {
      twist(from, effects);
      for (auto& effect : effects) {
        if (const auto* work = std::get_if<Work>(&effect)) worker = work->agent;
        const auto* send = std::get_if<Send>(&effect);
        if (send == nullptr) continue;
        for (NodeId to = 0; to < nodes.size(); ++to) {
          if (nodes[to] && (!send->to || *send->to == to)) bus.emplace_back(to, send->message);
        }
      }
    };
    take(at, nodes[at]->step(event, now));
    for (size_t i = 0; i < bus.size(); ++i) {
      const NodeId to = bus[i].first;
      if (nodes[to]) take(to, nodes[to]->step(Received{bus[i].second}, now));
    }
    return worker;
  }
  // One task, decided, done and checked; its expected success.
  double task(TaskId id) {
    ++now.task_time;
    auto asker = static_cast<NodeId>(id % nodes.size());
    while (!nodes[asker]) asker = (asker + 1) % static_cast<NodeId>(nodes.size());
    run(asker, TaskEntered{id, place_of(id, 6), 100});
    const AgentId agent = run(asker, BidsClosed{id});
    if (agent == 0) return 0;
    RngStream rng(seed, id, 1, 7);
    run(asker, Checked{id, agent, rng.uniform() < quality(agent, id) ? 1.0 : 0.0, 10, true});
    return quality(agent, id);
  }
  double tasks(TaskId from, TaskId to) {
    double sum = 0;
    for (TaskId id = from; id < to; ++id) sum += task(id);
    return sum / static_cast<double>(to - from);
  }
  void tick(int rounds) {
    for (int i = 0; i < rounds; ++i) {
      now.step += 1000;
      for (NodeId id = 0; id < nodes.size(); ++id) {
        if (nodes[id]) run(id, Tick{});
      }
    }
  }
  double n(NodeId at, AgentId agent) const {
    for (const auto& trail : nodes[at]->trails()) {
      if (trail.agent == agent) return trail.n;
    }
    return -1;
  }
};

TEST(GossipNodes, AllMakeOneMapAndAgreeOnThePopulation) {
  World world(4, 12, 3);
  world.tasks(1, 700);
  world.tick(12);
  const std::string replica = world.nodes[0]->replica();
  for (NodeId id = 1; id < 4; ++id) {
    EXPECT_EQ(world.nodes[id]->landmarks(), world.nodes[0]->landmarks());
    EXPECT_TRUE(world.nodes[id]->replica() == replica);
    for (uint64_t t = 1000; t < 1100; ++t) EXPECT_EQ(world.nodes[id]->landmark_of(place_of(t, 6)), world.nodes[0]->landmark_of(place_of(t, 6)));
  }
}

// One node hears half of the tasks only: its map is another, until gossip brings it the common one.
TEST(GossipNodes, AMapOfItsOwnGivesWayAndNoDepositIsLost) {
  World world(3, 6, 5);
  double deposits = 0;
  for (TaskId id = 1; id < 500; ++id) {
    const bool deaf = id % 2 == 0;
    auto kept = deaf ? std::move(world.nodes[2]) : nullptr;
    world.task(id);
    if (deaf) world.nodes[2] = std::move(kept);
    ++deposits;
  }
  world.tick(12);
  double sum = 0;
  for (AgentId a = 1; a <= 6; ++a) sum += world.n(world.host.at(a), a);
  EXPECT_NEAR(sum, deposits, 1e-6);
  EXPECT_TRUE(world.nodes[2]->replica() == world.nodes[0]->replica());
  for (uint64_t t = 1000; t < 1100; ++t) EXPECT_EQ(world.nodes[2]->landmark_of(place_of(t, 6)), world.nodes[0]->landmark_of(place_of(t, 6)));
}

TEST(GossipNodes, AnAdoptedAgentBringsItsTrailAndTakesItHomeAgain) {
  World world(3, 6, 7);
  world.tasks(1, 600);
  world.tick(10);
  const AgentId agent = 4;  // at node 1
  const double before = world.n(1, agent);
  ASSERT_GT(before, 30);
  world.nodes[1].reset();
  world.host.erase(agent);
  world.born(agent, 2);
  const double first = world.n(2, agent);
  EXPECT_GE(first, 7.9);  // 8 + 4·0 are believed at once
  world.host.erase(1);
  world.born(1, 0);
  world.tasks(600, 1000);
  const double later = world.n(2, agent);
  EXPECT_GT(later, before + 20);
  // Back, with nothing: what it knew comes from the others.
  world.tick(5);
  world.start(1);
  world.born(agent, 1);
  world.tasks(1000, 1400);
  world.tick(10);
  EXPECT_GT(world.n(1, agent), later);
  EXPECT_TRUE(world.nodes[1]->replica() == world.nodes[0]->replica());
}

TEST(GossipNodes, OffIsOff) {
  NodeOptions rules;
  rules.gossip = false;
  World world(3, 6, 7, rules);
  world.twist = [](NodeId, std::vector<Effect>& effects) {
    for (const auto& effect : effects) {
      const auto* send = std::get_if<Send>(&effect);
      ASSERT_TRUE(send == nullptr || send->message.index() < 4U);
    }
  };
  world.tasks(1, 200);
  world.tick(3);
}

// One of four hosts says .99 of agents that are .3 everywhere.
double with_liar(uint64_t seed, bool silent, bool audit) {
  NodeOptions rules;
  rules.audit = audit;
  World world(4, 12, seed, rules);
  for (AgentId a = 100; a < 103; ++a) world.born(a, 3);  // 100, 101, 102: good at a sixth, at the liar's
  for (AgentId a : {3, 7, 11}) world.born(a, static_cast<NodeId>(a % 3));
  world.twist = [&](NodeId from, std::vector<Effect>& effects) {
    if (from != 3) return;
    std::vector<Effect> out;
    for (auto& effect : effects) {
      auto* send = std::get_if<Send>(&effect);
      auto* bid = send != nullptr ? std::get_if<Bid>(&send->message) : nullptr;
      if (bid != nullptr) {
        if (silent) continue;
        bid->mean = .99, bid->deviation = .5, bid->recent = 0, bid->n = 1e6, bid->index = .99 + 1;
      }
      out.push_back(std::move(effect));
    }
    effects = std::move(out);
  };
  double regret = 0;
  for (TaskId id = 1; id <= 3000; ++id) {
    ++world.now.task_time;
    const auto asker = static_cast<NodeId>(id % 3);
    world.run(asker, TaskEntered{id, place_of(id, 6), 100});
    const AgentId agent = world.run(asker, BidsClosed{id});
    const double q = agent >= 100 ? .3 : world.quality(agent, id);
    RngStream rng(seed, id, 1, 7);
    world.run(asker, Checked{id, agent, rng.uniform() < q ? 1.0 : 0.0, 10, true});
    regret += .9 - q;
  }
  return regret;
}

TEST(GossipNodes, ALiarCostsLittle) {
  constexpr int kSeeds = 12;  // three were too few: they said 1 to 1.25
  double silent = 0, caught = 0, believed = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    silent += with_liar(seed, true, true);
    caught += with_liar(seed, false, true);
    believed += with_liar(seed, false, false);
  }
  std::cout << "  regret over 3,000 tasks: liar silent " << silent / kSeeds << ", audited " << caught / kSeeds << ", believed " << believed / kSeeds << "\n";
  EXPECT_LT(caught, 1.15 * silent);
  EXPECT_GT(believed, 2 * silent);
}

}  // namespace
}  // namespace colony::swarm
