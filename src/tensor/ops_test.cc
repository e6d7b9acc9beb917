#include "tensor/ops.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

#include "base/rng.h"
#include "tensor/compare.h"
#include "tensor/kernels.h"
#include "tensor/sampling.h"

namespace colony::tensor {
namespace {

std::vector<float> noise(size_t size, uint32_t name, double spread = 1) {
  std::vector<float> values(size);
  RngStream rng(3, name, 0, 1);
  for (auto& x : values) x = static_cast<float>(spread * rng.normal());
  return values;
}

// Runs `op` under every instruction set this machine has and wants the same bytes.
template <typename Op>
void same_bits_everywhere(const Op& op) {
  const std::vector<float> want = op();
  for (const char* level : {"avx2", "avx512"}) {
    const ForceIsa forced(level);
    if (!forced.available()) continue;
    const std::vector<float> got = op();
    EXPECT_EQ(std::memcmp(got.data(), want.data(), want.size() * 4), 0) << level;
  }
}

TEST(RmsNorm, AgreesWithItsDoubleTwinAndMayWorkInPlace) {
  ThreadPool pool(2);
  for (const size_t dim : {1u, 15u, 16u, 33u, 576u}) {
    const auto x = noise(5 * dim, 1), w = noise(dim, 2);
    std::vector<double> want(x.size());
    for (size_t r = 0; r < 5; ++r) {
      double squares = 0;
      for (size_t i = 0; i < dim; ++i) squares += std::pow(static_cast<double>(x[r * dim + i]), 2);
      for (size_t i = 0; i < dim; ++i) {
        want[r * dim + i] = static_cast<double>(x[r * dim + i]) * static_cast<double>(w[i]) /
                            std::sqrt(squares / static_cast<double>(dim) + 1e-5);
      }
    }
    std::vector<float> y(x.size());
    rms_norm(x, w, 1e-5f, y, pool);
    EXPECT_EQ((differs<float, double>(y, want, 1e-6)), "") << dim;
    auto in_place = x;
    rms_norm(in_place, w, 1e-5f, in_place, pool);
    EXPECT_EQ(in_place, y);
    same_bits_everywhere([&] {
      std::vector<float> out(x.size());
      rms_norm(x, w, 1e-5f, out, pool);
      return out;
    });
  }
}

TEST(SiluMul, AgreesWithItsDoubleTwin) {
  ThreadPool pool(2);
  for (const int64_t f : {1, 17, 64, 1536}) {
    auto gate_up = noise(static_cast<size_t>(3 * 2 * f), 3, 4);
    gate_up[0] = -200.0f;  // exp(200) overflows float: silu must come out 0
    std::vector<double> want(static_cast<size_t>(3 * f));
    for (int64_t r = 0; r < 3; ++r) {
      for (int64_t i = 0; i < f; ++i) {
        const auto g = static_cast<double>(gate_up[static_cast<size_t>(r * 2 * f + i)]);
        want[static_cast<size_t>(r * f + i)] =
            g / (1 + std::exp(-g)) * static_cast<double>(gate_up[static_cast<size_t>(r * 2 * f + f + i)]);
      }
    }
    std::vector<float> y(static_cast<size_t>(3 * f));
    silu_mul(gate_up, 3, f, y, pool);
    EXPECT_EQ((differs<float, double>(y, want, 1e-6)), "") << f;
    same_bits_everywhere([&] {
      std::vector<float> out(static_cast<size_t>(3 * f));
      silu_mul(gate_up, 3, f, out, pool);
      return out;
    });
  }
}

TEST(GeluMul, AgreesWithItsDoubleTwin) {
  ThreadPool pool(2);
  for (const int64_t f : {1, 17, 64, 1536}) {
    auto gate_up = noise(static_cast<size_t>(3 * 2 * f), 3, 3);
    gate_up[0] = -200.0f;
    gate_up[static_cast<size_t>(2 * f)] = 200.0f;
    std::vector<double> want(static_cast<size_t>(3 * f));
    for (int64_t r = 0; r < 3; ++r) {
      for (int64_t i = 0; i < f; ++i) {
        const auto g = static_cast<double>(gate_up[static_cast<size_t>(r * 2 * f + i)]);
        want[static_cast<size_t>(r * f + i)] = 0.5 * g * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (g + 0.044715 * g * g * g))) *
                                               static_cast<double>(gate_up[static_cast<size_t>(r * 2 * f + f + i)]);
      }
    }
    std::vector<float> y(static_cast<size_t>(3 * f));
    gelu_mul(gate_up, 3, f, y, pool);
    EXPECT_EQ((differs<float, double>(y, want, 1e-6)), "") << f;
    same_bits_everywhere([&] {
      std::vector<float> out(static_cast<size_t>(3 * f));
      gelu_mul(gate_up, 3, f, out, pool);
      return out;
    });
  }
}

