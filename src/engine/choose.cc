#include "engine/choose.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/rng.h"
#include "tensor/sampling.h"

namespace colony::engine {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// Candidates whose probability lies this far (in units of temperature) below the best that fits do
// not matter: e^-32 of its weight.
constexpr double kNegligible = 32.0;

bool contains(std::span<const int32_t> ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

// Asks a constraint about tokens.
class Fit {
 public:
  Fit(const text::Acceptor::State& state, std::span<const int32_t> eos_ids, const TokenBytes& bytes)
      : state_(state), eos_ids_(eos_ids), bytes_(bytes) {}

  bool fits(int32_t id) const {
    if (contains(eos_ids_, id)) return state_.complete();
    const auto bytes = bytes_.of(id);
    return !bytes.empty() && state_.clone()->advance(bytes);
  }
  // Every token whose first byte could come next; few, where the constraint is narrow.
  std::vector<int32_t> candidates() const {
    std::vector<int32_t> ids;
    if (state_.complete()) ids.assign(eos_ids_.begin(), eos_ids_.end());
    for (int byte = 0; byte < 256; ++byte) {
      const auto group = bytes_.beginning_with(static_cast<uint8_t>(byte));
      const char letter = static_cast<char>(byte);
      if (!group.empty() && state_.clone()->advance(std::string_view(&letter, 1))) {
        ids.insert(ids.end(), group.begin(), group.end());
      }
    }
    return ids;
  }

 private:
  const text::Acceptor::State& state_;
  const std::span<const int32_t> eos_ids_;
  const TokenBytes& bytes_;
};

// Takes candidates best first, ties by the lower id; nothing is sorted that is not asked for. Changes `ids`.
class BestFirst {
 public:
  BestFirst(std::vector<int32_t>& ids, std::span<const float> logits) : ids_(ids), logits_(logits) {
    std::make_heap(ids_.begin(), ids_.end(), Worse{logits_});
  }
  std::optional<int32_t> next() {
    if (ids_.empty()) return std::nullopt;
    std::pop_heap(ids_.begin(), ids_.end(), Worse{logits_});
    const int32_t id = ids_.back();
    ids_.pop_back();
    return id;
  }

 private:
  struct Worse {
    std::span<const float> logits;
    bool operator()(int32_t a, int32_t b) const {
      const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
      return x != y ? x < y : a > b;
    }
  };
  std::vector<int32_t>& ids_;
  std::span<const float> logits_;
};

// Greedy under a constraint. -1: nothing fits.
int32_t best_that_fits(std::span<const float> logits, int32_t best, const Fit& fit) {
  if (fit.fits(best)) return best;
  auto candidates = fit.candidates();
  BestFirst order(candidates, logits);
  while (const auto id = order.next()) {
    if (logits[static_cast<size_t>(*id)] == kNever) return -1;
    if (fit.fits(*id)) return *id;
  }
  return -1;
}

// Before sampling: logits of tokens that do not fit become -inf. False when nothing fits.
bool mask(std::span<float> logits, double temperature, const Fit& fit) {
  std::vector<std::pair<int32_t, float>> fitting;
  auto candidates = fit.candidates();
  BestFirst order(candidates, logits);
  while (const auto id = order.next()) {
    const float logit = logits[static_cast<size_t>(*id)];
    if (!std::isfinite(logit)) break;
    if (!fitting.empty() && static_cast<double>(fitting[0].second - logit) > kNegligible * temperature) break;
    if (fit.fits(*id)) fitting.emplace_back(*id, logit);
  }
  std::fill(logits.begin(), logits.end(), kNever);
  for (const auto& [id, logit] : fitting) logits[static_cast<size_t>(id)] = logit;
  return !fitting.empty();
}

struct Peak {
  int32_t id = -1;      // the first among equals
  float logit = kNever;
  bool broken = false;  // some logit is NaN, or none is above -inf
};

Peak peak_of(std::span<const float> logits) {
  // Sixteen running maxima, which the compiler turns into vector code.
  constexpr size_t kLanes = 16;
  float best[kLanes];
  int32_t nan[kLanes] = {};
  std::fill(best, best + kLanes, kNever);
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    const float* block = logits.data() + i;
    for (size_t k = 0; k < kLanes; ++k) {
      best[k] = block[k] > best[k] ? block[k] : best[k];
      nan[k] |= block[k] != block[k] ? 1 : 0;
    }
  }
  Peak peak;
  for (size_t k = 0; k < kLanes; ++k) {
    peak.logit = std::max(peak.logit, best[k]);
    peak.broken = peak.broken || nan[k] != 0;
  }
  for (; i < logits.size(); ++i) {
    peak.logit = std::max(peak.logit, logits[i]);
    peak.broken = peak.broken || std::isnan(logits[i]);
  }
  peak.broken = peak.broken || !(peak.logit > kNever);
  if (!peak.broken) {
    peak.id = static_cast<int32_t>(std::find(logits.begin(), logits.end(), peak.logit) - logits.begin());
  }
  return peak;
}

// Of every distinct token so far: a negative logit times p, another divided by p.
void penalise(std::span<float> logits, std::span<const int32_t> tokens, double p, std::vector<int32_t>& distinct) {
  distinct.assign(tokens.begin(), tokens.end());
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  for (const int32_t id : distinct) {
    float& logit = logits[static_cast<size_t>(id)];
    const auto x = static_cast<double>(logit);
    logit = static_cast<float>(x < 0 ? x * p : x / p);
  }
}

// The one random number of this token, in [0, 1): by (seed, task, agent, number of the token).
double uniform_of(const Sequence& sequence) {
  const Request& request = sequence.request;
  const auto low = [](uint64_t x) { return static_cast<uint32_t>(x); };
  const auto high = [](uint64_t x) { return static_cast<uint32_t>(x >> 32); };
  constexpr uint32_t kSampling = 0x53414d50;  // keeps these draws apart from every RngStream
  const auto block = philox({static_cast<uint32_t>(sequence.output.ids.size()), low(request.task_id),
                             high(request.task_id), request.agent_id},
                            {low(request.sampling.seed) ^ kSampling, high(request.sampling.seed)});
  const uint64_t bits = static_cast<uint64_t>(block[0]) << 32 | block[1];
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

// Temperature, top-k, top-p, min-p, then one draw. `u` in [0, 1).
int32_t draw(std::span<const float> logits, const SamplingParams& params, double u, ChooseScratch& scratch) {
  const Peak peak = peak_of(logits);
  if (peak.broken) return -1;
  // What lies far below the best is out before anything is compared: e^-32 of its weight.
  const double floor = static_cast<double>(peak.logit) - kNegligible * params.temperature;
  const auto least = static_cast<float>(floor);
  std::vector<int32_t>& ids = scratch.ids;
  ids.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] >= least) ids.push_back(static_cast<int32_t>(i));
  }
  const auto at = [&](int32_t id) { return logits[static_cast<size_t>(id)]; };
  const auto weight = [&](int32_t id) {
    return std::exp((static_cast<double>(at(id)) - static_cast<double>(peak.logit)) / params.temperature);
  };
  if (params.top_k > 0 && static_cast<size_t>(params.top_k) < ids.size()) {
    std::vector<int32_t>& sorted = scratch.heap;
    sorted.assign(ids.begin(), ids.end());
    const auto kth = sorted.begin() + (params.top_k - 1);
    std::nth_element(sorted.begin(), kth, sorted.end(), [&](int32_t a, int32_t b) { return at(a) > at(b); });
    const float bound = at(*kth);
    std::erase_if(ids, [&](int32_t id) { return at(id) < bound; });
  }
  double total = 0;
  for (const int32_t id : ids) total += weight(id);
  if (params.top_p < 1.0) {
    // Best first, as long as the mass above is less than top_p.
    scratch.heap.assign(ids.begin(), ids.end());
    BestFirst order(scratch.heap, logits);
    ids.clear();
    double above = 0;
    while (above < params.top_p * total) {
      const auto id = order.next();
      if (!id) break;
      ids.push_back(*id);
      above += weight(*id);
    }
    std::sort(ids.begin(), ids.end());
  }
  if (params.min_p > 0) {
    std::erase_if(ids, [&](int32_t id) { return weight(id) < params.min_p; });
  }
  total = 0;
  for (const int32_t id : ids) total += weight(id);
  double left = u * total;
  for (const int32_t id : ids) {
    left -= weight(id);
    if (left < 0) return id;
  }
  return ids.back();
}

