// int8 and int4 products of 16 rows and more on AMX. The exact sums of a group come out of the tile unit; the f32
// part that follows is kernels_impl.inl's, operation for operation, so the bits are those of every other set.
//
// 16 rows by 16 outputs by a group (k = 32) take 16 cycles of the unit (13-bit activations, as two planes of
// bytes: 32) and about 40 of loads and f32; with VNNI the sums alone take 64 (128).
#include <immintrin.h>

#include "tensor/kernels.h"

#ifndef COLONY_EMULATED  // tests/emulated has its own of these
// As asm, since the compilers' own do not say that a tile is read from memory.
#define COLONY_TILE_CONFIG(shape) asm volatile("ldtilecfg %0" ::"m"(shape))
#define COLONY_TILE_RELEASE() asm volatile("tilerelease" ::)
#define COLONY_TILE_ZERO(tile) asm volatile("tilezero %%tmm" #tile ::)
#define COLONY_TILE_LOAD(tile, from, stride) asm volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(from), "r"(stride) : "memory")
#define COLONY_TILE_STORE(tile, to, stride) asm volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(to), "r"(stride) : "memory")
// sum += x w; x of signed or of unsigned bytes, w of unsigned ones.
#define COLONY_TILE_DOT_SIGNED(sum, x, w) asm volatile("tdpbsud %%tmm" #w ", %%tmm" #x ", %%tmm" #sum ::)
#define COLONY_TILE_DOT_UNSIGNED(sum, x, w) asm volatile("tdpbuud %%tmm" #w ", %%tmm" #x ", %%tmm" #sum ::)
#endif

namespace colony::tensor {
namespace {
#include "tensor/simd_avx512.inl"

#define INLINE static inline __attribute__((always_inline))

// What ldtilecfg reads.
struct Shape {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(Shape) == 64);

// Tiles 0, 1: sums of 16 rows (of the low and the high plane); 2, 3: x of 16 rows, likewise; 4: weights, fours of k
// a row; 5, 6: sums and x of the rows left over.
void configure(int left_over) {
  Shape shape;
  const auto set = [&shape](int tile, int rows, int bytes) {
    shape.rows[tile] = static_cast<uint8_t>(rows);
    shape.row_bytes[tile] = static_cast<uint16_t>(bytes);
  };
  for (const int sums : {0, 1}) set(sums, kTileRows, 64);
  for (const int x : {2, 3}) set(x, kTileRows, kGroup);
  set(4, kGroup / 4, 64);
  if (left_over > 0) set(5, left_over, 64), set(6, left_over, kGroup);
  COLONY_TILE_CONFIG(shape);
}
void release() { COLONY_TILE_RELEASE(); }

void split_planes(int16_t* p, int64_t k) {
  for (int64_t g = 0; g < k; g += kGroup) {
    int16_t whole[kGroup];
    uint8_t planes[2 * kGroup];
    __builtin_memcpy(whole, p + g, sizeof(whole));
    for (int i = 0; i < kGroup; ++i) {
      planes[i] = static_cast<uint8_t>(whole[i] & 127);
      planes[kGroup + i] = static_cast<uint8_t>(whole[i] >> 7);  // -32…31
    }
    __builtin_memcpy(p + g, planes, sizeof(planes));
  }
}

// ---- a group's weights as the unit takes them: [k / 4, 32 outputs, 4] bytes ----
constexpr int kReady = kGroup * kPanel;
constexpr int kReadyGroups = 16;  // of one chunk: a third of a first-level cache

INLINE __m512i wide(const uint8_t* pairs) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(pairs)));
}
// Stored as [k / 2, 32 outputs, 2].
struct Int8Pairs {
  static constexpr bool kPlanes = true, kStored = false;
  static constexpr int kBytes = kInt8GroupBytes;
  INLINE void make(const uint8_t* group, uint8_t* ready) {
    for (int i = 0; i < kReady; i += 64) {
      const uint8_t* first = group + i / 128 * 128 + i % 128 / 2;
      _mm512_storeu_si512(ready + i, _mm512_or_si512(wide(first), _mm512_slli_epi32(wide(first + 64), 16)));
    }
  }
};
// Stored as they are wanted.
struct Int8Fours {
  static constexpr bool kPlanes = false, kStored = true;
  static constexpr int kBytes = kInt8GroupBytes;
  INLINE void make(const uint8_t*, uint8_t*) {}
};
// Two pairs of k in two bytes, the first in the lower halves.
struct Int4Pairs {
  static constexpr bool kPlanes = true, kStored = false;
  static constexpr int kBytes = kInt4GroupBytes;
  INLINE void make(const uint8_t* group, uint8_t* ready) {
    for (int i = 0; i < kReady; i += 64) {
      const __m512i both = wide(group + i / 2);
      _mm512_storeu_si512(ready + i, _mm512_or_si512(_mm512_and_si512(both, _mm512_set1_epi32(0x0f0f)),
                                                     _mm512_and_si512(_mm512_slli_epi32(both, 12), _mm512_set1_epi32(0x0f0f0000))));
    }
  }
};
// Two fours of k in four bytes, the first in the lower halves.
struct Int4Fours {
  static constexpr bool kPlanes = false, kStored = false;
  static constexpr int kBytes = kInt4GroupBytes;
  INLINE void make(const uint8_t* group, uint8_t* ready) {
    for (int i = 0; i < kReady / 2; i += 64) {
      W low, high;
      n_split(group + i, &low, &high);
      uint8_t* to = ready + i / 128 * 256 + i % 128;
      b_store(to, low);
      b_store(to + 128, high);
    }
  }
};

