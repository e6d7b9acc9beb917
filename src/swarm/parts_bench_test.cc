#include "swarm/parts_bench.h"

#include <gtest/gtest.h>

#include "swarm/drift_bench.h"

namespace colony::swarm {
namespace {

TEST(PartsBench, TheSameSeedIsTheSameRunAndMarksStandWhereTheyMust) {
  const DriftCourse course(3, DriftVariant::kNone);
  LoadOptions options;
  options.tasks = 600;
  const auto once = play_loaded(course, options, "colony", {}, 3), again = play_loaded(course, options, "colony", {}, 3);
  EXPECT_EQ(once.goodput, again.goodput);
  EXPECT_EQ(once.p95_s, again.p95_s);
  EXPECT_NE(once.p95_s, play_loaded(course, options, "colony", {}, 4).p95_s);
  EXPECT_NEAR(once.bids, 20, 1e-9) << "all agents but the late expert";
  const auto random = play_loaded(course, options, "random", {}, 3), shortest = play_loaded(course, options, "shortest-queue", {}, 3);
  EXPECT_EQ(random.bids, 0);
  EXPECT_LT(shortest.p95_s, random.p95_s);
  EXPECT_LE(once.goodput, once.right);
  // No load, no queues: everything is in time.
  options.load = .01;
  const auto calm = play_loaded(course, options, "random", {}, 3);
  EXPECT_NEAR(calm.goodput, calm.right, .01);
  EXPECT_LT(calm.p95_s, 4);
}

// The price is what moves work from a queue.
TEST(PartsBench, PricesShortenQueues) {
  const DriftCourse course(5, DriftVariant::kNone);
  LoadOptions options;
  options.tasks = 1500;
  NodeOptions priced;
  priced.price = true;
  EXPECT_LT(play_loaded(course, options, "colony", priced, 5).p95_s, play_loaded(course, options, "colony", {}, 5).p95_s);
}

}  // namespace
}  // namespace colony::swarm
