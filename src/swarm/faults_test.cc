// What goes wrong between nodes, and what must come of it: nothing lost, nothing counted twice,
// nothing left behind.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "base/rng.h"
#include "base/digest.h"
#include "swarm/host_test.h"
#include "swarm/node.h"
#include "swarm/places_test.h"

namespace colony::swarm {
namespace {

// An agent failed, another answered: two deposits of one task. And one whose announcement was lost.
TEST(Faults, ARebuildKeepsEveryDeposit) {
  Host host;
  size_t twos = 0, threes = 0;
  for (TaskId task = 1; task <= 1100; ++task) {
    host.announce(task);
    ASSERT_EQ(host.outcome(task, 1, 0), 1U);
    if (task % 2 == 0) {
      ASSERT_EQ(host.outcome(task, 2, 1), 1U);
      ++twos;
    }
    if (task % 5 == 0) {
      ASSERT_EQ(host.outcome(500'000 + task, 3, .5), 1U);
      ++threes;
    }
    ASSERT_EQ(host.n(1), static_cast<double>(task)) << task;
    ASSERT_EQ(host.n(2), static_cast<double>(twos)) << task;
    ASSERT_EQ(host.n(3), static_cast<double>(threes)) << task;
    if (task == 300) {  // and so does a restart
      const std::string bytes = host.node.save();
      Host again;
      ASSERT_TRUE(again.node.load(bytes));
      again.now = host.now;
      host.node = std::move(again.node);
    }
  }
  ASSERT_GE(host.node.landmarks(), 5U);
}

TEST(Faults, LandmarksAreNumberedAlikeEverywhere) {
  // Fewer kinds than clusters: some clusters merge.
  for (const size_t kinds : {2UL, 5UL, 9UL}) {
    Host host;
    std::map<size_t, int> seen;
    for (TaskId task = 1; task <= 600; ++task) {
      ++host.now.task_time;
      const Place place = place_of(task, kinds);
      host.node.step(Received{Announce{task, 9, place, 1, 0}}, host.now);
      // Agent 1 is good at the first kind only.
      host.node.step(Received{Outcome{task, 1, place, task % kinds == 0 ? 1.0 : 0.0, 1}}, host.now);
    }
    for (TaskId task = 601; task <= 700; ++task) {
      const Place place = place_of(task, kinds);
      const auto at = host.node.landmark_of(place);
      ASSERT_TRUE(at);
      ASSERT_LT(*at, host.node.landmarks());
      ++seen[*at];
      const auto trail = host.node.trails()[0];
      ASSERT_EQ(trail.at_landmark.size(), host.node.landmarks());
      if (task % kinds == 0) {
        EXPECT_GT(trail.at_landmark[*at], .7);
      } else {
        EXPECT_LT(trail.at_landmark[*at], .3);
      }
    }
    EXPECT_EQ(seen.size(), kinds);
  }
}

TEST(Faults, WhatIsAssignedTwiceIsPendingOnce) {
  Host host;
  host.announce(1);
  EXPECT_EQ(host.assign(1, 1), 1U);
  host.assign(1, 1);
  EXPECT_EQ(host.load(1), 1);
  EXPECT_EQ(host.outcome(1, 1, 1), 1U);
  EXPECT_EQ(host.load(1), 0);
  host.assign(1, 1);  // late: the outcome is here
  EXPECT_EQ(host.load(1), 0);
  EXPECT_EQ(host.outcome(1, 1, 1), 0U);
}

TEST(Faults, ANewRoundEndsTheOldLease) {
  Host host;
  host.announce(1);
  host.assign(1, 1);
  host.announce(1);  // the same announcement once more
  EXPECT_EQ(host.load(1), 1);
  host.announce(1, 1);
  EXPECT_EQ(host.load(1), 0);
  host.assign(1, 2, 1);
  EXPECT_EQ(host.load(2), 1);
  host.announce(1, 0);  // late, of the old round
  EXPECT_EQ(host.load(2), 1);
  host.announce(1, 0, 8);  // another node asks: the asker died
  EXPECT_EQ(host.load(2), 0);
  // The work of the first round comes in after all: it was checked, it counts.
  EXPECT_EQ(host.outcome(1, 1, 1), 1U);
}

TEST(Faults, ALeaseThatNobodyEndsLapses) {
  Host host;
  host.announce(1);
  host.assign(1, 1);
  host.now.step = 100'000;
  EXPECT_EQ(host.load(1), 1);
  host.now.step = 1'000'000;
  EXPECT_EQ(host.load(1), 0);
  EXPECT_EQ(host.outcome(1, 1, 1), 1U);
}

TEST(Faults, PendingTasksLeaveNoTrace) {
  Host host, quiet;
  for (TaskId task = 1; task <= 90; ++task) {
    for (Host* one : {&host, &quiet}) {
      one->announce(task);
      one->outcome(task, 1 + task % 3, task % 4 == 0 ? 0 : 1);
    }
    if (task % 7 == 0) {
      host.assign(task + 5000, 1);
      host.assign(task + 6000, 2);
    }
  }
  EXPECT_EQ(host.load(1), 12);
  quiet.announce(1'000'001);
  for (TaskId task = 1; task <= 90; ++task) {
    host.node.step(TaskWithdrawn{task + 5000}, host.now);
    host.node.step(TaskWithdrawn{task + 6000}, host.now);
  }
  const auto a = host.announce(95), b = quiet.announce(95);
  ASSERT_EQ(a.size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(a[i].index, b[i].index);
    EXPECT_EQ(a[i].load, 0);
  }
  EXPECT_EQ(host.node.save(), quiet.node.save());
}

TEST(Faults, WhoRetiresLeavesItsWorkBehind) {
  Host host;
  host.announce(1);
  host.assign(1, 1);
  host.node.step(AgentRetired{1}, host.now);
  EXPECT_EQ(host.announce(2).size(), 2U);
  host.node.step(AgentBorn{1, "a1"}, host.now);
  EXPECT_EQ(host.load(1), 0);
}

TEST(Faults, AWithdrawnTaskIsNotAssigned) {
  Host host;
  host.node.step(TaskEntered{1, place_of(1, 5), 1}, host.now);
  for (const Bid& bid : host.announce(1, 0, 0)) host.node.step(Received{bid}, host.now);
  host.node.step(TaskWithdrawn{1}, host.now);
  EXPECT_TRUE(host.node.step(BidsClosed{1}, host.now).empty());
}

TEST(Faults, BidsThatAreNoNumbersAreNotHeard) {
  Host host;
  host.node.step(TaskEntered{1, place_of(1, 5), 1}, host.now);
  for (Bid bid : host.announce(1, 0, 0)) {
    if (bid.agent == 1) bid.mean = std::nan("");
    if (bid.agent == 2) bid.index = INFINITY;
    host.node.step(Received{bid}, host.now);
  }
  const auto explained = all<Explain>(host.node.step(BidsClosed{1}, host.now));
  ASSERT_EQ(explained.size(), 1U);
  EXPECT_EQ(explained[0].winner, 3U);
  EXPECT_EQ(explained[0].reason, "only_bid");
}

std::string saved() {
  Host host;
  for (TaskId task = 1; task <= 80; ++task) {
    host.announce(task);
    host.outcome(task, 1 + task % 3, task % 5 == 0 ? 0 : 1);
  }
  return host.node.save();
}

TEST(Faults, NoByteOfASaveCanBeChangedOrMissing) {
  const std::string bytes = saved();
  Host host;
  const std::string before = host.node.save();
  for (size_t i = 0; i < bytes.size(); i += i < 200 || i + 200 > bytes.size() ? 1 : 23) {
    std::string changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ (1 << i % 8));
    ASSERT_EQ(host.node.load(changed).error().code, ErrorCode::kCorrupt) << i;
    ASSERT_EQ(host.node.load(bytes.substr(0, i)).error().code, ErrorCode::kCorrupt) << i;
  }
  EXPECT_EQ(host.node.save(), before);
  EXPECT_TRUE(host.node.load(bytes));
  EXPECT_EQ(host.node.save(), bytes);
}

// With the checksum made right again: refused, or the node works and says only numbers.
TEST(Faults, ForgedSavesAreRefusedOrHarmless) {
  const std::string bytes = saved();
  const size_t body = bytes.size() - 64;
  RngStream rng(3, 0, 0, 7);
  int refused = 0, taken = 0;
  for (int attempt = 0; attempt < 1500; ++attempt) {
    std::string forged = bytes.substr(0, body);
    const size_t at = 8 + rng.below(body - 16);
    static constexpr double kNumbers[] = {NAN, INFINITY, -INFINITY, 1e308, -1e308, -1, 1e17, 0, 1e-308};
    if (attempt % 3 == 0) {
      forged[at] = static_cast<char>(rng.below(256));
    } else if (attempt % 3 == 1) {
      std::memcpy(forged.data() + at, &kNumbers[rng.below(std::size(kNumbers))], 8);
    } else {
      forged.resize(at);
    }
    forged += sha256_hex(forged);
    Host host;
    const std::string before = host.node.save();
    const auto status = host.node.load(forged);
    if (!status) {
      ++refused;
      ASSERT_EQ(host.node.save(), before);
      continue;
    }
    ++taken;
    for (TaskId task = 1; task <= 60; ++task) {
      const auto bids = host.announce(task);
      ASSERT_EQ(bids.size(), 3U);
      for (const Bid& bid : bids) {
        ASSERT_TRUE(std::isfinite(bid.index) && std::isfinite(bid.deviation)) << attempt << " at " << at;
      }
      host.outcome(task, 1 + task % 3, 1);
    }
    ASSERT_TRUE(host.node.load(host.node.save())) << attempt << " at " << at;
  }
  EXPECT_GT(refused, 500);
  EXPECT_GT(taken, 50);
}

TEST(Faults, ALongNameCanBeSavedAndLoaded) {
  Host host;
  host.node.step(AgentBorn{7, std::string(10'000, 'x')}, host.now);
  Host other;
  EXPECT_TRUE(other.node.load(host.node.save()));
}

}  // namespace
}  // namespace colony::swarm