// Log-probabilities of raw logits; what they need is taken before anything changes the logits.
class RawLogits {
 public:
  // `will_change`: the logits are not as they are when of() is called, so a copy is kept in `scratch`.
  RawLogits(std::span<const float> logits, int top, bool will_change, ChooseScratch& scratch) : logits_(logits) {
    if (will_change) {
      scratch.raw.assign(logits.begin(), logits.end());
      logits_ = scratch.raw;
    }
    const float best = tensor::greatest(logits_);
    log_sum_ = static_cast<double>(best) + std::log(tensor::sum_exp(logits_, best, 1.0F));
    if (top <= 0) return;
    scratch.heap.resize(logits_.size());
    std::iota(scratch.heap.begin(), scratch.heap.end(), 0);
    BestFirst order(scratch.heap, logits_);
    for (int i = 0; i < top; ++i) {
      const auto next = order.next();
      if (!next) break;
      top_.emplace_back(*next, logprob(*next));
    }
  }
  RawLogits(const RawLogits&) = delete;
  RawLogits& operator=(const RawLogits&) = delete;
  TokenLogprob of(int32_t id) && { return {id, logprob(id), std::move(top_)}; }

 private:
  double logprob(int32_t id) const {
    return static_cast<double>(logits_[static_cast<size_t>(id)]) - log_sum_;
  }
  std::span<const float> logits_;
  double log_sum_ = 0;
  std::vector<std::pair<int32_t, double>> top_;
};

}  // namespace

