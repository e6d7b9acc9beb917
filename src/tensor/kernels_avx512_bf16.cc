#include <immintrin.h>

#include "tensor/kernels.h"

#define COLONY_BF16
namespace colony::tensor {
namespace {
#include "tensor/simd_avx512.inl"

#include "tensor/kernels_impl.inl"
}  // namespace

const Kernels kKernelsAvx512Bf16 = COLONY_KERNEL_TABLE;

}  // namespace colony::tensor
