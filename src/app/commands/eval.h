// colony eval: a model, or agents over it, on checked tasks, without a swarm.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "app/options.h"
#include "agent/agent.h"
#include "app/session.h"
#include "base/result.h"
#include "store/ledger.h"

namespace colony::app {

struct EvalOptions {
  std::string file;
  ModelOptions model;
  SamplingOptions sampling;
  bool raw = false;
  std::string agent;    // "" = the base model with the template's default
  bool each = false;    // every agent of the folder, one after the other
  std::string against;  // the gate: each agent beside this one; "" = none
  bool keep = false;    // what an agent showed goes into its folder (agent/tested.h); with `against` only of those that pass
  std::string agents;   // folder
  std::string home;
  bool json = false;
};

Status check_usage(const EvalOptions& options);
// One line a kind, in order of appearance; of `each` one an agent. 1 when a task had an error, or an agent does not pass.
Result<int> run_eval(const EvalOptions& options);


// What `run --held-out` does before the stream: those of `agents` that this home has not tested yet, in this generation under these weights,
// answer the tasks of options.file, and what they showed is kept as --keep keeps it. An agent that cannot be tested is named and left
// out. Fails kCancelled when interrupted: what was tested until then is kept.
Status test_new_agents(Session& session, store::Ledger& ledger, const std::vector<std::shared_ptr<const agent::AgentSpec>>& agents, const EvalOptions& options);

}  // namespace colony::app
