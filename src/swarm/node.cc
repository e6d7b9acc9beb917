#include "swarm/node.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "swarm/node_state.h"

namespace colony::swarm {
namespace {

constexpr uint64_t kPopulationEvery = 100;  // tasks
constexpr size_t kAskedMax = 8192, kBidsMax = 65'536, kUnhostedMax = 4096;
constexpr uint16_t kStreamTie = 1, kStreamThreshold = 2, kStreamScout = 6;
constexpr size_t kScouts = 2;
constexpr size_t kTestedPlacesMax = kMapLog / 4;
constexpr size_t kOwnItemsMost = 1 << 30;
// What an agent says of itself: how much higher its prior mean is where nobody else says as much, and how sharply the nearest are told from
// the others. Measured in docs/swarm.md.
constexpr double kLean = 0.2, kLeanSharpness = 8;
constexpr double kLoadTarget = 4;        // tasks of one agent at once
constexpr double kWaitTarget = 1;        // of its answers' time, before it could begin
constexpr uint32_t kSilencesMax = 6;     // the window doubles that often

}  // namespace

Node::Node(const NodeOptions& options) : state_(std::make_unique<State>(options)) {}
Node::~Node() = default;
Node::Node(Node&&) noexcept = default;
Node& Node::operator=(Node&&) noexcept = default;

std::vector<Effect> Node::step(const Event& event, const Now& now) {
  State& s = *state_;
  s.effects.clear();
  s.task_time = std::max(s.task_time, now.task_time);
  s.now_ms = now.ms;
  if (s.options.half_life_ms > 0) s.time_passes(now.ms);
  if (const auto* born = std::get_if<AgentBorn>(&event)) {
    s.born(*born, now);
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
  } else if (const auto* joined = std::get_if<PeerJoined>(&event)) {
    s.hear_of(joined->node);
  } else if (const auto* entered = std::get_if<TaskEntered>(&event)) {
    s.entered(*entered, now);
  } else if (const auto* closed = std::get_if<BidsClosed>(&event)) {
    s.close(*closed, now);
  } else if (const auto* withdrawn = std::get_if<TaskWithdrawn>(&event)) {
    s.withdrawn(*withdrawn);
  } else if (const auto* checked = std::get_if<Checked>(&event)) {
    s.checked(*checked, now);
  } else if (const auto* voted = std::get_if<Voted>(&event)) {
    s.voted(*voted, now);
  } else if (std::holds_alternative<Tick>(event)) {
    s.tick(now);
  } else if (const auto* got = std::get_if<Received>(&event)) {
    std::visit([&](const auto& message) { s.received(message, now); }, got->message);
  }
  return std::move(s.effects);
}

void Node::State::born(const AgentBorn& e, const Now& now) {
  auto [at, fresh] = members.try_emplace(e.agent);
  Member& member = at->second;
  member.name = e.name.substr(0, kNameMax);
  member.hosted = true;
  candidates.forget();
  // What another node deposited on it, its test included, comes by gossip.
  const auto told = replica.trails().lower_bound({e.agent, 0});
  const bool known = !fresh || (told != replica.trails().end() && told->first.first == e.agent);
  member.about = e.about;
  std::erase_if(member.about, [](const Place& place) { return !finite(place); });
  std::vector<GateItem> test;
  if (e.own_test) {
    if (!known || !fresh) test.assign(e.gate.begin() + static_cast<ptrdiff_t>(std::min<size_t>(member.own_taken, e.gate.size())), e.gate.end());
    member.own_taken = std::max(member.own_taken, static_cast<uint32_t>(std::min<size_t>(e.gate.size(), kOwnItemsMost)));
  } else if (!known) {
    test = chosen_items(e.gate);
  }
  std::erase_if(test, [](const GateItem& item) { return !finite(item.place) || !(item.score >= 0 && item.score <= 1); });
  const double weight = e.own_test ? 1 : gate_weight(test.size()), taken = static_cast<double>(test.size());
  double right = 0;
  std::array<double, kPlaceDim> where{};  // it did well
  for (const GateItem& item : test) {
    right += item.score;
    for (size_t d = 0; d < kPlaceDim; ++d) where[d] += item.score * static_cast<double>(item.place[d]);
    member.trail.add(features_of(item.place), item.score, weight);
    if (map.logging() && extras.size() < kExtrasMax) extras.push_back({item.place, e.agent, static_cast<float>(item.score), static_cast<float>(weight)});
  }
  // The map sees the places of a test as it sees tasks, each once: agents that were asked the same begin with a map. Most of its log is the
  // stream's all the same.
  for (const GateItem& item : test) {
    if (!map.logging() || tested_places.size() >= kTestedPlacesMax) break;
    if (tested_places.insert(fnv1a(reinterpret_cast<const char*>(item.place.data()), sizeof item.place)).second) see(item.place);
  }
  member.unwritten = member.unwritten || taken > 0;
  untaught = untaught || taken > 0;
  if (fresh || taken > 0 || options.gossip || options.half_life_ms > 0) refresh(e.agent, member);
  if (!fresh || options.ask_most == 0 || !options.dances) return;
  // An arrival dances: with what was measured, or with what it may be worth.
  const Place place = unit(where);
  const double mean = taken > 0 ? right / taken : 0;
  const Reading reading = member.trail.read(features_of(place), now.task_time, parts());
  const uint32_t hops = static_cast<uint32_t>(std::ceil(std::log2(static_cast<double>(peers.size() + 2)))) + 2;
  tell_two(Dance{DanceKind::kArrival, e.agent, options.id, options.id, now.task_time, hops, place, static_cast<float>(reading.mean + 2 * reading.deviation), static_cast<float>(mean),
                 taken > 0 ? static_cast<float>(lower_bound_of(mean, taken)) : 0, static_cast<float>(taken)},
           e.agent);
}

void Node::State::entered(const TaskEntered& e, const Now& now) {
  auto [at, fresh] = asked.try_emplace(e.task);
  Asked& ask = at->second;
  if (fresh) {
    asked_order.push_back(e.task);
    if (asked_order.size() > kAskedMax) {
      asked.erase(asked_order.front());
      asked_order.pop_front();
    }
    if (options.quorum) ask.quorum = Quorum(*options.quorum);
    ask.round = e.round;
  } else {
    if (e.round > ask.round + 1) {  // another asked in between: what was said here is not what was said there
      ask.quorum = Quorum(options.quorum.value_or(QuorumOptions()));
      ask.assigned.clear();
    }
    ask.round = std::max(ask.round + 1, e.round);
  }
  ask.place = e.place;
  ask.only = e.only;
  ask.budget = e.budget_tokens;
  ask.deadline_ms = e.deadline_ms >= 0 && e.deadline_ms <= kCostMost ? e.deadline_ms : 0;
  ask.entered_ms = now.ms;
  ask.finished = false;
  this->ask(e.task, ask, now);
}

void Node::State::ask(TaskId task, Asked& ask, const Now& now) {
  ask.open = true;
  ask.bids.clear();
  ask.recruits.clear();
  ask.working = 0;
  ask.until = options.bid_window > 0 ? now.step + (options.bid_window << std::min(ask.silences, kSilencesMax)) : 0;
  Announce announce{task, options.id, ask.place, ask.budget, ask.round};
  if (ask.deadline_ms > 0) {  // when it is over only who need not wait answers
    announce.deadline_ms = std::max(1.0, ask.deadline_ms - static_cast<double>(now.ms > ask.entered_ms ? now.ms - ask.entered_ms : 0));
  }
  if (!ask.only.empty()) {
    announce.asked = ask.only;
    effects.emplace_back(Send{std::nullopt, std::move(announce)});
    return;
  }
  // Few where enough are known; all of them the second time, and once in a while so that new ones are met.
  if (options.ask_most == 0 || ask.round > 0 || floor.known() <= options.ask_most) {
    effects.emplace_back(Send{std::nullopt, std::move(announce)});
    return;
  }
  std::map<NodeId, std::vector<AgentId>> at;
  for (const auto& partner : floor.candidates(slot_of(ask.place), now.task_time, std::min<size_t>(options.ask_most, kAskedAgentsMax - 1), kScouts, usual, options.seed, task)) {
    at[partner.host].push_back(partner.agent);
  }
  // Everybody hears of the task, for the map; only who is asked answers.
  announce.asked = {0};  // nobody
  for (const auto& peer : peers) at.try_emplace(peer.first);
  at.try_emplace(options.id);
  for (auto& [host, agents] : at) {
    Announce to_host = announce;
    if (!agents.empty()) to_host.asked = std::move(agents);
    effects.emplace_back(Send{host, std::move(to_host)});
  }
}

int Node::State::slot_of(const Place& place) const {
  const auto nearest = map.nearest(place);
  return nearest ? static_cast<int>(*nearest) : -1;
}

void Node::State::received(const Announce& m, const Now& now) {
  if (!finite(m.place) || !(m.deadline_ms >= 0)) return;
  hear_of(m.asker);
  end_lapsed_leases(now.step);
  for (auto at = leases.lower_bound({m.task, 0}); at != leases.end() && at->first.first == m.task;) {
    const auto next = std::next(at);
    // Asked anew: by another node (the asker died), or by the same in a later round.
    if (at->second.asker != m.asker || at->second.round < m.round) end_lease(at);
    at = next;
  }
  if (untaught) {
    fit_population();
    candidates.forget();
  }
  const auto similarity = map.similarity(m.place);
  const Features features = features_of(similarity);
  know_candidates(now);
  const ReadAt at_now = read_at(now, candidates.hosted().size());
  std::vector<std::pair<AgentId, Member*>> answering;
  if (m.asked.empty()) {
    for (const uint32_t at : candidates.pick(features, RngStream(options.seed, m.task, options.id, kStreamScout))) {
      answering.emplace_back(candidates.hosted()[at].agent, candidates.hosted()[at].member);
    }
  }
  for (const AgentId id : m.asked) {
    if (const auto at = members.find(id); at != members.end() && at->second.hosted) answering.emplace_back(id, &at->second);
  }
  effects.reserve(answering.size());
  const auto nearest = options.places ? map.nearest(similarity) : std::nullopt;
  const int slot = nearest ? static_cast<int>(*nearest) : -1;
  const CostLevel everybody(costs);
  // The best agent of this node on the whole always answers; others by threshold.
  AgentId always = 0;
  if (options.thresholds) {
    double most = -1e9;
    for (const auto& [id, member] : members) {
      if (!member.hosted || member.trail.weights()[0] <= most) continue;
      most = member.trail.weights()[0];
      always = id;
    }
  }
  const auto lean = leans(m.place, answering);
  for (size_t i = 0; i < answering.size(); ++i) {
    const AgentId id = answering[i].first;
    Member& member = *answering[i].second;
    Reading r = member.trail.read(features, at_now.task_time, at_now.parts);
    if (lean[i] > 0) r.mean += lean[i] * member.trail.unknown(features, population);
    if (options.thresholds && id != always) {
      double shared = 0;
      for (int j = 0; j < features.count; ++j) shared += features.value[static_cast<size_t>(j)] * population.theta[features.index[static_cast<size_t>(j)]];
      const double response = member.thresholds.response(slot, stimulus(m.round, answers_last[static_cast<size_t>(slot + 1)]), r.mean - shared);
      if (RngStream(options.seed, m.task, static_cast<uint32_t>(id) ^ m.round, kStreamThreshold).uniform() >= response) continue;
    }
    Bid bid{m.task, options.id, id, 0, r.mean, r.deviation, r.recent, member.trail.n(), static_cast<double>(member.trail.under_way()), m.round};
    bid.index = options.trails ? r.mean + r.recent + at_now.optimism * r.deviation : 0;
    const Cost cost = member.cost.predict(slot, now.task_time, everybody);
    bid.tokens = static_cast<float>(cost.tokens);
    bid.ms = static_cast<float>(cost.ms);
    // Of a queue it is known how long it is, of a share in the engine's steps only how many there are.
    if (options.price) {
      const bool timed = options.queues && cost.ms > 0;
      member.price = next_price(member.price, timed ? member.queue.wait_ms(now.ms) / cost.ms : static_cast<double>(member.trail.under_way()), timed ? kWaitTarget : kLoadTarget);
    }
    if (options.queues) {
      const double wait = member.queue.wait_ms(now.ms);
      bid.wait_ms = static_cast<float>(wait);
      if (m.deadline_ms > 0 && wait > kWaitMost * m.deadline_ms) continue;
      if (m.deadline_ms > 0) bid.index = in_time(bid.index, wait, m.deadline_ms, cost.ms);
    }
    if (options.price) bid.index -= member.price;
    if (options.cost_weight > 0) bid.index -= options.cost_weight * cost.tokens / kCostReference;
    effects.emplace_back(Send{m.asker, bid});
  }
  if (announced.insert(m.task)) {
    learn(m, now);
    if (options.gossip && gossip_due()) gossip(now);
  }
}

Features Node::State::features_of(const Place& place) const { return features_of(map.similarity(place)); }

Features Node::State::features_of(const std::array<double, kLandmarks>& similarity) const {
  if (options.places) return map.features(similarity);
  Features only_intercept;
  only_intercept.count = 1;
  only_intercept.value[0] = 1;
  return only_intercept;
}

std::vector<double> Node::State::leans(const Place& place, const std::vector<std::pair<AgentId, Member*>>& answering) const {
  std::vector<double> lean(answering.size());
  if (!options.priors || !options.places) return lean;
  double total = 0;
  for (size_t i = 0; i < answering.size(); ++i) {
    double nearest = -1;
    for (const Place& about : answering[i].second->about) nearest = std::max(nearest, map.nearness(place, about));
    if (answering[i].second->about.empty()) continue;
    lean[i] = std::exp(kLeanSharpness * nearest);
    total += lean[i];
  }
  for (double& one : lean) one = total > 0 ? kLean * one / total : 0;
  return lean;
}

ReadAt Node::State::read_at(const Now& now, size_t hosted) const {
  ReadAt at{now.task_time, options.explore ? 2.0 : 0.0, parts()};
  // Among nodes the unknown must outbid what others claim: a liar cost a young colony of little optimism a third more.
  if (options.explore && !options.early_optimism && peers.empty()) {
    // With trails of earlier runs it is as old as these.
    at.optimism = optimism(static_cast<double>(std::max(heard, now.task_time)), static_cast<double>(hosted));
  }
  return at;
}

void Node::State::know_candidates(const Now& now) {
  if (candidates.known()) return;
  std::vector<Candidates::Hosted> hosted;
  for (auto& [id, member] : members) {
    if (member.hosted) hosted.push_back({id, &member.trail, &member});
  }
  const size_t count = hosted.size();
  candidates.begin(std::move(hosted), count > options.scan_all, map, read_at(now, count));
}

// The map sees a place. True when it was made anew, and all trails with it.
bool Node::State::see(const Place& place) {
  std::optional<LandmarkMap> before;
  if (map.rebuilds_next()) before = map;
  if (!map.learn(place)) return false;
  const auto made = std::make_shared<const Landmarks>(map.landmarks());
  landmarks_id = made->id();
  const bool latest = replica.offer(made);
  if (options.gossip && !latest && replica.landmarks()->id() != landmarks_id) {
    map.adopt(*replica.landmarks());
    landmarks_id = replica.landmarks()->id();
  }
  move_costs(before->overlap(map));
  fill_from_log();
  candidates.forget();
  map.close_full_log();
  if (map.log().empty()) {
    std::vector<Extra>().swap(extras);
    tested_places.clear();
  }
  rebuilt = heard;
  return true;
}

// After the bids: the map sees the task, one agent's posterior is made anew.
void Node::State::learn(const Announce& m, const Now& now) {
  ++heard;
  const bool anew = see(m.place);
  if (!anew && (heard % kPopulationEvery == 0 || (options.gossip && !peers.empty() && soon(heard - rebuilt)))) {
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
      refresh(next->first, next->second);
      refreshed = next->first;
      candidates.update(refreshed, read_at(now, candidates.hosted().size()));
      return;
    }
  }
}

