// AdamW with decoupled decay, the learning rate's schedule, and clipping, as torch and transformers do them.
//
//   p -= lr wd p;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g²;  p -= lr/(1-b1^t) · m / (sqrt(v)/sqrt(1-b2^t) + eps)
//
// Source: Loshchilov & Hutter 2019, arXiv:1711.05101; torch.optim.AdamW; transformers optimization.py.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace colony::train {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
};

class AdamW {
 public:
  AdamW(size_t size, const AdamWOptions& options) : options_(options), m_(size, 0.0f), v_(size, 0.0f) {}
  // One update of `values` by `gradients` times `factor` (of clipping).
  void step(std::span<float> values, std::span<const float> gradients, double factor, double learning_rate);

  // For checkpoints.
  std::span<float> m() { return m_; }
  std::span<float> v() { return v_; }
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }

 private:
  AdamWOptions options_;
  std::vector<float> m_, v_;
  int64_t steps_ = 0;
};

enum class Schedule : uint8_t { kCosine, kLinear, kConstant };
// What the learning rate of update `step` (from 0) is multiplied with: from 0 to 1 over `warmup` updates (the
// first has 0 when there is any), then down to 0 at `total`.
double schedule_factor(Schedule schedule, int64_t step, int64_t warmup, int64_t total);

// The Euclidean length of all gradients together, and what they are multiplied with so that it does not pass
// `most` (0: never).
double gradient_norm(std::span<const float> gradients);
double clip_factor(double norm, double most);

}  // namespace colony::train
