#include <immintrin.h>

#include "tensor/kernels.h"

namespace colony::tensor {
namespace {
#include "tensor/simd_avx512.inl"

#include "tensor/kernels_impl.inl"
}  // namespace

const Kernels kKernelsAvx512 = COLONY_KERNEL_TABLE;

}  // namespace colony::tensor
