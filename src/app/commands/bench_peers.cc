#include "app/commands/bench_peers.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/file.h"
#include "base/clock.h"

namespace colony::app {
namespace {

namespace fs = std::filesystem;
constexpr double kInstallSeconds = 3600, kLoadSeconds = 900, kAnswerSeconds = 900;

}  // namespace

// ---- processes ----

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

Result<std::string> Child::read_all() {
  std::string all;
  for (;;) {
    auto line = read_line(kInstallSeconds);
    if (!line) break;  // it ended
    all += *line + "\n";
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

BusyLoops::BusyLoops(int count) {
  const pid_t parent = ::getpid();
  for (int i = 0; i < count; ++i) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(0);
      for (uint64_t n = 0;; ++n) asm volatile("" : "+r"(n));
    }
    if (pid > 0) pids_.push_back(pid);
  }
}

BusyLoops::~BusyLoops() {
  for (const pid_t pid : pids_) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
}

// ---- peers ----

Result<BenchPlaces> find_places() {
  std::error_code problem;
  BenchPlaces places;
  places.program = fs::read_symlink("/proc/self/exe", problem);
  if (problem) return unavailable("/proc/self/exe: {}", problem.message());
  places.build = places.program.parent_path().parent_path();
  places.tools = places.build.parent_path() / "tools";
  if (!fs::exists(places.tools / "bench_peers.py", problem)) places.tools = fs::absolute("tools", problem);
  if (!fs::exists(places.tools / "bench_peers.py", problem)) {
    return not_found("tools/bench_peers.py is neither beside the build of {} nor in the working directory",
                     places.program.string());
  }
  return places;
}

const std::vector<PeerKind>& peer_kinds() {
  static const std::vector<PeerKind> kinds{{"llama.cpp", "q8_0", "llama.cpp Q8_0", 8},
                                           {"llama.cpp", "q4_0", "llama.cpp Q4_0", 4},
                                           {"openvino", "int8", "OpenVINO int8", 8},
                                           {"vllm", "bf16", "vLLM bf16", 16},
                                           {"peft", "bf16", "PEFT bf16", 16},
                                           {"peft", "f32", "PEFT f32", 32}};
  return kinds;
}

uint64_t Child::peak_resident_bytes() const {
  const auto text = pid_ > 0 ? read_file(fmt::format("/proc/{}/status", pid_), 1 << 16) : Result<std::string>(not_found("no process"));
  const size_t at = text ? text->find("VmHWM:") : std::string::npos;
  return at == std::string::npos ? 0 : std::strtoull(text->c_str() + at + 6, nullptr, 10) * 1024;
}

Peer::Peer(const PeerKind& kind, const Result<BenchPlaces>& places, const fs::path& model, int threads, int adapters)
    : kind_(kind), threads_(threads) {
  const auto load = [&]() -> Status {
    if (!places) return Error(places.error());
    script_ = places->tools / "bench_peers.py";
    ASSIGN_OR_RETURN(Child setup, Child::start({"python3", (places->tools / "bench_setup.py").string(), kind.peer, "--build",
                                                places->build.string(), "--source", model.string()}));
    const auto said = setup.read_all();
    if (!said) return unavailable("python3 tools/bench_setup.py {}: {}", kind.peer, said.error().message);
    ASSIGN_OR_RETURN(const Json ready, parse_json(*said));
    ASSIGN_OR_RETURN(const auto missing, get_string(ready, "missing", "bench_setup.py"));
    if (missing) return unavailable("{}", *missing);
    ASSIGN_OR_RETURN(const auto python, get_string(ready, "python", "bench_setup.py"));
    ASSIGN_OR_RETURN(const auto version, get_string(ready, "version", "bench_setup.py"));
    if (!python || !version || !ready.contains("files")) return corrupt("bench_setup.py said {}", *said);
    ASSIGN_OR_RETURN(const auto file, get_string(ready["files"], kind.format.c_str(), "bench_setup.py"));
    if (!file) return corrupt("bench_setup.py has no file of format {}", kind.format);
    python_ = *python;
    version_ = *version;
    file_ = *file;
    ASSIGN_OR_RETURN(child_, Child::start({python_, script_.string(), "serve", kind.peer, "--model", file_, "--threads",
                                           std::to_string(threads), "--adapters", std::to_string(adapters)}));
    ASSIGN_OR_RETURN(const std::string first, child_.read_line(kLoadSeconds));
    ASSIGN_OR_RETURN(const Json answer, parse_json(first));
    ASSIGN_OR_RETURN(const auto refused, get_string(answer, "missing", "bench_peers.py"));
    if (refused) return unavailable("{}", *refused);
    return {};
  };
  if (const Status loaded = load(); !loaded) missing_ = loaded.error().message;
  child_.pause();
}

Result<Sample> Peer::ask(const Json& question) {
  const auto answered = [&]() -> Result<Sample> {
    child_.go_on();
    RETURN_IF_ERROR(child_.write_line(to_line(question)));
    ASSIGN_OR_RETURN(const std::string line, child_.read_line(kAnswerSeconds));
    ASSIGN_OR_RETURN(const Json answer, parse_json(line));
    ASSIGN_OR_RETURN(const auto problem, get_string(answer, "error", "bench_peers.py"));
    if (problem) return unavailable("{}", *problem);
    ASSIGN_OR_RETURN(const auto wall, get_number(answer, "wall", "bench_peers.py"));
    ASSIGN_OR_RETURN(const auto cpu, get_number(answer, "cpu", "bench_peers.py"));
    if (!wall || !cpu || *wall <= 0) return corrupt("bench_peers.py answered {}", line);
    return Sample{*wall, *cpu};
  };
  if (!missing_.empty()) return unavailable("{}", missing_);
  auto sample = answered();
  child_.pause();
  return sample;
}

Result<Peer::First> Peer::first_token(const std::vector<int32_t>& prompt) {
  if (!missing_.empty()) return unavailable("{}", missing_);
  std::string ids;
  for (const int32_t id : prompt) ids += (ids.empty() ? "" : ",") + std::to_string(id);
  const SystemClock clock;
  const double start = clock.seconds();
  ASSIGN_OR_RETURN(Child child, Child::start({python_, script_.string(), "first", kind_.peer, "--model", file_, "--threads",
                                              std::to_string(threads_), "--ids", ids}));
  ASSIGN_OR_RETURN(const std::string line, child.read_line(kLoadSeconds));
  First first;
  first.whole = clock.seconds() - start;
  first.cpu = child.finish();
  ASSIGN_OR_RETURN(const Json answer, parse_json(line));
  ASSIGN_OR_RETURN(const auto seconds, get_number(answer, "first", "bench_peers.py"));
  if (!seconds) return corrupt("bench_peers.py answered {}", line);
  first.without_imports = *seconds;
  return first;
}

}  // namespace colony::app