void Node::State::received(const Bid& m, const Now&) {
  const auto at = asked.find(m.task);
  if (at == asked.end() || !at->second.open || at->second.round != m.round) return;
  for (const double value : {m.index, m.mean, m.deviation, m.recent, m.n, m.load, static_cast<double>(m.tokens), static_cast<double>(m.ms), static_cast<double>(m.wait_ms)}) {
    if (!std::isfinite(value)) return;
  }
  if (m.agent == 0 || at->second.bids.size() >= kBidsMax) return;
  hear_of(m.node);
  Bid bid = m;
  if (options.audit && m.node != options.id) {
    const auto judged = audit.judged(m);
    if (!judged) return;
    bid = *judged;
  }
  if (options.ask_most > 0) floor.heard_bid(bid, slot_of(at->second.place));
  // Ascending agent; of several bids for one agent the first that came counts, unless it comes from a
  // host that is trusted less.
  auto& bids = at->second.bids;
  const auto place = std::lower_bound(bids.begin(), bids.end(), m.agent, [](const Bid& one, AgentId agent) { return one.agent < agent; });
  if (place == bids.end() || place->agent != m.agent) {
    bids.insert(place, bid);
  } else if (audit.trust(bid.node) > audit.trust(place->node)) {
    *place = bid;
  }
}

