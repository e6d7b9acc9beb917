// Each thread has a range of a call's parts, generation, first and last in one word: whoever moves an end of it does that part. A
// thread takes its own range from the front, so that what it reads stands together in memory, and then the others' from the back.
// The caller waits for parts, never for workers: on a busy machine a worker that does not get the
// processor is not missed, and the others do its parts too. (Waiting for every worker to report was
// measured: beside two busy processes a run took ten times its share.)
//
// The short spin before sleeping (kSpins pauses, about 15 µs) covers the gap between two products of
// one layer.
#include "tensor/thread_pool.h"

#include <immintrin.h>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "base/check.h"
#include "tensor/thread_slice.h"

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
  // generation << 40 | first << 20 | last: parts that nobody has taken yet. A worker that comes late finds the next call's or none.
  // Who took a part keeps the call alive: run() does not return before it is done.
  struct alignas(64) Range {
    std::atomic<uint64_t> word{0};

    bool take(bool front, int* which) {
      uint64_t now = word.load(std::memory_order_acquire);
      for (;;) {
        const uint64_t first = now >> kPartBits & kPartMask, last = now & kPartMask;
        if (first >= last) return false;
        const uint64_t then = front ? now + (1 << kPartBits) : now - 1;
        if (!word.compare_exchange_weak(now, then, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
        *which = static_cast<int>(front ? first : last - 1);
        return true;
      }
    }
  };
  std::vector<Range> ranges;            // one a thread
  std::atomic<uint32_t> generation{0};  // what workers sleep on
  std::atomic<uint32_t> done{0};        // parts finished in this generation
  std::atomic<Call> call{nullptr};
  std::atomic<const void*> part{nullptr};
  std::atomic<bool> stop{false};
  std::vector<std::jthread> workers;

  explicit State(size_t threads) : ranges(threads) {}
  // Does what it can get; says how many parts that were.
  uint32_t take_parts(size_t thread) {
    uint32_t taken = 0;
    for (size_t i = 0; i < ranges.size(); ++i) {
      Range& range = ranges[(thread + i) % ranges.size()];
      for (int part_taken = 0; range.take(i == 0, &part_taken); ++taken) {
        call.load(std::memory_order_relaxed)(part.load(std::memory_order_relaxed), part_taken);
      }
    }
    return taken;
  }
  void work(size_t thread) {
    ask_for_short_slices();
    uint32_t seen = 0;
    for (;;) {
      wait_change(generation, seen);
      seen = generation.load(std::memory_order_acquire);
      if (stop.load(std::memory_order_acquire)) return;
      if (const uint32_t taken = take_parts(thread); taken > 0) {
        done.fetch_add(taken, std::memory_order_acq_rel);
        done.notify_one();
      }
    }
  }
};

ThreadPool::ThreadPool(int threads) {
  CHECK(threads >= 1, "a pool has at least the calling thread");
  state_ = std::make_unique<State>(static_cast<size_t>(threads));
  for (size_t i = 1; i < state_->ranges.size(); ++i) state_->workers.emplace_back([s = state_.get(), i] { s->work(i); });
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true, std::memory_order_release);
  state_->generation.fetch_add(1, std::memory_order_acq_rel);
  state_->generation.notify_all();
}

int ThreadPool::threads() const { return static_cast<int>(state_->ranges.size()); }

bool ThreadPool::goes_on(int part, int parts) const {
  const int64_t threads = this->threads(), next = int64_t{part} + 1;
  const int64_t owner = (next * threads - 1) / parts;  // whose range has the part: parts owner / threads <= part
  return next < parts * (owner + 1) / threads;
}

void ThreadPool::run_parts(int parts, Call call, const void* part) {
  State& s = *state_;
  if (s.workers.empty() || parts <= 1) {
    for (int i = 0; i < parts; ++i) call(part, i);
    return;
  }
  CHECK(static_cast<uint64_t>(parts) <= kPartMask, "too many parts for one call");
  [[maybe_unused]] thread_local const bool asked = ask_for_short_slices();
  // Every part of the last call is finished, so nobody looks at these before a range says so.
  s.call.store(call, std::memory_order_relaxed);
  s.part.store(part, std::memory_order_relaxed);
  s.done.store(0, std::memory_order_relaxed);
  const uint32_t generation = s.generation.load(std::memory_order_relaxed) + 1;
  const uint64_t threads = s.ranges.size(), all = static_cast<uint64_t>(parts);
  for (uint64_t i = 0; i < threads; ++i) {
    s.ranges[i].word.store(static_cast<uint64_t>(generation) << (2 * kPartBits) | (all * i / threads) << kPartBits | all * (i + 1) / threads,
                           std::memory_order_release);
  }
  s.generation.store(generation, std::memory_order_release);
  s.generation.notify_all();
  s.done.fetch_add(s.take_parts(0), std::memory_order_acq_rel);
  for (;;) {
    const uint32_t finished = s.done.load(std::memory_order_acquire);
    if (finished == static_cast<uint32_t>(parts)) return;
    wait_change(s.done, finished);
  }
}

}  // namespace colony::tensor
