// Sixteen lanes as one AVX-512 register. The including file may define COLONY_VNNI (vpdpwssd) and
// COLONY_BF16 (vdpbf16ps).
#define V static inline __attribute__((always_inline))
#ifndef COLONY_EMULATED  // emulated_avx512.h has its own of these
// As asm, since g++ 12 copies the sum before and after the intrinsic of an instruction that adds to
// its own register (measured: 1.9 times the time of a whole tile).
#define COLONY_DPWSSD(sum, a, b) asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b))
#define COLONY_DPBUSD(sum, a, b) asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b))
#define COLONY_DPBF16(sum, a, b) asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b))
#define COLONY_KEEP(x) asm volatile("" : "+v"(x))
#endif
struct F {
  __m512 v;
};
struct I {
  __m512i v;
};
struct W {
  __m512i v;
};
struct B {
  __m512i v;
};
constexpr int kRowsF32 = 12, kRowsInt8 = 8, kVecs = 2, kAccVecs = 4;
constexpr int kRowsInt4 = 8, kRowsReady = 8, kManyRows = 16;
constexpr int kReadyPairs = 0, kReadyInt4X8 = 1024;

V void read_again() {}
V F f_zero() { return {_mm512_setzero_ps()}; }
V F f_set(float x) { return {_mm512_set1_ps(x)}; }
V F f_load(const float* p) { return {_mm512_loadu_ps(p)}; }
V void f_store(float* p, F x) { _mm512_storeu_ps(p, x.v); }
V F f_fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
V F f_add(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
V F f_sub(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
V F f_mul(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
V F f_div(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
V F f_max(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
V F f_min(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
V F f_abs(F a) { return {_mm512_abs_ps(a.v)}; }
V F f_round(F a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
V F f_pow2(F n) {
  return {_mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127)), 23))};
}
V F f_zero_below(F y, F x, F low) {
  return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, low.v, _CMP_NLT_UQ), y.v)};
}
V F f_keep_lanes(F x, int from, int to, float other) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __mmask16 keep = _mm512_cmpge_epi32_mask(lane, _mm512_set1_epi32(from)) &
                         _mm512_cmple_epi32_mask(lane, _mm512_set1_epi32(to));
  return {_mm512_mask_mov_ps(_mm512_set1_ps(other), keep, x.v)};
}
V float f_first(F x) { return _mm512_cvtss_f32(x.v); }
V float sum8(__m256 x) {
  __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  y = _mm_add_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_add_ss(y, _mm_shuffle_ps(y, y, 1)));
}
V float max8(__m256 x) {
  __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  y = _mm_max_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_max_ss(y, _mm_shuffle_ps(y, y, 1)));
}
V float f_sum(F x) {
  return sum8(_mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1)));
}
V float f_hmax(F x) {
  return max8(_mm256_max_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1)));
}
V F f_load_f16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
V F f_load_bf16(const uint16_t* p) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16))};
}
V F f_load_s8(const int8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
V I i_zero() { return {_mm512_setzero_si512()}; }
V F i_to_f(I x) { return {_mm512_cvtepi32_ps(x.v)}; }
V I f_round_i(F x) { return {_mm512_cvtps_epi32(x.v)}; }
V void i_store16(int16_t* p, I x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtsepi32_epi16(x.v));
}
V W w_load_u8(const uint8_t* p) {
  return {_mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
// Nibbles that w_load_u8 has widened: the lower ones and the upper ones.
V void w_split(W both, W* low, W* high) {
  *low = {_mm512_and_si512(both.v, _mm512_set1_epi16(15))};
  *high = {_mm512_srli_epi16(both.v, 4)};
}
V int32_t load_pair(const void* p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  return pair;
}
V W w_set_pair(const int16_t* p) { return {_mm512_set1_epi32(load_pair(p))}; }
V I i_dot(I sum, W a, W b) {
#ifdef COLONY_VNNI
  COLONY_DPWSSD(sum.v, a.v, b.v);
  return sum;
#else
  return {_mm512_add_epi32(sum.v, _mm512_madd_epi16(a.v, b.v))};
#endif
}
V W b_load(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
V void b_store(uint8_t* p, W x) { _mm512_storeu_si512(p, x.v); }
V W b_set_four(const int8_t* p) { return {_mm512_set1_epi32(load_pair(p))}; }
#ifdef COLONY_VNNI
// Four of k for each of 16 outputs, unsigned, times four of x, signed.
V I b_dot(I sum, W w, W x) {
  COLONY_DPBUSD(sum.v, w.v, x.v);
  return sum;
}
#else
#define COLONY_X8_WORDS
// Fours of k that b_load has read: the pairs k, k + 1 and k + 2, k + 3 in 16 bits.
V void w_split_fours(W bytes, W* low, W* high) {
  const __m512i at = _mm512_broadcast_i32x4(_mm_set_epi8(-1, 13, -1, 12, -1, 9, -1, 8, -1, 5, -1, 4, -1, 1, -1, 0));
  *low = {_mm512_shuffle_epi8(bytes.v, at)};
  *high = {_mm512_shuffle_epi8(_mm512_srli_epi32(bytes.v, 16), at)};
}
#endif
// int4: two fours of k for each of 16 outputs, the first in the lower halves. Without vpdpbusd: each of
// the 16-bit sums takes 16 of a group's products, 16 · 15 · 127 = 30,480, so widening is done once a group.
V void n_split(const uint8_t* p, W* low, W* high) {
  const __m512i both = _mm512_loadu_si512(p), mask = _mm512_set1_epi8(15);
  *low = {_mm512_and_si512(both, mask)};
  *high = {_mm512_and_si512(_mm512_srli_epi16(both, 4), mask)};
}
using NSum = I;
V NSum n_zero() { return i_zero(); }
#ifdef COLONY_VNNI
V NSum n_dot(NSum sum, W w, W x) { return b_dot(sum, w, x); }
V I n_sum(NSum sum) { return sum; }
#else
V NSum n_dot(NSum sum, W w, W x) { return {_mm512_add_epi16(sum.v, _mm512_maddubs_epi16(w.v, x.v))}; }
V I n_sum(NSum sum) { return {_mm512_madd_epi16(sum.v, _mm512_set1_epi16(1))}; }
#endif
V void i_store8(int8_t* p, I x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(x.v)); }
V void i_store_u8(uint8_t* p, I x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x.v)); }  // each 0…255
V uint16_t scalar_to_f16(float x) { return static_cast<uint16_t>(_cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT)); }
V float scalar_from_f16(uint16_t x) { return _cvtsh_ss(x); }
V B bf_load(const uint16_t* p) { return {_mm512_loadu_si512(p)}; }
#ifdef COLONY_BF16
constexpr int kRowsBf16 = 12;
struct BX {
  __m512i v;
};
V BX bf_set_pair(const uint16_t* p) { return {_mm512_set1_epi32(load_pair(p))}; }
V F bf_dot(F sum, B w, BX x) {
  COLONY_DPBF16(sum.v, w.v, x.v);
  return sum;
}
#else
constexpr int kRowsBf16 = 8;
struct BX {
  __m512 even, odd;
};
V BX bf_set_pair(const uint16_t* p) {
  const auto pair = static_cast<uint32_t>(load_pair(p));
  return {_mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int32_t>(pair << 16))),
          _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int32_t>(pair & 0xffff0000u)))};
}
V F bf_dot(F sum, B w, BX x) {
  const __m512 even = _mm512_castsi512_ps(_mm512_slli_epi32(w.v, 16));
  const __m512 odd = _mm512_castsi512_ps(
      _mm512_and_si512(w.v, _mm512_set1_epi32(static_cast<int32_t>(0xffff0000u))));
  return {_mm512_fmadd_ps(odd, x.odd, _mm512_fmadd_ps(even, x.even, sum.v))};
}
#endif
V F keep_f(F x) {
  COLONY_KEEP(x.v);
  return x;
}
V B keep_b(B x) {
  COLONY_KEEP(x.v);
  return x;
}
V W keep_w(W x) {
  COLONY_KEEP(x.v);
  return x;
}
V I keep_i(I x) {
  COLONY_KEEP(x.v);
  return x;
}
V void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
V void prefetch_far(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }
V uint16_t scalar_to_bf16(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}
#undef V
