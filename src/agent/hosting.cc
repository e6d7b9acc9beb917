#include "agent/hosting.h"

namespace colony::agent {
namespace {

// By name or as the same file or folder.
bool is_ours(const std::string& model, const Hosting& hosting) {
  const engine::Snapshot& snapshot = hosting.engine->snapshot();
  if (model.empty() || model == snapshot.name) return true;
  if (!hosting.find_model) return false;
  const auto found = hosting.find_model(model);
  std::error_code code;
  return found && std::filesystem::equivalent(*found, snapshot.path, code);
}

}  // namespace

Result<ReadyAgent> ready_to_host(const std::shared_ptr<const AgentSpec>& spec, const Hosting& hosting) {
  if (!is_ours(spec->model, hosting)) return invalid("wants model {}, the colony has {}", spec->model, hosting.engine->snapshot().name);
  std::string missing;
  for (const auto& one : missing_requirements(*spec, hosting.hub_cache)) missing += (missing.empty() ? "" : "; ") + one;
  if (!missing.empty()) return not_found("requires what is not there: {}", missing);
  ASSIGN_OR_RETURN(ReadyAgent ready, make_ready(spec, &hosting.engine->adapters()));
  if (ready.adapter) {
    if (auto fits = hosting.engine->adapters().fits(*ready.adapter); !fits) {
      hosting.engine->adapters().remove(ready.adapter->name);
      return std::move(fits).error();
    }
  }
  return ready;
}

}  // namespace colony::agent
