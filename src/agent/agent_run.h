// What an agent does with one task, but for the engine's part: script, prompt, constraint, answer.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "agent/agent.h"
#include "base/result.h"
#include "data/task_line.h"
#include "engine/adapters.h"
#include "engine/request.h"
#include "engine/snapshot.h"
#include "text/constraint.h"

namespace colony::agent {

struct RunContext {
  bool raw = false;          // no template: the texts one after the other
  int max_tokens = 256;      // the run's limit; the agent's own may be lower
  uint64_t seed = 0;         // of the run; the agent's is added
  uint64_t task_id = 0;
  int64_t now_unix_ms = 0;   // what the template sees as today
  std::optional<std::chrono::nanoseconds> deadline;  // of the run
  std::chrono::nanoseconds now{};
  std::shared_ptr<Budget> budget;
  std::shared_ptr<const engine::AdapterInfo> adapter;  // for agents without one of their own; null: none
};

// An agent ready to work: its constraint is built once, its adapter registered.
struct ReadyAgent {
  std::shared_ptr<const AgentSpec> spec;
  std::shared_ptr<const text::Acceptor> constraint;    // null: none
  std::shared_ptr<const engine::AdapterInfo> adapter;  // null: none
};
// The adapter is registered with `adapters` as adapter_name(). Null: an agent with an adapter is refused.
Result<ReadyAgent> make_ready(std::shared_ptr<const AgentSpec> spec, engine::Adapters* adapters);
std::string adapter_name(const AgentSpec& spec);  // "agent:NAME"

// Exactly one of the two is set.
struct Prepared {
  std::optional<std::string> answer;       // the script's own
  std::optional<engine::Request> request;  // for the engine
};

// What the agent's script says of the task before the model is asked; nothing without a script. Fails by the agent's own fault.
Result<BeforeResult> run_before(const AgentSpec& agent, const data::TaskLine& task);
// System prompt, examples as earlier turns, and the task's messages, for the engine. `prompt`: replaces the task's. Fails where the task
// does not go through the template or has labels nobody can be held to: another agent may fail at it alike.
Result<engine::Request> make_request(const ReadyAgent& agent, const data::TaskLine& task, const std::optional<std::string>& prompt,
                                     const engine::Snapshot& snapshot, const RunContext& context);

// Runs before(), then builds system prompt, examples as earlier turns, and the task's messages.
Result<Prepared> prepare(const ReadyAgent& agent, const data::TaskLine& task,
                         const engine::Snapshot& snapshot, const RunContext& context);

// The messages an agent sends for a task (PROMPT.md as system message, examples.jsonl as earlier
// turns, then the task). `prompt`: replaces the task's, when a script said so.
Json agent_messages(const AgentSpec& agent, const data::TaskLine& task,
                    const std::optional<std::string>& prompt);

// The answer out of what the engine made: after() over its text, when the agent has it. Fails
// kInvalid when the answer was constrained and cut: half a JSON text or half a label is none. A free
// answer cut at max_tokens is an answer; its `finish` says "length".
Result<std::string> finish_answer(const AgentSpec& agent, const data::TaskLine& task,
                                  engine::Output output);

// What a script may see of a task: everything but answer, check and labels (labels when the agent
// asks for them).
Json script_view(const AgentSpec& agent, const data::TaskLine& task);

}  // namespace colony::agent
