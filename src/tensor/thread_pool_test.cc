#include "tensor/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/rng.h"

namespace colony::tensor {
namespace {

TEST(ThreadPool, EveryPartOfEveryCallOnceAndNoneLater) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    RngStream rng(3, static_cast<uint64_t>(threads), 0, 0);
    for (int call = 0; call < 3000; ++call) {
      const int parts = static_cast<int>(rng.below(40));
      std::vector<std::atomic<int>> times(40);  // gone after this call: a late part would be seen by the sanitizers
      const std::function<void(int)> part = [&](int i) {
        ASSERT_LT(i, parts);
        times[static_cast<size_t>(i)].fetch_add(1);
      };
      pool.run(parts, part);
      for (int i = 0; i < parts; ++i) ASSERT_EQ(times[static_cast<size_t>(i)].load(), 1) << call << " " << i;
    }
  }
}

TEST(ThreadPool, WhatPartsWroteIsSeenAfterTheCall) {
  ThreadPool pool(3);
  std::vector<int> values(1000);
  for (int call = 1; call <= 500; ++call) {
    pool.run(1000, [&](int i) { values[static_cast<size_t>(i)] += call; });
  }
  for (const int value : values) ASSERT_EQ(value, 500 * 501 / 2);
}

// Beside two processes' worth of spinning threads for each of ours, a call must not wait for a worker
// that does not get the processor: it would take a scheduler's quantum, some milliseconds, each time.
TEST(ThreadPool, IsNotHeldUpOnABusyMachine) {
  std::atomic<bool> stop{false};
  std::vector<std::jthread> busy;
  for (unsigned i = 0; i < 2 * std::max(2U, std::thread::hardware_concurrency()); ++i) {
    busy.emplace_back([&] {
      while (!stop.load(std::memory_order_relaxed)) {
      }
    });
  }
  {
    ThreadPool pool(2);
    const SystemClock clock;
    std::atomic<int> sum{0};
    const double start = clock.seconds();
    for (int call = 0; call < 2000; ++call) pool.run(16, [&](int) { sum.fetch_add(1); });
    const double seconds = clock.seconds() - start;
    EXPECT_EQ(sum.load(), 32'000);
    // Waiting for the worker every time took 2,000 times some milliseconds.
    EXPECT_LT(seconds, 3.0);
  }
  stop = true;
}

}  // namespace
}  // namespace colony::tensor
