// Sixteen lanes as two AVX2 registers (with FMA and F16C). The including file may define
// COLONY_AVX_VNNI (vpdpwssd in its VEX form).
#define V static inline __attribute__((always_inline))
struct F {
  __m256 lo, hi;
};
struct I {
  __m256i lo, hi;
};
struct W {
  __m256i lo, hi;
};
struct B {
  __m256i lo, hi;
};
struct BX {
  __m256 even, odd;
};
constexpr int kRowsF32 = 6, kRowsBf16 = 4, kRowsInt8 = 4, kVecs = 1, kAccVecs = 2;
constexpr int kRowsInt4 = 4, kRowsReady = 6, kManyRows = 12;
constexpr int kReadyPairs = 2048, kReadyInt4X8 = 1024;

// Sixteen registers hold twelve sums and one operand of two: what else a product needs is read from memory again behind this, where the
// compiler would keep it in a register and put a sum on the stack instead (measured: half the time of attention).
V void read_again() { asm volatile("" ::: "memory"); }
V F f_zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
V F f_set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
V F f_load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
V void f_store(float* p, F x) { _mm256_storeu_ps(p, x.lo), _mm256_storeu_ps(p + 8, x.hi); }
V F f_fma(F a, F b, F c) { return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)}; }
V F f_add(F a, F b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
V F f_sub(F a, F b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
V F f_mul(F a, F b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
V F f_div(F a, F b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
V F f_max(F a, F b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
V F f_min(F a, F b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
V F f_abs(F a) {
  const __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  return {_mm256_and_ps(a.lo, mask), _mm256_and_ps(a.hi, mask)};
}
V F f_round(F a) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(a.lo, kNearest), _mm256_round_ps(a.hi, kNearest)};
}
V F f_pow2(F n) {
  const __m256i bias = _mm256_set1_epi32(127);
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n.lo), bias), 23)),
          _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n.hi), bias), 23))};
}
// y where x >= low, else 0.
V F f_zero_below(F y, F x, F low) {
  return {_mm256_and_ps(y.lo, _mm256_cmp_ps(x.lo, low.lo, _CMP_NLT_UQ)),
          _mm256_and_ps(y.hi, _mm256_cmp_ps(x.hi, low.hi, _CMP_NLT_UQ))};
}
// x in lanes from…to, else `other`.
V F f_keep_lanes(F x, int from, int to, float other) {
  const __m256i first = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i second = _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15);
  const __m256i least = _mm256_set1_epi32(from - 1), most = _mm256_set1_epi32(to + 1);
  const auto keep = [&](__m256i lane) __attribute__((always_inline)) {
    return _mm256_castsi256_ps(
        _mm256_and_si256(_mm256_cmpgt_epi32(lane, least), _mm256_cmpgt_epi32(most, lane)));
  };
  const __m256 o = _mm256_set1_ps(other);
  return {_mm256_blendv_ps(o, x.lo, keep(first)), _mm256_blendv_ps(o, x.hi, keep(second))};
}
V float f_first(F x) { return _mm256_cvtss_f32(x.lo); }
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
V float f_sum(F x) { return sum8(_mm256_add_ps(x.lo, x.hi)); }
V float f_hmax(F x) { return max8(_mm256_max_ps(x.lo, x.hi)); }
V F f_load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
V __m256 widen_bf16(__m128i x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}
V F f_load_bf16(const uint16_t* p) {
  return {widen_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          widen_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
V F f_load_s8(const int8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
}
V I i_zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
V F i_to_f(I x) { return {_mm256_cvtepi32_ps(x.lo), _mm256_cvtepi32_ps(x.hi)}; }
V I f_round_i(F x) { return {_mm256_cvtps_epi32(x.lo), _mm256_cvtps_epi32(x.hi)}; }
V void i_store16(int16_t* p, I x) {
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.lo, x.hi), 0xd8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), packed);
}
V W w_load_u8(const uint8_t* p) {
  return {_mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16)))};
}
// Nibbles that w_load_u8 has widened: the lower ones and the upper ones.
V void w_split(W both, W* low, W* high) {
  const __m256i mask = _mm256_set1_epi16(15);
  *low = {_mm256_and_si256(both.lo, mask), _mm256_and_si256(both.hi, mask)};
  *high = {_mm256_srli_epi16(both.lo, 4), _mm256_srli_epi16(both.hi, 4)};
}
V int32_t load_pair(const void* p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  return pair;
}
V W w_set_pair(const int16_t* p) {
  const __m256i pair = _mm256_set1_epi32(load_pair(p));
  return {pair, pair};
}
// As asm, since g++ 12 puts all products of a step before their sums and runs out of registers.
V __m256i dot_pair(__m256i sum, __m256i w, __m256i x) {
  __m256i product;
  asm volatile("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(sum), "=&x"(product) : "x"(w), "x"(x));
  return sum;
}
V __m256i dot_four(__m256i sum, __m256i w, __m256i x) {
  __m256i product;
  asm volatile("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(sum), "=&x"(product) : "x"(w), "x"(x));
  return sum;
}
V I i_dot(I sum, W a, W b) {
#ifdef COLONY_AVX_VNNI
  asm("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sum.lo) : "x"(a.lo), "x"(b.lo));
  asm("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sum.hi) : "x"(a.hi), "x"(b.hi));
  return sum;
#else
  sum.lo = dot_pair(sum.lo, a.lo, b.lo);
  sum.hi = dot_pair(sum.hi, a.hi, b.hi);
  return sum;
#endif
}
V W b_load(const uint8_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32))};
}
V void b_store(uint8_t* p, W x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.lo);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 32), x.hi);
}
V W low_nibbles(W x) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(x.lo, mask), _mm256_and_si256(x.hi, mask)};
}
V W high_nibbles(W x) { return low_nibbles({_mm256_srli_epi16(x.lo, 4), _mm256_srli_epi16(x.hi, 4)}); }
V W b_set_four(const int8_t* p) {
  const __m256i four = _mm256_set1_epi32(load_pair(p));
  return {four, four};
}
#ifdef COLONY_AVX_VNNI
// Four of k for each of 16 outputs, unsigned, times four of x, signed.
V I b_dot(I sum, W w, W x) {
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum.lo) : "x"(w.lo), "x"(x.lo));
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum.hi) : "x"(w.hi), "x"(x.hi));
  return sum;
}
#else
#define COLONY_X8_WORDS
// Fours of k that b_load has read: the pairs k, k + 1 and k + 2, k + 3 in 16 bits.
V W w_spread(W bytes, char first) {
  const __m256i at = _mm256_set_epi8(-1, first + 13, -1, first + 12, -1, first + 9, -1, first + 8, -1, first + 5, -1, first + 4, -1, first + 1, -1, first,
                                     -1, first + 13, -1, first + 12, -1, first + 9, -1, first + 8, -1, first + 5, -1, first + 4, -1, first + 1, -1, first);
  return {_mm256_shuffle_epi8(bytes.lo, at), _mm256_shuffle_epi8(bytes.hi, at)};
}
V void w_split_fours(W bytes, W* low, W* high) { *low = w_spread(bytes, 0), *high = w_spread(bytes, 2); }
#endif
// int4: two fours of k for each of 16 outputs, the first in the lower halves.
V void n_split(const uint8_t* p, W* low, W* high) {
  const W both = b_load(p);
  *low = low_nibbles(both);
  *high = high_nibbles(both);
}
using NSum = I;
V NSum n_zero() { return i_zero(); }
#ifdef COLONY_AVX_VNNI
V NSum n_dot(NSum sum, W w, W x) { return b_dot(sum, w, x); }
V I n_sum(NSum sum) { return sum; }
#else
// vpmaddubsw does not saturate on nibbles: each of the 16-bit sums takes 16 of a group's products,
// 16 · 15 · 127 = 30,480, so that widening is done once a group.
V NSum n_dot(NSum sum, W w, W x) { return {dot_four(sum.lo, w.lo, x.lo), dot_four(sum.hi, w.hi, x.hi)}; }
V I n_sum(NSum sum) {
  const __m256i one = _mm256_set1_epi16(1);
  return {_mm256_madd_epi16(sum.lo, one), _mm256_madd_epi16(sum.hi, one)};
}
#endif
V void i_store8(int8_t* p, I x) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.lo, x.hi), 0xd8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
V void i_store_u8(uint8_t* p, I x) {  // each 0…255
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(x.lo, x.hi), 0xd8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
V uint16_t scalar_to_f16(float x) { return static_cast<uint16_t>(_cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT)); }
V float scalar_from_f16(uint16_t x) { return _cvtsh_ss(x); }
V B bf_load(const uint16_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 16))};
}
V BX bf_set_pair(const uint16_t* p) {
  const auto pair = static_cast<uint32_t>(load_pair(p));
  return {_mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int32_t>(pair << 16))),
          _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int32_t>(pair & 0xffff0000u)))};
}
V __m256 bf_even(__m256i w) { return _mm256_castsi256_ps(_mm256_slli_epi32(w, 16)); }
V __m256 bf_odd(__m256i w) {
  return _mm256_castsi256_ps(_mm256_and_si256(w, _mm256_set1_epi32(static_cast<int32_t>(0xffff0000u))));
}
V F bf_dot(F sum, B w, BX x) {
  return {_mm256_fmadd_ps(bf_odd(w.lo), x.odd, _mm256_fmadd_ps(bf_even(w.lo), x.even, sum.lo)),
          _mm256_fmadd_ps(bf_odd(w.hi), x.odd, _mm256_fmadd_ps(bf_even(w.hi), x.even, sum.hi))};
}
V F keep_f(F x) {
  asm volatile("" : "+x"(x.lo), "+x"(x.hi));
  return x;
}
V B keep_b(B x) {
  asm volatile("" : "+x"(x.lo), "+x"(x.hi));
  return x;
}
V W keep_w(W x) {
  asm volatile("" : "+x"(x.lo), "+x"(x.hi));
  return x;
}
V I keep_i(I x) {
  asm volatile("" : "+x"(x.lo), "+x"(x.hi));
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
