#include "app/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/clock.h"

namespace colony::app {

constexpr double kLongest = 3600;  // seconds of silence before read_all() gives up

std::filesystem::path program_path() {
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/exe", ignored);
}

Child& Child::operator=(Child&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(in_, other.in_);
  std::swap(out_, other.out_);
  std::swap(buffer_, other.buffer_);
  return *this;
}

Child::~Child() { finish(false); }

Result<Child> Child::start(const std::vector<std::string>& command) {
  int into[2], out[2];
  if (::pipe2(into, O_CLOEXEC) != 0) return unavailable("no pipe for {}: {}", command[0], std::strerror(errno));
  if (::pipe2(out, O_CLOEXEC) != 0) {
    ::close(into[0]);
    ::close(into[1]);
    return unavailable("no pipe for {}: {}", command[0], std::strerror(errno));
  }
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  ::signal(SIGPIPE, SIG_IGN);  // a peer that died is an error of write()
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {
    // Only calls that a signal handler may make.
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::dup2(into[0], 0);
    ::dup2(out[1], 1);
    ::execvp(words[0], words.data());
    ::_exit(127);
  }
  ::close(into[0]);
  ::close(out[1]);
  Child child;
  child.in_ = into[1];
  child.out_ = out[0];
  if (pid < 0) return unavailable("could not start {}: {}", command[0], std::strerror(errno));
  ::setpgid(pid, pid);
  child.pid_ = pid;
  return child;
}

Status Child::write_line(const std::string& line) {
  const std::string whole = line + "\n";
  for (size_t at = 0; at < whole.size();) {
    const ssize_t wrote = ::write(in_, whole.data() + at, whole.size() - at);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return unavailable("it ended: {}", std::strerror(errno));
    at += static_cast<size_t>(wrote);
  }
  return {};
}

Result<std::string> Child::read_line(double seconds) {
  const SystemClock clock;
  const double end = clock.seconds() + seconds;
  for (;;) {
    if (const size_t at = buffer_.find('\n'); at != std::string::npos) {
      std::string line = buffer_.substr(0, at);
      buffer_.erase(0, at + 1);
      return line;
    }
    const double left = end - clock.seconds();
    if (left <= 0) return unavailable("it did not answer within {:.0f} s", seconds);
    pollfd wait{out_, POLLIN, 0};
    const int ready = ::poll(&wait, 1, static_cast<int>(std::min(left * 1000 + 1, 1e9)));
    if (ready < 0 && errno != EINTR) return unavailable("its answer cannot be read: {}", std::strerror(errno));
    if (ready <= 0) continue;
    char part[65536];
    const ssize_t got = ::read(out_, part, sizeof(part));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return unavailable("it ended without an answer");
    buffer_.append(part, static_cast<size_t>(got));
  }
}

Result<std::string> Child::read_all(uint64_t most) {
  std::string all;
  for (;;) {
    auto line = read_line(kLongest);
    if (!line) break;  // it ended
    all += *line + "\n";
    if (all.size() > most) return exhausted("it wrote more than {} bytes", most);
  }
  all += std::exchange(buffer_, "");
  // What has closed its output ends, or is made to.
  int status = 0;
  for (int tries = 0; ::waitpid(pid_, &status, WNOHANG) == 0; ++tries) {
    if (tries == 500) ::kill(-pid_, SIGKILL);
    ::poll(nullptr, 0, 20);
  }
  pid_ = -1;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return unavailable("it ended {} {}", WIFEXITED(status) ? "with status" : "by signal",
                       WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
  }
  return all;
}

void Child::pause() {
  if (pid_ > 0) ::kill(-pid_, SIGSTOP);
}

void Child::go_on() {
  if (pid_ > 0) ::kill(-pid_, SIGCONT);
}

double Child::finish(bool asked) {
  if (in_ >= 0) ::close(std::exchange(in_, -1));
  double seconds = 0;
  if (pid_ > 0) {
    go_on();
    if (asked) {  // its output ends with it
      while (read_line(10)) {
      }
    } else {
      ::kill(-pid_, SIGKILL);
    }
    rusage used{};
    int status = 0;
    for (int tries = 0; asked && tries < 100; ++tries) {
      if (::wait4(pid_, &status, WNOHANG, &used) != 0) {
        asked = false;
        pid_ = -1;
        break;
      }
      ::poll(nullptr, 0, 20);
    }
    if (pid_ > 0) {
      ::kill(-pid_, SIGKILL);
      ::wait4(pid_, &status, 0, &used);
      pid_ = -1;
    }
    seconds = static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
              1e-6 * static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
  }
  if (out_ >= 0) ::close(std::exchange(out_, -1));
  return seconds;
}

uint64_t Child::peak_resident_bytes() const { return pid_ > 0 ? colony::peak_resident_bytes(pid_) : 0; }

}  // namespace colony::app
