#include "tensor/backward.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "tensor/kernels.h"

namespace colony::tensor {
namespace {

template <typename Body>
void over_rows(int64_t rows, ThreadPool& pool, const Body& body) {
  const auto parts = static_cast<int>(std::clamp<int64_t>(rows / 4, 1, 4L * pool.threads()));
  pool.run(parts, [&](int i) { body(rows * i / parts, rows * (i + 1) / parts); });
}

// g[m, n] += Σ_t l[t, m] v[t, n]. l: [rows, m]; v: rows of stride ldv; g: [m, n]. `turned` takes lᵀ.
void add_outer(const float* l, int64_t m, const float* v, int64_t ldv, int64_t n, int64_t rows, float* g, ThreadPool& pool,
               LowRankScratch& scratch) {
  constexpr int64_t kReduceMost = 1024;
  const int64_t block = std::min(rows, kReduceMost);
  if (static_cast<int64_t>(scratch.turned.size()) < m * rows) scratch.turned.resize(static_cast<size_t>(m * rows));
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t i = 0; i < m; ++i) scratch.turned[static_cast<size_t>(i * rows + t)] = l[t * m + i];
  }
  const int64_t panels = (n + kPanel - 1) / kPanel;
  const auto parts = static_cast<int>(std::min<int64_t>(panels, 4L * pool.threads()));
  const int64_t room = (block + m) * kPanel;  // the panel and the tile
  if (static_cast<int64_t>(scratch.panels.size()) < room * parts) scratch.panels.resize(static_cast<size_t>(room * parts));
  pool.run(parts, [&](int part) {
    float* const panel = scratch.panels.data() + room * part;
    float* const tile = panel + block * kPanel;
    for (int64_t p = panels * part / parts; p < panels * (part + 1) / parts; ++p) {
      const int64_t width = std::min<int64_t>(kPanel, n - p * kPanel);
      for (int64_t from = 0; from < rows; from += block) {
        const int64_t count = std::min(block, rows - from);
        for (int64_t t = 0; t < count; ++t) {
          const float* row = v + (from + t) * ldv + p * kPanel;
          float* to = panel + t * kPanel;
          std::memcpy(to, row, static_cast<size_t>(width) * sizeof(float));
          if (width < kPanel) std::fill(to + width, to + kPanel, 0.0f);
        }
        PanelArgs a;
        a.x = scratch.turned.data() + from;
        a.ldx = rows;
        a.panel = panel;
        a.k = count;
        a.rows = m;
        a.y = tile;
        a.ldy = kPanel;
        kernels().panel_f32(a);
        for (int64_t i = 0; i < m; ++i) {
          float* to = g + i * n + p * kPanel;
          for (int64_t j = 0; j < width; ++j) to[j] += tile[i * kPanel + j];
        }
      }
    }
  });
}

// u = s x Aᵀ for rows [from, to).
void shrink(const float* x, int64_t ldx, int64_t k, const float* a, const float* scales, int64_t rank, int64_t from, int64_t to,
            float* u) {
  LoraShrink s;
  s.x = x + from * ldx;
  s.ldx = ldx;
  s.rows = to - from;
  s.k = k;
  s.a = a;
  s.scale = scales;
  s.ranks = rank;
  s.u = u + from * rank;
  kernels().lora_shrink(s);
}
void expand(const float* u, int64_t rank, const float* b, int64_t n, int64_t from, int64_t to, float* y, int64_t ldy) {
  LoraExpand e;
  e.u = u + from * rank;
  e.ldu = rank;
  e.rows = to - from;
  e.ranks = rank;
  e.b = b;
  e.y = y + from * ldy;
  e.ldy = ldy;
  e.n = n;
  kernels().lora_expand(e);
}

