// A swarm node: hosts agents, keeps their trails, bids for them, and chooses for the tasks that
// entered here. Pure steps: (state, event, now) → effects; no model, clock, thread or socket.
//
// The same state, event and now give the same effects, bit for bit. Source: swarm_algorithms 0–2;
// rule B of part 1.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace colony::swarm {

inline constexpr int kPlaceDim = 64;  // D
using Place = std::array<float, kPlaceDim>;
using TaskId = uint64_t;
using AgentId = uint64_t;  // fnv1a of "name\ngeneration hash": a new generation is a new trail
using NodeId = uint32_t;

// task_time: tasks announced so far in the colony. step: the colony's step count, for leases.
struct Now {
  uint64_t task_time = 0;
  uint64_t step = 0;
};

// ---- messages between nodes (typed; carried by a Bus) ----
struct Announce {
  TaskId task = 0;
  NodeId asker = 0;
  Place place{};
  uint64_t budget_tokens = 0;
  uint32_t round = 0;  // 0, then 1, … when nobody answered or a node died
};
struct Bid {
  TaskId task = 0;
  NodeId node = 0;
  AgentId agent = 0;
  double index = 0, mean = 0, deviation = 0, recent = 0;  // index = mean + recent + 2·deviation
  double n = 0;      // deposits so far
  double load = 0;   // tasks this agent is working on
  uint32_t round = 0;
};
struct Assign {
  TaskId task = 0;
  NodeId asker = 0;
  AgentId agent = 0;
  Place place{};
  uint32_t round = 0;
};
struct Outcome {  // checked result, from the asker to the host of the agent: the only deposit
  TaskId task = 0;
  AgentId agent = 0;
  Place place{};
  double score = 0;  // [0, 1]
  uint64_t tokens = 0;
};
using Message = std::variant<Announce, Bid, Assign, Outcome>;

// ---- what happens to a node ----
struct AgentBorn {
  AgentId agent = 0;
  std::string name;
};
struct AgentRetired {
  AgentId agent = 0;
};
struct TaskEntered {  // a task begins here: this node asks
  TaskId task = 0;
  Place place{};
  uint64_t budget_tokens = 0;
};
struct TaskWithdrawn {  // answered without an outcome (not scored, failed, cancelled)
  TaskId task = 0;
};
struct BidsClosed {  // all answers are in, or the window ended: choose
  TaskId task = 0;
};
struct Received {
  Message message;
};
using Event = std::variant<AgentBorn, AgentRetired, TaskEntered, TaskWithdrawn, BidsClosed, Received>;

// ---- what a node wants done ----
struct Send {
  std::optional<NodeId> to;  // nullopt: every living node, this one included
  Message message;
};
// Why a task went where it went: the decision row (2.3).
struct Explain {
  TaskId task = 0;
  AgentId winner = 0;  // 0: nobody bid
  std::string reason;  // best_mean, bonus, recent, newcomer, only_bid, no_bid
  std::vector<Bid> bids;  // ascending agent id
};
struct Work {  // this node's agent shall do the task now
  TaskId task = 0;
  NodeId asker = 0;
  AgentId agent = 0;
};
struct Deposited {
  TaskId task = 0;
  AgentId agent = 0;
  double predicted = 0, score = 0;
};
using Effect = std::variant<Send, Explain, Work, Deposited>;

struct NodeOptions {
  NodeId id = 0;
  uint64_t seed = 0;
  // What can be switched off, to measure what each is worth.
  bool explore = true;    // false: the index is mean + recent
  bool trails = true;     // false: every bid has the index 0, so agents are drawn
  bool places = true;     // false: every task is at the same place
  bool recent = true;     // false: no recent record
  bool detection = true;  // false: no alarms
  size_t scan_all = 64;   // up to so many hosted agents each one bids; of more the candidates (candidates.h)
};

class Node {
 public:
  explicit Node(const NodeOptions& options);
  ~Node();
  Node(Node&&) noexcept;
  Node& operator=(Node&&) noexcept;

  std::vector<Effect> step(const Event& event, const Now& now);

  // Everything learned, as bytes with a version and a checksum; load() refuses others' bytes with
  // kCorrupt and then leaves the node as it was. Agents that load() brings stay unhosted until
  // AgentBorn names them.
  std::string save() const;
  Status load(std::string_view bytes);

  struct TrailView {
    AgentId agent = 0;
    std::string name;
    double n = 0, intercept = 0;
    std::vector<double> at_landmark;  // posterior mean at each landmark centre
  };
  std::vector<TrailView> trails() const;   // ascending agent id
  size_t landmarks() const;
  // The landmark nearest to a place, below landmarks(), numbered as in at_landmark; nullopt before
  // the first rebuild.
  std::optional<size_t> landmark_of(const Place& place) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace colony::swarm
