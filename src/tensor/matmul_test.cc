#include "tensor/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>

#include "base/rng.h"
#include "base/digest.h"
#include "tensor/compare.h"
#include "tensor/cpu.h"
#include "tensor/f16.h"
#include "tensor/kernels.h"
#include "tensor/memory.h"
#include "tensor/ops.h"

namespace colony::tensor {
namespace {

std::vector<float> noise(size_t size, uint64_t name) {
  std::vector<float> values(size);
  for (size_t i = 0; i < size; i += 4096) {
    RngStream rng(1, name, static_cast<uint32_t>(i / 4096), 1);
    for (size_t j = i; j < std::min(size, i + 4096); ++j) values[j] = static_cast<float>(rng.normal());
  }
  return values;
}

struct Case {
  int64_t n, k;
};
const Case kCases[] = {{1, 1}, {3, 5}, {32, 32}, {33, 31}, {64, 96}, {100, 70}, {576, 576}, {49, 577}};

struct Kind {
  WeightType type;
  Activations activations = Activations::kRow13;
};

PackedMatrix packed(Kind kind, const Case& c, const std::vector<float>& w, ThreadPool& pool) {
  return PackedMatrix::pack(
      kind.type, c.n, c.k,
      [&](int64_t row, std::span<float> out) {
        std::copy_n(w.begin() + row * c.k, c.k, out.begin());
      },
      pool, {.activations = kind.activations});
}

std::vector<float> product(const PackedMatrix& w, const std::vector<float>& x, int64_t rows,
                           ThreadPool& pool) {
  std::vector<float> y(static_cast<size_t>(rows * w.n()));
  MatmulScratch scratch;
  matmul({.x = x, .rows = rows, .y = y, .bias = {}}, w, pool, scratch);
  return y;
}

// The f64 twin over the weights as the kernels see them; x rounded as the type says.
std::vector<double> twin(const PackedMatrix& w, const std::vector<float>& x, int64_t rows, Activations activations) {
  const bool by_group = (w.type() == WeightType::kInt8 || w.type() == WeightType::kInt4) && activations == Activations::kGroup8;
  const float steps = by_group ? 127.0f : 4095.0f;
  std::vector<double> y(static_cast<size_t>(rows * w.n()));
  std::vector<float> row(static_cast<size_t>(w.k()));
  for (int64_t j = 0; j < w.n(); ++j) {
    w.unpack_row(j, row);
    for (int64_t r = 0; r < rows; ++r) {
      const auto amax_of = [&](int64_t from, int64_t to) {
        float amax = 0;
        for (int64_t i = from; i < to; ++i) amax = std::max(amax, std::abs(x[static_cast<size_t>(r * w.k() + i)]));
        return amax;
      };
      float amax = amax_of(0, w.k());
      double sum = 0;
      for (int64_t i = 0; i < w.k(); ++i) {
        if (by_group && i % 32 == 0) amax = amax_of(i, std::min(i + 32, w.k()));
        const float value = x[static_cast<size_t>(r * w.k() + i)];
        double seen = static_cast<double>(value);
        if (w.type() == WeightType::kBf16) seen = static_cast<double>(from_bf16(to_bf16(value)));
        if ((w.type() == WeightType::kInt8 || w.type() == WeightType::kInt4) && amax > 0) {
          seen = std::nearbyint(value * (steps / amax)) * static_cast<double>(amax / steps);
        }
        sum += seen * static_cast<double>(row[static_cast<size_t>(i)]);
      }
      y[static_cast<size_t>(r * w.n() + j)] = sum;
    }
  }
  return y;
}

class MatmulTypes : public testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(All, MatmulTypes,
                         testing::Values(Kind{WeightType::kF32}, Kind{WeightType::kBf16}, Kind{WeightType::kInt8},
                                         Kind{WeightType::kInt8, Activations::kGroup8}, Kind{WeightType::kInt4},
                                         Kind{WeightType::kInt4, Activations::kGroup8}),
                         [](const auto& param) {
                           return std::string(weight_type_name(param.param.type)) +
                                  (param.param.activations == Activations::kGroup8 ? "_x8" : "");
                         });

// k roundings of relative size 2^-24 in a sum whose terms are of the sum's size times sqrt(k).
TEST_P(MatmulTypes, AgreesWithItsDoubleTwin) {
  ThreadPool pool(2);
  for (const auto& c : kCases) {
    const auto w = noise(static_cast<size_t>(c.n * c.k), 1);
    const auto m = packed(GetParam(), c, w, pool);
    EXPECT_EQ(m.bytes(), PackedMatrix::bytes_for(GetParam().type, c.n, c.k));
    for (int64_t rows : {1, 2, 7, 13, 100}) {
      const auto x = noise(static_cast<size_t>(rows * c.k), 2);
      const auto got = product(m, x, rows, pool);
      const auto want = twin(m, x, rows, GetParam().activations);
      EXPECT_EQ((differs<float, double>(got, want, 2e-5)), "") << c.n << "x" << c.k << " rows " << rows;
    }
  }
}

TEST_P(MatmulTypes, RowsAloneAreTheSameBits) {
  ThreadPool pool(2), one(1), three(3);
  for (const auto& c : {Case{33, 31}, Case{100, 70}, Case{576, 576}}) {
    const auto w = noise(static_cast<size_t>(c.n * c.k), 3);
    const auto m = packed(GetParam(), c, w, pool);
    const auto x = noise(static_cast<size_t>(120 * c.k), 4);
    std::vector<float> alone;
    for (int64_t r = 0; r < 120; ++r) {
      const std::vector<float> row(x.begin() + r * c.k, x.begin() + (r + 1) * c.k);
      const auto y = product(m, row, 1, one);
      alone.insert(alone.end(), y.begin(), y.end());
    }
    for (int64_t rows : {2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 17, 24, 31, 33, 97, 120}) {
      for (auto* threads : {&one, &pool, &three}) {
        const std::vector<float> part(x.begin(), x.begin() + rows * c.k);
        const auto y = product(m, part, rows, *threads);
        ASSERT_EQ(std::memcmp(y.data(), alone.data(), y.size() * 4), 0) << rows << " rows";
      }
    }
  }
}

TEST_P(MatmulTypes, EveryInstructionSetAgrees) {
  ThreadPool pool(2);
  const Case c{100, 582};
  const auto w = noise(static_cast<size_t>(c.n * c.k), 5);
  const auto m = packed(GetParam(), c, w, pool);
  const auto x = noise(static_cast<size_t>(110 * c.k), 6);
  const auto all = product(m, x, 110, pool);
  int tried = 0;
  for (const char* level : {"avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16", "amx"}) {
    const ForceIsa forced(level);
    if (!forced.available()) continue;
    ++tried;
    for (const int64_t rows : {1, 2, 3, 5, 8, 11, 12, 17, 29, 64, 69, 110}) {
      const std::vector<float> part(x.begin(), x.begin() + rows * c.k), want(all.begin(), all.begin() + rows * c.n);
      const auto got = product(m, part, rows, pool);
      if (GetParam().type == WeightType::kBf16) {  // vdpbf16ps rounds in its own way
        EXPECT_EQ((differs<float, float>(got, want, 1e-5)), "") << level;
      } else {
        EXPECT_EQ(std::memcmp(got.data(), want.data(), got.size() * 4), 0) << level << ", " << rows << " rows";
      }
    }
  }
  EXPECT_GT(tried, 0);
}

TEST_P(MatmulTypes, BiasAndAccumulateAddWhatTheySay) {
  ThreadPool pool(2);
  const Case c{40, 33};
  const auto w = noise(static_cast<size_t>(c.n * c.k), 7);
  const auto m = packed(GetParam(), c, w, pool);
  const auto x = noise(static_cast<size_t>(3 * c.k), 8), bias = noise(static_cast<size_t>(c.n), 9);
  const auto plain = product(m, x, 3, pool);
  std::vector<float> y(plain.size(), 10.0f);
  MatmulScratch scratch;
  matmul({.x = x, .rows = 3, .y = y, .bias = bias, .accumulate = true}, m, pool, scratch);
  for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], 10.0f + (plain[i] + bias[i % 40])) << i;
}

