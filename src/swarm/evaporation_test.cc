// Evidence fades with time where a half-life is given: a write of its owner like any other, undone by nobody.
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "swarm/gossip.h"
#include "swarm/host_test.h"
#include "swarm/trail.h"

namespace colony::swarm {
namespace {

constexpr uint64_t kDay = 24ULL * 3600 * 1000;

NodeOptions fading(NodeId id = 0) {
  NodeOptions options{.id = id, .seed = 5};
  options.half_life_ms = kHalfLifeMs;
  return options;
}

// A host at a clock of its own, with a hundred outcomes of agent 1.
Host used(const NodeOptions& options, uint64_t start_ms, TaskId tasks = 100) {
  Host host(options, start_ms);
  for (TaskId task = 1; task <= tasks; ++task) {
    host.announce(task);
    host.outcome(task, 1, task % 10 < 8 ? 1 : 0);
  }
  return host;
}

TEST(Evaporation, HalvesTheEvidenceInAHalfLife) {
  Host host = used(fading(), 1'000'000'000);
  EXPECT_EQ(host.n(1), 100);
  for (int i = 0; i < 14 * 24 * 6; ++i) {  // every ten minutes, and a little late
    host.now.ms += kDay / 24 / 6;
    host.node.step(Tick{}, host.now);
  }
  EXPECT_NEAR(host.n(1), 50, .2);
  host.now.ms += 14 * kDay;
  host.node.step(Tick{}, host.now);
  EXPECT_NEAR(host.n(1), 25, .2);
  // What one knows less of draws nearer to what one believes of all, and may be worth another look.
  Host young = used(fading(), 0);
  const Bid before = young.announce(1000)[0];
  young.now.ms += 60 * kDay;
  for (TaskId task = 1001; task <= 1010; ++task) young.announce(task);  // each makes one posterior anew
  const Bid after = young.announce(1011)[0];
  EXPECT_GT(after.deviation, before.deviation);
  EXPECT_LT(after.mean, before.mean);
  EXPECT_GT(after.mean, .4);
}

TEST(Evaporation, DoesNothingWhereNoTimePassesOrNobodyAskedForIt) {
  Host plain = used({.id = 0, .seed = 5}, 0), still = used(fading(), 77), back = used(fading(), 0), other = used({.id = 0, .seed = 5}, 0);
  const std::string bytes = plain.node.save();
  EXPECT_TRUE(still.node.save() == bytes) << "to the bit";
  other.now.ms += 1000 * kDay;
  other.node.step(Tick{}, other.now);
  EXPECT_TRUE(other.node.save() == bytes);
  back.now.ms = 5000;
  back.node.step(Tick{}, back.now);
  back.now.ms = 0;  // a clock that goes back
  back.node.step(Tick{}, back.now);
  EXPECT_EQ(back.n(1), 100);
  back.now.ms = 1000;
  back.node.step(Tick{}, back.now);
  EXPECT_EQ(back.n(1), 100);
  // And no decision changes: the twin at a clock that runs, within the first step of the half-life.
  Host moving = used(fading(), 3);
  for (TaskId task = 101; task <= 150; ++task) {
    moving.now.ms += 1000;
    const auto a = plain.announce(task), b = moving.announce(task);
    for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].index, b[i].index);
  }
}

TEST(Evaporation, AMapMadeAnewBringsNothingBack) {
  Host host = used(fading(), 0, 20);
  host.now.ms += 14 * kDay;
  host.node.step(Tick{}, host.now);
  EXPECT_NEAR(host.n(1), 10, 1e-6);
  for (TaskId task = 21; task <= 40; ++task) {  // the first map is made at 32 tasks
    host.announce(task);
    host.outcome(task, 1, 1);
  }
  EXPECT_GT(host.node.landmarks(), 0U);
  EXPECT_NEAR(host.n(1), 30, 1e-4);
}

TEST(Evaporation, GoesOnWhereItWasAfterALoad) {
  Host host = used(fading(), 0);
  const uint64_t step = kHalfLifeMs / kEvaporations;
  host.now.ms += step - 1000;
  host.node.step(Tick{}, host.now);
  EXPECT_EQ(host.n(1), 100);
  Host again(fading());
  ASSERT_TRUE(again.node.load(host.node.save()));
  again.now.ms = 1ULL << 40;  // another machine's clock: only its differences count
  again.node.step(Tick{}, again.now);
  EXPECT_EQ(again.n(1), 100);
  again.now.ms += 999;
  again.node.step(Tick{}, again.now);
  EXPECT_EQ(again.n(1), 100);
  again.now.ms += 1;
  again.node.step(Tick{}, again.now);
  EXPECT_NEAR(again.n(1), 100 * std::exp2(-1.0 / kEvaporations), 1e-3);
}

// Digests and deltas both ways until nobody has anything new; all deltas are kept.
void exchange(Node& a, Node& b, const Now& now, std::vector<Delta>& said) {
  const auto send = [&](Node& from, Node& to, const Message& message, const auto& self) -> void {
    if (const auto* delta = std::get_if<Delta>(&message)) said.push_back(*delta);
    for (const auto& effect : to.step(Received{message}, now)) {
      if (const auto* out = std::get_if<Send>(&effect)) self(to, from, out->message, self);
    }
  };
  for (int round = 0; round < 6; ++round) {
    send(a, b, Digest{0, true, 0, 0, {}}, send);
    send(b, a, Digest{1, true, 0, 0, {}}, send);
  }
}

TEST(Evaporation, NoMergeBringsOldEvidenceBack) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    Host a = used(fading(0), 0, 100 + seed), b = used(fading(1), 0, 50);
    std::vector<Delta> old, said;
    exchange(a.node, b.node, a.now, old);
    ASSERT_FALSE(old.empty());
    Now later = a.now;
    later.ms += 20 * kDay;
    for (Node* node : {&a.node, &b.node}) node->step(Tick{}, later);
    exchange(a.node, b.node, later, said);
    const std::string replica = a.node.replica();
    EXPECT_TRUE(b.node.replica() == replica) << seed;
    RngStream rng(seed, 0, 0, 7);
    for (int i = 0; i < 30; ++i) {  // all that was said before, in any order and number
      for (Node* node : {&a.node, &b.node}) node->step(Received{old[rng.below(old.size())]}, later);
    }
    EXPECT_TRUE(a.node.replica() == replica) << seed;
    EXPECT_TRUE(b.node.replica() == replica) << seed;
    EXPECT_LT(a.n(1), (100 + static_cast<double>(seed)) * .5 + 60);
  }
}

