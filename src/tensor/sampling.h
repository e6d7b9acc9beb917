// What choosing a token needs over a whole vocabulary, vectorised.
#pragma once
#include <cstdint>
#include <span>

namespace colony::tensor {

// Index of the greatest number, the first among equals; NaN is never greatest. Needs x not empty.
int64_t argmax(std::span<const float> x);
// Σ_i exp((x_i - shift) * scale), summed in a fixed order.
double sum_exp(std::span<const float> x, float shift, float scale);
// Greatest number; -inf when all are NaN. Needs x not empty.
float greatest(std::span<const float> x);

}  // namespace colony::tensor
