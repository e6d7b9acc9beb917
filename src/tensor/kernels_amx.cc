// int8 and int4 products with 13-bit activations on AMX. The exact sums of a group come out of the tile unit; the f32
// part that follows is kernels_impl.inl's, operation for operation, so the bits are those of every other set.
//
// Measured on a Xeon with AMX at 2.5 GHz, 16 rows by 16 outputs by a group (k = 32), all in the first-level cache: a product
// of tiles takes 6.4 ns (16 cycles) and storing its sums, which waits for it, as much again; the f32 part of a group takes
// 15 ns, and the two overlap by little: 53 ns with two planes. VNNI takes 75 ns for the same, but 32 for 8-bit activations, where
// tiles took 37: so those stay with VNNI, and few rows, where the weights' bytes decide, do so too (kTilesFrom).
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

// Tiles 0, 1: sums (of the low and the high plane); 2, 3: x, likewise; 4: weights, fours of k a row.
void configure() {
  Shape shape;
  const auto set = [&shape](int tile, int rows, int bytes) {
    shape.rows[tile] = static_cast<uint8_t>(rows);
    shape.row_bytes[tile] = static_cast<uint16_t>(bytes);
  };
  for (const int sums : {0, 1}) set(sums, kTileRows, 64);
  for (const int x : {2, 3}) set(x, kTileRows, kGroup);
  set(4, kGroup / 4, 64);
  COLONY_TILE_CONFIG(shape);
}
void release() { COLONY_TILE_RELEASE(); }

constexpr int64_t kPlane = kTileRows * kGroup;  // bytes of x in a block's group

