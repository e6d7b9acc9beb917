// The AVX-512 and AMX instructions that tensor/simd_avx512.inl and tensor/kernels_amx.cc use, lane by lane or as two of AVX2, by Intel's description of
// each, so that its kernels run on a machine without them. Included before those files by tensor_emulated_tests alone.
#pragma once
#include <immintrin.h>

#include <cmath>
#include <cstdint>

namespace colony::emulated {

template <class T, int n>
struct Lanes {
  T at[n];
};
template <class To, class From>
inline To bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof(to));
  return to;
}
using F32 = Lanes<float, 16>;
using S32 = Lanes<int32_t, 16>;
using U32 = Lanes<uint32_t, 16>;
using S16 = Lanes<int16_t, 32>;
using U16 = Lanes<uint16_t, 32>;
using S8 = Lanes<int8_t, 64>;
using U8 = Lanes<uint8_t, 64>;
struct Halves {
  __m256 low, high;
};
struct IntHalves {
  __m256i low, high;
};

// Each lane of a (and b) through `f`.
template <class To, class A, class Function>
inline __m512i map(__m512i a, Function f) {
  const auto x = bits<A>(a);
  To to;
  for (size_t i = 0; i < sizeof(to.at) / sizeof(to.at[0]); ++i) to.at[i] = f(x.at[i]);
  return bits<__m512i>(to);
}
template <class A, class Function>
inline __m512i map(__m512i a, __m512i b, Function f) {
  const auto x = bits<A>(a), y = bits<A>(b);
  A to;
  for (size_t i = 0; i < sizeof(to.at) / sizeof(to.at[0]); ++i) to.at[i] = f(x.at[i], y.at[i]);
  return bits<__m512i>(to);
}
template <class Function>
inline __m512 halves(__m512 a, __m512 b, Function f) {
  const auto x = bits<Halves>(a), y = bits<Halves>(b);
  return bits<__m512>(Halves{f(x.low, y.low), f(x.high, y.high)});
}
template <class T>
inline __m512i filled(T value) {
  Lanes<T, 64 / sizeof(T)> to;
  for (auto& lane : to.at) lane = value;
  return bits<__m512i>(to);
}
// From as many lanes of a smaller register.
template <class To, class From, class Register>
inline __m512i widened(Register x) {
  const auto from = bits<From>(x);
  To to;
  for (size_t i = 0; i < sizeof(to.at) / sizeof(to.at[0]); ++i) to.at[i] = from.at[i];
  return bits<__m512i>(to);
}

