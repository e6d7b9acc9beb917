// The text of every kernel, compiled once for each instruction set; see kernels.h.
//
// The including file defines, for 16 lanes of float `F` and of int32 `I`, and 32 lanes of int16 `W`:
//   read_again f_zero f_set f_load f_store f_fma f_add f_sub f_mul f_div f_max f_min f_load_f16 f_load_bf16
//   f_load_s8 f_select_range f_to_bf16 f_round_i f_pow2 f_sum f_hmax, i_zero i_to_f i_store16 i_store_u8,
//   w_load_u8 w_set_pair i_dot, w_split b_load b_store b_set_four, for int8 weights and 8-bit x b_dot, or
//   COLONY_X8_WORDS and w_split_fours, for int4: NSum n_zero n_split n_dot n_sum, bf_load
//   bf_set_pair bf_dot, the tile shapes kRowsF32, kRowsBf16, kRowsInt8, kRowsInt4, kRowsReady,
//   kVecs (1 or 2), kAccVecs, and kManyRows, kReadyPairs, kReadyInt4X8.
// No function of the standard library is called here: this text is compiled with wider
// instructions than the rest of the program, and the linker must not share it.

#define INLINE static inline __attribute__((always_inline))
#define INLINE_MEMBER inline __attribute__((always_inline))

constexpr float kNegInf = -__builtin_inff();

// ---- exp ----
// 2^n · P(r), n = round(x log2 e), r = x - n ln 2 in two parts; P of degree 6, Cephes expf's
// coefficients. Relative error below 2e-7. Below -87.3 gives 0.
INLINE F f_exp(F x) {
  const F low = f_set(-87.3f);
  F c = f_min(f_max(x, low), f_set(88.3f));
  const F n = f_round(f_mul(c, f_set(1.44269504088896341f)));
  F r = f_fma(n, f_set(-0.693359375f), c);
  r = f_fma(n, f_set(2.12194440e-4f), r);
  F p = f_set(1.9875691500e-4f);
  p = f_fma(p, r, f_set(1.3981999507e-3f));
  p = f_fma(p, r, f_set(8.3334519073e-3f));
  p = f_fma(p, r, f_set(4.1665795894e-2f));
  p = f_fma(p, r, f_set(1.6666665459e-1f));
  p = f_fma(p, r, f_set(5.0000001201e-1f));
  const F y = f_add(f_fma(p, f_mul(r, r), r), f_set(1.0f));
  return f_zero_below(f_mul(y, f_pow2(n)), x, low);
}

// ---- products ----
// While rows pass over a panel, the next panel is fetched, so that reading weights and multiplying
// overlap at every number of rows.
INLINE void prefetch_lines(const void* from, int bytes) {
  for (int line = 0; line < bytes; line += 64) prefetch(static_cast<const char*>(from) + line);
}

