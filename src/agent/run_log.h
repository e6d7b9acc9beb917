// What a colony writes down while it works; room store implements it on SQLite.
//
// Contract: when final() returns, the row is durable. A task id has at most one final row a run;
// a second final() for it is refused with kInvalid.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "swarm/node.h"

namespace colony::agent {

struct BidRow {
  std::string agent;
  double bid = 0;
  double p = 0;  // 1/ties for the highest bids, else 0
  double tokens = 0;  // that its answer is expected to cost; 0: nothing is known
};

// One agent's try at a task.
struct AttemptRow {
  std::string agent, generation;
  swarm::NodeId node = 0;  // where the agent was
  std::string error;       // "" when it answered
  bool blamed = false;     // with an error: by its own fault, which is an outcome of 0
  uint64_t tokens = 0;     // prompt and completion
  double ms = 0;           // from the start of its work to its end
  std::string finish = "error";  // "stop", "length", "cancelled", "error"
};
// What was laid on an agent's trail.
struct DepositRow {
  std::string agent, generation;
  double score = 0;
};

// One task's end. `line` is the result line of conventions 2b, whole.
struct FinalRow {
  int64_t index = 0;       // position in the task file, from 0
  swarm::TaskId task = 0;  // hash of run and index
  std::string id, kind, agent, generation, reason, by;
  std::optional<double> success;
  bool failed = false;     // no final answer (error set); its success is 0 where the task has a check
  swarm::NodeId node = 0;  // where it entered
  uint64_t prompt_tokens = 0, completion_tokens = 0;
  double ms = 0;
  swarm::Place place{};
  std::vector<BidRow> bids;
  std::vector<AttemptRow> attempts;  // in order
  std::vector<DepositRow> deposits;
  Json line;
};

class RunLog {
 public:
  virtual ~RunLog() = default;
  // All rows of one colony step in one transaction, with what the nodes learned when it changed
  // enough (node id, Node::save()). Fails kUnavailable (disk), kInvalid (second final of a task).
  virtual Status final(const std::vector<FinalRow>& rows,
                       const std::vector<std::pair<swarm::NodeId, std::string>>& nodes) = 0;
};

}  // namespace colony::agent
