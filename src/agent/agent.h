// An agent: a folder agents/<name>/ as a checked value (conventions part 4).
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/script_sandbox.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "engine/request.h"
#include "swarm/node.h"

namespace colony::agent {

enum class Role : uint8_t { kWorker, kData, kResource, kInteraction, kEvaluation };

struct Requires {
  std::vector<std::string> models, adapters, lua, executables, mcp;  // "name" or "name@version-or-hash"
};

struct AgentSpec {
  std::string name;
  std::string description;
  Role role = Role::kWorker;
  std::filesystem::path folder;
  std::string model;    // "" = the colony's
  std::string adapter;  // a PEFT folder, relative to the agent's; "adapter" when that is there and nothing
                        // is said; "" = none
  std::vector<std::string> skills;
  std::vector<std::string> kinds;  // [serves] kinds: tasks of these go only to agents that name them, while one can answer
  engine::SamplingParams sampling;
  int max_tokens = 0;             // 0: as many as the caller allows
  double seconds_max = 0;  // wall time of one answer; 0: none (a limit makes runs depend on speed)
  uint64_t memory_max = 0;  // of its script; 0: ScriptLimits' own
  Requires requirements;
  bool labels_from_task = false;
  std::vector<std::string> choices;  // [answer] choices: exactly one of these
  Json schema;                       // [answer] schema = "FILE", parsed; null when none
  std::string prompt;                // PROMPT.md: the system message; "" = the template's default
  std::vector<std::pair<std::string, std::string>> examples;  // examples.jsonl {prompt, answer}
  std::string script;                // script.lua; "" = none
  std::shared_ptr<const Script> program;  // the same, checked; null = none
  std::string generation;            // SHA-256 over all that can change an answer, 16 hex digits

  swarm::AgentId id() const;  // hash of name and generation
};

// Reads and checks one agent: a folder with agent.toml, or with agent.json + PROMPT.md/AGENTS.md
// (tiny-agents), or a single Markdown file with YAML front matter. Unknown keys are an error that
// names the nearest known one.
// `clock` limits the agent's script and must outlive the spec; the machine's when left out.
Result<AgentSpec> load_agent(const std::filesystem::path& path);
Result<AgentSpec> load_agent(const std::filesystem::path& path, const Clock& clock);

// What an agent says of itself, as texts to place: its description, its skills, prompts of its examples (kAboutExamples at most, evenly
// chosen). None of one that says nothing.
inline constexpr size_t kAboutExamples = 8;
std::vector<std::string> about_texts(const AgentSpec& agent);

// Whether what the agent requires is there; the list of what is missing, empty when all is well.
std::vector<std::string> missing_requirements(const AgentSpec& agent, const std::filesystem::path& hub_cache);

// Every agent under `folder`. Threads: one owner.
class AgentDirectory {
 public:
  // Fails when the folder is absent or holds no valid agent. Broken agents are in problems().
  static Result<AgentDirectory> open(const std::filesystem::path& folder,
                                     const std::vector<std::string>& only = {});
  // Ascending name.
  const std::vector<std::shared_ptr<const AgentSpec>>& agents() const { return agents_; }
  // (folder, reason) of agents that do not load; their last good version, if any, stays in agents().
  const std::vector<std::pair<std::string, std::string>>& problems() const { return problems_; }
  // Looks at the files again; true when agents or problems changed. Cheap (stat only) when not.
  bool refresh();

 private:
  std::filesystem::path folder_;
  std::vector<std::string> only_;
  std::vector<std::shared_ptr<const AgentSpec>> agents_;
  std::vector<std::pair<std::string, std::string>> problems_;
  struct Seen;
  std::shared_ptr<Seen> seen_;
};

}  // namespace colony::agent
