#include "app/commands/agents.h"

#include <algorithm>

#include "agent/agent.h"
#include "agent/hosting.h"
#include "agent/tested.h"
#include "app/child.h"
#include "app/console.h"
#include "app/session.h"
#include "base/file.h"
#include "base/json.h"
#include "net/hub.h"

namespace colony::app {
namespace fs = std::filesystem;
using agent::AgentSpec;

namespace {

constexpr const char* kRoles[] = {"worker", "data", "resource", "interaction", "evaluation"};

std::string how(const AgentSpec& a) {
  std::string out = a.script.empty() ? "prompt" : a.prompt.empty() && a.examples.empty() ? "script" : "prompt+script";
  if (a.name == "generalist" && a.script.empty() && a.prompt.empty()) out = "base model";
  if (!a.choices.empty() || !a.schema.is_null() || a.labels_from_task) out += ", constrained";
  return out;
}

}  // namespace

Result<fs::path> find_agents(const std::string& folder) {
  std::error_code ignored;
  if (!folder.empty()) {
    if (!fs::is_directory(folder, ignored)) return not_found("--agents {}: no such folder", folder);
    return fs::path(folder);
  }
  std::vector<fs::path> places{"agents"};
  const fs::path program = program_path();  // ROOT/build/<preset>/colony
  if (!program.empty()) places.push_back(program.parent_path().parent_path().parent_path() / "agents");
  for (const auto& place : places) {
    if (fs::is_directory(place, ignored)) return place;
  }
  return not_found("no folder of agents: tried {} and {}; say which with --agents DIR", fs::absolute(places[0]).string(),
                   places.back().string());
}

Result<int> run_agents_ls(const std::string& folder, bool json) {
  ASSIGN_OR_RETURN(const auto path, find_agents(folder));
  ASSIGN_OR_RETURN(const auto directory, agent::AgentDirectory::open(path));
  std::vector<std::vector<std::string>> rows;
  for (const auto& a : directory.agents()) {
    if (json) {
      print_line(to_line({{"agent", a->name}, {"role", kRoles[static_cast<int>(a->role)]}, {"by", how(*a)},
                          {"generation", a->generation}, {"description", a->description}}));
    } else {
      std::printf("%-14s %-11s %-26s %s\n", a->name.c_str(), kRoles[static_cast<int>(a->role)], how(*a).c_str(), a->description.c_str());
    }
  }
  for (const auto& [name, reason] : directory.problems()) note("{}: {}", name, reason);
  return directory.problems().empty() ? kDone : kSomeBad;
}

Result<int> run_agents_show(const std::string& folder, const std::string& name, bool json) {
  ASSIGN_OR_RETURN(const auto path, find_agents(folder));
  ASSIGN_OR_RETURN(const auto directory, agent::AgentDirectory::open(path));
  const auto& agents = directory.agents();
  const auto at = std::find_if(agents.begin(), agents.end(), [&](const auto& a) { return a->name == name; });
  if (at == agents.end()) {
    for (const auto& [which, reason] : directory.problems()) {
      if (fs::path(which).filename() == name) return invalid("{}", reason);
    }
    std::vector<std::string> known;
    for (const auto& a : agents) known.push_back(a->name);
    const std::string near = nearest(name, known);
    return not_found("no agent '{}' in {}{}", name, path.string(), near.empty() ? "" : "; did you mean " + near + "?");
  }
  const AgentSpec& a = **at;
  const Json out = {{"agent", a.name},
                    {"description", a.description},
                    {"role", kRoles[static_cast<int>(a.role)]},
                    {"folder", a.folder.string()},
                    {"generation", a.generation},
                    {"by", how(a)},
                    {"model", a.model},
                    {"adapter", a.adapter},
                    {"skills", a.skills},
                    {"max_tokens", a.max_tokens},
                    {"choices", a.choices},
                    {"schema", a.schema},
                    {"labels_from_task", a.labels_from_task},
                    {"examples", a.examples.size()},
                    {"tested", agent::tested_text(a)},
                    {"missing", agent::missing_requirements(a, net::HubOptions::from_environment().cache)}};
  if (json) {
    print_line(to_line(out));
    return kDone;
  }
  for (const auto& [key, value] : out.items()) {
    std::printf("%-18s %s\n", key.c_str(), value.is_string() ? value.get<std::string>().c_str() : to_line(value).c_str());
  }
  if (!a.prompt.empty()) std::printf("\n%s\n", a.prompt.c_str());
  return kDone;
}

Result<int> run_agents_check(const std::string& folder, const std::vector<std::string>& names, const ModelOptions& model, bool json) {
  ASSIGN_OR_RETURN(const auto path, find_agents(folder));
  auto session = Session::open(model);
  if (!session) {
    if (!model.model.empty() || !model.memory.empty()) return std::move(session).error();
    note("without a model ({}) only files and requirements are checked, not models, adapters and memory", session.error().message);
  }
  agent::Hosting hosting;
  hosting.hub_cache = net::HubOptions::from_environment().cache;
  hosting.find_model = find_model;
  if (session) hosting.engine = (*session)->engine.get();
  std::vector<fs::path> entries;
  if (names.empty()) {
    std::error_code problem;
    for (const auto& entry : fs::directory_iterator(path, problem)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with('.') && (entry.is_directory() || entry.path().extension() == ".md")) entries.push_back(entry.path());
    }
    if (problem) return unavailable("{}: {}", path.string(), problem.message());
    if (entries.empty()) return not_found("{}: no agent in it", path.string());
  }
  for (const auto& name : names) {
    std::error_code ignored;
    entries.push_back(fs::exists(name, ignored) && name.find('/') != std::string::npos ? fs::path(name) : path / name);
  }
  std::sort(entries.begin(), entries.end());
  bool bad = false;
  for (const auto& entry : entries) {
    const auto spec = agent::load_agent(entry);
    const std::string name = entry.filename().string();
    std::vector<std::string> problems;
    if (!spec) {
      problems.push_back(spec.error().message);
    } else if (hosting.engine == nullptr) {
      problems = agent::missing_requirements(*spec, hosting.hub_cache);
    } else if (const auto ready = agent::ready_to_host(std::make_shared<AgentSpec>(*spec), hosting); !ready) {
      problems.push_back(ready.error().message);
    }
    bad = bad || !problems.empty();
    if (json) {
      print_line(to_line({{"agent", name}, {"ok", problems.empty()}, {"problems", problems}}));
      continue;
    }
    if (problems.empty()) std::printf("ok    %s\n", name.c_str());
    for (const auto& problem : problems) std::printf("bad   %s: %s\n", name.c_str(), problem.c_str());
  }
  return bad ? kSomeBad : kDone;
}

