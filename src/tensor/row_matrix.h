// Frozen weights kept row by row, for products with many rows in both directions, as training needs:
//
//   times_rows     y  = x Wᵀ   x: [T, K], y: [T, N]    (forward)
//   times_columns  dx = dy W   dy: [T, N], dx: [T, K]  (the gradient of the activations)
//
// One copy of W serves both: 32 outputs at a time are brought into the kernels' panel form as they are
// needed, which costs N K moves beside 2 T N K multiply-adds. A row's result does not depend on the
// other rows, the batch or the threads; sums over more than kReduceMost places are taken in parts.
//
//   f32   W as f32, products in f32
//   bf16  W rounded to bf16; where the machine multiplies bf16 (AVX-512 BF16), x is rounded too and
//         products are summed in f32; elsewhere W is widened and x stays f32
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "tensor/matmul.h"
#include "tensor/memory.h"
#include "tensor/thread_pool.h"

namespace colony::tensor {

// How products over bf16 weights are made; kF32 for f32 weights.
enum class RowProducts : uint8_t { kF32, kBf16 };
// The better one for this machine.
RowProducts best_row_products(WeightType type);

// Immutable, movable.
class RowMatrix {
 public:
  RowMatrix() = default;
  // type: kF32 or kBf16. Reads every row once.
  static RowMatrix make(WeightType type, int64_t n, int64_t k, const RowSource& rows, ThreadPool& pool);
  static uint64_t bytes_for(WeightType type, int64_t n, int64_t k);

  WeightType type() const { return type_; }
  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  // Row `n` as f32, as the products see it. out: [K].
  void row(int64_t n, std::span<float> out) const;

 private:
  friend class RowProductsAccess;
  WeightType type_ = WeightType::kF32;
  int64_t n_ = 0, k_ = 0;
  Memory memory_;
};

// Reused between calls. Threads: one owner.
struct RowScratch {
  std::vector<float> panels;     // a panel for each part of a call
  std::vector<uint16_t> halves;  // bf16: x rounded
  uint64_t bytes() const { return panels.capacity() * 4 + halves.capacity() * 2; }
};

struct RowArgs {
  std::span<const float> x;
  int64_t rows = 0;  // > 0
  std::span<float> y;
  bool accumulate = false;  // y += instead of y =
  RowProducts products = RowProducts::kF32;
};
void times_rows(const RowArgs& args, const RowMatrix& w, ThreadPool& pool, RowScratch& scratch);
void times_columns(const RowArgs& args, const RowMatrix& w, ThreadPool& pool, RowScratch& scratch);

}  // namespace colony::tensor