void Node::State::close(const BidsClosed& e, const Now& now) {
  const auto at = asked.find(e.task);
  if (at != asked.end() && at->second.open) choose(e.task, at->second, now);
}

void Node::State::choose(TaskId task, Asked& ask, const Now& now) {
  ask.open = false;
  auto& bids = ask.bids;
  if (options.quorum) std::erase_if(bids, [&](const Bid& bid) { return ask.quorum.has(bid.agent); });
  Explain explain;
  explain.task = task;
  if (options.thresholds) {
    const auto nearest = options.places ? map.nearest(ask.place) : std::nullopt;
    answers_last[nearest ? *nearest + 1 : 0] = static_cast<double>(bids.size());
  }
  if (bids.empty()) {
    if (options.quorum && ask.quorum.votes() > 0) {  // all have been asked
      finish(task, ask, false);
      return;
    }
    explain.reason = "no_bid";
    effects.emplace_back(std::move(explain));
    if (options.bid_window > 0) {  // wider, and louder
      ++ask.silences;
      ++ask.round;
      this->ask(task, ask, now);
    }
    return;
  }
  ask.silences = 0;
  std::vector<const Bid*> best;
  double most_mean = bids[0].mean, most_reading = bids[0].mean + bids[0].recent, most_whole = -1e9;
  const auto whole = [](const Bid& bid) { return bid.mean + bid.recent + 2 * bid.deviation; };
  for (const Bid& bid : bids) {
    if (best.empty() || bid.index > best[0]->index) best.clear();
    if (best.empty() || bid.index == best[0]->index) best.push_back(&bid);
    most_mean = std::max(most_mean, bid.mean);
    most_reading = std::max(most_reading, bid.mean + bid.recent);
    most_whole = std::max(most_whole, whole(bid));
  }
  RngStream rng(options.seed, task, ask.round, kStreamTie);
  const Bid& winner = *best[best.size() > 1 ? rng.below(best.size()) : 0];
  explain.winner = winner.agent;
  const bool pays = options.price || options.queues || options.cost_weight > 0;
  explain.reason = !ask.only.empty()                            ? "pinned"
                   : bids.size() == 1                              ? "only_bid"
                   : winner.n < 1                                ? "newcomer"
                   : winner.mean >= most_mean                    ? "best_mean"
                   : winner.mean + winner.recent >= most_reading ? "recent"
                   : pays && whole(winner) < most_whole          ? "price"
                                                                 : "bonus";
  const Bid chosen = winner;
  if (options.quorum) {
    // Votes go on where they began, also over a new round.
    if (options.quorum_by_spread && ask.quorum.votes() == 0) {
      std::vector<double> means;
      for (const Bid& bid : bids) means.push_back(bid.mean);
      ask.quorum = Quorum(quorum_for(means));
    }
    for (const Bid& bid : bids) {
      if (bid.agent != chosen.agent && !ask.assigned.contains(bid.agent)) ask.recruits.push_back(bid);
    }
    std::sort(ask.recruits.begin(), ask.recruits.end(), [](const Bid& a, const Bid& b) { return a.index != b.index ? a.index < b.index : a.agent > b.agent; });
  }
  explain.bids = std::move(bids);
  bids.clear();
  effects.emplace_back(std::move(explain));
  assign(task, ask, chosen, now);
}

