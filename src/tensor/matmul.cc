// Packing and the loop over panels; the arithmetic is in kernels_impl.inl.
//
// Work is split over panels of 32 outputs, never over k. Rows go in blocks of kRowBlock, so that
// a block of activations stays in the second-level cache while a part's panels pass over it.
#include "tensor/matmul.h"

#include <immintrin.h>

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
static_assert(kRowBlock % kTileRows == 0, "rows are left over in the last block alone");

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

// [32 outputs, a group's k] of bytes, `stride` from an output to the next, into [k / few, 32 outputs, few].
// By SSE2, which every x86-64 has.
void interleave(const uint8_t* q, size_t stride, int64_t few, uint8_t* out) {
  const auto load = [&](size_t output, size_t byte) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(q + output * stride + byte)); };
  const auto store = [&](size_t row, size_t byte, __m128i x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(out + row * kPanel * static_cast<size_t>(few) + byte), x); };
  for (size_t k = 0; k < kGroup; k += 16) {
    if (few == 4) {
      for (size_t j = 0; j < kPanel; j += 4) {
        const __m128i a = load(j, k), b = load(j + 1, k), c = load(j + 2, k), d = load(j + 3, k);
        const __m128i ab0 = _mm_unpacklo_epi32(a, b), ab1 = _mm_unpackhi_epi32(a, b), cd0 = _mm_unpacklo_epi32(c, d), cd1 = _mm_unpackhi_epi32(c, d);
        store(k / 4, 4 * j, _mm_unpacklo_epi64(ab0, cd0));
        store(k / 4 + 1, 4 * j, _mm_unpackhi_epi64(ab0, cd0));
        store(k / 4 + 2, 4 * j, _mm_unpacklo_epi64(ab1, cd1));
        store(k / 4 + 3, 4 * j, _mm_unpackhi_epi64(ab1, cd1));
      }
      continue;
    }
    for (size_t j = 0; j < kPanel; j += 8) {
      __m128i pairs[8], fours[8];  // of outputs: k, k + 2, … of outputs 0, 1; of 0 … 3; of 0 … 7
      for (size_t i = 0; i < 4; ++i) {
        const __m128i a = load(j + 2 * i, k), b = load(j + 2 * i + 1, k);
        pairs[2 * i] = _mm_unpacklo_epi16(a, b);
        pairs[2 * i + 1] = _mm_unpackhi_epi16(a, b);
      }
      for (size_t half = 0; half < 2; ++half) {
        for (size_t i = 0; i < 2; ++i) {
          const __m128i a = pairs[4 * i + half], b = pairs[4 * i + 2 + half];
          fours[4 * half + i] = _mm_unpacklo_epi32(a, b);
          fours[4 * half + 2 + i] = _mm_unpackhi_epi32(a, b);
        }
      }
      for (size_t i = 0; i < 4; ++i) {
        store(k / 2 + 2 * i, 2 * j, _mm_unpacklo_epi64(fours[2 * i], fours[2 * i + 1]));
        store(k / 2 + 2 * i + 1, 2 * j, _mm_unpackhi_epi64(fours[2 * i], fours[2 * i + 1]));
      }
    }
  }
}

