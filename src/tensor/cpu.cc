#include "tensor/cpu.h"

#include <array>
#include <cstdlib>
#include <fstream>

#include <sys/syscall.h>
#include <unistd.h>

namespace colony::tensor {
namespace {

// The system keeps the tiles of a process that has asked for them (Linux: arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA).
bool tiles_granted() { return ::syscall(SYS_arch_prctl, 0x1023, 18) == 0; }

Cpu detect() {
  Cpu c;
  __builtin_cpu_init();
  c.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c");
  c.avx512 = c.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  c.avx512_vnni = c.avx512 && __builtin_cpu_supports("avx512vnni");
  c.avx512_bf16 = c.avx512 && __builtin_cpu_supports("avx512bf16");
  std::ifstream info("/proc/cpuinfo");
  std::string line, flags;
  while (std::getline(info, line)) {
    const auto colon = line.find(": ");
    if (colon == std::string::npos) continue;
    if (c.model.empty() && line.starts_with("model name")) c.model = line.substr(colon + 2);
    if (flags.empty() && line.starts_with("flags")) flags = line.substr(colon + 1) + " ";
    if (!flags.empty() && !c.model.empty()) break;
  }
  c.amx = c.avx512_vnni && flags.find(" amx_tile ") != std::string::npos && flags.find(" amx_int8 ") != std::string::npos && tiles_granted();
  c.avx_vnni = c.avx2 && flags.find(" avx_vnni ") != std::string::npos;
#ifdef COLONY_EMULATED  // tests/emulated
  c.avx512 = c.avx512_vnni = c.avx512_bf16 = c.amx = true;
#endif
  return c;
}

constexpr std::array<const char*, 6> kLevels = {"avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16", "amx"};

struct Found {
  Cpu cpu;
  std::string problem;
};

Found find() {
  Found found{detect(), ""};
  Cpu& c = found.cpu;
  if (!c.avx2) {
    found.problem = "this machine lacks AVX2, FMA or F16C, the least this program runs on";
    return found;
  }
  const char* wanted = std::getenv("COLONY_ISA");  // NOLINT(concurrency-mt-unsafe): read once
  if (wanted == nullptr || *wanted == '\0') return found;
  size_t level = 0;
  while (level < kLevels.size() && std::string_view(wanted) != kLevels[level]) ++level;
  const std::array<bool, 6> has = {c.avx2, c.avx_vnni, c.avx512, c.avx512_vnni, c.avx512_bf16, c.amx};
  if (level == kLevels.size()) {
    found.problem = std::string("COLONY_ISA=") + wanted +
                    " is none of avx2, avxvnni, avx512, avx512vnni, avx512bf16, amx";
    return found;
  }
  if (!has[level]) {
    found.problem = std::string("COLONY_ISA=") + wanted + ", but this machine lacks it";
    return found;
  }
  if (level < 5) c.amx = false;
  if (level < 4) c.avx512_bf16 = false;
  if (level < 3) c.avx512_vnni = false;
  if (level < 2) c.avx512 = false;
  if (level < 1) c.avx_vnni = false;
  return found;
}

const Found& found() {
  static const Found once = find();
  return once;
}

}  // namespace

const Cpu& cpu() { return found().cpu; }
std::string isa_problem() { return found().problem; }

std::string isa_name() {
  const Cpu& c = cpu();
  if (c.avx512_vnni) return std::string("avx512vnni") + (c.avx512_bf16 ? "+bf16" : "") + (c.amx ? "+amx" : "");
  if (c.avx512_bf16) return "avx512bf16";
  if (c.avx512) return "avx512";
  if (c.avx_vnni) return "avxvnni";
  return c.avx2 ? "avx2" : "none";
}

}  // namespace colony::tensor
