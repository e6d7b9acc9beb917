// The gate keeps out what is no better, however often it is asked, and a passed test is known where a new agent bids first.
#include "swarm/gate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <iostream>
#include <limits>

#include "base/rng.h"
#include "swarm/host_test.h"

namespace colony::swarm {
namespace {

TEST(Gate, TheCoinsAreCountedExactly) {
  EXPECT_EQ(mcnemar(0, 0), 1);
  EXPECT_NEAR(mcnemar(5, 0), 1.0 / 32, 1e-15);
  EXPECT_NEAR(mcnemar(8, 2), 56.0 / 1024, 1e-15);   // 45 + 10 + 1
  EXPECT_NEAR(mcnemar(2, 8), 1013.0 / 1024, 1e-15);  // all but 0 and 1 heads
  EXPECT_NEAR(mcnemar(0, 7), 1, 1e-15);
  for (uint64_t n = 1; n <= 60; ++n) {
    for (uint64_t b = 0; b <= n; ++b) {
      double exact = 0;
      const auto faculty = [](uint64_t m) { return std::lgamma(static_cast<double>(m) + 1); };
      for (uint64_t k = b; k <= n; ++k) exact += std::exp(faculty(n) - faculty(k) - faculty(n - k) - static_cast<double>(n) * std::log(2));
      ASSERT_NEAR(mcnemar(b, n - b), exact, 1e-11) << b << " of " << n;
    }
  }
}

TEST(Gate, ASetPassesWhatIsBetterAndIsUsedUp) {
  EXPECT_EQ(judge_set(8, 0, 100), Verdict::kPass);                      // p = .0039
  EXPECT_EQ(judge_set(8, 2, 100), Verdict::kFail) << "p = .055";
  EXPECT_EQ(judge_set(8, 0, 1000), Verdict::kFail) << "less than 3 % of the items";
  EXPECT_EQ(judge_set(8, 0, 100, 3), Verdict::kPass) << ".0039 of .00625";
  EXPECT_EQ(judge_set(8, 0, 100, 4), Verdict::kFail) << ".0039 of .0031";
  EXPECT_EQ(judge_set(90, 0, 100, 6), Verdict::kFail) << "used too often";
  EXPECT_EQ(judge_set(0, 0, 100), Verdict::kFail);
  EXPECT_EQ(judge_set(2, 8, 100), Verdict::kFail);
  EXPECT_TRUE(harms(0, 9, 8));
  EXPECT_FALSE(harms(0, 7, 8)) << ".0078 of .00625";
  EXPECT_FALSE(harms(9, 0, 8));
  std::vector<double> gains(60, .1);
  EXPECT_EQ(judge_scores(gains), Verdict::kPass);
  for (size_t i = 0; i < gains.size(); i += 2) gains[i] = -.09;
  EXPECT_EQ(judge_scores(gains), Verdict::kFail);
  gains.assign(60, .02);
  EXPECT_EQ(judge_scores(gains), Verdict::kFail) << "certain, and too little";
  EXPECT_EQ(judge_scores({}), Verdict::kFail);
}

// Simpson's rule over the integral itself.
double evidence_by_hand(double b, double c) {
  constexpr int kParts = 20'000;
  double sum = 0;
  for (int i = 0; i <= kParts; ++i) {
    const double q = .5 + .5 * i / kParts;
    const double value = (b > 0 ? std::pow(2 * q, b) : 1) * (c > 0 ? std::pow(2 * (1 - q), c) : 1);
    sum += value * (i == 0 || i == kParts ? 1 : i % 2 == 1 ? 4 : 2);
  }
  return 2 * sum * .5 / kParts / 3;
}

TEST(Gate, EvidenceIsTheIntegralAndStaysANumber) {
  EXPECT_NEAR(log_evidence(0, 0), 0, 1e-12);
  for (const auto& [b, c] : {std::pair<uint64_t, uint64_t>{1, 0}, {0, 1}, {7, 3}, {3, 7}, {40, 11}, {11, 40}, {0, 30}}) {
    EXPECT_NEAR(std::exp(log_evidence(b, c)) / evidence_by_hand(static_cast<double>(b), static_cast<double>(c)), 1, 1e-6) << b << " " << c;
  }
  // E(b+1, c) + E(b, c+1) = 2 E(b, c), to b + c = 10⁵.
  for (const uint64_t n : {10ULL, 1000ULL, 100'000ULL}) {
    for (const double share : {0.0, .01, .3, .5, .7, .99, 1.0}) {
      const auto b = static_cast<uint64_t>(share * static_cast<double>(n));
      const uint64_t c = n - b;
      const double e = log_evidence(b, c), more = log_evidence(b + 1, c), less = log_evidence(b, c + 1);
      ASSERT_TRUE(std::isfinite(e) && std::isfinite(more) && std::isfinite(less)) << b << " " << c;
      EXPECT_NEAR((std::exp(more - e) + std::exp(less - e)) / 2, 1, 1e-6) << b << " " << c;
    }
  }
  EXPECT_GT(log_evidence(100'000, 0), 69'000);
}

// Property 16: a look after each item, and no more than one in twenty passes that is no better.
TEST(GateProperties, WhatIsNoBetterPassesInOneOfTwentyStreamsAtMost) {
  constexpr uint64_t kStreams = 10'000;
  int passed = 0, better_passed = 0, set_passed = 0;
  double looks = 0;
  for (uint64_t stream = 0; stream < kStreams; ++stream) {
    RngStream rng(16, stream, 0, 7);
    LiveGate same;
    for (int item = 0; item < 3000 && same.verdict() == Verdict::kOpen; ++item) {
      const bool candidate = rng.uniform() < .6, incumbent = rng.uniform() < .6;
      same.add(candidate, incumbent);
    }
    passed += same.verdict() == Verdict::kPass;
    // One set of 150 items, five times, each time for another candidate that is no better.
    bool once = false;
    for (int use = 1; use <= 5; ++use) {
      uint64_t better = 0, worse = 0;
      for (int item = 0; item < 150; ++item) {
        const bool candidate = rng.uniform() < .6, incumbent = rng.uniform() < .6;
        better += candidate && !incumbent, worse += incumbent && !candidate;
      }
      once = once || judge_set(better, worse, 150, use) == Verdict::kPass;
    }
    set_passed += once;
    if (stream % 10 != 0) continue;
    LiveGate gain;
    int item = 0;
    for (; item < 3000 && gain.verdict() == Verdict::kOpen; ++item) {
      const bool incumbent = rng.uniform() < .6, candidate = rng.uniform() < .75;
      gain.add(candidate, incumbent);
    }
    better_passed += gain.verdict() == Verdict::kPass;
    looks += item / (kStreams / 10.0);
  }
  std::cout << "  no better: " << passed / 100.0 << " % pass live, " << set_passed / 100.0 << " % in five uses of a set; .75 against .6: " << better_passed / 10.0
            << " % pass, after " << looks << " items\n";
  EXPECT_LE(passed, kStreams / 20);
  EXPECT_LE(set_passed, kStreams / 20);
  EXPECT_GT(passed, 0) << "a gate that nothing passes tells nothing";
  EXPECT_GT(better_passed, 950);
}

// ---- what a test leaves on a trail ----

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

TEST(NodeGate, ATestIsKnownWhereItWasMade) {
  EXPECT_EQ(gate_weight(0), 0);
  EXPECT_NEAR(gate_weight(20) * 20, 5, 1e-12);
  EXPECT_NEAR(gate_weight(400) * 400, 20, 1e-12);
  for (const bool with_map : {false, true}) {
    Host host;
    TaskId task = 0;
    const auto stream = [&](int tasks) {
      for (int i = 0; i < tasks; ++i) {
        host.announce(++task);
        host.outcome(task, 1 + task % 3, task % 2 == 0 ? 1 : 0, 10, 10);
      }
    };
    stream(with_map ? 200 : 0);
    host.node.step(AgentBorn{4, "new", test_of(80, 2, 1)}, host.now);
    host.node.step(AgentBorn{5, "unknown"}, host.now);
    EXPECT_NEAR(host.n(4), 20, 1e-5);
    EXPECT_EQ(host.n(5), 0);
    if (!with_map) {
      EXPECT_GT(host.node.landmarks(), 0U) << "the places of a test make a map";
      EXPECT_EQ(all<Send>(host.node.step(Tick{}, host.now)).size(), 0U);
    }
    const auto compare = [&](const char* when) {
      task = (task / 5 + 1) * 5 + 2;  // kind 2, the test's
      const Bid there = bid_of(host, 4, task), unknown = bid_of(host, 5, task);
      EXPECT_GT(there.mean, unknown.mean + .15) << when;
      EXPECT_LT(there.deviation, unknown.deviation) << when;
      if (host.node.landmarks() < 5) return;
      task += 2;  // kind 4, where it was not tested
      EXPECT_LT(bid_of(host, 4, task).mean, there.mean) << when;
    };
    compare("at birth");
    stream(150);  // over a map made anew
    compare("under another map");
    // It outlasts its node, and is not told twice.
    const std::string bytes = host.node.save();
    Host again;
    ASSERT_TRUE(again.node.load(bytes));
    again.now = host.now;
    const double n = host.n(4);
    again.node.step(AgentBorn{4, "new", test_of(80, 2, 1)}, again.now);
    EXPECT_NEAR(again.n(4), n, 1e-5);
  }
}

TEST(NodeGate, ATestCountsOnceWhereverItsAgentMoves) {
  Node home({.id = 0, .seed = 5}), heir({.id = 1, .seed = 5}), stranger({.id = 2, .seed = 5});
  Now now{1, 1, 0};
  const auto born = [&](Node& node) { node.step(AgentBorn{4, "new", test_of(80, 2, 1)}, now); };
  const auto n = [&](Node& node) {
    for (const Bid& bid : bids_of(node.step(Received{Announce{900, 0, place_of(902, 5), 1, 0}}, now))) {
      if (bid.agent == 4) return bid.n;
    }
    return -1.0;
  };
  born(home);
  const auto send = [&](Node& from, Node& to, const Message& message, const auto& self) -> void {
    for (const auto& effect : to.step(Received{message}, now)) {
      if (const auto* out = std::get_if<Send>(&effect)) self(to, from, out->message, self);
    }
  };
  for (int round = 0; round < 20; ++round) send(home, heir, Digest{0, true, 0, 0, {}}, send), send(heir, home, Digest{1, true, 0, 0, {}}, send);
  born(heir);
  EXPECT_GT(n(heir), 5) << "what may be believed of another's word";
  EXPECT_LE(n(heir), 20.001);
  born(stranger);
  EXPECT_NEAR(n(stranger), 20, 1e-3) << "it has heard of nobody";
}

TEST(NodeGate, ManyTestsLeaveTheMapToTheStream) {
  Host host;
  for (AgentId agent = 10; agent < 30; ++agent) {  // each asked something else, of the same five kinds
    std::vector<GateItem> test;
    for (uint64_t i = 0; i < 80; ++i) test.push_back({place_of(1'000'000 + 100 * agent + i, 5), 1});
    host.node.step(AgentBorn{agent, "tested", test}, host.now);
  }
  const size_t of_tests = host.node.landmarks();
  EXPECT_GE(of_tests, 4U);
  for (TaskId task = 1; task <= 800; ++task) {
    ++host.now.task_time;
    host.node.step(Received{Announce{task, 9, place_of(task, 30), 1, 0}}, host.now);
  }
  EXPECT_GT(host.node.landmarks(), of_tests + 8) << "the stream has thirty kinds";
}

TEST(NodeGate, NonsenseIsNoTestAndMoreThanEnoughIsNoMore) {
  Host host;
  std::vector<GateItem> bad = test_of(4, 1, 1);
  bad[0].score = NAN, bad[1].score = 2, bad[2].place[7] = std::numeric_limits<float>::infinity();
  host.node.step(AgentBorn{4, "new", bad}, host.now);
  EXPECT_NEAR(host.n(4), .25, 1e-5) << "one item of four";
  host.node.step(AgentBorn{5, "tested", test_of(5000, 1, 1)}, host.now);
  EXPECT_NEAR(host.n(5), 20, 1e-5);
  for (const Bid& bid : host.announce(1)) EXPECT_TRUE(std::isfinite(bid.index)) << bid.agent;
}

// Where few are asked, its first dance says what was measured.
TEST(NodeGate, AnArrivalDancesWithWhatItsTestShowed) {
  NodeOptions options{.id = 0, .seed = 5};
  options.ask_most = 8;
  Node node(options);
  const Now now;
  node.step(PeerJoined{1}, now);
  const auto dance_of = [](const std::vector<Effect>& effects) {
    for (const auto& send : all<Send>(effects)) {
      if (const auto* dance = std::get_if<Dance>(&send.message)) return *dance;
    }
    return Dance{};
  };
  const Dance plain = dance_of(node.step(AgentBorn{1, "a"}, now)), tested = dance_of(node.step(AgentBorn{2, "b", test_of(40, 3, 1)}, now));
  EXPECT_EQ(plain.agent, 1U);
  EXPECT_EQ(plain.n, 0);
  EXPECT_EQ(tested.agent, 2U);
  EXPECT_EQ(tested.n, 40);
  EXPECT_EQ(tested.mean, 1);
  EXPECT_NEAR(static_cast<double>(tested.lower), .95, .03);
  double cosine = 0;
  for (size_t i = 0; i < kPlaceDim; ++i) cosine += static_cast<double>(tested.place[i]) * static_cast<double>(place_of(3, 5)[i]);
  EXPECT_GT(cosine, .8) << "it dances at the place of its test";
}

}  // namespace
}  // namespace colony::swarm