TEST_P(MatmulTypes, NotANumberStaysInItsRow) {
  ThreadPool pool(1);
  const Case c{40, 64};
  const auto w = noise(static_cast<size_t>(c.n * c.k), 10);
  const auto m = packed(GetParam(), c, w, pool);
  auto x = noise(static_cast<size_t>(3 * c.k), 11);
  const auto clean = product(m, x, 3, pool);
  for (float bad : {std::nanf(""), INFINITY}) {
    x[static_cast<size_t>(c.k) + 3] = bad;
    const auto y = product(m, x, 3, pool);
    for (size_t i = 0; i < 40; ++i) {
      EXPECT_EQ(y[i], clean[i]);
      EXPECT_FALSE(std::isfinite(y[40 + i]));
      EXPECT_EQ(y[80 + i], clean[80 + i]);
    }
  }
}

// The largest integers the int8 path can meet: nothing saturates or wraps on any instruction set.
TEST(MatmulInt8, ExtremesAreExact) {
  ThreadPool pool(1);
  const Case c{32, 1536};
  std::vector<float> w(static_cast<size_t>(c.n * c.k)), x(static_cast<size_t>(c.k), 1.0f);
  for (size_t i = 0; i < w.size(); ++i) w[i] = i % 32 == 31 ? 0.0f : 255.0f;
  for (size_t i = 0; i < x.size(); i += 3) x[i] = -1.0f;
  double want = 0;
  for (size_t i = 0; i < x.size(); ++i) want += static_cast<double>(x[i]) * static_cast<double>(w[i]);
  for (const auto activations : {Activations::kRow13, Activations::kGroup8}) {
    const auto m = packed({WeightType::kInt8, activations}, c, w, pool);
    for (const char* level : {"avx2", "avxvnni", "avx512", "avx512vnni", "amx"}) {
      const ForceIsa forced(level);
      if (!forced.available()) continue;
      EXPECT_NEAR(product(m, x, 1, pool)[0], want, std::abs(want) * 1e-6) << level;
    }
  }
}