// ---- products ----
struct Tile {
  int64_t row = 0;
  int rows = 0;
  int vec = 0;                     // outputs 16 vec … 16 vec + 15 of the panel
  int64_t from = 0, to = 0;        // groups
  const uint8_t* ready = nullptr;  // of group `from`
};

// A group's sums, to memory: x in its tile times the weights in tile 4. Instructions name their tiles, so a variable cannot.
#define COLONY_TILE_SUMS(sign, sum, x_tile, from_x, to_sums) \
  do {                                                       \
    COLONY_TILE_ZERO(sum);                                   \
    COLONY_TILE_LOAD(x_tile, from_x, ldx);                   \
    COLONY_TILE_DOT_##sign(sum, x_tile, 4);                  \
    COLONY_TILE_STORE(sum, to_sums, kSumStride);             \
  } while (false)

// kRows: 16, or 0 for the rows left over.
template <class Weights, int kRows>
INLINE void tile(const PanelArgs& a, const Tile& t) {
  constexpr int64_t kBytes = Weights::kPlanes ? 2 : 1;
  constexpr int64_t kWeightStride = 4 * kPanel, kSumStride = 64;
  const int rows = kRows > 0 ? kRows : t.rows;
  const int64_t groups = a.k / kGroup, ldx = a.ldx * kBytes;
  const auto* x = static_cast<const uint8_t*>(a.x) + t.row * ldx;
  const auto* group = static_cast<const uint8_t*>(a.panel) + t.from * Weights::kBytes;
  const float* sums = a.group_sums + t.row * groups;
  const float* scales = a.group_scale + t.row * groups;  // 8-bit activations
  float* y = a.y + t.row * a.ldy + 16 * t.vec;
  alignas(64) int32_t low[16 * kTileRows], high[16 * kTileRows];
  F acc[kTileRows];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) acc[r] = t.from == 0 ? f_zero() : f_load(y + r * a.ldy);
  for (int64_t g = t.from; g < t.to; ++g, group += Weights::kBytes) {
    const uint8_t* w = (Weights::kStored ? group : t.ready + (g - t.from) * kReady) + 64 * t.vec;
    const uint8_t* low_x = x + g * kGroup * kBytes;
    if (t.row == 0 && t.vec == 0 && a.ahead > 0) {
      for (int line = 0; line < Weights::kBytes; line += 64) prefetch_far(group + a.ahead + line);
    }
    COLONY_TILE_LOAD(4, w, kWeightStride);
    if constexpr (kRows > 0 && Weights::kPlanes) {
      COLONY_TILE_SUMS(UNSIGNED, 0, 2, low_x, low);
      COLONY_TILE_SUMS(SIGNED, 1, 3, low_x + kGroup, high);
    } else if constexpr (kRows > 0) {
      COLONY_TILE_SUMS(SIGNED, 0, 2, low_x, low);
    } else if constexpr (Weights::kPlanes) {
      COLONY_TILE_SUMS(UNSIGNED, 5, 6, low_x, low);
      COLONY_TILE_SUMS(SIGNED, 5, 6, low_x + kGroup, high);
    } else {
      COLONY_TILE_SUMS(SIGNED, 5, 6, low_x, low);
    }
    const auto* d = reinterpret_cast<const uint16_t*>(group + Weights::kBytes - 4 * kPanel) + 16 * t.vec;
    const F scale = f_load_f16(d), least = f_load_f16(d + kPanel);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const __m512i part = _mm512_loadu_si512(low + 16 * r);
      if constexpr (Weights::kPlanes) {
        const __m512i dot = _mm512_add_epi32(part, _mm512_slli_epi32(_mm512_loadu_si512(high + 16 * r), 7));
        acc[r] = f_fma({_mm512_cvtepi32_ps(dot)}, scale, acc[r]);
      } else {
        acc[r] = f_fma({_mm512_cvtepi32_ps(part)}, f_mul(scale, f_set(scales[r * groups + g])), acc[r]);
      }
      acc[r] = f_fma(f_set(sums[r * groups + g]), least, acc[r]);
    }
  }
  const bool scaled = Weights::kPlanes && t.to == groups;
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) f_store(y + r * a.ldy, scaled ? f_mul(acc[r], f_set(a.row_scale[t.row + r])) : acc[r]);
}

