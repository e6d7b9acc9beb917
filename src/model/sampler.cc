#include "model/sampler.h"

#include <algorithm>
#include <cmath>

#include "tensor/sampling.h"

namespace colony::model {
namespace {

using Candidate = std::pair<float, int32_t>;

bool better(const Candidate& a, const Candidate& b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

// What top-k, top-p and min-p leave of all ids, best first where an order was needed, and the
// logit of the best.
void survivors(std::span<const float> logits, const SamplerOptions& o, std::vector<Candidate>& out) {
  out.clear();
  const float most = tensor::greatest(logits);
  const auto v = static_cast<int>(logits.size());
  float floor = -INFINITY;
  if (o.top_k > 0 && o.top_k < v) {
    std::vector<float> copy(logits.begin(), logits.end());
    std::nth_element(copy.begin(), copy.begin() + (o.top_k - 1), copy.end(), std::greater<>());
    floor = copy[static_cast<size_t>(o.top_k - 1)];
  }
  // min-p alone can be applied before anything is collected: p_i >= min_p p_max.
  if (o.min_p > 0 && o.top_p >= 1) {
    floor = std::max(floor, most + static_cast<float>(std::log(o.min_p) * o.temperature));
  }
  for (int i = 0; i < v; ++i) {
    if (logits[static_cast<size_t>(i)] >= floor) out.emplace_back(logits[static_cast<size_t>(i)], i);
  }
  if (o.top_p >= 1) return;
  const auto weight = [&](float x) { return std::exp((static_cast<double>(x) - static_cast<double>(most)) / o.temperature); };
  double total = 0;
  for (const auto& c : out) total += weight(c.first);
  // HF drops, from the smallest up, while the running sum stays <= 1 - top_p. From the top that is:
  // keep until what is left is <= 1 - top_p. Sort in growing prefixes: the nucleus is small.
  size_t sorted = 0;
  double rest = total;
  size_t keep = 0;
  while (keep < out.size()) {
    if (keep == sorted) {
      const size_t end = std::min(out.size(), std::max<size_t>(64, sorted * 4));
      std::partial_sort(out.begin() + static_cast<int64_t>(sorted), out.begin() + static_cast<int64_t>(end), out.end(), better);
      sorted = end;
    }
    if (keep > 0 && rest / total <= 1 - o.top_p) break;
    rest -= weight(out[keep].first);
    ++keep;
  }
  out.resize(keep);
  if (o.min_p > 0) {
    std::erase_if(out, [&](const Candidate& c) { return weight(c.first) < o.min_p; });
  }
}

int32_t draw(const std::vector<Candidate>& candidates, const SamplerOptions& o, RngStream& rng) {
  float most = -INFINITY;
  for (const auto& c : candidates) most = std::max(most, c.first);
  const auto weight = [&](float x) { return std::exp((static_cast<double>(x) - static_cast<double>(most)) / o.temperature); };
  double total = 0;
  for (const auto& c : candidates) total += weight(c.first);
  double at = rng.uniform() * total;
  for (const auto& c : candidates) {
    at -= weight(c.first);
    if (at < 0) return c.second;
  }
  return candidates.back().second;
}

}  // namespace

void apply_repetition_penalty(std::span<float> logits, std::span<const int32_t> seen, double penalty,
                              std::vector<uint8_t>& marks) {
  if (penalty == 1.0) return;
  if (marks.size() < logits.size()) marks.resize(logits.size(), 0);
  for (const int32_t id : seen) {
    const auto i = static_cast<size_t>(id);
    if (i >= logits.size() || marks[i] != 0) continue;
    marks[i] = 1;
    const auto x = static_cast<double>(logits[i]);
    logits[i] = static_cast<float>(x < 0 ? x * penalty : x / penalty);
  }
  for (const int32_t id : seen) {
    if (static_cast<size_t>(id) < marks.size()) marks[static_cast<size_t>(id)] = 0;
  }
}

int32_t choose(std::span<const float> logits, const SamplerOptions& options, RngStream& rng,
               std::vector<Candidate>& candidates) {
  if (options.greedy) return static_cast<int32_t>(tensor::argmax(logits));
  survivors(logits, options, candidates);
  if (candidates.empty()) return static_cast<int32_t>(tensor::argmax(logits));  // all NaN
  return draw(candidates, options, rng);
}

std::optional<int32_t> choose_allowed(std::span<const float> logits, const SamplerOptions& options, RngStream& rng,
                                      const std::function<bool(int32_t)>& allowed,
                                      std::vector<Candidate>& candidates) {
  if (!options.greedy) {
    survivors(logits, options, candidates);
    std::erase_if(candidates, [&](const Candidate& c) { return !allowed(c.second); });
    if (!candidates.empty()) return draw(candidates, options, rng);
    // Nothing the filters left is allowed: the best allowed one of all.
  }
  candidates.clear();
  for (size_t i = 0; i < logits.size(); ++i) candidates.emplace_back(logits[i], static_cast<int32_t>(i));
  // Best first in growing prefixes: the first few usually hold an allowed one.
  size_t sorted = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (i == sorted) {
      const size_t end = std::min(candidates.size(), std::max<size_t>(16, sorted * 8));
      if (end < candidates.size()) {
        std::nth_element(candidates.begin() + static_cast<int64_t>(sorted), candidates.begin() + static_cast<int64_t>(end) - 1,
                         candidates.end(), better);
      }
      std::sort(candidates.begin() + static_cast<int64_t>(sorted), candidates.begin() + static_cast<int64_t>(end), better);
      sorted = end;
    }
    if (allowed(candidates[i].second)) return candidates[i].second;
  }
  return std::nullopt;
}

double log_sum_exp(std::span<const float> logits) {
  const float most = tensor::greatest(logits);
  return static_cast<double>(most) + std::log(tensor::sum_exp(logits, most, 1.0f));
}

std::vector<std::pair<int32_t, float>> best(std::span<const float> logits, int n) {
  std::vector<Candidate> all;
  all.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) all.emplace_back(logits[i], static_cast<int32_t>(i));
  const auto count = std::min<int64_t>(std::max(n, 0), static_cast<int64_t>(all.size()));
  std::partial_sort(all.begin(), all.begin() + count, all.end(), better);
  std::vector<std::pair<int32_t, float>> list;
  for (int64_t i = 0; i < count; ++i) list.emplace_back(all[static_cast<size_t>(i)].second, all[static_cast<size_t>(i)].first);
  return list;
}

}  // namespace colony::model