// Every sum at its largest, at every way through the rows.
TEST(MatmulInt4, ExtremesAreExact) {
  ThreadPool pool(1);
  const Case c{32, 1568};
  std::vector<float> w(static_cast<size_t>(c.n * c.k));
  for (size_t i = 0; i < w.size(); ++i) w[i] = i % 32 == 31 ? 0.0f : 15.0f;
  for (const float sign : {1.0f, -1.0f, 2.0f, -2.0f}) {
    const auto m = packed({WeightType::kInt4, std::abs(sign) > 1 ? Activations::kRow13 : Activations::kGroup8}, c, w, pool);
    const std::vector<float> x(static_cast<size_t>(75 * c.k), sign);
    for (const char* level : {"avx2", "avxvnni", "avx512", "avx512vnni", "amx"}) {
      const ForceIsa forced(level);
      if (!forced.available()) continue;
      for (const int64_t rows : {1, 2, 4, 40, 75}) {
        const std::vector<float> part(x.begin(), x.begin() + rows * c.k);
        const double want = static_cast<double>(sign) * 15.0 * 31 * static_cast<double>(c.k / 32);
        for (const float y : product(m, part, rows, pool)) ASSERT_NEAR(static_cast<double>(y), want, std::abs(want) * 1e-6) << level;
      }
    }
  }
}

