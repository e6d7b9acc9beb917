#include <immintrin.h>

#include "tensor/kernels.h"

#define COLONY_VNNI
namespace colony::tensor {
namespace {
#include "tensor/simd_avx512.inl"

#include "tensor/kernels_impl.inl"
}  // namespace

const Kernels kKernelsAvx512Vnni = COLONY_KERNEL_TABLE;

}  // namespace colony::tensor