TEST(Evaporation, RecordsOfANodeThatIsGoneFadeWhereTheyAreRead) {
  Host dead = used(fading(0), 0, 200);
  NodeOptions options = fading(1);
  options.audit = false;
  Node heir(options);
  Now now = dead.now;
  std::vector<Delta> said;
  exchange(dead.node, heir, now, said);
  const auto n = [&] {
    for (const auto& trail : heir.trails()) {
      if (trail.agent == 1) return trail.n;
    }
    return -1.0;
  };
  heir.step(AgentBorn{1, "a1"}, now);
  EXPECT_NEAR(n(), 200, 1e-3);
  now.ms += 28 * kDay;
  heir.step(Tick{}, now);
  heir.step(Received{Announce{900, 0, place_of(900, 5), 1, 0}}, now);  // makes its posterior anew
  EXPECT_NEAR(n(), 50, .5);
}

TEST(Evaporation, ScalesTheEvidenceAndKeepsItASumOfSquares) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    RngStream rng(seed, 0, 0, 7);
    const Population population;
    LandmarkMap map(seed, 0);
    for (int i = 0; i < 200; ++i) map.learn(random_place(rng));
    Trail trail;
    for (int i = 0; i < 300; ++i) trail.deposit(map.features(random_place(rng)), {}, -1, rng.uniform(), 0, population);
    const Evidence before = trail.own();
    double left = 1;
    for (int i = 0; i < 10; ++i) {
      const double one = rng.uniform();
      left *= one;
      trail.evaporate(one);
      trail.refresh(population);
      const Evidence now = trail.own();
      EXPECT_NEAR(now.n, left * before.n, 1e-9);
      EXPECT_NEAR(now.s[0], now.n, 1e-9);
      EXPECT_TRUE(now.b[0] >= 0 && now.b[0] <= now.s[0]);
      for (size_t j = 0; j < kFeatures; ++j) {
        EXPECT_NEAR(now.b[j], left * before.b[j], 1e-9);
        EXPECT_GT(trail.variance(j), 0);
        EXPECT_LE(trail.variance(j), population.tau(j) * (1 + 1e-9));
      }
      EXPECT_TRUE(plausible(trail_record(1, 5, now)));
    }
    for (size_t j = 0; j < kFeatures; ++j) EXPECT_NEAR(trail.weights()[j], population.theta[j], .2 + left * 300);
  }
}

}  // namespace
}  // namespace colony::swarm
