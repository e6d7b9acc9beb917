// The token budget of one request tree: debited before each step, never passed by one token.
//
// A delegated request shares its parent's budget by shared_ptr. Threads: any.
#pragma once
#include <atomic>
#include <cstdint>
#include <limits>

namespace colony {

class Budget {
 public:
  static constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();
  explicit Budget(uint64_t tokens = kUnlimited) : left_(tokens), limit_(tokens) {}

  // Takes `tokens` if all of them are left; otherwise takes nothing and says false.
  [[nodiscard]] bool debit(uint64_t tokens) {
    if (limit_ == kUnlimited) {
      spent_.fetch_add(tokens, std::memory_order_relaxed);
      return true;
    }
    uint64_t left = left_.load(std::memory_order_relaxed);
    do {
      if (left < tokens) return false;
    } while (!left_.compare_exchange_weak(left, left - tokens, std::memory_order_relaxed));
    spent_.fetch_add(tokens, std::memory_order_relaxed);
    return true;
  }
  uint64_t left() const { return limit_ == kUnlimited ? kUnlimited : left_.load(); }
  uint64_t spent() const { return spent_.load(); }
  uint64_t limit() const { return limit_; }

 private:
  std::atomic<uint64_t> left_;
  std::atomic<uint64_t> spent_{0};
  const uint64_t limit_;
};

}  // namespace colony
