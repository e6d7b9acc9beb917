#include "agent/agent.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "agent/front_matter.h"
#include "base/byte_ledger.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/digest.h"

namespace colony::agent {
namespace {

constexpr uint64_t kFileBytesMax = 4 << 20;
constexpr size_t kNameMax = 64;

const Clock& system_clock() {
  static const SystemClock clock;
  return clock;
}

// ---- typed reading of a table, with every key accounted for ----

Status only_known(const Json& table, const std::vector<std::string>& known, std::string_view what) {
  for (const auto& [key, value] : table.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string near = nearest(key, known);
    std::string all;
    for (const auto& name : known) all += (all.empty() ? "" : ", ") + name;
    return invalid("{}: key \"{}\" is not known; {}", what, key,
                   near.empty() ? "known are " + all : "did you mean \"" + near + "\"?");
  }
  return {};
}

Result<std::vector<std::string>> strings(const Json& table, const char* key, std::string_view what) {
  std::vector<std::string> list;
  const auto at = table.find(key);
  if (at == table.end()) return list;
  if (!at->is_array()) {
    return invalid("{}: \"{}\" must be a list of strings, found {}", what, key, json_kind(*at));
  }
  for (const auto& item : *at) {
    if (!item.is_string()) {
      return invalid("{}: \"{}\" must be a list of strings, found {} in it", what, key,
                     json_kind(item));
    }
    list.push_back(item.get<std::string>());
  }
  return list;
}

// The sub-table of this name, or an empty one.
Result<Json> sub_table(const Json& table, const char* key, std::string_view what) {
  const auto at = table.find(key);
  if (at == table.end()) return Json(Json::object());
  if (!at->is_object()) {
    return invalid("{}: [{}] must be a table, found {}", what, key, json_kind(*at));
  }
  return *at;
}

Result<Role> parse_role(const std::string& name, std::string_view what) {
  const std::vector<std::string> names{"worker", "data", "resource", "interaction", "evaluation"};
  for (size_t i = 0; i < names.size(); ++i) {
    if (name == names[i]) return static_cast<Role>(i);
  }
  return invalid("{}: \"role\": found \"{}\", expected worker, data, resource, interaction or "
                 "evaluation", what, name);
}

Status range(bool good, std::string_view what, const char* key, double found, const char* expected) {
  if (good) return {};
  return invalid("{}: \"{}\": found {}, expected {}", what, key, found, expected);
}

Status read_sampling(const Json& given, std::string_view what, AgentSpec& spec) {
  // "top-k" and "top_k" are the same: the first is the option, the second the key of Python's world.
  Json table = Json::object();
  for (const auto& [key, value] : given.items()) {
    std::string name = key;
    std::replace(name.begin(), name.end(), '-', '_');
    table[name] = value;
  }
  RETURN_IF_ERROR(only_known(table, {"greedy", "temperature", "top_k", "top_p", "min_p",
                                     "repetition_penalty", "seed", "stop", "ignore_eos",
                                     "max_tokens"}, what));
  auto& sampling = spec.sampling;
  ASSIGN_OR_RETURN(const auto greedy, get_bool(table, "greedy", what));
  ASSIGN_OR_RETURN(const auto temperature, get_number(table, "temperature", what));
  if (temperature) {
    RETURN_IF_ERROR(range(*temperature >= 0 && std::isfinite(*temperature), what, "temperature",
                          *temperature, "a number from 0 up"));
    sampling.greedy = *temperature == 0;
    if (*temperature > 0) sampling.temperature = *temperature;
  }
  ASSIGN_OR_RETURN(const auto top_k, get_int(table, "top_k", what));
  if (top_k) {
    RETURN_IF_ERROR(range(*top_k >= 0 && *top_k <= INT32_MAX, what, "top_k",
                          static_cast<double>(*top_k), "0 (off) or more"));
    sampling.top_k = static_cast<int>(*top_k);
  }
  ASSIGN_OR_RETURN(const auto top_p, get_number(table, "top_p", what));
  if (top_p) {
    RETURN_IF_ERROR(range(*top_p > 0 && *top_p <= 1, what, "top_p", *top_p, "above 0, at most 1"));
    sampling.top_p = *top_p;
  }
  ASSIGN_OR_RETURN(const auto min_p, get_number(table, "min_p", what));
  if (min_p) {
    RETURN_IF_ERROR(range(*min_p >= 0 && *min_p <= 1, what, "min_p", *min_p, "0 to 1"));
    sampling.min_p = *min_p;
  }
  ASSIGN_OR_RETURN(const auto penalty, get_number(table, "repetition_penalty", what));
  if (penalty) {
    RETURN_IF_ERROR(range(*penalty > 0 && std::isfinite(*penalty), what, "repetition_penalty",
                          *penalty, "above 0"));
    sampling.repetition_penalty = *penalty;
  }
  ASSIGN_OR_RETURN(const auto seed, get_int(table, "seed", what));
  if (seed) sampling.seed = static_cast<uint64_t>(*seed);
  ASSIGN_OR_RETURN(const auto ignore_eos, get_bool(table, "ignore_eos", what));
  if (ignore_eos) sampling.ignore_eos = *ignore_eos;
  if (table.contains("stop") && table["stop"].is_string()) {
    sampling.stop = {table["stop"].get<std::string>()};
  } else {
    ASSIGN_OR_RETURN(sampling.stop, strings(table, "stop", what));
  }
  for (const auto& stop : sampling.stop) {
    if (stop.empty()) return invalid("{}: \"stop\": found an empty string", what);
  }
  ASSIGN_OR_RETURN(const auto tokens, get_int(table, "max_tokens", what));
  if (tokens) {
    RETURN_IF_ERROR(range(*tokens > 0 && *tokens <= INT32_MAX, what, "max_tokens",
                          static_cast<double>(*tokens), "1 or more"));
    spec.max_tokens = static_cast<int>(*tokens);
  }
  if (greedy) {
    if (*greedy && temperature && *temperature > 0) {
      return invalid("{}: \"greedy\" is true and \"temperature\" is {}; give one of them", what,
                     *temperature);
    }
    sampling.greedy = *greedy;
  }
  return {};
}

Status read_limits(const Json& table, std::string_view what, AgentSpec& spec) {
  RETURN_IF_ERROR(only_known(table, {"max_tokens", "seconds", "memory"}, what));
  ASSIGN_OR_RETURN(const auto tokens, get_int(table, "max_tokens", what));
  if (tokens) {
    RETURN_IF_ERROR(range(*tokens > 0 && *tokens <= INT32_MAX, what, "max_tokens",
                          static_cast<double>(*tokens), "1 or more"));
    spec.max_tokens = static_cast<int>(*tokens);
  }
  ASSIGN_OR_RETURN(const auto seconds, get_number(table, "seconds", what));
  if (seconds) {
    RETURN_IF_ERROR(range(*seconds > 0 && *seconds <= 1e6, what, "seconds", *seconds, "above 0"));
    spec.seconds_max = *seconds;
  }
  const auto memory = table.find("memory");
  if (memory != table.end()) {
    const std::string text = memory->is_string() ? memory->get<std::string>() : to_line(*memory);
    auto bytes = parse_bytes(text);
    if (!bytes) return std::move(bytes).error().in(std::string(what) + ": \"memory\"");
    spec.memory_max = *bytes;
  }
  return {};
}

Status read_requires(const Json& table, std::string_view what, AgentSpec& spec) {
  RETURN_IF_ERROR(only_known(table, {"models", "adapters", "lua", "executables", "mcp"}, what));
  ASSIGN_OR_RETURN(spec.requirements.models, strings(table, "models", what));
  ASSIGN_OR_RETURN(spec.requirements.adapters, strings(table, "adapters", what));
  ASSIGN_OR_RETURN(spec.requirements.lua, strings(table, "lua", what));
  ASSIGN_OR_RETURN(spec.requirements.executables, strings(table, "executables", what));
  ASSIGN_OR_RETURN(spec.requirements.mcp, strings(table, "mcp", what));
  return {};
}

Status read_answer(const Json& table, std::string_view what, AgentSpec& spec) {
  RETURN_IF_ERROR(only_known(table, {"labels_from_task", "choices", "schema"}, what));
  ASSIGN_OR_RETURN(const auto labels, get_bool(table, "labels_from_task", what));
  spec.labels_from_task = labels.value_or(false);
  ASSIGN_OR_RETURN(spec.choices, strings(table, "choices", what));
  if (!spec.choices.empty()) {
    auto made = text::make_choices(spec.choices);
    if (!made) return std::move(made).error().in(std::string(what) + ": \"choices\"");
  }
  ASSIGN_OR_RETURN(const auto schema, get_string(table, "schema", what));
  if (schema) {
    if (!spec.choices.empty()) {
      return invalid("{}: \"choices\" and \"schema\" are both given; give one of them", what);
    }
    const auto path = spec.folder / *schema;
    ASSIGN_OR_RETURN(const std::string bytes, read_file(path, kFileBytesMax));
    auto parsed = parse_json(bytes);
    if (!parsed) return std::move(parsed).error().in(path.string());
    auto made = text::make_json_schema(*parsed);
    if (!made) return std::move(made).error().in(path.string());
    spec.schema = std::move(*parsed);
  }
  return {};
}

Status read_toml(const std::filesystem::path& path, AgentSpec& spec) {
  const std::string what = path.string();
  ASSIGN_OR_RETURN(const std::string bytes, read_file(path, kFileBytesMax));
  ASSIGN_OR_RETURN(const Json table, parse_toml(bytes, what));
  RETURN_IF_ERROR(only_known(table, {"name", "description", "role", "model", "adapter", "skills",
                                     "sampling", "limits", "requires", "answer", "serves"}, what));
  ASSIGN_OR_RETURN(const auto name, get_string(table, "name", what));
  if (name) spec.name = *name;
  ASSIGN_OR_RETURN(const auto description, get_string(table, "description", what));
  spec.description = description.value_or("");
  ASSIGN_OR_RETURN(const auto role, get_string(table, "role", what));
  if (role) {
    ASSIGN_OR_RETURN(spec.role, parse_role(*role, what));
  }
  ASSIGN_OR_RETURN(const auto model, get_string(table, "model", what));
  spec.model = model.value_or("");
  ASSIGN_OR_RETURN(const auto adapter, get_string(table, "adapter", what));
  spec.adapter = adapter.value_or("");
  ASSIGN_OR_RETURN(spec.skills, strings(table, "skills", what));
  ASSIGN_OR_RETURN(const Json sampling, sub_table(table, "sampling", what));
  RETURN_IF_ERROR(read_sampling(sampling, what + " [sampling]", spec));
  ASSIGN_OR_RETURN(const Json limits, sub_table(table, "limits", what));
  RETURN_IF_ERROR(read_limits(limits, what + " [limits]", spec));
  ASSIGN_OR_RETURN(const Json requirements, sub_table(table, "requires", what));
  RETURN_IF_ERROR(read_requires(requirements, what + " [requires]", spec));
  ASSIGN_OR_RETURN(const Json serves, sub_table(table, "serves", what));
  RETURN_IF_ERROR(only_known(serves, {"kinds"}, what + " [serves]"));
  ASSIGN_OR_RETURN(spec.kinds, strings(serves, "kinds", what + " [serves]"));
  for (const auto& kind : spec.kinds) {
    if (kind.empty()) return invalid("{} [serves]: \"kinds\": found an empty string, expected the kind of a task", what);
  }
  ASSIGN_OR_RETURN(const Json answer, sub_table(table, "answer", what));
  return read_answer(answer, what + " [answer]", spec);
}

// The hub's tiny-agents: keys we have no use for are left alone, since the files are others'.
Status read_tiny_agent(const std::filesystem::path& path, AgentSpec& spec) {
  const std::string what = path.string();
  ASSIGN_OR_RETURN(const std::string bytes, read_file(path, kFileBytesMax));
  auto object = parse_json(bytes);
  if (!object) return std::move(object).error().in(what);
  if (!object->is_object()) {
    return invalid("{}: found {}, expected an object", what, json_kind(*object));
  }
  ASSIGN_OR_RETURN(const auto model, get_string(*object, "model", what));
  if (!model) return invalid("{}: \"model\" is missing", what);
  spec.model = *model;
  ASSIGN_OR_RETURN(const auto description, get_string(*object, "description", what));
  spec.description = description.value_or("");
  const auto servers = object->find("servers");
  if (servers == object->end()) return {};
  if (!servers->is_array()) {
    return invalid("{}: \"servers\" must be a list, found {}", what, json_kind(*servers));
  }
  for (const auto& server : *servers) {
    ASSIGN_OR_RETURN(const auto command, get_string(server, "command", what + " servers"));
    ASSIGN_OR_RETURN(const auto url, get_string(server, "url", what + " servers"));
    if (command) spec.requirements.mcp.push_back(*command);
    if (url) spec.requirements.mcp.push_back(*url);
  }
  return {};
}

Status read_markdown(const std::filesystem::path& path, AgentSpec& spec) {
  ASSIGN_OR_RETURN(const std::string bytes, read_file(path, kFileBytesMax));
  auto matter = parse_front_matter(bytes);
  if (!matter) return std::move(matter).error().in(path.string());
  const auto text = [&](const char* key) -> Result<std::string> {
    const auto at = matter->fields.find(key);
    if (at == matter->fields.end()) return std::string();
    if (!at->is_string()) {
      return invalid("{}: \"{}\": found a list, expected text", path.string(), key);
    }
    return at->get<std::string>();
  };
  ASSIGN_OR_RETURN(const std::string name, text("name"));
  if (!name.empty()) spec.name = name;
  ASSIGN_OR_RETURN(spec.description, text("description"));
  ASSIGN_OR_RETURN(spec.model, text("model"));
  if (spec.model == "inherit") spec.model.clear();
  spec.prompt = matter->body;
  return {};
}

Result<std::vector<std::pair<std::string, std::string>>> read_examples(
    const std::filesystem::path& path) {
  std::vector<std::pair<std::string, std::string>> examples;
  ASSIGN_OR_RETURN(const std::string bytes, read_file(path, kFileBytesMax));
  size_t begin = 0;
  for (int line = 1; begin < bytes.size(); ++line) {
    const size_t end = std::min(bytes.find('\n', begin), bytes.size());
    const std::string_view text(bytes.data() + begin, end - begin);
    begin = end + 1;
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string what = fmt::format("{}:{}", path.string(), line);
    auto object = parse_json(text);
    if (!object) return std::move(object).error().in(what);
    if (!object->is_object()) {
      return invalid("{}: found {}, expected an object", what, json_kind(*object));
    }
    RETURN_IF_ERROR(only_known(*object, {"prompt", "answer"}, what));
    ASSIGN_OR_RETURN(auto prompt, get_string(*object, "prompt", what));
    ASSIGN_OR_RETURN(auto answer, get_string(*object, "answer", what));
    if (!prompt || !answer) {
      return invalid("{}: \"{}\" is missing", what, prompt ? "answer" : "prompt");
    }
    examples.emplace_back(std::move(*prompt), std::move(*answer));
  }
  return examples;
}

// White space around a prompt is of the file, not of the message.
std::string trimmed(std::string text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

Status check_name(const std::string& name, const std::filesystem::path& path) {
  const bool good = !name.empty() && name.size() <= kNameMax &&
                    std::all_of(name.begin(), name.end(), [](char c) {
                      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                             (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
                    });
  if (good) return {};
  return invalid("{}: \"name\": found \"{}\", expected 1 to {} letters, digits, '-', '_' or '.'",
                 path.string(), name, kNameMax);
}

Result<std::string> adapter_identity(const AgentSpec& spec) {
  if (spec.adapter.empty()) return std::string();
  const auto folder = spec.folder / spec.adapter;
  std::error_code code;
  if (!std::filesystem::is_directory(folder, code)) {
    return not_found("{}: \"adapter\": no folder {}", spec.folder.string(), folder.string());
  }
  std::vector<std::filesystem::path> files;
  for (std::filesystem::directory_iterator it(folder, code), end; !code && it != end;
       it.increment(code)) {
    if (it->is_regular_file(code)) files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  Sha256 hash;
  for (const auto& file : files) {
    ASSIGN_OR_RETURN(const auto mapped, MappedFile::open(file));
    hash.update(file.filename().string());
    hash.update(mapped->bytes());
  }
  return hash.hex();
}

Result<std::string> generation_of(const AgentSpec& spec) {
  ASSIGN_OR_RETURN(const std::string adapter, adapter_identity(spec));
  const auto& s = spec.sampling;
  Json all{{"name", spec.name}, {"role", static_cast<int>(spec.role)}, {"model", spec.model},
           {"adapter", adapter}, {"skills", spec.skills}, {"max_tokens", spec.max_tokens},
           {"seconds", spec.seconds_max}, {"memory", spec.memory_max},
           {"sampling", {s.greedy, s.temperature, s.top_k, s.top_p, s.min_p, s.repetition_penalty,
                         s.seed, s.ignore_eos, s.stop}},
           {"labels_from_task", spec.labels_from_task}, {"choices", spec.choices},
           {"schema", spec.schema}, {"prompt", spec.prompt}, {"examples", spec.examples},
           {"script", spec.script}};
  return sha256_hex(to_line(all)).substr(0, 16);
}

}  // namespace

swarm::AgentId AgentSpec::id() const {
  const std::string text = name + "\n" + generation;
  return fnv1a(text.data(), text.size());
}

Result<AgentSpec> load_agent(const std::filesystem::path& path) {
  return load_agent(path, system_clock());
}

Result<AgentSpec> load_agent(const std::filesystem::path& path, const Clock& clock) {
  AgentSpec spec;
  std::error_code code;
  if (!std::filesystem::exists(path, code)) return not_found("no agent at {}", path.string());
  if (!std::filesystem::is_directory(path, code)) {
    spec.folder = path.parent_path();
    spec.name = path.stem().string();
    RETURN_IF_ERROR(read_markdown(path, spec));
  } else {
    spec.folder = path;
    spec.name = path.filename().empty() ? path.parent_path().filename().string()
                                        : path.filename().string();
    const auto has = [&](const char* name) { return std::filesystem::exists(path / name, code); };
    const char* prompt = "PROMPT.md";
    if (has("agent.toml")) {
      RETURN_IF_ERROR(read_toml(path / "agent.toml", spec));
    } else if (has("agent.json")) {
      RETURN_IF_ERROR(read_tiny_agent(path / "agent.json", spec));
      if (!has(prompt)) prompt = "AGENTS.md";
    } else {
      return not_found("{}: found neither agent.toml nor agent.json", path.string());
    }
    if (has(prompt)) {
      ASSIGN_OR_RETURN(spec.prompt, read_file(path / prompt, kFileBytesMax));
    }
    if (spec.adapter.empty() && has("adapter/adapter_config.json")) spec.adapter = "adapter";
    if (has("examples.jsonl")) {
      ASSIGN_OR_RETURN(spec.examples, read_examples(path / "examples.jsonl"));
    }
    if (has("script.lua")) {
      ASSIGN_OR_RETURN(spec.script, read_file(path / "script.lua", kFileBytesMax));
      const std::string name = spec.name + "/script.lua";
      ScriptLimits limits;  // the agent's may be narrower or wider
      if (spec.memory_max > 0) limits.memory_bytes = std::min<uint64_t>(spec.memory_max, 1 << 30);
      ASSIGN_OR_RETURN(spec.program, Script::load(name, spec.script, clock, limits));
    }
  }
  RETURN_IF_ERROR(check_name(spec.name, path));
  spec.prompt = trimmed(std::move(spec.prompt));
  ASSIGN_OR_RETURN(spec.generation, generation_of(spec));
  return spec;
}

std::vector<std::string> about_texts(const AgentSpec& agent) {
  std::vector<std::string> texts;
  if (!agent.description.empty()) texts.push_back(agent.description);
  if (!agent.skills.empty()) texts.push_back(fmt::format("{}", fmt::join(agent.skills, ", ")));
  const size_t count = std::min(agent.examples.size(), kAboutExamples);
  for (size_t i = 0; i < count; ++i) texts.push_back(agent.examples[i * agent.examples.size() / count].first);
  std::erase_if(texts, [](const std::string& text) { return text.find_first_not_of(" \t\r\n") == std::string::npos; });
  return texts;
}

// ---- requirements ----

namespace {

// "name@version" apart; the version is "" when none is given.
std::pair<std::string, std::string> versioned(const std::string& text) {
  const size_t at = text.rfind('@');
  if (at == std::string::npos || at == 0) return {text, ""};
  return {text.substr(0, at), text.substr(at + 1)};
}

bool looks_like_hash(const std::string& text) {
  return text.size() >= 8 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::filesystem::path find_executable(const std::string& name) {
  std::error_code code;
  if (name.find('/') != std::string::npos) {
    return std::filesystem::is_regular_file(name, code) ? std::filesystem::path(name) : "";
  }
  const char* path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): nobody sets variables
  const std::string_view folders = path == nullptr ? "" : path;
  for (size_t begin = 0; begin < folders.size();) {
    const size_t end = std::min(folders.find(':', begin), folders.size());
    const auto file = std::filesystem::path(folders.substr(begin, end - begin)) / name;
    const auto status = std::filesystem::status(file, code);
    if (!code && std::filesystem::is_regular_file(status) &&
        (status.permissions() & std::filesystem::perms::others_exec) !=
            std::filesystem::perms::none) {
      return file;
    }
    begin = end + 1;
  }
  return {};
}

// "" or what is wrong with the file's hash.
std::string hash_problem(const std::filesystem::path& file, const std::string& hash) {
  if (hash.empty()) return "";
  if (!looks_like_hash(hash)) return "version " + hash + " cannot be checked; give a SHA-256";
  const auto mapped = MappedFile::open(file);
  if (!mapped) return mapped.error().message;
  Sha256 found;
  found.update((*mapped)->bytes());
  const std::string hex = found.hex();
  return hex.starts_with(hash) ? "" : "found SHA-256 " + hex.substr(0, 16) + ", expected " + hash;
}

}  // namespace

std::vector<std::string> missing_requirements(const AgentSpec& agent, const std::filesystem::path& hub_cache) {
  std::vector<std::string> missing;
  std::error_code code;
  for (const auto& required : agent.requirements.models) {
    const auto [name, version] = versioned(required);
    if (std::filesystem::exists(name, code)) {
      if (const auto why = std::filesystem::is_directory(name, code) ? "" : hash_problem(name, version);
          !why.empty()) {
        missing.push_back("model " + required + ": " + why);
      }
      continue;
    }
    std::string folder = "models--" + name;
    if (const size_t slash = folder.find('/'); slash != std::string::npos) {
      folder.replace(slash, 1, "--");
    }
    const auto cached = hub_cache / folder;
    const bool there = version.empty() ? std::filesystem::exists(cached / "snapshots", code)
                                       : std::filesystem::exists(cached / "snapshots" / version, code) ||
                                             std::filesystem::exists(cached / "refs" / version, code);
    if (!there) missing.push_back("model " + required + ": not in " + cached.string());
  }
  for (const auto& required : agent.requirements.adapters) {
    const auto [name, version] = versioned(required);
    const auto weights = agent.folder / name / "adapter_model.safetensors";
    if (!std::filesystem::exists(weights, code)) {
      missing.push_back("adapter " + required + ": no file " + weights.string());
    } else if (const auto why = hash_problem(weights, version); !why.empty()) {
      missing.push_back("adapter " + required + ": " + why);
    }
  }
  for (const auto& required : agent.requirements.lua) {
    const auto [name, version] = versioned(required);
    const bool known = name == "string" || name == "table" || name == "math" || name == "utf8";
    if (!known) missing.push_back("lua " + required + ": the sandbox has string, table, math, utf8");
    if (known && !version.empty() && version != "5.4") {
      missing.push_back("lua " + required + ": the sandbox is Lua 5.4");
    }
  }
  for (const auto& [kind, list] : {std::pair{"executable ", &agent.requirements.executables},
                                   std::pair{"mcp ", &agent.requirements.mcp}}) {
    for (const auto& required : *list) {
      if (required.starts_with("http://") || required.starts_with("https://")) continue;
      const auto [name, version] = versioned(required);
      const auto file = find_executable(name);
      if (file.empty()) {
        missing.push_back(kind + required + ": not found in PATH");
      } else if (const auto why = hash_problem(file, version); !why.empty()) {
        missing.push_back(kind + required + ": " + why);
      }
    }
  }
  return missing;
}

}  // namespace colony::agent