TEST(PackedMatrix, TakesStoredGroupsAsTheyStand) {
  ThreadPool pool(1);
  constexpr int64_t kN = 70, kK = 96;
  // Any bits will do: d and m where a fit would not put them, q that leaves ends unused.
  const auto d = [](int64_t n, int64_t g) { return to_f16((n % 2 == 0 ? 1.0f : -1.0f) * static_cast<float>(n + 3 * g + 1) / 64); };
  const auto least = [](int64_t n, int64_t g) { return to_f16(static_cast<float>(n * 5 - g * 7) / 16); };
  for (const auto& [type, q_most] : {std::pair{WeightType::kInt4, 15}, std::pair{WeightType::kInt8, 255}}) {
    const auto q = [most = q_most](int64_t n, int64_t k) { return static_cast<uint8_t>((n * 3 + k * 5 + k / 32) % (most - 2)); };
    for (const auto activations : {Activations::kRow13, Activations::kGroup8}) {
      const auto m = PackedMatrix::pack(
          type, kN, kK,
          [](int64_t n, std::span<float> out) {
            for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(n) + static_cast<float>(i % 32 % 16);
          },
          pool, {.activations = activations, .stored = [&, most = q_most](int64_t n, const StoredRow& out) {
                   EXPECT_EQ(out.q_most, most);
                   if (n % 5 == 4) return false;  // this row comes as numbers
                   for (int64_t g = 0; g < kK / 32; ++g) out.d[static_cast<size_t>(g)] = d(n, g), out.m[static_cast<size_t>(g)] = least(n, g);
                   for (int64_t i = 0; i < kK; ++i) out.q[static_cast<size_t>(i)] = q(n, i);
                   return true;
                 }});
      std::vector<float> row(kK);
      for (int64_t n = 0; n < kN; ++n) {
        m.unpack_row(n, row);
        for (int64_t i = 0; i < kK; ++i) {
          const float given = static_cast<float>(n) + static_cast<float>(i % 32 % 16);
          const float stored = from_f16(d(n, i / 32)) * static_cast<float>(q(n, i)) + from_f16(least(n, i / 32));
          if (n % 5 != 4) {
            ASSERT_EQ(row[static_cast<size_t>(i)], stored) << n << ", " << i;
          } else if (type == WeightType::kInt4) {
            ASSERT_EQ(row[static_cast<size_t>(i)], given) << n << ", " << i;
          } else {
            ASSERT_NEAR(row[static_cast<size_t>(i)], given, .02) << n << ", " << i;  // 15 / 255 is no f16
          }
        }
      }
    }
  }
}

// Kept weights are found by kPackedLayout (model/packed_cache.h): who changes these bytes has to count it up.
TEST(PackedMatrix, LaysOutBytesAsItsVersionSays) {
  ThreadPool pool(1);
  constexpr int64_t kN = 70, kK = 100;
  const auto rows = [](int64_t n, std::span<float> out) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>((n * 31 + static_cast<int64_t>(i) * 17) % 97) / 97 - .5f;
  };
  Sha256 hash;
  for (const auto& [type, activations] : {std::pair{WeightType::kF32, Activations::kRow13}, {WeightType::kBf16, Activations::kRow13},
                                          {WeightType::kInt8, Activations::kRow13}, {WeightType::kInt8, Activations::kGroup8},
                                          {WeightType::kInt4, Activations::kRow13}, {WeightType::kInt4, Activations::kGroup8}}) {
    const Memory memory(PackedMatrix::bytes_for(type, kN, kK));
    const std::span bytes(memory.data(), memory.bytes());
    const auto packed = PackedMatrix::pack(type, kN, kK, rows, pool, {.activations = activations, .memory = bytes});
    hash.update(bytes);
    const auto over = PackedMatrix::over(type, kN, kK, activations, bytes);
    std::vector<float> x(20 * kK);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 13) - 6;
    EXPECT_EQ(product(over, x, 20, pool), product(packed, x, 20, pool));
  }
  EXPECT_EQ(kPackedLayout, 1);
  EXPECT_EQ(hash.hex(), "2ee3259019aca632fe8fb06745bbc1bab904bab6f603fc6a309d3105aeab84f1");
}

