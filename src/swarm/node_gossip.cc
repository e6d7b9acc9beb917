// How a node keeps up with the others: when it asks whom, and what it takes from what it hears.
#include <iterator>

#include "base/rng.h"
#include "swarm/node_state.h"

namespace colony::swarm {
namespace {

constexpr uint16_t kStreamPeer = 5;
constexpr uint64_t kGossipEvery = 50, kGossipUnsettled = 8;  // tasks heard
constexpr uint64_t kGossipSteps = 256;                       // where nothing is heard
constexpr double kServed = 0.35;         // a map that serves worse than that is not for our tasks
constexpr uint32_t kServedFrom = 256;

}  // namespace

void Node::State::hear_of(NodeId node) {
  if (node == options.id || (peers.size() >= kPeersMax && !peers.contains(node))) return;
  peers[node] = heard;
}

void Node::State::gossip(const Now& now) {
  gossiped = heard;
  gossiped_step = now.step;
  if (peers.empty()) {  // new here: who is there?
    effects.emplace_back(Send{std::nullopt, replica.digest(true)});
    return;
  }
  RngStream rng(options.seed, heard + (now.step << 20), options.id, kStreamPeer);
  const auto peer = std::next(peers.begin(), static_cast<ptrdiff_t>(rng.below(peers.size())));
  write_records();
  effects.emplace_back(Send{peer->first, replica.digest(true)});
}

bool Node::State::gossip_due() const {
  return soon(heard - rebuilt + 1) || heard - gossiped >= (replica.settled() ? kGossipEvery : kGossipUnsettled);
}

bool Node::State::gossip_overdue(const Now& now) const { return now.step >= gossiped_step + kGossipSteps; }

// What was deposited since becomes records.
void Node::State::write_records() {
  for (auto& [id, member] : members) {
    if (!member.unwritten) continue;
    member.unwritten = false;
    Evidence e = member.trail.own();
    if (member.returned && member.returned_landmarks == landmarks_id) e.add(*member.returned);
    e.costs.add(member.cost.all());
    replica.write(trail_record(id, landmarks_id, e));
  }
  if (!replica.populations().contains(options.id)) write_population();
}

void Node::State::received(const Digest& m, const Now&) {
  if (!options.gossip || m.from == options.id) return;
  hear_of(m.from);
  replica.hear(m);
  write_records();
  Delta delta = replica.delta_for(m);
  const bool empty = delta.ranges.empty() && !delta.landmarks;
  if (m.wants_reply || !empty) effects.emplace_back(Send{m.from, std::move(delta)});
  if (m.wants_reply) effects.emplace_back(Send{m.from, replica.digest(false)});
}

void Node::State::received(const Delta& m, const Now& now) {
  if (!options.gossip || m.from == options.id) return;
  hear_of(m.from);
  replica.merge(m);
  if (options.half_life_ms > 0) {
    for (const auto& range : m.ranges) {
      const Stamp seen = replica.seen(range.writer);
      auto& [stamp, since] = writers_heard[range.writer];
      if (seen != stamp) since = passed_ms;
      stamp = seen;
    }
  }
  // An early map is soon made anew, so it is taken as it is; a later one must fit what was heard here.
  const bool fits = m.landmarks && m.landmarks->valid() && (m.landmarks->epoch < kServedFrom || map.served_by(*m.landmarks) >= kServed);
  if (fits && replica.offer(m.landmarks)) {
    use_landmarks(replica.landmarks());
  }
  for (const TrailRecord& record : replica.take_returned()) {
    const auto [at, fresh] = members.try_emplace(record.agent);
    Member& member = at->second;
    if (member.remembered || member.returned) continue;
    Evidence returned = evidence_of(record);
    returned.costs.at = std::min(returned.costs.at, task_time);
    member.returned = std::make_shared<const Evidence>(returned);
    member.returned_landmarks = record.landmarks;
    member.unwritten = true;
    refresh(record.agent, member);
    candidates.update(record.agent, read_at(now, candidates.hosted().size()));
  }
  for (const AgentId id : replica.take_changed()) {
    const auto at = members.find(id);
    if (at == members.end() || !at->second.hosted) continue;
    refresh(id, at->second);
    candidates.update(id, read_at(now, candidates.hosted().size()));
  }
}

// A map of other nodes in place of ours.
void Node::State::use_landmarks(const std::shared_ptr<const Landmarks>& landmarks) {
  const LandmarkMap before = map;
  const uint64_t before_id = std::exchange(landmarks_id, landmarks->id());
  map.adopt(*landmarks);
  candidates.forget();
  const auto overlap = before.overlap(map);
  move_costs(overlap);
  for (auto& [id, member] : members) {
    if (member.returned && member.returned_landmarks == before_id && before.count() > 0) {
      member.returned = std::make_shared<const Evidence>(remapped(*member.returned, overlap));
      member.returned_landmarks = landmarks_id;
    }
  }
  if (!map.log().empty()) {
    fill_from_log();
    map.close_full_log();
    if (map.log().empty()) std::vector<Extra>().swap(extras);
    logged_at.clear();
    return;
  }
  for (auto& [id, member] : members) {
    member.trail.remap(overlap, map);
    member.thresholds.reset();
    member.unwritten = true;
    refresh(id, member);
  }
  refresh_population();
}

}  // namespace colony::swarm