TEST(Rope, RotatesHalvesAndLeavesTheRest) {
  ThreadPool pool(1);
  constexpr int kHeads = 2, kDim = 6, kHalf = 2;  // partial: numbers 4 and 5 of a head stay
  std::vector<float> x = noise(2 * 20, 4), before = x;
  std::vector<float> cos, sin;
  for (int r = 0; r < 2; ++r) {
    for (int i = 0; i < kHalf; ++i) {
      cos.push_back(std::cos(0.3f * static_cast<float>(r + 1) * static_cast<float>(i + 1)));
      sin.push_back(std::sin(0.3f * static_cast<float>(r + 1) * static_cast<float>(i + 1)));
    }
  }
  rope(x, 20, kHeads, kDim, cos, sin, kHalf, pool);
  for (size_t r = 0; r < 2; ++r) {
    for (size_t h = 0; h < kHeads; ++h) {
      for (size_t i = 0; i < kHalf; ++i) {
        const size_t at = r * 20 + h * kDim + i;
        const float c = cos[r * kHalf + i], s = sin[r * kHalf + i];
        EXPECT_FLOAT_EQ(x[at], before[at] * c - before[at + kHalf] * s);
        EXPECT_FLOAT_EQ(x[at + kHalf], before[at + kHalf] * c + before[at] * s);
      }
      EXPECT_EQ(x[r * 20 + h * kDim + 4], before[r * 20 + h * kDim + 4]);
    }
    for (size_t i = kHeads * kDim; i < 20; ++i) EXPECT_EQ(x[r * 20 + i], before[r * 20 + i]);
  }
}

TEST(AddInPlace, AddsEveryNumber) {
  ThreadPool pool(3);
  const auto a = noise(20001, 5), b = noise(20001, 6);
  auto x = a;
  add_in_place(x, b, pool);
  for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(x[i], a[i] + b[i]);
}

TEST(Bf16, RoundsToNearestEvenAndKeepsNan) {
  EXPECT_EQ(to_bf16(1.0f), 0x3f80);
  EXPECT_EQ(to_bf16(1.0f + 0x1p-8f), 0x3f80);       // tie to even
  EXPECT_EQ(to_bf16(1.0f + 3 * 0x1p-8f), 0x3f82);   // tie to even
  EXPECT_TRUE(std::isnan(from_bf16(to_bf16(std::nanf("")))));
  EXPECT_EQ(from_bf16(to_bf16(INFINITY)), INFINITY);
}

TEST(Sampling, FindsTheFirstGreatestAndSums) {
  auto x = noise(49152, 7);
  x[100] = x[40000] = 9.0f;
  EXPECT_EQ(argmax(x), 100);
  double want = 0;
  for (const float v : x) want += std::exp((static_cast<double>(v) - 9.0) * 0.7);
  EXPECT_NEAR(sum_exp(x, 9.0f, 0.7f), want, want * 1e-5);
  EXPECT_EQ(argmax(std::vector<float>{1.0f, std::nanf(""), 2.0f}), 2);
  EXPECT_EQ(argmax(std::vector<float>{-INFINITY, -INFINITY}), 0);
}

TEST(ThreadPool, RunsEveryPartOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 2000; ++round) {
      std::atomic<int> sum{0};
      pool.run(7, [&](int i) { sum += 1 << (2 * i); });
      ASSERT_EQ(sum, 0b01010101010101);
    }
  }
}

}  // namespace
}  // namespace colony::tensor
