// What an asker has seen of the others' agents itself, and what it believes of their hosts.
//
// A host can lie about its own agents only, and an asker sees what comes of it: outcomes checked at the
// asker, a CUSUM a host of claims against outcomes. A host that claims too much is believed a tenth,
// for a while; of what it claims then only n' = min(n, 8 + 4 n_a)·trust counts beside what was seen.
// Source: swarm_algorithms 5.4.
#pragma once
#include <cstdint>
#include <map>

#include "swarm/messages.h"

namespace colony::swarm {

class Audit {
 public:
  // The bid as the asker takes it; nullopt: not a bid anybody can make.
  std::optional<Bid> judged(const Bid& bid) const;
  // An outcome of a task of this asker, claimed to succeed with probability `claimed`. `time`: tasks
  // heard. True when the host was just caught.
  bool outcome(NodeId host, AgentId agent, double claimed, double score, uint64_t time);
  double trust(NodeId host) const;

 private:
  struct Host {
    double trust = 1, drift = 0;
    uint64_t caught = 0;
    int honest = 0;  // outcomes since the trust last rose
  };
  struct Seen {
    double n = 0, sum = 0;
  };
  std::map<NodeId, Host> hosts_;
  std::map<std::pair<NodeId, AgentId>, Seen> seen_;
};

}  // namespace colony::swarm
