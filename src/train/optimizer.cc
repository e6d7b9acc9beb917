#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace colony::train {

void AdamW::step(std::span<float> values, std::span<const float> gradients, double factor, double learning_rate) {
  CHECK(values.size() == m_.size() && gradients.size() == m_.size(), "an optimiser of one size");
  ++steps_;
  const auto t = static_cast<double>(steps_);
  const auto b1 = static_cast<float>(options_.beta1), b2 = static_cast<float>(options_.beta2);
  const auto rest1 = static_cast<float>(1 - options_.beta1), rest2 = static_cast<float>(1 - options_.beta2);
  const auto keep = static_cast<float>(1 - learning_rate * options_.weight_decay);
  const auto size = static_cast<float>(learning_rate / (1 - std::pow(options_.beta1, t)));
  const auto root = static_cast<float>(std::sqrt(1 - std::pow(options_.beta2, t))), eps = static_cast<float>(options_.eps);
  const auto times = static_cast<float>(factor);
  for (size_t i = 0; i < m_.size(); ++i) {
    const float g = gradients[i] * times;
    const float m = m_[i] = b1 * m_[i] + rest1 * g;
    const float v = v_[i] = b2 * v_[i] + rest2 * g * g;
    values[i] = values[i] * keep - size * m / (std::sqrt(v) / root + eps);
  }
}

double schedule_factor(Schedule schedule, int64_t step, int64_t warmup, int64_t total) {
  if (step < warmup) return static_cast<double>(step) / static_cast<double>(std::max<int64_t>(1, warmup));
  const auto rest = static_cast<double>(std::max<int64_t>(1, total - warmup));
  switch (schedule) {
    case Schedule::kConstant: return 1;
    case Schedule::kLinear: return std::max(0.0, static_cast<double>(total - step) / rest);
    case Schedule::kCosine: return std::max(0.0, 0.5 * (1 + std::cos(std::numbers::pi * static_cast<double>(step - warmup) / rest)));
  }
  return 1;
}

double gradient_norm(std::span<const float> gradients) {
  double sum = 0;
  for (const float g : gradients) sum += static_cast<double>(g) * static_cast<double>(g);
  return std::sqrt(sum);
}

double clip_factor(double norm, double most) { return most > 0 ? std::min(1.0, most / (norm + 1e-6)) : 1.0; }

}  // namespace colony::train
