// Every gradient against central differences of an f64 forward twin, at odd sizes; accumulation; threads.
#include "tensor/backward.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numbers>
#include <vector>

#include "base/rng.h"
#include "tensor/compare.h"
#include "tensor/row_matrix.h"
#include "tensor/ops.h"
#include "tensor/sequence_attention.h"

namespace colony::tensor {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

Floats noise(int64_t n, uint16_t stream, double spread = 1, double shift = 0) {
  Floats x(static_cast<size_t>(n));
  for (size_t row = 0; row * 1024 < x.size(); ++row) {  // a stream has an end
    RngStream rng(11, static_cast<uint64_t>(n), static_cast<uint32_t>(row), stream);
    for (size_t i = row * 1024; i < std::min(x.size(), (row + 1) * 1024); ++i) x[i] = static_cast<float>(rng.normal() * spread + shift);
  }
  return x;
}
Doubles wide(const Floats& x) { return {x.begin(), x.end()}; }

// d Σ f(x) / dx by central differences in f64.
Doubles differences(Doubles x, const std::function<double(const Doubles&)>& f) {
  Doubles g(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double at = x[i], h = 1e-5;
    x[i] = at + h;
    const double up = f(x);
    x[i] = at - h;
    const double down = f(x);
    x[i] = at;
    g[i] = (up - down) / (2 * h);
  }
  return g;
}
std::string off(const Floats& got, const Doubles& want, double rel) {
  const Doubles g = wide(got);
  return differs<double, double>(g, want, rel);
}

TEST(Backward, RmsNorm) {
  for (const int64_t dim : {1L, 7L, 16L, 37L, 96L}) {
    const int64_t rows = 5;
    const Floats x = noise(rows * dim, 1), w = noise(dim, 2, .3, 1), dy = noise(rows * dim, 3);
    const double eps = 1e-5;
    const auto loss = [&](const Doubles& at) {
      double sum = 0;
      for (int64_t r = 0; r < rows; ++r) {
        double squares = 0;
        for (int64_t i = 0; i < dim; ++i) squares += at[static_cast<size_t>(r * dim + i)] * at[static_cast<size_t>(r * dim + i)];
        const double inverse = 1 / std::sqrt(squares / static_cast<double>(dim) + eps);
        for (int64_t i = 0; i < dim; ++i) {
          const auto j = static_cast<size_t>(r * dim + i);
          sum += at[j] * inverse * static_cast<double>(w[static_cast<size_t>(i)]) * static_cast<double>(dy[j]);
        }
      }
      return sum;
    };
    ThreadPool pool(2);
    const Floats before = noise(rows * dim, 4);
    Floats dx = before;
    rms_norm_backward(x, w, static_cast<float>(eps), dy, dx, pool);
    for (size_t i = 0; i < dx.size(); ++i) dx[i] -= before[i];
    // At dim 1 the gradient is nearly 0 by itself; what is left is the rounding of the sum.
    if (dim > 1) {
      EXPECT_EQ(off(dx, differences(wide(x), loss), 2e-5), "") << dim;
    }
  }
}

double silu(double g) { return g / (1 + std::exp(-g)); }
double gelu(double g) { return 0.5 * g * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (g + 0.044715 * g * g * g))); }

// Of y = act(gate) up.
void check_gate(decltype(&silu_mul_backward) backward, double (*act)(double), int64_t f, Floats gate_up) {
  const int64_t rows = 3;
  const Floats dy = noise(rows * f, 6);
  const auto loss = [&](const Doubles& at) {
    double sum = 0;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < f; ++i) {
        const double g = at[static_cast<size_t>(r * 2 * f + i)], u = at[static_cast<size_t>(r * 2 * f + f + i)];
        sum += act(g) * u * static_cast<double>(dy[static_cast<size_t>(r * f + i)]);
      }
    }
    return sum;
  };
  const Doubles want = differences(wide(gate_up), loss);
  ThreadPool pool(2);
  backward(gate_up, rows, f, dy, pool);
  EXPECT_EQ(off(gate_up, want, 2e-6), "") << f;
}

