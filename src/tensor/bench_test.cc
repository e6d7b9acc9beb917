#include "tensor/bench.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "base/clock.h"

namespace colony::tensor {
namespace {

// A limit that a real product passes is no limit. Noise of a busy machine: half as much again.
TEST(SlowBench, ProductsStayBelowTheMachinesLimits) {
  ThreadPool pool(1);
  const SystemClock clock;
  const MachineLimits limits = measure_limits(pool, clock);
  for (const double limit : {limits.read_gb_per_s, limits.f32_gop_per_s, limits.bf16_gop_per_s,
                             limits.int8_gop_per_s}) {
    ASSERT_TRUE(std::isfinite(limit));
    ASSERT_GT(limit, 0.1);
  }
  const WeightType types[] = {WeightType::kInt8};
  const int64_t rows[] = {16};
  const auto measures = measure_matmul(types, rows, pool, clock);
  ASSERT_EQ(measures.size(), 1u);
  EXPECT_GT(measures[0].fastest, 0);
  EXPECT_LE(measures[0].fastest, measures[0].seconds);
  EXPECT_GT(measures[0].gop_per_s, limits.int8_gop_per_s / 100);
  EXPECT_LT(measures[0].gop_per_s, limits.int8_gop_per_s * 1.5);
  std::printf("  read %.1f GB/s; f32 %.0f, bf16 %.0f, int8 %.0f GOP/s; product of 16 rows %.0f GOP/s\n",
         limits.read_gb_per_s, limits.f32_gop_per_s, limits.bf16_gop_per_s, limits.int8_gop_per_s,
         measures[0].gop_per_s);
}

}  // namespace
}  // namespace colony::tensor
