// Dances: measured skill told around, so that who may ask few agents asks the right ones; and the
// quorum before all change their default agent.
//
// A dance only moves an agent up an asker's list; its own fresh bid decides. Strength fades by
// ½ each 500 tasks; stop signals of two nodes halve it, of four end it. Source: swarm_algorithms 3,
// 2.4; stop signals: Seeley et al. 2012.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "swarm/messages.h"

namespace colony::swarm {

// 5 % quantile of Beta(n·mean + ½, n(1 − mean) + ½): what an agent is worth at least.
double lower_bound_of(double mean, double n);

// What an asker knows of who is where and how good, by landmark slot (-1: no landmark).
class DanceFloor {
 public:
  struct Partner {
    AgentId agent = 0;
    NodeId host = 0;
  };

  // A bid: the truth of the moment. Hosts move, the last bid says where.
  void heard_bid(const Bid& bid, int slot);
  // True when it is new and allowed: one a (agent, origin) in 50 tasks, nothing older than 5,000. Puts
  // the agent on the list with its advertised value, or takes strength from it.
  bool heard(const Dance& dance, int slot, uint64_t time);
  // The best `most` − `scouts` at the slot, `always`, and scouts drawn by (seed, task) from all known.
  std::vector<Partner> candidates(int slot, uint64_t time, size_t most, size_t scouts, AgentId always, uint64_t seed, TaskId task) const;
  size_t known() const { return known_.size(); }
  void forget(NodeId host);

  // Nodes that found `agent` better than the default by what they saw themselves. True when these are
  // more than half of `nodes` and nobody has stopped it in the last 500 tasks.
  bool ready(AgentId agent, NodeId origin, size_t nodes, uint64_t time);
  void switched() { ready_.clear(); }

 private:
  struct Known {
    NodeId host = 0;
    std::array<float, kFeatures> value{};  // by slot + 1; the advertised or bid index
    uint64_t danced_at = 0;
    float danced = 0;                      // strength of a dance over `value`, fading
    int danced_slot = -1;
    std::set<NodeId> stopped;
    uint64_t stopped_at = 0;
  };
  std::map<AgentId, Known> known_;
  std::map<std::pair<AgentId, NodeId>, uint64_t> last_;  // (agent, origin): time of the last dance
  std::map<AgentId, std::set<NodeId>> ready_;
};

}  // namespace colony::swarm
