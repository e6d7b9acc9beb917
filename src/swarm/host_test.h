// A host on its own, for tests: who bids, who works, what is deposited.
#pragma once
#include <string>
#include <vector>

#include "swarm/node.h"
#include "swarm/places_test.h"

namespace colony::swarm {

template <typename T>
std::vector<T> all(const std::vector<Effect>& effects) {
  std::vector<T> found;
  for (const auto& effect : effects) {
    if (const auto* one = std::get_if<T>(&effect)) found.push_back(*one);
  }
  return found;
}

inline std::vector<Bid> bids_of(const std::vector<Effect>& effects) {
  std::vector<Bid> found;
  for (const auto& send : all<Send>(effects)) {
    if (const auto* bid = std::get_if<Bid>(&send.message)) found.push_back(*bid);
  }
  return found;
}

// A host with agents 1…3; the test is the asker, node 9.
struct Host {
  Node node;
  Now now;
  explicit Host(const NodeOptions& options = {.id = 0, .seed = 5}, uint64_t start_ms = 0) : node(options) {
    now.ms = start_ms;
    for (AgentId a = 1; a <= 3; ++a) node.step(AgentBorn{a, "a" + std::to_string(a)}, now);
  }
  std::vector<Bid> announce(TaskId task, uint32_t round = 0, NodeId asker = 9) {
    ++now.task_time;
    return bids_of(node.step(Received{Announce{task, asker, place_of(task, 5), 1, round}}, now));
  }
  size_t assign(TaskId task, AgentId agent, uint32_t round = 0, NodeId asker = 9) {
    return all<Work>(node.step(Received{Assign{task, asker, agent, place_of(task, 5), round}}, now)).size();
  }
  size_t outcome(TaskId task, AgentId agent, double score, uint64_t tokens = 1, double ms = 0, bool scored = true) {
    return all<Deposited>(node.step(Received{Outcome{task, agent, place_of(task, 5), score, tokens, ms, scored}}, now)).size();
  }
  double n(AgentId agent) const {
    for (const auto& trail : node.trails()) {
      if (trail.agent == agent) return trail.n;
    }
    return -1;
  }
  double load(AgentId agent) {
    for (const Bid& bid : announce(1'000'000 + ++asked)) {
      if (bid.agent == agent) return bid.load;
    }
    return -1;
  }
  uint64_t asked = 0;
};

}  // namespace colony::swarm
