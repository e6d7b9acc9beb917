#include "swarm/quorum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iostream>

#include "base/rng.h"

namespace colony::swarm {
namespace {

TEST(Quorum, OneVoteNeverDecidesTwoAlikeDo) {
  Quorum quorum;
  quorum.vote(1, .95, 7);
  EXPECT_FALSE(quorum.verdict(true));
  quorum.vote(1, .95, 7);  // the same agent once more
  EXPECT_EQ(quorum.votes(), 1);
  EXPECT_FALSE(quorum.verdict(true));
  quorum.vote(2, .6, 7);
  const auto verdict = quorum.verdict(true);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->answer, 7U);
  EXPECT_EQ(verdict->agent, 1U) << "the likelier of the two";
  EXPECT_EQ(verdict->votes, 2);
  EXPECT_NEAR(verdict->probability, 1, 1e-12);
}

TEST(Quorum, NobodyLeftToAskDecidesWithWhatThereIs) {
  Quorum quorum;
  EXPECT_FALSE(quorum.verdict(false)) << "nothing was said";
  quorum.vote(1, .5, 7);
  EXPECT_TRUE(quorum.verdict(false));
}

TEST(Quorum, TheOrderOfVotesDoesNotMatter) {
  RngStream rng(3, 0, 0, 7);
  for (int round = 0; round < 200; ++round) {
    struct One {
      AgentId agent;
      double q;
      uint64_t answer;
    };
    std::vector<One> votes;
    for (AgentId a = 1; a <= 5; ++a) votes.push_back({a, .2 + .8 * rng.uniform(), 1 + rng.below(3)});
    const auto decide = [&] {
      Quorum quorum;
      for (const auto& v : votes) quorum.vote(v.agent, v.q, v.answer);
      return *quorum.verdict(false);
    };
    const auto before = decide();
    std::reverse(votes.begin(), votes.end());
    std::swap(votes[1], votes[3]);
    const auto after = decide();
    EXPECT_EQ(after.answer, before.answer);
    EXPECT_EQ(after.agent, before.agent);
    EXPECT_EQ(after.probability, before.probability);
    EXPECT_NEAR(before.dissent, 1 - before.probability, 1e-15);
  }
}

TEST(Quorum, ADeterministicCheckDecidesAlone) {
  Quorum quorum;
  quorum.vote(1, .9, 7), quorum.vote(2, .9, 7), quorum.vote(3, .3, 8);
  quorum.checked(8, true);
  EXPECT_EQ(quorum.verdict(true)->answer, 8U);
  EXPECT_EQ(quorum.verdict(true)->probability, 1);
  Quorum failed;
  failed.vote(1, .9, 7), failed.vote(2, .9, 7);
  failed.checked(7, false);
  EXPECT_FALSE(failed.verdict(true)) << "all that was said is wrong";
  EXPECT_TRUE(failed.verdict(false)->undecided);
  failed.vote(3, .4, 8);
  EXPECT_EQ(failed.verdict(false)->answer, 8U);
}

TEST(Quorum, AVerifierIsWorthItsRates) {
  Quorum quorum(QuorumOptions::thorough());
  quorum.vote(1, .6, 7), quorum.vote(2, .6, 8);
  EXPECT_FALSE(quorum.verdict(true));
  const double before = quorum.tallies().at(7).evidence;
  quorum.verified(7, true, .9, .1);
  quorum.verified(7, true, .9, .1);  // once an answer
  EXPECT_NEAR(quorum.tallies().at(7).evidence, before + std::log(9), 1e-9);
  quorum.verified(8, false, 1, 0);
  EXPECT_NEAR(quorum.tallies().at(8).evidence, before - 3, 1e-9) << "never more than 3";
}

TEST(Quorum, ASplitAtTheCapIsSaidToBeOne) {
  Quorum quorum;
  for (AgentId a = 1; a <= 4; ++a) quorum.vote(a, .5, a % 2);
  quorum.vote(5, .3, 3);
  const auto verdict = quorum.verdict(true);
  ASSERT_TRUE(verdict) << "the cap";
  EXPECT_TRUE(verdict->undecided);
  EXPECT_EQ(quorum.tallies().size(), 3U) << "dissent is kept";
}

// The simulation of swarm_algorithms 4.1: 2,000 questions × 10 seeds, 5 options, difficulty N(0, 1.3)
// on the logit shared by all, joint errors agree 60 %, agents .45 to .85 known to ± .04, best first.
TEST(Quorum, QuickAsksFewAndLosesNothing) {
  constexpr int kAgents = 15, kOptions = 5;
  double one = 0, quick = 0, five = 0, majority = 0, calls = 0;
  constexpr int kQuestions = 20'000;
  for (int question = 0; question < kQuestions; ++question) {
    RngStream rng(11, static_cast<uint64_t>(question), 0, 7);
    const double difficulty = 1.3 * rng.normal();
    const uint64_t common = 1 + rng.below(kOptions - 1);
    QuorumOptions options = QuorumOptions::quick(), all = options;
    options.options = all.options = kOptions;
    all.cap = 5, all.lead = 1e9;
    Quorum recruited(options), fixed(all);
    std::array<int, kOptions> counts{};
    std::optional<Quorum::Verdict> verdict;
    for (int agent = 0; agent < kAgents; ++agent) {
      const double skill = .85 - .4 * agent / (kAgents - 1);
      const double p = 1 / (1 + std::exp(-(std::log(skill / (1 - skill)) * 1.35 - difficulty)));  // mean over difficulties near skill
      const uint64_t answer = rng.uniform() < p ? 0 : rng.uniform() < .6 ? common : 1 + rng.below(kOptions - 1);
      const double known = skill + .04 * rng.normal();
      if (agent == 0) one += answer == 0;
      if (agent < 3) ++counts[answer];
      if (agent < 5) fixed.vote(static_cast<AgentId>(agent + 1), known, answer);
      if (!verdict) {
        recruited.vote(static_cast<AgentId>(agent + 1), known, answer);
        calls += 1;
        verdict = recruited.verdict(agent + 1 < kAgents);
      }
    }
    ASSERT_TRUE(verdict);
    ASSERT_GE(verdict->votes, 2);
    ASSERT_LE(verdict->votes, options.cap);
    quick += verdict->answer == 0;
    five += fixed.verdict(true)->answer == 0;
    majority += std::max_element(counts.begin(), counts.end()) == counts.begin();
  }
  std::cout << "  one vote " << one / kQuestions << ", majority of 3 " << majority / kQuestions << ", quick " << quick / kQuestions << " with "
            << calls / kQuestions << " calls, five weighted votes " << five / kQuestions << "\n";
  EXPECT_GT(quick, one + .02 * kQuestions);
  EXPECT_GT(quick, five - .01 * kQuestions);
  EXPECT_LT(calls, 3 * kQuestions);
}

}  // namespace
}  // namespace colony::swarm