TEST(Backward, SiluMul) {
  for (const int64_t f : {1L, 15L, 16L, 50L}) check_gate(silu_mul_backward, silu, f, noise(3 * 2 * f, 5, 3));
}

TEST(Backward, GeluMul) {
  for (const int64_t f : {1L, 15L, 16L, 50L}) {
    Floats gate_up = noise(3 * 2 * f, 5, 2);
    gate_up[0] = 30;  // far out on both sides
    if (f > 1) gate_up[1] = -30;
    check_gate(gelu_mul_backward, gelu, f, gate_up);
  }
}

TEST(Backward, HeadRmsNorm) {
  for (const int64_t dim : {3L, 16L, 37L}) {
    const int64_t rows = 5, heads = 3, x_stride = heads * dim + 4, d_stride = heads * dim + 9;  // other numbers stand behind the heads
    const Floats x = noise(rows * x_stride, 1), w = noise(dim, 2, .3, 1), dy = noise(rows * d_stride, 3);
    const double eps = 1e-5;
    const auto loss = [&](const Doubles& at) {
      double sum = 0;
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t h = 0; h < heads; ++h) {
          double squares = 0;
          for (int64_t i = 0; i < dim; ++i) squares += std::pow(at[static_cast<size_t>(r * x_stride + h * dim + i)], 2);
          const double inverse = 1 / std::sqrt(squares / static_cast<double>(dim) + eps);
          for (int64_t i = 0; i < dim; ++i) {
            sum += at[static_cast<size_t>(r * x_stride + h * dim + i)] * inverse * static_cast<double>(w[static_cast<size_t>(i)]) *
                   static_cast<double>(dy[static_cast<size_t>(r * d_stride + h * dim + i)]);
          }
        }
      }
      return sum;
    };
    const Doubles want = differences(wide(x), loss);
    ThreadPool one(1), two(2);
    Floats d = dy, again = dy, forward = x;
    head_rms_norm_backward(x, x_stride, rows, heads, w, static_cast<float>(eps), d, d_stride, two);
    head_rms_norm_backward(x, x_stride, rows, heads, w, static_cast<float>(eps), again, d_stride, one);
    EXPECT_EQ(again, d);
    head_rms_norm(forward, rows, x_stride, heads, w, static_cast<float>(eps), two);
    double along = 0;
    Floats got, other;
    Doubles expected;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < heads * dim; ++i) {
        got.push_back(d[static_cast<size_t>(r * d_stride + i)]);
        expected.push_back(want[static_cast<size_t>(r * x_stride + i)]);
        along += static_cast<double>(forward[static_cast<size_t>(r * x_stride + i)]) * static_cast<double>(dy[static_cast<size_t>(r * d_stride + i)]);
      }
      for (int64_t i = heads * dim; i < d_stride; ++i) EXPECT_EQ(d[static_cast<size_t>(r * d_stride + i)], dy[static_cast<size_t>(r * d_stride + i)]);
      for (int64_t i = heads * dim; i < x_stride; ++i) EXPECT_EQ(forward[static_cast<size_t>(r * x_stride + i)], x[static_cast<size_t>(r * x_stride + i)]);
    }
    EXPECT_EQ(off(got, expected, 2e-5), "") << dim;
    EXPECT_NEAR(along, loss(wide(x)), 1e-4);
  }
}