void Node::State::assign(TaskId task, Asked& ask, const Bid& winner, const Now& now) {
  const uint64_t tokens = options.attempt_tokens > 0 ? std::min(options.attempt_tokens, ask.budget) : ask.budget;
  // What a driver without leases spends, it counts itself; else it is gone when it is given.
  if (options.lease > 0) {
    if (tokens == 0) {
      finish(task, ask, false);
      return;
    }
    ask.budget -= tokens;
    ask.until = now.step + options.lease;
  }
  ask.working = winner.agent;
  ask.given = tokens;
  ask.given_ms = now.ms;
  ask.assigned[winner.agent] = winner;
  effects.emplace_back(Send{winner.node, Assign{task, options.id, winner.agent, ask.place, ask.round, tokens}});
}

// With the votes there are, or with nothing.
void Node::State::finish(TaskId task, Asked& ask, bool more) {
  const auto verdict = options.quorum ? ask.quorum.verdict(more) : std::nullopt;
  if (verdict) {
    end(ask, Ended{task, verdict->agent, verdict->undecided ? "undecided" : "quorum", verdict->answer, verdict->probability, verdict->votes});
  } else {
    end(ask, Ended{task, 0, "budget", 0, 0, ask.quorum.votes()});
  }
}

void Node::State::end(Asked& ask, Ended ended) {
  ask.finished = true;
  ask.open = false;
  ask.until = 0;
  ask.working = 0;
  ask.bids.clear();
  ask.recruits.clear();
  effects.emplace_back(std::move(ended));
}

