// The table of kernels, one for each instruction set; private to this room.
//
// kernels_impl.inl holds the one text of every kernel, written over 16 lanes of float; each
// kernels_<isa>.cc compiles it for its instructions. Sixteen lanes everywhere (two registers on
// AVX2) is what makes the results the same bits on all of them.
#pragma once
#include <cstdint>

#include "tensor/attention.h"

namespace colony::tensor {

inline int64_t round_up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }

inline constexpr int kPanel = 32;   // outputs of one panel of packed weights
inline constexpr int kGroup = 32;   // k of one int8 group
inline constexpr int kInt8GroupBytes = kGroup * kPanel + 2 * 2 * kPanel;  // q, then d and m in f16
// q in nibbles (where: int4_at in matmul.cc), then d and m in f16.
inline constexpr int kInt4GroupBytes = kGroup * kPanel / 2 + 2 * 2 * kPanel;
inline constexpr int kActivationMax = 4095;       // 13 bits
inline constexpr int kGroupActivationMax = 127;   // 8 bits

// One panel (32 outputs) times `rows` rows of x; writes tile [rows, 32] at y with stride ldy.
struct PanelArgs {
  // f32: float [rows, ldx]; bf16: uint16 pairs; int8, int4: int16 [rows, ldx], or int8 (8-bit activations, but see
  // quantize_row_x8_words)
  const void* x = nullptr;
  int64_t ldx = 0;              // elements from a row to the next
  const void* panel = nullptr;
  int64_t ahead = 0;            // bytes from here to the panel after this one, which is fetched from memory meanwhile; 0: none
  int64_t k = 0;                // padded: to 2 for bf16, to 32 for int8 and int4
  int64_t rows = 0;
  const float* row_scale = nullptr;   // 13-bit activations: t, [rows]
  const float* group_scale = nullptr; // 8-bit activations: t of each group, [rows, k/32]
  const float* group_sums = nullptr;  // Σ p of each group (8-bit activations: t Σ p), [rows, k/32]
  float* y = nullptr;
  int64_t ldy = 0;
};

struct AttentionTile {
  const float* q = nullptr;  // `heads` rows of head_dim, stride head_dim
  int heads = 0;             // query heads of one kv head
  int64_t position = 0, first = 0;  // keys first…position are seen
  const int32_t* pages = nullptr;
  const std::byte* base = nullptr;  // of the layer
  uint64_t page_stride = 0;
  uint64_t k_offset = 0, v_offset = 0;  // of this kv head inside a page, bytes
  int head_dim = 0, padded_dim = 0;
  KvType type = KvType::kF32;
  float scale = 0, softcap = 0;
  float* out = nullptr;  // [heads, head_dim]
};

// u = scale (x Aᵀ), see lora.h. a: [ranks, k padded to 16], f32 or int8; u: [rows, ranks].
struct LoraShrink {
  const float* x = nullptr;  // [rows, k], stride ldx
  int64_t ldx = 0, rows = 0, k = 0;
  const void* a = nullptr;
  bool int8 = false;
  const float* scale = nullptr;  // [ranks]
  int64_t ranks = 0;
  float* u = nullptr;
};
// y += start + u Bᵀ, or with gains y = gain (y - bias + start + u Bᵀ) + bias.
inline constexpr int kLoraBlock = 32;  // outputs that share a scale
struct LoraExpand {
  const float* u = nullptr;  // [rows, ranks], stride ldu
  int64_t ldu = 0, rows = 0, ranks = 0;
  const void* b = nullptr;  // [ranks, n padded to kLoraBlock], f32 or int8
  bool int8 = false;
  const float* b_scale = nullptr;  // int8: [ranks, padded / kLoraBlock]
  const float *start = nullptr, *gain = nullptr, *bias = nullptr;  // [n], each may be null
  float* y = nullptr;              // [rows, n], stride ldy
  int64_t ldy = 0, n = 0;
};

// Products of int8 and int4 weights with 13-bit activations by tiles. Each sum is the panels' of the same name to the bit.
//
// x and group_sums stand in blocks of kTileRows rows, so that a tile is read from memory in one piece: x as
// [rows / 16, k / 32, 2, 16 rows, 32] bytes, the lower parts p & 127 before the upper parts p >> 7; sums as
// [rows / 16, k / 32, 16]. The last block has all of its memory whatever the number of rows; what stands there for
// missing rows is computed with and thrown away.
inline constexpr int kTileRows = 16;
inline constexpr int64_t kTilesFrom = 64;  // a matrix with fewer rows goes to the panels: measured, see kernels_amx.cc
struct TileKernels {
  // Around a thread's panels of one matrix.
  void (*configure)() = nullptr;
  void (*release)() = nullptr;
  // quantize_row's numbers of row `row` of a block into the block's bytes; k a multiple of 32.
  void (*place)(const int16_t* p, int64_t k, int64_t row, uint8_t* block) = nullptr;
  void (*panel_int8)(const PanelArgs&) = nullptr;
  void (*panel_int4)(const PanelArgs&) = nullptr;
  double (*peak_int8)(int64_t n) = nullptr;  // as Kernels::peak_int8
};

