// Causal attention over a paged key/value cache, grouped query heads.
//
//   s_j = scale * q·k_j  (soft-capped by c*tanh(s/c) if c > 0),  j in (p - window, p]
//   out = Σ_j softmax(s)_j v_j
//
// Online softmax over blocks of kPageTokens keys at fixed absolute positions, in ascending order:
// a row's result does not depend on how its prompt was cut into chunks, on the batch, or on the
// threads. Source: Dao et al. 2022, arXiv:2205.14135 (online softmax); Kwon et al. 2023 (pages).
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "tensor/thread_pool.h"

namespace colony::tensor {

inline constexpr int kPageTokens = 32;

// kInt8: whole numbers -127…127 times a scale (f32) of each token's key, and value, of each head:
// its greatest absolute number / 127. A token's bits depend on its own numbers only.
enum class KvType : uint8_t { kF32, kBf16, kInt8 };
std::string_view kv_type_name(KvType type);  // "f32", "bf16", "int8"

// One layer's view of the cache. A page of one layer is, for each kv head, K transposed
// [Dp, kPageTokens] and then, for each kv head, V [kPageTokens, Dp], in KvType; in int8 each K and V
// is followed by its tokens' scales [kPageTokens]. Dp is D rounded up to a multiple of 16. Page i of
// this layer starts at base + i * page_stride bytes.
struct KvView {
  std::byte* base = nullptr;
  uint64_t page_stride = 0;  // bytes from a page to the next
  KvType type = KvType::kF32;
  int kv_heads = 0;  // G
  int head_dim = 0;  // D
};
// Bytes of one layer's page: 2 * G * kPageTokens * (Dp * size of an element, + 4 in int8).
uint64_t kv_page_bytes(KvType type, int kv_heads, int head_dim);

// One row (token) of a step: where it stands, and its sequence's pages. Page t of `pages` holds
// positions [t*kPageTokens, (t+1)*kPageTokens).
struct AttentionRow {
  int64_t position = 0;
  std::span<const int32_t> pages;
};

// Stores k and v of each row at its position. k, v: [rows, row_stride], G*D numbers from each row's
// start. Rounds to the cache's type.
void kv_store(const KvView& kv, std::span<const AttentionRow> rows, const float* k, const float* v,
              int64_t row_stride, ThreadPool& pool);

struct AttentionArgs {
  const float* q = nullptr;  // [rows, q_stride], H*D numbers from each row's start
  int64_t q_stride = 0;
  int heads = 0;      // H, a multiple of kv_heads
  float scale = 0;
  float softcap = 0;  // 0: none
  int64_t window = 0; // keys seen, the row itself included; 0: all
  float* out = nullptr;  // [rows, H*D]
};
// Keys and values of every row's own position must be stored before. Rows of one sequence should
// stand together (they share reads), in ascending position.
void attention(const AttentionArgs& args, const KvView& kv, std::span<const AttentionRow> rows,
               ThreadPool& pool);

}  // namespace colony::tensor
