#include "tensor/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <iostream>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/rng.h"
#include "tensor/thread_slice.h"

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

TEST(ThreadPool, SaysWhichPartFollowsOnTheSameThread) {
  for (const int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    for (int parts = 1; parts < 40; ++parts) {
      for (int thread = 0; thread < threads; ++thread) {
        const int first = parts * thread / threads, last = parts * (thread + 1) / threads;
        for (int part = first; part < last; ++part) EXPECT_EQ(pool.goes_on(part, parts), part + 1 < last) << part << " of " << parts << ", " << threads;
      }
    }
  }
}

TEST(ThreadPool, ItsThreadsAloneHaveShortSlices) {
  bool given = false;
  std::thread([&] { given = ask_for_short_slices() && slice_ns() != 0; }).join();
  if (!given) GTEST_SKIP() << "no thread has a slice of its own here (Linux 6.12 gives them, a sandbox may refuse)";
  std::thread([] {
    const uint64_t usual = slice_ns();
    ThreadPool pool(2);
    std::atomic<uint64_t> longest{0};
    std::atomic<int> begun{0};
    pool.run(2, [&](int) {  // each thread has one
      ++begun;
      while (begun < 2) {
      }
      for (uint64_t is = slice_ns(), most = longest; is > most && !longest.compare_exchange_weak(most, is);) {
      }
    });
    EXPECT_EQ(longest, 100'000U);
    uint64_t of_child = 0;
    std::thread([&] { of_child = slice_ns(); }).join();
    EXPECT_EQ(of_child, usual);
    EXPECT_GT(usual, 100'000U);
  }).join();
}

// Beside more spinning threads than there are processors a call must not wait for a worker that does
// not get one: that would take a scheduler's quantum, some milliseconds, each time. Compared with the
// same work on the caller alone, in the same conditions.
TEST(ThreadPool, IsNotHeldUpOnABusyMachine) {
  std::atomic<bool> stop{false};
  std::vector<std::jthread> busy;
  for (unsigned i = 0; i < 2 * std::max(2U, std::thread::hardware_concurrency()); ++i) {
    busy.emplace_back([&] {
      while (!stop.load(std::memory_order_relaxed)) {
      }
    });
  }
  const SystemClock clock;
  const auto burn = [&](double seconds) {
    for (const double end = clock.seconds() + seconds; clock.seconds() < end;) {
    }
  };
  const auto seconds_of = [&](int threads) {
    ThreadPool pool(threads);
    const double start = clock.seconds();
    for (int call = 0; call < 400; ++call) {
      burn(50e-6);  // long enough for a worker to fall asleep
      pool.run(4, [&](int) { burn(5e-6); });
    }
    return clock.seconds() - start;
  };
  const double alone = seconds_of(1), pooled = seconds_of(2);
  stop = true;
  std::cout << "  alone " << alone << " s, with a worker " << pooled << " s\n";
  EXPECT_LT(pooled, 4 * alone + 0.1);
}

}  // namespace
}  // namespace colony::tensor