template <int R, int NV>
INLINE void tile_f32(const PanelArgs& a, int64_t row, int vec) {
  F acc[R][NV];
  const float* x[R];
  for (int r = 0; r < R; ++r) {
    x[r] = static_cast<const float*>(a.x) + (row + r) * a.ldx;
    for (int v = 0; v < NV; ++v) acc[r][v] = f_zero();
  }
  const float* w = static_cast<const float*>(a.panel) + vec * 16;
  for (int64_t k = 0; k < a.k; ++k, w += kPanel) {
    if (row == 0 && a.ahead > 0) prefetch_lines(reinterpret_cast<const char*>(w) + a.ahead, 64 * NV);
    F wv[NV];
    for (int v = 0; v < NV; ++v) wv[v] = f_load(w + 16 * v);
    for (int r = 0; r < R; ++r) {
      const F xv = f_set(x[r][k]);
      for (int v = 0; v < NV; ++v) acc[r][v] = f_fma(xv, wv[v], acc[r][v]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < NV; ++v) f_store(a.y + (row + r) * a.ldy + vec * 16 + 16 * v, acc[r][v]);
  }
}

template <int R, int NV>
INLINE void tile_bf16(const PanelArgs& a, int64_t row, int vec) {
  F acc[R][NV];
  const uint16_t* x[R];
  for (int r = 0; r < R; ++r) {
    x[r] = static_cast<const uint16_t*>(a.x) + (row + r) * a.ldx;
    for (int v = 0; v < NV; ++v) acc[r][v] = f_zero();
  }
  const uint16_t* w = static_cast<const uint16_t*>(a.panel) + vec * 32;
  for (int64_t k = 0; k < a.k; k += 2, w += 2 * kPanel) {
    if (row == 0 && a.ahead > 0) prefetch_lines(reinterpret_cast<const char*>(w) + a.ahead, 64 * NV);
    B wv[NV];
    for (int v = 0; v < NV; ++v) wv[v] = bf_load(w + 32 * v);
    for (int r = 0; r < R; ++r) {
      const BX xv = bf_set_pair(x[r] + k);
      for (int v = 0; v < NV; ++v) acc[r][v] = bf_dot(acc[r][v], wv[v], xv);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < NV; ++v) f_store(a.y + (row + r) * a.ldy + vec * 16 + 16 * v, acc[r][v]);
  }
}

// int8 and int4. With few rows, weights are brought into the form the multiply-adds take as they are
// read. With many, that is done once for a chunk of groups, into `ready` on the stack, and sums of
// earlier chunks wait in y; the operations on a row are the same. kReady…: bytes a group takes there, 0
// where the form is the stored one.
constexpr int64_t kReadyBytes = 16 << 10;  // of one chunk: half of a first-level cache

struct Chunk {
  int64_t from = 0, to = 0;        // groups
  const uint8_t* ready = nullptr;  // of group `from`
};
// This pass's share of the next panel's group, in lines.
struct Share {
  int64_t first = 0, last = 0;
};
template <int bytes, int step>
INLINE Share share_of(const PanelArgs& a, int64_t row) {
  const int64_t passes = (a.rows + step - 1) / step, pass = row / step;
  const int64_t lines = a.ahead > 0 ? bytes / 64 : 0;
  return {lines * pass / passes, lines * (pass + 1) / passes};
}

// How weights of 16 outputs from 16 vec on come out of a group, four of k at a time: as the pairs k, k + 1 and k + 2, k + 3 that
// i_dot takes.
struct Int8Pairs {
  static constexpr int kBytes = kInt8GroupBytes;
  static INLINE_MEMBER void load(const uint8_t* group, int k, int vec, W* low, W* high) {
    *low = w_load_u8(group + k * kPanel + 32 * vec);
    *high = w_load_u8(group + (k + 2) * kPanel + 32 * vec);
  }
};
struct Int4Pairs {
  static constexpr int kBytes = kInt4GroupBytes;
  static INLINE_MEMBER void load(const uint8_t* group, int k, int vec, W* low, W* high) {
    w_split(w_load_u8(group + k / 2 * kPanel + 32 * vec), low, high);
  }
};
template <typename Weights>
INLINE void ready_pairs(const PanelArgs& a, int64_t g, uint8_t* ready) {
  const auto* group = static_cast<const uint8_t*>(a.panel) + g * Weights::kBytes;
  for (int k = 0; k < kGroup; k += 4) {
    for (int v = 0; v < 2; ++v) {
      W low, high;
      Weights::load(group, k, v, &low, &high);
      b_store(ready + 64 * (k + v), low);
      b_store(ready + 64 * (k + 2 + v), high);
    }
  }
}

// Activations in 16 bits. kByGroup: 8-bit ones with a scale a group, y += (d t) Σ + m (t Σ p).
template <int R, int NV, bool kReady, typename Weights, bool kByGroup>
INLINE void tile_pairs(const PanelArgs& a, const Chunk& chunk, int64_t row, int vec) {
  F acc[R][NV];
  const int16_t* x[R];
  const float *scales[R], *sums[R];
  const int64_t groups = a.k / kGroup;
  for (int r = 0; r < R; ++r) {
    x[r] = static_cast<const int16_t*>(a.x) + (row + r) * a.ldx;
    scales[r] = kByGroup ? a.group_scale + (row + r) * groups : nullptr;
    sums[r] = a.group_sums + (row + r) * groups;
    for (int v = 0; v < NV; ++v) acc[r][v] = chunk.from == 0 ? f_zero() : f_load(a.y + (row + r) * a.ldy + (vec + v) * 16);
  }
  constexpr int kBytes = Weights::kBytes;
  const auto* group = static_cast<const uint8_t*>(a.panel) + chunk.from * kBytes;
  const uint8_t* ready = chunk.ready;
  const Share next = share_of<kBytes, kReady ? kRowsReady : kRowsInt8>(a, row);
  for (int64_t g = chunk.from; g < chunk.to; ++g, group += kBytes, ready += kReady ? kReadyPairs : 0) {
    I dot[R][NV];
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < NV; ++v) dot[r][v] = i_zero();
    }
    for (int64_t line = next.first; line < next.last; ++line) prefetch_far(group + a.ahead + 64 * line);
    if constexpr (kReady) {
#pragma GCC unroll 16
      for (int k = 0; k < kGroup; k += 2) {  // one pair of k, so that sums and weights have registers
        W wv[NV];
        for (int v = 0; v < NV; ++v) wv[v] = b_load(ready + 64 * (k + vec + v));
        for (int r = 0; r < R; ++r) {
          const W xv = w_set_pair(x[r] + g * kGroup + k);
          for (int v = 0; v < NV; ++v) dot[r][v] = i_dot(dot[r][v], wv[v], xv);
        }
      }
    } else {
#pragma GCC unroll 16
      for (int k = 0; k < kGroup; k += 4) {
        W low[NV], high[NV];  // two pairs of k
        for (int v = 0; v < NV; ++v) Weights::load(group, k, vec + v, &low[v], &high[v]);
        for (int line = 0; line < kBytes / kGroup * 4 / 64; ++line) {  // from the second-level cache
          prefetch(group + 2 * kBytes + k * (kBytes / kGroup) + 64 * line);
        }
        for (int r = 0; r < R; ++r) {
          const W xv = w_set_pair(x[r] + g * kGroup + k);
          for (int v = 0; v < NV; ++v) dot[r][v] = i_dot(dot[r][v], low[v], xv);
        }
        for (int r = 0; r < R; ++r) {
          const W xv = w_set_pair(x[r] + g * kGroup + k + 2);
          for (int v = 0; v < NV; ++v) dot[r][v] = i_dot(dot[r][v], high[v], xv);
        }
      }
    }
    const auto* d = reinterpret_cast<const uint16_t*>(group + kBytes - 4 * kPanel) + 16 * vec;
    for (int v = 0; v < NV; ++v) {
      const F scale = f_load_f16(d + 16 * v);
      const F least = f_load_f16(d + kPanel + 16 * v);
      for (int r = 0; r < R; ++r) {
        acc[r][v] = f_fma(i_to_f(dot[r][v]), kByGroup ? f_mul(scale, f_set(scales[r][g])) : scale, acc[r][v]);
        acc[r][v] = f_fma(f_set(sums[r][g]), least, acc[r][v]);
      }
    }
  }
  const bool scaled = !kByGroup && chunk.to == groups;
  for (int r = 0; r < R; ++r) {
    const F t = scaled ? f_set(a.row_scale[row + r]) : f_zero();
    for (int v = 0; v < NV; ++v) {
      f_store(a.y + (row + r) * a.ldy + (vec + v) * 16, scaled ? f_mul(acc[r][v], t) : acc[r][v]);
    }
  }
}
template <int R, int NV, bool kReady>
INLINE void tile_int8(const PanelArgs& a, const Chunk& chunk, int64_t row, int vec) {
  tile_pairs<R, NV, kReady, Int8Pairs, false>(a, chunk, row, vec);
}
INLINE void ready_int8(const PanelArgs& a, int64_t g, uint8_t* ready) { ready_pairs<Int8Pairs>(a, g, ready); }

template <int R, int NV, bool kReady>
INLINE void tile_int4(const PanelArgs& a, const Chunk& chunk, int64_t row, int vec) {
  tile_pairs<R, NV, kReady, Int4Pairs, false>(a, chunk, row, vec);
}
INLINE void ready_int4(const PanelArgs& a, int64_t g, uint8_t* ready) { ready_pairs<Int4Pairs>(a, g, ready); }

// 8-bit activations with a scale a group.
#ifdef COLONY_X8_WORDS
// No product of bytes takes whole ones (vpmaddubsw saturates), so x comes in 16 bits as well.
struct Int8Fours {
  static constexpr int kBytes = kInt8GroupBytes;
  static INLINE_MEMBER void load(const uint8_t* group, int k, int vec, W* low, W* high) {
    w_split_fours(b_load(group + k * kPanel + 64 * vec), low, high);
  }
};
template <int R, int NV, bool kReady>
INLINE void tile_int8_x8(const PanelArgs& a, const Chunk& chunk, int64_t row, int vec) {
  tile_pairs<R, NV, kReady, Int8Fours, true>(a, chunk, row, vec);
}
INLINE void ready_int8_x8(const PanelArgs& a, int64_t g, uint8_t* ready) { ready_pairs<Int8Fours>(a, g, ready); }
constexpr int kReadyInt8X8 = kReadyPairs;
#else
template <int R, int NV, bool kReady>
INLINE void tile_int8_x8(const PanelArgs& a, const Chunk& chunk, int64_t row, int vec) {
  F acc[R][NV];
  const int8_t* x[R];
  const float *scales[R], *sums[R];
  const int64_t groups = a.k / kGroup;
  for (int r = 0; r < R; ++r) {
    x[r] = static_cast<const int8_t*>(a.x) + (row + r) * a.ldx;
    scales[r] = a.group_scale + (row + r) * groups;
    sums[r] = a.group_sums + (row + r) * groups;
    for (int v = 0; v < NV; ++v) acc[r][v] = f_zero();
  }
  const auto* group = static_cast<const uint8_t*>(a.panel);
  const Share next = share_of<kInt8GroupBytes, kRowsInt8>(a, row);
  for (int64_t g = chunk.from; g < chunk.to; ++g, group += kInt8GroupBytes) {
    I dot[R][NV];
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < NV; ++v) dot[r][v] = i_zero();
    }
    for (int64_t line = next.first; line < next.last; ++line) prefetch_far(group + a.ahead + 64 * line);