Result<int> run_agents_new(const std::string& folder, const std::string& name) {
  const fs::path root = folder.empty() ? fs::path("agents") : fs::path(folder);
  const bool good = !name.empty() && name.size() <= 64 &&
                    std::all_of(name.begin(), name.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'; });
  if (!good) return invalid("'{}' is no agent's name: 1 to 64 of a-z, 0-9, - and _", name);
  const fs::path path = root / name;
  std::error_code problem;
  if (fs::exists(path, problem)) return invalid("{} is there already", path.string());
  fs::create_directories(path, problem);
  if (problem) return unavailable("{}: {}", path.string(), problem.message());
  RETURN_IF_ERROR(write_file(path / "agent.toml", fmt::format(
      "name = \"{}\"\n"
      "description = \"What it is good at, in one sentence\"\n"
      "role = \"worker\"\n\n"
      "[limits]\nmax_tokens = 64\n\n"
      "# [answer]\n# choices = [\"yes\", \"no\"]     # exactly one of these\n", name)));
  RETURN_IF_ERROR(write_file(path / "PROMPT.md", "Answer with the answer only.\n"));
  auto loaded = agent::load_agent(path);
  if (!loaded) return std::move(loaded).error();
  print_line(path.string());
  note("edit {} and PROMPT.md; add examples.jsonl ({{\"prompt\",\"answer\"}} a line) or script.lua; then: colony agents check {}",
       (path / "agent.toml").string(), name);
  return kDone;
}

}  // namespace colony::app