// One panel of int8 or int4: outputs first … first + outputs - 1; those that are missing stay zero.
void pack_groups(std::byte* panel, WeightType type, int64_t k, int64_t first, int64_t outputs, const RowSource& rows, const PackOptions& options) {
  const bool int4 = type == WeightType::kInt4;
  const bool may_be_stored = options.stored && k % kGroup == 0;
  const auto groups = static_cast<size_t>(round_up(k, kGroup) / kGroup), stride = groups * kGroup;
  std::vector<uint8_t> steps(kPanel * stride);
  std::vector<uint16_t> scales(kPanel * groups), leasts(kPanel * groups);
  std::vector<float> row;
  for (int64_t j = 0; j < outputs; ++j) {
    const auto q = std::span(steps).subspan(static_cast<size_t>(j) * stride, stride);
    const auto d = std::span(scales).subspan(static_cast<size_t>(j) * groups, groups), m = std::span(leasts).subspan(static_cast<size_t>(j) * groups, groups);
    if (may_be_stored && options.stored(first + j, {d, m, q, int4 ? 15 : 255})) continue;
    row.resize(static_cast<size_t>(k));
    rows(first + j, row);
    for (size_t g = 0; g < groups; ++g) {
      const float* w = row.data() + g * kGroup;
      uint8_t* own = q.data() + g * kGroup;
      const int64_t count = std::min<int64_t>(kGroup, k - static_cast<int64_t>(g) * kGroup);
      if (int4) {
        const Group group = quantize_group4(w, count, own);
        d[g] = group.d, m[g] = group.m;
        continue;
      }
      float last[kGroup];
      if (count < kGroup) {  // filled up with what leaves the range as it is
        for (int64_t i = 0; i < kGroup; ++i) last[i] = w[i < count ? i : 0];
        w = last;
      }
      kernels().quantize_group8(w, own, &d[g], &m[g]);
    }
  }
  const int64_t few = together(options.activations);
  for (size_t g = 0; g < groups; ++g) {
    auto* to = reinterpret_cast<uint8_t*>(panel) + g * (int4 ? kInt4GroupBytes : kInt8GroupBytes);
    if (int4) {
      uint8_t bytes[kGroup * kPanel];
      interleave(steps.data() + g * kGroup, stride, few, bytes);
      const int64_t half = few * kPanel;  // a row of fours or pairs, beside the next one in one byte
      for (int64_t i = 0; i < kGroup * kPanel / 2; ++i) {
        const int64_t from = i / half * 2 * half + i % half;
        to[i] = static_cast<uint8_t>((bytes[from] & 15) | bytes[from + half] << 4);
      }
      to += kGroup * kPanel / 2;
    } else {
      interleave(steps.data() + g * kGroup, stride, few, to);
      to += kGroup * kPanel;
    }
    auto* own = reinterpret_cast<uint16_t*>(to);
    for (size_t j = 0; j < kPanel; ++j) own[j] = scales[j * groups + g], own[kPanel + j] = leasts[j * groups + g];
  }
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
  const WeightType type;
  const Activations activations;
  const int64_t n, k, panels;
  const uint64_t stride;
  Memory memory;           // empty where the bytes are another's
  const std::byte* data = nullptr;

  State(WeightType type_is, int64_t n_is, int64_t k_is, Activations activations_are)
      : type(type_is), activations(activations_are), n(n_is), k(k_is), panels(round_up(n_is, kPanel) / kPanel), stride(panel_bytes(type_is, k_is)) {
    CHECK(n > 0 && k > 0, "a matrix has rows and columns");
  }
  void take(std::span<const std::byte> packed) {
    CHECK(packed.size() == bytes() && reinterpret_cast<uintptr_t>(packed.data()) % 64 == 0, "the memory of a matrix");
    data = packed.data();
  }
  uint64_t bytes() const { return static_cast<uint64_t>(panels) * stride; }
  const std::byte* panel(int64_t p) const { return data + static_cast<uint64_t>(p) * stride; }
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
  PackedMatrix matrix;
  matrix.state_ = std::make_unique<State>(type, n, k, options.activations);
  State& s = *matrix.state_;
  if (options.memory.empty()) s.memory = Memory(s.bytes());
  std::byte* const data = options.memory.empty() ? s.memory.data() : options.memory.data();
  s.take(options.memory.empty() ? std::span<const std::byte>(data, s.bytes()) : options.memory);
  const bool grouped = type == WeightType::kInt8 || type == WeightType::kInt4;
  pool.run(static_cast<int>(s.panels), [&](int p) {
    const int64_t first = int64_t{p} * kPanel, outputs = std::min<int64_t>(kPanel, n - first);
    std::byte* const panel = data + static_cast<uint64_t>(p) * s.stride;
    if (grouped) {
      pack_groups(panel, type, k, first, outputs, rows, options);
      return;
    }
    std::vector<float> row(static_cast<size_t>(k));
    for (int64_t j = 0; j < outputs; ++j) {
      rows(first + j, row);
      for (int64_t i = 0; i < k; ++i) {
        const float value = row[static_cast<size_t>(i)];
        if (type == WeightType::kF32) reinterpret_cast<float*>(panel)[i * kPanel + j] = value;
        else reinterpret_cast<uint16_t*>(panel)[(i / 2 * kPanel + j) * 2 + i % 2] = to_bf16(value);
      }
    }
  });
  return matrix;
}

PackedMatrix PackedMatrix::over(WeightType type, int64_t n, int64_t k, Activations activations, std::span<const std::byte> packed) {
  PackedMatrix matrix;
  matrix.state_ = std::make_unique<State>(type, n, k, activations);
  matrix.state_->take(packed);
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
  std::vector<uint8_t> tile_x;  // p and sums in blocks of rows, as TileKernels takes them
  std::vector<float> tile_sums;
};

