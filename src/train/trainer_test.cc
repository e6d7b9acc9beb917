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
  EXPECT_EQ(plan(600, 12, 60).valid_share, 1);
  // Where two whole evaluations are too long, they look at fewer examples.
  EXPECT_EQ(plan(120, 4, 40).valid_share, 0.3);
  EXPECT_EQ(plan(120, 4, 40).evaluations, 2);
  EXPECT_EQ(plan(120, 4, 40).updates, 22);
  EXPECT_EQ(plan(30, 12, 60).valid_share, 0.05);
  EXPECT_EQ(plan(30, 12, 60).evaluations, 2);
  EXPECT_EQ(plan(30, 12, 60).updates, 1);
  EXPECT_EQ(plan(-5, 12, 60).updates, 1);
  EXPECT_EQ(plan(-5, 12, 60).evaluations, 1);  // it comes at the end, whatever it takes
}

TEST(PlanTime, AnswersTakeHalfOfTheEvaluationsShareAtMost) {
  const auto plan = [](double left, double evaluation, double answer, int64_t most) { return plan_time(left, 1, evaluation, 10'000, answer, most); };
  // Of 600 s a tenth each: 10 evaluations of 1 s, 6 s of answers beside each.
  EXPECT_EQ(plan(600, 1, 0.25, 50).evaluations, 10);
  EXPECT_EQ(plan(600, 1, 0.25, 50).answers, 24);
  EXPECT_EQ(plan(600, 1, 0.25, 50).updates, static_cast<int64_t>(0.95 * (600 - 10 * (1 + 24 * 0.25))));
  EXPECT_EQ(plan(600, 30, 0.25, 50).evaluations, 2);
  EXPECT_EQ(plan(600, 30, 0.25, 50).answers, 50);
  EXPECT_EQ(plan(10, 1, 2, 50).answers, 0);  // not even one
  EXPECT_EQ(plan(600, 1, 0, 50).answers, 0);
  EXPECT_EQ(plan(600, 1, 0.25, 0).evaluations, 10);
}

}  // namespace
}  // namespace colony::train
