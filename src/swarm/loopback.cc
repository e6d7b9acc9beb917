#include "swarm/loopback.h"

namespace colony::swarm {

Loopback::Loopback(const NodeOptions& rules, NodeId nodes) {
  for (NodeId id = 0; id < nodes; ++id) {
    NodeOptions own = rules;
    own.id = id;
    nodes_.emplace_back(own);
  }
}

void Loopback::tell(NodeId node, const Event& event, const Now& now) {
  take(nodes_[node].step(event, now));
  while (!under_way_.empty()) {
    const auto [to, message] = std::move(under_way_.front());
    under_way_.pop_front();
    take(nodes_[to].step(Received{message}, now));
  }
}

AgentId Loopback::ask(NodeId asker, const TaskEntered& task, const Now& now) {
  worker_ = 0;
  tell(asker, task, now);
  tell(asker, BidsClosed{task.task}, now);
  return worker_;
}

void Loopback::take(std::vector<Effect> effects) {
  for (auto& effect : effects) {
    if (auto* send = std::get_if<Send>(&effect)) {
      bids_ += std::holds_alternative<Bid>(send->message);
      const NodeId from = send->to.value_or(0), past = send->to ? from + 1 : count();
      for (NodeId to = from; to < past; ++to) under_way_.emplace_back(to, send->message);
    } else if (const auto* work = std::get_if<Work>(&effect)) {
      worker_ = work->agent;
    } else if (std::holds_alternative<Switched>(effect)) {
      ++switched_;
    }
  }
}

}  // namespace colony::swarm