#pragma GCC unroll 16
    for (int k = 0; k < kGroup; k += 4) {
      W wv[NV];
      for (int v = 0; v < NV; ++v) {
        wv[v] = b_load(group + k * kPanel + 64 * (vec + v));
        prefetch(group + 2 * kInt8GroupBytes + k * kPanel + 64 * (vec + v));
      }
      for (int r = 0; r < R; ++r) {
        const W xv = b_set_four(x[r] + g * kGroup + k);
        for (int v = 0; v < NV; ++v) dot[r][v] = b_dot(dot[r][v], wv[v], xv);
      }
    }
    const auto* d = reinterpret_cast<const uint16_t*>(group + kGroup * kPanel) + 16 * vec;
    for (int v = 0; v < NV; ++v) {
      const F scale = f_load_f16(d + 16 * v);
      const F least = f_load_f16(d + kPanel + 16 * v);
      for (int r = 0; r < R; ++r) {
        acc[r][v] = f_fma(i_to_f(dot[r][v]), f_mul(scale, f_set(scales[r][g])), acc[r][v]);
        acc[r][v] = f_fma(f_set(sums[r][g]), least, acc[r][v]);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < NV; ++v) f_store(a.y + (row + r) * a.ldy + (vec + v) * 16, acc[r][v]);
  }
}
INLINE void ready_int8_x8(const PanelArgs&, int64_t, uint8_t*) {}
constexpr int kReadyInt8X8 = 0;
#endif

// 4-bit weights, 8-bit activations with a scale a group: exact integers inside a group, then as
// tile_int8_x8, operation for operation.
template <int R, int NV, bool kReady>
INLINE void tile_int4_x8(const PanelArgs& a, const Chunk& chunk, int64_t row, int vec) {
  F acc[R][NV];
  const int8_t* x[R];
  const float *scales[R], *sums[R];
  const int64_t groups = a.k / kGroup;
  for (int r = 0; r < R; ++r) {
    x[r] = static_cast<const int8_t*>(a.x) + (row + r) * a.ldx;
    scales[r] = a.group_scale + (row + r) * groups;
    sums[r] = a.group_sums + (row + r) * groups;
    for (int v = 0; v < NV; ++v) acc[r][v] = chunk.from == 0 ? f_zero() : f_load(a.y + (row + r) * a.ldy + (vec + v) * 16);
  }
  const auto* group = static_cast<const uint8_t*>(a.panel) + chunk.from * kInt4GroupBytes;
  const uint8_t* ready = chunk.ready;
  const Share next = share_of<kInt4GroupBytes, kReady ? kRowsReady : kRowsInt4>(a, row);
  for (int64_t g = chunk.from; g < chunk.to; ++g, group += kInt4GroupBytes, ready += kReady ? kReadyInt4X8 : 0) {
    NSum dot[R][NV];
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < NV; ++v) dot[r][v] = n_zero();
    }
    for (int64_t line = next.first; line < next.last; ++line) prefetch_far(group + a.ahead + 64 * line);
#pragma GCC unroll 16
    for (int k = 0; k < kGroup; k += 8) {
      W low[NV], high[NV];
      for (int v = 0; v < NV; ++v) {
        if constexpr (kReady) {
          low[v] = b_load(ready + k * kPanel + 64 * (vec + v));
          high[v] = b_load(ready + (k + 4) * kPanel + 64 * (vec + v));
        } else {
          n_split(group + k / 2 * kPanel + 64 * (vec + v), &low[v], &high[v]);
          prefetch(group + 2 * kInt4GroupBytes + k / 2 * kPanel + 64 * (vec + v));
        }
      }
      for (int r = 0; r < R; ++r) {
        const W xv = b_set_four(x[r] + g * kGroup + k);
        for (int v = 0; v < NV; ++v) dot[r][v] = n_dot(dot[r][v], low[v], xv);
      }
      for (int r = 0; r < R; ++r) {
        const W xv = b_set_four(x[r] + g * kGroup + k + 4);
        for (int v = 0; v < NV; ++v) dot[r][v] = n_dot(dot[r][v], high[v], xv);
      }
    }
    const auto* d = reinterpret_cast<const uint16_t*>(group + kGroup * kPanel / 2) + 16 * vec;
    for (int v = 0; v < NV; ++v) {
      const F scale = f_load_f16(d + 16 * v);
      const F least = f_load_f16(d + kPanel + 16 * v);
      for (int r = 0; r < R; ++r) {
        acc[r][v] = f_fma(i_to_f(n_sum(dot[r][v])), f_mul(scale, f_set(scales[r][g])), acc[r][v]);
        acc[r][v] = f_fma(f_set(sums[r][g]), least, acc[r][v]);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < NV; ++v) f_store(a.y + (row + r) * a.ldy + (vec + v) * 16, acc[r][v]);
  }
}
INLINE void ready_int4_x8(const PanelArgs& a, int64_t g, uint8_t* ready) {
  const auto* group = static_cast<const uint8_t*>(a.panel) + g * kInt4GroupBytes;
  for (int k = 0; k < kGroup; k += 8) {
    for (int v = 0; v < 2; ++v) {
      W low, high;
      n_split(group + k / 2 * kPanel + 64 * v, &low, &high);
      b_store(ready + k * kPanel + 64 * v, low);
      b_store(ready + (k + 4) * kPanel + 64 * v, high);
    }
  }
}

#define COLONY_PANEL(name, tile, kRows)                                  \
  template <int R>                                                       \
  static void name##_rows(const PanelArgs& a, int64_t row) {             \
    for (int vec = 0; vec < 2; vec += kVecs) tile<R, kVecs>(a, row, vec); \
  }                                                                      \
  static void name(const PanelArgs& a) {                                 \
    int64_t row = 0;                                                     \
    for (; a.rows - row >= kRows; row += kRows) name##_rows<kRows>(a, row); \
    if (kRows > 8 && a.rows - row >= 8) name##_rows<8>(a, row), row += 8; \
    if (kRows > 4 && a.rows - row >= 4) name##_rows<4>(a, row), row += 4; \
    if (kRows > 2 && a.rows - row >= 2) name##_rows<2>(a, row), row += 2; \
    for (; row < a.rows; ++row) name##_rows<1>(a, row);                  \
  }
