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
constexpr double kLoadSeconds = 900, kAnswerSeconds = 900;

}  // namespace

// ---- processes ----

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
  places.program = program_path();
  if (places.program.empty()) return unavailable("/proc/self/exe cannot be read, so nobody knows where this program stands");
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
