// Blocks of 32 queries against panels of 32 keys, all products by the kernels' f32 panels.
#include "tensor/sequence_attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "tensor/kernels.h"

namespace colony::tensor {
namespace {

constexpr int64_t kBlock = kPanel;

// The rows of a matrix (stride ld, `width` numbers each) as panels.
// By rows: 32 rows are the outputs, panel p at p * width * 32. By columns: 32 columns are, panel c at c * rows * 32.
std::vector<float> panels_by_rows(const float* m, int64_t ld, int64_t rows, int64_t width) {
  const int64_t count = (rows + kPanel - 1) / kPanel;
  std::vector<float> panels(static_cast<size_t>(count * width * kPanel), 0.0f);
  for (int64_t r = 0; r < rows; ++r) {
    float* to = panels.data() + r / kPanel * width * kPanel + r % kPanel;
    for (int64_t i = 0; i < width; ++i) to[i * kPanel] = m[r * ld + i];
  }
  return panels;
}
void panels_by_columns(const float* m, int64_t ld, int64_t rows, int64_t width, std::vector<float>& panels) {
  const int64_t count = (width + kPanel - 1) / kPanel;
  panels.assign(static_cast<size_t>(count * rows * kPanel), 0.0f);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < width; ++i) panels[static_cast<size_t>(i / kPanel * rows * kPanel + r * kPanel + i % kPanel)] = m[r * ld + i];
  }
}

void product(const float* x, int64_t ldx, int64_t rows, const float* panel, int64_t k, float* y, int64_t ldy) {
  PanelArgs a;
  a.x = x;
  a.ldx = ldx;
  a.rows = rows;
  a.panel = panel;
  a.k = k;
  a.y = y;
  a.ldy = ldy;
  kernels().panel_f32(a);
}

// What a part of the work is given: one sequence, one kv head.
struct Place {
  const SequenceAttention& args;
  SequenceRows rows;
  int g = 0;
  int64_t d() const { return args.head_dim; }
  int64_t stride() const { return static_cast<int64_t>(args.heads + 2 * args.kv_heads) * d(); }
  int64_t q_at(int h) const { return rows.first * stride() + h * d(); }
  int64_t k_at() const { return rows.first * stride() + (args.heads + g) * d(); }
  int64_t v_at() const { return rows.first * stride() + (args.heads + args.kv_heads + g) * d(); }
  int group() const { return args.heads / args.kv_heads; }
  // First key that query i sees, and the start of the block of keys it lies in.
  int64_t first_key(int64_t i) const { return args.window > 0 ? std::max<int64_t>(0, i - args.window + 1) : 0; }
  int64_t first_block(int64_t i) const { return first_key(i) / kBlock * kBlock; }
};

void forward(const Place& at, std::span<float> out, std::span<float> lse) {
  const SequenceAttention& args = at.args;
  const int64_t d = at.d(), stride = at.stride(), length = at.rows.length, out_stride = args.heads * d;
  const auto keys = panels_by_rows(args.qkv.data() + at.k_at(), stride, length, d);
  std::vector<float> values;
  panels_by_columns(args.qkv.data() + at.v_at(), stride, length, d, values);
  const int64_t most = (length + kBlock - 1) / kBlock * kBlock;
  std::vector<float> scores(static_cast<size_t>(kBlock * most));
  alignas(64) float tile[kBlock * kPanel];
  for (int h = at.g * at.group(); h < (at.g + 1) * at.group(); ++h) {
    for (int64_t i = 0; i < length; i += kBlock) {
      // Keys [start, seen); scores begin at `start`.
      const int64_t rows = std::min(kBlock, length - i), start = at.first_block(i), seen = i + rows - start, width = (seen + kBlock - 1) / kBlock * kBlock;
      for (int64_t p = 0; p < width / kBlock; ++p) {
        product(args.qkv.data() + at.q_at(h) + i * stride, stride, rows, keys.data() + (start / kBlock + p) * d * kPanel, d, scores.data() + p * kBlock, width);
      }
      float inverse[kBlock];
      for (int64_t r = 0; r < rows; ++r) {
        float* row = scores.data() + r * width;
        const int64_t low = at.first_key(i + r) - start, n = i + r + 1 - start;
        const float top = kernels().max_of(row + low, n - low);
        const double sum = kernels().exp_row(row + low, n - low, top, args.scale, row + low);
        std::fill(row, row + low, 0.0f);
        std::fill(row + n, row + width, 0.0f);
        inverse[r] = static_cast<float>(1.0 / sum);
        lse[static_cast<size_t>((at.rows.first + i + r) * args.heads + h)] =
            static_cast<float>(static_cast<double>(top) * static_cast<double>(args.scale) + std::log(sum));
      }
      for (int64_t c = 0; c < d; c += kPanel) {
        product(scores.data(), width, rows, values.data() + c * length + start * kPanel, seen, tile, kPanel);
        for (int64_t r = 0; r < rows; ++r) {
          float* to = out.data() + (at.rows.first + i + r) * out_stride + h * d + c;
          for (int64_t j = 0; j < std::min<int64_t>(kPanel, d - c); ++j) to[j] = tile[r * kPanel + j] * inverse[r];
        }
      }
    }
  }
}