template <class Weights>
void panel(const PanelArgs& a) {
  const int64_t groups = a.k / kGroup;
  const int64_t chunks = Weights::kStored ? 1 : (groups + kReadyGroups - 1) / kReadyGroups;
  alignas(64) uint8_t ready[Weights::kStored ? 64 : kReadyGroups * kReady];
  for (int64_t i = 0; i < chunks; ++i) {
    Tile t;
    t.from = groups * i / chunks;
    t.to = groups * (i + 1) / chunks;
    t.ready = ready;
    if constexpr (!Weights::kStored) {
      const auto* group = static_cast<const uint8_t*>(a.panel) + t.from * Weights::kBytes;
      for (int64_t g = t.from; g < t.to; ++g, group += Weights::kBytes) Weights::make(group, ready + (g - t.from) * kReady);
    }
    for (; a.rows - t.row >= kTileRows; t.row += kTileRows) {
      for (t.vec = 0; t.vec < 2; ++t.vec) tile<Weights, kTileRows>(a, t);
    }
    t.rows = static_cast<int>(a.rows - t.row);
    for (t.vec = 0; t.rows > 0 && t.vec < 2; ++t.vec) tile<Weights, 0>(a, t);
  }
}

// Whole tiles of 64 of k, three sums in turn.
double peak_int8(int64_t n) {
  Shape shape;
  for (int tile = 0; tile < 5; ++tile) shape.rows[tile] = 16, shape.row_bytes[tile] = 64;
  COLONY_TILE_CONFIG(shape);
  COLONY_TILE_ZERO(0);
  COLONY_TILE_ZERO(1);
  COLONY_TILE_ZERO(2);
  COLONY_TILE_ZERO(3);
  COLONY_TILE_ZERO(4);
  for (int64_t i = 0; i < n; ++i) {
    COLONY_TILE_DOT_SIGNED(0, 3, 4);
    COLONY_TILE_DOT_SIGNED(1, 3, 4);
    COLONY_TILE_DOT_SIGNED(2, 3, 4);
  }
  COLONY_TILE_RELEASE();
  return static_cast<double>(n) * 3 * 16 * 16 * 64 * 2;
}

}  // namespace

const TileKernels kKernelsAmx = {configure, release, split_planes, panel<Int8Pairs>, panel<Int8Fours>, panel<Int4Pairs>, panel<Int4Fours>, peak_int8};

}  // namespace colony::tensor
