// AVX2, FMA, F16C; the lanes are in simd_avx2.inl.
#include <immintrin.h>

#include "tensor/kernels.h"

namespace colony::tensor {
namespace {
#include "tensor/simd_avx2.inl"

#include "tensor/kernels_impl.inl"
}  // namespace

const Kernels kKernelsAvx2 = COLONY_KERNEL_TABLE;

}  // namespace colony::tensor
