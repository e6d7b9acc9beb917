#include <immintrin.h>

#include "tensor/kernels.h"

#define COLONY_AVX_VNNI
namespace colony::tensor {
namespace {
#include "tensor/simd_avx2.inl"

#include "tensor/kernels_impl.inl"
}  // namespace

const Kernels kKernelsAvxVnni = COLONY_KERNEL_TABLE;

}  // namespace colony::tensor
