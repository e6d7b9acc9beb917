// Nodes in one process whose messages arrive at once, in the order sent: what the benches play the swarm with.
#pragma once
#include <deque>
#include <utility>
#include <vector>

#include "swarm/node.h"

namespace colony::swarm {

class Loopback {
 public:
  // Each node with `rules`, under ids from 0.
  Loopback(const NodeOptions& rules, NodeId nodes);

  // The event, and then all messages that come of it.
  void tell(NodeId node, const Event& event, const Now& now);
  // Enters the task at `asker` and closes its bids. Who shall work; 0: nobody bid.
  AgentId ask(NodeId asker, const TaskEntered& task, const Now& now);

  NodeId count() const { return static_cast<NodeId>(nodes_.size()); }
  uint64_t bids() const { return bids_; }          // sent so far
  uint64_t switched() const { return switched_; }  // changes of a node's default agent

 private:
  void take(std::vector<Effect> effects);

  std::vector<Node> nodes_;
  std::deque<std::pair<NodeId, Message>> under_way_;
  AgentId worker_ = 0;  // of the last Work
  uint64_t bids_ = 0, switched_ = 0;
};

}  // namespace colony::swarm
