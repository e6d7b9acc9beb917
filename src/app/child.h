// Another program in a process of its own, spoken to over pipes.
#pragma once
#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace colony::app {

// The file of this program, beside which others of ours stand; empty where the system does not say.
std::filesystem::path program_path();

// A process with a pipe into it and one out of it; killed with everything it started when this goes.
class Child {
 public:
  Child() = default;
  ~Child();
  Child(Child&& other) noexcept { *this = std::move(other); }
  Child& operator=(Child&& other) noexcept;

  // Its standard error is ours. Fails kUnavailable.
  static Result<Child> start(const std::vector<std::string>& command);
  Status write_line(const std::string& line);
  // Fails kUnavailable when it ends before a line is whole, or says nothing for `seconds`.
  Result<std::string> read_line(double seconds);
  // The rest of its output, until it ends; fails unless it ends with status 0, and kExhausted beyond `most` bytes.
  Result<std::string> read_all(uint64_t most = 1ULL << 30);
  void pause();
  void go_on();
  uint64_t peak_resident_bytes() const;  // so far; 0 where /proc is absent
  // Ends it: by closing its input when `asked`, else (and after 10 s) by a signal. CPU seconds it used.
  double finish(bool asked = true);

 private:
  pid_t pid_ = -1;
  int in_ = -1, out_ = -1;
  std::string buffer_;
};

}  // namespace colony::app