void Node::State::checked(const Checked& e, const Now& now) {
  const auto at = asked.find(e.task);
  if (at == asked.end() || !(e.score >= 0 && e.score <= 1) || !(e.ms >= 0)) return;
  Asked& ask = at->second;
  const auto assigned = ask.assigned.find(e.agent);
  if (assigned == ask.assigned.end()) return;
  const Bid bid = assigned->second;
  ask.assigned.erase(assigned);  // an outcome counts once
  const Outcome outcome{e.task, e.agent, ask.place, e.score, e.tokens, std::min(e.ms, kCostMost), e.scored};
  if (!e.scored) {
    effects.emplace_back(Send{bid.node, outcome});
    return;
  }
  if (options.audit && bid.node != options.id) {
    audit.outcome(bid.node, e.agent, bid.mean + bid.recent, e.score, heard);
  }
  effects.emplace_back(Send{bid.node, outcome});
  dance(bid, ask.place, e.score, now);
  if (e.final && !ask.finished) end(ask, Ended{e.task, e.agent, "answered", 0, 0, ask.quorum.votes()});
}

void Node::State::voted(const Voted& e, const Now& now) {
  const auto at = asked.find(e.task);
  if (at == asked.end() || at->second.finished || !options.quorum) return;
  Asked& ask = at->second;
  const auto bid = ask.assigned.find(e.agent);
  if (e.answer != 0 && bid != ask.assigned.end()) {
    ask.quorum.vote(e.agent, bid->second.mean + bid->second.recent, e.answer);
  }
  if (ask.working == e.agent) ask.working = 0;
  const bool more = !e.last && !ask.recruits.empty() && (options.lease == 0 || ask.budget > 0);
  if (e.last || ask.quorum.verdict(more)) {
    finish(e.task, ask, more);
  } else if (ask.working == 0 && !ask.recruits.empty()) {
    const Bid next = ask.recruits.back();
    ask.recruits.pop_back();
    assign(e.task, ask, next, now);
  }
}

