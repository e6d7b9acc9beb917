#include "app/console.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "text/unicode.h"

namespace colony::app {
namespace {

std::atomic<bool> stop{false}, graceful{false};
int output_errno = 0;  // the first failure of standard output

extern "C" void on_signal(int) {
  if (!graceful.load() || stop.exchange(true)) ::_exit(130);
}

// Of a terminal; `text` is valid UTF-8.
size_t width(std::string_view text) {
  size_t columns = 0;
  for (size_t at = 0; at < text.size();) {
    const auto c = text::code_point(text, at);
    columns += static_cast<size_t>(text::columns(c.value));
    at += static_cast<size_t>(c.size);
  }
  return columns;
}

// The longest beginning that is not wider.
std::string_view within(std::string_view text, size_t columns) {
  size_t at = 0;
  for (size_t taken = 0; at < text.size();) {
    const auto c = text::code_point(text, at);
    taken += static_cast<size_t>(text::columns(c.value));
    if (taken > columns) break;
    at += static_cast<size_t>(c.size);
  }
  return text.substr(0, at);
}

// Of the terminal that standard error is.
int terminal_columns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const char* said = std::getenv("COLUMNS");  // NOLINT(concurrency-mt-unsafe): nobody sets variables
  const int columns = said != nullptr ? std::atoi(said) : 0;
  return columns > 0 ? columns : 80;
}

// Messages quote what was found in files: no broken UTF-8 and no control sequence of theirs reaches
// a terminal or a log.
std::string shown(const std::string& message) {
  std::string out;
  for (const char c : text::lossy_utf8(message)) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f) out += fmt::format("\\x{:02x}", byte);
    else out += c;
  }
  return out;
}

}  // namespace

void note_line(const std::string& line) { std::fprintf(stderr, "%s\n", shown(line).c_str()); }
void complain(const Error& error) { std::fprintf(stderr, "colony: %s\n", shown(error.message).c_str()); }

void print_line(const std::string& line) {
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fputc('\n', stdout);
  if (!printed()) stop.store(true);
}

Status printed() {
  if (output_errno == 0 && (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)) output_errno = errno != 0 ? errno : EIO;
  if (output_errno == 0) return {};
  return unavailable("standard output: {}", std::strerror(output_errno));
}

bool pipe_closed() { return output_errno == EPIPE; }

void begin_process() {
  for (int fd = 0; fd <= 2; ++fd) {
    // For reading: what is written to a closed stream goes on to fail.
    if (::fcntl(fd, F_GETFD) == -1 && errno == EBADF) (void)::open("/dev/null", O_RDONLY);
  }
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  std::signal(SIGPIPE, SIG_IGN);
}
void catch_interrupts() { graceful.store(true); }
bool interrupted() { return stop.load(); }

Progress::Progress(std::string what, const Clock& clock)
    : what_(std::move(what)), clock_(clock), terminal_(::isatty(STDERR_FILENO) == 1) {}
Progress::~Progress() { clear(); }

void Progress::show(int64_t done, int64_t total, const std::string& detail) {
  const double now = clock_.seconds();
  if (now - last_ < (terminal_ ? 0.1 : 10.0) && done != total) return;
  last_ = now;
  if (!terminal_) {
    note("{} {}/{}  {}", what_, done, total, detail);
    return;
  }
  std::fprintf(stderr, "\r\033[K%s", progress_line(what_, done, total, detail, terminal_columns()).c_str());
  std::fflush(stderr);
  shown_ = true;
}

std::string progress_line(const std::string& what, int64_t done, int64_t total, const std::string& detail, int columns) {
  constexpr size_t kBar = 24;
  // A terminal that writes into its last column may already begin the next line.
  const auto room = static_cast<size_t>(std::max(columns - 1, 1));
  const std::string name = shown(what) + " ", count = fmt::format("{}/{}", done, total);
  const size_t rest = width(name) + 1 + width(count);
  const size_t bar = room > rest ? std::min(kBar, room - rest) : 0;
  const size_t filled = total > 0 ? static_cast<size_t>(std::clamp<int64_t>(done, 0, total)) * bar / static_cast<size_t>(total) : bar;
  std::string line = name;
  for (size_t i = 0; i < bar; ++i) line += i < filled ? "█" : "░";
  if (bar > 0) line += " ";
  line += count;
  if (!detail.empty()) line += "  " + shown(detail);
  return std::string(within(line, room));
}

void Progress::clear() {
  if (shown_) std::fprintf(stderr, "\r\033[K");
  shown_ = false;
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(text::lossy_utf8(row[i])));
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string pad(widths[i] - width(text::lossy_utf8(row[i])), ' ');
      line += (i > 0 ? "  " : "") + (i == 0 ? row[i] + pad : pad + row[i]);
    }
    while (line.ends_with(' ')) line.pop_back();
    out += line + "\n";
  }
  return out;
}

std::string with_half(std::span<const double> values, int digits, bool sign) {
  const Interval interval = student95(values);
  const double middle = mean(values);
  return fmt::format("{}{:.{}f} ±{:.{}f}", sign && middle > 0 ? "+" : "", middle, digits, (interval.high - interval.low) / 2, digits);
}

Json ends(const Interval& interval) { return Json{interval.low, interval.high}; }

std::string with_interval(double value, double low, double high) {
  return fmt::format("{:.2f} [{:.2f}, {:.2f}]", value, low, high);
}

}  // namespace colony::app
