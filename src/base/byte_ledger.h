// The byte ledger: who holds how much memory, under one ceiling.
//
// Every large allocation of the process (weights, adapters, KV pages, scratch, trainer, traces) is
// taken here first; what does not fit is refused with a message that shows the ledger. Promise: the
// sum never passes the ceiling.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/sync.h"

namespace colony {

class ByteLedger;

// Bytes taken; given back on destruction. Movable. Must not outlive its ledger.
class [[nodiscard]] ByteLease {
 public:
  ByteLease() = default;
  ByteLease(ByteLease&& other) noexcept { swap(other); }
  ByteLease& operator=(ByteLease&& other) noexcept {
    ByteLease(std::move(other)).swap(*this);
    return *this;
  }
  ~ByteLease();
  uint64_t bytes() const { return bytes_; }
  // Takes more (or gives some back) under the same owner. Fails kExhausted, leaving it as it was.
  Status resize(uint64_t bytes);

 private:
  friend class ByteLedger;
  ByteLease(ByteLedger* ledger, std::string owner, uint64_t bytes)
      : ledger_(ledger), owner_(std::move(owner)), bytes_(bytes) {}
  void swap(ByteLease& other) noexcept {
    std::swap(ledger_, other.ledger_);
    std::swap(owner_, other.owner_);
    std::swap(bytes_, other.bytes_);
  }

  ByteLedger* ledger_ = nullptr;
  std::string owner_;
  uint64_t bytes_ = 0;
};

// Threads: any.
class ByteLedger {
 public:
  explicit ByteLedger(uint64_t ceiling_bytes) : ceiling_(ceiling_bytes) {}

  // Fails kExhausted when the sum would pass the ceiling; the message lists the owners.
  // Owners in use: "weights", "adapters", "kv", "scratch", "trainer", "traces".
  Result<ByteLease> take(const std::string& owner, uint64_t bytes) EXCLUDES(mutex_);

  uint64_t ceiling() const { return ceiling_; }
  uint64_t used() const EXCLUDES(mutex_);
  uint64_t peak() const EXCLUDES(mutex_);
  // (owner, bytes) in alphabetical order.
  std::vector<std::pair<std::string, uint64_t>> owners() const EXCLUDES(mutex_);

 private:
  friend class ByteLease;
  Status change(const std::string& owner, uint64_t from, uint64_t to) EXCLUDES(mutex_);

  const uint64_t ceiling_;
  mutable Mutex mutex_;
  uint64_t used_ GUARDED_BY(mutex_) = 0;
  uint64_t peak_ GUARDED_BY(mutex_) = 0;
  std::map<std::string, uint64_t> by_owner_ GUARDED_BY(mutex_);
};

// "2GiB", "512 MiB", "1.5G", "1000000" -> bytes. Fails kInvalid.
Result<uint64_t> parse_bytes(std::string_view text);
// 1610612736 -> "1.5 GiB".
std::string format_bytes(uint64_t bytes);

}  // namespace colony
