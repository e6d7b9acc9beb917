#include "tensor/kernels.h"

#include <string_view>

#include "tensor/cpu.h"

namespace colony::tensor {
namespace {

Kernels choose(const Cpu& c) {
  if (!c.avx512) {
    Kernels k = kKernelsAvx2;
    if (c.avx_vnni) {
      k.panel_int8 = kKernelsAvxVnni.panel_int8;
      k.panel_int8_x8 = kKernelsAvxVnni.panel_int8_x8;
      k.quantize_row_x8_words = nullptr;
      k.panel_int4 = kKernelsAvxVnni.panel_int4;
      k.panel_int4_x8 = kKernelsAvxVnni.panel_int4_x8;
      k.peak_int8 = kKernelsAvxVnni.peak_int8;
    }
    return k;
  }
  Kernels k = kKernelsAvx512;
  if (c.avx512_vnni) {
    k.panel_int8 = kKernelsAvx512Vnni.panel_int8;
    k.panel_int8_x8 = kKernelsAvx512Vnni.panel_int8_x8;
    k.quantize_row_x8_words = nullptr;
    k.panel_int4 = kKernelsAvx512Vnni.panel_int4;
    k.panel_int4_x8 = kKernelsAvx512Vnni.panel_int4_x8;
    k.peak_int8 = kKernelsAvx512Vnni.peak_int8;
  }
  if (c.avx512_bf16) {
    k.panel_bf16 = kKernelsAvx512Bf16.panel_bf16;
    k.peak_bf16 = kKernelsAvx512Bf16.peak_bf16;
  }
  if (c.amx) k.tiles = &kKernelsAmx;
  return k;
}

const Kernels* forced = nullptr;  // by tests only

}  // namespace

const Kernels& kernels() {
  static const Kernels best = choose(cpu());
  return forced != nullptr ? *forced : best;
}

ForceIsa::ForceIsa(const char* level) : before_(forced) {
  static const Kernels avx2 = kKernelsAvx2, avx512 = kKernelsAvx512;
  static const Kernels avxvnni = [] {
    Cpu c;
    c.avx_vnni = true;
    return choose(c);
  }();
  static const Kernels vnni = [] {
    Cpu c;
    c.avx512 = c.avx512_vnni = true;
    return choose(c);
  }();
  static const Kernels bf16 = [] {
    Cpu c;
    c.avx512 = c.avx512_bf16 = true;
    return choose(c);
  }();
  static const Kernels amx = [] {
    Cpu c;
    c.avx512 = c.avx512_vnni = c.avx512_bf16 = c.amx = true;
    return choose(c);
  }();
  const std::string_view name(level);
  if (name == "avx2" && cpu().avx2) forced = &avx2, available_ = true;
  if (name == "avxvnni" && cpu().avx_vnni) forced = &avxvnni, available_ = true;
  if (name == "avx512" && cpu().avx512) forced = &avx512, available_ = true;
  if (name == "avx512vnni" && cpu().avx512_vnni) forced = &vnni, available_ = true;
  if (name == "avx512bf16" && cpu().avx512_bf16) forced = &bf16, available_ = true;
  if (name == "amx" && cpu().amx) forced = &amx, available_ = true;
}

ForceIsa::~ForceIsa() { forced = before_; }

}  // namespace colony::tensor
