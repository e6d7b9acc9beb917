// What an agent has to do before it could begin with one more task, and what a deadline makes of its bid.
//
// For agents that do one task after another; agents that share an engine's steps have no queues of their own.
// Source: swarm_algorithms 2.2.
#pragma once
#include <cstdint>
#include <deque>
#include <utility>

#include "swarm/messages.h"

namespace colony::swarm {

// Times in milliseconds of one clock, of which only differences count; where it goes back, no time has passed.
class WorkQueue {
 public:
  static constexpr size_t kMost = 4096;  // tasks; more are not counted

  // The agent is to do this task too, which is expected to take `expected_ms`.
  void begin(TaskId task, double expected_ms, uint64_t now_ms);
  void end(TaskId task, uint64_t now_ms);  // nothing where it is not there
  // Until the last of them is expected to be done. The first one's rest is what was expected of it less the time it has taken, but
  // never below a third of that: what is late is likely to stay late, and an agent that hangs looks ever busier.
  double wait_ms(uint64_t now_ms) const;

 private:
  std::deque<std::pair<TaskId, double>> tasks_;  // as begun
  uint64_t since_ = 0;                           // when the first of them became the first
};

// A bid says nothing when it would have to wait longer than this share of what is left until the deadline.
inline constexpr double kWaitMost = 0.8;

// An index where the answer is worth nothing after `deadline_ms` from now (> 0):
//   index·(1 − late) − 0.35·wait/deadline,   late = wait ≥ deadline ? 1 : exp(−(deadline − wait)/service)
// service_ms: what the work itself is expected to take; 0: nothing is known, and then it takes no time.
double in_time(double index, double wait_ms, double deadline_ms, double service_ms);

}  // namespace colony::swarm
