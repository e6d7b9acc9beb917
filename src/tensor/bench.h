// How fast the products and attention are here, and what the machine would allow at most.
//
// Shapes are those of a layer of SmolLM2-135M (C 576, F 1536, 9 query and 3 kv heads of 64), over
// enough layers that the weights do not stay in a cache.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/clock.h"
#include "tensor/attention.h"
#include "tensor/matmul.h"

namespace colony::tensor {

// Limits to compare with, all threads of the pool together; an operation is a multiply or an add.
struct MachineLimits {
  double read_gb_per_s = 0;   // summing 1 GiB, which no cache holds
  double f32_gop_per_s = 0;   // the kernels' own multiply-add instructions on registers alone
  double bf16_gop_per_s = 0;
  double int8_gop_per_s = 0;
};
MachineLimits measure_limits(ThreadPool& pool, const Clock& clock);

struct MatmulMeasure {
  WeightType type = WeightType::kF32;
  int64_t rows = 0;
  double seconds = 0;      // one pass over all layers' products, median of the passes
  double fastest = 0;      // the quickest pass
  double gb_per_s = 0;     // of packed weights, by the median
  double gop_per_s = 0;    // by the median
};
// One entry a type and number of rows, in that order. Holds up to 480 MB while it runs.
std::vector<MatmulMeasure> measure_matmul(std::span<const WeightType> types,
                                          std::span<const int64_t> rows, ThreadPool& pool,
                                          const Clock& clock);

struct AttentionMeasure {
  KvType type = KvType::kF32;
  int64_t rows = 0, keys = 0;  // rows of one sequence whose last row sees `keys` keys
  double seconds = 0;          // one layer, median
  double gop_per_s = 0;        // 4 D H operations a row and key
};
AttentionMeasure measure_attention(KvType type, int64_t rows, int64_t keys, ThreadPool& pool,
                                   const Clock& clock);

// Seconds of one ThreadPool::run over as many empty parts as there are threads, median.
double measure_run(ThreadPool& pool, const Clock& clock);

}  // namespace colony::tensor
