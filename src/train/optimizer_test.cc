#include "train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace colony::train {
namespace {

// transformers' get_cosine_schedule_with_warmup and get_linear_schedule_with_warmup, by their formulas.
TEST(Schedule, AsTransformersHasThem) {
  EXPECT_EQ(schedule_factor(Schedule::kCosine, 0, 3, 12), 0);
  EXPECT_DOUBLE_EQ(schedule_factor(Schedule::kCosine, 1, 3, 12), 1.0 / 3);
  EXPECT_EQ(schedule_factor(Schedule::kCosine, 3, 3, 12), 1);
  EXPECT_NEAR(schedule_factor(Schedule::kCosine, 12, 3, 12), 0, 1e-15);
  EXPECT_NEAR(schedule_factor(Schedule::kCosine, 6, 0, 12), 0.5, 1e-15);
  EXPECT_DOUBLE_EQ(schedule_factor(Schedule::kLinear, 3, 3, 12), 1);
  EXPECT_DOUBLE_EQ(schedule_factor(Schedule::kLinear, 9, 3, 12), 1.0 / 3);
  EXPECT_EQ(schedule_factor(Schedule::kLinear, 20, 3, 12), 0);
  EXPECT_DOUBLE_EQ(schedule_factor(Schedule::kConstant, 2, 4, 12), 0.5);
  EXPECT_EQ(schedule_factor(Schedule::kConstant, 11, 4, 12), 1);
  EXPECT_EQ(schedule_factor(Schedule::kCosine, 0, 0, 1), 1);
}

// Against the same recurrence in f64, with decay and clipping.
TEST(AdamW, FollowsItsRecurrence) {
  const AdamWOptions options{0.9, 0.999, 1e-8, 0.1};
  AdamW adam(3, options);
  std::vector<float> p = {1.0f, -2.0f, 0.5f};
  std::vector<double> q(p.begin(), p.end()), m(3, 0), v(3, 0);
  for (int t = 1; t <= 50; ++t) {
    std::vector<float> g;
    for (size_t i = 0; i < 3; ++i) g.push_back(static_cast<float>(std::sin(0.7 * t + static_cast<double>(i)) * std::pow(10.0, static_cast<double>(i) - 1)));
    const double norm = gradient_norm(g), factor = clip_factor(norm, 1.0), lr = 0.01;
    EXPECT_LE(norm * factor, 1.0);
    adam.step(p, g, factor, lr);
    for (size_t i = 0; i < 3; ++i) {
      const double d = static_cast<double>(g[i]) * factor;
      q[i] *= 1 - lr * options.weight_decay;
      m[i] = options.beta1 * m[i] + (1 - options.beta1) * d;
      v[i] = options.beta2 * v[i] + (1 - options.beta2) * d * d;
      q[i] -= lr * (m[i] / (1 - std::pow(options.beta1, t))) / (std::sqrt(v[i] / (1 - std::pow(options.beta2, t))) + options.eps);
      EXPECT_NEAR(static_cast<double>(p[i]), q[i], 2e-6 * std::max(1.0, std::abs(q[i])));
    }
  }
  EXPECT_EQ(clip_factor(5, 0), 1) << "0 clips nothing";
}

}  // namespace
}  // namespace colony::train
