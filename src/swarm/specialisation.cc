#include "swarm/specialisation.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/rng.h"

namespace colony::swarm {
namespace {

constexpr double kStep = 0.05, kPull = 0.002, kLeast = 0.05, kMost = 0.95;
constexpr double kPriceStep = 0.02, kPriceMost = 0.8;
constexpr int kShuffles = 20;
constexpr uint16_t kStreamShuffle = 8;

double entropy(const std::map<uint32_t, double>& counts, double n) {
  double h = 0;
  for (const auto& [key, count] : counts) h -= count / n * std::log(count / n);
  return h;
}

// Sums run in the order of keys, so that names do not matter to the last bit more than they must.
double information(std::span<const std::pair<uint32_t, uint32_t>> tasks, const std::map<uint32_t, double>& kinds, const std::map<uint32_t, double>& agents) {
  std::map<std::pair<uint32_t, uint32_t>, double> joint;
  for (const auto& one : tasks) joint[one] += 1;
  const auto n = static_cast<double>(tasks.size());
  double sum = 0;
  for (const auto& [key, count] : joint) sum += count / n * std::log(count * n / (kinds.at(key.first) * agents.at(key.second)));
  return sum;
}

}  // namespace

void Thresholds::outcome(int slot, double score) {
  auto theta = at(slot);
  theta += kStep * ((1 - score) * (1 - theta) - score * theta);
  theta_[index(slot)] = static_cast<float>(std::clamp(theta, kLeast, kMost));
}

void Thresholds::idle(int slot) {
  const double theta = at(slot);
  theta_[index(slot)] = static_cast<float>(theta + kPull * (0.5 - theta));
}

double Thresholds::response(int slot, double stimulus, double fit) const {
  const double s = stimulus * stimulus, t = at(slot) * at(slot);
  return std::clamp(s / (s + t) * (1 + fit), 0.0, 1.0);
}

double stimulus(uint32_t round, double bids_last_time) {
  return std::min(1.0, 0.25 * round + std::clamp(1 - bids_last_time / 4, 0.0, 1.0));
}

double next_price(double price, double load, double target) {
  return std::clamp(price + kPriceStep * (load - target) / target, 0.0, kPriceMost);
}

DivisionOfLabour division_of_labour(std::span<const std::pair<uint32_t, uint32_t>> tasks) {
  if (tasks.empty()) return {};
  std::map<uint32_t, double> kinds, agents;
  for (const auto& [kind, agent] : tasks) {
    kinds[kind] += 1;
    agents[agent] += 1;
  }
  const auto n = static_cast<double>(tasks.size());
  const double seen = information(tasks, kinds, agents);
  std::vector<std::pair<uint32_t, uint32_t>> shuffled(tasks.begin(), tasks.end());
  double chance = 0;
  for (uint32_t round = 0; round < kShuffles; ++round) {
    for (size_t i = shuffled.size(); i > 1; --i) {
      RngStream rng(1, i, round, kStreamShuffle);
      std::swap(shuffled[i - 1].first, shuffled[rng.below(i)].first);
    }
    chance += information(shuffled, kinds, agents) / kShuffles;
  }
  const auto share = [&](double most) { return most - chance > 1e-9 ? (seen - chance) / (most - chance) : 0; };
  return {share(entropy(kinds, n)), share(entropy(agents, n))};
}

}  // namespace colony::swarm