void place(const int16_t* p, int64_t k, int64_t row, uint8_t* block) {
  uint8_t* to = block + row * kGroup;
  for (int64_t g = 0; g < k; g += kGroup, to += 2 * kPlane) {
    uint8_t low[kGroup], high[kGroup];
    for (int i = 0; i < kGroup; ++i) {
      low[i] = static_cast<uint8_t>(p[g + i] & 127);
      high[i] = static_cast<uint8_t>(p[g + i] >> 7);  // -32…31
    }
    __builtin_memcpy(to, low, kGroup);
    __builtin_memcpy(to + kPlane, high, kGroup);
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
  static constexpr int kBytes = kInt8GroupBytes;
  INLINE void make(const uint8_t* group, uint8_t* ready) {
    for (int i = 0; i < kReady; i += 64) {
      const uint8_t* first = group + i / 128 * 128 + i % 128 / 2;
      _mm512_storeu_si512(ready + i, _mm512_or_si512(wide(first), _mm512_slli_epi32(wide(first + 64), 16)));
    }
  }
};
// Two pairs of k in two bytes, the first in the lower halves.
struct Int4Pairs {
  static constexpr int kBytes = kInt4GroupBytes;
  INLINE void make(const uint8_t* group, uint8_t* ready) {
    for (int i = 0; i < kReady; i += 64) {
      const __m512i both = wide(group + i / 2);
      _mm512_storeu_si512(ready + i, _mm512_or_si512(_mm512_and_si512(both, _mm512_set1_epi32(0x0f0f)),
                                                     _mm512_and_si512(_mm512_slli_epi32(both, 12), _mm512_set1_epi32(0x0f0f0000))));
    }
  }
};
// ---- products ----
struct Tile {
  int64_t row = 0;                 // the first of its block of 16
  int rows = kTileRows;            // that are there
  int vec = 0;                     // outputs 16 vec … 16 vec + 15 of the panel
  int64_t from = 0, to = 0;        // groups
  const uint8_t* ready = nullptr;  // of group `from`
};

// A group's sums, to memory: x in its tile times the weights in tile 4. Instructions name their tiles, so a variable cannot.
#define COLONY_TILE_SUMS(sign, sum, x_tile, from_x, to_sums) \
  do {                                                       \
    COLONY_TILE_ZERO(sum);                                   \
    COLONY_TILE_LOAD(x_tile, from_x, kXStride);              \
    COLONY_TILE_DOT_##sign(sum, x_tile, 4);                  \
    COLONY_TILE_STORE(sum, to_sums, kSumStride);             \
  } while (false)

// The sums of two groups' low and high planes: those of one are written while the f32 part reads the other's.
using Planes = int32_t[2][kTileRows][16];
struct alignas(64) Sums {
  Planes at[2];
};

// The sums of tile t's group g.
template <class Weights>
INLINE void dot(const PanelArgs& a, const Tile& t, int64_t g, Planes& to) {
  constexpr int64_t kWeightStride = 4 * kPanel, kSumStride = 64, kXStride = kGroup;
  const uint8_t* w = t.ready + (g - t.from) * kReady + 64 * t.vec;
  const uint8_t* x = static_cast<const uint8_t*>(a.x) + 2 * (t.row * a.k + g * kPlane);
  COLONY_TILE_LOAD(4, w, kWeightStride);
  COLONY_TILE_SUMS(UNSIGNED, 0, 2, x, to[0]);
  COLONY_TILE_SUMS(SIGNED, 1, 3, x + kPlane, to[1]);
}

// y of kRows rows. The unit works one group ahead, over the end of a tile into `next` (null: none), since sums
// arrive in memory some 120 cycles after they were asked for. `turn`: which sums are those of t.from.
template <class Weights, int kRows>
INLINE void f32_part(const PanelArgs& a, const Tile& t, const Tile* next, int turn, Sums& sums) {
  const int64_t groups = a.k / kGroup;
  const auto* panel = static_cast<const uint8_t*>(a.panel);
  const float* x_sums = a.group_sums + t.row * groups;
  float* y = a.y + t.row * a.ldy + 16 * t.vec;
  F acc[kRows];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) acc[r] = t.from == 0 || r >= t.rows ? f_zero() : f_load(y + r * a.ldy);
  for (int64_t g = t.from; g < t.to; ++g, turn ^= 1) {
    if (g + 1 < t.to) dot<Weights>(a, t, g + 1, sums.at[turn ^ 1]);
    else if (next != nullptr) dot<Weights>(a, *next, next->from, sums.at[turn ^ 1]);
    const Planes& of = sums.at[turn];
    const uint8_t* group = panel + g * Weights::kBytes;
    if (t.row == 0 && t.vec == 0 && a.ahead > 0) {
      for (int line = 0; line < Weights::kBytes; line += 64) prefetch_far(group + a.ahead + line);
    }
    const auto* d = reinterpret_cast<const uint16_t*>(group + Weights::kBytes - 4 * kPanel) + 16 * t.vec;
    const F scale = f_load_f16(d), least = f_load_f16(d + kPanel);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const __m512i both = _mm512_add_epi32(_mm512_loadu_si512(of[0][r]), _mm512_slli_epi32(_mm512_loadu_si512(of[1][r]), 7));
      acc[r] = f_fma({_mm512_cvtepi32_ps(both)}, scale, acc[r]);
      acc[r] = f_fma(f_set(x_sums[g * kTileRows + r]), least, acc[r]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    if (r < t.rows) f_store(y + r * a.ldy, t.to == groups ? f_mul(acc[r], f_set(a.row_scale[t.row + r])) : acc[r]);
  }
}

template <class Weights>
void panel(const PanelArgs& a) {
  const int64_t groups = a.k / kGroup, chunks = (groups + kReadyGroups - 1) / kReadyGroups;
  alignas(64) uint8_t ready[kReadyGroups * kReady];
  Sums sums;
  const auto rows_from = [&](int64_t row) { return static_cast<int>(a.rows - row < kTileRows ? a.rows - row : kTileRows); };
  for (int64_t i = 0; i < chunks; ++i) {
    Tile t{.rows = rows_from(0), .from = groups * i / chunks, .to = groups * (i + 1) / chunks, .ready = ready};
    const auto* group = static_cast<const uint8_t*>(a.panel) + t.from * Weights::kBytes;
    for (int64_t g = t.from; g < t.to; ++g, group += Weights::kBytes) Weights::make(group, ready + (g - t.from) * kReady);
    int turn = 0;
    dot<Weights>(a, t, t.from, sums.at[turn]);
    for (bool more = true; more;) {
      Tile next = t;
      next.vec ^= 1;
      if (t.vec == 1) next.row += kTileRows, next.rows = rows_from(next.row);
      more = next.row < a.rows;
      if (t.rows > 8) f32_part<Weights, kTileRows>(a, t, more ? &next : nullptr, turn, sums);
      else f32_part<Weights, 8>(a, t, more ? &next : nullptr, turn, sums);
      turn ^= static_cast<int>((t.to - t.from) & 1);
      t = next;
    }
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

const TileKernels kKernelsAmx = {configure, release, place, panel<Int8Pairs>, panel<Int4Pairs>, peak_int8};

}  // namespace colony::tensor
