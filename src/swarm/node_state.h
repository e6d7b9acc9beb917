// What a node is, for node.cc (its steps), node_dance.cc, node_gossip.cc, node_population.cc (what nodes tell each
// other) and node_bytes.cc (its bytes).
#pragma once
#include <deque>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "swarm/audit.h"
#include "swarm/candidates.h"
#include "swarm/cost.h"
#include "swarm/dance.h"
#include "swarm/gossip.h"
#include "swarm/landmark.h"
#include "swarm/node.h"
#include "swarm/quorum.h"
#include "swarm/specialisation.h"
#include "swarm/trail.h"
#include "swarm/work_queue.h"

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
  CostTrail cost;
  Thresholds thresholds;
  double price = 0;
  WorkQueue queue;
  // Deposits of an earlier life of this node that came back by gossip, under the landmarks of that id.
  std::shared_ptr<const Evidence> returned;
  uint64_t returned_landmarks = 0;
  bool remembered = false;  // came with load(): nothing returns
  bool unwritten = false;   // its record in the replica is older than the trail
  uint32_t own_taken = 0;    // items of this home's tests that the trail has
  std::vector<Place> about;  // of AgentBorn; not saved
  // After an alarm: what other writers had said up to here is not believed any more.
  std::map<NodeId, Stamp> forgotten;
};

// A question of ours: the task entered here.
struct Asked {
  Place place{};
  std::vector<AgentId> only;  // asked alone
  uint32_t round = 0;
  bool open = false;        // bids are taken
  std::vector<Bid> bids;
  uint64_t until = 0;       // Now::step at which the window or the lease ends; 0: the driver says
  uint64_t budget = 0;      // tokens not given to anybody yet
  double deadline_ms = 0;   // from entered_ms on; 0: none
  uint64_t entered_ms = 0;
  uint32_t silences = 0;    // rounds without a bid
  AgentId working = 0;      // assigned, no answer yet
  uint64_t given = 0, given_ms = 0;  // to it: tokens, and when
  bool finished = false;
  std::map<AgentId, Bid> assigned;  // of all rounds, as they bid
  Quorum quorum;
  std::vector<Bid> recruits;        // who may still be asked, best last
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
  float weight = 1;  // what time has left of it
};
inline constexpr size_t kExtrasMax = 4 * kMapLog;  // so the tests of 51 agents; those of later ones last until the map is made anew
inline constexpr size_t kPeersMax = 1024;
inline constexpr size_t kNameMax = 4096;  // bytes; longer ones are cut

// After a rebuild all records are under new landmarks: they are exchanged, and what they say of the
// population is taken in, at 4, 8 … 64 tasks.
inline bool soon(uint64_t tasks) { return tasks >= 4 && tasks <= 64 && (tasks & (tasks - 1)) == 0; }

struct Node::State {
  // With one map for all, all must begin it alike.
  explicit State(const NodeOptions& o) : options(o), map(o.seed, o.gossip ? 0 : o.id), replica(o.id, o.incarnation) {}

  NodeOptions options;
  LandmarkMap map;
  Population population;
  std::map<AgentId, Member> members;  // hosted, and those once hosted
  Candidates candidates;              // of the hosted; not saved
  Costs costs;                        // of all members
  uint64_t task_time = 0;             // the latest known
  std::optional<uint64_t> clock_ms;   // Now::ms of the last step
  uint64_t passed_ms = 0, due_ms = 0; // in all, not saved; since the last evaporation
  uint64_t now_ms = 0;                // Now::ms of this step
  uint64_t heard = 0;                 // tasks announced, each once
  AgentId refreshed = 0;              // whose P, w were made anew last (round robin)
  size_t to_refresh = 0;              // trails made under an older population
  bool untaught = false;              // the population knows nothing yet of tests that came with births

