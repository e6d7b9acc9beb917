// Whether an agent can take part: the one judgement of `run`, which then hosts it, and of `agents check`.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "agent/agent_run.h"
#include "engine/engine.h"

namespace colony::agent {

struct Hosting {
  engine::Engine* engine = nullptr;  // borrowed; its adapters() keep what is hosted
  // Where the model that an agent names is, to compare with the engine's; null: by name alone.
  std::function<Result<std::filesystem::path>(const std::string& model)> find_model;
  std::filesystem::path hub_cache;   // where what agents require is looked for
};

// Ready to work, its adapter registered. Fails, with the reason as a person reads it, and leaves nothing registered: another base model
// (kInvalid), requirements that are not there (kNotFound), an adapter that is broken or of another shape (as Adapters::add), or that does
// not fit below the ledger's ceiling beside weights and caches (kExhausted).
Result<ReadyAgent> ready_to_host(const std::shared_ptr<const AgentSpec>& spec, const Hosting& hosting);

}  // namespace colony::agent
