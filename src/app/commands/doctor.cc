#include "app/commands/doctor.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "agent/agent.h"
#include "app/commands/agents.h"
#include "app/console.h"
#include "app/session.h"
#include "base/byte_ledger.h"
#include "base/file.h"
#include "model/transformer.h"
#include "net/hub.h"
#include "tensor/cpu.h"

namespace colony::app {
namespace fs = std::filesystem;

std::string find_home(const std::string& home) {
  if (!home.empty()) return home;
  if (const char* set = std::getenv("COLONY_HOME"); set != nullptr && *set != '\0') return set;
  if (const char* user = std::getenv("HOME"); user != nullptr && *user != '\0') return std::string(user) + "/.local/share/colony";
  return ".colony";
}

namespace {

// Whether a file can be made in `folder` (which is created).
Status writable(const fs::path& folder) {
  std::error_code problem;
  fs::create_directories(folder, problem);
  if (problem) return unavailable("{}: {}", folder.string(), problem.message());
  const fs::path probe = folder / fmt::format(".doctor-{}", ::getpid());
  RETURN_IF_ERROR(write_file(probe, "x"));
  fs::remove(probe, problem);
  return {};
}

Status port_free(uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return unavailable("no socket: {}", std::strerror(errno));
  const int yes = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  at.sin_port = htons(port);
  const bool good = ::bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof(at)) == 0;
  const int number = errno;
  ::close(fd);
  if (!good) return unavailable("127.0.0.1:{} is taken: {}", port, std::strerror(number));
  return {};
}

}  // namespace

Result<int> run_doctor(const std::string& home_option, const std::string& model, const std::string& agents_option, bool json) {
  bool bad = false;
  const auto say = [&](const char* what, const char* state, const std::string& detail) {
    if (std::string_view(state) == "bad") bad = true;
    if (json) {
      print_line(to_line({{"what", what}, {"state", state}, {"detail", detail}}));
    } else {
      std::printf("%-5s %-13s %s\n", state, what, detail.c_str());
    }
  };
  const auto judge = [&](const char* what, const Status& status, const std::string& detail, const char* otherwise) {
    say(what, status ? "ok" : otherwise, status ? detail : status.error().message);
  };

  const tensor::Cpu& cpu = tensor::cpu();
  const std::string isa = tensor::isa_problem();
  say("instructions", isa.empty() ? "ok" : "bad", isa.empty() ? fmt::format("{} ({})", tensor::isa_name(), cpu.model) : isa);
  say("threads", "ok", std::to_string(machine_threads()));
  const uint64_t memory = machine_memory_bytes();
  say("memory", memory >= (2ULL << 30) ? "ok" : "warn",
      fmt::format("{}, of which {} by default for weights, caches and scratch", format_bytes(memory), format_bytes(memory / 10 * 7)));

  const auto path = find_model(model);
  if (!path) {
    say("model", "bad", path.error().message);
  } else {
    // All that run and generate ask of a model before they read its weights.
    ByteLedger ledger(memory / 10 * 7);
    const auto can_load = model::Transformer::check(*path, tensor::WeightType::kInt8, ledger);
    const auto side = engine::load_text_side(*path);
    const auto template_there = [&]() -> Status {
      if (!side->tokenizer) return invalid("{} has no tokenizer (no tokenizer.json)", path->string());
      if (!side->chat_template) return invalid("{} has no chat template, which run needs (generate goes without; eval and train with --raw)", path->string());
      return {};
    };
    const Status good = !can_load ? can_load : !side ? Status(side.error()) : template_there();
    judge("model", good, path->string(), "bad");
  }
  const auto agents = find_agents(agents_option);
  if (!agents) {
    say("agents", "bad", agents.error().message);
  } else {
    const auto directory = agent::AgentDirectory::open(*agents);
    if (!directory) {
      say("agents", "bad", directory.error().message);
    } else {
      size_t missing = 0;
      const auto hub_cache = net::HubOptions::from_environment().cache;
      for (const auto& a : directory->agents()) missing += agent::missing_requirements(*a, hub_cache).size();
      say("agents", directory->problems().empty() && missing == 0 ? "ok" : "warn",
          fmt::format("{} in {}{}", directory->agents().size(), agents->string(),
                      directory->problems().empty() && missing == 0 ? "" : "; some are broken or lack something: colony agents check"));
    }
  }
  const std::string home = find_home(home_option);
  judge("home", writable(home), home, "bad");
  struct statvfs disk {};
  if (::statvfs(home.c_str(), &disk) == 0) {
    const uint64_t left = static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize;
    say("disk", left >= (1ULL << 30) ? "ok" : "warn", format_bytes(left) + " free at home");
  }
  const auto hub = net::HubOptions::from_environment();
  judge("model cache", writable(hub.cache), hub.cache.string(), "warn");
  const auto* packed = packed_cache();
  if (packed == nullptr) say("kept weights", "ok", "none: every start packs them anew (COLONY_CACHE=off, or no home folder)");
  else judge("kept weights", writable(packed->folder()), packed->folder().string() + ", packed for the next start", "warn");
  judge("port", port_free(8080), "127.0.0.1:8080 is free", "warn");
  return bad ? kSomeBad : kDone;
}

}  // namespace colony::app
