#include "app/commands/bench_ours.h"

#include <algorithm>
#include <utility>

#include "base/rng.h"
#include "engine/adapters.h"
#include "tensor/attention.h"

namespace colony::app {

using engine::Engine;
using engine::Output;
using engine::Request;

Prompt bench_prompt(int64_t vocab, uint64_t cell, uint64_t round, uint64_t index, int tokens) {
  Prompt ids;
  RngStream rng(7, round, static_cast<uint32_t>(index), static_cast<uint16_t>(cell));
  for (int i = 0; i < tokens; ++i) ids.push_back(static_cast<int32_t>(3 + rng.below(static_cast<uint64_t>(vocab - 3))));
  return ids;
}

Status Ours::open(int sequences, size_t tokens) {
  engine_.reset();
  engine::EngineOptions options;
  options.max_sequences = sequences;
  if (kv_ == "f32") options.kv = tensor::KvType::kF32;
  if (kv_ == "bf16") options.kv = tensor::KvType::kBf16;
  if (kv_ == "int8") options.kv = tensor::KvType::kInt8;
  options.speculate = engine::Speculate::kOff;  // a token a step and sequence, as the peers
  options.kv_pages = sequences * (static_cast<int64_t>(tokens) / tensor::kPageTokens + 2);
  ASSIGN_OR_RETURN(engine_, Engine::create(snapshot_, options, ledger_, pool_, clock_, metrics_));
  return {};
}

Result<engine::RequestId> Ours::submit(const Prompt& prompt, int max_tokens, const std::filesystem::path& adapter) {
  Request request;
  if (!adapter.empty()) {
    ASSIGN_OR_RETURN(request.adapter, engine_->adapters().add(adapter.filename().string(), adapter));
  }
  request.prompt_ids = prompt;
  request.sampling.max_tokens = max_tokens;
  request.sampling.ignore_eos = true;
  return engine_->submit(std::move(request));
}

Status Ours::run(const Prompts& prompts, int max_tokens, const Folders& adapters) {
  for (size_t i = 0; i < prompts.size(); ++i) {
    ASSIGN_OR_RETURN([[maybe_unused]] const auto id, submit(prompts[i], max_tokens, adapters.empty() ? std::filesystem::path() : adapters[i]));
  }
  size_t ended = 0;
  const double begun = clock_.seconds();
  std::vector<double> step_ended;
  while (!engine_->idle()) {
    const auto outputs = engine_->step();
    step_ended.push_back(clock_.seconds() - begun);
    for (const Output& output : outputs) {
      if (output.error) return Error(*output.error);
      if (output.ids.size() != static_cast<size_t>(max_tokens)) {
        return corrupt("a request ended with {} tokens instead of {}", output.ids.size(), max_tokens);
      }
      ++ended;
    }
  }
  if (ended != prompts.size()) return corrupt("{} of {} requests ended", ended, prompts.size());
  // The last to end had a token a step.
  const auto tokens = static_cast<size_t>(max_tokens);
  reading_s_ = step_ended.size() >= tokens ? step_ended[step_ended.size() - tokens] : 0;
  return {};
}

Result<Sample> Ours::prefill(const Prompt& warm, const Prompt& prompt) {
  RETURN_IF_ERROR(open(1, 2 * std::max(warm.size(), prompt.size())));
  RETURN_IF_ERROR(run({warm}, 1));
  const Stopwatch watch;
  RETURN_IF_ERROR(run({prompt}, 1));
  return watch.seconds();
}

Result<Sample> Ours::decode(const Prompts& prompts, int steps, const Folders& adapters) {
  const int count = static_cast<int>(prompts.size());
  size_t rows = 0, longest = 0;
  for (const auto& prompt : prompts) {
    rows += prompt.size();
    longest = std::max(longest, prompt.size());
  }
  RETURN_IF_ERROR(open(count, longest + static_cast<size_t>(steps) + 32));
  std::vector<engine::RequestId> ids;
  for (size_t i = 0; i < prompts.size(); ++i) {
    ASSIGN_OR_RETURN(const auto id, submit(prompts[i], steps + 32, adapters.empty() ? std::filesystem::path() : adapters[i]));
    ids.push_back(id);
  }
  // Until every prompt is read, and some to warm up.
  for (size_t i = 0; i < kWarmSteps + (rows + 511) / 512; ++i) engine_->step();
  const Stopwatch watch;
  for (int i = 0; i < steps; ++i) engine_->step();
  const Sample sample = watch.seconds();
  for (const auto id : ids) engine_->cancel(id);
  size_t ended = 0;
  for (const Output& output : engine_->step()) {
    ++ended;
    if (output.ids.size() <= static_cast<size_t>(steps)) return corrupt("a sequence was not decoded in every step");
  }
  if (ended != prompts.size()) return corrupt("{} of {} sequences were decoded", ended, prompts.size());
  return sample;
}

Result<Sample> Ours::finish(const Prompt& warm, const Prompts& prompts, int tokens, const Folders& adapters) {
  RETURN_IF_ERROR(open(static_cast<int>(prompts.size()), prompts[0].size() + static_cast<size_t>(tokens) + 64));
  RETURN_IF_ERROR(run({warm}, 1));
  const Stopwatch watch;
  RETURN_IF_ERROR(run(prompts, tokens, adapters));
  return watch.seconds();
}

}  // namespace colony::app