COLONY_PANEL(panel_f32, tile_f32, kRowsF32)
COLONY_PANEL(panel_bf16, tile_bf16, kRowsBf16)
#undef COLONY_PANEL

#define COLONY_PANEL(kind, kFew, kMany, kReady)                                                              \
  template <int R, int NV, bool ready>                                                                       \
  static void rows_##kind(const PanelArgs& a, const Chunk& chunk, int64_t row) {                             \
    for (int vec = 0; vec < 2; vec += NV) tile_##kind<R, NV, ready>(a, chunk, row, vec);                     \
  }                                                                                                          \
  template <int kRows, bool ready>                                                                           \
  static void chunk_##kind(const PanelArgs& a, const Chunk& chunk) {                                         \
    int64_t row = 0;                                                                                         \
    for (; a.rows - row >= kRows; row += kRows) rows_##kind<kRows, kVecs, ready>(a, chunk, row);             \
    if (kRows > 4 && a.rows - row >= 4) rows_##kind<4, kVecs, ready>(a, chunk, row), row += 4;               \
    if (kRows > 2 && a.rows - row >= 2) rows_##kind<2, kVecs, ready>(a, chunk, row), row += 2;               \
    for (; row < a.rows; ++row) rows_##kind<1, 2, ready>(a, chunk, row);                                     \
  }                                                                                                          \
  static void panel_##kind(const PanelArgs& a) {                                                             \
    const int64_t groups = a.k / kGroup;                                                                     \
    if constexpr (kReady > 0) {                                                                              \
      if (a.rows >= kManyRows) {                                                                             \
        alignas(64) uint8_t ready[kReadyBytes];                                                              \
        const int64_t most = kReadyBytes / kReady, chunks = (groups + most - 1) / most;                      \
        for (int64_t i = 0; i < chunks; ++i) {                                                               \
          const Chunk chunk{groups * i / chunks, groups * (i + 1) / chunks, ready};                          \
          for (int64_t g = chunk.from; g < chunk.to; ++g) ready_##kind(a, g, ready + (g - chunk.from) * kReady); \
          chunk_##kind<kMany, true>(a, chunk);                                                               \
        }                                                                                                    \
        return;                                                                                              \
      }                                                                                                      \
    }                                                                                                        \
    chunk_##kind<kFew, false>(a, {0, groups, nullptr});                                                      \
  }
COLONY_PANEL(int8, kRowsInt8, kRowsReady, kReadyPairs)
COLONY_PANEL(int8_x8, kRowsInt8, kRowsReady, kReadyInt8X8)
COLONY_PANEL(int4, kRowsInt8, kRowsReady, kReadyPairs)
COLONY_PANEL(int4_x8, kRowsInt4, kRowsReady, kReadyInt4X8)
#undef COLONY_PANEL

// ---- rows of activations ----
// The last, incomplete 16 numbers, padded with zeros.
INLINE void load_tail(const float* x, int64_t left, float* out) {
  for (int i = 0; i < 16; ++i) out[i] = i < left ? x[i] : 0.0f;
}

static void quantize_row(const float* x, int64_t k, int16_t* p, float* scale, float* sums) {
  F most = f_zero(), finite = f_zero();
  float tail[16];
  const int64_t whole = k / 16 * 16;
  load_tail(x + whole, k - whole, tail);
  for (int64_t i = 0; i < whole + 16; i += 16) {
    const F v = f_load(i < whole ? x + i : tail);
    most = f_max(most, f_abs(v));
    finite = f_fma(v, f_zero(), finite);  // stays 0 unless a number is infinite or NaN
  }
  const float amax = f_hmax(most);
  const bool sound = f_sum(finite) == 0.0f;
  const float inverse = sound && amax > 0 ? static_cast<float>(kActivationMax) / amax : 0.0f;
  // A tiny amax has an infinite inverse; such a row counts as zero.
  const bool usable = inverse > 0 && inverse < 3e38f;
  *scale = !sound ? __builtin_nanf("") : usable ? amax / static_cast<float>(kActivationMax) : 0.0f;
  const F by = f_set(usable ? inverse : 0.0f);
  const int64_t padded = (k + kGroup - 1) / kGroup * kGroup;
  for (int64_t g = 0; g < padded / kGroup; ++g) {
    F sum = f_zero();  // whole numbers below 2^24: exact in any order
    for (int64_t i = g * kGroup; i < (g + 1) * kGroup; i += 16) {
      float block[16];
      const bool inside = k - i >= 16;
      if (!inside) load_tail(x + i, k - i, block);
      const I rounded = f_round_i(sound ? f_mul(f_load(inside ? x + i : block), by) : f_zero());
      i_store16(p + i, rounded);
      sum = f_add(sum, i_to_f(rounded));
    }
    sums[g] = f_sum(sum);
  }
}

INLINE void store_x8(int8_t* p, I x) { i_store8(p, x); }
INLINE void store_x8(int16_t* p, I x) { i_store16(p, x); }
template <typename P>
static void quantize_row_x8(const float* x, int64_t k, P* p, float* scales, float* sums) {
  const int64_t groups = (k + kGroup - 1) / kGroup;
  for (int64_t g = 0; g < groups; ++g) {
    float padded[kGroup];
    const bool inside = k - g * kGroup >= kGroup;
    if (!inside) {
      for (int i = 0; i < kGroup; ++i) padded[i] = g * kGroup + i < k ? x[g * kGroup + i] : 0.0f;
    }
    const float* from = inside ? x + g * kGroup : padded;
    const F low = f_load(from), high = f_load(from + 16);
    const float amax = f_hmax(f_max(f_abs(low), f_abs(high)));
    const F finite = f_fma(low, f_zero(), f_mul(high, f_zero()));  // 0 unless a number is infinite or NaN
    const bool sound = f_sum(finite) == 0.0f;
    const float inverse = sound && amax > 0 ? static_cast<float>(kGroupActivationMax) / amax : 0.0f;
    const bool usable = inverse > 0 && inverse < 3e38f;  // a tiny amax counts as zero
    const float scale = !sound ? __builtin_nanf("") : usable ? amax / static_cast<float>(kGroupActivationMax) : 0.0f;
    const F by = f_set(usable ? inverse : 0.0f);
    const I first = f_round_i(sound ? f_mul(low, by) : f_zero()), second = f_round_i(sound ? f_mul(high, by) : f_zero());
    store_x8(p + g * kGroup, first);
    store_x8(p + g * kGroup + 16, second);
    scales[g] = scale;
    sums[g] = scale * f_sum(f_add(i_to_f(first), i_to_f(second)));  // the sum is a whole number, exact
  }
}

