// Gradients of the small operations and of low-rank updates, and the loss: what training adds to ops.h.
//
// dX is the gradient of the loss with respect to X. What says "+=" accumulates, the rest is written.
// Sums over rows run in ascending order whatever the threads, so a run has the same bits on any number.
// Each has an f64 twin and a check by finite differences beside its source.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "tensor/thread_pool.h"

namespace colony::tensor {

// Of rms_norm (ops.h), w frozen: dx += r w dy - x r³/dim Σ w dy x. x, dy, dx: [rows, dim].
void rms_norm_backward(std::span<const float> x, std::span<const float> w, float eps, std::span<const float> dy,
                       std::span<float> dx, ThreadPool& pool);

// Of head_rms_norm (ops.h), w frozen: d, the gradient of what came out, becomes that of x, what came in.
// x: rows of x_stride, d: rows of d_stride numbers, `heads` heads from each row's start.
void head_rms_norm_backward(std::span<const float> x, int64_t x_stride, int64_t rows, int heads, std::span<const float> w, float eps,
                            std::span<float> d, int64_t d_stride, ThreadPool& pool);

// Of silu_mul (ops.h), in place: gate_up [rows, 2F] becomes its own gradient. dy: [rows, F].
void silu_mul_backward(std::span<float> gate_up, int64_t rows, int64_t f, std::span<const float> dy, ThreadPool& pool);

// Of gelu_mul (ops.h), likewise.
void gelu_mul_backward(std::span<float> gate_up, int64_t rows, int64_t f, std::span<const float> dy, ThreadPool& pool);

// Cross entropy of each row. logits: [rows, V]; targets: [rows], ids below V; loss: [rows], natural logarithm.
// With `weight` not 0 the logits become weight (softmax - onehot), else they are left.
void cross_entropy(std::span<float> logits, int64_t rows, std::span<const int32_t> targets, float weight,
                   std::span<float> loss, ThreadPool& pool);

// A low-rank update while it is learnt: y += B u, u = s A x, with B stored by columns.
struct LowRank {
  int64_t rank = 0, in = 0, outputs = 0;
  float scale = 1;              // s
  std::span<const float> a;     // [rank, in]
  std::span<const float> b;     // [rank, outputs]: Bᵀ
};

// A LowRank in the kernels' padded form; a view where nothing needs padding. Must not outlive its numbers.
class LowRankForms {
 public:
  explicit LowRankForms(const LowRank& update);
  LowRankForms(LowRankForms&&) = default;
  LowRankForms& operator=(LowRankForms&&) = default;

 private:
  friend struct LowRankAccess;
  LowRank update_;
  std::vector<float> scales_, owned_[4];
  const float *a_shrink_ = nullptr, *a_expand_ = nullptr, *b_shrink_ = nullptr, *b_expand_ = nullptr;
};

// Reused between calls. Threads: one owner.
struct LowRankScratch {
  std::vector<float> du, turned, panels;
  uint64_t bytes() const { return (du.capacity() + turned.capacity() + panels.capacity()) * 4; }
};

// u = s x Aᵀ (written, [rows, rank]); y += u Bᵀ. x: [rows, in]; y: rows of stride ldy, outputs numbers each.
void low_rank_forward(const LowRankForms& update, std::span<const float> x, int64_t rows, std::span<float> u, float* y,
                      int64_t ldy, ThreadPool& pool);
// With the u of the forward direction: da += (s dy B)ᵀ x, db += uᵀ dy, dx += (s dy B) A unless dx is empty.
// dy: as y above; da: [rank, in]; db: [rank, outputs]; dx: [rows, in].
void low_rank_backward(const LowRankForms& update, std::span<const float> x, int64_t rows, std::span<const float> u,
                       const float* dy, int64_t ldy, std::span<float> da, std::span<float> db, std::span<float> dx,
                       ThreadPool& pool, LowRankScratch& scratch);

}  // namespace colony::tensor
