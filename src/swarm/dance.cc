#include "swarm/dance.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"

namespace colony::swarm {
namespace {

constexpr size_t kKnownMax = 65'536, kDancesMax = 65'536;
constexpr uint64_t kPause = 50, kLife = 5000, kStopMemory = 500;
constexpr double kHalfLife = 500;
constexpr float kUnknown = 0.5F;
constexpr uint16_t kStreamScout = 2;

// Regularised incomplete beta function by its continued fraction (Lentz).
double incomplete_beta(double a, double b, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incomplete_beta(b, a, 1 - x);
  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log(1 - x)) / a;
  constexpr double kTiny = 1e-300;
  double f = 1, c = 1, d = 0;
  for (int i = 0; i <= 500; ++i) {
    const int m = i / 2;
    const double numerator = i == 0       ? 1
                             : i % 2 == 0 ? m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
                                          : -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 + numerator * d;
    d = 1 / (std::abs(d) < kTiny ? kTiny : d);
    c = 1 + numerator / c;
    if (std::abs(c) < kTiny) c = kTiny;
    f *= c * d;
    if (std::abs(1 - c * d) < 1e-12) break;
  }
  return front * (f - 1);
}

}  // namespace

double lower_bound_of(double mean, double n) {
  const double a = n * mean + .5, b = n * (1 - mean) + .5;
  double low = 0, high = 1;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (incomplete_beta(a, b, middle) < .05 ? low : high) = middle;
  }
  return low;
}

void DanceFloor::heard_bid(const Bid& bid, int slot) {
  if (known_.size() >= kKnownMax && !known_.contains(bid.agent)) return;
  const auto [at, fresh] = known_.try_emplace(bid.agent);
  Known& k = at->second;
  if (fresh) k.value.fill(kUnknown);
  k.host = bid.node;
  k.value[static_cast<size_t>(slot + 1)] = static_cast<float>(bid.index);
  if (slot >= 0) k.value[0] += .1F * (static_cast<float>(bid.index) - k.value[0]);
  if (k.danced_slot == slot) k.danced = 0;  // the truth has come
}

bool DanceFloor::heard(const Dance& dance, int slot, uint64_t time) {
  if (dance.agent == 0 || dance.time + kLife < time) return false;
  const auto last = last_.find({dance.agent, dance.origin});
  if (last != last_.end() && dance.time < last->second + kPause) return false;
  if (last_.size() >= kDancesMax && last == last_.end()) last_.clear();  // who danced long ago may dance again
  last_[{dance.agent, dance.origin}] = dance.time;
  if (known_.size() >= kKnownMax && !known_.contains(dance.agent)) return false;
  const auto [at, fresh] = known_.try_emplace(dance.agent);
  Known& k = at->second;
  if (fresh) k.value.fill(kUnknown);
  if (dance.kind == DanceKind::kStop) {
    if (k.stopped_at + kStopMemory < time) k.stopped.clear();
    k.stopped.insert(dance.origin);
    k.stopped_at = time;
    k.danced *= k.stopped.size() >= 4 ? 0 : k.stopped.size() >= 2 ? .5F : 1;
    return true;
  }
  k.host = dance.host;
  const float over = std::clamp(dance.value, 0.0F, 2.0F) - k.value[static_cast<size_t>(slot + 1)];
  if (over > k.danced) {
    k.danced = over;
    k.danced_slot = slot;
    k.danced_at = time;
  }
  return true;
}

std::vector<DanceFloor::Partner> DanceFloor::candidates(int slot, uint64_t time, size_t most, size_t scouts, AgentId always, uint64_t seed, TaskId task) const {
  std::vector<std::pair<double, AgentId>> order;
  order.reserve(known_.size());
  for (const auto& [agent, k] : known_) {
    double value = static_cast<double>(k.value[static_cast<size_t>(slot + 1)]);
    if (k.danced > 0 && k.danced_slot == slot) {
      value += static_cast<double>(k.danced) * std::exp2(-static_cast<double>(time - std::min(time, k.danced_at)) / kHalfLife);
    }
    order.emplace_back(-value, agent);
  }
  const size_t best = std::min(order.size(), most > scouts ? most - scouts : 0);
  std::partial_sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(best), order.end());
  std::vector<AgentId> chosen;
  for (size_t i = 0; i < best; ++i) chosen.push_back(order[i].second);
  if (known_.contains(always)) chosen.push_back(always);
  RngStream rng(seed, task, 0, kStreamScout);
  for (size_t i = 0; i < scouts && !order.empty(); ++i) chosen.push_back(order[rng.below(order.size())].second);
  std::sort(chosen.begin(), chosen.end());
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  std::vector<Partner> partners;
  for (const AgentId agent : chosen) partners.push_back({agent, known_.at(agent).host});
  return partners;
}

void DanceFloor::forget(NodeId host) {
  std::erase_if(known_, [&](const auto& one) { return one.second.host == host; });
}

bool DanceFloor::ready(AgentId agent, NodeId origin, size_t nodes, uint64_t time) {
  if (ready_.size() > 256 && !ready_.contains(agent)) ready_.clear();
  auto& voters = ready_[agent];
  voters.insert(origin);
  const auto k = known_.find(agent);
  if (k != known_.end() && !k->second.stopped.empty() && k->second.stopped_at + kStopMemory >= time) return false;
  return 2 * voters.size() > nodes;
}

}  // namespace colony::swarm
