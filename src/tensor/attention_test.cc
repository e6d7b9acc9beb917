#include "tensor/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "tensor/compare.h"
#include "tensor/kernels.h"
#include "tensor/ops.h"

namespace colony::tensor {
namespace {

std::vector<float> noise(size_t size, uint32_t name) {
  std::vector<float> values(size);
  for (size_t i = 0; i < size; i += 4096) {
    RngStream rng(2, name, static_cast<uint32_t>(i / 4096), 1);
    for (size_t j = i; j < std::min(size, i + 4096); ++j) values[j] = static_cast<float>(rng.normal());
  }
  return values;
}

// One sequence of T tokens: its cache with shuffled pages, and everything needed to ask it.
struct Sequence {
  int heads, kv_heads, dim;
  int64_t tokens;
  KvType type;
  std::vector<float> q, k, v;
  std::vector<int32_t> pages;
  std::vector<std::byte> memory;

  Sequence(int h, int g, int d, int64_t t, KvType kv) : heads(h), kv_heads(g), dim(d), tokens(t), type(kv) {
    q = noise(static_cast<size_t>(t * h * d), 1);
    k = noise(static_cast<size_t>(t * g * d), 2);
    v = noise(static_cast<size_t>(t * g * d), 3);
    const auto count = static_cast<int32_t>((t + kPageTokens - 1) / kPageTokens);
    for (int32_t p = 0; p < count; ++p) pages.push_back((p * 7 + 3) % (count + 5) < count + 5 ? count + 4 - p : p);
    memory.resize(kv_page_bytes(kv, g, d) * static_cast<size_t>(count + 5));
  }
  KvView view() { return {memory.data(), kv_page_bytes(type, kv_heads, dim), type, kv_heads, dim}; }
  std::vector<AttentionRow> rows(int64_t from, int64_t to) const {
    std::vector<AttentionRow> list;
    for (int64_t p = from; p < to; ++p) list.push_back({p, pages});
    return list;
  }
  // Stores and asks rows from…to.
  std::vector<float> run(int64_t from, int64_t to, ThreadPool& pool, int64_t window = 0, float cap = 0) {
    const auto where = rows(from, to);
    kv_store(view(), where, k.data() + from * kv_heads * dim, v.data() + from * kv_heads * dim,
             kv_heads * dim, pool);
    std::vector<float> out(static_cast<size_t>((to - from) * heads * dim));
    attention({.q = q.data() + from * heads * dim, .q_stride = heads * dim, .heads = heads,
               .scale = 1.0f / std::sqrt(static_cast<float>(dim)), .softcap = cap, .window = window,
               .out = out.data()},
              view(), where, pool);
    return out;
  }
  std::vector<double> twin(int64_t window, double cap) const {
    std::vector<double> out(static_cast<size_t>(tokens * heads * dim));
    // What the cache keeps of x[i] of a head.
    const auto seen = [&](const std::vector<float>& x, int64_t token, int head, int i) {
      const float* one = x.data() + (token * kv_heads + head) * dim;
      if (type == KvType::kF32) return static_cast<double>(one[i]);
      if (type == KvType::kBf16) return static_cast<double>(from_bf16(to_bf16(one[i])));
      float most = 0;
      for (int d = 0; d < dim; ++d) most = std::max(most, std::abs(one[d]));
      return std::nearbyint(static_cast<double>(one[i] * (127.0f / most))) * static_cast<double>(most / 127.0f);
    };
    for (int64_t t = 0; t < tokens; ++t) {
      for (int h = 0; h < heads; ++h) {
        const int g = h / (heads / kv_heads);
        const int64_t first = window > 0 ? std::max<int64_t>(0, t - window + 1) : 0;
        std::vector<double> s;
        double most = -1e300, total = 0;
        for (int64_t j = first; j <= t; ++j) {
          double dot = 0;
          for (int d = 0; d < dim; ++d) {
            dot += static_cast<double>(q[static_cast<size_t>((t * heads + h) * dim + d)]) *
                   seen(k, j, g, d);
          }
          dot /= std::sqrt(static_cast<double>(dim));
          if (cap > 0) dot = cap * std::tanh(dot / cap);
          s.push_back(dot);
          most = std::max(most, dot);
        }
        for (auto& x : s) total += x = std::exp(x - most);
        for (int64_t j = first; j <= t; ++j) {
          for (int d = 0; d < dim; ++d) {
            out[static_cast<size_t>((t * heads + h) * dim + d)] +=
                s[static_cast<size_t>(j - first)] / total *
                seen(v, j, g, d);
          }
        }
      }
    }
    return out;
  }
};

TEST(Attention, AgreesWithItsDoubleTwin) {
  ThreadPool pool(2);
  for (const KvType type : {KvType::kF32, KvType::kBf16, KvType::kInt8}) {
    for (const auto& [h, g, d, t] : {std::array<int, 4>{9, 3, 64, 100}, {4, 4, 16, 33}, {5, 1, 20, 70},
                                     {2, 1, 128, 65}, {1, 1, 7, 1}}) {
      for (const int64_t window : {0, 8, 40}) {
        Sequence s(h, g, d, t, type);
        const auto got = s.run(0, t, pool, window);
        EXPECT_EQ((differs<float, double>(got, s.twin(window, 0), 3e-6)), "") << h << " " << d << " " << window;
      }
    }
  }
}

TEST(Attention, Int8PagesAreHalfOfBf16AndAStep) {
  EXPECT_EQ(kv_page_bytes(KvType::kBf16, 3, 64), 2U * 3 * 32 * 64 * 2);
  EXPECT_EQ(kv_page_bytes(KvType::kInt8, 3, 64), 2U * 3 * 32 * (64 + 4));
  // Between whole numbers there is half a step of the greatest one.
  ThreadPool pool(2);
  Sequence exact(9, 3, 64, 90, KvType::kF32), rough(9, 3, 64, 90, KvType::kInt8);
  const auto want = exact.run(0, 90, pool), got = rough.run(0, 90, pool);
  double error = 0, size = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    error += std::pow(static_cast<double>(got[i] - want[i]), 2);
    size += std::pow(static_cast<double>(want[i]), 2);
  }
  EXPECT_GT(error, 0);
  EXPECT_LT(std::sqrt(error / size), 0.02);
}

TEST(Attention, Int8KeepsZerosAndPassesOnWhatIsNoNumber) {
  ThreadPool pool(1);
  Sequence s(2, 1, 16, 3, KvType::kInt8);
  for (int d = 0; d < 16; ++d) s.k[static_cast<size_t>(d)] = s.v[static_cast<size_t>(d)] = d == 3 ? 1e-42f : 0.0f;
  const auto first = s.run(0, 1, pool);
  for (const float x : first) EXPECT_EQ(x, 0.0f);
  s.v[16 + 5] = std::numeric_limits<float>::infinity();
  const auto second = s.run(1, 2, pool);
  for (const float x : second) EXPECT_TRUE(std::isnan(x));
}

TEST(Attention, SoftCapsBeforeTheMask) {
  ThreadPool pool(1);
  Sequence s(4, 2, 32, 50, KvType::kF32);
  const auto got = s.run(0, 50, pool, 0, 3.0f);
  EXPECT_EQ((differs<float, double>(got, s.twin(0, 3.0), 3e-6)), "");
}

TEST(Attention, ChunksAndThreadsDoNotChangeABit) {
  ThreadPool one(1), three(3);
  for (const KvType type : {KvType::kF32, KvType::kBf16, KvType::kInt8}) {
    Sequence whole(6, 2, 64, 130, type);
    const auto want = whole.run(0, 130, one);
    for (const std::vector<int64_t>& cuts : {std::vector<int64_t>{0, 1, 130}, {0, 31, 32, 33, 97, 130}, {0, 64, 129, 130}}) {
      Sequence s(6, 2, 64, 130, type);
      std::vector<float> got;
      for (size_t i = 0; i + 1 < cuts.size(); ++i) {
        const auto part = s.run(cuts[i], cuts[i + 1], three);
        got.insert(got.end(), part.begin(), part.end());
      }
      ASSERT_EQ(std::memcmp(got.data(), want.data(), want.size() * 4), 0);
    }
  }
}

TEST(Attention, EveryInstructionSetGivesTheSameBits) {
  ThreadPool pool(2);
  for (const KvType type : {KvType::kF32, KvType::kBf16, KvType::kInt8}) {
    for (const int dim : {64, 20}) {
      Sequence s(6, 2, dim, 70, type);
      const auto want = s.run(0, 70, pool);
      for (const char* level : {"avx2", "avx512"}) {
        const ForceIsa forced(level);
        if (!forced.available()) continue;
        const auto got = s.run(0, 70, pool);
        EXPECT_EQ(std::memcmp(got.data(), want.data(), want.size() * 4), 0) << level;
      }
    }
  }
}

}  // namespace
}  // namespace colony::tensor
