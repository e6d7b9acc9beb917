// What an agent showed on held-out tasks, kept beside it: `colony eval --keep` writes it, and a colony that meets the agent for the
// first time lets it bid with that (swarm/gate.h).
//
// tested.json in the agent's folder, NAME.tested.json beside a single Markdown file:
//   {"format": 1, "generation", "model": content hash of the base, "tasks": how many were asked, "score": their mean,
//    "items": [{"score", "place": [64 whole numbers, of 32767]}]}        at most swarm::kGateItems, evenly chosen
// Places are numbers of the base model; no text of a task is kept.
#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/agent.h"
#include "base/result.h"
#include "swarm/gate.h"

namespace colony::agent {

std::filesystem::path tested_file(const AgentSpec& agent);

// Replaces what is there. Fails as write_file().
Status keep_tested(const AgentSpec& agent, std::string_view model_hash, std::span<const swarm::GateItem> items);

// Nothing when there is no such file. Fails kInvalid when it is of another generation of the agent or another model, kCorrupt when it is no
// such file.
Result<std::vector<swarm::GateItem>> read_tested(const AgentSpec& agent, std::string_view model_hash);

// What a person wants to know of that file: "0.16 over 80 tasks", "none", that it is another generation's, or what is wrong with it.
std::string tested_text(const AgentSpec& agent);

}  // namespace colony::agent
