// y = x Wᵀ for weights packed once at load, in f32, bf16, int8 or int4.
//
// Promise: a row of y depends on its row of x and on W only, bit for bit: not on how many rows the
// call has, where the row stands, how many threads work, or what the other rows hold. Each output
// is one chain of fused multiply-adds over k in ascending order; sums inside a group of int8 or int4
// are exact integers. f32, int8 and int4 give the same bits on every instruction set.
//
//   f32   y = Σ_k x_k w_k
//   bf16  W and x rounded to bf16 (nearest even), products summed in f32
//   int8  W in groups of 32 along k: w ≈ d q + m, q in 0…255, d and m in f16; x per row with 13 bits:
//         x ≈ t p, |p| ≤ 4095;  y = t Σ_g (d_g Σ_k p_k q_k + m_g Σ_k p_k)
//
// Why not the usual 8 bits a channel and 8 bits a row: on SmolLM2-135M (120 real prompts, mean KL
// against f32) that gives .065. Weights alone: a channel .0066, symmetric groups of 32 .0022, affine
// groups of 32 .0002. Activations alone, 8 bits: a row .075, groups of 32 .0045; a row with 10, 11,
// 12, 13 bits: .0063, .0016, .0005, .0001. Both as above: .0003, same top token 99.4 %.
// Matrices that bear it may take 8-bit activations in groups of 32 (Activations::kGroup8): half the
// multiply-adds on machines with vpdpbusd;  y = Σ_g t_g (d_g Σ_k p_k q_k + m_g Σ_k p_k), |p| ≤ 127.
//
//   int4  all as int8 with q in 0…15, that is GGUF's Q4_1 (Q4_0 has m = -8 d)
//
// Weights that a file holds in such groups already are taken over as they stand.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/thread_pool.h"

namespace colony::tensor {

enum class WeightType : uint8_t { kF32, kBf16, kInt8, kInt4 };
std::string_view weight_type_name(WeightType type);  // "f32", "bf16", "int8", "int4"
// How x is rounded before it meets int8 or int4 weights; the others do not look at it.
enum class Activations : uint8_t { kRow13, kGroup8 };

// Gives row n of the weights as f32: out has `in` numbers. Called once a row, from several threads.
using RowSource = std::function<void(int64_t n, std::span<float> out)>;

// One row of weights that are stored in groups of 32 already: w = d q + m.
struct StoredRow {
  std::span<uint16_t> d, m;  // [K/32], f16
  std::span<uint8_t> q;      // [K], each 0…q_most
  int q_most = 0;            // what the packed type holds: 15 or 255
};
// Fills `out` with row n, or says false when the row is stored in another way and RowSource is to be asked.
using StoredSource = std::function<bool(int64_t n, const StoredRow& out)>;

struct PackOptions {
  Activations activations = Activations::kRow13;
  // For int8 and int4 with k a multiple of 32, asked before RowSource: groups are taken over as they stand.
  StoredSource stored = {};
  // bytes_for() zeroed bytes, aligned to 64, that outlive the matrix; without: its own. Many matrices in one
  // Memory have its huge pages.
  std::span<std::byte> memory = {};
};

// Grows by one when the same weights are packed into other bytes: kept ones are then not used any more.
inline constexpr int kPackedLayout = 1;

// Weights [N, K] (HF's [out, in]) in the layout the kernels want. Immutable, movable.
class PackedMatrix {
 public:
  PackedMatrix();
  PackedMatrix(PackedMatrix&&) noexcept;
  PackedMatrix& operator=(PackedMatrix&&) noexcept;
  ~PackedMatrix();

  // Reads every row once. Needs n > 0, k > 0.
  static PackedMatrix pack(WeightType type, int64_t n, int64_t k, const RowSource& rows,
                           ThreadPool& pool, const PackOptions& options = {});
  // Over what pack() of the same type, n, k, activations and kPackedLayout made of `packed` before: bytes_for() bytes, aligned
  // to 64, that outlive the matrix.
  static PackedMatrix over(WeightType type, int64_t n, int64_t k, Activations activations, std::span<const std::byte> packed);
  // Bytes that pack() will hold, to be taken from the byte ledger before. A multiple of 64.
  static uint64_t bytes_for(WeightType type, int64_t n, int64_t k);

  WeightType type() const;
  int64_t n() const;
  int64_t k() const;
  uint64_t bytes() const;
  // Row `n` back as f32, as the kernels see it (rounded or dequantised).
  void unpack_row(int64_t n, std::span<float> out) const;

 private:
  friend class MatmulAccess;
  struct State;
  std::unique_ptr<State> state_;
};

// Reused between calls so that a step allocates nothing once it is warm. Threads: one owner.
class MatmulScratch {
 public:
  MatmulScratch();
  ~MatmulScratch();
  MatmulScratch(MatmulScratch&&) noexcept;
  MatmulScratch& operator=(MatmulScratch&&) noexcept;
  uint64_t bytes() const;

 private:
  friend class MatmulAccess;
  struct State;
  std::unique_ptr<State> state_;
};

struct MatmulArgs {
  std::span<const float> x;  // [rows, w.k()]
  int64_t rows = 0;          // > 0
  std::span<float> y;        // [rows, w.n()]; must not overlap x
  std::span<const float> bias;  // [w.n()] or empty
  bool accumulate = false;      // y += instead of y =
};

// Runs on `pool`. Needs the sizes above.
void matmul(const MatmulArgs& args, const PackedMatrix& w, ThreadPool& pool, MatmulScratch& scratch);

}  // namespace colony::tensor
