#include <algorithm>
#include <map>
#include <set>

#include "agent/agent.h"
#include "base/log.h"

namespace colony::agent {

// What was seen on disk, by entry of the folder (an agent's folder or Markdown file).
struct AgentDirectory::Seen {
  struct Entry {
    std::string signature;                    // paths, sizes and times of its files
    std::shared_ptr<const AgentSpec> agent;   // last good version; null: never loaded
    std::string problem;                      // "" when the newest version is good
  };
  std::map<std::string, Entry> entries;
};

namespace {

// Everything that a change of could matter: path, size and time of each file below.
std::string signature_of(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  std::error_code code;
  const auto add = [&](const std::filesystem::path& file) {
    std::error_code ignored;
    const auto size = std::filesystem::file_size(file, ignored);
    const auto time = std::filesystem::last_write_time(file, ignored);
    lines.push_back(fmt::format("{}\n{}\n{}\n", file.string(), size,
                                time.time_since_epoch().count()));
  };
  if (std::filesystem::is_directory(path, code)) {
    constexpr size_t kFilesMax = 10'000;
    for (std::filesystem::recursive_directory_iterator it(path, code), end;
         !code && it != end && lines.size() < kFilesMax; it.increment(code)) {
      if (it->is_regular_file(code)) add(it->path());
    }
  } else {
    add(path);
  }
  std::sort(lines.begin(), lines.end());
  std::string all;
  for (const auto& line : lines) all += line;
  return all;
}

bool is_agent_entry(const std::filesystem::directory_entry& entry) {
  const std::string name = entry.path().filename().string();
  std::error_code code;
  if (name.starts_with('.')) return false;
  if (entry.is_directory(code)) return true;
  return entry.path().extension() == ".md" && name != "README.md";
}

}  // namespace

Result<AgentDirectory> AgentDirectory::open(const std::filesystem::path& folder,
                                            const std::vector<std::string>& only) {
  std::error_code code;
  if (!std::filesystem::is_directory(folder, code)) {
    return not_found("agents: no folder {}", folder.string());
  }
  AgentDirectory directory;
  directory.folder_ = folder;
  directory.only_ = only;
  directory.seen_ = std::make_shared<Seen>();
  directory.refresh();
  for (const auto& name : only) {
    const auto found = std::find_if(directory.agents_.begin(), directory.agents_.end(),
                                    [&](const auto& agent) { return agent->name == name; });
    if (found != directory.agents_.end()) continue;
    for (const auto& [path, reason] : directory.problems_) {
      if (std::filesystem::path(path).stem() == name) return invalid("agent {}: {}", name, reason);
    }
    std::vector<std::string> names;
    for (const auto& [path, entry] : directory.seen_->entries) {
      if (entry.agent) names.push_back(entry.agent->name);
    }
    const std::string near = nearest(name, names);
    return not_found("agents: no agent \"{}\" in {}{}", name, folder.string(),
                     near.empty() ? "" : "; did you mean \"" + near + "\"?");
  }
  if (directory.agents_.empty()) {
    return not_found("agents: no valid agent in {}{}", folder.string(),
                     directory.problems_.empty()
                         ? ""
                         : "; " + directory.problems_[0].first + ": " + directory.problems_[0].second);
  }
  return directory;
}

bool AgentDirectory::refresh() {
  std::set<std::string> present;
  bool looked = false;
  std::error_code code;
  for (std::filesystem::directory_iterator it(folder_, code), end; !code && it != end;
       it.increment(code)) {
    if (!is_agent_entry(*it)) continue;
    const std::string path = it->path().string();
    present.insert(path);
    auto& entry = seen_->entries[path];
    std::string signature = signature_of(it->path());
    if (entry.signature == signature) continue;
    looked = true;
    entry.signature = std::move(signature);
    auto agent = load_agent(it->path());
    if (agent) {
      entry.problem.clear();
      if (!entry.agent || entry.agent->generation != agent->generation ||
          entry.agent->description != agent->description) {
        entry.agent = std::make_shared<const AgentSpec>(std::move(*agent));
      }
    } else {
      entry.problem = std::move(agent).error().message;
    }
  }
  if (code) {
    log_warn("agents: {} cannot be read: {}; what was loaded stays", folder_.string(),
             code.message());
    return false;
  }
  looked = std::erase_if(seen_->entries, [&](const auto& item) {
             return !present.contains(item.first);
           }) > 0 || looked;
  if (!looked) return false;

  std::vector<std::shared_ptr<const AgentSpec>> agents;
  std::vector<std::pair<std::string, std::string>> problems;
  std::map<std::string, std::string> path_of_name;
  for (const auto& [path, entry] : seen_->entries) {
    const std::string stem = std::filesystem::path(path).stem().string();
    const std::string& name = entry.agent ? entry.agent->name : stem;
    const bool wanted = only_.empty() || std::find(only_.begin(), only_.end(), name) != only_.end();
    if (!wanted) continue;
    if (!entry.problem.empty()) problems.emplace_back(path, entry.problem);
    if (!entry.agent) continue;
    const auto [first, fresh] = path_of_name.emplace(name, path);
    if (!fresh) {
      problems.emplace_back(path, "name \"" + name + "\" is taken by " + first->second);
      continue;
    }
    agents.push_back(entry.agent);
  }
  std::sort(agents.begin(), agents.end(),
            [](const auto& a, const auto& b) { return a->name < b->name; });
  const bool changed = agents != agents_ || problems != problems_;
  agents_ = std::move(agents);
  problems_ = std::move(problems);
  return changed;
}

}  // namespace colony::agent
