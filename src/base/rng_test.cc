#include "base/rng.h"

#include <gtest/gtest.h>

namespace colony {
namespace {

// Known-answer vectors of Random123 (kat_vectors, philox4x32 10).
TEST(Philox, MatchesTheKnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RngStream, SameNameSameNumbersOtherNameOthers) {
  RngStream a(1, 2, 3, 4), b(1, 2, 3, 4), other(1, 2, 3, 5);
  for (int i = 0; i < 10; ++i) {
    const auto x = a.next_u64();
    EXPECT_EQ(x, b.next_u64());
    EXPECT_NE(x, other.next_u64());
  }
}

TEST(RngStream, UniformAndNormalHaveTheirMoments) {
  RngStream rng(7, 0, 0, 1);
  double sum = 0, normal = 0, square = 0;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) sum += rng.uniform();
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.normal();
    normal += x;
    square += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.01);
  EXPECT_NEAR(normal / kDraws, 0.0, 0.03);
  EXPECT_NEAR(square / kDraws, 1.0, 0.05);
}

TEST(RngStream, BelowStaysBelowAndReachesAll) {
  RngStream rng(1, 1, 1, 1);
  std::array<int, 7> seen{};
  for (int i = 0; i < 1000; ++i) ++seen[rng.below(7)];
  for (int count : seen) EXPECT_GT(count, 80);
}

}  // namespace
}  // namespace colony
