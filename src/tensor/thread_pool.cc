// A generation counter under a futex-backed atomic wakes the workers; parts are taken from an
// atomic counter. The short spin before sleeping (kSpins pauses, about 15 µs) covers the gap between two
// products of one layer; longer spins were measured to cost more than they give when another
// process wants the core.
#include "tensor/thread_pool.h"

#include <immintrin.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/check.h"

namespace colony::tensor {

namespace {
constexpr int kSpins = 1000;
}

struct ThreadPool::State {
  std::atomic<uint32_t> generation{0};
  std::atomic<uint32_t> working{0};  // workers that have not yet finished this generation
  std::atomic<int> next{0};
  int parts = 0;
  const std::function<void(int)>* part = nullptr;
  std::atomic<bool> stop{false};
  std::vector<std::jthread> workers;

  void take_parts() {
    for (;;) {
      const int i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= parts) return;
      (*part)(i);
    }
  }
  static void wait_change(const std::atomic<uint32_t>& value, uint32_t old) {
    for (int i = 0; i < kSpins; ++i) {
      if (value.load(std::memory_order_acquire) != old) return;
      _mm_pause();
    }
    value.wait(old, std::memory_order_acquire);
  }
  void work() {
    uint32_t seen = 0;
    for (;;) {
      wait_change(generation, seen);
      const uint32_t now = generation.load(std::memory_order_acquire);
      if (now == seen) continue;
      seen = now;
      if (stop.load(std::memory_order_acquire)) return;
      take_parts();
      if (working.fetch_sub(1, std::memory_order_acq_rel) == 1) working.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  CHECK(threads >= 1, "a pool has at least the calling thread");
  for (int i = 1; i < threads; ++i) state_->workers.emplace_back([s = state_.get()] { s->work(); });
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true, std::memory_order_release);
  state_->generation.fetch_add(1, std::memory_order_acq_rel);
  state_->generation.notify_all();
}

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::run(int parts, const std::function<void(int)>& part) {
  State& s = *state_;
  if (s.workers.empty() || parts <= 1) {
    for (int i = 0; i < parts; ++i) part(i);
    return;
  }
  s.part = &part;
  s.parts = parts;
  s.next.store(0, std::memory_order_relaxed);
  const auto workers = static_cast<uint32_t>(s.workers.size());
  s.working.store(workers, std::memory_order_relaxed);
  s.generation.fetch_add(1, std::memory_order_acq_rel);
  s.generation.notify_all();
  s.take_parts();
  for (;;) {
    const uint32_t left = s.working.load(std::memory_order_acquire);
    if (left == 0) return;
    State::wait_change(s.working, left);
  }
}

}  // namespace colony::tensor
