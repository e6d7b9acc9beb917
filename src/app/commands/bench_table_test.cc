#include "app/commands/bench_table.h"

#include <gtest/gtest.h>

namespace colony::app {
namespace {

Json printed(const Cell& cell, const Rounds& ours, const std::vector<PeerSide>& peers) {
  testing::internal::CaptureStdout();
  print_cell("engine", true, cell, ours, peers, "");
  return *parse_json(testing::internal::GetCapturedStdout());
}

TEST(BenchTable, MediansAndSpread) {
  const Rounds rounds{{90, 9}, {100, 10}, {120, 12}};
  EXPECT_DOUBLE_EQ(middle(rounds), 100);
  EXPECT_DOUBLE_EQ(middle_cpu(rounds), 10);
  EXPECT_DOUBLE_EQ(spread(rounds), .3);
  EXPECT_DOUBLE_EQ(middle({}), 0);
  EXPECT_DOUBLE_EQ(spread({}), 0);
}

TEST(BenchTable, ValuesByUnit) {
  const Sample sample{2, 4};
  EXPECT_DOUBLE_EQ(value_of(sample, Unit::kTokensPerSecond, 100).wall, 50);
  EXPECT_DOUBLE_EQ(value_of(sample, Unit::kTokensPerSecond, 100).cpu, 25);
  EXPECT_DOUBLE_EQ(value_of(sample, Unit::kMilliseconds, 1).wall, 2000);
  EXPECT_DOUBLE_EQ(value_of(sample, Unit::kSeconds, 1).cpu, 4);
}

TEST(BenchTable, ARatioOverOneIsBetterWhicheverWayTheUnitGoes) {
  const std::vector<PeerSide> peer{{"other", "1.0", {{200, 0}}, "", Json::object()}};
  const Json rate = printed({"a", Unit::kTokensPerSecond, "int8", 800, "memory"}, {{400, 0}}, peer);
  EXPECT_DOUBLE_EQ(rate["ratio"].get<double>(), 2);
  EXPECT_DOUBLE_EQ(rate["of_limit"].get<double>(), .5);
  const Json time = printed({"b", Unit::kMilliseconds, "int8", 50, "memory"}, {{100, 0}}, peer);
  EXPECT_DOUBLE_EQ(time["ratio"].get<double>(), 2);
  EXPECT_DOUBLE_EQ(time["of_limit"].get<double>(), .5);
  EXPECT_EQ(time["better"], "lower");
}

TEST(BenchTable, APeerWithoutRoundsIsNamedWithItsReasonAndHasNoNumbers) {
  const Json line = printed({"a", Unit::kTokensPerSecond, "int8", 0, ""}, {{400, 0}}, {{"other", "", {}, "does not install", Json::object()}});
  EXPECT_EQ(line["peer_missing"], "does not install");
  EXPECT_FALSE(line.contains("peer"));
  EXPECT_FALSE(line.contains("ratio"));
  EXPECT_FALSE(line.contains("limit"));
}

}  // namespace
}  // namespace colony::app
