// What answers cost: learned by place, kept over maps, lives and moves, and never a reason to choose unless it is asked for.
#include "swarm/cost.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "swarm/gossip.h"
#include "swarm/host_test.h"

namespace colony::swarm {
namespace {

uint64_t log_normal(RngStream& rng, double middle, double spread) { return static_cast<uint64_t>(std::llround(middle * std::exp(spread * rng.normal()))); }

TEST(Costs, ArePredictedAsTheMeanOfALogNormal) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CostTrail trail;
    Costs everybody;
    RngStream rng(seed, 0, 0, 7);
    double tokens = 0, ms = 0;
    constexpr int kDeposits = 2000;
    for (uint64_t t = 1; t <= kDeposits; ++t) {
      const uint64_t one = log_normal(rng, 200, .6), other = log_normal(rng, 900, .3);
      everybody.add({trail.deposit(3, one, static_cast<double>(other), t), t});
      tokens += static_cast<double>(one) / kDeposits;
      ms += static_cast<double>(other) / kDeposits;
    }
    const Cost cost = trail.predict(3, kDeposits, everybody);
    EXPECT_NEAR(cost.tokens / tokens, 1, .06) << seed;
    EXPECT_NEAR(cost.ms / ms, 1, .03) << seed;
  }
}

TEST(Costs, AreDrawnToTheAgentsMeanAndThatToAllAgents) {
  CostTrail cheap, dear, unknown;
  Costs everybody;
  EXPECT_EQ(unknown.predict(0, 5, everybody).tokens, 0) << "nothing is known of anybody";
  for (uint64_t t = 1; t <= 100; ++t) {
    everybody.add({cheap.deposit(0, 10, 10, t), t});
    everybody.add({dear.deposit(0, 1000, 10, t), t});
  }
  const auto tokens = [&](const CostTrail& trail, int slot) { return std::log1p(trail.predict(slot, 100, everybody).tokens); };
  EXPECT_LT(tokens(cheap, 0), tokens(cheap, 1));  // at a place where it never was: its own mean
  EXPECT_LT(tokens(cheap, 1), tokens(unknown, 1));
  EXPECT_LT(tokens(unknown, 1), tokens(dear, 0) + 1);
  EXPECT_GT(tokens(dear, 1), tokens(cheap, 1) + 2);
  // By hand: one deposit of y at a place of its own, no spread anywhere.
  CostTrail one;
  Costs same;
  for (uint64_t t = 0; t < 50; ++t) same.add({cheap.deposit(5, 99, 99, 100), 100});
  one.deposit(2, 9, 99, 100);
  const double all = std::log(100.0), y = std::log(10.0), agent = (y + 8 * all) / 9, cell = (y + 8 * agent) / 9;
  const double var_agent = (y - agent) * (y - agent) / 9, var_cell = ((y - cell) * (y - cell) + 8 * var_agent) / 9;
  EXPECT_NEAR(one.predict(2, 100, same).tokens, std::exp(cell + var_cell / 2) - 1, 1e-9);
}

