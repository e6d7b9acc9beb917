// Packing and the loop over panels; the arithmetic is in kernels_impl.inl.
//
// Work is split over panels of 32 outputs, never over k. Rows go in blocks of kRowBlock, so that
// a block of activations stays in the second-level cache while a part's panels pass over it.
#include "tensor/matmul.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "tensor/f16.h"
#include "tensor/kernels.h"
#include "tensor/memory.h"
#include "tensor/ops.h"

namespace colony::tensor {
namespace {

constexpr int64_t kRowBlock = 96;


uint64_t panel_bytes(WeightType type, int64_t k) {
  switch (type) {
    case WeightType::kF32: return static_cast<uint64_t>(k) * kPanel * 4;
    case WeightType::kBf16: return static_cast<uint64_t>(round_up(k, 2)) * kPanel * 2;
    case WeightType::kInt8: return static_cast<uint64_t>(round_up(k, kGroup) / kGroup) * kInt8GroupBytes;
    case WeightType::kInt4: return static_cast<uint64_t>(round_up(k, kGroup) / kGroup) * kInt4GroupBytes;
  }
  return 0;
}

// Where output j's weight at place i < kGroup stands inside a group: pairs of k for 16-bit products,
// fours for 8-bit ones; of int4, two pairs or fours share their bytes, the first in the lower halves.
int64_t together(Activations activations) { return activations == Activations::kGroup8 ? 4 : 2; }
int64_t int8_at(Activations activations, int64_t i, int64_t j) {
  const int64_t few = together(activations);
  return (i / few * kPanel + j) * few + i % few;
}
int64_t int4_at(Activations activations, int64_t i, int64_t j) {
  const int64_t few = together(activations);
  return (i / (2 * few) * kPanel + j) * few + i % few;
}
bool int4_above(Activations activations, int64_t i) { return i / together(activations) % 2 == 1; }

// One output's weights of one group: the scale and least value it is stored with, and its q.
struct Group {
  uint16_t d = 0, m = 0;
};
constexpr int kLanes = 8;  // sums in this many parts, so that the compiler may use registers of them
float total(const float (&lanes)[kLanes]) {
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

// A group to be fitted; places past the end count 0.
struct Fit {
  alignas(32) float w[kGroup] = {};
  alignas(32) float counts[kGroup] = {};
  alignas(32) float q[kGroup] = {};

  // The nearest of 0…15 for w ≈ d q + m; a NaN becomes 0.
  void round(float d, float m) {
    const float inverse = d != 0 ? 1.0f / d : 0.0f;
    for (int i = 0; i < kGroup; ++i) {
      const float steps = (w[i] - m) * inverse, above = steps > 0 ? steps : 0.0f;
      q[i] = static_cast<float>(static_cast<int>((above < 15 ? above : 15.0f) + 0.5f));
    }
  }
  float squared_error(float d, float m) const {
    float sum[kLanes] = {};
    for (int i = 0; i < kGroup; i += kLanes) {
      for (int l = 0; l < kLanes; ++l) {
        const float off = w[i + l] - (d * q[i + l] + m);
        sum[l] += counts[i + l] * off * off;
      }
    }
    return total(sum);
  }
  // The least squares of d and m for the q there are; false when these are all alike.
  bool solve(float* d, float* m) const {
    float n[kLanes] = {}, sum_q[kLanes] = {}, sum_qq[kLanes] = {}, sum_w[kLanes] = {}, sum_qw[kLanes] = {};
    for (int i = 0; i < kGroup; i += kLanes) {
      for (int l = 0; l < kLanes; ++l) {
        const float steps = counts[i + l] * q[i + l];
        n[l] += counts[i + l];
        sum_q[l] += steps;
        sum_qq[l] += steps * q[i + l];
        sum_w[l] += counts[i + l] * w[i + l];
        sum_qw[l] += steps * w[i + l];
      }
    }
    const float size = total(n), spread = size * total(sum_qq) - total(sum_q) * total(sum_q);
    if (!(spread > 0)) return false;
    *d = (size * total(sum_qw) - total(sum_q) * total(sum_w)) / spread;
    *m = (total(sum_w) - *d * total(sum_q)) / size;
    return true;
  }
};

// Least squares over d and m, from several starts: the group's own range and narrower ones, improved by
// fitting d and m to the q they gave. Never worse than the range alone, which finds weights that are
// exactly d q + m.
Group quantize_group4(const float* w, int64_t count, uint8_t* q) {
  Fit fit;
  float low = w[0], high = w[0];
  for (int64_t i = 0; i < count; ++i) {
    fit.w[i] = w[i];
    fit.counts[i] = 1;
    low = std::min(low, w[i]);
    high = std::max(high, w[i]);
  }
  Group best;
  float least = 0;
  const auto take = [&](float d, float m, bool first) {
    const Group group{to_f16(d), to_f16(m)};
    d = from_f16(group.d), m = from_f16(group.m);
    fit.round(d, m);
    const float error = fit.squared_error(d, m);
    if (!first && !(error < least)) return;
    least = error;
    best = group;
    for (int64_t i = 0; i < count; ++i) q[i] = static_cast<uint8_t>(fit.q[i]);
  };
  take((high - low) / 15.0f, low, true);
  for (const float narrow : {0.0f, 0.06f, 0.12f}) {
    if (!(least > 0)) break;
    float d = (high - low) * (1 - 2 * narrow) / 15.0f, m = low + (high - low) * narrow;
    fit.round(d, m);
    if (!fit.solve(&d, &m)) continue;
    fit.round(d, m);
    if (fit.solve(&d, &m)) take(d, m, false);
  }
  return best;
}

}  // namespace

std::string_view weight_type_name(WeightType type) {
  switch (type) {
    case WeightType::kF32: return "f32";
    case WeightType::kBf16: return "bf16";
    case WeightType::kInt8: return "int8";
    case WeightType::kInt4: return "int4";
  }
  return "?";
}

struct PackedMatrix::State {
  WeightType type = WeightType::kF32;
  Activations activations = Activations::kRow13;
  int64_t n = 0, k = 0, panels = 0;
  uint64_t stride = 0;
  Memory memory;           // empty where the bytes are another's
  std::byte* data = nullptr;

