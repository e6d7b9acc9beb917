// The ledger: runs, tasks, bids, answers, deposits, agents, trails, metrics in one SQLite file
// (WAL) under the colony's home. docs/ledger.md has the schema. Killed at any moment, what was
// acknowledged is there.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/agent.h"
#include "agent/run_log.h"
#include "base/result.h"

namespace colony::store {

struct RunInfo {
  std::string run;      // "r000012"
  uint64_t run_id = 0;
  std::string started;  // ISO 8601 UTC
  int64_t tasks = 0, final = 0, failed = 0;
  std::string state;    // running, finished, interrupted (not running, not finished)
  Json summary;         // of the end; null while it is not finished
  Json options;         // what `run` was asked, enough to resume: file, hash, agents, seed, …
};

// Threads: one owner. Two processes may open one home; each writes its own run.
class Ledger {
 public:
  // Creates folder and file when absent, and migrates an older schema. Fails kUnavailable, kCorrupt
  // (not ours, newer schema).
  static Result<std::unique_ptr<Ledger>> open(const std::filesystem::path& home);
  ~Ledger();
  const std::filesystem::path& path() const;  // HOME/colony.db

  // The run belongs to this process from here on, until finish_run() or the ledger's end. Trails are
  // kept by the options' "model_hash" and "nodes".
  Result<RunInfo> begin_run(const Json& options, int64_t tasks, int64_t started_unix_ms);
  // The run's tasks and options anew, where its input was not known at its begin.
  Status set_input(const RunInfo& run);
  // Of a run that never began: it has no task, and its name goes to the next one.
  Status drop_run(const std::string& run);
  Status finish_run(const std::string& run, const Json& summary);
  Result<std::vector<RunInfo>> runs();                  // oldest first
  // "last" or a run's name. Fails kNotFound.
  Result<RunInfo> find_run(const std::string& name);

  // The port the colony writes through, for one run; must not outlive this. Takes the run for this
  // process; fails kUnavailable when another one has it.
  Result<std::unique_ptr<agent::RunLog>> run_log(const RunInfo& run);
  // Final result lines of a run as (index, line), ascending index.
  Result<std::vector<std::pair<int64_t, Json>>> results(const std::string& run);

  // A task of a run: its attempts {"agent","generation","node","error"?,"blamed"?,"tokens","ms"} and deposits {"agent","generation","score"}.
  // Empty for a task that is not final, and attempts for those of runs before schema 2.
  struct TaskStory {
    Json attempts = Json::array(), deposits = Json::array();
  };
  Result<TaskStory> story(const std::string& run, int64_t index);

  // Writes down generations not seen before.
  Status remember_agents(const std::vector<std::shared_ptr<const agent::AgentSpec>>& agents, int64_t now_unix_ms);
  // Newest Node::save() of each node, over all runs with this model hash and this number of nodes.
  Result<std::vector<std::pair<swarm::NodeId, std::string>>> trails(const std::string& model_hash, int nodes);
  // A test that this home ran itself, of this generation of the agent under these weights (as trails are kept by), on the tasks of that
  // content. The same test once more replaces what it showed before. Nothing outside the ledger can say that it was this home's.
  Status keep_test(const agent::AgentSpec& agent, const std::string& model_hash, const std::string& tasks_hash, const std::vector<swarm::GateItem>& items, int64_t now_unix_ms);
  // All of them, the first test first, a place once. Fails kCorrupt on what keep_test() did not write.
  Result<std::vector<swarm::GateItem>> own_test(const agent::AgentSpec& agent, const std::string& model_hash);
  Status add_metrics(const std::string& run,
                     const std::vector<std::pair<std::string, double>>& metrics);

 private:
  Ledger();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace colony::store
