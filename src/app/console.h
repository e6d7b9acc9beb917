// What a person sees: notes and a progress bar on standard error, tables on standard output.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "base/stats.h"

namespace colony::app {

// A line on standard error. Never prompts or answers.
void note_line(const std::string& line);
template <typename... Args>
void note(fmt::format_string<Args...> format, Args&&... args) {
  note_line(fmt::format(format, std::forward<Args>(args)...));
}

// "colony: <message>" on standard error.
void complain(const Error& error);

// One line and a flush on standard output. When nobody reads it any more, or the disk is full, the
// work for it ends: interrupted() says so from then on.
void print_line(const std::string& line);
// Whether all that was printed has arrived: kUnavailable with the system's reason if not.
Status printed();
// Whoever read standard output has stopped reading, as head does.
bool pipe_closed();

// For main(): Ctrl-C and SIGTERM end the process with status 130, a closed pipe is an error of
// printed(), and a standard stream that is closed is not taken by the next file that is opened.
void begin_process();
// From here on the first Ctrl-C (or SIGTERM) only sets a flag; the second ends the process.
void catch_interrupts();
bool interrupted();

// A bar on a terminal, else a plain line now and then. Threads: one owner.
class Progress {
 public:
  Progress(std::string what, const Clock& clock);
  ~Progress();
  // `detail`: what stands behind the count ("12.3 tasks/s").
  void show(int64_t done, int64_t total, const std::string& detail);
  // Removes the bar, so that something else can be written.
  void clear();

 private:
  const std::string what_;
  const Clock& clock_;
  const bool terminal_;
  bool shown_ = false;
  double last_ = -1e9;
};

// The bar's line, no wider than `columns` - 1: first the detail is cut, then the bar shrinks, last the rest is cut.
std::string progress_line(const std::string& what, int64_t done, int64_t total, const std::string& detail, int columns);

// Columns as wide as their widest cell, the first left-aligned, the others right-aligned.
std::string table(const std::vector<std::vector<std::string>>& rows);

// ".71 [.66, .75]".
std::string with_interval(double value, double low, double high);
// Mean and half of Student's 95 % interval: "0.7100 ±0.0123"; `sign`: "+0.0041 ±0.0030".
std::string with_half(std::span<const double> values, int digits, bool sign = false);
Json ends(const Interval& interval);  // [low, high]

}  // namespace colony::app
