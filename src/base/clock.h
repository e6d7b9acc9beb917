// Time, passed in. Only this room reads the machine's clocks.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace colony {

using Millis = std::chrono::milliseconds;

class Clock {
 public:
  virtual ~Clock() = default;
  // Monotonic time since an arbitrary start.
  virtual std::chrono::nanoseconds now() const = 0;
  // Milliseconds since 1970-01-01 UTC, for what people read.
  virtual int64_t unix_ms() const = 0;

  double seconds() const { return std::chrono::duration<double>(now()).count(); }
};

// The machine's clocks. Threads: any.
class SystemClock final : public Clock {
 public:
  std::chrono::nanoseconds now() const override;
  int64_t unix_ms() const override;
};

// For tests: stands still until told. Threads: one.
class ManualClock final : public Clock {
 public:
  std::chrono::nanoseconds now() const override { return now_; }
  int64_t unix_ms() const override {
    return std::chrono::duration_cast<Millis>(now_).count();
  }
  void advance(std::chrono::nanoseconds by) { now_ += by; }

 private:
  std::chrono::nanoseconds now_{0};
};

// CPU time used by this process so far, all threads, in seconds.
double process_cpu_seconds();
// Peak and current resident memory in bytes, of this process or of `pid` (0 where /proc is absent).
uint64_t peak_resident_bytes(int pid = 0);
uint64_t resident_bytes();
// Local time by C strftime, for the chat templates' strftime_now. "" when the format is too long.
std::string local_time(const std::string& format, int64_t unix_ms);

}  // namespace colony