MatmulScratch::MatmulScratch() : state_(std::make_unique<State>()) {}
MatmulScratch::~MatmulScratch() = default;
MatmulScratch::MatmulScratch(MatmulScratch&&) noexcept = default;
MatmulScratch& MatmulScratch::operator=(MatmulScratch&&) noexcept = default;
uint64_t MatmulScratch::bytes() const {
  const State& s = *state_;
  return s.p.capacity() * 2 + s.p8.capacity() + (s.scale.capacity() + s.sums.capacity() + s.tile_sums.capacity()) * 4 +
         s.halves.capacity() * 2 + s.tile_x.capacity();
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
  const TileKernels* tiles = grouped && !x8 && rows >= kTilesFrom ? kernel.tiles : nullptr;
  const bool bytes = x8 && (weights.type == WeightType::kInt4 || kernel.quantize_row_x8_words == nullptr);
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
      if (bytes && own.p8.size() < size) own.p8.resize(size);
      if (!bytes && own.p.size() < size) own.p.resize(size);
      if (own.sums.size() < size / kGroup) own.sums.resize(size / kGroup);
      if (own.scale.size() < scales) own.scale.resize(scales);
      if (tiles != nullptr) {
        const auto whole = static_cast<size_t>(round_up(rows, kTileRows) * padded);
        if (own.tile_x.size() < 2 * whole) own.tile_x.resize(2 * whole);
        if (own.tile_sums.size() < whole / kGroup) own.tile_sums.resize(whole / kGroup);
      }
    } else if (own.halves.size() < size) {
      own.halves.resize(size);
    }
    const auto prepare = [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; ++r) {
        const float* x = args.x.data() + r * k;
        const int64_t groups = padded / kGroup;
        if (bytes) {
          kernel.quantize_row_x8(x, k, own.p8.data() + r * padded, own.scale.data() + r * groups, own.sums.data() + r * groups);
        } else if (x8) {
          kernel.quantize_row_x8_words(x, k, own.p.data() + r * padded, own.scale.data() + r * groups, own.sums.data() + r * groups);
        } else if (grouped) {
          kernel.quantize_row(x, k, own.p.data() + r * padded, own.scale.data() + r, own.sums.data() + r * groups);
        } else {
          kernel.round_row_bf16(x, k, own.halves.data() + r * padded);
        }
        if (tiles == nullptr) continue;
        const int64_t block = r / kTileRows * kTileRows, within = r % kTileRows;
        tiles->place(own.p.data() + r * padded, padded, within, own.tile_x.data() + 2 * block * padded);
        for (int64_t g = 0; g < groups; ++g) {
          own.tile_sums[static_cast<size_t>(block * groups + g * kTileRows + within)] = own.sums[static_cast<size_t>(r * groups + g)];
        }
      }
    };
    if (rows < 16) {
      prepare(0, rows);
    } else {
      const auto parts = static_cast<int>(std::min<int64_t>(rows / 8, 4L * pool.threads()));
      pool.run(parts, [&](int i) { prepare(rows * i / parts, rows * (i + 1) / parts); });
    }
    shared.x = bytes ? static_cast<const void*>(own.p8.data()) : grouped ? static_cast<const void*>(own.p.data()) : own.halves.data();
    shared.ldx = padded;
    shared.k = padded;
    shared.row_scale = shared.group_scale = own.scale.data();
    shared.group_sums = own.sums.data();
    if (tiles != nullptr) {
      shared.x = own.tile_x.data();
      shared.group_sums = own.tile_sums.data();
    }
  }

  const auto panel = [&] {
    switch (weights.type) {
      case WeightType::kF32: return kernel.panel_f32;
      case WeightType::kBf16: return kernel.panel_bf16;
      case WeightType::kInt4: return tiles != nullptr ? tiles->panel_int4 : x8 ? kernel.panel_int4_x8 : kernel.panel_int4;
      case WeightType::kInt8: return tiles != nullptr ? tiles->panel_int8 : x8 ? kernel.panel_int8_x8 : kernel.panel_int8;
    }
    return kernel.panel_f32;
  }();
  const int64_t x_row_bytes = shared.ldx * (weights.type == WeightType::kF32 ? 4 : bytes ? 1 : 2);
  const int64_t groups = shared.k / kGroup;
  // Small parts leave nobody waiting at the end; with many blocks of rows a part's panels share each of them.
  const int64_t a_thread = rows <= kRowBlock ? 32 : 8;
  const auto parts = static_cast<int>(pool.threads() == 1 ? 1 : std::min<int64_t>(weights.panels, a_thread * pool.threads()));
  pool.run(parts, [&](int part) {
    alignas(64) float tile[kRowBlock * kPanel];
    if (tiles != nullptr) tiles->configure();
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
        a.ahead = p + 1 < last || pool.goes_on(part, parts) ? static_cast<int64_t>(weights.stride) : 0;
        a.y = direct ? args.y.data() + row * n + p * kPanel : tile;
        a.ldy = direct ? n : kPanel;
        panel(a);
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
    if (tiles != nullptr) tiles->release();
  });
}

}  // namespace colony::tensor
