// Logits to a token id, in Hugging Face's order of processors (hf_compat 1.10): repetition penalty,
// temperature, top-k, top-p, min-p, then the draw. No full sort of the vocabulary.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/rng.h"

namespace colony::model {

struct SamplerOptions {
  bool greedy = true;
  double temperature = 1.0;         // > 0
  int top_k = 0;                    // 0: off; ties with the k-th stay
  double top_p = 1.0;               // (0, 1]; 1: off
  double min_p = 0.0;               // [0, 1]; 0: off
  double repetition_penalty = 1.0;  // > 0; 1: off
};

// Divides (positive) or multiplies (negative) the logits of every distinct id in `seen` by
// `penalty`, once each. `marks` is scratch of the vocabulary's size, all zero before and after.
void apply_repetition_penalty(std::span<float> logits, std::span<const int32_t> seen, double penalty,
                              std::vector<uint8_t>& marks);

// The id to go on with; logits after the penalty. Greedy: the greatest, the first among equals.
// Sampling draws one number from `rng`. Scratch is kept in `candidates`. Needs logits not empty.
int32_t choose(std::span<const float> logits, const SamplerOptions& options, RngStream& rng,
               std::vector<std::pair<float, int32_t>>& candidates);

// As choose(), among the ids for which `allowed` says yes; nullopt when none does. Ids are tried
// best first, so greedy asks for few of them. Sampling gives each allowed id its share of what the
// allowed ones have.
std::optional<int32_t> choose_allowed(std::span<const float> logits, const SamplerOptions& options, RngStream& rng,
                                      const std::function<bool(int32_t)>& allowed,
                                      std::vector<std::pair<float, int32_t>>& candidates);

// Natural log of the softmax of `logits`: log Σ exp(x - max) + max.
double log_sum_exp(std::span<const float> logits);
// The n best (id, logit), best first, lower id first among equals.
std::vector<std::pair<int32_t, float>> best(std::span<const float> logits, int n);

}  // namespace colony::model