  uint64_t bytes() const { return static_cast<uint64_t>(panels) * stride; }
  std::byte* panel(int64_t p) const { return data + static_cast<uint64_t>(p) * stride; }
};

PackedMatrix::PackedMatrix() = default;
PackedMatrix::PackedMatrix(PackedMatrix&&) noexcept = default;
PackedMatrix& PackedMatrix::operator=(PackedMatrix&&) noexcept = default;
PackedMatrix::~PackedMatrix() = default;

uint64_t PackedMatrix::bytes_for(WeightType type, int64_t n, int64_t k) {
  return static_cast<uint64_t>(round_up(n, kPanel) / kPanel) * panel_bytes(type, k);
}

PackedMatrix PackedMatrix::pack(WeightType type, int64_t n, int64_t k, const RowSource& rows,
                                ThreadPool& pool, const PackOptions& options) {
  CHECK(n > 0 && k > 0, "a matrix has rows and columns");
  PackedMatrix matrix;
  matrix.state_ = std::make_unique<State>();
  State& s = *matrix.state_;
  s.type = type;
  const Activations activations = s.activations = options.activations;
  s.n = n;
  s.k = k;
  s.panels = round_up(n, kPanel) / kPanel;
  s.stride = panel_bytes(type, k);
  if (options.memory.empty()) s.memory = Memory(s.bytes());
  s.data = options.memory.empty() ? s.memory.data() : options.memory.data();
  CHECK(options.memory.empty() || (options.memory.size() == s.bytes() && reinterpret_cast<uintptr_t>(s.data) % 64 == 0), "the memory of a matrix");
  const Kernels& kernel = kernels();
  pool.run(static_cast<int>(s.panels), [&](int p) {
    std::vector<float> row(static_cast<size_t>(k));
    const int q_most = type == WeightType::kInt4 ? 15 : 255;
    const bool may_be_stored = (type == WeightType::kInt4 || type == WeightType::kInt8) && options.stored && k % kGroup == 0;
    const auto groups = static_cast<size_t>(may_be_stored ? k / kGroup : 0);
    std::vector<uint16_t> scales(groups), leasts(groups);
    std::vector<uint8_t> steps(groups * kGroup);
    std::byte* panel = s.panel(p);
    for (int64_t j = 0; j < kPanel && p * kPanel + j < n; ++j) {
      const bool is_stored = may_be_stored && options.stored(p * kPanel + j, {scales, leasts, steps, q_most});
      if (!is_stored) rows(p * kPanel + j, row);
      switch (type) {
        case WeightType::kF32:
          for (int64_t i = 0; i < k; ++i) reinterpret_cast<float*>(panel)[i * kPanel + j] = row[static_cast<size_t>(i)];
          break;
        case WeightType::kBf16:
          for (int64_t i = 0; i < k; ++i) {
            reinterpret_cast<uint16_t*>(panel)[(i / 2 * kPanel + j) * 2 + i % 2] =
                to_bf16(row[static_cast<size_t>(i)]);
          }
          break;
        case WeightType::kInt8:
          for (int64_t g = 0; g * kGroup < k; ++g) {
            std::byte* group = panel + g * kInt8GroupBytes;
            auto* own = reinterpret_cast<uint16_t*>(group + kGroup * kPanel);
            uint8_t fitted[kGroup];
            const uint8_t* q = fitted;
            if (is_stored) {
              q = steps.data() + g * kGroup;
              own[j] = scales[static_cast<size_t>(g)];
              own[kPanel + j] = leasts[static_cast<size_t>(g)];
            } else {
              const float* w = row.data() + g * kGroup;
              float last[kGroup];
              if (const int64_t count = k - g * kGroup; count < kGroup) {  // filled up with what leaves the range as it is
                for (int64_t i = 0; i < kGroup; ++i) last[i] = w[i < count ? i : 0];
                w = last;
              }
              kernel.quantize_group8(w, fitted, own + j, own + kPanel + j);
            }
            const auto few = static_cast<size_t>(together(activations));
            for (int64_t i = 0; i < kGroup; i += static_cast<int64_t>(few)) {
              std::byte* to = group + int8_at(activations, i, j);
              few == 4 ? std::memcpy(to, q + i, 4) : std::memcpy(to, q + i, 2);
            }
          }
          break;
        case WeightType::kInt4:
          for (int64_t g = 0; g * kGroup < k; ++g) {
            std::byte* group = panel + g * kInt4GroupBytes;
            uint8_t fitted[kGroup];
            const uint8_t* q = fitted;
            const int64_t count = std::min<int64_t>(kGroup, k - g * kGroup);
            Group scale;
            if (is_stored) {
              const auto at = static_cast<size_t>(g);
              scale = {scales[at], leasts[at]};
              q = steps.data() + g * kGroup;
            } else {
              scale = quantize_group4(row.data() + g * kGroup, count, fitted);
            }
            for (int64_t i = 0; i < count; ++i) {
              group[int4_at(activations, i, j)] |= static_cast<std::byte>((q[i] & 15) << (int4_above(activations, i) ? 4 : 0));
            }
            auto* own = reinterpret_cast<uint16_t*>(group + kGroup * kPanel / 2);
            own[j] = scale.d;
            own[kPanel + j] = scale.m;
          }
          break;
      }
    }
  });
  return matrix;
}

WeightType PackedMatrix::type() const { return state_->type; }
int64_t PackedMatrix::n() const { return state_->n; }
int64_t PackedMatrix::k() const { return state_->k; }
uint64_t PackedMatrix::bytes() const { return state_->bytes(); }

void PackedMatrix::unpack_row(int64_t n, std::span<float> out) const {
  const State& s = *state_;
  CHECK(n >= 0 && n < s.n && static_cast<int64_t>(out.size()) == s.k, "row and width of the matrix");
  const std::byte* panel = s.panel(n / kPanel);
  const int64_t j = n % kPanel;
  for (int64_t i = 0; i < s.k; ++i) {
    float& value = out[static_cast<size_t>(i)];
    switch (s.type) {
      case WeightType::kF32: value = reinterpret_cast<const float*>(panel)[i * kPanel + j]; break;
      case WeightType::kBf16:
        value = from_bf16(reinterpret_cast<const uint16_t*>(panel)[(i / 2 * kPanel + j) * 2 + i % 2]);
        break;
      case WeightType::kInt8: {
        const std::byte* group = panel + i / kGroup * kInt8GroupBytes;
        const int64_t at = i % kGroup;
        const auto q = reinterpret_cast<const uint8_t*>(group)[int8_at(s.activations, at, j)];
        const auto* scales = reinterpret_cast<const uint16_t*>(group + kGroup * kPanel);
        value = from_f16(scales[j]) * static_cast<float>(q) + from_f16(scales[kPanel + j]);
        break;
      }
      case WeightType::kInt4: {
        const std::byte* group = panel + i / kGroup * kInt4GroupBytes;
        const int64_t at = i % kGroup;
        const auto q = std::to_integer<int>(group[int4_at(s.activations, at, j)] >> (int4_above(s.activations, at) ? 4 : 0)) & 15;
        const auto* scales = reinterpret_cast<const uint16_t*>(group + kGroup * kPanel / 2);
        value = from_f16(scales[j]) * static_cast<float>(q) + from_f16(scales[kPanel + j]);
        break;
      }
    }
  }
}

struct MatmulScratch::State {
  std::vector<int16_t> p;       // 13-bit activations: [rows, k padded]
  std::vector<int8_t> p8;       // 8-bit ones
  std::vector<float> scale;     // 13-bit activations: [rows]; 8-bit: [rows, groups]
  std::vector<float> sums;      // [rows, groups]
  std::vector<uint16_t> halves; // bf16: [rows, k padded]
};

MatmulScratch::MatmulScratch() : state_(std::make_unique<State>()) {}
MatmulScratch::~MatmulScratch() = default;
MatmulScratch::MatmulScratch(MatmulScratch&&) noexcept = default;
MatmulScratch& MatmulScratch::operator=(MatmulScratch&&) noexcept = default;
uint64_t MatmulScratch::bytes() const {
  return state_->p.capacity() * 2 + state_->p8.capacity() + (state_->scale.capacity() + state_->sums.capacity()) * 4 +
         state_->halves.capacity() * 2;
}

class MatmulAccess {
 public:
  static const auto& weights(const PackedMatrix& w) { return *w.state_; }
  static auto& scratch(MatmulScratch& s) { return *s.state_; }
};

void matmul(const MatmulArgs& args, const PackedMatrix& w, ThreadPool& pool, MatmulScratch& scratch) {
  const auto& weights = MatmulAccess::weights(w);
  auto& own = MatmulAccess::scratch(scratch);
  const int64_t rows = args.rows, k = weights.k, n = weights.n;
  CHECK(rows > 0 && static_cast<int64_t>(args.x.size()) == rows * k &&
            static_cast<int64_t>(args.y.size()) == rows * n &&
            (args.bias.empty() || static_cast<int64_t>(args.bias.size()) == n),
        "matmul's arrays must have their sizes");
  const Kernels& kernel = kernels();

  const bool grouped = weights.type == WeightType::kInt8 || weights.type == WeightType::kInt4;
  const bool x8 = grouped && weights.activations == Activations::kGroup8;
  PanelArgs shared;
  shared.k = k;
  if (weights.type == WeightType::kF32) {
    shared.x = args.x.data();
    shared.ldx = k;
  } else {
    const int64_t padded = round_up(k, grouped ? kGroup : 2);
    const auto size = static_cast<size_t>(rows * padded);
    if (grouped) {
      const size_t scales = x8 ? size / kGroup : static_cast<size_t>(rows);
      if (x8 && own.p8.size() < size) own.p8.resize(size);
      if (!x8 && own.p.size() < size) own.p.resize(size);
      if (own.sums.size() < size / kGroup) own.sums.resize(size / kGroup);
      if (own.scale.size() < scales) own.scale.resize(scales);
    } else if (own.halves.size() < size) {
      own.halves.resize(size);
    }
    const auto prepare = [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; ++r) {
        const float* x = args.x.data() + r * k;
        if (x8) {
          kernel.quantize_row_x8(x, k, own.p8.data() + r * padded, own.scale.data() + r * (padded / kGroup),
                                 own.sums.data() + r * (padded / kGroup));
        } else if (grouped) {
          kernel.quantize_row(x, k, own.p.data() + r * padded, own.scale.data() + r,
                              own.sums.data() + r * (padded / kGroup));
        } else {
          kernel.round_row_bf16(x, k, own.halves.data() + r * padded);
        }
      }
    };
    if (rows < 16) {
      prepare(0, rows);
    } else {
      const auto parts = static_cast<int>(std::min<int64_t>(rows / 8, 4L * pool.threads()));
      pool.run(parts, [&](int i) { prepare(rows * i / parts, rows * (i + 1) / parts); });
    }
    shared.x = x8 ? static_cast<const void*>(own.p8.data()) : grouped ? static_cast<const void*>(own.p.data()) : own.halves.data();
    shared.ldx = padded;
    shared.k = padded;
    shared.row_scale = shared.group_scale = own.scale.data();
    shared.group_sums = own.sums.data();
  }