inline __m512 fmadd(__m512 a, __m512 b, __m512 c) {
  const auto x = bits<Halves>(a), y = bits<Halves>(b), z = bits<Halves>(c);
  return bits<__m512>(Halves{_mm256_fmadd_ps(x.low, y.low, z.low), _mm256_fmadd_ps(x.high, y.high, z.high)});
}
inline __m512i madd16(__m512i a, __m512i b) {
  const auto x = bits<S16>(a), y = bits<S16>(b);
  S32 to;
  for (size_t i = 0; i < 16; ++i) to.at[i] = x.at[2 * i] * y.at[2 * i] + x.at[2 * i + 1] * y.at[2 * i + 1];
  return bits<__m512i>(to);
}
inline __m512i maddubs(__m512i a, __m512i b) {
  const auto x = bits<IntHalves>(a), y = bits<IntHalves>(b);
  return bits<__m512i>(IntHalves{_mm256_maddubs_epi16(x.low, y.low), _mm256_maddubs_epi16(x.high, y.high)});
}
inline __m512i shuffle8(__m512i a, __m512i at) {
  const auto x = bits<IntHalves>(a), y = bits<IntHalves>(at);
  return bits<__m512i>(IntHalves{_mm256_shuffle_epi8(x.low, y.low), _mm256_shuffle_epi8(x.high, y.high)});
}
inline __m512i four_times(__m128i x) {
  const __m256i both = _mm256_broadcastsi128_si256(x);
  return bits<__m512i>(IntHalves{both, both});
}
inline __m512i dpbusd(__m512i sum, __m512i a, __m512i b) {  // a unsigned, b signed
  auto to = bits<S32>(sum);
  const auto x = bits<U8>(a);
  const auto y = bits<S8>(b);
  for (size_t i = 0; i < 64; ++i) to.at[i / 4] += x.at[i] * y.at[i];
  return bits<__m512i>(to);
}
// Products and sums of a pair are rounded once each here; the instruction's own order of a pair is not held to.
inline __m512 dpbf16(__m512 sum, __m512i a, __m512i b) {
  auto to = bits<F32>(sum);
  const auto x = bits<U16>(a), y = bits<U16>(b);
  const auto value = [](uint16_t half) { return bits<float>(static_cast<uint32_t>(half) << 16); };
  for (size_t i = 0; i < 16; ++i) {
    to.at[i] = std::fma(value(x.at[2 * i]), value(y.at[2 * i]), std::fma(value(x.at[2 * i + 1]), value(y.at[2 * i + 1]), to.at[i]));
  }
  return bits<__m512>(to);
}
inline __m512i rounded(__m512 x) {
  const auto from = bits<Halves>(x);
  return bits<__m512i>(IntHalves{_mm256_cvtps_epi32(from.low), _mm256_cvtps_epi32(from.high)});
}
inline __m512 as_float(__m512i x) {
  const auto from = bits<IntHalves>(x);
  return bits<__m512>(Halves{_mm256_cvtepi32_ps(from.low), _mm256_cvtepi32_ps(from.high)});
}
inline __m512 from_f16(__m256i x) {
  const auto from = bits<Lanes<uint16_t, 16>>(x);
  F32 to;
  for (size_t i = 0; i < 16; ++i) to.at[i] = _cvtsh_ss(from.at[i]);
  return bits<__m512>(to);
}
template <class To, int low, int high>
inline auto narrowed(__m512i x) {
  const auto from = bits<S32>(x);
  Lanes<To, 16> to;
  for (size_t i = 0; i < 16; ++i) to.at[i] = static_cast<To>(from.at[i] < low ? low : from.at[i] > high ? high : from.at[i]);
  return to;
}
inline __m128i cut(__m512i x) {
  const auto from = bits<S32>(x);
  Lanes<int8_t, 16> to;
  for (size_t i = 0; i < 16; ++i) to.at[i] = static_cast<int8_t>(from.at[i]);
  return bits<__m128i>(to);
}
template <class Function>
inline uint16_t mask(__m512i a, __m512i b, Function f) {
  const auto x = bits<S32>(a), y = bits<S32>(b);
  unsigned to = 0;
  for (unsigned i = 0; i < 16; ++i) to |= static_cast<unsigned>(f(x.at[i], y.at[i])) << i;
  return static_cast<uint16_t>(to);
}
template <int how>
inline uint16_t not_below(__m512 a, __m512 b) {
  static_assert(how == _CMP_NLT_UQ);
  const auto x = bits<F32>(a), y = bits<F32>(b);
  unsigned to = 0;
  for (unsigned i = 0; i < 16; ++i) to |= static_cast<unsigned>(!(x.at[i] < y.at[i])) << i;
  return static_cast<uint16_t>(to);
}
inline __m512 chosen(__m512 other, uint16_t which, __m512 x) {
  auto to = bits<F32>(other);
  const auto from = bits<F32>(x);
  for (unsigned i = 0; i < 16; ++i) {
    if (which >> i & 1) to.at[i] = from.at[i];
  }
  return bits<__m512>(to);
}
template <class Register, class Pointer>
inline Register load(const Pointer* p) {
  Register x;
  __builtin_memcpy(&x, p, sizeof(x));
  return x;
}
template <class Register>
inline void store(void* p, Register x) {
  __builtin_memcpy(p, &x, sizeof(x));
}

// AMX: a thread's tiles. What the machine would refuse ends the program.
struct Tiles {
  struct Shape {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } shape;
  uint8_t at[8][16][64];

  int rows(int tile) const { return shape.rows[tile]; }
  int bytes(int tile) const { return shape.row_bytes[tile]; }
  void need(bool fine) const {
    if (!fine) __builtin_trap();
  }
  void need_shape(int tile) const { need(shape.palette == 1 && tile < 8 && rows(tile) > 0 && rows(tile) <= 16 && bytes(tile) > 0 && bytes(tile) <= 64); }
};
inline thread_local Tiles tiles{};

