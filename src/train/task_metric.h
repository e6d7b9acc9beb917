// What share of examples the model answers exactly, by greedy generation: the task's own measure while it is learnt.
#pragma once
#include <cstdint>
#include <span>

#include "base/result.h"
#include "text/tokenizer.h"
#include "train/lora_weights.h"
#include "train/network.h"

namespace colony::train {

struct TaskScore {
  int64_t right = 0, asked = 0;
};

// Of `most` examples that have an answer, evenly chosen: the prompt is what stands before it, and an answer is right when its text
// is the example's, both trimmed. Generation stops a few tokens behind the answer's length. Fails as Network::greedy().
Result<TaskScore> exact_match(Network& network, LoraWeights& lora, std::span<const Example> examples, int64_t most, const text::Tokenizer& tokenizer,
                              std::span<const int32_t> eos_ids, tensor::ThreadPool& pool);

}  // namespace colony::train
