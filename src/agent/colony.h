// The colony at work: tasks in, swarm nodes decide, agents answer through one engine, checked
// outcomes become deposits. There is no dispatcher: a task enters at a node, is announced on the
// bus, agents' hosts bid from their own trails, the asker takes the highest bid.
//
// A task whose agent fails is announced once more without that agent, until one answers or
// ColonyOptions::attempts have failed; then it ends with an error line and, where it has a check, a success of 0. A failure by the agent's
// own fault (its script, its time, its adapter) is an outcome of 0 on its trail at that place, checked or not. What may be the task's fault
// (its prompt does not go through the template or is too long) is that only of agents whose task another one answered. An exhausted budget
// is nobody's fault. What the run's deadline cuts off is not final at all.
// With a quorum an answer is a vote, and the asker recruits more until they decide; all votes of a
// task spend the run's budget, and each scored one is a deposit.
// One thread, step by step, so the same seed gives the same run: decisions depend on step counts,
// and outcomes are deposited in task order at step boundaries.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "agent/hosting.h"
#include "agent/run_log.h"
#include "base/budget.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/result.h"
#include "data/check.h"
#include "data/task_line.h"
#include "engine/engine.h"

namespace colony::agent {

struct ColonyOptions {
  int nodes = 1;
  int in_flight = 16;            // tasks between announcement and outcome at once
  uint64_t seed = 0;
  std::shared_ptr<Budget> budget;               // of the whole run; null: none
  std::optional<std::chrono::nanoseconds> deadline;  // Clock::now() at which the run ends
  uint64_t run_id = 0;           // not part of any decision: the same seed gives the same run
  int max_tokens = 256;
  int attempts = 3;              // agents that may fail at one task
  bool full = false;             // result lines have prompt, expected and raw too
  std::filesystem::path home;    // where mean and deviation of places are kept, by model hash
  bool raw = false;              // prompts as they are, without the template
  std::shared_ptr<const engine::AdapterInfo> adapter;  // of the engine's, for agents without one; null: none
  bool tested = true;            // new agents begin with what they showed in tests (agent/tested.h)
  // What this home itself saw of an agent's generation under this model; nothing where it did not test it. Null: it tested none.
  std::function<Result<std::vector<swarm::GateItem>>(const AgentSpec& agent)> own_test;
  // (kind, agent): tasks of that kind go only to the agents named for it, while one of them can answer; before what agents serve
  // (AgentSpec::kinds).
  std::vector<std::pair<std::string, std::string>> routes;
  swarm::NodeOptions rules;      // of every node; id and seed are set here. With rules.quorum tasks get votes
  // Where the model that an agent names is, to compare with the engine's; null: by name alone.
  std::function<Result<std::filesystem::path>(const std::string& model)> find_model;
  std::filesystem::path hub_cache;  // where what agents require is looked for
  Metrics* metrics = nullptr;    // borrowed; null: none
};

struct ColonyProgress {
  int64_t total = 0, final = 0, failed = 0, in_flight = 0;
  int64_t cut_off = 0;  // by the deadline or stop(): not final
  double score_sum = 0;
  int64_t scored = 0;
  uint64_t tokens = 0;
};

class Colony {
 public:
  // `engine`, `agents`, `log`, `clock` are borrowed and must outlive this. `saved`: what earlier
  // runs learned, by node id (Node::save()); what does not load is reported, not fatal.
  static Result<std::unique_ptr<Colony>> create(
      const ColonyOptions& options, engine::Engine& engine, AgentDirectory& agents, RunLog& log,
      const Clock& clock, const std::vector<std::pair<swarm::NodeId, std::string>>& saved);
  ~Colony();

  // `index`: position in the task file; ascending over calls. Tasks wait here until admitted.
  void add(int64_t index, data::TaskLine task, std::shared_ptr<const data::Check> check);

  // One step: admit, embed, announce, bid, assign, run one engine step, check, deposit, log.
  // Past the deadline it is stop(). Fails only when the log does. Returns the rows that became final.
  Result<std::vector<FinalRow>> step();
  // Drops what is not final, and writes down what the nodes learned.
  Status stop();
  bool done() const;
  const ColonyProgress& progress() const;

  // Ends a node as a crash would: its state is gone, its hosted agents are silent, tasks that
  // entered there or are worked on there start again at living nodes. When a task then finds no
  // bid, living nodes take over the silent agents, with new trails, until their node is back. The
  // last living node cannot be killed: kInvalid.
  Status kill_node(swarm::NodeId node);
  // Starts it again from what the ledger has.
  Status revive_node(swarm::NodeId node, const std::string& saved);

  const swarm::Node& node(swarm::NodeId id) const;  // CHECKs that it lives
  // (agent, reason) of agents that this colony cannot host, ready_to_host() says why.
  const std::vector<std::pair<std::string, std::string>>& refused() const;
  size_t hosted() const;
  // What happened to the agents' files since the last call, a line each for a person.
  std::vector<std::string> news();

 private:
  Colony();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace colony::agent