  std::map<TaskId, Asked> asked;
  std::deque<TaskId> asked_order;
  Recent<TaskId> announced;
  std::map<std::pair<TaskId, AgentId>, Lease> leases;
  std::deque<std::pair<uint64_t, std::pair<TaskId, AgentId>>> lease_order;  // (step, key), as granted
  Recent<std::pair<TaskId, AgentId>> outcomes, costs_paid;
  Recent<std::tuple<TaskId, AgentId, NodeId, uint32_t>> assignments;
  std::map<TaskId, size_t> logged_at;  // task -> place in the map's log
  std::vector<Extra> extras;           // empty when the map's log is closed
  std::set<uint64_t> tested_places;    // that the map has seen, by hash; likewise

  // Of the others.
  Replica replica;
  uint64_t landmarks_id = 0;             // of the map in use, as it was at its rebuild
  std::map<NodeId, uint64_t> peers;      // heard of, and when (tasks)
  std::map<NodeId, std::pair<Stamp, uint64_t>> population_news;  // what came last, and when
  std::map<NodeId, std::pair<Stamp, uint64_t>> writers_heard;  // last write known of another, and passed_ms when it came
  uint64_t rebuilt = 0;                  // heard when the map was made anew last
  uint64_t gossiped = 0, gossiped_step = 0;
  Audit audit;
  DanceFloor floor;
  AgentId usual = 0;        // the default agent; 0: none yet
  uint64_t switched_at = 0;
  struct Served {           // by agents, as this asker saw it
    double n = 0, sum = 0;
    int dances = 0;
    bool ready = false;     // said so
  };
  std::map<AgentId, Served> served;
  std::array<double, kFeatures> answers_last{};  // bids to the last call, by slot + 1

  std::vector<Effect> effects;

  void ask(TaskId task, Asked& ask, const Now& now);
  void choose(TaskId task, Asked& ask, const Now& now);
  void assign(TaskId task, Asked& ask, const Bid& winner, const Now& now);
  void finish(TaskId task, Asked& ask, bool more);
  void end(Asked& ask, Ended ended);
  void checked(const Checked& e, const Now& now);
  void voted(const Voted& e, const Now& now);
  void tick(const Now& now);
  void lapsed(TaskId task, const Asked& ask, const Now& now);
  void dance(const Bid& bid, const Place& place, double score, const Now& now);
  void tell_two(const Dance& dance, uint64_t item);
  void received(const Dance& m, const Now& now);
  int slot_of(const Place& place) const;
  void received(const Digest& m, const Now& now);
  void received(const Delta& m, const Now& now);
  void hear_of(NodeId node);
  void gossip(const Now& now);
  bool gossip_due() const;                  // after a task was heard
  bool gossip_overdue(const Now& now) const;  // nothing was heard for long
  void write_records();
  void refresh(AgentId id, Member& member);
  void use_landmarks(const std::shared_ptr<const Landmarks>& landmarks);

  void born(const AgentBorn& e, const Now& now);
  void entered(const TaskEntered& e, const Now& now);
  void close(const BidsClosed& e, const Now& now);
  void withdrawn(const TaskWithdrawn& e);
  void received(const Announce& m, const Now& now);
  void received(const Bid& m, const Now& now);
  void received(const Assign& m, const Now& now);
  void received(const Outcome& m, const Now& now);
  bool see(const Place& place);
  void learn(const Announce& m, const Now& now);
  // With places off: the intercept alone.
  Features features_of(const Place& place) const;
  Features features_of(const std::array<double, kLandmarks>& similarity) const;
  TrailParts parts() const { return {options.recent, options.detection}; }
  ReadAt read_at(const Now& now, size_t hosted) const;
  // How much higher the prior mean of each is at the place, for what it says of itself.
  std::vector<double> leans(const Place& place, const std::vector<std::pair<AgentId, Member*>>& answering) const;
  void fill_from_log();
  void fit_population();  // what agents share and how they differ, and all trails with it
  void move_costs(const std::array<std::array<double, kLandmarks>, kLandmarks>& overlap);
  void time_passes(uint64_t ms);
  double left_of(NodeId writer) const;
  void end_lease(std::map<std::pair<TaskId, AgentId>, Lease>::iterator at);
  void end_leases_of(TaskId task);
  void end_leases_of_agent(AgentId agent);
  void end_lapsed_leases(uint64_t step);
  PopulationSums write_population();
  void refresh_population();
  void know_candidates(const Now& now);
};

}  // namespace colony::swarm
