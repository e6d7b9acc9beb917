#include "agent/tested.h"

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/json.h"

namespace colony::agent {
namespace {

constexpr double kUnit = 32767;
constexpr size_t kBytesMost = 1 << 20;

// The file as JSON, its format and generation checked; null when there is none.
Result<Json> read_json(const AgentSpec& agent) {
  const auto file = tested_file(agent);
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return Json();
  ASSIGN_OR_RETURN(const auto text, read_file(file, kBytesMost));
  auto json = parse_json(text);
  if (!json || !json->is_object()) return corrupt("{}: not a JSON object; colony eval --keep writes it", file.string());
  const auto is = [&](const char* key, const Json& value) { return json->contains(key) && (*json)[key] == value; };
  if (!is("format", 1)) return corrupt("{}: not of format 1; colony eval --keep writes it", file.string());
  if (!is("generation", agent.generation)) return invalid("{} is of another generation of agent {}; test it again with colony eval --keep", file.string(), agent.name);
  return std::move(*json);
}

}  // namespace

std::filesystem::path tested_file(const AgentSpec& agent) {
  std::error_code ignored;
  const auto& folder = agent.folder;
  const bool own = std::filesystem::exists(folder / "agent.toml", ignored) || std::filesystem::exists(folder / "agent.json", ignored);
  return own ? folder / "tested.json" : folder / (agent.name + ".tested.json");
}

Status keep_tested(const AgentSpec& agent, std::string_view model_hash, std::span<const swarm::GateItem> items) {
  Json list = Json::array();
  double sum = 0;
  for (const auto& item : items) sum += item.score;
  for (const auto& item : swarm::chosen_items(items)) {
    Json place = Json::array();
    for (const float x : item.place) place.push_back(std::lround(static_cast<double>(x) * kUnit));
    list.push_back({{"score", item.score}, {"place", std::move(place)}});
  }
  const Json out = {{"format", 1}, {"generation", agent.generation}, {"model", model_hash}, {"tasks", items.size()},
                    {"score", items.empty() ? 0 : sum / static_cast<double>(items.size())}, {"items", std::move(list)}};
  return write_file(tested_file(agent), to_line(out) + "\n");
}

std::string tested_text(const AgentSpec& agent) {
  const auto json = read_json(agent);
  if (!json) return json.error().code == ErrorCode::kInvalid ? "of another generation" : json.error().message;
  if (json->is_null()) return "none";
  const auto score = get_number(*json, "score", "tested");
  const auto tasks = get_int(*json, "tasks", "tested");
  if (!score || !*score || !tasks || !*tasks) return "damaged";
  return fmt::format("{:.2f} over {} tasks", **score, **tasks);
}

Result<std::vector<swarm::GateItem>> read_tested(const AgentSpec& agent, std::string_view model_hash) {
  std::vector<swarm::GateItem> items;
  ASSIGN_OR_RETURN(const Json read, read_json(agent));
  if (read.is_null()) return items;
  const std::string file = tested_file(agent).string();
  const auto wrong = [&](const char* what) { return corrupt("{}: {}; colony eval --keep writes it", file, what); };
  if (!read.contains("model") || read["model"] != model_hash) return invalid("{} is of another model; test agent {} again with colony eval --keep", file, agent.name);
  if (!read.contains("items") || !read["items"].is_array() || read["items"].size() > swarm::kGateItems) return wrong("its items are no list of at most 80");
  for (const Json& one : read["items"]) {
    swarm::GateItem item;
    const bool good = one.is_object() && one.contains("score") && one["score"].is_number() && one.contains("place") && one["place"].is_array() && one["place"].size() == swarm::kPlaceDim;
    if (!good) return wrong("an item is not a score and a place of 64 numbers");
    item.score = one["score"].get<double>();
    if (!(item.score >= 0 && item.score <= 1)) return wrong("a score is not from 0 to 1");
    for (size_t d = 0; d < swarm::kPlaceDim; ++d) {
      if (!one["place"][d].is_number()) return wrong("a place holds what is no number");
      const double x = one["place"][d].get<double>() / kUnit;
      if (!(std::abs(x) <= 1)) return wrong("a place lies beyond the unit sphere");
      item.place[d] = static_cast<float>(x);
    }
    items.push_back(item);
  }
  return items;
}

}  // namespace colony::agent
