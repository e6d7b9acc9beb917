// Causal attention over whole sequences, forward and backward, as training needs it: no cache, no pages.
//
//   s_ij = scale q_i·k_j for i - window < j <= i of the same sequence,   p = softmax(s),   out_i = Σ_j p_ij v_j
//
// Sequences stand one after the other in the rows (packing): a row sees its own sequence only, which is
// block-diagonal attention. Backward recomputes p from the logarithm of each row's sum (Dao et al. 2022,
// arXiv:2205.14135, appendix B):  dv_j = Σ_i p_ij do_i,  ds_ij = scale p_ij (do_i·v_j - do_i·out_i),
// dq_i = Σ_j ds_ij k_j,  dk_j = Σ_i ds_ij q_i.
// Split over sequences and kv heads; sums in ascending order, so the bits do not depend on the threads.
#pragma once
#include <cstdint>
#include <span>

#include "tensor/thread_pool.h"

namespace colony::tensor {

struct SequenceRows {
  int64_t first = 0, length = 0;  // rows [first, first + length) of the batch
};

struct SequenceAttention {
  int heads = 0, kv_heads = 0, head_dim = 0;  // H, G, D; H a multiple of G
  float scale = 0;
  std::span<const SequenceRows> sequences;    // disjoint
  std::span<const float> qkv;                 // [T, (H + 2 G) D]: q, k, v of each row, rotated already
  int64_t window = 0;                         // keys seen, the row itself included; 0: all
};

// out: [T, H D]; lse: [T, H], log Σ exp(s).
void sequence_attention(const SequenceAttention& args, std::span<float> out, std::span<float> lse, ThreadPool& pool);
// d_qkv: [T, (H + 2 G) D], written for every row of a sequence.
void sequence_attention_backward(const SequenceAttention& args, std::span<const float> out, std::span<const float> lse,
                                 std::span<const float> d_out, std::span<float> d_qkv, ThreadPool& pool);

}  // namespace colony::tensor