// Of y = act(gate) up, by the kernel of one row; gate_up becomes its own gradient.
void gate_backward(decltype(Kernels::silu_mul_backward_row) row, std::span<float> gate_up, int64_t rows, int64_t f, std::span<const float> dy,
                   ThreadPool& pool) {
  CHECK(static_cast<int64_t>(gate_up.size()) == rows * 2 * f && static_cast<int64_t>(dy.size()) == rows * f, "a gate's backward sizes");
  over_rows(rows, pool, [&](int64_t from, int64_t to) {
    for (int64_t r = from; r < to; ++r) {
      float* gate = gate_up.data() + r * 2 * f;
      row(gate, gate + f, dy.data() + r * f, f, gate, gate + f);
    }
  });
}

}  // namespace

void rms_norm_backward(std::span<const float> x, std::span<const float> w, float eps, std::span<const float> dy,
                       std::span<float> dx, ThreadPool& pool) {
  const auto dim = static_cast<int64_t>(w.size());
  CHECK(dim > 0 && x.size() % w.size() == 0 && x.size() == dy.size() && x.size() == dx.size(), "rms_norm_backward's sizes");
  over_rows(static_cast<int64_t>(x.size()) / dim, pool, [&](int64_t from, int64_t to) {
    for (int64_t r = from; r < to; ++r) {
      kernels().rms_norm_backward_row(x.data() + r * dim, w.data(), dy.data() + r * dim, dim, eps, dx.data() + r * dim);
    }
  });
}

void head_rms_norm_backward(std::span<const float> x, int64_t x_stride, int64_t rows, int heads, std::span<const float> w, float eps,
                            std::span<float> d, int64_t d_stride, ThreadPool& pool) {
  const auto dim = static_cast<int64_t>(w.size());
  CHECK(dim > 0 && heads * dim <= std::min(x_stride, d_stride) && static_cast<int64_t>(x.size()) >= (rows - 1) * x_stride + heads * dim &&
            static_cast<int64_t>(d.size()) >= (rows - 1) * d_stride + heads * dim,
        "head_rms_norm_backward's sizes");
  over_rows(rows, pool, [&](int64_t from, int64_t to) {
    std::vector<float> dx(static_cast<size_t>(dim));
    for (int64_t r = from; r < to; ++r) {
      for (int h = 0; h < heads; ++h) {
        float* dy = d.data() + r * d_stride + h * dim;
        std::ranges::fill(dx, 0.0f);
        kernels().rms_norm_backward_row(x.data() + r * x_stride + h * dim, w.data(), dy, dim, eps, dx.data());
        std::ranges::copy(dx, dy);
      }
    }
  });
}

void silu_mul_backward(std::span<float> gate_up, int64_t rows, int64_t f, std::span<const float> dy, ThreadPool& pool) {
  gate_backward(kernels().silu_mul_backward_row, gate_up, rows, f, dy, pool);
}

void gelu_mul_backward(std::span<float> gate_up, int64_t rows, int64_t f, std::span<const float> dy, ThreadPool& pool) {
  gate_backward(kernels().gelu_mul_backward_row, gate_up, rows, f, dy, pool);
}

void cross_entropy(std::span<float> logits, int64_t rows, std::span<const int32_t> targets, float weight,
                   std::span<float> loss, ThreadPool& pool) {
  CHECK(rows > 0 && static_cast<int64_t>(logits.size()) % rows == 0 && static_cast<int64_t>(targets.size()) == rows &&
            static_cast<int64_t>(loss.size()) == rows,
        "cross_entropy's sizes");
  const int64_t vocab = static_cast<int64_t>(logits.size()) / rows;
  pool.run(static_cast<int>(rows), [&](int r) {
    float* row = logits.data() + r * vocab;
    const int32_t target = targets[static_cast<size_t>(r)];
    CHECK(target >= 0 && target < vocab, "targets are ids of the vocabulary");
    const float most = kernels().max_of(row, vocab), own = row[target];
    const double sum = weight == 0 ? kernels().sum_exp(row, vocab, most, 1.0f) : kernels().exp_row(row, vocab, most, 1.0f, row);
    loss[static_cast<size_t>(r)] = static_cast<float>(std::log(sum) + static_cast<double>(most) - static_cast<double>(own));
    if (weight == 0) return;
    const float times = static_cast<float>(static_cast<double>(weight) / sum);
    for (int64_t i = 0; i < vocab; ++i) row[i] *= times;
    row[target] -= weight;
  });
}

