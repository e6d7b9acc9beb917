#include "base/clock.h"

#include <sys/resource.h>

#include <array>
#include <ctime>
#include <fstream>

namespace colony {

std::chrono::nanoseconds SystemClock::now() const {
  return std::chrono::steady_clock::now().time_since_epoch();
}

int64_t SystemClock::unix_ms() const {
  return std::chrono::duration_cast<Millis>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

double process_cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

namespace {
uint64_t status_kib(const char* field, int pid) {
  std::ifstream status(pid > 0 ? "/proc/" + std::to_string(pid) + "/status" : "/proc/self/status");
  std::string word;
  while (status >> word) {
    if (word == field) {
      uint64_t kib = 0;
      status >> kib;
      return kib;
    }
  }
  return 0;
}
}  // namespace

uint64_t peak_resident_bytes(int pid) { return status_kib("VmHWM:", pid) * 1024; }
uint64_t resident_bytes() { return status_kib("VmRSS:", 0) * 1024; }

std::string local_time(const std::string& format, int64_t unix_ms) {
  const auto seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::tm parts{};
  if (localtime_r(&seconds, &parts) == nullptr) return "";
  std::array<char, 512> text{};
  const size_t size = std::strftime(text.data(), text.size(), format.c_str(), &parts);
  return std::string(text.data(), size);
}

}  // namespace colony
