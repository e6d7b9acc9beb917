#include "swarm/specialisation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"

namespace colony::swarm {
namespace {

using Tasks = std::vector<std::pair<uint32_t, uint32_t>>;

TEST(DivisionOfLabour, IsOneWhereEachKindHasItsAgent) {
  Tasks tasks;
  for (uint32_t i = 0; i < 1000; ++i) tasks.emplace_back(i % 7, 100 - i % 7);
  EXPECT_NEAR(division_of_labour(tasks).task, 1, 1e-9);
  EXPECT_NEAR(division_of_labour(tasks).individual, 1, 1e-9);
}

TEST(DivisionOfLabour, IsNothingWhereWorkIsDrawnByLot) {
  RngStream rng(5, 0, 0, 7);
  Tasks tasks;
  for (uint32_t i = 0; i < 10'000; ++i) tasks.emplace_back(static_cast<uint32_t>(rng.below(9)), static_cast<uint32_t>(rng.below(12)));
  EXPECT_LT(std::abs(division_of_labour(tasks).task), .02);
  EXPECT_LT(std::abs(division_of_labour(tasks).individual), .02);
}

TEST(DivisionOfLabour, TellsTheTwoSidesApartAndKnowsNoNames) {
  Tasks tasks, renamed;
  for (uint32_t i = 0; i < 1000; ++i) {
    tasks.emplace_back(i % 2, i % 2 + 2 * (i / 2 % 3));  // three agents a kind, no agent two kinds
    renamed.emplace_back(50 - tasks.back().first, 7 * tasks.back().second + 3);
  }
  const auto index = division_of_labour(tasks), other = division_of_labour(renamed);
  EXPECT_NEAR(index.task, 1, 1e-9);
  EXPECT_NEAR(index.individual, std::log(2) / std::log(6), .01);
  EXPECT_NEAR(other.task, index.task, 1e-9);
  EXPECT_NEAR(other.individual, index.individual, 1e-9);
  EXPECT_EQ(division_of_labour({}).task, 0);
  EXPECT_EQ(division_of_labour(Tasks(50, {1, 1})).individual, 0);
}

TEST(Thresholds, MoveWithSuccessAndStayInBounds) {
  Thresholds thresholds;
  EXPECT_EQ(thresholds.at(3), .5);
  const double before = thresholds.response(3, .5, 0);
  for (int i = 0; i < 10; ++i) thresholds.outcome(3, 1);
  EXPECT_NEAR(thresholds.at(3), .5 * std::pow(.95, 10), 1e-6);
  EXPECT_GT(thresholds.response(3, .5, 0), before);
  EXPECT_EQ(thresholds.at(4), .5);
  for (int i = 0; i < 1000; ++i) thresholds.outcome(3, 1), thresholds.outcome(5, 0);
  EXPECT_NEAR(thresholds.at(3), .05, 1e-6);
  EXPECT_NEAR(thresholds.at(5), .95, 1e-6);
  for (int i = 0; i < 10'000; ++i) thresholds.idle(3), thresholds.idle(5);
  EXPECT_NEAR(thresholds.at(3), .5, 1e-3);
  EXPECT_NEAR(thresholds.at(5), .5, 1e-3);
  EXPECT_EQ(thresholds.response(-1, 0, 0), 0);
  EXPECT_EQ(thresholds.response(-1, .5, 1), 1);
}

TEST(Prices, StayInBoundsAndFallToNothing) {
  double price = 0;
  for (int i = 0; i < 1000; ++i) price = next_price(price, 100, 4);
  EXPECT_EQ(price, .8);
  for (int i = 0; i < 100; ++i) price = next_price(price, 0, 4);
  EXPECT_EQ(price, 0);
}

}  // namespace
}  // namespace colony::swarm