template <class From>
inline void tile_config(const From& shape) {
  static_assert(sizeof(From) == 64);
  __builtin_memset(&tiles, 0, sizeof(tiles));
  __builtin_memcpy(&tiles.shape, &shape, sizeof(shape));
  tiles.need(tiles.shape.palette == 1 && tiles.shape.start_row == 0);
}
inline void tile_release() { __builtin_memset(&tiles, 0, sizeof(tiles)); }
inline void tile_zero(int tile) {
  tiles.need_shape(tile);
  __builtin_memset(tiles.at[tile], 0, sizeof(tiles.at[tile]));
}
inline void tile_load(int tile, const void* from, int64_t stride) {
  tile_zero(tile);
  for (int r = 0; r < tiles.rows(tile); ++r) __builtin_memcpy(tiles.at[tile][r], static_cast<const char*>(from) + r * stride, static_cast<size_t>(tiles.bytes(tile)));
}
inline void tile_store(int tile, void* to, int64_t stride) {
  tiles.need_shape(tile);
  for (int r = 0; r < tiles.rows(tile); ++r) __builtin_memcpy(static_cast<char*>(to) + r * stride, tiles.at[tile][r], static_cast<size_t>(tiles.bytes(tile)));
}
template <class X>
inline void tile_dot(int sum, int x, int w) {
  for (const int tile : {sum, x, w}) tiles.need_shape(tile);
  tiles.need(sum != x && sum != w && x != w && tiles.rows(sum) == tiles.rows(x) && tiles.bytes(sum) == tiles.bytes(w) && tiles.bytes(x) == 4 * tiles.rows(w) && tiles.bytes(sum) % 4 == 0);
  for (int r = 0; r < tiles.rows(sum); ++r) {
    for (int j = 0; j < tiles.bytes(sum) / 4; ++j) {
      int32_t total;
      __builtin_memcpy(&total, &tiles.at[sum][r][4 * j], 4);
      for (int k = 0; k < tiles.bytes(x); ++k) total += static_cast<X>(tiles.at[x][r][k]) * tiles.at[w][k / 4][4 * j + k % 4];
      __builtin_memcpy(&tiles.at[sum][r][4 * j], &total, 4);
    }
  }
}

}  // namespace colony::emulated

