// A call is a ticket, generation, parts and next part in one word: whoever moves it on by one does that part.
// The caller waits for parts, never for workers: on a busy machine a worker that does not get the
// processor is not missed, and the caller does its parts too. (Waiting for every worker to report was
// measured: beside two busy processes a run took ten times its share.)
//
// The short spin before sleeping (kSpins pauses, about 15 µs) covers the gap between two products of
// one layer.
#include "tensor/thread_pool.h"

#include <immintrin.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/check.h"

namespace colony::tensor {

namespace {
constexpr int kSpins = 1000;
constexpr int kPartBits = 20;
constexpr uint64_t kPartMask = (1 << kPartBits) - 1;

template <typename T>
void wait_change(const std::atomic<T>& value, T old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    _mm_pause();
  }
  value.wait(old, std::memory_order_acquire);
}
}  // namespace

struct ThreadPool::State {
  // generation << 40 | parts << 20 | next part, so that a worker that comes late takes nothing. Who took a
  // part keeps the call alive: run() does not return before it is done.
  std::atomic<uint64_t> ticket{0};
  std::atomic<uint32_t> generation{0};  // what workers sleep on
  std::atomic<uint32_t> done{0};        // parts finished in this generation
  std::atomic<Call> call{nullptr};
  std::atomic<const void*> part{nullptr};
  std::atomic<bool> stop{false};
  std::vector<std::jthread> workers;

  void take_parts() {
    uint64_t now = ticket.load(std::memory_order_acquire);
    for (;;) {
      const uint64_t all = now >> kPartBits & kPartMask, i = now & kPartMask;
      if (i >= all) return;
      if (!ticket.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
      call.load(std::memory_order_relaxed)(part.load(std::memory_order_relaxed), static_cast<int>(i));
      if (done.fetch_add(1, std::memory_order_acq_rel) + 1 == all) done.notify_one();
      now = ticket.load(std::memory_order_acquire);
    }
  }
  void work() {
    uint32_t seen = 0;
    for (;;) {
      wait_change(generation, seen);
      seen = generation.load(std::memory_order_acquire);
      if (stop.load(std::memory_order_acquire)) return;
      take_parts();
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

void ThreadPool::run_parts(int parts, Call call, const void* part) {
  State& s = *state_;
  if (s.workers.empty() || parts <= 1) {
    for (int i = 0; i < parts; ++i) call(part, i);
    return;
  }
  CHECK(static_cast<uint64_t>(parts) <= kPartMask, "too many parts for one call");
  // Every part of the last call is finished, so nobody looks at these before the ticket says so.
  s.call.store(call, std::memory_order_relaxed);
  s.part.store(part, std::memory_order_relaxed);
  s.done.store(0, std::memory_order_relaxed);
  const uint32_t generation = s.generation.load(std::memory_order_relaxed) + 1;
  s.ticket.store(static_cast<uint64_t>(generation) << (2 * kPartBits) | static_cast<uint64_t>(parts) << kPartBits, std::memory_order_release);
  s.generation.store(generation, std::memory_order_release);
  s.generation.notify_all();
  s.take_parts();
  for (;;) {
    const uint32_t finished = s.done.load(std::memory_order_acquire);
    if (finished == static_cast<uint32_t>(parts)) return;
    wait_change(s.done, finished);
  }
}

}  // namespace colony::tensor
