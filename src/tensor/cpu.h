// What this machine can do, found at run time. Kernels choose their path by this and nothing else.
//
// The environment variable COLONY_ISA lowers it, to test the fallbacks and to measure them:
// avx2 < avxvnni < avx512 < avx512vnni < avx512bf16 < amx. A level the machine lacks is an error that says so
// (see isa_problem()).
#pragma once
#include <string>

namespace colony::tensor {

struct Cpu {
  bool avx2 = false;         // with fma and f16c: the least this program runs on
  bool avx_vnni = false;     // 256-bit int8 dot products without AVX-512
  bool avx512 = false;       // f, bw, dq, vl
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool amx = false;          // tiles of bytes, with avx512_vnni, granted by the system
  std::string model;         // "AMD EPYC …" as the kernel names it; "" when unknown
};

// After COLONY_ISA. Constant for the life of the process. Threads: any.
const Cpu& cpu();
// "" or what is wrong: no AVX2 on this machine, or COLONY_ISA names a level it lacks.
std::string isa_problem();
// For logs and benches: "avx512vnni+bf16", "avx512vnni+bf16+amx" and the like.
std::string isa_name();

}  // namespace colony::tensor
