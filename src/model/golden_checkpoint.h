// A golden checkpoint folder and the comparison with it: used by tests only.
//
// A folder holds config.json, model.safetensors, expected.json {input_ids [B][T], shape,
// greedy_from_first12} and expected.f32, HF's eager f32 logits [B, T, V].
#pragma once
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "model/transformer.h"
#include "tensor/sampling.h"

namespace colony::model::golden {

inline std::filesystem::path shared() {
  const char* given = std::getenv("COLONY_SHARED");  // NOLINT(concurrency-mt-unsafe)
  return given != nullptr ? given : "../shared";
}

struct Expected {
  std::vector<std::vector<int32_t>> ids;
  std::vector<int32_t> greedy;
  std::vector<float> logits;
  int64_t vocab = 0;
};

inline Result<Expected> read_expected(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const auto text, read_file(folder / "expected.json"));
  ASSIGN_OR_RETURN(const auto json, parse_json(text));
  Expected e;
  e.ids = json["input_ids"].get<std::vector<std::vector<int32_t>>>();
  e.greedy = json["greedy_from_first12"].get<std::vector<int32_t>>();
  e.vocab = json["shape"][2].get<int64_t>();
  ASSIGN_OR_RETURN(const auto bytes, read_file(folder / "expected.f32"));
  e.logits.resize(bytes.size() / 4);
  std::memcpy(e.logits.data(), bytes.data(), bytes.size());
  return e;
}

// One sequence over pages of its own, fed in chunks; gives hidden states and logits.
class Runner {
 public:
  Runner(std::shared_ptr<const Transformer> model, int64_t tokens_max, ByteLedger& ledger, tensor::ThreadPool& pool,
         const Adapter* adapter = nullptr)
      : model_(std::move(model)),
        adapter_(adapter),
        pool_(pool),
        cache_(KvCache::create(model_->config(), model_->default_kv_type(), tokens_max / tensor::kPageTokens + 3, ledger)
                   .value()) {
    const int64_t pages = tokens_max / tensor::kPageTokens + 1;
    for (int64_t p = 0; p < pages; ++p) pages_.push_back(static_cast<int32_t>((p * 5 + 2) % (pages + 2)));
    // The pages of a sequence lie anywhere; only make sure none comes twice.
    std::vector<bool> used(static_cast<size_t>(pages + 2), false);
    for (auto& page : pages_) {
      while (used[static_cast<size_t>(page)]) page = (page + 1) % static_cast<int32_t>(pages + 2);
      used[static_cast<size_t>(page)] = true;
    }
  }
  // Logits of every fed token, [ids, V].
  std::vector<float> feed(const std::vector<int32_t>& ids, int64_t length) {
    std::vector<tensor::AttentionRow> where;
    std::vector<int64_t> lengths(ids.size(), length);
    for (size_t i = 0; i < ids.size(); ++i) where.push_back({at_ + static_cast<int64_t>(i), pages_});
    const int64_t c = model_->config().hidden_size;
    std::vector<float> hidden(ids.size() * static_cast<size_t>(c));
    const std::vector<const Adapter*> adapters(ids.size(), adapter_);
    model_->forward({ids, where, lengths, adapters}, cache_, hidden, work_, pool_);
    std::vector<float> logits(ids.size() * static_cast<size_t>(model_->config().vocab_size));
    model_->head(hidden, static_cast<int64_t>(ids.size()), logits, work_, pool_, adapters);
    at_ += static_cast<int64_t>(ids.size());
    return logits;
  }

 private:
  std::shared_ptr<const Transformer> model_;
  const Adapter* adapter_;
  tensor::ThreadPool& pool_;
  Transformer::Workspace work_;
  KvCache cache_;
  std::vector<int32_t> pages_;
  int64_t at_ = 0;
};

struct Difference {
  double nmse = 0, max_over_std = 0, mean_kl = 0, top1 = 0;
  int64_t ties = 0, positions = 0;
  std::string worthless;  // why the comparison means nothing; empty when it does
};

// tie_gap: positions where the reference's best two logits lie closer than this many spreads count
// as ties in top1; 1e-4 is the gate for exact paths, rounded ones allow for their noise.
inline Difference compare(const std::vector<float>& got, const std::vector<float>& want, int64_t vocab,
                          double tie_gap = 1e-4) {
  Difference d;
  if (got.empty() || got.size() != want.size() || got.data() == want.data()) {
    d.worthless = fmt::format("sizes {} and {}", got.size(), want.size());
    return d;
  }
  double mean = 0, variance = 0, error = 0, most = 0;
  for (const float w : want) mean += static_cast<double>(w);
  mean /= static_cast<double>(want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    const double diff = static_cast<double>(got[i]) - static_cast<double>(want[i]);
    variance += std::pow(static_cast<double>(want[i]) - mean, 2);
    error += diff * diff;
    most = std::max(most, std::abs(diff));
  }
  if (!(variance > 0) || !std::isfinite(variance) || !std::isfinite(error)) {
    d.worthless = "constant, NaN or infinite numbers";
    return d;
  }
  const double std_dev = std::sqrt(variance / static_cast<double>(want.size()));
  d.nmse = error / variance;
  d.max_over_std = most / std_dev;
  const auto v = static_cast<size_t>(vocab);
  int64_t agree = 0;
  for (size_t p = 0; p < want.size(); p += v) {
    const std::span<const float> a(got.data() + p, v), b(want.data() + p, v);
    const auto log_sum = [](std::span<const float> x) {
      double top = -1e300, sum = 0;
      for (const float y : x) top = std::max(top, static_cast<double>(y));
      for (const float y : x) sum += std::exp(static_cast<double>(y) - top);
      return top + std::log(sum);
    };
    const double za = log_sum(a), zb = log_sum(b);
    for (size_t i = 0; i < v; ++i) {
      const double logp = static_cast<double>(b[i]) - zb;
      d.mean_kl += std::exp(logp) * (logp - (static_cast<double>(a[i]) - za));
    }
    const int64_t best = tensor::argmax(b);
    double second = -1e300;
    for (size_t i = 0; i < v; ++i) {
      if (static_cast<int64_t>(i) != best) second = std::max(second, static_cast<double>(b[i]));
    }
    const bool tie = static_cast<double>(b[static_cast<size_t>(best)]) - second < tie_gap * std_dev;
    d.ties += tie;
    agree += tie || tensor::argmax(a) == best;
    ++d.positions;
  }
  d.mean_kl /= static_cast<double>(d.positions);
  d.top1 = static_cast<double>(agree) / static_cast<double>(d.positions);
  return d;
}

}  // namespace colony::model::golden
