// What a node makes of dances: whom it praises and warns of, what it believes.
#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/rng.h"
#include "swarm/node_state.h"

namespace colony::swarm {
namespace {

constexpr uint16_t kStreamDance = 4;
constexpr uint32_t kHopsMost = 12;
constexpr uint64_t kSwitchPause = 500;  // tasks between two default agents

}  // namespace

void Node::State::tell_two(const Dance& dance, uint64_t item) {
  if (peers.empty()) return;
  RngStream rng(options.seed, item, options.id, kStreamDance);
  for (int i = 0; i < 2; ++i) {
    effects.emplace_back(Send{std::next(peers.begin(), static_cast<ptrdiff_t>(rng.below(peers.size())))->first, dance});
  }
}

// After an outcome of a task that entered here: praise, warn, or ask for a new default agent.
void Node::State::dance(const Bid& bid, const Place& place, double score, const Now& now) {
  if (options.ask_most == 0 || !options.dances) return;
  if (served.size() >= kPeersMax * 64 && !served.contains(bid.agent)) return;
  Served& seen = served[bid.agent];
  seen.n += 1;
  seen.sum += score;
  const double mean = seen.sum / seen.n, lower = lower_bound_of(mean, seen.n);
  Dance dance{DanceKind::kSuccess, bid.agent, bid.node, options.id, now.task_time, 0, place, static_cast<float>(bid.index), static_cast<float>(mean), static_cast<float>(lower), static_cast<float>(seen.n)};
  const auto old = served.find(usual);
  const double reference = old != served.end() && old->second.n > 0 ? old->second.sum / old->second.n : 0.5;
  if (score >= .5) {
    const double strength = std::max(0.0, (bid.mean - reference) / std::max(1 - reference, .05)) * std::pow(.9, seen.dances);
    RngStream rng(options.seed, now.task_time, static_cast<uint32_t>(bid.agent), kStreamDance);
    if (seen.n >= 3 && rng.uniform() < std::min(1.0, 2 * strength)) {
      ++seen.dances;
      tell_two(dance, now.task_time);
    }
  } else if (seen.n >= 20 && mean + .1 < bid.mean) {
    dance.kind = DanceKind::kStop;
    tell_two(dance, now.task_time);
  }
  const bool better = usual == 0 || (bid.agent != usual && lower > reference);
  if (seen.n >= 20 && better && !seen.ready && (usual == 0 || heard >= switched_at + kSwitchPause)) {
    seen.ready = true;
    dance.kind = DanceKind::kReady;
    effects.emplace_back(Send{std::nullopt, dance});
  }
}

void Node::State::received(const Dance& m, const Now& now) {
  if (options.ask_most == 0 || !options.dances) return;
  if (m.origin != options.id) hear_of(m.origin);
  if (m.kind == DanceKind::kReady) {
    if (m.agent == usual || (usual != 0 && heard < switched_at + kSwitchPause)) return;
    if (!floor.ready(m.agent, m.origin, peers.size() + 1, now.task_time)) return;
    usual = m.agent;
    switched_at = heard;
    floor.switched();
    for (auto& [agent, seen] : served) seen.ready = false;
    effects.emplace_back(Switched{m.agent});
    return;
  }
  Dance on = m;
  on.value = std::min(m.value, 1.5F);
  if (audit.trust(m.host) < 1) return;
  if (!floor.heard(on, slot_of(m.place), now.task_time)) return;
  if (m.kind == DanceKind::kArrival && m.hops > 0) {
    on.hops = std::min<uint32_t>(m.hops, kHopsMost) - 1;
    tell_two(on, m.agent ^ m.hops);
  }
}

}  // namespace colony::swarm