TEST(PackedMatrix, StandsInMemoryOfAnotherAlike) {
  ThreadPool pool(1);
  constexpr int64_t kN = 70, kK = 96;
  const auto rows = [](int64_t n, std::span<float> out) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>((n * 31 + static_cast<int64_t>(i) * 17) % 97) / 97 - .5f;
  };
  for (const auto type : {WeightType::kF32, WeightType::kBf16, WeightType::kInt8, WeightType::kInt4}) {
    const uint64_t bytes = PackedMatrix::bytes_for(type, kN, kK);
    ASSERT_EQ(bytes % 64, 0U);
    const Memory memory(2 * bytes);
    const auto own = PackedMatrix::pack(type, kN, kK, rows, pool);
    const auto put = PackedMatrix::pack(type, kN, kK, rows, pool, {.memory = {memory.data() + bytes, bytes}});
    EXPECT_EQ(own.bytes(), put.bytes());
    std::vector<float> x(3 * kK);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 13) - 6;
    EXPECT_EQ(product(own, x, 3, pool), product(put, x, 3, pool));
    EXPECT_TRUE(std::all_of(memory.data(), memory.data() + bytes, [](std::byte b) { return b == std::byte{}; })) << "beside its own";
  }
}

// The search is never worse than the group's own range, and finds what is exactly d q + m.
TEST(PackedMatrix, Int4ErrsByLessThanItsRange) {
  ThreadPool pool(1);
  const Case c{64, 96};
  const auto w = noise(static_cast<size_t>(c.n * c.k), 13);
  const auto m = packed({WeightType::kInt4}, c, w, pool);
  std::vector<float> row(static_cast<size_t>(c.k));
  double error = 0, plain = 0, size = 0;
  for (int64_t j = 0; j < c.n; ++j) {
    m.unpack_row(j, row);
    for (int64_t g = 0; g < c.k; g += 32) {
      const auto* group = w.data() + j * c.k + g;
      const auto [low, high] = std::minmax_element(group, group + 32);
      const float least = from_f16(to_f16(*low)), d = from_f16(to_f16((*high - *low) / 15));
      double own = 0, other = 0;
      for (int64_t i = 0; i < 32; ++i) {
        const float q = std::clamp(std::floor((group[i] - least) / d + 0.5f), 0.0f, 15.0f);
        own += std::pow(static_cast<double>(row[static_cast<size_t>(g + i)] - group[i]), 2);
        other += std::pow(static_cast<double>(least + d * q - group[i]), 2);
        size += static_cast<double>(group[i] * group[i]);
      }
      EXPECT_LE(own, other * 1.0001);
      error += own;
      plain += other;
    }
  }
  EXPECT_LT(error, plain * 0.9);
  std::printf("  normal weights: relative error %.4f, by the range alone %.4f\n", std::sqrt(error / size), std::sqrt(plain / size));
}

TEST(PackedMatrix, Int8ErrsByHalfAStepAtMost) {
  ThreadPool pool(1);
  const Case c{5, 100};
  const auto w = noise(500, 12);
  const auto m = packed({WeightType::kInt8}, c, w, pool);
  std::vector<float> row(100);
  for (int64_t j = 0; j < 5; ++j) {
    m.unpack_row(j, row);
    for (int64_t g = 0; g < 100; g += 32) {
      const auto* group = w.data() + j * 100 + g;
      const auto count = std::min<int64_t>(32, 100 - g);
      const auto [low, high] = std::minmax_element(group, group + count);
      // Half a step, and what rounding d and m to f16 can move the ends of the range.
      const float allowed = (*high - *low) / 255 * 0.5f + (*high - *low) * 0x1p-10f + std::abs(*low) * 0x1p-11f;
      for (int64_t i = 0; i < count; ++i) EXPECT_NEAR(row[static_cast<size_t>(g + i)], group[i], allowed);
    }
  }
}

// All 65,536 halves survive the round trip; rounding is to nearest even.
TEST(F16, RoundTripsEveryValue) {
  for (uint32_t h = 0; h < 65536; ++h) {
    const auto half = static_cast<uint16_t>(h);
    const float x = from_f16(half);
    if (std::isnan(x)) continue;
    ASSERT_EQ(to_f16(x), half) << h;
  }
  EXPECT_EQ(to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(to_f16(65519.0f), 0x7bff);
  EXPECT_EQ(to_f16(1.0f + 0x1p-11f), 0x3c00);
  EXPECT_EQ(to_f16(1.0f + 3 * 0x1p-11f), 0x3c02);
}

}  // namespace
}  // namespace colony::tensor
