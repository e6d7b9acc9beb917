// What the agents of all nodes share, as this node knows it, and what its trails make of that.
#include <algorithm>
#include <cmath>

#include "swarm/node_state.h"

namespace colony::swarm {
namespace {

// Steps of empirical Bayes after a rebuild of the map from so many tasks. With four, what agents share and how they differ has hardly
// moved from where it starts when a young colony needs it; in an older one sixteen are a jump, after which much is tried again (docs/swarm.md).
int steps_after(uint32_t tasks) { return tasks <= 256 ? 16 : 4; }
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
    const auto add = [&](Evidence e) {
      e.costs.at = std::min(e.costs.at, task_time);  // nothing is later than now
      if (!also) also = std::make_shared<Evidence>();
      also->add(e);
    };
    if (member.returned && member.returned_landmarks == landmarks_id) add(*member.returned);
    const auto& trails = replica.trails();
    for (auto at = trails.lower_bound({id, 0}); at != trails.end() && at->first.first == id; ++at) {
      const TrailRecord& record = at->second;
      if (record.writer == options.id || record.landmarks != landmarks_id) continue;
      const auto forgotten = member.forgotten.find(record.writer);
      if (forgotten != member.forgotten.end() && record.stamp <= forgotten->second) continue;
      Evidence e = evidence_of(record);
      if (const double left = left_of(record.writer); left < 1) e.scale(left);
      add(e);
    }
    if (also && also->n > 0) {
      const double most = 8 + 4 * member.trail.own().n;
      if (options.audit && also->n > most) also->scale(most / also->n);
      member.cost.set_also(also->costs);
      member.trail.set_also(std::move(also));
    } else if (member.trail.also() != nullptr) {
      member.cost.set_also({});
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
  struct Known {
    AgentId agent;
    Features features;
    double score, weight;
  };
  std::vector<Known> known;
  for (const auto& logged : map.log()) {
    if (logged.agent != 0) known.push_back({logged.agent, features_of(LandmarkMap::place_of(logged)), static_cast<double>(logged.score), static_cast<double>(logged.weight)});
  }
  for (const auto& extra : extras) known.push_back({extra.agent, features_of(extra.place), static_cast<double>(extra.score), static_cast<double>(extra.weight)});
  for (auto& [id, member] : members) {
    member.trail.restart(map);
    member.trail.set_also(nullptr);
    member.thresholds.reset();
    member.unwritten = true;
  }
  for (const Known& one : known) {
    if (const auto at = members.find(one.agent); at != members.end()) at->second.trail.add(one.features, one.score, one.weight);
  }
  fit_population();
}

void Node::State::fit_population() {
  for (int step = 0, steps = steps_after(map.epoch()); step < steps; ++step) {
    for (auto& [id, member] : members) refresh(id, member);
    refresh_population();
  }
  for (auto& [id, member] : members) refresh(id, member);
  untaught = false;
}

// Costs are not in the log: they go to the new landmarks as the old ones lie among them.
void Node::State::move_costs(const std::array<std::array<double, kLandmarks>, kLandmarks>& overlap) {
  for (auto& [id, member] : members) member.cost.remap(overlap);
}

// What the clock takes from the evidence this node wrote: S, b, N by 2^(−Δ/half-life), and so a new write of each. In steps, since
// every posterior follows, one a task (to_refresh).
void Node::State::time_passes(uint64_t ms) {
  const uint64_t since = clock_ms && ms > *clock_ms ? ms - *clock_ms : 0;
  clock_ms = ms;
  passed_ms += since;
  due_ms += since;
  if (due_ms < std::max<uint64_t>(1, options.half_life_ms / kEvaporations)) return;
  const double left = std::exp2(-static_cast<double>(due_ms) / static_cast<double>(options.half_life_ms));
  due_ms = 0;
  for (auto& [id, member] : members) {
    member.trail.evaporate(left);
    if (member.returned) {
      auto less = std::make_shared<Evidence>(*member.returned);
      less->scale(left);
      member.returned = std::move(less);
    }
    member.unwritten = member.unwritten || member.returned || member.trail.n() > 0;
  }
  to_refresh = static_cast<size_t>(std::count_if(members.begin(), members.end(), [](const auto& m) { return m.second.hosted; }));
  // The log too: a map made anew must not bring back what is gone.
  for (auto& logged : map.log()) logged.weight *= static_cast<float>(left);
  for (auto& extra : extras) extra.weight *= static_cast<float>(left);
}

// Of another node's records: they fade from when it was last heard of. While it lives it writes them anew itself.
double Node::State::left_of(NodeId writer) const {
  if (options.half_life_ms == 0) return 1;
  const auto at = writers_heard.find(writer);
  return at == writers_heard.end() ? 1 : std::exp2(-static_cast<double>(passed_ms - at->second.second) / static_cast<double>(options.half_life_ms));
}

}  // namespace colony::swarm
