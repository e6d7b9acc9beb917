#include "train/trainer.h"

#include <gtest/gtest.h>

namespace colony::train {
namespace {

TEST(PlanTime, EvaluationsTakeAFifthOfTheTimeAtMostAndTrainingTheRest) {
  const auto plan = [](double left, double update, double evaluation, int64_t most = 10'000) { return plan_time(left, update, evaluation, most); };
  // Ten evaluations of a minute would fill the ten minutes.
  EXPECT_EQ(plan(600, 12, 60).evaluations, 2);
  EXPECT_EQ(plan(600, 12, 60).updates, 38);
  EXPECT_EQ(plan(600, 1, 1).evaluations, 10);
  EXPECT_EQ(plan(600, 1, 1).updates, 560);
  EXPECT_EQ(plan(600, 1, 0).updates, 570);  // nothing to evaluate
  EXPECT_EQ(plan(600, 1, 1, 50).updates, 50);
  EXPECT_EQ(plan(30, 12, 60).evaluations, 1);  // it comes at the end, whatever it takes
  EXPECT_EQ(plan(30, 12, 60).updates, 1);
  EXPECT_EQ(plan(-5, 12, 60).updates, 1);
}

}  // namespace
}  // namespace colony::train