struct Kernels {
  void (*panel_f32)(const PanelArgs&) = nullptr;
  void (*panel_bf16)(const PanelArgs&) = nullptr;
  void (*panel_int8)(const PanelArgs&) = nullptr;
  void (*panel_int8_x8)(const PanelArgs&) = nullptr;  // 8-bit activations
  void (*panel_int4)(const PanelArgs&) = nullptr;
  void (*panel_int4_x8)(const PanelArgs&) = nullptr;
  // One row: x [k] -> p [k padded to 32], its scale and group sums.
  void (*quantize_row)(const float* x, int64_t k, int16_t* p, float* scale, float* sums) = nullptr;
  // The same with 8 bits and a scale a group: scales, sums [k/32].
  void (*quantize_row_x8)(const float* x, int64_t k, int8_t* p, float* scales, float* sums) = nullptr;
  // The same into 16 bits where panel_int8_x8 takes those, else null.
  void (*quantize_row_x8_words)(const float* x, int64_t k, int16_t* p, float* scales, float* sums) = nullptr;
  // One int8 group of weights: w [32] -> q [32], d and m in f16; the nearest q for w ≈ d q + m, d and m by the group's range.
  void (*quantize_group8)(const float* w, uint8_t* q, uint16_t* d, uint16_t* m) = nullptr;
  void (*round_row_bf16)(const float* x, int64_t k, uint16_t* out) = nullptr;  // pads k to even
  void (*rms_norm_row)(const float* x, const float* w, int64_t dim, float eps, float* y) = nullptr;
  void (*silu_mul_row)(const float* gate, const float* up, int64_t n, float* y) = nullptr;
  void (*gelu_mul_row)(const float* gate, const float* up, int64_t n, float* y) = nullptr;
  void (*add_row)(float* x, const float* y, int64_t n) = nullptr;
  void (*attention_tile)(const AttentionTile&) = nullptr;
  void (*lora_shrink)(const LoraShrink&) = nullptr;
  void (*lora_expand)(const LoraExpand&) = nullptr;
  float (*max_of)(const float* x, int64_t n) = nullptr;  // n > 0; NaN is skipped
  double (*sum_exp)(const float* x, int64_t n, float shift, float scale) = nullptr;  // Σ exp((x-shift)*scale)
  // ---- for backward.h and sequence_attention.h ----
  // y = exp((x-shift)*scale), and their sum; y may be x.
  double (*exp_row)(const float* x, int64_t n, float shift, float scale, float* y) = nullptr;
  // dx += the gradient of rms_norm_row.
  void (*rms_norm_backward_row)(const float* x, const float* w, const float* dy, int64_t dim, float eps, float* dx) = nullptr;
  // The gradients of silu_mul_row; d_gate may be gate, d_up may be up.
  void (*silu_mul_backward_row)(const float* gate, const float* up, const float* dy, int64_t n, float* d_gate, float* d_up) = nullptr;
  // The gradients of gelu_mul_row, likewise.
  void (*gelu_mul_backward_row)(const float* gate, const float* up, const float* dy, int64_t n, float* d_gate, float* d_up) = nullptr;
  // For bench.h: n rounds of the products' own multiply-adds on registers alone; operations done.
  double (*peak_f32)(int64_t n) = nullptr;
  double (*peak_bf16)(int64_t n) = nullptr;
  double (*peak_int8)(int64_t n) = nullptr;
  uint64_t (*read_bytes)(const void* p, int64_t bytes) = nullptr;  // bytes: a multiple of 1024
  const TileKernels* tiles = nullptr;  // null where there are none
};

extern const Kernels kKernelsAvx2;
extern const Kernels kKernelsAvxVnni;    // int8 and int4 panels only; the rest as AVX2
extern const Kernels kKernelsAvx512;
extern const Kernels kKernelsAvx512Vnni;  // int8 and int4 panels only; the rest as AVX-512
extern const Kernels kKernelsAvx512Bf16;  // bf16 panels only; the rest as AVX-512
extern const TileKernels kKernelsAmx;     // beside AVX-512 with VNNI

// The best for cpu(); tests may force another with ForceKernels.
const Kernels& kernels();

// For tests: every kernel as on a machine with no more than this, until destroyed. Threads: one.
class ForceIsa {
 public:
  explicit ForceIsa(const char* level);  // "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16", "amx"
  ~ForceIsa();
  bool available() const { return available_; }

 private:
  bool available_ = false;
  const Kernels* before_ = nullptr;
};

}  // namespace colony::tensor
