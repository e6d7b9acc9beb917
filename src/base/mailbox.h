// Mailbox: a bounded queue, the one way into another thread.
//
// When full, push waits and try_push says no: the sender decides, nothing is dropped in silence.
// After close(), pushes fail and pops drain what is left, then return nothing.
// Threads: any number on both ends.
#pragma once
#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/sync.h"

namespace colony {

template <typename T>
class Mailbox {
 public:
  explicit Mailbox(size_t capacity) : capacity_(capacity) { CHECK(capacity > 0, "empty mailbox"); }

  // Waits for room. False when closed; the item is then lost to the caller, who still knows it.
  [[nodiscard]] bool push(T item) EXCLUDES(mutex_) {
    Lock lock(mutex_);
    while (items_.size() >= capacity_ && !closed_) room_.wait(mutex_);
    if (closed_) return false;
    items_.push_back(std::move(item));
    ready_.notify_one();
    return true;
  }
  // Never waits. False when full or closed; `item` is then untouched.
  [[nodiscard]] bool try_push(T& item) EXCLUDES(mutex_) {
    Lock lock(mutex_);
    if (closed_ || items_.size() >= capacity_) return false;
    items_.push_back(std::move(item));
    ready_.notify_one();
    return true;
  }
  // Waits for an item. Nothing when closed and empty.
  std::optional<T> pop() EXCLUDES(mutex_) {
    Lock lock(mutex_);
    while (items_.empty() && !closed_) ready_.wait(mutex_);
    return take();
  }
  // Never waits.
  std::optional<T> try_pop() EXCLUDES(mutex_) {
    Lock lock(mutex_);
    return take();
  }
  void close() EXCLUDES(mutex_) {
    Lock lock(mutex_);
    closed_ = true;
    ready_.notify_all();
    room_.notify_all();
  }

 private:
  std::optional<T> take() REQUIRES(mutex_) {
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    room_.notify_one();
    return item;
  }

  const size_t capacity_;
  Mutex mutex_;
  CondVar ready_, room_;
  std::deque<T> items_ GUARDED_BY(mutex_);
  bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace colony
