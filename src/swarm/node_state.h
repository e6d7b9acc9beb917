// What a node is, for node.cc (its steps) and node_bytes.cc (its bytes).
#pragma once
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "swarm/landmark.h"
#include "swarm/node.h"
#include "swarm/trail.h"

namespace colony::swarm {

// The last `kMost` keys, so that what comes twice is known. Bounded: older ones are forgotten.
template <typename Key>
class Recent {
 public:
  static constexpr size_t kMost = 8192;
  // False when it was there.
  bool insert(const Key& key) {
    if (!set_.insert(key).second) return false;
    order_.push_back(key);
    if (order_.size() > kMost) {
      set_.erase(order_.front());
      order_.pop_front();
    }
    return true;
  }

 private:
  std::set<Key> set_;
  std::deque<Key> order_;
};

struct Member {
  std::string name;
  bool hosted = false;
  Trail trail;
};

// A question of ours: the task entered here.
struct Asked {
  Place place{};
  uint32_t round = 0;
  bool open = false;        // bids are taken
  std::vector<Bid> bids;
};

struct Node::State {
  explicit State(const NodeOptions& o) : options(o), map(o.seed, o.id) {}

  NodeOptions options;
  LandmarkMap map;
  Population population;
  std::map<AgentId, Member> members;  // hosted, and those once hosted
  uint64_t heard = 0;                 // tasks announced, each once
  AgentId refreshed = 0;              // whose P, w were made anew last (round robin)

  std::map<TaskId, Asked> asked;
  std::deque<TaskId> asked_order;
  Recent<TaskId> announced;
  Recent<std::pair<TaskId, AgentId>> outcomes;
  std::map<TaskId, size_t> logged_at;  // task -> place in the map's log

  std::vector<Effect> effects;

  void entered(const TaskEntered& e);
  void close(const BidsClosed& e, const Now& now);
  void withdrawn(const TaskWithdrawn& e);
  void received(const Announce& m, const Now& now);
  void received(const Bid& m, const Now& now);
  void received(const Assign& m, const Now& now);
  void received(const Outcome& m, const Now& now);
  void learn(const Announce& m);
  void fill_from_log();
  void refresh_population();
};

}  // namespace colony::swarm
