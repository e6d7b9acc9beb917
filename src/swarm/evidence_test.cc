// Who says so decides what it weighs: a home's own tests, tests brought along, what agents say of themselves, and what a person decided.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/rng.h"
#include "swarm/host_test.h"

namespace colony::swarm {
namespace {

std::vector<GateItem> test_of(size_t items, uint64_t kind, double score) {
  std::vector<GateItem> test;
  for (size_t i = 0; i < items; ++i) test.push_back({place_of(50'000 + 5 * i + kind, 5), score});
  return test;
}

Bid bid_of(Host& host, AgentId agent, TaskId task) {
  for (const Bid& bid : host.announce(task)) {
    if (bid.agent == agent) return bid;
  }
  return {};
}

// ---- who ran a test ----

TEST(Evidence, AnOwnTestIsWorthItsOutcomesAndABroughtOneAQuarter) {
  RngStream rng(3, 0, 0, 7);
  for (int round = 0; round < 50; ++round) {
    const size_t items = 1 + rng.below(200);
    Host host;
    const auto test = test_of(items, 2, 1);
    host.node.step(AgentBorn{4, "own", test, true}, host.now);
    host.node.step(AgentBorn{5, "brought", test, false}, host.now);
    EXPECT_NEAR(host.n(4), static_cast<double>(items), 1e-6) << "a deposit each, all of them";
    EXPECT_NEAR(host.n(5), std::min(20., .25 * static_cast<double>(std::min<size_t>(items, 80))), 1e-5);
  }
}

// An own test moves the posterior exactly as the same outcomes do.
TEST(Evidence, AnOwnTestReadsAsDepositsDo) {
  for (const bool good : {false, true}) {
    Host host;
    std::vector<GateItem> test;
    for (TaskId task = 1; task <= 20; ++task) test.push_back({place_of(task, 5), good ? 1. : 0.});
    NodeOptions options{.id = 0, .seed = 5};
    options.recent = options.detection = false;
    Host plain(options), born(options);
    plain.node.step(AgentBorn{4, "a"}, plain.now);
    for (TaskId task = 1; task <= 20; ++task) plain.outcome(task, 4, good ? 1 : 0);
    born.node.step(AgentBorn{4, "a", test, true}, born.now);
    const auto weight = [](Host& one) {
      for (const auto& trail : one.node.trails()) {
        if (trail.agent == 4) return std::pair(trail.n, trail.intercept);
      }
      return std::pair(-1., -1.);
    };
    EXPECT_NEAR(weight(born).first, weight(plain).first, 1e-9);
    EXPECT_NEAR(weight(born).second, weight(plain).second, 1e-6) << "no map yet: the intercept is all";
  }
}

// An agent that has a trail already learns from a test that its home runs later, from each item once, also over a restart of the node.
TEST(Evidence, AKnownAgentTakesWhatIsNewOfItsHomesTests) {
  Host host;
  for (TaskId task = 1; task <= 10; ++task) host.outcome(task, 1, 0);
  host.node.step(AgentBorn{1, "a1", test_of(30, 1, 1)}, host.now);
  EXPECT_NEAR(host.n(1), 10, 1e-9) << "a brought test is for agents that are not known";
  host.node.step(AgentBorn{1, "a1", test_of(30, 1, 1), true}, host.now);
  EXPECT_NEAR(host.n(1), 40, 1e-9);
  host.node.step(AgentBorn{1, "a1", test_of(30, 1, 1), true}, host.now);
  EXPECT_NEAR(host.n(1), 40, 1e-9) << "each item once";
  Host again;
  ASSERT_TRUE(again.node.load(host.node.save()));
  again.now = host.now;
  again.node.step(AgentBorn{1, "a1", test_of(30, 1, 1), true}, again.now);
  EXPECT_NEAR(again.n(1), 40, 1e-6);
  again.node.step(AgentBorn{1, "a1", test_of(50, 1, 1), true}, again.now);
  EXPECT_NEAR(again.n(1), 60, 1e-6) << "a second test of 20";
}

TEST(Evidence, AnOwnTestOutlastsAMapMadeAnew) {
  Host host;
  host.node.step(AgentBorn{4, "own", test_of(80, 2, 1), true}, host.now);
  for (TaskId task = 1; task <= 150; ++task) host.announce(task);
  EXPECT_NEAR(host.n(4), 80, 1e-3);
  EXPECT_GT(bid_of(host, 4, 1002).mean, .8);
}

// ---- what agents say of themselves ----

TEST(Evidence, TheNearestPlaceRaisesThePriorMeanAndOutcomesTakeItBack) {
  Host host;
  host.node.step(AgentBorn{4, "says", {}, false, {place_of(2, 5)}}, host.now);
  host.node.step(AgentBorn{5, "elsewhere", {}, false, {place_of(4, 5)}}, host.now);
  host.node.step(AgentBorn{6, "silent"}, host.now);
  const double near = bid_of(host, 4, 2).mean, far = bid_of(host, 5, 2).mean, silent = bid_of(host, 6, 2).mean;
  EXPECT_GT(near, far + .1);
  EXPECT_GT(near, silent + .1);
  EXPECT_LT(near, silent + .25) << "slightly";
  EXPECT_GE(far, silent);
  EXPECT_EQ(bid_of(host, 4, 2).deviation, bid_of(host, 6, 2).deviation) << "nothing was seen";
  double lead = near - silent;
  for (TaskId task = 1; task <= 200; ++task) host.announce(task);  // a map, so that what is learnt there is of there
  for (TaskId task = 102; task < 1102; task += 50) {
    host.outcome(task, 4, 0);
    host.outcome(task + 1'000'000, 6, 0);  // of the same kind: 1,000,000 is a multiple of five
    const double now = bid_of(host, 4, 2).mean - bid_of(host, 6, 2).mean;
    EXPECT_LT(now, lead + .01) << task;
    lead = now;
  }
  EXPECT_LT(lead, (near - silent) / 4) << "what was seen is believed, not what was said";
}

TEST(Evidence, WithoutPriorsNothingThatIsSaidCounts) {
  NodeOptions options{.id = 0, .seed = 5};
  options.priors = false;
  Host off(options), nothing;
  for (AgentId agent = 4; agent <= 6; ++agent) {
    off.node.step(AgentBorn{agent, "a", {}, false, {place_of(agent, 5)}}, off.now);
    nothing.node.step(AgentBorn{agent, "a"}, nothing.now);
  }
  for (TaskId task = 1; task <= 200; ++task) {
    const auto a = off.announce(task), b = nothing.announce(task);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      ASSERT_EQ(a[i].index, b[i].index);
      ASSERT_EQ(a[i].mean, b[i].mean);
    }
    for (Host* host : {&off, &nothing}) host->outcome(task, 1 + task % 6, task % 3 == 0 ? 1 : 0);
  }
}

TEST(Evidence, PlacesThatAreNoneSayNothing) {
  Host host;
  Place bad = place_of(2, 5);
  bad[3] = std::numeric_limits<float>::quiet_NaN();
  host.node.step(AgentBorn{4, "a", {}, false, {bad, Place{}}}, host.now);
  host.node.step(AgentBorn{5, "b", {}, false, {bad}}, host.now);
  for (const Bid& bid : host.announce(2)) {
    EXPECT_TRUE(std::isfinite(bid.index)) << bid.agent;
    if (bid.agent == 5) {
      EXPECT_EQ(bid.mean, .5);
    }
  }
}

// ---- what a person decided ----

// An asker that hosts its agents itself: messages go round until nothing is left. Who works, and why.
std::pair<AgentId, std::string> ask(Node& node, const TaskEntered& task, const Now& now) {
  AgentId worker = 0;
  std::string reason;
  std::vector<Effect> effects = node.step(task, now);
  for (const bool closed : {false, true}) {
    if (closed) effects = node.step(BidsClosed{task.task}, now);
    while (!effects.empty()) {
      std::vector<Effect> next;
      for (const auto& effect : effects) {
        if (const auto* work = std::get_if<Work>(&effect)) worker = work->agent;
        if (const auto* explain = std::get_if<Explain>(&effect)) reason = explain->reason;
        const auto* send = std::get_if<Send>(&effect);
        if (send == nullptr) continue;
        for (auto& more : node.step(Received{send->message}, now)) next.push_back(std::move(more));
      }
      effects = std::move(next);
    }
  }
  return {worker, reason};
}

TEST(Evidence, OnlyWhoATaskIsPinnedToIsAskedAndItsOutcomeTeaches) {
  Host host;  // agent 1 is right always, agents 2 and 3 never
  for (TaskId task = 1; task <= 60; ++task) {
    host.announce(task);
    host.outcome(task, 1, 1);
    host.outcome(task + 100'000, 2, 0);
    host.outcome(task + 200'000, 3, 0);
  }
  Now now = host.now;
  const double before = host.n(2);
  for (TaskId task = 2'000'001; task <= 2'000'040; ++task) {
    ++now.task_time;
    const bool pinned = task % 2 == 0;
    TaskEntered entered{task, place_of(task, 5), 1};
    if (pinned) entered.only = {2, 77};  // one of them is not here
    const auto [agent, reason] = ask(host.node, entered, now);
    EXPECT_EQ(agent, pinned ? 2U : 1U);
    EXPECT_EQ(reason == "pinned", pinned) << reason;
    for (const auto& send : all<Send>(host.node.step(Checked{task, agent, pinned ? 0. : 1., 1}, now))) host.node.step(Received{send.message}, now);
  }
  EXPECT_NEAR(host.n(2), before + 20, 1e-6);
  TaskEntered nobody{3'000'000, place_of(1, 5), 1};
  nobody.only = {77};
  EXPECT_EQ(ask(host.node, nobody, now), std::pair(AgentId{0}, std::string("no_bid")));
}

}  // namespace
}  // namespace colony::swarm
