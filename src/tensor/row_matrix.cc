#include "tensor/row_matrix.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "tensor/cpu.h"
#include "tensor/kernels.h"
#include "tensor/ops.h"

namespace colony::tensor {
namespace {

constexpr int64_t kReduceMost = 1024;  // places of one panel: 128 KiB, in the second-level cache
constexpr int64_t kRowBlock = 96;

// W[first, first + width) of the outputs, reduction places [from, from + count), as a panel. Forward:
// outputs are rows of W; backward: columns.
struct Part {
  int64_t first = 0, width = 0, from = 0, count = 0;
};

template <typename T>
float widen(T x) {
  if constexpr (sizeof(T) == 2) {
    return from_bf16(x);
  } else {
    return x;
  }
}

template <typename T, bool forward>
void panel_f32(const T* w, int64_t k, const Part& p, float* panel) {
  if constexpr (forward) {
    constexpr int64_t kStep = 16;  // a line of the panel's rows stays in the first-level cache
    if (p.width < kPanel) std::fill_n(panel, p.count * kPanel, 0.0f);
    for (int64_t at = 0; at < p.count; at += kStep) {
      const int64_t end = std::min(p.count, at + kStep);
      for (int64_t j = 0; j < p.width; ++j) {
        const T* row = w + (p.first + j) * k + p.from;
        for (int64_t i = at; i < end; ++i) panel[i * kPanel + j] = widen(row[i]);
      }
    }
  } else {
    for (int64_t i = 0; i < p.count; ++i) {
      const T* row = w + (p.from + i) * k + p.first;
      float* to = panel + i * kPanel;
      if (p.width == kPanel) {
        for (int64_t j = 0; j < kPanel; ++j) to[j] = widen(row[j]);
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
  for (int64_t i = 0; i < p.count; ++i) {
    for (int64_t j = 0; j < p.width; ++j) {
      panel[(i / 2 * kPanel + j) * 2 + i % 2] = forward ? w[(p.first + j) * k + p.from + i] : w[(p.from + i) * k + p.first + j];
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
    for (size_t i = 0; i < out.size(); ++i) out[i] = from_bf16(from[i]);
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