// ---- weights ----
static void quantize_group8(const float* w, uint8_t* q, uint16_t* d, uint16_t* m) {
  const F first = f_load(w), second = f_load(w + 16);
  const float high = f_hmax(f_max(first, second));
  const float low = -f_hmax(f_max(f_sub(f_zero(), first), f_sub(f_zero(), second)));
  *d = scalar_to_f16((high - low) / 255.0f);
  *m = scalar_to_f16(low);
  const float step = scalar_from_f16(*d);
  const F least = f_set(scalar_from_f16(*m)), most = f_set(255.0f);
  for (int i = 0; i < kGroup; i += 16) {
    const F steps = f_round(f_div(f_sub(i == 0 ? first : second, least), f_set(step)));
    i_store_u8(q + i, f_round_i(step > 0 ? f_min(f_max(steps, f_zero()), most) : f_zero()));
  }
}

static void round_row_bf16(const float* x, int64_t k, uint16_t* out) {
  for (int64_t i = 0; i < k; ++i) out[i] = scalar_to_bf16(x[i]);
  if (k % 2 == 1) out[k] = 0;
}

static void rms_norm_row(const float* x, const float* w, int64_t dim, float eps, float* y) {
  F squares = f_zero();
  const int64_t whole = dim / 16 * 16;
  for (int64_t i = 0; i < whole; i += 16) {
    const F v = f_load(x + i);
    squares = f_fma(v, v, squares);
  }
  float tail[16];
  load_tail(x + whole, dim - whole, tail);
  const F last = f_load(tail);
  squares = f_fma(last, last, squares);
  const float r = 1.0f / __builtin_sqrtf(f_sum(squares) / static_cast<float>(dim) + eps);
  for (int64_t i = 0; i < whole; i += 16) {
    f_store(y + i, f_mul(f_mul(f_load(x + i), f_set(r)), f_load(w + i)));
  }
  for (int64_t i = whole; i < dim; ++i) y[i] = x[i] * r * w[i];
}

static void silu_mul_row(const float* gate, const float* up, int64_t n, float* y) {
  for (int64_t i = 0; i < n; i += 16) {
    const bool whole = n - i >= 16;
    float g[16], u[16], out[16];
    if (!whole) load_tail(gate + i, n - i, g), load_tail(up + i, n - i, u);
    const F x = f_load(whole ? gate + i : g);
    const F e = f_exp(f_sub(f_zero(), x));
    const F value = f_mul(f_div(x, f_add(f_set(1.0f), e)), f_load(whole ? up + i : u));
    f_store(whole ? y + i : out, value);
    if (!whole) {
      for (int64_t j = i; j < n; ++j) y[j] = out[j - i];
    }
  }
}

// s of the tanh form of gelu(x) = x s: s = (1 + tanh z)/2 = e/(1+e), e = exp(2z), 2z = √(8/π)(x + 0.044715 x³).
struct GeluPart {
  F s, rest;  // rest = 1 - s
};
INLINE GeluPart gelu_part(F x) {
  const F inner = f_fma(f_mul(f_mul(x, x), f_set(0.044715f)), x, x);
  const F e = f_exp(f_mul(inner, f_set(1.59576912160573f)));
  const F rest = f_div(f_set(1.0f), f_add(f_set(1.0f), e));
  return {f_mul(e, rest), rest};
}

static void gelu_mul_row(const float* gate, const float* up, int64_t n, float* y) {
  for (int64_t i = 0; i < n; i += 16) {
    const bool whole = n - i >= 16;
    float g[16], u[16], out[16];
    if (!whole) load_tail(gate + i, n - i, g), load_tail(up + i, n - i, u);
    const F x = f_load(whole ? gate + i : g);
    const F value = f_mul(f_mul(x, gelu_part(x).s), f_load(whole ? up + i : u));
    f_store(whole ? y + i : out, value);
    if (!whole) {
      for (int64_t j = i; j < n; ++j) y[j] = out[j - i];
    }
  }
}

static void add_row(float* x, const float* y, int64_t n) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) f_store(x + i, f_add(f_load(x + i), f_load(y + i)));
  for (; i < n; ++i) x[i] += y[i];
}

// ---- attention ----
template <KvType type>
INLINE F kv_load(const std::byte* p, int64_t element) {
  if constexpr (type == KvType::kF32) {
    return f_load(reinterpret_cast<const float*>(p) + element);
  } else if constexpr (type == KvType::kInt8) {
    return f_load_s8(reinterpret_cast<const int8_t*>(p) + element);
  } else {
    return f_load_bf16(reinterpret_cast<const uint16_t*>(p) + element);
  }
}

constexpr int kHeadDimMax = 512;