LowRankForms::LowRankForms(const LowRank& update) : update_(update), scales_(static_cast<size_t>(update.rank), update.scale) {
  CHECK(update.rank > 0 && static_cast<int64_t>(update.a.size()) == update.rank * update.in &&
            static_cast<int64_t>(update.b.size()) == update.rank * update.outputs,
        "a low-rank update's sizes");
  const auto form = [&](std::span<const float> from, int64_t n, int64_t multiple, std::vector<float>& owned) -> const float* {
    const int64_t padded = round_up(n, multiple);
    if (padded == n) return from.data();
    owned.assign(static_cast<size_t>(update.rank * padded), 0.0f);
    for (int64_t r = 0; r < update.rank; ++r) std::memcpy(owned.data() + r * padded, from.data() + r * n, static_cast<size_t>(n) * 4);
    return owned.data();
  };
  a_shrink_ = form(update.a, update.in, 16, owned_[0]);
  a_expand_ = form(update.a, update.in, kLoraBlock, owned_[1]);
  b_shrink_ = form(update.b, update.outputs, 16, owned_[2]);
  b_expand_ = form(update.b, update.outputs, kLoraBlock, owned_[3]);
}

struct LowRankAccess {
  static void forward(const LowRankForms& f, const float* x, int64_t from, int64_t to, float* u, float* y, int64_t ldy) {
    shrink(x, f.update_.in, f.update_.in, f.a_shrink_, f.scales_.data(), f.update_.rank, from, to, u);
    expand(u, f.update_.rank, f.b_expand_, f.update_.outputs, from, to, y, ldy);
  }
  static void back(const LowRankForms& f, const float* dy, int64_t ldy, int64_t from, int64_t to, float* du, float* dx) {
    shrink(dy, ldy, f.update_.outputs, f.b_shrink_, f.scales_.data(), f.update_.rank, from, to, du);
    if (dx != nullptr) expand(du, f.update_.rank, f.a_expand_, f.update_.in, from, to, dx, f.update_.in);
  }
  static const LowRank& update(const LowRankForms& f) { return f.update_; }
};

void low_rank_forward(const LowRankForms& update, std::span<const float> x, int64_t rows, std::span<float> u, float* y,
                      int64_t ldy, ThreadPool& pool) {
  const LowRank& own = LowRankAccess::update(update);
  CHECK(static_cast<int64_t>(x.size()) == rows * own.in && static_cast<int64_t>(u.size()) == rows * own.rank, "low_rank_forward's sizes");
  over_rows(rows, pool, [&](int64_t from, int64_t to) { LowRankAccess::forward(update, x.data(), from, to, u.data(), y, ldy); });
}

void low_rank_backward(const LowRankForms& update, std::span<const float> x, int64_t rows, std::span<const float> u,
                       const float* dy, int64_t ldy, std::span<float> da, std::span<float> db, std::span<float> dx,
                       ThreadPool& pool, LowRankScratch& scratch) {
  const LowRank& own = LowRankAccess::update(update);
  CHECK(static_cast<int64_t>(x.size()) == rows * own.in && static_cast<int64_t>(u.size()) == rows * own.rank &&
            da.size() == own.a.size() && db.size() == own.b.size() && (dx.empty() || dx.size() == x.size()),
        "low_rank_backward's sizes");
  if (static_cast<int64_t>(scratch.du.size()) < rows * own.rank) scratch.du.resize(static_cast<size_t>(rows * own.rank));
  over_rows(rows, pool, [&](int64_t from, int64_t to) {
    LowRankAccess::back(update, dy, ldy, from, to, scratch.du.data(), dx.empty() ? nullptr : dx.data());
  });
  add_outer(scratch.du.data(), own.rank, x.data(), own.in, own.in, rows, da.data(), pool, scratch);
  add_outer(u.data(), own.rank, dy, ldy, own.outputs, rows, db.data(), pool, scratch);
}

}  // namespace colony::tensor