  const int64_t x_row_bytes = shared.ldx * (weights.type == WeightType::kF32 ? 4 : x8 ? 1 : 2);
  const int64_t groups = shared.k / kGroup;
  const auto parts = static_cast<int>(
      pool.threads() == 1 ? 1 : std::min<int64_t>(weights.panels, (rows < 16 ? 4L : 8L) * pool.threads()));
  pool.run(parts, [&](int part) {
    alignas(64) float tile[kRowBlock * kPanel];
    const int64_t first = weights.panels * part / parts, last = weights.panels * (part + 1) / parts;
    for (int64_t row = 0; row < rows; row += kRowBlock) {
      PanelArgs a = shared;
      a.rows = std::min(kRowBlock, rows - row);
      a.x = static_cast<const std::byte*>(shared.x) + row * x_row_bytes;
      if (grouped) {
        a.row_scale += row;
        a.group_scale += row * groups;
        a.group_sums += row * groups;
      }
      for (int64_t p = first; p < last; ++p) {
        const int64_t width = std::min<int64_t>(kPanel, n - p * kPanel);
        const bool direct = width == kPanel && args.bias.empty() && !args.accumulate;
        a.panel = weights.panel(p);
        a.y = direct ? args.y.data() + row * n + p * kPanel : tile;
        a.ldy = direct ? n : kPanel;
        switch (weights.type) {
          case WeightType::kF32: kernel.panel_f32(a); break;
          case WeightType::kBf16: kernel.panel_bf16(a); break;
          case WeightType::kInt4: x8 ? kernel.panel_int4_x8(a) : kernel.panel_int4(a); break;
          case WeightType::kInt8: x8 ? kernel.panel_int8_x8(a) : kernel.panel_int8(a); break;
        }
        if (direct) continue;
        for (int64_t r = 0; r < a.rows; ++r) {
          float* y = args.y.data() + (row + r) * n + p * kPanel;
          float* value = tile + r * kPanel;
          if (!args.bias.empty()) {
            const float* bias = args.bias.data() + p * kPanel;
            for (int64_t j = 0; j < width; ++j) value[j] += bias[j];
          }
          if (args.accumulate) {
            for (int64_t j = 0; j < width; ++j) y[j] += value[j];
          } else {
            std::memcpy(y, value, static_cast<size_t>(width) * sizeof(float));
          }
        }
      }
    }
  });
}

}  // namespace colony::tensor
