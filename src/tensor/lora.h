// Low-rank updates of a product's outputs, each row of the batch with its own adapter or none.
//
//   y += B u,  u = s A x                    A: [rank, in], B: [outputs, rank]; s: the adapter's scale
//   y  = g (y - b + B u) + b                with a gain g for each output (DoRA); b: the product's bias
//
// Several modules that read the same x (q, k and v; gate and up) are parts of one update: their A are
// stacked, so x is read once. On a CPU the rows of a decode step mostly have an adapter each: then both
// products are bound by reading A and B once, which is what the layout is for: A row by row, B by
// columns of 32 outputs.
// A row's result depends on its own x and update only, bit for bit: u is one sum over `in` in 16 lanes,
// y one chain over the ranks in ascending order. Same bits on every instruction set.
// Source: Hu et al. 2021, arXiv:2106.09685; Liu et al. 2024, arXiv:2402.09353 (DoRA); Chen et al. 2023,
// arXiv:2310.18547 (shrink and expand over segments). Agrees with PEFT's lora.Linear in f32.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "tensor/thread_pool.h"

namespace colony::tensor {

// How A and B are kept. int8: A with a scale a row, B with a scale for each rank and 32 outputs.
enum class LoraType : uint8_t { kF32, kInt8 };

// One module's part of an update; a and b are read by pack() only.
struct LoraPart {
  int64_t first_output = 0, outputs = 0, rank = 0;  // outputs [first_output, first_output + outputs) of y
  float scale = 1;
  std::span<const float> a;       // [rank, in]
  std::span<const float> b;       // [outputs, rank]
  std::span<const float> b_bias;  // [outputs] or empty: added to B's product before scaling (PEFT's lora_bias)
  std::span<const float> gain;    // [outputs] or empty: DoRA's m / ‖W + s B A‖
};

// The packed update of one product. A view: the memory it was packed into must outlive it.
class LoraUpdate {
 public:
  LoraUpdate() = default;  // updates nothing
  // Bytes that pack() writes; only the sizes in `parts` and whether b_bias and gain are empty matter.
  static uint64_t bytes_for(LoraType type, int64_t in, std::span<const LoraPart> parts);
  // Needs memory of bytes_for() bytes, aligned to 64, and parts in ascending, disjoint order of outputs.
  static LoraUpdate pack(LoraType type, int64_t in, std::span<const LoraPart> parts, std::span<std::byte> memory);

  bool empty() const { return parts_.empty(); }
  bool has_gain() const;
  int64_t ranks() const { return ranks_; }  // of all parts together

 private:
  friend class LoraAccess;
  struct Part {
    int64_t first_output = 0, outputs = 0, rank = 0, first_rank = 0;
    const void* b = nullptr;           // [rank, outputs padded to 32], f32 or int8
    const float* b_scale = nullptr;    // int8: [rank, padded / 32]
    const float* start = nullptr;      // [outputs]: s * b_bias, or null
    const float* gain = nullptr;       // [outputs] or null
  };
  LoraType type_ = LoraType::kF32;
  int64_t in_ = 0, ranks_ = 0;
  const void* a_ = nullptr;            // [ranks, in padded to 16]
  const float* a_scale_ = nullptr;     // [ranks]: s, times the row's scale for int8
  std::vector<Part> parts_;
};

// Rows [first, first + rows) of the batch carry `update`; null or an empty update: none.
struct LoraSegment {
  int64_t first = 0, rows = 0;
  const LoraUpdate* update = nullptr;
};

// Reused between calls so that a step allocates nothing once it is warm. Threads: one owner.
struct LoraScratch {
  std::vector<float> u;
  std::vector<LoraSegment> blocks;
};

struct LoraArgs {
  std::span<const float> x;  // [rows, in]
  int64_t in = 0;
  std::span<float> y;        // [rows, outputs]; holds the product (and bias) already
  int64_t outputs = 0;
  std::span<const float> bias;  // [outputs] or empty: what the product added; only gains look at it
};
// Applies every segment's update to its rows of y. Segments must not overlap.
void lora(const LoraArgs& args, std::span<const LoraSegment> segments, ThreadPool& pool, LoraScratch& scratch);

}  // namespace colony::tensor
