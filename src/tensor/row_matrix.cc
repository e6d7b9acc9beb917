#include "tensor/row_matrix.h"

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "tensor/cpu.h"
#include "tensor/kernels.h"
#include "tensor/ops.h"

namespace colony::tensor {
namespace {

constexpr int64_t kReduceMost = 384;  // places of one panel: 48 KiB, half of which passes over its rows at a time
constexpr int64_t kRowBlock = 96;

// W[first, first + width) of the outputs, reduction places [from, from + count), as a panel. Forward:
// outputs are rows of W; backward: columns.
struct Part {
  int64_t first = 0, width = 0, from = 0, count = 0;
};

inline float widen(float x) { return x; }
inline float widen(uint16_t x) { return std::bit_cast<float>(static_cast<uint32_t>(x) << 16); }
// Four numbers that stand together (SSE2, which every x86-64 has).
inline __m128 four(const float* p) { return _mm_loadu_ps(p); }
inline __m128 four(const uint16_t* p) {
  return _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}

template <typename T, bool forward>
void panel_f32(const T* w, int64_t k, const Part& p, float* panel) {
  if constexpr (forward) {
    // Turned, four rows by four places at a time; what is left over one by one.
    if (p.width < kPanel) std::fill_n(panel, p.count * kPanel, 0.0f);
    const int64_t rows = p.width / 4 * 4, places = p.count / 4 * 4;
    const auto one_by_one = [&](int64_t from_row, int64_t to_row, int64_t from, int64_t to) {
      for (int64_t j = from_row; j < to_row; ++j) {
        const T* row = w + (p.first + j) * k + p.from;
        for (int64_t i = from; i < to; ++i) panel[i * kPanel + j] = widen(row[i]);
      }
    };
    for (int64_t i = 0; i < places; i += 4) {
      for (int64_t j = 0; j < rows; j += 4) {
        const T* row = w + (p.first + j) * k + p.from + i;
        __m128 a = four(row), b = four(row + k), c = four(row + 2 * k), d = four(row + 3 * k);
        _MM_TRANSPOSE4_PS(a, b, c, d);
        float* to = panel + i * kPanel + j;
        _mm_storeu_ps(to, a);
        _mm_storeu_ps(to + kPanel, b);
        _mm_storeu_ps(to + 2 * kPanel, c);
        _mm_storeu_ps(to + 3 * kPanel, d);
      }
    }
    one_by_one(rows, p.width, 0, p.count);
    one_by_one(0, rows, places, p.count);
  } else {
    for (int64_t i = 0; i < p.count; ++i) {
      const T* row = w + (p.from + i) * k + p.first;
      float* to = panel + i * kPanel;
      if (p.width == kPanel) {
        for (int64_t j = 0; j < kPanel; j += 4) _mm_storeu_ps(to + j, four(row + j));
      } else {
        for (int64_t j = 0; j < kPanel; ++j) to[j] = j < p.width ? widen(row[j]) : 0.0f;
      }
    }
  }
}

// Pairs of places stand together: panel[(i/2 · 32 + j) · 2 + i%2].
template <bool forward>
void panel_bf16(const uint16_t* w, int64_t k, const Part& p, uint16_t* panel) {
  if (p.width < kPanel || p.count % 2 != 0) std::fill_n(panel, (p.count + 1) / 2 * 2 * kPanel, uint16_t{0});
  if constexpr (forward) {
    // A pair of a row stands together already: pairs are turned as 32-bit numbers.
    const int64_t pairs = p.count / 2;
    for (int64_t i = 0; i < pairs; ++i) {
      for (int64_t j = 0; j < p.width; ++j) std::memcpy(panel + (i * kPanel + j) * 2, w + (p.first + j) * k + p.from + 2 * i, 4);
    }
    if (p.count % 2 != 0) {
      for (int64_t j = 0; j < p.width; ++j) panel[(pairs * kPanel + j) * 2] = w[(p.first + j) * k + p.from + p.count - 1];
    }
  } else {
    for (int64_t i = 0; i < p.count; ++i) {
      const uint16_t* row = w + (p.from + i) * k + p.first;
      uint16_t* to = panel + i / 2 * kPanel * 2 + i % 2;
      for (int64_t j = 0; j < p.width; ++j) to[2 * j] = row[j];
    }
  }
}

}  // namespace

RowProducts best_row_products(WeightType type) {
  return type == WeightType::kBf16 && cpu().avx512_bf16 ? RowProducts::kBf16 : RowProducts::kF32;
}

uint64_t RowMatrix::bytes_for(WeightType type, int64_t n, int64_t k) {
  return static_cast<uint64_t>(n * k) * (type == WeightType::kF32 ? 4 : 2);
}

RowMatrix RowMatrix::make(WeightType type, int64_t n, int64_t k, const RowSource& rows, ThreadPool& pool) {
  CHECK(n > 0 && k > 0 && (type == WeightType::kF32 || type == WeightType::kBf16), "a row matrix is f32 or bf16");
  RowMatrix m;
  m.type_ = type;
  m.n_ = n;
  m.k_ = k;
  m.memory_ = Memory(bytes_for(type, n, k));
  const auto parts = static_cast<int>(std::min<int64_t>(n, 8L * pool.threads()));
  pool.run(parts, [&](int part) {
    std::vector<float> row(static_cast<size_t>(k));
    for (int64_t r = n * part / parts; r < n * (part + 1) / parts; ++r) {
      rows(r, row);
      if (type == WeightType::kF32) {
        std::memcpy(m.memory_.data() + r * k * 4, row.data(), row.size() * 4);
      } else {
        auto* to = reinterpret_cast<uint16_t*>(m.memory_.data()) + r * k;
        for (size_t i = 0; i < row.size(); ++i) to[i] = to_bf16(row[i]);
      }
    }
  });
  return m;
}

void RowMatrix::row(int64_t n, std::span<float> out) const {
  CHECK(n >= 0 && n < n_ && static_cast<int64_t>(out.size()) == k_, "row and width of the matrix");
  if (type_ == WeightType::kF32) {
    std::memcpy(out.data(), memory_.data() + n * k_ * 4, out.size() * 4);
  } else {
    const auto* from = reinterpret_cast<const uint16_t*>(memory_.data()) + n * k_;
    for (size_t i = 0; i < out.size(); ++i) out[i] = widen(from[i]);
  }
}

class RowProductsAccess {
 public:
  template <bool forward>
  static void run(const RowArgs& args, const RowMatrix& w, ThreadPool& pool, RowScratch& scratch) {
    const int64_t outputs = forward ? w.n_ : w.k_, reduce = forward ? w.k_ : w.n_, rows = args.rows;
    CHECK(rows > 0 && static_cast<int64_t>(args.x.size()) == rows * reduce && static_cast<int64_t>(args.y.size()) == rows * outputs,
          "a row product's arrays must have their sizes");
    const bool halves = w.type_ == WeightType::kBf16 && args.products == RowProducts::kBf16;
    const Kernels& kernel = kernels();
    const int64_t blocks = (reduce + kReduceMost - 1) / kReduceMost;
    const int64_t block = ((reduce + blocks - 1) / blocks + 1) / 2 * 2;  // even, so that pairs stay together
    const int64_t padded = (reduce + 1) / 2 * 2;
    if (halves) {
      const auto size = static_cast<size_t>(rows * padded);
      if (scratch.halves.size() < size) scratch.halves.resize(size);
      const auto parts = static_cast<int>(std::min<int64_t>(rows, 4L * pool.threads()));
      pool.run(parts, [&](int part) {
        for (int64_t r = rows * part / parts; r < rows * (part + 1) / parts; ++r) {
          kernel.round_row_bf16(args.x.data() + r * reduce, reduce, scratch.halves.data() + r * padded);
        }
      });
    }
    const int64_t panels = (outputs + kPanel - 1) / kPanel;
    const auto parts = static_cast<int>(std::min<int64_t>(panels, 4L * pool.threads()));
    const auto room = static_cast<size_t>(block * kPanel);
    if (scratch.panels.size() < room * static_cast<size_t>(parts)) scratch.panels.resize(room * static_cast<size_t>(parts));
    pool.run(parts, [&](int part) {
      alignas(64) float tile[kRowBlock * kPanel];
      float* const panel = scratch.panels.data() + room * static_cast<size_t>(part);
      for (int64_t p = panels * part / parts; p < panels * (part + 1) / parts; ++p) {
        for (int64_t from = 0; from < reduce; from += block) {
          const Part piece{p * kPanel, std::min<int64_t>(kPanel, outputs - p * kPanel), from, std::min(block, reduce - from)};
          const std::byte* data = w.memory_.data();
          if (halves) {
            panel_bf16<forward>(reinterpret_cast<const uint16_t*>(data), w.k_, piece, reinterpret_cast<uint16_t*>(panel));
          } else if (w.type_ == WeightType::kBf16) {
            panel_f32<uint16_t, forward>(reinterpret_cast<const uint16_t*>(data), w.k_, piece, panel);
          } else {
            panel_f32<float, forward>(reinterpret_cast<const float*>(data), w.k_, piece, panel);
          }
          const bool add = args.accumulate || from > 0, direct = !add && piece.width == kPanel;
          for (int64_t row = 0; row < rows; row += kRowBlock) {
            PanelArgs a;
            a.rows = std::min(kRowBlock, rows - row);
            a.panel = panel;
            a.k = halves ? (piece.count + 1) / 2 * 2 : piece.count;
            a.x = halves ? static_cast<const void*>(scratch.halves.data() + row * padded + from)
                         : static_cast<const void*>(args.x.data() + row * reduce + from);
            a.ldx = halves ? padded : reduce;
            float* const y = args.y.data() + row * outputs + piece.first;
            a.y = direct ? y : tile;
            a.ldy = direct ? outputs : kPanel;
            halves ? kernel.panel_bf16(a) : kernel.panel_f32(a);
            if (direct) continue;
            for (int64_t r = 0; r < a.rows; ++r) {
              float* to = y + r * outputs;
              const float* value = tile + r * kPanel;
              if (add) {
                for (int64_t j = 0; j < piece.width; ++j) to[j] += value[j];
              } else {
                std::memcpy(to, value, static_cast<size_t>(piece.width) * sizeof(float));
              }
            }
          }
        }
      }
    });
  }
};

void times_rows(const RowArgs& args, const RowMatrix& w, ThreadPool& pool, RowScratch& scratch) {
  RowProductsAccess::run<true>(args, w, pool, scratch);
}
void times_columns(const RowArgs& args, const RowMatrix& w, ThreadPool& pool, RowScratch& scratch) {
  RowProductsAccess::run<false>(args, w, pool, scratch);
}

}  // namespace colony::tensor
