#include "swarm/cost.h"

#include <algorithm>
#include <cmath>

namespace colony::swarm {
namespace {

constexpr double kMemory = 12'000;  // tasks
constexpr double kPrior = 8;        // deposits that a mean further out counts for

double fading(uint64_t from, uint64_t to) { return to > from ? std::exp(-static_cast<double>(to - from) / kMemory) : 1; }

struct Spread {
  double mean = 0, variance = 0;
};
Spread shrunk(double n, double sum, double squares, const Spread& towards) {
  Spread out;
  out.mean = (sum + kPrior * towards.mean) / (n + kPrior);
  const double around = squares + out.mean * (n * out.mean - 2 * sum);  // Σ (y − mean)²
  out.variance = (std::max(around, 0.0) + kPrior * towards.variance) / (n + kPrior);
  return out;
}
Spread plain(double n, double sum, double squares) {
  const double mean = sum / n;
  return {mean, std::max(squares / n - mean * mean, 0.0)};
}
double expected(const Spread& logarithm) { return std::min(std::expm1(logarithm.mean + logarithm.variance / 2), kCostMost); }

}  // namespace

void CostSums::add(const CostSums& other, double weight) {
  n += weight * other.n;
  tokens += weight * other.tokens;
  tokens_squared += weight * other.tokens_squared;
  ms += weight * other.ms;
  ms_squared += weight * other.ms_squared;
}

void CostSums::scale(double by) {
  for (double* value : {&n, &tokens, &tokens_squared, &ms, &ms_squared}) *value *= by;
}

void Costs::fade_to(uint64_t task_time) {
  if (task_time <= at) return;
  sums.scale(fading(at, task_time));
  at = task_time;
}

void Costs::add(Costs other) {
  fade_to(other.at);
  other.fade_to(at);
  sums.add(other.sums);
}

CostSums CostTrail::deposit(int slot, uint64_t tokens, double ms, uint64_t task_time) {
  if (const double fade = fading(all_.at, task_time); fade < 1) {
    for (CostSums& cell : cells_) cell.scale(fade);
  }
  const double y = std::log1p(std::min(static_cast<double>(tokens), kCostMost)), z = std::log1p(std::clamp(ms, 0.0, kCostMost));
  const CostSums one{1, y, y * y, z, z * z};
  cells_[static_cast<size_t>(slot + 1)].add(one);
  all_.fade_to(task_time);
  all_.sums.add(one);
  return one;
}

Cost CostTrail::predict(int slot, uint64_t task_time, const Costs& everybody) const {
  const CostSums& base = everybody.sums.n > 0 ? everybody.sums : also_.sums;
  if (!(base.n > 0)) return {};
  const double fade = fading(all_.at, task_time), also = also_.sums.n > 0 ? fading(also_.at, task_time) : 0;
  const CostSums& cell = cells_[static_cast<size_t>(slot + 1)];
  const auto of = [&](double CostSums::*sum, double CostSums::*squares) {
    const Spread all = plain(base.n, base.*sum, base.*squares);
    const Spread agent = shrunk(fade * all_.sums.n + also * also_.sums.n, fade * all_.sums.*sum + also * also_.sums.*sum,
                                fade * all_.sums.*squares + also * also_.sums.*squares, all);
    return expected(shrunk(fade * cell.n, fade * cell.*sum, fade * cell.*squares, agent));
  };
  return {of(&CostSums::tokens, &CostSums::tokens_squared), of(&CostSums::ms, &CostSums::ms_squared)};
}

void CostTrail::remap(const std::array<std::array<double, kLandmarks>, kLandmarks>& overlap) {
  std::array<CostSums, kFeatures> moved{};
  moved[0] = cells_[0];
  for (size_t from = 0; from < kLandmarks; ++from) {
    const CostSums& cell = cells_[from + 1];
    if (cell.n == 0) continue;
    double left = 1;
    for (size_t to = 0; to < kLandmarks; ++to) {
      if (overlap[to][from] == 0) continue;
      moved[to + 1].add(cell, overlap[to][from]);
      left -= overlap[to][from];
    }
    if (left > 1e-9) moved[0].add(cell, left);
  }
  cells_ = moved;
}

}  // namespace colony::swarm
