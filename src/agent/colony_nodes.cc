// Nodes, what they tell each other, and which agents they host.
#include <algorithm>
#include <cmath>

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
    const bool gossip = std::holds_alternative<swarm::Digest>(message) || std::holds_alternative<swarm::Delta>(message);
    if (gossip && options.metrics != nullptr) options.metrics->get(metric::kGossip).add(1);
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
  tell(at, swarm::AgentBorn{id, entry.agent.spec->name, entry.tested});
  hosted.insert_or_assign(id, std::move(entry));
}

bool Colony::State::is_ours(const std::string& model) const {
  if (model.empty() || model == engine.snapshot().name) return true;
  if (!options.find_model) return false;
  const auto found = options.find_model(model);
  std::error_code code;
  return found && std::filesystem::equivalent(*found, engine.snapshot().path, code);
}

void Colony::State::take_agents() {
  std::map<swarm::AgentId, std::shared_ptr<const AgentSpec>> wanted;
  refused.clear();
  for (const auto& spec : directory.agents()) {
    if (!is_ours(spec->model)) {
      refused.emplace_back(spec->name, "wants model " + spec->model + ", the colony has " + engine.snapshot().name);
    } else {
      wanted.emplace(spec->id(), spec);
    }
  }
  for (auto at = hosted.begin(); at != hosted.end();) {
    if (wanted.contains(at->first)) {
      ++at;
      continue;
    }
    tell(at->second.host, swarm::AgentRetired{at->first});
    if (at->second.agent.adapter) engine.adapters().remove(at->second.agent.adapter->name);
    at = hosted.erase(at);
  }
  for (const auto& spec : directory.agents()) {  // by name: the order of births is the same
    if (!wanted.contains(spec->id()) || hosted.contains(spec->id())) continue;
    auto ready = make_ready(spec, &engine.adapters());
    if (!ready) {
      refused.emplace_back(spec->name, ready.error().message);
      continue;
    }
    const auto home = static_cast<swarm::NodeId>(fnv1a(spec->name.data(), spec->name.size()) %
                                                 nodes.size());
    auto tested = options.tested ? read_tested(*spec, engine.snapshot().model->content_hash()) : std::vector<swarm::GateItem>();
    if (!tested) {
      log_warn("agent {}: {}", spec->name, tested.error().message);
      tested = std::vector<swarm::GateItem>();
    }
    host({std::move(*ready), home, home, std::move(*tested)}, living_from(home));
  }
  for (const auto& [name, reason] : refused) log_warn("agent {} is not hosted: {}", name, reason);
}

void Colony::State::look_at_files() {
  if (now.step % kRefreshEvery != 0 || !directory.refresh()) return;
  if (directory.problems() != problems_told) {
    problems_told = directory.problems();
    for (const auto& [path, reason] : problems_told) {
      log_warn("agent {}: {}; the last good version stays", path, reason);
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