TEST(Costs, FadeOverTasksAndStayNumbers) {
  CostTrail trail;
  Costs everybody;
  everybody.add({trail.deposit(1, 50, 5, 1000), 1000});
  Costs later = trail.all();
  later.fade_to(13'000);
  EXPECT_NEAR(later.sums.n, std::exp(-1), 1e-12);
  later.fade_to(12'000);
  EXPECT_NEAR(later.sums.n, std::exp(-1), 1e-12) << "an earlier time takes nothing back";
  Costs twice = trail.all();
  twice.fade_to(7000), twice.fade_to(13'000);
  EXPECT_NEAR(twice.sums.tokens_squared, later.sums.tokens_squared, 1e-9);
  everybody.add({trail.deposit(2, ~0ULL, 1e300, 2'000'000'000), 2'000'000'000});
  for (const int slot : {-1, 0, 1, 2, kLandmarks - 1}) {
    const Cost cost = trail.predict(slot, ~0ULL, everybody);
    EXPECT_TRUE(cost.tokens >= 0 && cost.tokens <= kCostMost && cost.ms >= 0 && cost.ms <= kCostMost) << slot;
  }
}

TEST(Costs, MoveToOtherLandmarksAndLoseNothing) {
  RngStream rng(4, 0, 0, 7);
  CostTrail trail;
  for (int i = 0; i < 300; ++i) trail.deposit(static_cast<int>(rng.below(kFeatures)) - 1, rng.below(500), 3, 0);
  std::array<std::array<double, kLandmarks>, kLandmarks> overlap{};
  for (size_t from = 0; from < kLandmarks; from += 2) {  // each second landmark has no heir
    const double share = rng.uniform();
    overlap[from / 2][from] += share;
    overlap[kLandmarks - 1][from] += 1 - share;
  }
  Costs everybody = trail.all();
  const double before = trail.all().sums.n, whole = trail.predict(kLandmarks - 2, 0, everybody).tokens;
  trail.remap(overlap);
  EXPECT_EQ(trail.all().sums.n, before);
  Costs sum;  // by the predictions of cells: slot 20 has none, so it is the agent's mean
  sum = trail.all();
  EXPECT_NEAR(trail.predict(20, 0, everybody).tokens, trail.predict(21, 0, everybody).tokens, 1e-9);
  EXPECT_GT(whole, 0);
  CostTrail same = trail;
  same.remap({});  // no map at all: everything counts for the agent
  EXPECT_EQ(same.all().sums.n, before);
  EXPECT_NEAR(same.predict(0, 0, everybody).tokens, same.predict(1, 0, everybody).tokens, 1e-9);
}

// ---- in a node ----

// Tasks of five kinds; agent 2 writes four times as much as the others, agent 3 ten times at the kind 1.
uint64_t spent(TaskId task, AgentId agent) { return agent == 2 ? 400 : agent == 3 && task % 5 == 1 ? 1000 : 100; }

Host trained(const NodeOptions& options, TaskId tasks) {
  Host host(options);
  for (TaskId task = 1; task <= tasks; ++task) {
    host.announce(task);
    for (AgentId agent = 1; agent <= 3; ++agent) host.outcome(task, agent, .5, spent(task, agent), static_cast<double>(2 * spent(task, agent)));
  }
  return host;
}

TEST(NodeCosts, ABidSaysWhatItsAnswerWillCost) {
  for (const TaskId tasks : {20UL, 200UL, 1500UL}) {  // before the first map, between maps, after the last
    Host host = trained({.id = 0, .seed = 5}, tasks);
    for (TaskId task = tasks + 1; task <= tasks + 10; ++task) {
      for (const Bid& bid : host.announce(task)) {
        EXPECT_NEAR(static_cast<double>(bid.ms) / static_cast<double>(bid.tokens), 2, .1);
        if (tasks < 200) continue;
        EXPECT_NEAR(static_cast<double>(bid.tokens), static_cast<double>(spent(task, bid.agent)), .4 * static_cast<double>(spent(task, bid.agent))) << tasks << " agent " << bid.agent;
      }
    }
  }
}

TEST(NodeCosts, WhatFailedHasCostToo) {
  Host host;
  host.announce(1);
  EXPECT_EQ(host.outcome(1, 1, 0, 300, 40), 1U);
  host.announce(2);
  EXPECT_EQ(host.outcome(2, 1, 0, 300, 40, false), 0U) << "no score, no deposit";
  EXPECT_EQ(host.n(1), 1);
  EXPECT_EQ(host.outcome(2, 1, 0, 9000, 9000, false), 0U) << "a cost counts once";
  EXPECT_EQ(host.outcome(2, 1, 1, 9000, 9000), 1U) << "a score that comes late is one";
  EXPECT_EQ(host.outcome(2, 1, 1, 9000, 9000), 0U) << "an outcome counts once";
  EXPECT_EQ(host.n(1), 2);
  EXPECT_NEAR(static_cast<double>(host.announce(3)[0].tokens), 300, 1e-3);
  EXPECT_NEAR(static_cast<double>(host.announce(3)[0].ms), 40, 1e-3);
  // The asker's side: what ended without a score goes to the host, and no audit or dance sees it.
  Node asker({.id = 9});
  const Now now;
  asker.step(TaskEntered{1, place_of(1, 5), 10, 0}, now);
  asker.step(Received{Bid{1, 0, 1, .5, .5, 0, 0, 0, 0, 0}}, now);
  asker.step(BidsClosed{1}, now);
  const auto effects = asker.step(Checked{1, 1, 0, 77, false, 12, false}, now);
  ASSERT_EQ(effects.size(), 1U);
  const auto* told = std::get_if<Outcome>(&std::get<Send>(effects[0]).message);
  ASSERT_NE(told, nullptr);
  EXPECT_FALSE(told->scored);
  EXPECT_EQ(told->tokens, 77U);
  EXPECT_EQ(told->ms, 12);
}

TEST(NodeCosts, ALeaseThatEndsWithoutAnAnswerHasCostWhatWasGiven) {
  NodeOptions options{.id = 9};
  options.lease = 20, options.bid_window = 5, options.attempt_tokens = 400;
  Node asker(options);
  asker.step(TaskEntered{1, place_of(1, 5), 1000, 0}, {1, 0, 100});
  asker.step(Received{Bid{1, 0, 1, .5, .5, 0, 0, 0, 0, 0}}, {1, 0, 100});
  asker.step(BidsClosed{1}, {1, 0, 100});
  const auto told = [](const std::vector<Effect>& effects) {
    std::vector<Outcome> found;
    for (const auto& send : all<Send>(effects)) {
      if (const auto* outcome = std::get_if<Outcome>(&send.message)) found.push_back(*outcome);
    }
    return found;
  };
  EXPECT_TRUE(told(asker.step(Tick{}, {1, 19, 4000})).empty());
  const auto lapsed = told(asker.step(Tick{}, {1, 20, 5100}));
  ASSERT_EQ(lapsed.size(), 1U);
  EXPECT_EQ(lapsed[0].agent, 1U);
  EXPECT_FALSE(lapsed[0].scored);
  EXPECT_EQ(lapsed[0].tokens, 400U);
  EXPECT_EQ(lapsed[0].ms, 5000);
  // The host learns the cost and no score; the late answer brings the score and no second cost.
  Host host;
  host.announce(1);
  host.assign(1, 1);
  host.node.step(Received{lapsed[0]}, host.now);
  EXPECT_EQ(host.n(1), 0);
  EXPECT_NEAR(static_cast<double>(host.announce(2)[0].tokens), 400, 1e-3);
  const auto late = told(asker.step(Checked{1, 1, 1, 30, true, 9000}, {1, 21, 5200}));
  ASSERT_EQ(late.size(), 1U);
  host.node.step(Received{late[0]}, host.now);
  EXPECT_EQ(host.n(1), 1);
  EXPECT_NEAR(static_cast<double>(host.announce(3)[0].tokens), 400, 1e-3);
}

TEST(NodeCosts, PayingForThemPrefersTheCheapOfEqualsAndSaysSo) {
  std::map<double, std::map<AgentId, int>> chosen;
  std::map<std::string, int> reasons;
  for (const double weight : {0.0, .2}) {
    NodeOptions options{.id = 0, .seed = 5};
    options.cost_weight = weight;
    Node node(options);
    Now now;
    for (AgentId a = 1; a <= 3; ++a) node.step(AgentBorn{a, "a"}, now);
    for (TaskId task = 1; task <= 400; ++task) {
      ++now.task_time;
      std::vector<Effect> effects = node.step(TaskEntered{task, place_of(task, 5), 10, 0}, now);
      AgentId winner = 0;
      for (size_t i = 0; i < effects.size(); ++i) {
        if (const auto* work = std::get_if<Work>(&effects[i])) winner = work->agent;
        if (const auto* explain = std::get_if<Explain>(&effects[i]); explain != nullptr && weight > 0) ++reasons[explain->reason];
        if (const auto* send = std::get_if<Send>(&effects[i])) {
          const Message message = send->message;
          for (auto& more : node.step(Received{message}, now)) effects.push_back(std::move(more));
        }
        if (i + 1 == effects.size() && winner == 0) {
          for (auto& more : node.step(BidsClosed{task}, now)) effects.push_back(std::move(more));
        }
      }
      ++chosen[weight][winner];
      RngStream rng(3, task, static_cast<uint32_t>(winner), 7);
      for (const auto& effect : node.step(Checked{task, winner, rng.uniform() < .6 ? 1.0 : 0.0, spent(task, winner), true, 5}, now)) {
        if (const auto* send = std::get_if<Send>(&effect)) node.step(Received{send->message}, now);
      }
    }
  }
  EXPECT_GT(chosen[0][2], 60) << "equals share without";
  EXPECT_LT(chosen[.2][2], 45);
  EXPECT_GT(chosen[.2][1], 200);
  EXPECT_GT(reasons["price"], 30);
}

TEST(NodeCosts, LastFromLifeToLifeAndTravelWithTheTrail) {
  Host host = trained({.id = 0, .seed = 5}, 300);
  const std::string bytes = host.node.save();
  Host again;
  ASSERT_TRUE(again.node.load(bytes));
  EXPECT_TRUE(again.node.save() == bytes);
  again.now = host.now;
  const auto one = host.announce(301), two = again.announce(301);
  ASSERT_EQ(one.size(), two.size());
  for (size_t i = 0; i < one.size(); ++i) EXPECT_EQ(one[i].tokens, two[i].tokens);
  // Another node takes the agents over: it knows how dear they are, not yet where.
  Node heir({.id = 1, .seed = 5});
  Now now = host.now;
  const auto send = [&](Node& from, Node& to, const Message& message, const auto& self) -> void {
    for (const auto& effect : to.step(Received{message}, now)) {
      if (const auto* out = std::get_if<Send>(&effect)) self(to, from, out->message, self);
    }
  };
  for (int round = 0; round < 20; ++round) send(host.node, heir, Digest{0, true, 0, 0, {}}, send), send(heir, host.node, Digest{1, true, 0, 0, {}}, send);
  std::vector<Bid> bids;
  for (AgentId a = 1; a <= 3; ++a) heir.step(AgentBorn{a, "a"}, now);
  for (const Bid& bid : bids_of(heir.step(Received{Announce{302, 0, place_of(302, 5), 1, 0}}, now))) bids.push_back(bid);
  ASSERT_EQ(bids.size(), 3U);
  EXPECT_GT(bids[1].tokens, 2 * bids[0].tokens);
}

TEST(NodeCosts, WhatCannotBeSumsOfLogarithmsIsRefused) {
  EXPECT_TRUE(plausible(CostSums{}));
  EXPECT_TRUE(plausible(CostSums{2, 8, 32, 10, 50}));
  EXPECT_FALSE(plausible(CostSums{2, 8, 31, 10, 50}));
  EXPECT_FALSE(plausible(CostSums{2, -1, 32, 10, 50}));
  EXPECT_FALSE(plausible(CostSums{2, 80, 3200, 10, 50})) << "no answer is that long";
  EXPECT_FALSE(plausible(CostSums{NAN, 8, 32, 10, 50}));
  EXPECT_FALSE(plausible(CostSums{0, 8, 32, 10, 50}));
  EXPECT_FALSE(plausible(CostSums{2, 8, INFINITY, 10, 50}));
  // A record from the end of time fades nobody else's.
  TrailRecord record;
  record.agent = 1;
  record.costs = {1, 2, 4, 2, 4};
  record.costs_at = ~0ULL;
  EXPECT_TRUE(plausible(record));
  Host host;
  host.announce(1);
  host.outcome(1, 1, 1, 100, 100);
  for (NodeId liar : {7U, 8U}) {
    record.writer = liar;
    record.n = 1, record.s[0] = 1, record.b[0] = 1;
    record.stamp = {1, 1};
    Delta delta;
    delta.from = liar;
    delta.ranges = {{liar, {}, {1, 1}}};
    delta.trails = {record};
    host.node.step(Received{delta}, host.now);
    record.costs_at = 1;
  }
  const Bid bid = host.announce(2)[0];
  EXPECT_GT(bid.tokens, 20) << "between e² − 1 of both liars and our own hundred";
  EXPECT_LT(bid.tokens, 110);
}

}  // namespace
}  // namespace colony::swarm