template <int H, KvType type>
static void attention_heads(const AttentionTile& a) {
  alignas(64) float acc[H][kHeadDimMax];
  alignas(64) float weight[H][kPageTokens];
  float most[H], total[H], keep[H];
  // In registers also over read_again().
  const float* const q = a.q;
  const int head_dim = a.head_dim, padded_dim = a.padded_dim;
  for (int h = 0; h < H; ++h) {
    most[h] = kNegInf;
    total[h] = 0;
    for (int d = 0; d < a.padded_dim; ++d) acc[h][d] = 0;
  }
  for (int64_t page = a.first / kPageTokens; page <= a.position / kPageTokens; ++page) {
    const std::byte* base = a.base + static_cast<uint64_t>(a.pages[page]) * a.page_stride;
    const std::byte* keys = base + a.k_offset;
    const std::byte* values = base + a.v_offset;
    const int64_t start = page * kPageTokens;
    const int from = a.first > start ? static_cast<int>(a.first - start) : 0;
    const int to = a.position - start < kPageTokens ? static_cast<int>(a.position - start)
                                                    : kPageTokens - 1;
    // This page's values come while its keys are read, the next page's keys while the values are.
    const bool more = page < a.position / kPageTokens;
    const std::byte* next = more ? a.base + static_cast<uint64_t>(a.pages[page + 1]) * a.page_stride + a.k_offset : nullptr;
    constexpr int kBytes = type == KvType::kF32 ? 4 : type == KvType::kBf16 ? 2 : 1;
    constexpr int kKeyBytes = kPageTokens * kBytes;  // half a line in int8
    // int8: the tokens' scales stand behind the numbers.
    [[maybe_unused]] const auto* key_scales = reinterpret_cast<const float*>(keys + kKeyBytes * a.padded_dim);
    [[maybe_unused]] const auto* value_scales = reinterpret_cast<const float*>(values + kKeyBytes * a.padded_dim);
    F low[H], high[H];  // of their own, or the compiler keeps them in memory for the loops further down
    for (int h = 0; h < H; ++h) low[h] = high[h] = f_zero();
    for (int d = 0; d < head_dim; ++d) {
      for (int at = d * kKeyBytes; at < (d + 1) * kKeyBytes; at += 64) prefetch(values + at);
      const F k0 = kv_load<type>(keys, d * kPageTokens);
      for (int h = 0; h < H; ++h) low[h] = f_fma(f_set(q[h * head_dim + d]), k0, low[h]);
      read_again();
      const F k1 = kv_load<type>(keys, d * kPageTokens + 16);
      for (int h = 0; h < H; ++h) high[h] = f_fma(f_set(q[h * head_dim + d]), k1, high[h]);
      read_again();
    }
    F s[H][2];
    for (int h = 0; h < H; ++h) s[h][0] = low[h], s[h][1] = high[h];
    for (int h = 0; h < H; ++h) {
      for (int v = 0; v < 2; ++v) {
        s[h][v] = f_mul(s[h][v], f_set(a.scale));
        if constexpr (type == KvType::kInt8) s[h][v] = f_mul(s[h][v], f_load(key_scales + 16 * v));
        if (a.softcap > 0) {  // c tanh(s/c) = c (1 - 2 / (exp(2 s/c) + 1))
          const F e = f_exp(f_mul(s[h][v], f_set(2.0f / a.softcap)));
          const F t = f_sub(f_set(1.0f), f_div(f_set(2.0f), f_add(e, f_set(1.0f))));
          s[h][v] = f_mul(t, f_set(a.softcap));
        }
        s[h][v] = f_keep_lanes(s[h][v], from - 16 * v, to - 16 * v, kNegInf);
      }
      const float page_most = f_hmax(f_max(s[h][0], s[h][1]));
      const float new_most = page_most > most[h] ? page_most : most[h];
      keep[h] = most[h] == kNegInf ? 0.0f : f_first(f_exp(f_set(most[h] - new_most)));
      const F p0 = f_exp(f_sub(s[h][0], f_set(new_most)));
      const F p1 = f_exp(f_sub(s[h][1], f_set(new_most)));
      if constexpr (type == KvType::kInt8) {
        f_store(weight[h], f_mul(p0, f_load(value_scales)));
        f_store(weight[h] + 16, f_mul(p1, f_load(value_scales + 16)));
      } else {
        f_store(weight[h], p0);
        f_store(weight[h] + 16, p1);
      }
      total[h] = total[h] * keep[h] + f_sum(f_add(p0, p1));
      most[h] = new_most;
    }
    for (int d = 0; d < a.padded_dim; d += 16 * kAccVecs) {
      const int vecs = (a.padded_dim - d) / 16 < kAccVecs ? (a.padded_dim - d) / 16 : kAccVecs;
      if (vecs == kAccVecs) {
        F sum[H][kAccVecs];
        for (int h = 0; h < H; ++h) {
          for (int v = 0; v < kAccVecs; ++v) sum[h][v] = f_mul(f_load(acc[h] + d + 16 * v), f_set(keep[h]));
        }
        for (int j = from; j <= to; ++j) {
          if (more) {
            for (int line = 0; line < kAccVecs * kBytes / 4; ++line) prefetch(next + ((d / (16 * kAccVecs) * kPageTokens + j) * (kAccVecs * kBytes / 4) + line) * 64);
          }
          for (int v = 0; v < kAccVecs; ++v) {
            const F value = kv_load<type>(values, j * padded_dim + d + 16 * v);
            for (int h = 0; h < H; ++h) sum[h][v] = f_fma(f_set(weight[h][j]), value, sum[h][v]);
            read_again();
          }
        }
        for (int h = 0; h < H; ++h) {
          for (int v = 0; v < kAccVecs; ++v) f_store(acc[h] + d + 16 * v, sum[h][v]);
        }
      } else {
        for (int v = 0; v < vecs; ++v) {
          for (int h = 0; h < H; ++h) {
            F sum = f_mul(f_load(acc[h] + d + 16 * v), f_set(keep[h]));
            for (int j = from; j <= to; ++j) {
              sum = f_fma(f_set(weight[h][j]), kv_load<type>(values, j * a.padded_dim + d + 16 * v), sum);
            }
            f_store(acc[h] + d + 16 * v, sum);
          }
        }
      }
    }
  }
  for (int h = 0; h < H; ++h) {
    const float inverse = 1.0f / total[h];
    for (int d = 0; d < a.head_dim; ++d) a.out[h * a.head_dim + d] = acc[h][d] * inverse;
  }
}

template <KvType type>
static void attention_typed(const AttentionTile& a) {
  AttentionTile part = a;
  int left = a.heads;
  while (left > 0) {
    const int now = left >= 4 ? 4 : left;
    if (now == 4) attention_heads<4, type>(part);
    if (now == 3) attention_heads<3, type>(part);
    if (now == 2) attention_heads<2, type>(part);
    if (now == 1) attention_heads<1, type>(part);
    part.q += now * a.head_dim;
    part.out += now * a.head_dim;
    left -= now;
  }
}

static void attention_tile(const AttentionTile& a) {
  switch (a.type) {
    case KvType::kF32: return attention_typed<KvType::kF32>(a);
    case KvType::kBf16: return attention_typed<KvType::kBf16>(a);
    case KvType::kInt8: return attention_typed<KvType::kInt8>(a);
  }
}

// ---- low-rank updates ----
template <bool int8>
INLINE F lora_load(const void* from, int64_t at) {
  if constexpr (int8) {
    return f_load_s8(static_cast<const int8_t*>(from) + at);
  } else {
    return f_load(static_cast<const float*>(from) + at);
  }
}

// R rows of x by N rows of A.
template <bool int8, int R, int N>
INLINE void shrink_tile(const LoraShrink& a, int64_t row, int64_t rank) {
  F sum[R][N];
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < N; ++n) sum[r][n] = f_zero();
  }
  const float* x = a.x + row * a.ldx;
  const int64_t lda = (a.k + 15) / 16 * 16, whole = a.k / 16 * 16, first = rank * lda;
  for (int64_t k = 0; k < whole; k += 16) {
    F xv[R];
    for (int r = 0; r < R; ++r) xv[r] = f_load(x + r * a.ldx + k);
    for (int n = 0; n < N; ++n) {
      const F w = lora_load<int8>(a.a, first + n * lda + k);
      for (int r = 0; r < R; ++r) sum[r][n] = f_fma(xv[r], w, sum[r][n]);
    }
  }
  if (whole < a.k) {
    for (int r = 0; r < R; ++r) {
      float tail[16];
      load_tail(x + r * a.ldx + whole, a.k - whole, tail);
      const F xv = f_load(tail);
      for (int n = 0; n < N; ++n) sum[r][n] = f_fma(xv, lora_load<int8>(a.a, first + n * lda + whole), sum[r][n]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < N; ++n) a.u[(row + r) * a.ranks + rank + n] = f_sum(sum[r][n]) * a.scale[rank + n];
  }
}
template <bool int8, int R, int N>
INLINE void shrink_rows(const LoraShrink& a, int64_t row) {
  int64_t rank = 0;
  for (; a.ranks - rank >= N; rank += N) shrink_tile<int8, R, N>(a, row, rank);
  for (; rank < a.ranks; ++rank) shrink_tile<int8, R, 1>(a, row, rank);
}
template <bool int8>
static void shrink_typed(const LoraShrink& a) {
  int64_t row = 0;
  for (; a.rows - row >= 2; row += 2) shrink_rows<int8, 2, 2 * kVecs>(a, row);
  if (row < a.rows) shrink_rows<int8, 1, 4>(a, row);
}
static void lora_shrink(const LoraShrink& a) { a.int8 ? shrink_typed<true>(a) : shrink_typed<false>(a); }

