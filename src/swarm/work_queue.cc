#include "swarm/work_queue.h"

#include <algorithm>
#include <cmath>

namespace colony::swarm {
namespace {

constexpr double kWaitPrice = 0.35;     // of waiting for the whole deadline, in units of success
constexpr double kRestOfElapsed = 1.0 / 3;

}  // namespace

void WorkQueue::begin(TaskId task, double expected_ms, uint64_t now_ms) {
  if (tasks_.size() >= kMost) return;
  if (tasks_.empty()) since_ = now_ms;
  tasks_.emplace_back(task, expected_ms);
}

void WorkQueue::end(TaskId task, uint64_t now_ms) {
  const auto at = std::find_if(tasks_.begin(), tasks_.end(), [&](const auto& one) { return one.first == task; });
  if (at == tasks_.end()) return;
  if (at == tasks_.begin()) since_ = now_ms;
  tasks_.erase(at);
}

double WorkQueue::wait_ms(uint64_t now_ms) const {
  if (tasks_.empty()) return 0;
  const double elapsed = now_ms > since_ ? static_cast<double>(now_ms - since_) : 0;
  double wait = std::max(tasks_.front().second - elapsed, elapsed * kRestOfElapsed);
  for (size_t i = 1; i < tasks_.size(); ++i) wait += tasks_[i].second;
  return wait;
}

double in_time(double index, double wait_ms, double deadline_ms, double service_ms) {
  const double left = deadline_ms - wait_ms;
  const double late = left <= 0 ? 1 : service_ms > 0 ? std::exp(-left / service_ms) : 0;
  return index * (1 - late) - kWaitPrice * wait_ms / deadline_ms;
}

}  // namespace colony::swarm