TEST(Backward, CrossEntropy) {
  const int64_t rows = 4, vocab = 1100 + 7;  // over a block of the sum
  Floats logits = noise(rows * vocab, 7, 4), loss(rows), same(rows);
  const std::vector<int32_t> targets = {0, 1106, 500, 3};
  const float weight = 0.125f;
  const auto twin = [&](const Doubles& at) {
    double sum = 0;
    for (int64_t r = 0; r < rows; ++r) {
      double total = 0;
      for (int64_t i = 0; i < vocab; ++i) total += std::exp(at[static_cast<size_t>(r * vocab + i)]);
      sum += std::log(total) - at[static_cast<size_t>(r * vocab + targets[static_cast<size_t>(r)])];
    }
    return sum;
  };
  const Doubles at = wide(logits);
  const double want = twin(at);
  Doubles gradient(at.size());
  for (int64_t r = 0; r < rows; ++r) {
    double total = 0;
    for (int64_t i = 0; i < vocab; ++i) total += std::exp(at[static_cast<size_t>(r * vocab + i)]);
    for (int64_t i = 0; i < vocab; ++i) {
      const auto j = static_cast<size_t>(r * vocab + i);
      gradient[j] = static_cast<double>(weight) * (std::exp(at[j]) / total - (i == targets[static_cast<size_t>(r)] ? 1 : 0));
    }
  }
  ThreadPool pool(2);
  const Floats before = logits;
  cross_entropy(logits, rows, targets, 0, same, pool);
  EXPECT_EQ(logits, before) << "without weight the logits are left";
  cross_entropy(logits, rows, targets, weight, loss, pool);
  double sum = 0;
  for (int64_t r = 0; r < rows; ++r) {
    sum += static_cast<double>(loss[static_cast<size_t>(r)]);
    EXPECT_NEAR(static_cast<double>(loss[static_cast<size_t>(r)]), static_cast<double>(same[static_cast<size_t>(r)]), 1e-6);
  }
  EXPECT_NEAR(sum, want, 1e-6 * want);
  EXPECT_EQ(off(logits, gradient, 2e-6), "");
}

// y = x Wᵀ and dx = dy W against f64, and the parts of a long sum.
TEST(RowMatrix, BothDirections) {
  struct Shape {
    int64_t rows, n, k;
  };
  for (const auto& [rows, n, k] : {Shape{1, 1, 1}, Shape{3, 33, 7}, Shape{5, 70, 1501}, Shape{101, 2100, 31}, Shape{7, 64, 64}}) {
    for (const WeightType type : {WeightType::kF32, WeightType::kBf16}) {
      for (const RowProducts products : {RowProducts::kF32, RowProducts::kBf16}) {
        ThreadPool one(1), two(2);
        const Floats w = noise(n * k, 8), x = noise(rows * k, 9), dy = noise(rows * n, 10);
        const RowMatrix matrix = RowMatrix::make(type, n, k, [&](int64_t r, std::span<float> out) { std::copy_n(w.data() + r * k, k, out.data()); }, two);
        const bool rounds = type == WeightType::kBf16 && products == RowProducts::kBf16;
        const auto seen = [&](float v) { return static_cast<double>(rounds ? from_bf16(to_bf16(v)) : v); };
        Floats row(static_cast<size_t>(k));
        Doubles y(static_cast<size_t>(rows * n), 0), dx(static_cast<size_t>(rows * k), 0);
        for (int64_t j = 0; j < n; ++j) {
          matrix.row(j, row);
          for (int64_t t = 0; t < rows; ++t) {
            for (int64_t i = 0; i < k; ++i) {
              const auto weight = static_cast<double>(row[static_cast<size_t>(i)]);
              y[static_cast<size_t>(t * n + j)] += seen(x[static_cast<size_t>(t * k + i)]) * weight;
              dx[static_cast<size_t>(t * k + i)] += seen(dy[static_cast<size_t>(t * n + j)]) * weight;
            }
          }
        }
        RowScratch scratch;
        Floats got(y.size()), back(dx.size(), 1.0f), again(dx.size());
        times_rows({x, rows, got, false, products}, matrix, two, scratch);
        EXPECT_EQ(off(got, y, 5e-6), "") << rows << " " << n << " " << k;
        times_columns({dy, rows, back, true, products}, matrix, two, scratch);
        times_columns({dy, rows, again, false, products}, matrix, one, scratch);
        EXPECT_EQ(off(again, dx, 5e-6), "") << rows << " " << n << " " << k;
        for (size_t i = 0; i < back.size(); ++i) EXPECT_NEAR(back[i], again[i] + 1.0f, 2e-4f);
        // A row alone has the bits it has in the batch.
        Floats lone(static_cast<size_t>(k));
        times_columns({std::span<const float>(dy).last(static_cast<size_t>(n)), 1, lone, false, products}, matrix, one, scratch);
        EXPECT_EQ(lone, Floats(again.end() - k, again.end()));
      }
    }
  }
}

