// For tests: a Core over the fake model, and what a request gives when it is alone.
#pragma once
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

#include "engine/core.h"
#include "engine/fake_runner.h"

namespace colony::engine {

struct Bench {
  explicit Bench(const EngineOptions& options, int64_t pages, int64_t context = 4096,
                 CoreText text = {nullptr, {kEos}}, int threads = 1,
                 uint64_t ceiling = 1 << 20, size_t memory = SIZE_MAX)
      : ledger(ceiling), pool(threads) {
    auto fake = std::make_unique<FakeRunner>(pages, context, memory);
    runner = fake.get();
    auto made = Core::create(options, std::move(fake), std::move(text), ledger, pool, clock, metrics);
    CHECK(made.has_value(), made ? "" : made.error().message);
    core = std::move(*made);
  }
  // Steps until idle; outputs by id.
  std::map<RequestId, Output> finish_all(int steps_max = 100000) {
    std::map<RequestId, Output> all;
    for (int step = 0; !core->idle(); ++step) {
      CHECK(step < steps_max, "the engine does not get on");
      for (Output& output : core->step()) {
        const RequestId id = output.id;
        CHECK(all.emplace(id, std::move(output)).second, "a request ended twice");
      }
    }
    return all;
  }
  RequestId submit(Request request) {
    auto id = core->submit(std::move(request));
    CHECK(id.has_value(), id ? "" : id.error().message);
    return *id;
  }

  static constexpr int32_t kEos = 7;
  ByteLedger ledger;
  tensor::ThreadPool pool;
  ManualClock clock;
  Metrics metrics;
  FakeRunner* runner = nullptr;
  std::unique_ptr<Core> core;
};

inline Request generate(std::vector<int32_t> prompt, int max_tokens, bool ignore_eos = true) {
  Request request;
  request.prompt_ids = std::move(prompt);
  request.sampling.max_tokens = max_tokens;
  request.sampling.ignore_eos = ignore_eos;
  return request;
}

inline std::vector<int32_t> prompt_of(int64_t size, uint64_t seed) {
  RngStream rng(seed, 0, 0, 0);
  std::vector<int32_t> prompt;
  for (int64_t i = 0; i < size; ++i) prompt.push_back(static_cast<int32_t>(rng.below(FakeRunner::kVocab)));
  return prompt;
}

// Greedy continuation by the fake model's definition alone: no engine.
inline std::vector<int32_t> greedy_alone(std::vector<int32_t> tokens, int max_tokens, bool ignore_eos,
                                         int64_t context, size_t memory = SIZE_MAX) {
  std::vector<int32_t> ids;
  std::vector<float> hidden(FakeRunner::kHidden), logits(FakeRunner::kVocab);
  while (static_cast<int>(ids.size()) < max_tokens && static_cast<int64_t>(tokens.size()) < context) {
    FakeRunner::hidden_of(std::span(tokens).last(std::min(memory, tokens.size())), hidden);
    FakeRunner::logits_of(hidden, logits);
    const auto best = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    ids.push_back(best);
    tokens.push_back(best);
    if (!ignore_eos && best == Bench::kEos) break;
  }
  return ids;
}

}  // namespace colony::engine
