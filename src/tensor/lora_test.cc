#include "tensor/lora.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "tensor/compare.h"
#include "tensor/kernels.h"

namespace colony::tensor {
namespace {

std::vector<float> noise(int64_t size, uint32_t name, double spread = 1) {
  std::vector<float> values(static_cast<size_t>(size));
  RngStream rng(9, name, 0, 1);
  for (auto& x : values) x = static_cast<float>(spread * rng.normal());
  return values;
}

// Two parts with a gap between their outputs, odd sizes, of seeded noise.
struct Update {
  struct Owned {
    std::vector<float> a, b, b_bias, gain;
  };
  int64_t in;
  std::vector<Owned> owned;
  std::vector<LoraPart> parts;
  std::vector<std::byte> memory;
  LoraUpdate packed;

  Update(LoraType type, int64_t size, int64_t outputs, int64_t rank, uint32_t name, bool extras) : in(size) {
    const int64_t first = outputs / 3, second = outputs - first - (outputs > 4 ? 1 : 0);
    owned.resize(first > 0 ? 2 : 1);
    for (size_t i = 0; i < owned.size(); ++i) {
      const int64_t n = owned.size() == 1 ? outputs : i == 0 ? first : second;
      const int64_t r = rank + static_cast<int64_t>(i);
      owned[i].a = noise(r * in, name * 10 + static_cast<uint32_t>(i), 0.3);
      owned[i].b = noise(n * r, name * 10 + 2 + static_cast<uint32_t>(i), 0.2);
      if (extras) {
        owned[i].b_bias = noise(n, name * 10 + 4, 0.1);
        owned[i].gain = noise(n, name * 10 + 5, 0.5);
      }
      parts.push_back({i == 0 ? 0 : outputs - n, n, r, 0.7f, owned[i].a, owned[i].b, owned[i].b_bias, owned[i].gain});
    }
    memory.resize(LoraUpdate::bytes_for(type, in, parts) + 64);
    auto* at = reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) / 64 * 64);
    packed = LoraUpdate::pack(type, in, parts, {at, memory.size() - 64});
  }
  // In double, with the weights as given.
  void apply(std::span<const double> x, std::span<double> y, std::span<const float> bias) const {
    for (const LoraPart& part : parts) {
      for (int64_t n = 0; n < part.outputs; ++n) {
        double delta = part.b_bias.empty() ? 0 : static_cast<double>(part.b_bias[static_cast<size_t>(n)]);
        for (int64_t r = 0; r < part.rank; ++r) {
          double u = 0;
          for (int64_t k = 0; k < in; ++k) u += x[static_cast<size_t>(k)] * static_cast<double>(part.a[static_cast<size_t>(r * in + k)]);
          delta += u * static_cast<double>(part.b[static_cast<size_t>(n * part.rank + r)]);
        }
        delta *= static_cast<double>(part.scale);
        double& value = y[static_cast<size_t>(part.first_output + n)];
        if (part.gain.empty()) {
          value += delta;
        } else {
          const double b = bias.empty() ? 0 : static_cast<double>(bias[static_cast<size_t>(part.first_output + n)]);
          value = static_cast<double>(part.gain[static_cast<size_t>(n)]) * (value - b + delta) + b;
        }
      }
    }
  }
};

struct Shape {
  int64_t in, outputs, rank;
};
constexpr Shape kShapes[] = {{1, 1, 1}, {15, 3, 2}, {16, 32, 4}, {33, 70, 3}, {576, 960, 8}, {100, 129, 17}};

