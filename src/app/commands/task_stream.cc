#include "app/commands/task_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "app/console.h"

namespace colony::app {
namespace {

constexpr size_t kLineMost = 1ULL << 30;  // bytes

}  // namespace

struct TaskStream::State {
  State(data::TaskReader r, std::string n) : reader(std::move(r)), checks(""), name(std::move(n)) {}
  ~State() {
    if (fd > 0) ::close(fd);
    if (kept != nullptr) std::fclose(kept);
  }

  int fd = 0;
  std::FILE* kept = nullptr;
  data::TaskReader reader;
  CheckMaker checks;
  std::string name;
  std::string bytes;   // read, not yet taken
  size_t taken = 0, looked = 0;  // of them
  bool closed = false;
  size_t problems = 0;

  // A whole line in `bytes`, or the rest at the end.
  std::optional<std::string_view> line() {
    const size_t end = bytes.find('\n', looked);
    looked = bytes.size();
    if (end == std::string::npos && (!closed || taken == bytes.size())) return std::nullopt;
    const size_t stop = std::min(end, bytes.size());
    const std::string_view found(bytes.data() + taken, stop - taken);
    taken = looked = std::min(stop + 1, bytes.size());
    return found;
  }

  // Reads once. False when nothing came within `wait`.
  Result<bool> fill(std::chrono::milliseconds wait) {
    pollfd waits{fd, POLLIN, 0};
    const int ready = ::poll(&waits, 1, static_cast<int>(wait.count()));
    if (ready <= 0) {
      if (ready == 0 || errno == EINTR) return false;
      return unavailable("{}: {}", name, std::strerror(errno));
    }
    bytes.erase(0, taken);
    looked -= taken;
    taken = 0;
    char buffer[1 << 16];
    const auto got = ::read(fd, buffer, sizeof buffer);
    if (got < 0) {
      if (errno == EINTR || errno == EAGAIN) return false;
      return unavailable("{}: {}", name, std::strerror(errno));
    }
    closed = got == 0;
    bytes.append(buffer, static_cast<size_t>(got));
    if (bytes.size() > kLineMost) return exhausted("{}: line {} is longer than {} bytes", name, reader.lines() + 1, kLineMost);
    return true;
  }
};

TaskStream::TaskStream() = default;
TaskStream::~TaskStream() = default;
bool TaskStream::ended() const { return state_->closed && state_->taken == state_->bytes.size(); }
size_t TaskStream::problems() const { return state_->problems; }

Result<std::unique_ptr<TaskStream>> TaskStream::open(const std::string& file, const std::filesystem::path& kept) {
  ASSIGN_OR_RETURN(auto reader, data::TaskReader::open(""));
  std::unique_ptr<TaskStream> stream(new TaskStream());
  stream->state_ = std::make_unique<State>(std::move(reader), file == "-" ? "standard input" : file);
  State& state = *stream->state_;
  if (file != "-") {
    state.fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (state.fd < 0) return unavailable("{}: {}", file, std::strerror(errno));
  }
  std::error_code problem;
  std::filesystem::create_directories(kept.parent_path(), problem);
  state.kept = std::fopen(kept.c_str(), "wbx");
  if (state.kept == nullptr) return unavailable("{}: {}", kept.string(), std::strerror(errno));
  return stream;
}

Result<std::optional<TaskStream::Task>> TaskStream::next(std::chrono::milliseconds wait) {
  State& s = *state_;
  while (true) {
    while (const auto line = s.line()) {
      std::fwrite(line->data(), 1, line->size(), s.kept);
      std::fputc('\n', s.kept);
      if (std::fflush(s.kept) != 0) return unavailable("keeping {}: {}", s.name, std::strerror(errno));
      auto task = s.reader.next(*line);
      if (task && !*task) continue;  // blank
      if (task) {
        auto check = s.checks.of(**task);
        if (check) return std::optional(Task{std::move(**task), std::move(*check)});
        task = std::move(check).error();
      }
      note("{}:{}: {}", s.name, s.reader.lines(), task.error().message);
      ++s.problems;
    }
    if (s.closed) return std::optional<Task>();
    ASSIGN_OR_RETURN(const bool more, s.fill(wait));
    if (!more) return std::optional<Task>();
  }
}

}  // namespace colony::app
