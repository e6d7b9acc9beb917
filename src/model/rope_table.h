// Cosines and sines of rotary positions. Source: HF modeling_rope_utils (hf_compat 1.6).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "model/config.h"

namespace colony::model {

class RopeTable {
 public:
  // Of one kind of layer: `rope` is config's, or its window_rope.
  RopeTable(const ModelConfig& config, const RopeConfig& rope);
  int half() const { return half_; }  // rotated pairs of a head
  // cos, sin: [half]. `length`: see StepRows::lengths; only dynamic rope depends on it.
  void angles(int64_t position, int64_t length, std::span<float> cos, std::span<float> sin) const;
  // The frequencies for a sequence of `length` tokens, and the factor on cos and sin: for tests.
  std::vector<float> frequencies(int64_t length) const;
  float attention_factor() const { return attention_factor_; }

 private:
  RopeConfig config_;
  int64_t max_position_;
  int half_;
  std::vector<float> frequencies_;
  float attention_factor_ = 1.0f;
};

}  // namespace colony::model