TEST(LowRank, ForwardAndGradients) {
  struct Shape {
    int64_t rows, rank, in, outputs;
  };
  for (const auto& [rows, rank, in, outputs] : {Shape{1, 1, 5, 3}, Shape{9, 4, 37, 50}, Shape{6, 7, 64, 32}, Shape{1030, 3, 20, 40}}) {
    const Floats x = noise(rows * in, 1), a = noise(rank * in, 2), b = noise(rank * outputs, 3), dy = noise(rows * (outputs + 2), 4);
    const LowRank update{rank, in, outputs, 0.75f, a, b};
    const LowRankForms forms(update);
    const int64_t ldy = outputs + 2;  // y stands among other outputs
    const auto loss = [&](const Doubles& xs, const Doubles& as, const Doubles& bs) {
      double sum = 0;
      for (int64_t t = 0; t < rows; ++t) {
        for (int64_t r = 0; r < rank; ++r) {
          double u = 0, back = 0;
          for (int64_t i = 0; i < in; ++i) u += xs[static_cast<size_t>(t * in + i)] * as[static_cast<size_t>(r * in + i)];
          for (int64_t n = 0; n < outputs; ++n) back += bs[static_cast<size_t>(r * outputs + n)] * static_cast<double>(dy[static_cast<size_t>(t * ldy + n)]);
          sum += 0.75 * u * back;
        }
      }
      return sum;
    };
    ThreadPool one(1), two(2);
    Floats u(static_cast<size_t>(rows * rank)), y(static_cast<size_t>(rows * ldy), 0.0f);
    low_rank_forward(forms, x, rows, u, y.data(), ldy, two);
    double along = 0;
    for (size_t i = 0; i < y.size(); ++i) along += static_cast<double>(y[i]) * static_cast<double>(dy[i]);
    const double want = loss(wide(x), wide(a), wide(b));
    EXPECT_NEAR(along, want, 1e-4 * std::max(1.0, std::abs(want)));

    LowRankScratch scratch;
    Floats da(a.size(), 0.0f), db(b.size(), 0.0f), dx(x.size(), 0.0f);
    low_rank_backward(forms, x, rows, u, dy.data(), ldy, da, db, dx, two, scratch);
    const Doubles xs = wide(x), as = wide(a), bs = wide(b);
    if (rows < 100) {
      EXPECT_EQ(off(dx, differences(xs, [&](const Doubles& at) { return loss(at, as, bs); }), 1e-5), "");
      EXPECT_EQ(off(da, differences(as, [&](const Doubles& at) { return loss(xs, at, bs); }), 1e-5), "");
      EXPECT_EQ(off(db, differences(bs, [&](const Doubles& at) { return loss(xs, as, at); }), 1e-5), "");
    }
    // Accumulates, and has the same bits on any number of threads.
    Floats da1(a.size(), 0.0f), db1(b.size(), 0.0f), dx1(x.size(), 0.0f);
    low_rank_backward(forms, x, rows, u, dy.data(), ldy, da1, db1, dx1, one, scratch);
    EXPECT_EQ(da1, da);
    EXPECT_EQ(db1, db);
    EXPECT_EQ(dx1, dx);
    low_rank_backward(forms, x, rows, u, dy.data(), ldy, da, db, {}, two, scratch);
    for (size_t i = 0; i < da.size(); ++i) EXPECT_NEAR(da[i], 2 * da1[i], 1e-4f * std::abs(da1[i]) + 1e-5f);
  }
}

