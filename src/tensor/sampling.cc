#include "tensor/sampling.h"

#include "base/check.h"
#include "tensor/kernels.h"

namespace colony::tensor {

float greatest(std::span<const float> x) {
  CHECK(!x.empty(), "nothing is greatest in nothing");
  return kernels().max_of(x.data(), static_cast<int64_t>(x.size()));
}

int64_t argmax(std::span<const float> x) {
  const float best = greatest(x);
  for (size_t i = 0; i < x.size(); ++i) {
    if (x[i] == best) return static_cast<int64_t>(i);
  }
  return 0;
}

double sum_exp(std::span<const float> x, float shift, float scale) {
  return x.empty() ? 0 : kernels().sum_exp(x.data(), static_cast<int64_t>(x.size()), shift, scale);
}

}  // namespace colony::tensor
