// The small operations between the products, forward. All statistics in f32.
//
// Every function treats its rows alone: a batch gives bit for bit what its rows give. Functions
// with a pool split rows (or row × head) over it; the others run on the caller.
// Each op has an f64 twin in tensor/reference.h and a test beside its source.
#pragma once
#include <cstdint>
#include <span>

#include "tensor/thread_pool.h"

namespace colony::tensor {

// y[i] = x[i] * r * w[i],  r = 1/sqrt(mean(x²) + eps).   x, y: [rows, dim]; w: [dim]. y may be x.
// Source: Zhang & Sennrich 2019, arXiv:1910.07467; agrees with HF LlamaRMSNorm in f32.
void rms_norm(std::span<const float> x, std::span<const float> w, float eps, std::span<float> y,
              ThreadPool& pool);

// rms_norm of every head alone, in place: of each row's first `heads` * head_dim numbers.
// x: rows of row_stride numbers; w: [head_dim].  Agrees with q_norm and k_norm of HF's Qwen3Attention.
void head_rms_norm(std::span<float> x, int64_t rows, int64_t row_stride, int heads, std::span<const float> w, float eps,
                   ThreadPool& pool);

// Rotates the first 2*half numbers of every head by halves: (a, b) -> (a cos - b sin, b cos + a sin)
// with a = x[i], b = x[i + half].  x: [rows, row_stride] of which `heads` heads of head_dim from
// the row's start are rotated, in place; cos, sin: [rows, half], already at each row's position.
void rope(std::span<float> x, int64_t row_stride, int heads, int head_dim,
          std::span<const float> cos, std::span<const float> sin, int half, ThreadPool& pool);

// y = silu(gate) * up.  gate_up: [rows, 2F], a row's gate first, then its up; y: [rows, F].
// silu(x) = x / (1 + exp(-x)); exp is our own, the same on every ISA to the last bit.
void silu_mul(std::span<const float> gate_up, int64_t rows, int64_t f, std::span<float> y,
              ThreadPool& pool);

// y = gelu(gate) * up, shapes as silu_mul's.  gelu(x) = x/2 (1 + tanh(√(2/π)(x + 0.044715 x³))): torch's "tanh" form.
void gelu_mul(std::span<const float> gate_up, int64_t rows, int64_t f, std::span<float> y, ThreadPool& pool);

// x *= factor.
void scale_in_place(std::span<float> x, float factor);

// x += y.
void add_in_place(std::span<float> x, std::span<const float> y, ThreadPool& pool);

// Round to bf16 (nearest even; NaN stays NaN) and back.
uint16_t to_bf16(float x);
float from_bf16(uint16_t x);

}  // namespace colony::tensor
