#include "tensor/bench.h"

#include <algorithm>
#include <atomic>

#include "base/stats.h"
#include "tensor/kernels.h"
#include "tensor/memory.h"

namespace colony::tensor {
namespace {

constexpr int64_t kHidden = 576, kFeedForward = 1536, kLayers = 30;
constexpr int kHeads = 9, kKvHeads = 3, kHeadDim = 64;

struct Shape {
  int64_t n, k;
};
constexpr Shape kShapes[] = {{kHidden + 2 * kKvHeads * kHeadDim, kHidden},
                             {kHidden, kHidden},
                             {2 * kFeedForward, kHidden},
                             {kHidden, kFeedForward}};

// Uniform in [-1, 1), by a hash of the index.
float number(uint64_t i) {
  i = (i + 0x9e3779b97f4a7c15ULL) * 0xbf58476d1ce4e5b9ULL;
  return static_cast<float>(static_cast<int32_t>((i ^ i >> 29) >> 32)) * 0x1p-31f;
}

std::vector<float> numbers(int64_t size) {
  std::vector<float> x(static_cast<size_t>(size));
  for (size_t i = 0; i < x.size(); ++i) x[i] = number(i);
  return x;
}

struct Timing {
  double middle = 0, fastest = 0;
};
// Seconds of `body`: at least five times and a third of a second, after one to warm up.
template <typename Body>
Timing timing(const Clock& clock, const Body& body) {
  body();
  std::vector<double> seconds;
  const double begin = clock.seconds();
  while (seconds.size() < 5 || (clock.seconds() - begin < 0.33 && seconds.size() < 2000)) {
    const double start = clock.seconds();
    body();
    seconds.push_back(clock.seconds() - start);
  }
  return {median(seconds), *std::min_element(seconds.begin(), seconds.end())};
}

}  // namespace

MachineLimits measure_limits(ThreadPool& pool, const Clock& clock) {
  MachineLimits limits;
  const int threads = pool.threads();
  std::atomic<uint64_t> sink{0};  // keeps the loops alive
  {
    constexpr int64_t kBytes = int64_t{1024} << 20;
    const Memory memory(static_cast<uint64_t>(kBytes));
    const auto read = [&] {
      constexpr int64_t kParts = 64;
      pool.run(static_cast<int>(kParts), [&](int i) {
        sink += kernels().read_bytes(memory.data() + kBytes / kParts * i, kBytes / kParts);
      });
    };
    pool.run(threads, [&](int i) {
      for (int64_t b = i; b < kBytes / 4096; b += threads) memory.data()[b * 4096] = std::byte{1};
    });
    limits.read_gb_per_s = static_cast<double>(kBytes) / timing(clock, read).fastest * 1e-9;
  }
  const auto peak = [&](double (*kernel)(int64_t)) {
    double operations = 0;
    const auto spin = [&] {
      pool.run(threads, [&](int i) {
        const double done = kernel(20000);
        if (i == 0) operations = done * threads;
      });
    };
    const double seconds = timing(clock, spin).fastest;
    return operations / seconds * 1e-9;
  };
  limits.f32_gop_per_s = peak(kernels().peak_f32);
  limits.bf16_gop_per_s = peak(kernels().peak_bf16);
  limits.int8_gop_per_s = peak(kernels().tiles != nullptr ? kernels().tiles->peak_int8 : kernels().peak_int8);
  return limits;
}

std::vector<MatmulMeasure> measure_matmul(std::span<const WeightType> types,
                                          std::span<const int64_t> rows, ThreadPool& pool,
                                          const Clock& clock) {
  std::vector<MatmulMeasure> measures;
  for (const WeightType type : types) {
    std::vector<PackedMatrix> layers;
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      for (const auto& [n, k] : kShapes) {
        const auto row = [width = k](int64_t j, std::span<float> out) {
          for (size_t i = 0; i < out.size(); ++i) out[i] = number(static_cast<uint64_t>(j * width) + i);
        };
        layers.push_back(PackedMatrix::pack(type, n, k, row, pool));
      }
    }
    for (const int64_t count : rows) {
      // With many rows the weights' way from memory does not matter: fewer layers do.
      const size_t used = count > 64 ? 4 * std::size(kShapes) : layers.size();
      const auto x = numbers(count * kFeedForward);
      std::vector<float> y(static_cast<size_t>(count * 2 * kFeedForward));
      MatmulScratch scratch;
      const auto pass = [&] {
        for (size_t i = 0; i < used; ++i) {
          const auto& w = layers[i];
          matmul({.x = std::span(x).first(static_cast<size_t>(count * w.k())), .rows = count,
                  .y = std::span(y).first(static_cast<size_t>(count * w.n())), .bias = {}},
                 w, pool, scratch);
        }
      };
      double operations = 0, read = 0;
      for (size_t i = 0; i < used; ++i) {
        operations += 2.0 * static_cast<double>(count * layers[i].n() * layers[i].k());
        read += static_cast<double>(layers[i].bytes());
      }
      const Timing t = timing(clock, pass);
      measures.push_back({type, count, t.middle, t.fastest, read / t.middle * 1e-9,
                          operations / t.middle * 1e-9});
    }
  }
  return measures;
}

AttentionMeasure measure_attention(KvType type, int64_t rows, int64_t keys, ThreadPool& pool,
                                   const Clock& clock) {
  const int64_t pages = (keys + kPageTokens - 1) / kPageTokens;
  const uint64_t page = kv_page_bytes(type, kKvHeads, kHeadDim);
  const Memory memory(page * static_cast<uint64_t>(pages));
  const KvView view{memory.data(), page, type, kKvHeads, kHeadDim};
  std::vector<int32_t> list;
  for (int64_t i = 0; i < pages; ++i) list.push_back(static_cast<int32_t>(i));
  std::vector<AttentionRow> all;
  for (int64_t p = 0; p < keys; ++p) all.push_back({p, list});
  const auto kv = numbers(keys * kKvHeads * kHeadDim);
  kv_store(view, all, kv.data(), kv.data(), kKvHeads * kHeadDim, pool);
  const auto q = numbers(rows * kHeads * kHeadDim);
  std::vector<float> out(q.size());
  const auto asked = std::span<const AttentionRow>(all).last(static_cast<size_t>(rows));
  const AttentionArgs args{.q = q.data(), .q_stride = kHeads * kHeadDim, .heads = kHeads,
                           .scale = 0.125f, .out = out.data()};
  double operations = 0;
  for (const auto& row : asked) {
    operations += 4.0 * kHeads * kHeadDim * static_cast<double>(row.position + 1);
  }
  const Timing t = timing(clock, [&] { attention(args, view, asked, pool); });
  return {type, rows, keys, t.middle, operations / t.middle * 1e-9};
}

double measure_run(ThreadPool& pool, const Clock& clock) {
  constexpr int kRuns = 200;
  const std::function<void(int)> nothing = [](int) {};
  return timing(clock, [&] {
           for (int i = 0; i < kRuns; ++i) pool.run(pool.threads(), nothing);
         }).middle / kRuns;
}

}  // namespace colony::tensor
