#include "tensor/ops.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "tensor/kernels.h"

namespace colony::tensor {
namespace {

// Below this many numbers a call costs less than waking another thread.
constexpr int64_t kWorthSplitting = 6144;

// Calls body(from, to) over [0, rows), split over the pool when it pays.
template <typename Body>
void over_rows(int64_t rows, int64_t numbers, ThreadPool& pool, const Body& body) {
  const int64_t parts = std::min<int64_t>(rows, numbers < kWorthSplitting ? 1 : 2L * pool.threads());
  if (parts <= 1) return body(0, rows);
  pool.run(static_cast<int>(parts),
           [&](int i) { body(rows * i / parts, rows * (i + 1) / parts); });
}

// y = act(gate) * up, by the kernel of one row.
void gate_mul(decltype(Kernels::silu_mul_row) row, std::span<const float> gate_up, int64_t rows, int64_t f, std::span<float> y, ThreadPool& pool) {
  CHECK(static_cast<int64_t>(gate_up.size()) == rows * 2 * f && static_cast<int64_t>(y.size()) == rows * f, "a gate's sizes");
  over_rows(rows, rows * f, pool, [&](int64_t from, int64_t to) {
    for (int64_t r = from; r < to; ++r) {
      const float* gate = gate_up.data() + r * 2 * f;
      row(gate, gate + f, f, y.data() + r * f);
    }
  });
}

}  // namespace

void rms_norm(std::span<const float> x, std::span<const float> w, float eps, std::span<float> y,
              ThreadPool& pool) {
  const auto dim = static_cast<int64_t>(w.size());
  CHECK(dim > 0 && x.size() % w.size() == 0 && x.size() == y.size(), "rms_norm's sizes");
  const int64_t rows = static_cast<int64_t>(x.size()) / dim;
  over_rows(rows, static_cast<int64_t>(x.size()), pool, [&](int64_t from, int64_t to) {
    for (int64_t r = from; r < to; ++r) {
      kernels().rms_norm_row(x.data() + r * dim, w.data(), dim, eps, y.data() + r * dim);
    }
  });
}

void head_rms_norm(std::span<float> x, int64_t rows, int64_t row_stride, int heads, std::span<const float> w, float eps,
                   ThreadPool& pool) {
  const auto dim = static_cast<int64_t>(w.size());
  CHECK(dim > 0 && heads * dim <= row_stride && static_cast<int64_t>(x.size()) >= (rows - 1) * row_stride + heads * dim, "head_rms_norm's sizes");
  over_rows(rows, rows * heads * dim, pool, [&](int64_t from, int64_t to) {
    for (int64_t r = from; r < to; ++r) {
      for (int h = 0; h < heads; ++h) {
        float* head = x.data() + r * row_stride + h * dim;
        kernels().rms_norm_row(head, w.data(), dim, eps, head);
      }
    }
  });
}

void rope(std::span<float> x, int64_t row_stride, int heads, int head_dim,
          std::span<const float> cos, std::span<const float> sin, int half, ThreadPool& pool) {
  const int64_t rows = half == 0 ? 0 : static_cast<int64_t>(cos.size()) / half;
  CHECK(2 * half <= head_dim && cos.size() == sin.size() &&
            (rows == 0 || static_cast<int64_t>(x.size()) >= (rows - 1) * row_stride + heads * head_dim),
        "rope's sizes");
  over_rows(rows, rows * heads * head_dim, pool, [&](int64_t from, int64_t to) {
    for (int64_t r = from; r < to; ++r) {
      const float* c = cos.data() + r * half;
      const float* s = sin.data() + r * half;
      for (int h = 0; h < heads; ++h) {
        float* a = x.data() + r * row_stride + h * head_dim;
        float* b = a + half;
        for (int i = 0; i < half; ++i) {
          const float left = a[i], right = b[i];
          a[i] = left * c[i] - right * s[i];
          b[i] = right * c[i] + left * s[i];
        }
      }
    }
  });
}

void silu_mul(std::span<const float> gate_up, int64_t rows, int64_t f, std::span<float> y,
              ThreadPool& pool) {
  gate_mul(kernels().silu_mul_row, gate_up, rows, f, y, pool);
}

void gelu_mul(std::span<const float> gate_up, int64_t rows, int64_t f, std::span<float> y, ThreadPool& pool) {
  gate_mul(kernels().gelu_mul_row, gate_up, rows, f, y, pool);
}

void scale_in_place(std::span<float> x, float factor) {
  for (float& value : x) value *= factor;
}

void add_in_place(std::span<float> x, std::span<const float> y, ThreadPool& pool) {
  CHECK(x.size() == y.size(), "add_in_place's sizes");
  constexpr int64_t kChunk = 4096;
  const auto size = static_cast<int64_t>(x.size());
  over_rows((size + kChunk - 1) / kChunk, size, pool, [&](int64_t from, int64_t to) {
    const int64_t begin = from * kChunk, end = std::min(size, to * kChunk);
    kernels().add_row(x.data() + begin, y.data() + begin, end - begin);
  });
}

uint16_t to_bf16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

float from_bf16(uint16_t x) { return std::bit_cast<float>(static_cast<uint32_t>(x) << 16); }

}  // namespace colony::tensor
