#include "train/task_metric.h"

#include <algorithm>
#include <string>
#include <vector>

#include "text/fold.h"

namespace colony::train {
namespace {

constexpr int64_t kTokensBeyond = 8;  // the same text may be cut into a few tokens more

}  // namespace

Result<TaskScore> exact_match(Network& network, LoraWeights& lora, std::span<const Example> examples, int64_t most, const text::Tokenizer& tokenizer,
                              std::span<const int32_t> eos_ids, tensor::ThreadPool& pool) {
  std::vector<const Example*> answered;
  for (const Example& e : examples) {
    if (e.answer > 0) answered.push_back(&e);
  }
  const size_t count = std::min(answered.size(), static_cast<size_t>(std::max<int64_t>(most, 0)));
  std::vector<GreedyPrompt> prompts;
  std::vector<std::string> answers;
  for (size_t i = 0; i < count; ++i) {
    const Example& e = *answered[i * answered.size() / count];
    const std::span<const int32_t> ids = e.ids;
    auto answer = ids.subspan(static_cast<size_t>(e.answer));
    while (!answer.empty() && std::ranges::find(eos_ids, answer.back()) != eos_ids.end()) answer = answer.first(answer.size() - 1);
    const auto room = network.config().context_length() - e.answer;
    prompts.push_back({ids.first(static_cast<size_t>(e.answer)), std::min(room, static_cast<int64_t>(answer.size()) + kTokensBeyond)});
    answers.emplace_back(text::trim(tokenizer.decode(answer, true)));
  }
  TaskScore score;
  if (prompts.empty()) return score;
  ASSIGN_OR_RETURN(const auto given, network.greedy(prompts, lora, eos_ids, pool));
  for (size_t i = 0; i < given.size(); ++i) score.right += text::trim(tokenizer.decode(given[i], true)) == answers[i];
  score.asked = static_cast<int64_t>(given.size());
  return score;
}

}  // namespace colony::train
