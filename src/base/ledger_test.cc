#include <gtest/gtest.h>

#include <thread>

#include "base/budget.h"
#include "base/byte_ledger.h"
#include "base/mailbox.h"
#include "base/rng.h"
#include "base/stats.h"

namespace colony {
namespace {

TEST(ByteLedger, NeverPassesItsCeiling) {
  ByteLedger ledger(100);
  auto weights = ledger.take("weights", 60);
  ASSERT_TRUE(weights);
  auto kv = ledger.take("kv", 41);
  ASSERT_FALSE(kv);
  EXPECT_EQ(kv.error().code, ErrorCode::kExhausted);
  EXPECT_NE(kv.error().message.find("weights 60 B"), std::string::npos) << kv.error().message;
  EXPECT_FALSE(weights->resize(101));
  EXPECT_EQ(ledger.used(), 60u);
  ASSERT_TRUE(weights->resize(100));
  { ByteLease moved = std::move(*weights); }
  EXPECT_EQ(ledger.used(), 0u);
  EXPECT_EQ(ledger.peak(), 100u);
  EXPECT_FALSE(ledger.take("kv", UINT64_MAX));
}

// Whoever asks, for whatever, in whatever order: what was admitted never passes the ceiling, and what was refused changes nothing.
TEST(ByteLedger, AdmitsNoMoreThanItsCeilingUnderAdversarialArrival) {
  constexpr uint64_t kCeiling = 1'000'000;
  ByteLedger ledger(kCeiling);
  std::atomic<uint64_t> admitted{0}, refused{0};
  std::atomic<bool> passed{false};
  {
    std::vector<std::jthread> threads;
    for (uint32_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        RngStream rng(7, t, 0, 7);
        std::vector<ByteLease> held;
        for (int i = 0; i < 3000; ++i) {
          const uint64_t used = ledger.used(), left = kCeiling > used ? kCeiling - used : 0;
          const uint64_t asks[] = {0, 1, left, left + 1, kCeiling, kCeiling + 1, UINT64_MAX, UINT64_MAX - used, rng.below(kCeiling / 8)};
          const uint64_t bytes = asks[rng.below(std::size(asks))];
          if (held.empty() || rng.uniform() < .5) {
            auto lease = ledger.take("owner", bytes);
            (lease ? admitted : refused).fetch_add(1);
            if (lease) held.push_back(std::move(*lease));
          } else if (ByteLease& one = held[rng.below(held.size())]; rng.uniform() < .5) {
            const uint64_t before = one.bytes();
            const bool fits = static_cast<bool>(one.resize(bytes));
            if (one.bytes() != (fits ? bytes : before)) passed = true;
          } else {
            std::swap(one, held.back());
            held.pop_back();
          }
          if (ledger.used() > kCeiling) passed = true;
        }
      });
    }
  }
  EXPECT_FALSE(passed);
  EXPECT_LE(ledger.peak(), kCeiling);
  EXPECT_GT(ledger.peak(), kCeiling * 9 / 10);
  EXPECT_EQ(ledger.used(), 0u);
  EXPECT_GT(admitted, 1000u);
  EXPECT_GT(refused, 1000u);
}

TEST(Bytes, AreReadAndWritten) {
  EXPECT_EQ(*parse_bytes("2GiB"), 2ULL << 30);
  EXPECT_EQ(*parse_bytes("1.5 m"), 3ULL << 19);
  EXPECT_EQ(*parse_bytes("77"), 77u);
  for (const char* bad : {"", "x", "-1", "1QiB", "nan", "1e99"}) EXPECT_FALSE(parse_bytes(bad)) << bad;
  EXPECT_EQ(format_bytes(1610612736), "1.5 GiB");
}

TEST(Budget, IsNeverPassedByOneToken) {
  Budget budget(1000);
  std::atomic<uint64_t> taken{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        while (budget.debit(7)) taken += 7;
      });
    }
  }
  EXPECT_EQ(taken, 994u);
  EXPECT_EQ(budget.left(), 6u);
  EXPECT_EQ(budget.spent(), 994u);
  EXPECT_FALSE(budget.debit(7));
}

TEST(Mailbox, RefusesWhenFullAndDrainsAfterClose) {
  Mailbox<int> box(2);
  int a = 1, b = 2, c = 3;
  EXPECT_TRUE(box.try_push(a));
  EXPECT_TRUE(box.try_push(b));
  EXPECT_FALSE(box.try_push(c));
  box.close();
  EXPECT_FALSE(box.push(4));
  EXPECT_EQ(box.pop(), 1);
  EXPECT_EQ(box.pop(), 2);
  EXPECT_EQ(box.pop(), std::nullopt);
}

TEST(Mailbox, LosesNothingBetweenThreads) {
  Mailbox<int> box(3);
  long sum = 0;
  {
    std::jthread reader([&] {
      while (auto item = box.pop()) sum += *item;
    });
    for (int i = 1; i <= 1000; ++i) ASSERT_TRUE(box.push(i));
    box.close();
  }
  EXPECT_EQ(sum, 500500);
}

TEST(Intervals, StudentsIntervalIsThatOfTheTables) {
  const std::vector<double> five{1, 2, 3, 4, 5}, ten{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_NEAR(student95(five).high, 3 + 1.96324, 1e-4);  // R: t.test(1:5)
  EXPECT_NEAR(student95(ten).low, 4.5 - 2.165851, 1e-3);
  EXPECT_EQ(student95(std::vector<double>{.5}).low, .5);
  EXPECT_EQ(student95(std::vector<double>{}).high, 0);
}

TEST(Intervals, AgreeWithKnownValues) {
  EXPECT_EQ(wilson95(0, 500).low, 0);
  EXPECT_EQ(wilson95(500, 500).high, 1);
  const auto w = wilson95(8, 10);  // 0.4902, 0.9433: R's prop.test(8, 10, correct = FALSE)
  EXPECT_NEAR(w.low, 0.4902, 1e-4);
  EXPECT_NEAR(w.high, 0.9433, 1e-4);
  std::vector<double> soft;
  for (int i = 0; i < 400; ++i) soft.push_back((i % 5) / 4.0);  // mean .5, sd .3536
  const auto b = interval95(soft);
  EXPECT_NEAR(b.low, 0.5 - 1.96 * 0.3536 / 20, 0.008);
  EXPECT_NEAR(b.high, 0.5 + 1.96 * 0.3536 / 20, 0.008);
}

}  // namespace
}  // namespace colony