void Node::State::tick(const Now& now) {
  std::vector<TaskId> over;
  for (const auto& [task, ask] : asked) {
    if (!ask.finished && ask.until > 0 && now.step >= ask.until) over.push_back(task);
  }
  for (const TaskId task : over) {
    Asked& ask = asked.at(task);
    if (ask.open) {
      choose(task, ask, now);
    } else {  // the lease ended without an answer
      lapsed(task, ask, now);
      ++ask.round;
      if (ask.budget == 0 && options.lease > 0) {
        finish(task, ask, false);
      } else {
        this->ask(task, ask, now);
      }
    }
  }
  if (options.gossip && gossip_overdue(now)) gossip(now);
}

// Nothing was checked, so nothing is known of how good the agent is; what it was given is gone, and so is the time. Its answer may
// still come, and then its score counts.
void Node::State::lapsed(TaskId task, const Asked& ask, const Now& now) {
  const auto bid = ask.assigned.find(ask.working);
  if (bid == ask.assigned.end()) return;  // it has answered
  const double waited = now.ms > ask.given_ms ? static_cast<double>(now.ms - ask.given_ms) : 0;
  effects.emplace_back(Send{bid->second.node, Outcome{task, ask.working, ask.place, 0, ask.given, std::min(waited, kCostMost), false}});
}