TokenBytes::TokenBytes(const text::Tokenizer& tokenizer, int64_t vocab_size,
                       std::span<const int32_t> eos_ids) {
  bytes_.resize(static_cast<size_t>(vocab_size));
  for (int32_t id = 0; id < vocab_size; ++id) {
    if (contains(eos_ids, id)) continue;
    std::string bytes = tokenizer.bytes_of(id);
    if (bytes.empty()) continue;
    by_first_[static_cast<uint8_t>(bytes[0])].push_back(id);
    bytes_[static_cast<size_t>(id)] = std::move(bytes);
  }
}

TokenLogprob logprob_of(std::span<const float> logits, int32_t id, int top) {
  ChooseScratch scratch;
  RawLogits raw(logits, top, false, scratch);
  return std::move(raw).of(id);
}

Choice choose(Sequence& sequence, std::span<float> logits, std::span<const int32_t> eos_ids,
              const TokenBytes* token_bytes, ChooseScratch& scratch) {
  const SamplingParams& params = sequence.request.sampling;
  Choice choice;
  const Peak peak = peak_of(logits);
  if (peak.broken) {
    choice.error = corrupt("the model gave logits that are no numbers after {} tokens", sequence.tokens.size());
    return choice;
  }
  std::optional<RawLogits> raw;
  const bool penalised = params.repetition_penalty != 1.0;
  if (params.logprobs >= 0) {
    raw.emplace(logits, params.logprobs, penalised || sequence.constraint != nullptr, scratch);
  }
  if (penalised) penalise(logits, sequence.tokens, params.repetition_penalty, scratch.heap);

  std::optional<Fit> fit;
  if (sequence.constraint) fit.emplace(*sequence.constraint, eos_ids, *token_bytes);
  if (params.greedy) {
    choice.id = penalised ? peak_of(logits).id : peak.id;
    if (fit) choice.id = best_that_fits(logits, choice.id, *fit);
  } else if (!fit || mask(logits, params.temperature, *fit)) {
    choice.id = draw(logits, params, uniform_of(sequence), scratch);
  }
  if (choice.id < 0) {
    choice.error = invalid("no token of the vocabulary goes on within the constraint after {} tokens",
                           sequence.output.ids.size());
    return choice;
  }
  if (fit && !contains(eos_ids, choice.id)) {
    CHECK(sequence.constraint->advance(token_bytes->of(choice.id)), "the chosen token was asked for");
    choice.constraint_exhausted = sequence.constraint->exhausted();
  }
  if (raw) choice.logprob = std::move(*raw).of(choice.id);
  return choice;
}

}  // namespace colony::engine
