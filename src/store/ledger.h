// The ledger: runs, tasks, bids, answers, deposits, agents, trails, metrics in one SQLite file
// (WAL). docs/ledger.md has the schema. Killed at any moment, what was acknowledged is there.
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
  Json options;         // what `run` was asked, enough to resume: file, hash, agents, seed, …
};

// Threads: one owner. Two processes may open one home; each writes its own run.
class Ledger {
 public:
  // Creates folder and file when absent, and migrates an older schema. Fails kUnavailable, kCorrupt
  // (not ours, newer schema).
  static Result<std::unique_ptr<Ledger>> open(const std::filesystem::path& home);
  ~Ledger();

  Result<RunInfo> begin_run(const Json& options, int64_t tasks, int64_t started_unix_ms);
  Status finish_run(const std::string& run, const Json& summary);
  Result<std::vector<RunInfo>> runs();                  // oldest first
  // "last" or a run's name. Fails kNotFound.
  Result<RunInfo> find_run(const std::string& name);

  // The port the colony writes through, for one run.
  std::unique_ptr<agent::RunLog> run_log(const RunInfo& run);
  // Final result lines of a run as (index, line), ascending index.
  Result<std::vector<std::pair<int64_t, Json>>> results(const std::string& run);

  Status remember_agents(const std::vector<std::shared_ptr<const agent::AgentSpec>>& agents);
  // Newest Node::save() of each node, over all runs with this model hash, this number of nodes.
  Result<std::vector<std::pair<swarm::NodeId, std::string>>> trails(const std::string& model_hash);
  Status add_metrics(const std::string& run,
                     const std::vector<std::pair<std::string, double>>& metrics);

 private:
  Ledger();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace colony::store
