// What the agents of all nodes share, as this node knows it, and what its trails make of that.
#include <algorithm>
#include <cmath>

#include "swarm/node_state.h"

namespace colony::swarm {
namespace {

constexpr uint64_t kNewsTasks = 1000;    // a population record lasts that long without a newer one

PopulationRecord record_of(const PopulationSums& sums, uint64_t landmarks) {
  PopulationRecord r;
  r.landmarks = landmarks;
  for (size_t j = 0; j < kFeatures; ++j) {
    r.sums[j] = sums.known[j];
    r.sums[kFeatures + j] = sums.known_w[j];
    r.sums[2 * kFeatures + j] = sums.w[j];
  }
  r.sums[3 * kFeatures] = sums.square_base;
  r.sums[3 * kFeatures + 1] = sums.square_place;
  r.sums[3 * kFeatures + 2] = sums.agents;
  return r;
}

// Another node's sums, as far as they may be believed: no agent of it spreads wider than four times
// what ours do, none is further from the rest than that.
PopulationSums sums_of(const PopulationRecord& r, const Population& population, bool audit) {
  PopulationSums sums;
  sums.agents = r.sums[3 * kFeatures + 2];
  sums.square_base = r.sums[3 * kFeatures];
  sums.square_place = r.sums[3 * kFeatures + 1];
  double base_most = 0, place_most = 0;
  for (size_t j = 0; j < kFeatures; ++j) {
    sums.known[j] = r.sums[j];
    sums.known_w[j] = r.sums[kFeatures + j];
    sums.w[j] = r.sums[2 * kFeatures + j];
    if (!audit) continue;
    const double theta = population.theta[j], far = 4 * std::sqrt(population.tau(j));
    const auto near_to = [&](double sum, double weight) { return std::clamp(sum, weight * (theta - far), weight * (theta + far)); };
    sums.known_w[j] = near_to(sums.known_w[j], sums.known[j]);
    sums.w[j] = near_to(sums.w[j], sums.agents);
    (j == 0 ? base_most : place_most) += sums.agents * 4 * population.tau(j) + theta * (2 * sums.w[j] - sums.agents * theta);
  }
  if (audit) {
    sums.square_base = std::min(sums.square_base, base_most);
    sums.square_place = std::min(sums.square_place, place_most);
  }
  return sums;
}

}  // namespace

// A trail's posterior anew, with what other nodes deposited on the same agent. Of that counts what may
// be believed beside the own deposits: 8 + 4 n (5.4).
void Node::State::refresh(AgentId id, Member& member) {
  if (options.gossip) {
    std::shared_ptr<Evidence> also;  // most agents have lived at one node only
    const auto add = [&](const Evidence& e) {
      if (!also) also = std::make_shared<Evidence>();
      for (size_t i = 0; i < e.s.size(); ++i) also->s[i] += e.s[i];
      for (size_t j = 0; j < kFeatures; ++j) also->b[j] += e.b[j];
      also->n += e.n;
    };
    if (member.returned && member.returned_landmarks == landmarks_id) add(*member.returned);
    const auto& trails = replica.trails();
    for (auto at = trails.lower_bound({id, 0}); at != trails.end() && at->first.first == id; ++at) {
      const TrailRecord& record = at->second;
      if (record.writer == options.id || record.landmarks != landmarks_id) continue;
      const auto forgotten = member.forgotten.find(record.writer);
      if (forgotten == member.forgotten.end() || record.stamp > forgotten->second) add(evidence_of(record));
    }
    if (also && also->n > 0) {
      const double most = 8 + 4 * member.trail.own().n, share = options.audit && also->n > most ? most / also->n : 1;
      for (double& value : also->s) value *= share;
      for (double& value : also->b) value *= share;
      also->n *= share;
      member.trail.set_also(std::move(also));
    } else if (member.trail.also() != nullptr) {
      member.trail.set_also(nullptr);
    }
  }
  member.trail.refresh(population);
}

PopulationSums Node::State::write_population() {
  std::vector<const Trail*> trails;
  for (const auto& [id, member] : members) {
    if (member.hosted) trails.push_back(&member.trail);
  }
  const PopulationSums sums = population_sums(population, trails);
  if (options.gossip) replica.write(record_of(sums, landmarks_id));
  return sums;
}

void Node::State::refresh_population() {
  PopulationSums sums = write_population();
  if (options.gossip) {
    for (const auto& [writer, record] : replica.populations()) {
      if (writer == options.id || record.landmarks != landmarks_id) continue;
      auto& [stamp, since] = population_news[writer];
      if (stamp != record.stamp) {
        stamp = record.stamp;
        since = heard;
      }
      if (heard - since <= kNewsTasks) sums.add(sums_of(record, population, options.audit));
    }
  }
  update_population(population, sums);
  to_refresh = static_cast<size_t>(std::count_if(members.begin(), members.end(), [](const auto& m) { return m.second.hosted; }));
}

// The landmarks are new ones: every trail is made from the log, under them.
void Node::State::fill_from_log() {
  std::vector<std::pair<AgentId, std::pair<Features, double>>> known;
  for (const auto& logged : map.log()) {
    if (logged.agent != 0) known.push_back({logged.agent, {features_of(LandmarkMap::place_of(logged)), static_cast<double>(logged.score)}});
  }
  for (const auto& extra : extras) known.push_back({extra.agent, {features_of(extra.place), static_cast<double>(extra.score)}});
  for (auto& [id, member] : members) {
    member.trail.restart(map);
    member.trail.set_also(nullptr);
    member.thresholds.reset();
    member.unwritten = true;
  }
  for (const auto& [id, deposit] : known) {
    if (const auto at = members.find(id); at != members.end()) at->second.trail.add(deposit.first, deposit.second);
  }
  for (int round = 0; round < 4; ++round) {
    for (auto& [id, member] : members) refresh(id, member);
    refresh_population();
  }
  for (auto& [id, member] : members) refresh(id, member);
}

}  // namespace colony::swarm
