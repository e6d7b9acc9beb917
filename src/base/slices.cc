#include "base/slices.h"

#include <utility>

namespace colony {

Slices::Slices(Work work, const Clock& clock) : clock_(clock), work_(std::move(work)) {}

Slices::~Slices() {
  if (!thread_.joinable()) return;
  {
    Lock lock(mutex_);
    stopping_ = true;
    turn_ = Turn::kWork;
    turned_.notify_all();
  }
  thread_.join();
}

bool Slices::run(std::chrono::nanoseconds time) {
  Lock lock(mutex_);
  if (ended_) return false;
  until_ = clock_.now() + time;
  turn_ = Turn::kWork;
  if (!thread_.joinable()) {
    thread_ = std::thread([this] {
      {
        Lock own(mutex_);
        while (turn_ != Turn::kWork) turned_.wait(mutex_);
      }
      work_(*this);
      Lock own(mutex_);
      ended_ = true;
      turn_ = Turn::kOwner;
      turned_.notify_all();
    });
  }
  turned_.notify_all();
  while (turn_ != Turn::kOwner) turned_.wait(mutex_);
  return !ended_;
}

bool Slices::breathe() {
  Lock lock(mutex_);
  if (stopping_) return false;
  if (clock_.now() < until_) return true;
  turn_ = Turn::kOwner;
  turned_.notify_all();
  while (turn_ != Turn::kWork) turned_.wait(mutex_);
  return !stopping_;
}

}  // namespace colony
