#include "swarm/quorum.h"

#include <algorithm>
#include <cmath>

namespace colony::swarm {

QuorumOptions quorum_for(const std::vector<double>& means) {
  if (means.empty()) return QuorumOptions::quick();
  const auto [least, most] = std::minmax_element(means.begin(), means.end());
  return *most - *least > 0.1 ? QuorumOptions::quick() : QuorumOptions::thorough();
}

void Quorum::vote(AgentId agent, double q, uint64_t answer) {
  const auto at = std::lower_bound(votes_.begin(), votes_.end(), agent, [](const Vote& v, AgentId a) { return v.agent < a; });
  if (at != votes_.end() && at->agent == agent) return;
  votes_.insert(at, {agent, std::clamp(std::isfinite(q) ? q : 0.5, 0.3, 0.95), answer});
}

bool Quorum::has(AgentId agent) const {
  return std::any_of(votes_.begin(), votes_.end(), [&](const Vote& v) { return v.agent == agent; });
}

void Quorum::checked(uint64_t answer, bool passed) { checked_[answer] = passed; }

void Quorum::verified(uint64_t answer, bool accepted, double true_positive, double false_positive) {
  const double t = std::clamp(true_positive, 1e-3, 1 - 1e-3), f = std::clamp(false_positive, 1e-3, 1 - 1e-3);
  verified_.emplace(answer, std::clamp(accepted ? std::log(t / f) : std::log((1 - t) / (1 - f)), -3.0, 3.0));
}

std::map<uint64_t, Quorum::Tally> Quorum::tallies() const {
  std::map<uint64_t, Tally> out;
  for (const auto& v : votes_) out[v.answer].voters.push_back(v.agent);
  const double m = options_.options > 1 ? options_.options : std::max<double>(5, static_cast<double>(out.size()) + 1);
  for (const auto& v : votes_) out[v.answer].evidence += std::log(v.q * (m - 1) / (1 - v.q));
  for (const auto& [answer, ratio] : verified_) {
    if (const auto at = out.find(answer); at != out.end()) at->second.evidence += ratio;
  }
  return out;
}

std::optional<Quorum::Verdict> Quorum::verdict(bool more) const {
  const auto said = tallies();
  const auto failed = [&](uint64_t answer) {
    const auto at = checked_.find(answer);
    return at != checked_.end() && !at->second;
  };
  // Of those still standing the first and the second; where all failed, of all.
  const bool standing = std::any_of(said.begin(), said.end(), [&](const auto& one) { return !failed(one.first); });
  const std::pair<const uint64_t, Tally>*first = nullptr, *second = nullptr;
  for (const auto& one : said) {
    if (standing && failed(one.first)) continue;
    const auto passed = checked_.find(one.first);
    if (passed != checked_.end() && passed->second) {
      first = &one;
      second = nullptr;
      break;
    }
    if (first == nullptr || one.second.evidence > first->second.evidence) {
      second = first;
      first = &one;
    } else if (second == nullptr || one.second.evidence > second->second.evidence) {
      second = &one;
    }
  }
  if (first == nullptr) return std::nullopt;
  const bool proved = checked_.contains(first->first) && checked_.at(first->first);
  const int k = votes();
  if (!proved && more && k < options_.cap) {
    if (!standing || k < 2) return std::nullopt;
    const double lead = first->second.evidence - (second != nullptr ? second->second.evidence : 0);
    if (lead < options_.lead * (1 - options_.patience * k / options_.cap)) return std::nullopt;
  }
  Verdict v;
  v.answer = first->first;
  v.votes = k;
  double total = 0;
  for (const auto& [answer, tally] : said) {
    if (!standing || !failed(answer)) total += std::exp(tally.evidence - first->second.evidence);
  }
  v.probability = proved ? 1 : !standing ? 0 : 1 / total;
  v.dissent = 1 - v.probability;
  v.undecided = !proved && (!standing || v.probability < 0.6);
  double most = -1;
  for (const auto& vote : votes_) {
    if (vote.answer == v.answer && vote.q > most) {
      most = vote.q;
      v.agent = vote.agent;
    }
  }
  return v;
}

}  // namespace colony::swarm
