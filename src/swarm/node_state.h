// What a node is, for node.cc (its steps) and node_bytes.cc (its bytes).
#pragma once
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "swarm/candidates.h"
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
  bool contains(const Key& key) const { return set_.contains(key); }

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

// An agent of ours was assigned a task and its outcome is not here. Ends with the outcome, the
// withdrawal, a newer announcement of the task, the agent's retirement, or after kLeaseSteps: all
// it holds is the narrower deviation, so one that ends early costs no work.
struct Lease {
  NodeId asker = 0;
  uint32_t round = 0;
  uint64_t step = 0;  // Now::step at the assignment
};
inline constexpr uint64_t kLeaseSteps = 1 << 17;  // far beyond the longest answer

// An outcome that has no room of its own in the map's log: a second one of the same task (the first
// agent failed), or one of a task that was never announced here.
struct Extra {
  Place place{};
  AgentId agent = 0;
  float score = 0;
};
inline constexpr size_t kExtrasMax = 4 * kMapLog;
inline constexpr size_t kNameMax = 4096;  // bytes; longer ones are cut

struct Node::State {
  explicit State(const NodeOptions& o) : options(o), map(o.seed, o.id) {}

  NodeOptions options;
  LandmarkMap map;
  Population population;
  std::map<AgentId, Member> members;  // hosted, and those once hosted
  Candidates candidates;              // of the hosted; not saved
  uint64_t heard = 0;                 // tasks announced, each once
  AgentId refreshed = 0;              // whose P, w were made anew last (round robin)
  size_t to_refresh = 0;              // trails made under an older population

  std::map<TaskId, Asked> asked;
  std::deque<TaskId> asked_order;
  Recent<TaskId> announced;
  std::map<std::pair<TaskId, AgentId>, Lease> leases;
  std::deque<std::pair<uint64_t, std::pair<TaskId, AgentId>>> lease_order;  // (step, key), as granted
  Recent<std::pair<TaskId, AgentId>> outcomes;
  std::map<TaskId, size_t> logged_at;  // task -> place in the map's log
  std::vector<Extra> extras;           // empty when the map's log is closed

  std::vector<Effect> effects;

  void entered(const TaskEntered& e);
  void close(const BidsClosed& e, const Now& now);
  void withdrawn(const TaskWithdrawn& e);
  void received(const Announce& m, const Now& now);
  void received(const Bid& m, const Now& now);
  void received(const Assign& m, const Now& now);
  void received(const Outcome& m, const Now& now);
  void learn(const Announce& m, const Now& now);
  // With places off: the intercept alone.
  Features features_of(const Place& place) const;
  Features features_of(const std::array<double, kLandmarks>& similarity) const;
  TrailParts parts() const { return {options.recent, options.detection}; }
  void fill_from_log();
  void end_lease(std::map<std::pair<TaskId, AgentId>, Lease>::iterator at);
  void end_leases_of(TaskId task);
  void end_leases_of_agent(AgentId agent);
  void end_lapsed_leases(uint64_t step);
  void refresh_population();
  void know_candidates(uint64_t task_time);
};

}  // namespace colony::swarm
