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
#include "swarm/gate.h"
#include "swarm/messages.h"
#include "swarm/quorum.h"

namespace colony::swarm {

// task_time: tasks announced so far in the colony. step: the colony's step count, for leases. ms: the node's own monotonic
// clock, of which only differences count; where it stands still, or goes back, no time passes.
struct Now {
  uint64_t task_time = 0;
  uint64_t step = 0;
  uint64_t ms = 0;
};

inline constexpr double kCostReference = 256;                          // tokens
inline constexpr uint64_t kHalfLifeMs = 14ULL * 24 * 3600 * 1000;     // of evidence, where time counts
inline constexpr uint64_t kEvaporations = 256;                        // a half-life

// ---- what happens to a node ----
struct AgentBorn {
  AgentId agent = 0;
  std::string name;
  // What tests showed.
  std::vector<GateItem> gate = {};
  // Who says so. Tests that this home ran itself are evidence as outcomes are: each item a deposit, all of them, those beyond what the agent
  // came with before also of an agent that is known here. Any other test counts as gate_weight() says, kGateItems of it at most, and only of
  // an agent that is not known here.
  bool own_test = false;
  // Where what it says of itself lies (its description, skills, examples): what it may be good at, before anything was seen of it.
  std::vector<Place> about = {};
};
struct AgentRetired {
  AgentId agent = 0;
};
// The carrier sees another node. Nodes that speak are known without.
struct PeerJoined {
  NodeId node = 0;
};
struct TaskEntered {  // a task begins here: this node asks
  TaskId task = 0;
  Place place{};
  uint64_t budget_tokens = 0;  // of all attempts and votes together
  uint32_t round = 0;          // higher than any before, also of askers that died since
  double deadline_ms = 0;      // from now on an answer is worth nothing after so long; 0: it always is
  std::vector<AgentId> only = {};  // ascending; these alone are asked, since somebody decided so; empty: whoever is there
};
struct TaskWithdrawn {  // answered without an outcome (not scored, failed, cancelled)
  TaskId task = 0;
};
struct BidsClosed {  // all answers are in, or the window ended: choose
  TaskId task = 0;
};
// An agent's answer to a task of this asker was checked. The first final one ends the task; one that
// is not final (the agent failed, another shall try) is a deposit only.
struct Checked {
  TaskId task = 0;
  AgentId agent = 0;
  double score = 0;  // [0, 1]
  uint64_t tokens = 0;
  bool final = true;
  double ms = 0;       // from the start of the agent's work to its end
  bool scored = true;  // false: it has no score (stopped, or nothing checks it) and leaves only what it cost; never final
};
// An agent's answer to a task of this asker, as a vote: `answer` is the same for the same answer.
struct Voted {
  TaskId task = 0;
  AgentId agent = 0;
  uint64_t answer = 0;  // 0: it gave none
  uint64_t tokens = 0;
  bool last = false;    // there is nothing left to pay another with
};
// Time passes (Now::step): windows and leases end (then the agent's trail learns what was given to it, as its cost), gossip goes on where
// nothing else happens.
struct Tick {};
struct Received {
  Message message;
};
using Event = std::variant<AgentBorn, AgentRetired, PeerJoined, TaskEntered, TaskWithdrawn, BidsClosed, Checked, Voted, Tick, Received>;

// ---- what a node wants done ----
struct Send {
  std::optional<NodeId> to;  // nullopt: every living node, this one included
  Message message;
};
// Why a task went where it went: the decision row (2.3).
struct Explain {
  TaskId task = 0;
  AgentId winner = 0;  // 0: nobody bid
  std::string reason;  // best_mean, bonus, recent, newcomer, price, only_bid, no_bid, pinned
  std::vector<Bid> bids;  // ascending agent id
};
struct Work {  // this node's agent shall do the task now
  TaskId task = 0;
  NodeId asker = 0;
  AgentId agent = 0;
  uint64_t tokens = 0;  // to spend at most
};
// A task of this asker has come to its end, once.
struct Ended {
  TaskId task = 0;
  AgentId agent = 0;   // whose answer it is; 0: nobody's
  std::string reason;  // answered, quorum, undecided, budget
  uint64_t answer = 0;                // of a quorum
  double probability = 0;             // P(answer) by the votes
  int votes = 0;
};
struct Deposited {
  TaskId task = 0;
  AgentId agent = 0;
  double predicted = 0, score = 0;
};
// More than half of the nodes found this agent better than the default one: now it is the default,
// asked for every task.
struct Switched {
  AgentId agent = 0;
};
using Effect = std::variant<Send, Explain, Work, Deposited, Ended, Switched>;

struct NodeOptions {
  NodeId id = 0;
  uint64_t seed = 0;
  // What can be switched off, to measure what each is worth.
  bool explore = true;    // false: the index is mean + recent
  bool early_optimism = true;  // two deviations from the start; false: a node alone is less optimistic while it is young
  bool trails = true;     // false: every bid has the index 0, so agents are drawn
  bool places = true;     // false: every task is at the same place
  bool recent = true;     // false: no recent record
  bool detection = true;  // false: no alarms
  bool priors = true;     // false: what agents say of themselves counts for nothing
  size_t scan_all = 64;   // up to so many hosted agents each one bids; of more the candidates (candidates.h)
  // One map, population weights and trails of agents that moved, by gossip.
  bool gossip = true;
  bool audit = true;        // askers check others' claims against outcomes
  bool thresholds = false;  // agents answer by response threshold; else all do
  // Agents asked for a bid at most, two of them drawn; 0: all. Whom to ask then comes from earlier bids
  // and, with dances, from what other nodes tell.
  uint32_t ask_most = 0;
  bool dances = true;
  bool price = false;       // bids pay for the load of their agent
  // Agents do one task after another: bids say how long theirs must wait, and lose by it what the task's deadline takes.
  bool queues = false;
  // What a bid pays for kCostReference tokens that its answer is expected to cost, in units of success; 0: nothing. Tokens and not
  // milliseconds, so that the same seed stays the same run.
  double cost_weight = 0;
  // Own evidence halves in so much time (Now::ms), in steps of kEvaporations a half-life; 0: it does not. Of other writers that are
  // not heard of any more it does as well.
  uint64_t half_life_ms = 0;
  std::optional<QuorumOptions> quorum = std::nullopt;  // votes instead of one answer; unset: off
  bool quorum_by_spread = false;        // quick or thorough, by the spread of the bids' means
  // In units of Now::step; 0: the driver says BidsClosed, and asks anew itself.
  uint64_t bid_window = 0, lease = 0;
  uint32_t incarnation = 1;  // larger at each start of the same node, where the driver can count them
  uint64_t attempt_tokens = 0;  // to one agent at most; 0: all that is left
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
  // The task time of the latest deposit in any trail; 0 without one. Where a run goes on from saved trails its
  // task time must begin here: what is recent fades by the difference.
  uint64_t latest_deposit() const;
  size_t landmarks() const;
  // What gossip brought together, as bytes: equal for equal replicas.
  std::string replica();
  // The landmark nearest to a place, below landmarks(), numbered as in at_landmark; nullopt before
  // the first rebuild.
  std::optional<size_t> landmark_of(const Place& place) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace colony::swarm