// Some are macros of the compiler's own header already.
#undef _mm512_cmp_ps_mask
#undef _mm512_extractf32x8_ps
#undef _mm512_roundscale_ps
#undef _mm512_setr_epi32
#undef _mm512_slli_epi32
#undef _mm512_srli_epi32
#undef _mm512_srli_epi16
#define COLONY_EMULATED ::colony::emulated::
#define _mm512_setzero_ps() (__m512{})
#define _mm512_setzero_si512() (__m512i{})
#define _mm512_set1_ps(x) COLONY_EMULATED bits<__m512>(COLONY_EMULATED filled<float>(x))
#define _mm512_set1_epi32(x) COLONY_EMULATED filled<int32_t>(x)
#define _mm512_set1_epi16(x) COLONY_EMULATED filled<int16_t>(x)
#define _mm512_set1_epi8(x) COLONY_EMULATED filled<int8_t>(x)
#define _mm512_setr_epi32(...) COLONY_EMULATED bits<__m512i>(COLONY_EMULATED S32{{__VA_ARGS__}})
#define _mm512_loadu_ps(p) COLONY_EMULATED load<__m512>(p)
#define _mm512_loadu_si512(p) COLONY_EMULATED load<__m512i>(p)
#define _mm512_storeu_ps(p, x) COLONY_EMULATED store(p, x)
#define _mm512_storeu_si512(p, x) COLONY_EMULATED store(p, x)
#define _mm512_fmadd_ps(a, b, c) COLONY_EMULATED fmadd(a, b, c)
#define _mm512_add_ps(a, b) ((a) + (b))
#define _mm512_sub_ps(a, b) ((a) - (b))
#define _mm512_mul_ps(a, b) ((a) * (b))
#define _mm512_div_ps(a, b) ((a) / (b))
#define _mm512_max_ps(a, b) COLONY_EMULATED halves(a, b, [](__m256 lane_a, __m256 lane_b) { return _mm256_max_ps(lane_a, lane_b); })
#define _mm512_min_ps(a, b) COLONY_EMULATED halves(a, b, [](__m256 lane_a, __m256 lane_b) { return _mm256_min_ps(lane_a, lane_b); })
#define _mm512_abs_ps(a) COLONY_EMULATED bits<__m512>(COLONY_EMULATED map<COLONY_EMULATED U32, COLONY_EMULATED U32>(COLONY_EMULATED bits<__m512i>(a), [](uint32_t lane_a) { return lane_a & 0x7fffffffu; }))
#define _mm512_roundscale_ps(a, how) COLONY_EMULATED halves(a, a, [](__m256 lane_a, __m256) { return _mm256_round_ps(lane_a, how); })
#define _mm512_castsi512_ps(x) COLONY_EMULATED bits<__m512>(x)
#define _mm512_castps512_ps256(x) COLONY_EMULATED bits<COLONY_EMULATED Halves>(x).low
#define _mm512_extractf32x8_ps(x, i) COLONY_EMULATED bits<COLONY_EMULATED Halves>(x).high
#define _mm512_cvtss_f32(x) COLONY_EMULATED bits<COLONY_EMULATED F32>(x).at[0]
#define _mm512_cvtps_epi32(x) COLONY_EMULATED rounded(x)
#define _mm512_cvtepi32_ps(x) COLONY_EMULATED as_float(x)
#define _mm512_cvtph_ps(x) COLONY_EMULATED from_f16(x)
#define _mm512_cvtepu16_epi32(x) COLONY_EMULATED widened<COLONY_EMULATED S32, COLONY_EMULATED Lanes<uint16_t, 16>>(x)
#define _mm512_cvtepi8_epi32(x) COLONY_EMULATED widened<COLONY_EMULATED S32, COLONY_EMULATED Lanes<int8_t, 16>>(x)
#define _mm512_cvtepu8_epi16(x) COLONY_EMULATED widened<COLONY_EMULATED S16, COLONY_EMULATED Lanes<uint8_t, 32>>(x)
#define _mm512_cvtsepi32_epi16(x) COLONY_EMULATED bits<__m256i>(COLONY_EMULATED narrowed<int16_t, -32768, 32767>(x))
#define _mm512_cvtsepi32_epi8(x) COLONY_EMULATED bits<__m128i>(COLONY_EMULATED narrowed<int8_t, -128, 127>(x))
#define _mm512_cvtepi32_epi8(x) COLONY_EMULATED cut(x)
#define _mm512_add_epi32(a, b) COLONY_EMULATED map<COLONY_EMULATED U32>(a, b, [](uint32_t lane_a, uint32_t lane_b) { return lane_a + lane_b; })
#define _mm512_add_epi16(a, b) COLONY_EMULATED map<COLONY_EMULATED U16>(a, b, [](uint16_t lane_a, uint16_t lane_b) { return static_cast<uint16_t>(lane_a + lane_b); })
#define _mm512_and_si512(a, b) ((a) & (b))
#define _mm512_or_si512(a, b) ((a) | (b))
#define _mm512_madd_epi16(a, b) COLONY_EMULATED madd16(a, b)
#define _mm512_maddubs_epi16(a, b) COLONY_EMULATED maddubs(a, b)
#define _mm512_shuffle_epi8(a, at) COLONY_EMULATED shuffle8(a, at)
#define _mm512_broadcast_i32x4(x) COLONY_EMULATED four_times(x)
#define _mm512_srli_epi32(a, n) COLONY_EMULATED map<COLONY_EMULATED U32, COLONY_EMULATED U32>(a, [](uint32_t lane_a) { return lane_a >> (n); })
#define _mm512_slli_epi32(a, n) COLONY_EMULATED map<COLONY_EMULATED U32, COLONY_EMULATED U32>(a, [](uint32_t lane_a) { return lane_a << (n); })
#define _mm512_srli_epi16(a, n) COLONY_EMULATED map<COLONY_EMULATED U16, COLONY_EMULATED U16>(a, [](uint16_t lane_a) { return static_cast<uint16_t>(lane_a >> (n)); })
#define _mm512_cmpge_epi32_mask(a, b) COLONY_EMULATED mask(a, b, [](int32_t lane_a, int32_t lane_b) { return lane_a >= lane_b; })
#define _mm512_cmple_epi32_mask(a, b) COLONY_EMULATED mask(a, b, [](int32_t lane_a, int32_t lane_b) { return lane_a <= lane_b; })
#define _mm512_cmp_ps_mask(a, b, how) COLONY_EMULATED not_below<how>(a, b)
#define _mm512_mask_mov_ps(other, which, x) COLONY_EMULATED chosen(other, which, x)
#define _mm512_maskz_mov_ps(which, x) COLONY_EMULATED chosen(__m512{}, which, x)
// What the kernels write as assembly.
#define COLONY_DPWSSD(sum, a, b) sum = _mm512_add_epi32(sum, _mm512_madd_epi16(a, b))
#define COLONY_DPBUSD(sum, a, b) sum = COLONY_EMULATED dpbusd(sum, a, b)
#define COLONY_DPBF16(sum, a, b) sum = COLONY_EMULATED dpbf16(sum, a, b)
#define COLONY_KEEP(x) static_cast<void>(x)
#define COLONY_TILE_CONFIG(shape) COLONY_EMULATED tile_config(shape)
#define COLONY_TILE_RELEASE() COLONY_EMULATED tile_release()
#define COLONY_TILE_ZERO(tile) COLONY_EMULATED tile_zero(tile)
#define COLONY_TILE_LOAD(tile, from, stride) COLONY_EMULATED tile_load(tile, from, stride)
#define COLONY_TILE_STORE(tile, to, stride) COLONY_EMULATED tile_store(tile, to, stride)
#define COLONY_TILE_DOT_SIGNED(sum, x, w) COLONY_EMULATED tile_dot<int8_t>(sum, x, w)
#define COLONY_TILE_DOT_UNSIGNED(sum, x, w) COLONY_EMULATED tile_dot<uint8_t>(sum, x, w)
