// What one asks of the engine, and what comes back. vLLM's and nano-vllm's nouns.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/budget.h"
#include "base/byte_ledger.h"
#include "base/result.h"
#include "text/constraint.h"

namespace colony::engine {

struct AdapterInfo;  // engine/adapters.h

// Defaults as conventions part 2b; sources: HF generation docs.
struct SamplingParams {
  bool greedy = true;              // argmax, first index among equals
  double temperature = 1.0;        // > 0 when sampling
  int top_k = 0;                   // 0: off; ties with the k-th are kept (HF)
  double top_p = 1.0;              // (0, 1]
  double min_p = 0.0;              // [0, 1]
  double repetition_penalty = 1.0; // > 0; over prompt and output (HF)
  uint64_t seed = 0;
  int max_tokens = 256;
  bool ignore_eos = false;
  std::vector<std::string> stop;   // the text ends before the first of these
  int logprobs = -1;               // -1: none; 0: of the chosen token; n: and of the n best
};

enum class RequestClass : uint8_t { kForeground, kBackground };
enum class FinishReason : uint8_t { kStop, kLength, kCancelled, kError };
std::string_view finish_reason_name(FinishReason reason);  // "stop", "length", …

struct TokenLogprob {
  int32_t id = 0;
  double logprob = 0;  // natural log, of the raw logits' softmax
  std::vector<std::pair<int32_t, double>> top;
};

// Either generates from a prompt, or (embed) gives the mean of the last hidden states, or (logits)
// the logits of every position, or (score) the log-probabilities of the prompt's own tokens.
struct Request {
  enum class Kind : uint8_t { kGenerate, kEmbed, kLogits, kScore };
  Kind kind = Kind::kGenerate;
  std::vector<int32_t> prompt_ids;   // not empty, ids in the vocabulary
  int64_t score_from = 1;            // kScore: first position whose token is scored
  SamplingParams sampling;
  // With seed and step these three decide every random number.
  uint64_t task_id = 0;
  uint32_t agent_id = 0;
  RequestClass request_class = RequestClass::kForeground;
  std::optional<std::chrono::nanoseconds> deadline;  // Clock::now() at which it ends as cancelled
  std::shared_ptr<Budget> budget;                    // null: none
  std::shared_ptr<const text::Acceptor> constraint;  // null: none
  std::string cache_salt;                            // part of the prefix key
  std::shared_ptr<const AdapterInfo> adapter;        // of the engine's adapters(); null: the base alone
};

using RequestId = uint64_t;

struct Output {
  RequestId id = 0;
  std::vector<int32_t> prompt_ids;
  std::vector<int32_t> ids;      // generated, end-of-sequence token included when it came
  std::string text;              // decoded without specials, cut before a stop string
  FinishReason finish = FinishReason::kError;
  bool cut = false;              // under a constraint, and max_tokens, the context or a stop string came before its end
  std::optional<Error> error;    // kError and kCancelled: why (deadline, budget, cancel, limits)
  std::vector<TokenLogprob> logprobs;
  std::vector<float> values;     // kEmbed: [hidden]; kLogits: [positions, vocab]
  // kLogits: keeps `values` in the ledger while it lives; must not outlive the ledger.
  std::shared_ptr<ByteLease> values_bytes;
  int64_t prefix_hit_tokens = 0;
  uint64_t first_step = 0, last_step = 0;  // engine steps
  double seconds = 0;            // from submit to finish
};

}  // namespace colony::engine
