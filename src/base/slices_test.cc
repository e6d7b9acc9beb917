#include "base/slices.h"

#include <gtest/gtest.h>

#include <string>

namespace colony {
namespace {

// The work moves the clock, so what a slice holds is known.
TEST(Slices, GoOnlyWhileTheOwnerWaits) {
  ManualClock clock;
  std::string seen;
  Slices slices(
      [&](Slices& own) {
        for (char c = 'a'; c < 'h'; ++c) {
          seen += c;
          clock.advance(Millis(3));
          EXPECT_TRUE(own.breathe());
        }
      },
      clock);
  EXPECT_EQ(seen, "");
  EXPECT_TRUE(slices.run(Millis(7)));  // 3, 6, 9
  EXPECT_EQ(seen, "abc");
  EXPECT_TRUE(slices.run(Millis(1)));
  EXPECT_EQ(seen, "abcd");
  EXPECT_FALSE(slices.run(Millis(100)));
  EXPECT_EQ(seen, "abcdefg");
  EXPECT_FALSE(slices.run(Millis(100)));
  EXPECT_EQ(seen, "abcdefg");
}

TEST(Slices, AreToldToEnd) {
  ManualClock clock;
  int breaths = 0;
  bool cleaned = false;
  {
    Slices slices(
        [&](Slices& own) {
          while (own.breathe()) ++breaths;
          cleaned = true;
        },
        clock);
    EXPECT_TRUE(slices.run(Millis(0)));
    EXPECT_TRUE(slices.run(Millis(0)));
    EXPECT_FALSE(cleaned);
  }
  EXPECT_TRUE(cleaned);
  EXPECT_EQ(breaths, 1);
  const Slices never([](Slices&) { FAIL(); }, clock);
}

}  // namespace
}  // namespace colony