// R rows by 16 NV outputs from n on; y and the vectors of outputs may be copies of a last, incomplete 16.
template <bool int8, int R, int NV>
INLINE void expand_tile(const LoraExpand& a, int64_t row, int64_t n, const float* start, const float* gain, const float* bias,
                        float* y, int64_t ldy) {
  const int64_t ldb = (a.n + kLoraBlock - 1) / kLoraBlock * kLoraBlock, blocks = ldb / kLoraBlock;
  F sum[R][NV];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < NV; ++v) sum[r][v] = start != nullptr ? f_load(start + 16 * v) : f_zero();
  }
  for (int64_t k = 0; k < a.ranks; ++k) {
    for (int v = 0; v < NV; ++v) {
      const F w = lora_load<int8>(a.b, k * ldb + n + 16 * v);
      for (int r = 0; r < R; ++r) {
        float u = a.u[(row + r) * a.ldu + k];
        if constexpr (int8) u = u * a.b_scale[k * blocks + (n + 16 * v) / kLoraBlock];
        sum[r][v] = f_fma(f_set(u), w, sum[r][v]);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < NV; ++v) {
      float* to = y + r * ldy + 16 * v;
      if (gain == nullptr) {
        f_store(to, f_add(f_load(to), sum[r][v]));
      } else {
        const F b = bias != nullptr ? f_load(bias + 16 * v) : f_zero();
        f_store(to, f_fma(f_load(gain + 16 * v), f_add(f_sub(f_load(to), b), sum[r][v]), b));
      }
    }
  }
}
template <bool int8, int R, int NV>
INLINE void expand_rows(const LoraExpand& a, int64_t row) {
  const auto from = [](const float* p, int64_t n) __attribute__((always_inline)) { return p == nullptr ? nullptr : p + n; };
  int64_t n = 0;
  for (; a.n - n >= 16 * NV; n += 16 * NV) {
    expand_tile<int8, R, NV>(a, row, n, from(a.start, n), from(a.gain, n), from(a.bias, n), a.y + row * a.ldy + n, a.ldy);
  }
  for (; a.n - n >= 16; n += 16) {
    expand_tile<int8, R, 1>(a, row, n, from(a.start, n), from(a.gain, n), from(a.bias, n), a.y + row * a.ldy + n, a.ldy);
  }
  if (n == a.n) return;
  float start[16], gain[16], bias[16], y[R * 16];
  if (a.start != nullptr) load_tail(a.start + n, a.n - n, start);
  if (a.gain != nullptr) load_tail(a.gain + n, a.n - n, gain);
  if (a.bias != nullptr) load_tail(a.bias + n, a.n - n, bias);
  for (int r = 0; r < R; ++r) load_tail(a.y + (row + r) * a.ldy + n, a.n - n, y + 16 * r);
  expand_tile<int8, R, 1>(a, row, n, a.start != nullptr ? start : nullptr, a.gain != nullptr ? gain : nullptr,
                          a.bias != nullptr ? bias : nullptr, y, 16);
  for (int r = 0; r < R; ++r) {
    for (int64_t i = n; i < a.n; ++i) a.y[(row + r) * a.ldy + i] = y[16 * r + i - n];
  }
}
template <bool int8>
static void expand_typed(const LoraExpand& a) {
  int64_t row = 0;
  for (; a.rows - row >= 4; row += 4) expand_rows<int8, 4, 1>(a, row);
  for (; row < a.rows; ++row) expand_rows<int8, 1, 4>(a, row);
}
static void lora_expand(const LoraExpand& a) { a.int8 ? expand_typed<true>(a) : expand_typed<false>(a); }

// ---- backward ----
// dx += r w dy - x r³/dim Σ w dy x,  r as in the forward direction.
static void rms_norm_backward_row(const float* x, const float* w, const float* dy, int64_t dim, float eps, float* dx) {
  F squares = f_zero(), along = f_zero();
  for (int64_t i = 0; i < dim; i += 16) {
    const bool whole = dim - i >= 16;
    float a[16], b[16], c[16];
    if (!whole) load_tail(x + i, dim - i, a), load_tail(w + i, dim - i, b), load_tail(dy + i, dim - i, c);
    const F v = f_load(whole ? x + i : a);
    squares = f_fma(v, v, squares);
    along = f_fma(f_mul(f_load(whole ? w + i : b), f_load(whole ? dy + i : c)), v, along);
  }
  const float r = 1.0f / __builtin_sqrtf(f_sum(squares) / static_cast<float>(dim) + eps);
  const float back = f_sum(along) * r * r * r / static_cast<float>(dim);
  int64_t i = 0;
  for (; i + 16 <= dim; i += 16) {
    const F own = f_mul(f_mul(f_load(w + i), f_load(dy + i)), f_set(r));
    f_store(dx + i, f_add(f_load(dx + i), f_sub(own, f_mul(f_load(x + i), f_set(back)))));
  }
  for (; i < dim; ++i) dx[i] += w[i] * dy[i] * r - x[i] * back;
}

// s = 1/(1+exp(-g)):  d_up = dy g s,  d_gate = dy up s (1 + g (1 - s)).
static void silu_mul_backward_row(const float* gate, const float* up, const float* dy, int64_t n, float* d_gate, float* d_up) {
  const F one = f_set(1.0f);
  for (int64_t i = 0; i < n; i += 16) {
    const bool whole = n - i >= 16;
    float a[16], b[16], c[16], to_gate[16], to_up[16];
    if (!whole) load_tail(gate + i, n - i, a), load_tail(up + i, n - i, b), load_tail(dy + i, n - i, c);
    const F g = f_load(whole ? gate + i : a), u = f_load(whole ? up + i : b), d = f_load(whole ? dy + i : c);
    const F s = f_div(one, f_add(one, f_exp(f_sub(f_zero(), g))));
    f_store(whole ? d_up + i : to_up, f_mul(d, f_mul(g, s)));
    f_store(whole ? d_gate + i : to_gate, f_mul(f_mul(d, u), f_mul(s, f_fma(g, f_sub(one, s), one))));
    if (whole) continue;
    for (int64_t j = i; j < n; ++j) d_up[j] = to_up[j - i], d_gate[j] = to_gate[j - i];
  }
}

