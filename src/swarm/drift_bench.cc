#include "swarm/drift_bench.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string_view>

#include "base/rng.h"

namespace colony::swarm {
namespace {

constexpr size_t kT = DriftCourse::kTasks, kTypes = DriftCourse::kTypes, kAgents = DriftCourse::kAgents;
constexpr size_t kFamilies = 4;
constexpr uint16_t kStreamSimulation = 7;

using Vector = std::array<double, kPlaceDim>;
using Row = std::array<double, kTypes>;  // an agent's ability at each type

// A stream of its own for every quantity: (seed, name, index).
RngStream dice(uint64_t seed, std::string_view name, uint64_t index) {
  return {seed, fnv1a(name.data(), name.size()) ^ (index * 0x9E3779B97F4A7C15ULL), 3, kStreamSimulation};
}

double between(RngStream& rng, double low, double high) { return low + (high - low) * rng.uniform(); }

Vector unit(Vector v) {
  double norm = 0;
  for (const double x : v) norm += x * x;
  for (double& x : v) x /= std::sqrt(norm);
  return v;
}
Vector direction(RngStream& rng) {
  Vector v;
  for (double& x : v) x = rng.normal();
  return unit(v);
}

Row ability_row(RngStream rng) {
  Row row;
  for (double& a : row) a = between(rng, .12, .45);
  if (rng.uniform() < .15) {
    for (double& a : row) a = between(rng, .45, .62);
    return row;
  }
  const auto family = static_cast<size_t>(rng.below(kFamilies));
  constexpr size_t kOf = kTypes / kFamilies;
  std::array<size_t, kOf> types{};
  for (size_t i = 0; i < kOf; ++i) types[i] = family + i * kFamilies;
  for (size_t i = kOf; i > 1; --i) std::swap(types[i - 1], types[rng.below(i)]);
  const size_t count = 1 + static_cast<size_t>(rng.below(2));
  for (size_t i = 0; i < count; ++i) row[types[i]] = between(rng, .74, .95);
  if (rng.uniform() < .5) row[rng.below(kTypes)] = between(rng, .7, .9);
  return row;
}

void repair(std::array<Row, kAgents>& rows, double least, RngStream rng) {
  for (size_t type = 0; type < kTypes; ++type) {
    double best = 0;
    for (const Row& row : rows) best = std::max(best, row[type]);
    if (best < least) rows[rng.below(kAgents)][type] = between(rng, .8, .93);
  }
}

template <size_t N>
std::array<size_t, N> shuffled(RngStream rng) {
  std::array<size_t, N> order{};
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = N; i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
  return order;
}

double logit(double p) { return std::log(p / (1 - p)); }

}  // namespace

Result<DriftVariant> drift_variant(const std::string& name) {
  if (name == "main") return DriftVariant::kMain;
  if (name == "none") return DriftVariant::kNone;
  if (name == "region") return DriftVariant::kRegion;
  if (name == "break") return DriftVariant::kBreak;
  return invalid("synthetic: found '{}', expected main, none, region or break", name);
}

DriftCourse::DriftCourse(uint64_t seed, DriftVariant variant) : places_(kT), truth_(kT * kArms), scores_(kT * kArms) {
  // 1. Types of tasks, in families that lie near each other.
  std::array<Vector, kFamilies> family;
  for (size_t f = 0; f < kFamilies; ++f) {
    RngStream rng = dice(seed, "family", f);
    family[f] = direction(rng);
  }
  std::array<Vector, kTypes> centre;
  for (size_t k = 0; k < kTypes; ++k) {
    RngStream rng = dice(seed, "centre", k);
    const Vector own = direction(rng);
    for (size_t i = 0; i < kPlaceDim; ++i) centre[k][i] = std::sqrt(.4) * family[k % kFamilies][i] + std::sqrt(.6) * own[i];
    centre[k] = unit(centre[k]);
  }
  const auto rank = shuffled<kTypes>(dice(seed, "frequency", 0));
  std::array<double, kTypes> cumulative{};
  double total = 0;
  for (size_t k = 0; k < kTypes; ++k) cumulative[k] = total += std::pow(static_cast<double>(rank[k] + 1), -.7);
  std::vector<size_t> type(kT);
  std::vector<Vector> x(kT);
  for (size_t t = 0; t < kT; ++t) {
    RngStream rng = dice(seed, "task", t);
    const double u = rng.uniform() * total;
    type[t] = static_cast<size_t>(std::upper_bound(cumulative.begin(), cumulative.end() - 1, u) - cumulative.begin());
    for (size_t i = 0; i < kPlaceDim; ++i) x[t][i] = centre[type[t]][i] + rng.normal() / std::sqrt(double{kPlaceDim});
    x[t] = unit(x[t]);
    for (size_t i = 0; i < kPlaceDim; ++i) places_[t][i] = static_cast<float>(x[t][i]);
  }
  // 2, 3. Abilities before and after.
  std::array<Row, kAgents> before, after;
  for (size_t a = 0; a < kAgents; ++a) before[a] = ability_row(dice(seed, "ability", a));
  repair(before, .75, dice(seed, "repair", 0));
  after = before;
  if (variant == DriftVariant::kMain) {
    const auto order = shuffled<kAgents>(dice(seed, "redrawn", 0));
    for (size_t i = 0; i < kAgents / 2; ++i) after[order[i]] = ability_row(dice(seed, "ability", kAgents + order[i]));
    repair(after, .72, dice(seed, "repair", 1));
  } else if (variant == DriftVariant::kRegion) {
    const auto types = shuffled<kTypes>(dice(seed, "region", 0));
    const auto order = shuffled<kAgents>(dice(seed, "region", 1));
    for (size_t i = 0; i < 4; ++i) {
      for (size_t a = 0; a < kAgents; ++a) after[a][types[i]] = before[order[a]][types[i]];
    }
  } else if (variant == DriftVariant::kBreak) {
    for (size_t k = 0; k < kTypes; ++k) {
      if (rank[k] >= 6) continue;
      size_t best = 0;
      for (size_t a = 0; a < kAgents; ++a) best = before[a][k] > before[best][k] ? a : best;
      after[best][k] = .15;
    }
  }
  Row late;
  RngStream late_rng = dice(seed, "late", 0);
  for (double& a : late) a = between(late_rng, .15, .4);
  const auto late_types = shuffled<kTypes>(dice(seed, "late", 1));
  for (size_t i = 0; i < 3; ++i) late[late_types[i]] = .97;
  // 4, 5. Probabilities and outcomes.
  std::array<Vector, kArms> taste;
  for (size_t a = 0; a < kArms; ++a) {
    RngStream rng = dice(seed, "taste", a);
    taste[a] = direction(rng);
  }
  std::array<Row, kArms> walk{};
  for (size_t t = 0; t < kT; ++t) {
    if (t % 50 == 0 && t > 0) {
      for (size_t a = 0; a < kAgents; ++a) {
        RngStream rng = dice(seed, "walk", t * kArms + a);
        for (double& w : walk[a]) w += .004 * std::sqrt(50.0) * rng.normal();
      }
    }
    for (size_t a = 0; a < kArms; ++a) {
      const double ability = a == kAgents ? late[type[t]] : (t < kT / 2 ? before : after)[a][type[t]];
      double along = 0;
      for (size_t i = 0; i < kPlaceDim; ++i) along += x[t][i] * taste[a][i];
      const double q = 1 / (1 + std::exp(-(logit(std::clamp(ability, .02, .98)) + walk[a][type[t]] + .25 * 8 * along)));
      RngStream rng = dice(seed, "outcome", t * kArms + a);
      bool good = rng.uniform() < q;
      if (rng.uniform() < .05) good = !good;
      truth_[t * kArms + a] = static_cast<float>(q);
      scores_[t * kArms + a] = good;
    }
  }
}

double DriftCourse::regret(size_t t, size_t arm) const {
  double best = 0;
  for (size_t a = 0; a < kArms; ++a) {
    if (there(t, a)) best = std::max(best, probability(t, a));
  }
  return best - probability(t, arm);
}

}  // namespace colony::swarm
