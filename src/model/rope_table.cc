#include "model/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace colony::model {
namespace {

std::vector<float> base_frequencies(double theta, int half) {
  std::vector<float> f(static_cast<size_t>(half));
  for (int i = 0; i < half; ++i) {
    // In float, as torch computes 1 / theta^(2i/D).
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(2 * half);
    f[static_cast<size_t>(i)] = 1.0f / std::pow(static_cast<float>(theta), exponent);
  }
  return f;
}

void scale_llama3(const RopeConfig& c, std::vector<float>& f) {
  const auto original = static_cast<double>(c.original_max_position_embeddings);
  const double longest = original / c.low_freq_factor, shortest = original / c.high_freq_factor;
  for (float& x : f) {
    const double wave = 2 * std::numbers::pi / static_cast<double>(x);
    if (wave > longest) {
      x = static_cast<float>(static_cast<double>(x) / c.factor);
    } else if (wave >= shortest) {
      const double s = (original / wave - c.low_freq_factor) / (c.high_freq_factor - c.low_freq_factor);
      x = static_cast<float>((1 - s) * static_cast<double>(x) / c.factor + s * static_cast<double>(x));
    }
  }
}

void scale_yarn(const RopeConfig& c, int half, std::vector<float>& f) {
  const double dim = 2.0 * half;
  const auto dim_of = [&](double rotations) {
    return dim * std::log(static_cast<double>(c.original_max_position_embeddings) / (rotations * 2 * std::numbers::pi)) /
           (2 * std::log(c.theta));
  };
  double low = dim_of(c.beta_fast), high = dim_of(c.beta_slow);
  if (c.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  for (int i = 0; i < half; ++i) {
    const double ramp = std::clamp((i - low) / (high - low), 0.0, 1.0);
    const auto base = static_cast<double>(f[static_cast<size_t>(i)]);
    f[static_cast<size_t>(i)] = static_cast<float>(base / c.factor * ramp + base * (1 - ramp));
  }
}

double yarn_factor(const RopeConfig& c) {
  const auto g = [](double s, double m) { return s <= 1 ? 1.0 : 0.1 * m * std::log(s) + 1.0; };
  if (c.attention_factor) return *c.attention_factor;
  if (c.mscale && c.mscale_all_dim && *c.mscale != 0 && *c.mscale_all_dim != 0) {
    return g(c.factor, *c.mscale) / g(c.factor, *c.mscale_all_dim);
  }
  return g(c.factor, 1.0);
}

}  // namespace

RopeTable::RopeTable(const ModelConfig& config, const RopeConfig& rope)
    : config_(rope),
      max_position_(config.max_position_embeddings),
      half_(static_cast<int>(static_cast<double>(config.head_dim) * rope.partial_rotary_factor) / 2),
      frequencies_(base_frequencies(rope.theta, half_)) {
  switch (config_.kind) {
    case RopeConfig::Kind::kDefault:
    case RopeConfig::Kind::kDynamic: break;
    case RopeConfig::Kind::kLinear:
      for (float& f : frequencies_) f /= static_cast<float>(config_.factor);
      break;
    case RopeConfig::Kind::kLlama3: scale_llama3(config_, frequencies_); break;
    case RopeConfig::Kind::kYarn:
      scale_yarn(config_, half_, frequencies_);
      attention_factor_ = static_cast<float>(yarn_factor(config_));
      break;
  }
  for (size_t i = 0; i < std::min(frequencies_.size(), config_.divisors.size()); ++i) {
    frequencies_[i] /= config_.divisors[i];
  }
}

std::vector<float> RopeTable::frequencies(int64_t length) const {
  if (config_.kind != RopeConfig::Kind::kDynamic || length <= max_position_) return frequencies_;
  const double d = 2.0 * half_;
  const double stretched = config_.factor * static_cast<double>(length) / static_cast<double>(max_position_) -
                           (config_.factor - 1);
  return base_frequencies(config_.theta * std::pow(stretched, d / (d - 2)), half_);
}

void RopeTable::angles(int64_t position, int64_t length, std::span<float> cos, std::span<float> sin) const {
  std::vector<float> stretched;
  const std::vector<float>* f = &frequencies_;
  if (config_.kind == RopeConfig::Kind::kDynamic && length > max_position_) {
    stretched = frequencies(length);
    f = &stretched;
  }
  for (size_t i = 0; i < f->size(); ++i) {
    const float angle = static_cast<float>(position) * (*f)[i];
    cos[i] = std::cos(angle) * attention_factor_;
    sin[i] = std::sin(angle) * attention_factor_;
  }
}

}  // namespace colony::model
