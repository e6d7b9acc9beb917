#include "app/commands/bench_limits.h"

#include <algorithm>
#include <vector>

#include "base/clock.h"
#include "base/stats.h"
#include "model/kv_cache.h"

namespace colony::app {
namespace {

using tensor::PackedMatrix;

struct Shape {
  int64_t n = 0, k = 0;
  tensor::Activations activations = tensor::Activations::kRow13;
};

std::vector<Shape> shapes_of(const model::ModelConfig& c) {
  const int64_t q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  return {{q + 2 * kv, c.hidden_size},
          {c.hidden_size, q},
          {2 * c.intermediate_size, c.hidden_size, tensor::Activations::kGroup8},
          {c.hidden_size, c.intermediate_size}};
}

PackedMatrix packed(tensor::WeightType type, const Shape& shape, tensor::ThreadPool& pool) {
  return PackedMatrix::pack(
      type, shape.n, shape.k,
      [](int64_t row, std::span<float> out) {
        for (size_t i = 0; i < out.size(); ++i) {
          out[i] = static_cast<float>((static_cast<size_t>(row) * 31 + i * 17) % 97) / 97.0F - 0.5F;
        }
      },
      pool, {.activations = shape.activations});
}

// The middle of at least five runs and a fifth of a second, after one to warm up.
template <typename Body>
double seconds_of(const Body& body) {
  const SystemClock clock;
  body();
  std::vector<double> all;
  const double begin = clock.seconds();
  while (all.size() < 5 || (clock.seconds() - begin < 0.2 && all.size() < 1000)) {
    const double start = clock.seconds();
    body();
    all.push_back(clock.seconds() - start);
  }
  return median(std::move(all));
}

}  // namespace

Limits::Limits(const model::Transformer& model, const tensor::MachineLimits& machine, ByteLedger& ledger, tensor::ThreadPool& pool)
    : model_(model), machine_(machine), ledger_(ledger), pool_(pool) {
  const model::ModelConfig& c = model.config();
  for (const Shape& shape : shapes_of(c)) layer_parameters_ += static_cast<double>(shape.n * shape.k * c.num_hidden_layers);
  head_parameters_ = static_cast<double>(c.vocab_size * c.hidden_size);
  weight_bytes_ = static_cast<double>(model.weight_bytes());
  // A table of its own for the inputs is not read whole.
  if (!model.tied_head()) {
    weight_bytes_ -= std::min(weight_bytes_ / 2, static_cast<double>(PackedMatrix::bytes_for(model.head_type(), c.vocab_size, c.hidden_size)));
  }
  switch (model.dtype()) {
    case tensor::WeightType::kF32: operations_per_s_ = 1e9 * machine.f32_gop_per_s; break;
    case tensor::WeightType::kBf16: operations_per_s_ = 1e9 * machine.bf16_gop_per_s; break;
    default: operations_per_s_ = 1e9 * machine.int8_gop_per_s;
  }
  for (const Shape& shape : shapes_of(c)) {
    const auto w = packed(model.dtype(), shape, pool);
    constexpr int64_t kRows = 512;
    std::vector<float> x(static_cast<size_t>(kRows * shape.k), 0.25F), y(static_cast<size_t>(kRows * shape.n));
    tensor::MatmulScratch scratch;
    const double seconds = seconds_of([&] { tensor::matmul({x, kRows, y, {}, false}, w, pool, scratch); });
    operations_per_s_ = std::max(operations_per_s_, 2.0 * static_cast<double>(kRows * shape.n * shape.k) / seconds);
  }
}

StepLimit Limits::step(const StepShape& shape, double more_bytes, double more_operations) const {
  const model::ModelConfig& c = model_.config();
  const auto rows = static_cast<double>(shape.count());
  const double kv_token = static_cast<double>(model::KvCache::page_bytes(c, model_.default_kv_type())) / tensor::kPageTokens;
  const double pairs = rows * (static_cast<double>(shape.keys) - 0.5 * static_cast<double>(shape.rows - 1));
  const double attention = 4.0 * pairs * static_cast<double>(c.num_hidden_layers * c.num_attention_heads * c.head_dim);
  StepLimit limit;
  limit.read_seconds = (weight_bytes_ + more_bytes + kv_token * static_cast<double>(shape.sequences * shape.keys)) /
                       (1e9 * machine_.read_gb_per_s);
  limit.compute_seconds = (2 * (rows * layer_parameters_ + static_cast<double>(shape.head_rows()) * head_parameters_) + more_operations) / operations_per_s_ +
                          attention / (1e9 * machine_.f32_gop_per_s);
  return limit;
}

double Limits::product_seconds(int64_t rows, ByteLedger& ledger) const {
  const model::ModelConfig& c = model_.config();
  const auto shapes = shapes_of(c);
  uint64_t layer_bytes = 0;
  int64_t widest_in = 0, widest_out = 0;
  for (const Shape& shape : shapes) {
    layer_bytes += PackedMatrix::bytes_for(model_.dtype(), shape.n, shape.k);
    widest_in = std::max(widest_in, shape.k);
    widest_out = std::max(widest_out, shape.n);
  }
  // So many layers that no cache holds them.
  const int64_t layers = std::clamp<int64_t>(static_cast<int64_t>((256ULL << 20) / layer_bytes), 1, c.num_hidden_layers);
  const auto lease = ledger.take("scratch", layer_bytes * static_cast<uint64_t>(layers));
  if (!lease) return 0;
  std::vector<PackedMatrix> all;
  for (int64_t i = 0; i < layers; ++i) {
    for (const Shape& shape : shapes) all.push_back(packed(model_.dtype(), shape, pool_));
  }
  std::vector<float> x(static_cast<size_t>(rows * widest_in), 0.25F), y(static_cast<size_t>(rows * widest_out));
  tensor::MatmulScratch scratch;
  const double seconds = seconds_of([&] {
    for (const PackedMatrix& w : all) {
      tensor::matmul({std::span(x).first(static_cast<size_t>(rows * w.k())), rows, std::span(y).first(static_cast<size_t>(rows * w.n())), {}, false},
                     w, pool_, scratch);
    }
  });
  return seconds * static_cast<double>(c.num_hidden_layers) / static_cast<double>(layers);
}

Result<std::string> Limits::parts(const StepShape& shape, double step_seconds) const {
  const model::ModelConfig& c = model_.config();
  const int64_t pages_each = (shape.keys + tensor::kPageTokens - 1) / tensor::kPageTokens;
  ASSIGN_OR_RETURN(const auto kv, model::KvCache::create(c, model_.default_kv_type(), shape.sequences * pages_each, ledger_));
  std::vector<int32_t> pages, ids(static_cast<size_t>(shape.count()), 5);
  for (int64_t i = 0; i < shape.sequences * pages_each; ++i) pages.push_back(static_cast<int32_t>(i));
  std::vector<tensor::AttentionRow> where;
  for (int64_t s = 0; s < shape.sequences; ++s) {
    const auto own = std::span(pages).subspan(static_cast<size_t>(s * pages_each), static_cast<size_t>(pages_each));
    for (int64_t r = 0; r < shape.rows; ++r) where.push_back({shape.keys - shape.rows + r, own});
  }
  std::vector<float> hidden(static_cast<size_t>(shape.count() * c.hidden_size)), logits(static_cast<size_t>(shape.head_rows() * c.vocab_size));
  model::Transformer::Workspace work;
  const double layers = seconds_of([&] { model_.forward({ids, where}, kv, hidden, work, pool_); });
  const double head = seconds_of([&] {
    model_.head(std::span(hidden).first(static_cast<size_t>(shape.head_rows() * c.hidden_size)), shape.head_rows(), logits, work, pool_);
  });
  const double products = std::min(product_seconds(shape.count(), ledger_), layers);
  double layer_bytes = 0;
  for (const Shape& one : shapes_of(c)) layer_bytes += static_cast<double>(PackedMatrix::bytes_for(model_.dtype(), one.n, one.k));
  const double product_limit = std::max(layer_bytes * static_cast<double>(c.num_hidden_layers) / (1e9 * machine_.read_gb_per_s),
                                        2 * static_cast<double>(shape.count()) * layer_parameters_ / operations_per_s_);
  const double rest = std::max(0.0, step_seconds - layers - head);
  const auto percent = [&](double seconds) { return 100 * seconds / std::max(step_seconds, layers + head); };
  return fmt::format(
      "of {:.2f} ms a step the layers' products take {:.0f} % (at {:.0f} % of their own limit), attention, norms and rounding {:.0f} %, the head {:.0f} %, "
      "sampling, text and scheduling {:.0f} %",
      1000 * step_seconds, percent(products), 100 * product_limit / products, percent(layers - products), percent(head), percent(rest));
}

}  // namespace colony::app