TEST(Lora, AgreesWithItsDoubleTwin) {
  ThreadPool pool(2);
  LoraScratch scratch;
  for (const LoraType type : {LoraType::kF32, LoraType::kInt8}) {
    for (const Shape& s : kShapes) {
      for (const bool extras : {false, true}) {
        const Update one(type, s.in, s.outputs, s.rank, 1, extras), two(type, s.in, s.outputs, s.rank + 2, 2, !extras);
        constexpr int64_t kRows = 9;
        const auto x = noise(kRows * s.in, 50), bias = noise(s.outputs, 51);
        auto y = noise(kRows * s.outputs, 52);
        std::vector<double> want(y.begin(), y.end()), wide(x.begin(), x.end());
        for (int64_t r = 0; r < kRows; ++r) {
          const Update* update = r < 5 ? &one : r == 6 ? &two : nullptr;
          if (update == nullptr) continue;
          update->apply(std::span(wide).subspan(static_cast<size_t>(r * s.in), static_cast<size_t>(s.in)),
                        std::span(want).subspan(static_cast<size_t>(r * s.outputs), static_cast<size_t>(s.outputs)), bias);
        }
        const LoraSegment segments[] = {{0, 5, &one.packed}, {5, 1, nullptr}, {6, 1, &two.packed}};
        lora({x, s.in, y, s.outputs, bias}, segments, pool, scratch);
        // f32: sums of a few hundred numbers. int8: each weight within 1/254 of the largest it shares a
        // scale with, errors that add up like noise.
        EXPECT_EQ((differs<float, double>(y, want, type == LoraType::kF32 ? 2e-6 : 2e-2)), "")
            << s.in << " " << s.outputs << " " << extras << " " << static_cast<int>(type);
      }
    }
  }
}

TEST(Lora, ARowIsItsOwnToTheBitOnEveryInstructionSet) {
  for (const LoraType type : {LoraType::kF32, LoraType::kInt8}) {
    for (const Shape& s : kShapes) {
      const Update one(type, s.in, s.outputs, s.rank, 3, true), two(type, s.in, s.outputs, s.rank, 4, false);
      constexpr int64_t kRows = 41;
      const auto x = noise(kRows * s.in, 60), bias = noise(s.outputs, 61), before = noise(kRows * s.outputs, 62);
      const auto update_of = [&](int64_t r) { return r < 35 ? &one.packed : r < 38 ? &two.packed : nullptr; };
      std::vector<float> alone = before;
      {
        ThreadPool pool(1);
        LoraScratch scratch;
        for (int64_t r = 0; r < kRows; ++r) {
          const LoraSegment segment{0, 1, update_of(r)};
          lora({std::span(x).subspan(static_cast<size_t>(r * s.in), static_cast<size_t>(s.in)), s.in,
                std::span(alone).subspan(static_cast<size_t>(r * s.outputs), static_cast<size_t>(s.outputs)), s.outputs, bias},
               {&segment, 1}, pool, scratch);
        }
      }
      ASSERT_NE(alone, before);
      for (const char* level : {"avx2", "avx512"}) {
        const ForceIsa forced(level);
        if (!forced.available()) continue;
        for (const int threads : {1, 3}) {
          ThreadPool pool(threads);
          LoraScratch scratch;
          std::vector<float> together = before;
          const LoraSegment segments[] = {{0, 35, &one.packed}, {35, 3, &two.packed}};
          lora({x, s.in, together, s.outputs, bias}, segments, pool, scratch);
          EXPECT_EQ(std::memcmp(together.data(), alone.data(), alone.size() * 4), 0) << level << " " << s.in << " " << threads;
        }
      }
    }
  }
}

TEST(Lora, NothingToDoChangesNothing) {
  ThreadPool pool(2);
  LoraScratch scratch;
  const auto x = noise(8, 1);
  auto y = noise(8, 2);
  const auto before = y;
  const LoraUpdate none;
  const LoraSegment segments[] = {{0, 1, nullptr}, {1, 1, &none}};
  lora({x, 4, y, 4, {}}, segments, pool, scratch);
  EXPECT_EQ(y, before);
  EXPECT_TRUE(none.empty());
  EXPECT_FALSE(none.has_gain());
}

}  // namespace
}  // namespace colony::tensor
