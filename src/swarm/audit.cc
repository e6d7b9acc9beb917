#include "swarm/audit.h"

#include <algorithm>
#include <cmath>

namespace colony::swarm {
namespace {

constexpr double kNoise = 0.2;           // variance of an outcome
constexpr double kMostDeviation = 0.6;   // no honest prior is wider
// Winners claim a little too much without lying: at .2 and 6 honest hosts were caught
// often, at a cost of .005 over recorded outcomes.
constexpr double kShift = 0.35, kLimit = 9;
constexpr double kCaughtTrust = 0.1, kLeastTrust = 0.001;
constexpr uint64_t kCaughtTasks = 500;
constexpr int kHonestToDouble = 50;
constexpr size_t kHostsMax = 1024, kSeenMax = 65'536;

}  // namespace

double Audit::trust(NodeId host) const {
  const auto at = hosts_.find(host);
  return at == hosts_.end() ? 1 : at->second.trust;
}

std::optional<Bid> Audit::judged(const Bid& bid) const {
  Bid out = bid;
  out.deviation = std::clamp(bid.deviation, 0.0, kMostDeviation);
  out.mean = std::clamp(bid.mean, -0.5, 1.5);
  out.recent = std::clamp(bid.recent, -0.5, 0.5);
  // An index is its parts, and no more optimistic than two deviations.
  const double most = bid.mean + bid.recent + 2 * bid.deviation;
  if (bid.index > most + 1e-9) return std::nullopt;
  if (out.deviation != bid.deviation || out.mean != bid.mean || out.recent != bid.recent) {
    out.index = std::min(bid.index, out.mean + out.recent + 2 * out.deviation);
  }
  const double believed = trust(bid.node);
  if (believed >= 1) return out;
  const auto at = seen_.find({bid.node, bid.agent});
  const Seen seen = at == seen_.end() ? Seen() : at->second;
  const double n = std::min(std::max(bid.n, 0.0), 8 + 4 * seen.n) * believed;
  // Nothing seen and nothing believed is worth an even chance, less what such a host took.
  const double weight = seen.n + n + 1;
  out.mean = (seen.sum + n * out.mean + 0.3) / weight;
  out.recent = std::min(0.0, out.recent);
  out.deviation = std::min(out.deviation, std::sqrt(kNoise / (weight + 8)));
  out.index = out.mean + out.recent + 2 * out.deviation * std::sqrt(believed);
  return out;
}

bool Audit::outcome(NodeId host, AgentId agent, double claimed, double score, uint64_t time) {
  if (!hosts_.contains(host) && hosts_.size() >= kHostsMax) return false;
  if (seen_.size() < kSeenMax || seen_.contains({host, agent})) {
    Seen& seen = seen_[{host, agent}];
    seen.n += 1;
    seen.sum += score;
  }
  Host& h = hosts_[host];
  const double m = std::clamp(claimed, 0.03, 0.97), lo = std::max(m - kShift, 0.02);
  h.drift = std::max(0.0, h.drift + score * std::log(lo / m) + (1 - score) * std::log((1 - lo) / (1 - m)));
  if (h.drift > kLimit) {
    h.trust = std::max(kLeastTrust, h.trust * kCaughtTrust);
    h.drift = 0;
    h.caught = time;
    h.honest = 0;
    return true;
  }
  if (h.trust < 1 && time >= h.caught + kCaughtTasks && ++h.honest >= kHonestToDouble) {
    h.trust = std::min(1.0, 2 * h.trust);
    h.honest = 0;
  }
  return false;
}

}  // namespace colony::swarm