// d_up = dy g s,  d_gate = dy up (s + g s (1 - s) 2z'),  2z' = √(8/π)(1 + 3 · 0.044715 g²).
static void gelu_mul_backward_row(const float* gate, const float* up, const float* dy, int64_t n, float* d_gate, float* d_up) {
  for (int64_t i = 0; i < n; i += 16) {
    const bool whole = n - i >= 16;
    float a[16], b[16], c[16], to_gate[16], to_up[16];
    if (!whole) load_tail(gate + i, n - i, a), load_tail(up + i, n - i, b), load_tail(dy + i, n - i, c);
    const F g = f_load(whole ? gate + i : a), u = f_load(whole ? up + i : b), d = f_load(whole ? dy + i : c);
    const GeluPart part = gelu_part(g);
    // Beyond ±20 s is 0 or 1 to the last bit, and g² must not overflow.
    const F near = f_min(f_max(g, f_set(-20.0f)), f_set(20.0f));
    const F slope = f_mul(f_fma(f_mul(near, near), f_set(0.134145f), f_set(1.0f)), f_set(1.59576912160573f));
    f_store(whole ? d_up + i : to_up, f_mul(d, f_mul(g, part.s)));
    f_store(whole ? d_gate + i : to_gate, f_mul(f_mul(d, u), f_fma(f_mul(near, part.s), f_mul(part.rest, slope), part.s)));
    if (whole) continue;
    for (int64_t j = i; j < n; ++j) d_up[j] = to_up[j - i], d_gate[j] = to_gate[j - i];
  }
}

static double exp_row(const float* x, int64_t n, float shift, float scale, float* y) {
  double total = 0;
  for (int64_t block = 0; block < n; block += 1024) {
    const int64_t end = n - block < 1024 ? n : block + 1024;
    F sum = f_zero();
    for (int64_t i = block; i < end; i += 16) {
      const bool whole = end - i >= 16;
      float in[16], out[16];
      if (!whole) load_tail(x + i, end - i, in);
      const F e = f_exp(f_mul(f_sub(f_load(whole ? x + i : in), f_set(shift)), f_set(scale)));
      f_store(whole ? y + i : out, e);
      if (whole) {
        sum = f_add(sum, e);
      } else {
        for (int64_t j = i; j < end; ++j) {
          y[j] = out[j - i];
          total += static_cast<double>(y[j]);
        }
      }
    }
    total += static_cast<double>(f_sum(sum));
  }
  return total;
}

// ---- over the vocabulary ----
static float max_of(const float* x, int64_t n) {
  F most = f_set(kNegInf);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) most = f_max(f_load(x + i), most);  // a NaN on the left loses
  float best = f_hmax(most);
  for (; i < n; ++i) best = x[i] > best ? x[i] : best;
  return best;
}

static double sum_exp(const float* x, int64_t n, float shift, float scale) {
  double total = 0;
  for (int64_t block = 0; block < n; block += 1024) {
    const int64_t end = n - block < 1024 ? n : block + 1024;
    F sum = f_zero();
    for (int64_t i = block; i < end; i += 16) {
      float tail[16];
      const bool whole = end - i >= 16;
      for (int j = 0; !whole && j < 16; ++j) tail[j] = i + j < end ? x[i + j] : kNegInf;
      const F v = f_load(whole ? x + i : tail);
      sum = f_add(sum, f_exp(f_mul(f_sub(v, f_set(shift)), f_set(scale))));
    }
    total += static_cast<double>(f_sum(sum));
  }
  return total;
}

// ---- limits of the machine ----
// Enough independent sums to hide an instruction's latency; keep_x makes the compiler believe that
// each round matters.
constexpr int kPeakSums = 6 * kVecs;

static double peak_f32(int64_t n) {
  F sum[kPeakSums], w = f_set(0.5f), x = f_set(0.25f);
  for (int j = 0; j < kPeakSums; ++j) sum[j] = f_zero();
  for (int64_t i = 0; i < n; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kPeakSums; ++j) sum[j] = f_fma(w, x, sum[j]);
    w = keep_f(w);
  }
  for (int j = 0; j < kPeakSums; ++j) keep_f(sum[j]);
  return static_cast<double>(n) * kPeakSums * 16 * 2;
}

static double peak_bf16(int64_t n) {
  alignas(64) uint16_t ones[64];
  for (auto& one : ones) one = 0x3f80;
  F sum[kPeakSums];
  B w = bf_load(ones);
  const BX x = bf_set_pair(ones);
  for (int j = 0; j < kPeakSums; ++j) sum[j] = f_zero();
  for (int64_t i = 0; i < n; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kPeakSums; ++j) sum[j] = bf_dot(sum[j], w, x);
    w = keep_b(w);
  }
  for (int j = 0; j < kPeakSums; ++j) keep_f(sum[j]);
  return static_cast<double>(n) * kPeakSums * 32 * 2;
}

static double peak_int8(int64_t n) {
  alignas(64) int16_t ones[64];
  for (auto& one : ones) one = 1;
  I sum[kPeakSums];
  W w = w_set_pair(ones);
  const W x = w_set_pair(ones + 2);
  for (int j = 0; j < kPeakSums; ++j) sum[j] = i_zero();
  for (int64_t i = 0; i < n; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kPeakSums; ++j) sum[j] = i_dot(sum[j], w, x);
    w = keep_w(w);
  }
  for (int j = 0; j < kPeakSums; ++j) keep_i(sum[j]);
  return static_cast<double>(n) * kPeakSums * 32 * 2;
}

static uint64_t read_bytes(const void* p, int64_t bytes) {
  F sum[4] = {f_zero(), f_zero(), f_zero(), f_zero()};
  const auto* x = static_cast<const float*>(p);
  for (int64_t i = 0; i < bytes / 4; i += 64) {
    prefetch(x + i + 1024);
    for (int v = 0; v < 4; ++v) sum[v] = f_add(sum[v], f_load(x + i + 16 * v));
  }
  const float total = f_sum(f_add(f_add(sum[0], sum[1]), f_add(sum[2], sum[3])));
  uint32_t bits;
  __builtin_memcpy(&bits, &total, 4);
  return bits;
}

#ifdef COLONY_X8_WORDS
constexpr auto quantize_row_x8_words = quantize_row_x8<int16_t>;
#else
constexpr decltype(&quantize_row_x8<int16_t>) quantize_row_x8_words = nullptr;
#endif

#define COLONY_KERNEL_TABLE                                                                    \
  {panel_f32,    panel_bf16, panel_int8,     panel_int8_x8, panel_int4, panel_int4_x8, quantize_row,  quantize_row_x8<int8_t>, quantize_row_x8_words, quantize_group8, round_row_bf16, rms_norm_row,       \
   silu_mul_row, gelu_mul_row, add_row,    attention_tile, lora_shrink, lora_expand, max_of,       sum_exp,        exp_row, rms_norm_backward_row, silu_mul_backward_row, gelu_mul_backward_row, peak_f32, \
   peak_bf16,    peak_int8,  read_bytes}