void Node::State::received(const Assign& m, const Now& now) {
  const auto at = members.find(m.agent);
  if (at == members.end() || !at->second.hosted) return;
  if (!finite(m.place)) return;
  if (!assignments.insert({m.task, m.agent, m.asker, m.round})) return;  // what is done is paid once
  end_leases_of(m.task);  // assigned once more: it counts once
  if (!outcomes.contains({m.task, m.agent})) {  // else it is late: there is nothing to wait for
    at->second.trail.begin(m.task, m.place, features_of(m.place));
    if (options.queues) at->second.queue.begin(m.task, at->second.cost.predict(slot_of(m.place), now.task_time, CostLevel(costs)).ms, now.ms);
    leases[{m.task, m.agent}] = Lease{m.asker, m.round, now.step};
    lease_order.emplace_back(now.step, std::pair(m.task, m.agent));
  }
  effects.emplace_back(Work{m.task, m.asker, m.agent, m.tokens});
}

void Node::State::withdrawn(const TaskWithdrawn& e) {
  if (const auto at = asked.find(e.task); at != asked.end()) {
    at->second.open = false;
    at->second.until = 0;
    at->second.bids.clear();
    at->second.recruits.clear();
  }
  end_leases_of(e.task);
}

void Node::State::end_lease(std::map<std::pair<TaskId, AgentId>, Lease>::iterator at) {
  const auto [task, agent] = at->first;
  if (const auto member = members.find(agent); member != members.end()) {
    member->second.trail.end(task);
    member->second.queue.end(task, now_ms);
  }
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
  if (!finite(m.place) || !(m.score >= 0 && m.score <= 1) || !(m.ms >= 0)) return;
  if (outcomes.contains({m.task, m.agent}) || (m.scored && !outcomes.insert({m.task, m.agent}))) return;
  const bool paid = !costs_paid.insert({m.task, m.agent});  // its lease had ended
  if (paid && !m.scored) return;
  if (const auto lease = leases.find({m.task, m.agent}); lease != leases.end()) end_lease(lease);
  const auto similarity = map.similarity(m.place);
  const Features features = features_of(similarity);
  const auto nearest = options.places ? map.nearest(similarity) : std::nullopt;
  const int slot = nearest ? static_cast<int>(*nearest) : -1;
  if (!paid) costs.add({member.cost.deposit(slot, m.tokens, m.ms, now.task_time), now.task_time});
  member.unwritten = true;
  if (!m.scored) return;
  const double predicted = member.trail.mean(features);
  if (member.trail.deposit(features, similarity, slot, m.score, now.task_time, population, parts())) {
    // It changed: what was known of it is known of another.
    member.returned = nullptr;
    for (auto other = replica.trails().lower_bound({m.agent, 0}); other != replica.trails().end() && other->first.first == m.agent; ++other) {
      member.forgotten[other->first.second] = other->second.stamp;
    }
  }
  if (options.thresholds) {
    member.thresholds.outcome(slot, m.score);
    for (auto& [id, other] : members) {
      if (id != m.agent && other.hosted) other.thresholds.idle(slot);
    }
  }
  candidates.update(m.agent, read_at(now, candidates.hosted().size()));
  if (const auto logged = logged_at.find(m.task); logged != logged_at.end() && logged->second < map.log().size()) {
    map.log()[logged->second].agent = m.agent;
    map.log()[logged->second].score = static_cast<float>(m.score);
    map.log()[logged->second].weight = 1;
    logged_at.erase(logged);
  } else if (map.logging() && extras.size() < kExtrasMax) {
    extras.push_back({m.place, m.agent, static_cast<float>(m.score)});
  }
  effects.emplace_back(Deposited{m.task, m.agent, predicted, m.score});
}

uint64_t Node::latest_deposit() const {
  uint64_t latest = 0;
  for (const auto& [id, member] : state_->members) latest = std::max(latest, member.trail.latest_deposit());
  return latest;
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

std::string Node::replica() {
  state_->write_records();
  return state_->replica.bytes();
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