// Two sequences in one batch: each sees only itself.
TEST(SequenceAttention, ForwardAndGradients) {
  struct Shape {
    int heads, kv_heads, d;
    int64_t first, second, window;
  };
  for (const auto& [heads, kv_heads, d, first, second, window] :
       {Shape{2, 1, 5, 3, 1, 0}, Shape{3, 3, 33, 4, 2, 0}, Shape{4, 2, 8, 37, 35, 0}, Shape{2, 1, 5, 7, 4, 1}, Shape{2, 2, 7, 9, 3, 4},
        Shape{2, 1, 8, 101, 70, 33}, Shape{1, 1, 4, 97, 40, 5}, Shape{2, 1, 4, 66, 40, 64}}) {
    const int64_t seen = window > 0 ? window : 1000;
    const int64_t rows = first + second, stride = (heads + 2 * kv_heads) * d, width = heads * d;
    const Floats qkv = noise(rows * stride, 1), d_out = noise(rows * width, 2);
    const std::vector<SequenceRows> sequences = {{0, first}, {first, second}};
    const double scale = 1 / std::sqrt(static_cast<double>(d));
    const auto twin = [&](const Doubles& at, Doubles* outputs) {
      double sum = 0;
      for (const SequenceRows& s : sequences) {
        for (int h = 0; h < heads; ++h) {
          const int g = h / (heads / kv_heads);
          for (int64_t i = 0; i < s.length; ++i) {
            Doubles p(static_cast<size_t>(i + 1));
            double total = 0;
            const int64_t from = std::max<int64_t>(0, i - seen + 1);
            for (int64_t j = from; j <= i; ++j) {
              double dot = 0;
              for (int64_t c = 0; c < d; ++c) {
                dot += at[static_cast<size_t>((s.first + i) * stride + h * d + c)] * at[static_cast<size_t>((s.first + j) * stride + (heads + g) * d + c)];
              }
              total += p[static_cast<size_t>(j)] = std::exp(dot * scale);
            }
            for (int64_t c = 0; c < d; ++c) {
              double value = 0;
              for (int64_t j = from; j <= i; ++j) {
                value += p[static_cast<size_t>(j)] / total * at[static_cast<size_t>((s.first + j) * stride + (heads + kv_heads + g) * d + c)];
              }
              const auto o = static_cast<size_t>((s.first + i) * width + h * d + c);
              if (outputs != nullptr) (*outputs)[o] = value;
              sum += value * static_cast<double>(d_out[o]);
            }
          }
        }
      }
      return sum;
    };
    SequenceAttention args{heads, kv_heads, d, static_cast<float>(scale), sequences, qkv, window};
    ThreadPool one(1), two(2);
    Floats out(static_cast<size_t>(rows * width)), lse(static_cast<size_t>(rows * heads)), d_qkv(qkv.size()), again(qkv.size());
    Doubles want(out.size());
    twin(wide(qkv), &want);
    sequence_attention(args, out, lse, two);
    EXPECT_EQ(off(out, want, 5e-6), "");
    sequence_attention_backward(args, out, lse, d_out, d_qkv, two);
    if (rows < 20) {
      EXPECT_EQ(off(d_qkv, differences(wide(qkv), [&](const Doubles& at) { return twin(at, nullptr); }), 2e-5), "");
    } else {
      // Central differences of all would be slow: along a few directions.
      for (uint16_t k = 0; k < 4; ++k) {
        const Floats direction = noise(static_cast<int64_t>(qkv.size()), static_cast<uint16_t>(20 + k));
        Doubles up = wide(qkv), down = up;
        double along = 0;
        for (size_t i = 0; i < up.size(); ++i) {
          up[i] += 1e-5 * static_cast<double>(direction[i]);
          down[i] -= 1e-5 * static_cast<double>(direction[i]);
          along += static_cast<double>(direction[i]) * static_cast<double>(d_qkv[i]);
        }
        const double slope = (twin(up, nullptr) - twin(down, nullptr)) / 2e-5;
        EXPECT_NEAR(along, slope, 1e-4 * std::max(1.0, std::abs(slope)));
      }
    }
    sequence_attention_backward(args, out, lse, d_out, again, one);
    EXPECT_EQ(again, d_qkv);
    // The second sequence alone has the bits it has in the batch.
    const Floats lone(qkv.begin() + first * stride, qkv.end());
    const std::vector<SequenceRows> only = {{0, second}};
    SequenceAttention alone{heads, kv_heads, d, static_cast<float>(scale), only, lone, window};
    Floats lone_out(static_cast<size_t>(second * width)), lone_lse(static_cast<size_t>(second * heads));
    sequence_attention(alone, lone_out, lone_lse, one);
    EXPECT_EQ(lone_out, Floats(out.begin() + first * width, out.end()));
  }
}

}  // namespace
}  // namespace colony::tensor
