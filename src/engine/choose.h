// From a row of logits to the next token of a sequence: filters, dice, constraint, log-probabilities.
//
// Order as HF's (hf_compat 1.10): repetition penalty, constraint, temperature, top-k, top-p, min-p.
// Every random number comes from (seed, task, agent, number of the token): not from the batch.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/sequence.h"
#include "text/tokenizer.h"

namespace colony::engine {

// What a constraint needs to know of the vocabulary, made once: the bytes of every id. Threads: any.
class TokenBytes {
 public:
  // Ids from `vocab_size` on are left out; so are end-of-sequence ids and those without bytes.
  TokenBytes(const text::Tokenizer& tokenizer, int64_t vocab_size, std::span<const int32_t> eos_ids);
  std::string_view of(int32_t id) const { return bytes_[static_cast<size_t>(id)]; }
  // Ids whose bytes begin with `first`, ascending.
  std::span<const int32_t> beginning_with(uint8_t first) const { return by_first_[first]; }

 private:
  std::vector<std::string> bytes_;
  std::vector<int32_t> by_first_[256];
};

struct Choice {
  int32_t id = -1;
  std::optional<TokenLogprob> logprob;
  bool constraint_exhausted = false;  // nothing can follow this token
  std::optional<Error> error;         // logits that are no numbers, or no token fits the constraint
};

// What choosing needs and keeps, so that a warm step takes nothing large from the heap. Up to 3 [V] of
// numbers, as the request's parameters ask for them. Threads: one user at a time.
struct ChooseScratch {
  std::vector<int32_t> ids, heap;
  std::vector<float> raw;
};

// `logits`: [V], changed on the way. The sequence's constraint moves on by the chosen token.
// `token_bytes`: null when no constraint. Threads: any, one a sequence.
Choice choose(Sequence& sequence, std::span<float> logits, std::span<const int32_t> eos_ids,
              const TokenBytes* token_bytes, ChooseScratch& scratch);

// The log-probabilities of `id` and of the `top` best.
TokenLogprob logprob_of(std::span<const float> logits, int32_t id, int top);

}  // namespace colony::engine