void backward(const Place& at, std::span<const float> out, std::span<const float> lse, std::span<const float> d_out,
              std::span<float> d_qkv) {
  const SequenceAttention& args = at.args;
  const int64_t d = at.d(), stride = at.stride(), length = at.rows.length, out_stride = args.heads * d;
  const auto keys = panels_by_rows(args.qkv.data() + at.k_at(), stride, length, d);
  const auto values = panels_by_rows(args.qkv.data() + at.v_at(), stride, length, d);
  std::vector<float> key_columns, block_columns;
  panels_by_columns(args.qkv.data() + at.k_at(), stride, length, d, key_columns);
  const int64_t most = (length + kBlock - 1) / kBlock * kBlock;
  std::vector<float> p(static_cast<size_t>(kBlock * most)), ds(p.size()), turned(p.size()), tile(static_cast<size_t>(most * kPanel));
  std::vector<float> dk(static_cast<size_t>(length * d), 0.0f), dv(dk.size(), 0.0f);

  for (int h = at.g * at.group(); h < (at.g + 1) * at.group(); ++h) {
    for (int64_t i = 0; i < length; i += kBlock) {
      const int64_t rows = std::min(kBlock, length - i), start = at.first_block(i), seen = i + rows - start, width = (seen + kBlock - 1) / kBlock * kBlock;
      const float* q = args.qkv.data() + at.q_at(h) + i * stride;
      const float* own = d_out.data() + (at.rows.first + i) * out_stride + h * d;
      for (int64_t b = 0; b < width / kBlock; ++b) {
        const int64_t panel = (start / kBlock + b) * d * kPanel;
        product(q, stride, rows, keys.data() + panel, d, p.data() + b * kBlock, width);
        product(own, out_stride, rows, values.data() + panel, d, ds.data() + b * kBlock, width);
      }
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t low = at.first_key(i + r) - start, n = i + r + 1 - start, row = at.rows.first + i + r;
        float *pr = p.data() + r * width, *dr = ds.data() + r * width;
        kernels().exp_row(pr + low, n - low, lse[static_cast<size_t>(row * args.heads + h)] / args.scale, args.scale, pr + low);
        float along = 0;
        for (int64_t j = 0; j < d; ++j) along += own[r * out_stride + j] * out[static_cast<size_t>(row * out_stride + h * d + j)];
        for (int64_t j = low; j < n; ++j) dr[j] = args.scale * pr[j] * (dr[j] - along);
        std::fill(pr, pr + low, 0.0f);
        std::fill(dr, dr + low, 0.0f);
        std::fill(pr + n, pr + width, 0.0f);
        std::fill(dr + n, dr + width, 0.0f);
      }
      for (int64_t c = 0; c < d; c += kPanel) {
        product(ds.data(), width, rows, key_columns.data() + c * length + start * kPanel, seen, tile.data(), kPanel);
        for (int64_t r = 0; r < rows; ++r) {
          float* to = d_qkv.data() + at.q_at(h) + (i + r) * stride + c;
          for (int64_t j = 0; j < std::min<int64_t>(kPanel, d - c); ++j) to[j] = tile[static_cast<size_t>(r * kPanel + j)];
        }
      }
      // dk += dsᵀ q, dv += pᵀ do, over this block of queries.
      const auto add = [&](const std::vector<float>& left, const float* right, int64_t ld, std::vector<float>& sum) {
        for (int64_t j = 0; j < seen; ++j) {
          for (int64_t r = 0; r < rows; ++r) turned[static_cast<size_t>(j * kBlock + r)] = left[static_cast<size_t>(r * width + j)];
        }
        panels_by_columns(right, ld, rows, d, block_columns);
        for (int64_t c = 0; c < d; c += kPanel) {
          product(turned.data(), kBlock, seen, block_columns.data() + c * rows, rows, tile.data(), kPanel);
          for (int64_t j = 0; j < seen; ++j) {
            float* to = sum.data() + (start + j) * d + c;
            for (int64_t x = 0; x < std::min<int64_t>(kPanel, d - c); ++x) to[x] += tile[static_cast<size_t>(j * kPanel + x)];
          }
        }
      };
      add(ds, q, stride, dk);
      add(p, own, out_stride, dv);
    }
  }
  for (int64_t j = 0; j < length; ++j) {
    std::copy_n(dk.data() + j * d, d, d_qkv.data() + at.k_at() + j * stride);
    std::copy_n(dv.data() + j * d, d, d_qkv.data() + at.v_at() + j * stride);
  }
}

template <typename Body>
void over_places(const SequenceAttention& args, ThreadPool& pool, const Body& body) {
  CHECK(args.kv_heads > 0 && args.heads % args.kv_heads == 0 && args.head_dim > 0 && args.scale > 0, "attention's shape");
  const auto places = static_cast<int>(args.sequences.size()) * args.kv_heads;
  pool.run(places, [&](int i) {
    body(Place{args, args.sequences[static_cast<size_t>(i / args.kv_heads)], i % args.kv_heads});
  });
}

}  // namespace

void sequence_attention(const SequenceAttention& args, std::span<float> out, std::span<float> lse, ThreadPool& pool) {
  over_places(args, pool, [&](const Place& at) { forward(at, out, lse); });
}

void sequence_attention_backward(const SequenceAttention& args, std::span<const float> out, std::span<const float> lse,
                                 std::span<const float> d_out, std::span<float> d_qkv, ThreadPool& pool) {
  CHECK(d_qkv.size() == args.qkv.size() && d_out.size() == out.size(), "attention's gradients have their sizes");
  over_places(args, pool, [&](const Place& at) { backward(at, out, lse, d_out, d_qkv); });
}

}  // namespace colony::tensor
