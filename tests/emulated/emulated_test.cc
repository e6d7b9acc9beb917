#include <gtest/gtest.h>

#include "tensor/cpu.h"
#include "tensor/kernels.h"

namespace colony::tensor {
namespace {

// What runs beside this file in the same program is tested over the emulated instructions, and is said to be.
TEST(Emulated, KernelsAreTheOnesOfAvx512) {
  EXPECT_EQ(isa_name(), "avx512vnni+bf16+amx");
  EXPECT_EQ(kernels().panel_int8, kKernelsAvx512Vnni.panel_int8);
  EXPECT_EQ(kernels().tiles, &kKernelsAmx);
  EXPECT_EQ(kernels().panel_bf16, kKernelsAvx512Bf16.panel_bf16);
  EXPECT_EQ(kernels().lora_expand, kKernelsAvx512.lora_expand);
  EXPECT_EQ(kernels().attention_tile, kKernelsAvx512.attention_tile);
  EXPECT_NE(kernels().attention_tile, kKernelsAvx2.attention_tile);
}

}  // namespace
}  // namespace colony::tensor
