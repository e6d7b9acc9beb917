#include "swarm/cost.h"

#include <algorithm>
#include <cmath>

namespace colony::swarm {
namespace {

constexpr double kMemory = 12'000;  // tasks
constexpr double kPrior = 8;        // deposits that a mean further out counts for

double fading(uint64_t from, uint64_t to) { return to > from ? std::exp(-static_cast<double>(to - from) / kMemory) : 1; }

// One sum of `n` deposits and its squares, drawn towards another. share: 1 / (n + kPrior).
CostSpread shrunk(double n, double sum, double squares, const CostSpread& towards, double share) {
  CostSpread out;
  out.mean = (sum + kPrior * towards.mean) * share;
  const double around = squares + out.mean * (n * out.mean - 2 * sum);  // Σ (y − mean)²
  out.variance = (std::max(around, 0.0) + kPrior * towards.variance) * share;
  return out;
}
// exp() and no expm1(): some thousand are predicted a millisecond, and costs near nothing are nobody's matter.
double expected(const CostSpread& logarithm) { return std::clamp(std::exp(logarithm.mean + logarithm.variance / 2) - 1, 0.0, kCostMost); }

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

CostLevel::CostLevel(const Costs& costs) {
  const CostSums& c = costs.sums;
  known = c.n > 0;
  if (!known) return;
  tokens.mean = c.tokens / c.n;
  tokens.variance = std::max(c.tokens_squared / c.n - tokens.mean * tokens.mean, 0.0);
  ms.mean = c.ms / c.n;
  ms.variance = std::max(c.ms_squared / c.n - ms.mean * ms.mean, 0.0);
}

Cost CostTrail::predict(int slot, uint64_t task_time, const CostLevel& everybody) const {
  if (!everybody.known) return also_.sums.n > 0 ? predict(slot, task_time, CostLevel(also_)) : Cost{};
  const double fade = fading(all_.at, task_time);
  CostSums agent, cell;
  agent.add(all_.sums, fade);
  if (also_.sums.n > 0) agent.add(also_.sums, fading(also_.at, task_time));
  cell.add(cells_[static_cast<size_t>(slot + 1)], fade);
  const double agent_share = 1 / (agent.n + kPrior), cell_share = 1 / (cell.n + kPrior);
  const CostSpread tokens = shrunk(agent.n, agent.tokens, agent.tokens_squared, everybody.tokens, agent_share);
  const CostSpread ms = shrunk(agent.n, agent.ms, agent.ms_squared, everybody.ms, agent_share);
  return {expected(shrunk(cell.n, cell.tokens, cell.tokens_squared, tokens, cell_share)), expected(shrunk(cell.n, cell.ms, cell.ms_squared, ms, cell_share))};
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
