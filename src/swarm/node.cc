#include "swarm/node.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "swarm/node_state.h"

namespace colony::swarm {
namespace {

constexpr uint64_t kPopulationEvery = 100;  // tasks
constexpr size_t kAskedMax = 8192, kBidsMax = 65'536, kUnhostedMax = 4096;
constexpr uint16_t kStreamTie = 1, kStreamScout = 2;

}  // namespace

Node::Node(const NodeOptions& options) : state_(std::make_unique<State>(options)) {}
Node::~Node() = default;
Node::Node(Node&&) noexcept = default;
Node& Node::operator=(Node&&) noexcept = default;

std::vector<Effect> Node::step(const Event& event, const Now& now) {
  State& s = *state_;
  s.effects.clear();
  if (const auto* born = std::get_if<AgentBorn>(&event)) {
    auto [at, fresh] = s.members.try_emplace(born->agent);
    at->second.name = born->name.substr(0, kNameMax);
    at->second.hosted = true;
    if (fresh) at->second.trail.refresh(s.population);
    s.candidates.forget();
  } else if (const auto* retired = std::get_if<AgentRetired>(&event)) {
    s.candidates.forget();
    if (const auto at = s.members.find(retired->agent); at != s.members.end()) at->second.hosted = false;
    s.end_leases_of_agent(retired->agent);
    // Trails of agents that are gone are kept for their return, the least used are let go first.
    while (static_cast<size_t>(std::count_if(s.members.begin(), s.members.end(), [](const auto& m) { return !m.second.hosted; })) > kUnhostedMax) {
      auto least = s.members.end();
      for (auto at = s.members.begin(); at != s.members.end(); ++at) {
        if (!at->second.hosted && (least == s.members.end() || at->second.trail.n() < least->second.trail.n())) least = at;
      }
      s.members.erase(least);
    }
  } else if (const auto* entered = std::get_if<TaskEntered>(&event)) {
    s.entered(*entered);
  } else if (const auto* closed = std::get_if<BidsClosed>(&event)) {
    s.close(*closed, now);
  } else if (const auto* withdrawn = std::get_if<TaskWithdrawn>(&event)) {
    s.withdrawn(*withdrawn);
  } else if (const auto* got = std::get_if<Received>(&event)) {
    std::visit([&](const auto& message) { s.received(message, now); }, got->message);
  }
  return std::move(s.effects);
}

void Node::State::entered(const TaskEntered& e) {
  auto [at, fresh] = asked.try_emplace(e.task);
  Asked& ask = at->second;
  if (fresh) {
    asked_order.push_back(e.task);
    if (asked_order.size() > kAskedMax) {
      asked.erase(asked_order.front());
      asked_order.pop_front();
    }
  } else {
    ++ask.round;
  }
  ask.place = e.place;
  ask.open = true;
  ask.bids.clear();
  effects.emplace_back(Send{std::nullopt, Announce{e.task, options.id, e.place, e.budget_tokens, ask.round}});
}

void Node::State::received(const Announce& m, const Now& now) {
  for (const float x : m.place) {
    if (!std::isfinite(x)) return;
  }
  end_lapsed_leases(now.step);
  for (auto at = leases.lower_bound({m.task, 0}); at != leases.end() && at->first.first == m.task;) {
    const auto next = std::next(at);
    // Asked anew: by another node (the asker died), or by the same in a later round.
    if (at->second.asker != m.asker || at->second.round < m.round) end_lease(at);
    at = next;
  }
  const Features features = features_of(m.place);
  know_candidates(now.task_time);
  const auto& picked = candidates.pick(features, RngStream(options.seed, m.task, options.id, kStreamScout));
  effects.reserve(picked.size());
  for (const uint32_t at : picked) {
    const auto& [id, trail] = candidates.hosted()[at];
    const Reading r = trail->read(features, now.task_time, parts());
    Bid bid{m.task, options.id, id, 0, r.mean, r.deviation, r.recent, trail->n(), static_cast<double>(trail->under_way()), m.round};
    bid.index = options.trails ? r.mean + r.recent + (options.explore ? 2 * r.deviation : 0) : 0;
    effects.emplace_back(Send{m.asker, bid});
  }
  if (announced.insert(m.task)) learn(m, now);
}

Features Node::State::features_of(const Place& place) const { return features_of(map.similarity(place)); }

Features Node::State::features_of(const std::array<double, kLandmarks>& similarity) const {
  if (options.places) return map.features(similarity);
  Features only_intercept;
  only_intercept.count = 1;
  only_intercept.value[0] = 1;
  return only_intercept;
}

void Node::State::know_candidates(uint64_t task_time) {
  if (candidates.known()) return;
  std::vector<Candidates::Hosted> hosted;
  for (const auto& [id, member] : members) {
    if (member.hosted) hosted.push_back({id, &member.trail});
  }
  const bool scanned = hosted.size() > options.scan_all;
  candidates.begin(std::move(hosted), scanned, map, task_time, parts());
}

// After the bids: the map sees the task, one agent's posterior is made anew.
void Node::State::learn(const Announce& m, const Now& now) {
  ++heard;
  if (map.learn(m.place)) {
    fill_from_log();
    candidates.forget();
    map.close_full_log();
    if (map.log().empty()) std::vector<Extra>().swap(extras);
  } else if (heard % kPopulationEvery == 0) {
    refresh_population();
    candidates.follow(map);
  }
  if (const auto at = map.last_logged()) logged_at[m.task] = *at;
  else logged_at.clear();
  // Between two changes of the population the rank-one steps keep P and w exact: each trail is made anew once.
  if (to_refresh == 0 || members.empty()) return;
  --to_refresh;
  auto next = members.upper_bound(refreshed);
  for (size_t i = 0; i <= members.size(); ++i, ++next) {
    if (next == members.end()) next = members.begin();
    if (next->second.hosted) {
      next->second.trail.refresh(population);
      refreshed = next->first;
      candidates.update(refreshed, now.task_time, parts());
      return;
    }
  }
}

void Node::State::refresh_population() {
  std::vector<const Trail*> trails;
  for (const auto& [id, member] : members) {
    if (member.hosted) trails.push_back(&member.trail);
  }
  update_population(population, trails);
  to_refresh = trails.size();
}

// The landmarks are new ones: every trail is made from the log, under them.
void Node::State::fill_from_log() {
  std::vector<std::pair<AgentId, std::pair<Features, double>>> known;
  for (const auto& logged : map.log()) {
    if (logged.agent != 0) known.push_back({logged.agent, {features_of(LandmarkMap::place_of(logged)), static_cast<double>(logged.score)}});
  }
  for (const auto& extra : extras) known.push_back({extra.agent, {features_of(extra.place), static_cast<double>(extra.score)}});
  for (auto& [id, member] : members) member.trail.restart(map);
  for (const auto& [id, deposit] : known) {
    if (const auto at = members.find(id); at != members.end()) at->second.trail.add(deposit.first, deposit.second);
  }
  for (int round = 0; round < 4; ++round) {
    for (auto& [id, member] : members) member.trail.refresh(population);
    refresh_population();
  }
  for (auto& [id, member] : members) member.trail.refresh(population);
}

void Node::State::received(const Bid& m, const Now&) {
  const auto at = asked.find(m.task);
  if (at == asked.end() || !at->second.open || at->second.round != m.round) return;
  for (const double value : {m.index, m.mean, m.deviation, m.recent, m.n, m.load}) {
    if (!std::isfinite(value)) return;
  }
  if (m.agent == 0 || at->second.bids.size() >= kBidsMax) return;
  // Ascending agent; of several bids for one agent the first that came counts.
  auto& bids = at->second.bids;
  const auto place = std::lower_bound(bids.begin(), bids.end(), m.agent, [](const Bid& bid, AgentId agent) { return bid.agent < agent; });
  if (place == bids.end() || place->agent != m.agent) bids.insert(place, m);
}

void Node::State::close(const BidsClosed& e, const Now&) {
  const auto at = asked.find(e.task);
  if (at == asked.end() || !at->second.open) return;
  Asked& ask = at->second;
  ask.open = false;
  auto& bids = ask.bids;
  Explain explain;
  explain.task = e.task;
  if (bids.empty()) {
    explain.reason = "no_bid";
    effects.emplace_back(std::move(explain));
    return;
  }
  std::vector<const Bid*> best;
  double most_mean = bids[0].mean, most_reading = bids[0].mean + bids[0].recent;
  for (const Bid& bid : bids) {
    if (best.empty() || bid.index > best[0]->index) best.clear();
    if (best.empty() || bid.index == best[0]->index) best.push_back(&bid);
    most_mean = std::max(most_mean, bid.mean);
    most_reading = std::max(most_reading, bid.mean + bid.recent);
  }
  RngStream rng(options.seed, e.task, ask.round, kStreamTie);
  const Bid& winner = *best[best.size() > 1 ? rng.below(best.size()) : 0];
  explain.winner = winner.agent;
  explain.reason = bids.size() == 1                              ? "only_bid"
                   : winner.n < 1                                ? "newcomer"
                   : winner.mean >= most_mean                    ? "best_mean"
                   : winner.mean + winner.recent >= most_reading ? "recent"
                                                                 : "bonus";
  const Assign assign{e.task, options.id, winner.agent, ask.place, ask.round};
  const NodeId host = winner.node;
  explain.bids = std::move(bids);
  bids.clear();
  effects.emplace_back(std::move(explain));
  effects.emplace_back(Send{host, assign});
}

void Node::State::received(const Assign& m, const Now& now) {
  const auto at = members.find(m.agent);
  if (at == members.end() || !at->second.hosted) return;
  for (const float x : m.place) {
    if (!std::isfinite(x)) return;
  }
  end_leases_of(m.task);  // assigned once more: it counts once
  if (!outcomes.contains({m.task, m.agent})) {  // else it is late: there is nothing to wait for
    at->second.trail.begin(m.task, m.place, features_of(m.place));
    leases[{m.task, m.agent}] = Lease{m.asker, m.round, now.step};
    lease_order.emplace_back(now.step, std::pair(m.task, m.agent));
  }
  effects.emplace_back(Work{m.task, m.asker, m.agent});
}

void Node::State::withdrawn(const TaskWithdrawn& e) {
  if (const auto at = asked.find(e.task); at != asked.end()) {
    at->second.open = false;
    at->second.bids.clear();
  }
  end_leases_of(e.task);
}

void Node::State::end_lease(std::map<std::pair<TaskId, AgentId>, Lease>::iterator at) {
  const auto [task, agent] = at->first;
  if (const auto member = members.find(agent); member != members.end()) member->second.trail.end(task);
  leases.erase(at);
}

void Node::State::end_leases_of(TaskId task) {
  for (auto at = leases.lower_bound({task, 0}); at != leases.end() && at->first.first == task;) end_lease(at++);
}

void Node::State::end_leases_of_agent(AgentId agent) {
  for (auto at = leases.begin(); at != leases.end();) {
    const auto next = std::next(at);
    if (at->first.second == agent) end_lease(at);
    at = next;
  }
}

// What nobody ended for so long was lost on the way.
void Node::State::end_lapsed_leases(uint64_t step) {
  while (!lease_order.empty()) {
    const auto [granted, key] = lease_order.front();
    const auto at = leases.find(key);
    const bool holds = at != leases.end() && at->second.step == granted;
    if (holds && step < granted + kLeaseSteps) return;
    lease_order.pop_front();
    if (holds) end_lease(at);
  }
}

void Node::State::received(const Outcome& m, const Now& now) {
  const auto at = members.find(m.agent);
  if (at == members.end()) return;
  Member& member = at->second;
  const bool finite = std::all_of(m.place.begin(), m.place.end(), [](float x) { return std::isfinite(x); });
  if (!finite || !(m.score >= 0 && m.score <= 1)) return;
  if (!outcomes.insert({m.task, m.agent})) return;
  if (const auto lease = leases.find({m.task, m.agent}); lease != leases.end()) end_lease(lease);
  const auto similarity = map.similarity(m.place);
  const Features features = features_of(similarity);
  const auto nearest = options.places ? map.nearest(similarity) : std::nullopt;
  const double predicted = member.trail.mean(features);
  member.trail.deposit(features, similarity, nearest ? static_cast<int>(*nearest) : -1, m.score, now.task_time, population, parts());
  candidates.update(m.agent, now.task_time, parts());
  if (const auto logged = logged_at.find(m.task); logged != logged_at.end() && logged->second < map.log().size()) {
    map.log()[logged->second].agent = m.agent;
    map.log()[logged->second].score = static_cast<float>(m.score);
    logged_at.erase(logged);
  } else if (map.logging() && extras.size() < kExtrasMax) {
    extras.push_back({m.place, m.agent, static_cast<float>(m.score)});
  }
  effects.emplace_back(Deposited{m.task, m.agent, predicted, m.score});
}

std::vector<Node::TrailView> Node::trails() const {
  std::vector<Features> centres;
  for (size_t slot = 0; slot < kLandmarks; ++slot) {
    if (state_->map.there(slot)) centres.push_back(state_->map.features_at(slot));
  }
  std::vector<TrailView> out;
  for (const auto& [id, member] : state_->members) {
    if (!member.hosted) continue;
    TrailView view{id, member.name, member.trail.n(), member.trail.weights()[0], {}};
    for (const auto& features : centres) view.at_landmark.push_back(member.trail.mean(features));
    out.push_back(std::move(view));
  }
  return out;
}

size_t Node::landmarks() const { return state_->map.count(); }

// Slots have holes where landmarks merged; outside they are numbered without.
std::optional<size_t> Node::landmark_of(const Place& place) const {
  const auto slot = state_->map.nearest(place);
  if (!slot) return std::nullopt;
  size_t number = 0;
  for (size_t before = 0; before < *slot; ++before) number += state_->map.there(before);
  return number;
}

}  // namespace colony::swarm
