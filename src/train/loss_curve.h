// The course of a training run as an SVG picture: losses of the updates, their running mean, evaluations.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace colony::train {

struct LossCurve {
  std::vector<std::pair<int64_t, double>> updates, evaluations;  // (step, loss), ascending
};
// A standalone document. "" when there is no update.
std::string loss_svg(const LossCurve& curve, const std::string& title);

}  // namespace colony::train
