// What a warm decode step takes from the heap: nothing large.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <new>

#include "base/rng.h"
#include "engine/engine.h"
#include "engine/sanitized.h"
#include "engine/tiny_checkpoint.h"

namespace {

struct Heap {
  std::atomic<bool> counting{false};
  std::atomic<uint64_t> calls{0}, bytes{0}, largest{0};
};
constinit Heap heap;

}  // namespace

#ifndef COLONY_SANITIZED
// This binary's own; sanitizers bring theirs. Not inlined, or g++ takes free() beside new for a mistake.
#define NOINLINE __attribute__((noinline))
NOINLINE void* operator new(size_t size) {
  if (heap.counting.load(std::memory_order_relaxed)) {
    heap.calls.fetch_add(1, std::memory_order_relaxed);
    heap.bytes.fetch_add(size, std::memory_order_relaxed);
    uint64_t largest = heap.largest.load(std::memory_order_relaxed);
    while (largest < size && !heap.largest.compare_exchange_weak(largest, size)) {
    }
  }
  void* p = std::malloc(size == 0 ? 1 : size);
  if (p == nullptr) std::abort();
  return p;
}
NOINLINE void* operator new[](size_t size) { return ::operator new(size); }
NOINLINE void operator delete(void* p) noexcept { std::free(p); }
NOINLINE void operator delete(void* p, size_t) noexcept { std::free(p); }
NOINLINE void operator delete[](void* p) noexcept { std::free(p); }
NOINLINE void operator delete[](void* p, size_t) noexcept { std::free(p); }
#undef NOINLINE
#endif

namespace colony::engine {
namespace {

constexpr int64_t kVocab = 20000;  // so that a row of logits is 80 KB and cannot hide

struct Counted {
  double calls = 0, bytes = 0, largest = 0;  // a step; the largest of all
};

Counted warm_steps(Engine& engine, const SamplingParams& params) {
  std::vector<RequestId> ids;
  for (uint64_t i = 0; i < 4; ++i) {
    Request request;
    RngStream rng(i, 1, 1, 1);
    for (int k = 0; k < 40; ++k) request.prompt_ids.push_back(static_cast<int32_t>(rng.below(kVocab)));
    request.sampling = params;
    request.sampling.max_tokens = 400;
    request.sampling.ignore_eos = true;
    request.task_id = i;
    auto id = engine.submit(std::move(request));
    CHECK(id.has_value(), id ? "" : id.error().message);
    ids.push_back(*id);
  }
  constexpr int kWarm = 60, kSteps = 64;
  for (int step = 0; step < kWarm; ++step) engine.step();
  heap.calls = heap.bytes = heap.largest = 0;
  heap.counting = true;
  for (int step = 0; step < kSteps; ++step) engine.step();
  heap.counting = false;
  EXPECT_EQ(engine.running(), 4U);
  for (const RequestId id : ids) engine.cancel(id);
  engine.step();
  return {static_cast<double>(heap.calls) / kSteps, static_cast<double>(heap.bytes) / kSteps, static_cast<double>(heap.largest)};
}

TEST(Allocation, AWarmStepTakesNothingLarge) {
#ifdef COLONY_SANITIZED
  GTEST_SKIP() << "sanitizers have a heap of their own";
#endif
  TempFolder folder;
  TinyShape shape;
  shape.vocab = kVocab;
  write_tiny_checkpoint(folder.path(), shape, 7);
  for (const char* dtype : {"f32", "bf16", "int8"}) {
    ByteLedger ledger(1ULL << 30);
    tensor::ThreadPool pool(2);
    SystemClock clock;
    Metrics metrics;
    auto snapshot = Snapshot::load(folder.path(), "test", dtype, ledger, pool);
    ASSERT_TRUE(snapshot) << snapshot.error().message;
    EngineOptions options;
    options.max_sequences = 4;
    options.kv_pages = 80;
    auto engine = Engine::create(*snapshot, options, ledger, pool, clock, metrics);
    ASSERT_TRUE(engine) << engine.error().message;
    SamplingParams greedy, sampled, everything;
    sampled.greedy = everything.greedy = false;
    sampled.top_p = 0.95;
    everything.top_k = 50;
    everything.top_p = 0.9;
    everything.repetition_penalty = 1.1;
    everything.logprobs = 3;
    for (const auto& [name, params] : {std::pair{"greedy", greedy}, {"sampled", sampled}, {"with penalty and log-probabilities", everything}}) {
      const Counted counted = warm_steps(**engine, params);
      std::cout << "  " << dtype << ", " << name << ": " << counted.calls << " calls and " << counted.bytes << " bytes a step, the largest "
                << counted.largest << "\n";
      // What grows with the answer (ids, log-probabilities) doubles now and then; nothing has the size of a row.
      EXPECT_LT(counted.largest, 16384) << dtype << ", " << name;
      EXPECT_LT(counted.calls, 20) << dtype << ", " << name;
    }
  }
}

}  // namespace
}  // namespace colony::engine
