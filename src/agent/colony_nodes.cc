// Nodes, what they tell each other, and which agents they host.
#include <algorithm>
#include <cmath>
#include <utility>

#include "agent/colony_state.h"
#include "agent/tested.h"
#include "base/check.h"
#include "base/log.h"
#include "base/rng.h"

namespace colony::agent {
namespace {

constexpr uint64_t kRefreshEvery = 64;  // steps between two looks at the agents' files

}  // namespace

swarm::NodeOptions Colony::State::node_options(swarm::NodeId id) const {
  swarm::NodeOptions rules = options.rules;
  rules.id = id;
  rules.seed = options.seed;
  if (id < starts.size()) rules.incarnation = starts[id];
  return rules;
}

swarm::NodeId Colony::State::living_from(uint64_t id) const {
  for (uint64_t i = 0; i < nodes.size(); ++i) {
    const uint64_t at = (id + i) % nodes.size();
    if (nodes[at]) return static_cast<swarm::NodeId>(at);
  }
  CHECK(false, "no node lives");
  return 0;
}

void Colony::State::tell(swarm::NodeId id, const swarm::Event& event) {
  if (!nodes[id]) return;
  for (auto& effect : nodes[id]->step(event, now)) {
    if (auto* send = std::get_if<swarm::Send>(&effect)) {
      count_gossip(id, *send);
      if (send->to) {
        bus.emplace_back(*send->to, send->message);
      } else {
        for (swarm::NodeId to = 0; to < nodes.size(); ++to) {
          if (nodes[to]) bus.emplace_back(to, send->message);
        }
      }
    } else if (auto* explain = std::get_if<swarm::Explain>(&effect)) {
      if (Job* job = find(explain->task)) {
        job->bids = bid_rows(explain->bids);
        job->reason = std::move(explain->reason);
        if (explain->winner == 0) nobody_bid(*job);
      }
    } else if (const auto* work = std::get_if<swarm::Work>(&effect)) {
      start_work(*work);
    } else if (auto* ended = std::get_if<swarm::Ended>(&effect)) {
      if (Job* job = find(ended->task); job != nullptr && !job->votes.empty()) job->ended = std::move(*ended);
    } else if (std::holds_alternative<swarm::Deposited>(effect)) {
      ++deposits_unsaved[id];
      if (options.metrics != nullptr) options.metrics->get(metric::kDeposits).add(1);
    }
  }
}

// Between nodes: what one tells itself goes nowhere.
void Colony::State::count_gossip(swarm::NodeId from, const swarm::Send& send) {
  const auto* delta = std::get_if<swarm::Delta>(&send.message);
  if (options.metrics == nullptr || (delta == nullptr && !std::holds_alternative<swarm::Digest>(send.message))) return;
  const auto others = send.to ? static_cast<double>(*send.to != from)
                              : static_cast<double>(std::count_if(nodes.begin(), nodes.end(), [](const auto& one) { return one != nullptr; }) - 1);
  if (others == 0) return;
  options.metrics->get(metric::kGossip).add(others);
  if (delta != nullptr) options.metrics->get(metric::kGossipRecords).add(others * static_cast<double>(delta->trails.size() + delta->populations.size()));
  options.metrics->get(metric::kGossipBytes).add(others * static_cast<double>(swarm::encode(send.message).size()));
}

void Colony::State::introduce() {
  for (swarm::NodeId id = 0; id < nodes.size(); ++id) tell_living(swarm::PeerJoined{id});
}

void Colony::State::tell_living(const swarm::Event& event) {
  for (swarm::NodeId id = 0; id < nodes.size(); ++id) tell(id, event);
}

void Colony::State::pump() {
  while (!bus.empty()) {
    auto [to, message] = std::move(bus.front());
    bus.pop_front();
    if (const auto* bid = std::get_if<swarm::Bid>(&message)) {
      const Job* job = find(bid->task);
      if (job == nullptr || !job->may_bid(bid->agent)) continue;
    }
    tell(to, swarm::Received{message});
  }
}

std::vector<BidRow> Colony::State::bid_rows(const std::vector<swarm::Bid>& bids) const {
  double best = 0;
  size_t ties = 0;
  for (const auto& bid : bids) {
    if (ties == 0 || bid.index > best) best = bid.index, ties = 0;
    ties += bid.index == best;
  }
  std::vector<BidRow> rows;
  for (const auto& bid : bids) {
    const auto at = hosted.find(bid.agent);
    rows.push_back({at == hosted.end() ? "" : at->second.agent.spec->name, bid.index,
                    bid.index == best ? 1.0 / static_cast<double>(ties) : 0, std::round(static_cast<double>(bid.tokens))});
  }
  return rows;
}

Colony::State::Job* Colony::State::find(swarm::TaskId id) {
  const auto at = index_of.find(id);
  return at == index_of.end() ? nullptr : &jobs.at(at->second);
}

void Colony::State::host(Hosted entry, swarm::NodeId at) {
  const swarm::AgentId id = entry.agent.spec->id();
  entry.host = at;
  tell(at, birth(id, entry));
  hosted.insert_or_assign(id, std::move(entry));
}

swarm::AgentBorn Colony::State::birth(swarm::AgentId id, const Hosted& entry) const {
  return {id, entry.agent.spec->name, entry.tested, entry.own_test, entry.about};
}

std::vector<swarm::AgentId> Colony::State::pinned(const std::string& kind) const {
  const bool routed = std::any_of(options.routes.begin(), options.routes.end(), [&](const auto& route) { return route.first == kind; });
  std::vector<swarm::AgentId> only;
  for (const auto& [id, entry] : hosted) {
    const AgentSpec& spec = *entry.agent.spec;
    const bool named = routed ? std::find(options.routes.begin(), options.routes.end(), std::pair(kind, spec.name)) != options.routes.end()
                              : std::find(spec.kinds.begin(), spec.kinds.end(), kind) != spec.kinds.end();
    if (named && only.size() < swarm::kAskedAgentsMax) only.push_back(id);
  }
  return only;
}

std::vector<swarm::Place> Colony::State::places_about(const AgentSpec& agent) {
  std::vector<swarm::Place> places;
  if (!options.rules.priors || !engine.idle()) return places;
  const auto values = embed(engine, about_texts(agent));
  if (!values) log_warn("what agent {} says of itself has no place: {}", agent.name, values.error().message);
  for (size_t i = 0; values && i < values->size(); ++i) {
    if (auto place = placer.place((*values)[i])) places.push_back(*place);
  }
  return places;
}

void Colony::State::take_agents() {
  const Hosting hosting{&engine, options.find_model, options.hub_cache};
  std::set<swarm::AgentId> wanted;
  std::map<std::string, std::string> before;  // generations by name
  for (const auto& [id, entry] : hosted) before.emplace(entry.agent.spec->name, entry.agent.spec->generation);
  const auto refused_before = std::exchange(refused, {});
  for (const auto& spec : directory.agents()) wanted.insert(spec->id());
  for (auto at = hosted.begin(); at != hosted.end();) {
    if (wanted.contains(at->first)) {
      ++at;
      continue;
    }
    tell(at->second.host, swarm::AgentRetired{at->first});
    if (at->second.agent.adapter) engine.adapters().remove(at->second.agent.adapter->name);
    at = hosted.erase(at);
  }
  std::string weights = engine.snapshot().model->content_hash();
  if (options.adapter) weights += "+" + options.adapter->hash;
  for (const auto& spec : directory.agents()) {  // by name: the order of births is the same
    if (hosted.contains(spec->id())) continue;
    auto ready = ready_to_host(spec, hosting);
    if (!ready) {
      refused.emplace_back(spec->name, ready.error().message);
      continue;
    }
    const auto home = static_cast<swarm::NodeId>(fnv1a(spec->name.data(), spec->name.size()) %
                                                 nodes.size());
    // What this home saw itself goes before what an agent brings along.
    auto tested = options.tested && options.own_test ? options.own_test(*spec) : std::vector<swarm::GateItem>();
    const bool own_test = tested && !tested->empty();
    if (tested && !own_test && options.tested) tested = read_tested(*spec, weights);
    if (!tested) {
      log_warn("agent {}: {}", spec->name, tested.error().message);
      tested = std::vector<swarm::GateItem>();
    }
    host({std::move(*ready), home, home, std::move(*tested), own_test, places_about(*spec)}, living_from(home));
  }
  std::map<std::string, std::string> after;
  for (const auto& [id, entry] : hosted) after.emplace(entry.agent.spec->name, entry.agent.spec->generation);
  for (const auto& [name, generation] : after) {
    const auto then = before.find(name);
    if (then == before.end()) {
      news.push_back(fmt::format("agent {} takes part from now on", name));
    } else if (then->second != generation) {
      news.push_back(fmt::format("agent {} was edited: generation {} follows {}, with a trail of its own", name, generation, then->second));
    }
  }
  for (const auto& [name, generation] : before) {
    if (!after.contains(name)) news.push_back(fmt::format("agent {} takes no part any more", name));
  }
  for (const auto& one : refused) {
    if (std::find(refused_before.begin(), refused_before.end(), one) == refused_before.end()) news.push_back(fmt::format("agent {} is not hosted: {}", one.first, one.second));
  }
}

void Colony::State::look_at_files() {
  if (now.step % kRefreshEvery != 0 || !directory.refresh()) return;
  if (directory.problems() != problems_told) {
    problems_told = directory.problems();
    for (const auto& [path, reason] : problems_told) {
      news.push_back(fmt::format("agent {}: {}; the last good version stays", path, reason));
    }
  }
  take_agents();
}

bool Colony::State::adopt_orphans() {
  std::vector<swarm::AgentId> orphans;
  for (const auto& [id, entry] : hosted) {
    if (!nodes[entry.host]) orphans.push_back(id);
  }
  for (const auto id : orphans) {
    Hosted entry = hosted.at(id);
    host(std::move(entry), living_from(id));
  }
  return !orphans.empty();
}

}  // namespace colony::agent
