#include "engine/peft.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/log.h"
#include "text/regex.h"

namespace colony::engine {
namespace {

using model::BaseModule;

// null, false, 0, "", [] and {}: an option that is off.
bool neutral(const Json& value) {
  if (value.is_null()) return true;
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number()) return value.get<double>() == 0;
  return value.empty() || (value.is_string() && value.get_ref<const std::string&>().empty());
}

// The fields of PEFT's LoraConfig (0.21) that change what an adapter computes and are not implemented.
const std::set<std::string_view>& unsupported() {
  static const std::set<std::string_view> keys = {
      "trainable_token_indices", "layer_replication", "alora_invocation_tokens", "target_parameters", "use_qalora", "use_bdlora", "arrow_config",
      "kasa_config", "monteclora_config"};
  return keys;
}
// Those that say how the adapter was made, or for whom: they do not change what the weights mean. Initialisations that
// change the base are named by init_lora_weights too, which is read.
const std::set<std::string_view>& harmless() {
  static const std::set<std::string_view> keys = {
      "auto_mapping", "base_model_name_or_path", "revision", "task_type", "inference_mode", "peft_version", "lora_dropout",
      "eva_config", "corda_config", "loftq_config", "megatron_config", "megatron_core", "qalora_group_size", "runtime_config",
      "ensure_weight_tying", "velora_config", "lora_ga_config"};
  return keys;
}
// Read below.
const std::set<std::string_view>& understood() {
  static const std::set<std::string_view> keys = {
      "peft_type", "r", "lora_alpha", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "rank_pattern",
      "alpha_pattern", "use_rslora", "use_dora", "bias", "modules_to_save", "init_lora_weights", "lora_bias", "fan_in_fan_out"};
  return keys;
}

using Pattern = std::shared_ptr<const text::Regex>;

Result<Pattern> whole(const std::string& pattern, std::string_view name, const char* key) {
  auto regex = text::Regex::compile(pattern, {.syntax = text::RegexSyntax::kPython});
  if (!regex) return std::move(regex).error().in(fmt::format("{}: \"{}\"", name, key));
  return *regex;
}
Result<bool> matches(const Pattern& pattern, const std::string& path, std::string_view name, const char* key) {
  auto found = pattern->matches(path);
  if (!found) return std::move(found).error().in(fmt::format("{}: \"{}\"", name, key));
  return *found;
}

// A list of strings, or one string taken as a pattern.
struct Names {
  bool given = false;
  std::vector<std::string> list;
  Pattern pattern;  // when a string was given
  std::string text;
};
Result<Names> read_names(const Json& config, const char* key, std::string_view name) {
  Names names;
  if (!config.contains(key) || config[key].is_null()) return names;
  const Json& value = config[key];
  names.given = true;
  if (value.is_string()) {
    names.text = value.get<std::string>();
    ASSIGN_OR_RETURN(names.pattern, whole(names.text, name, key));
    return names;
  }
  if (!value.is_array()) return invalid("{}: \"{}\" is {}, expected a list of names or a pattern", name, key, json_kind(value));
  for (const Json& entry : value) {
    if (!entry.is_string()) return invalid("{}: \"{}\" holds {}, expected names", name, key, json_kind(entry));
    names.list.push_back(entry.get<std::string>());
  }
  names.given = !names.list.empty();
  return names;
}

bool ends_with_module(const std::string& path, const std::string& name) { return path.ends_with("." + name); }

// {pattern: number} in the file's order.
Result<std::vector<std::pair<Pattern, double>>> read_patterns(const Json& config, const char* key, std::string_view name) {
  std::vector<std::pair<Pattern, double>> list;
  if (!config.contains(key) || config[key].is_null()) return list;
  if (!config[key].is_object()) return invalid("{}: \"{}\" is {}, expected an object", name, key, json_kind(config[key]));
  for (const auto& [pattern, value] : config[key].items()) {
    if (!value.is_number() || !(value.get<double>() > 0)) {
      return invalid("{}: \"{}\": \"{}\" is {}, expected a number above 0", name, key, pattern, to_line(value));
    }
    ASSIGN_OR_RETURN(auto regex, whole("(?:.*\\.)?(?:" + pattern + ")", name, key));
    list.emplace_back(std::move(regex), value.get<double>());
  }
  return list;
}
Result<double> pick(const std::vector<std::pair<Pattern, double>>& list, const std::string& path, double otherwise,
                    std::string_view name, const char* key) {
  for (const auto& [pattern, value] : list) {
    ASSIGN_OR_RETURN(const bool hit, matches(pattern, path, name, key));
    if (hit) return value;
  }
  return otherwise;
}

// layers_to_transform: which layers a suffix of target_modules means.
struct Layers {
  std::vector<int64_t> wanted;  // empty: all
  std::vector<Pattern> patterns;

  Result<bool> has(const std::string& path, std::string_view name) const {
    if (wanted.empty()) return true;
    for (const Pattern& pattern : patterns) {
      auto found = pattern->find(path);
      if (!found) return std::move(found).error().in(fmt::format("{}: \"layers_pattern\"", name));
      if (!*found) continue;
      const auto [begin, end] = (*found)->back();  // a pattern may have groups of its own before it
      if (end - begin > 9) return false;
      return std::find(wanted.begin(), wanted.end(), std::stoll(path.substr(begin, end - begin))) != wanted.end();
    }
    return false;
  }
};
Result<Layers> read_layers(const Json& config, std::string_view name) {
  Layers layers;
  constexpr const char *kLayers = "layers_to_transform", *kPattern = "layers_pattern";
  if (config.contains(kLayers) && !config[kLayers].is_null()) {
    const Json& value = config[kLayers];
    for (const Json& layer : value.is_array() ? value : Json::array({value})) {
      if (!layer.is_number_integer() || layer.get<int64_t>() < 0) {
        return invalid("{}: \"{}\" is {}, expected layer numbers", name, kLayers, to_line(value));
      }
      layers.wanted.push_back(layer.get<int64_t>());
    }
  }
  std::vector<std::string> patterns;
  if (config.contains(kPattern) && !neutral(config[kPattern])) {
    const Json& value = config[kPattern];
    for (const Json& pattern : value.is_array() ? value : Json::array({value})) {
      if (!pattern.is_string()) return invalid("{}: \"{}\" is {}, expected names", name, kPattern, to_line(value));
      patterns.push_back(pattern.get<std::string>());
    }
  }
  if (patterns.empty()) patterns.push_back("[^.]*");
  for (const std::string& pattern : patterns) {
    auto regex = text::Regex::compile("^.*\\.(?:" + pattern + ")\\.(\\d+)\\.", {.syntax = text::RegexSyntax::kPython});
    if (!regex) return std::move(regex).error().in(fmt::format("{}: \"{}\"", name, kPattern));
    layers.patterns.push_back(*regex);
  }
  return layers;
}

Result<bool> targeted(const BaseModule& module, const Names& targets, const Layers& layers, std::string_view name) {
  const std::string& path = module.path;
  if (module.kind == BaseModule::Kind::kNorm) return false;
  if (targets.pattern) {
    std::string lower = targets.text;
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return c < 128 ? static_cast<char>(std::tolower(c)) : static_cast<char>(c); });
    if (lower == "all-linear") return module.kind == BaseModule::Kind::kLinear;
    return matches(targets.pattern, path, name, "target_modules");
  }
  if (std::find(targets.list.begin(), targets.list.end(), path) != targets.list.end()) return true;
  const bool hit = std::any_of(targets.list.begin(), targets.list.end(), [&](const std::string& target) { return ends_with_module(path, target); });
  if (!hit) return false;
  return layers.has(path, name);
}

}  // namespace

Result<model::LoraSpec> parse_peft(const Json& config, std::string_view name, const model::ModelConfig& base) {
  if (!config.is_object()) return invalid("{} is {}, expected an object", name, json_kind(config));
  ASSIGN_OR_RETURN(const auto kind, get_string(config, "peft_type", name));
  if (!kind) return invalid("{}: \"peft_type\" is missing", name);
  if (*kind != "LORA") return invalid("{}: \"peft_type\" is \"{}\"; LORA is supported", name, *kind);
  std::string unknown;
  for (const auto& [key, value] : config.items()) {
    if (harmless().contains(key) || understood().contains(key) || neutral(value)) continue;
    if (unsupported().contains(key)) return invalid("{}: \"{}\" is {}; this option is not supported", name, key, to_line(value).substr(0, 200));
    unknown += (unknown.empty() ? "" : ", ") + to_line(Json(key));
  }
  if (!unknown.empty()) log_warn("{}: left out what PEFT does not know either: {}", name, unknown.substr(0, 400));
  ASSIGN_OR_RETURN(const auto bias, get_string(config, "bias", name));
  if (bias.value_or("none") != "none") return invalid("{}: \"bias\" is \"{}\"; only \"none\" is supported", name, *bias);
  if (config.contains("init_lora_weights") && config["init_lora_weights"].is_string()) {
    const auto init = config["init_lora_weights"].get<std::string>();
    for (const char* changes_base : {"pissa", "olora", "loftq", "corda"}) {
      if (init.starts_with(changes_base)) {
        return invalid("{}: \"init_lora_weights\" is \"{}\", which changes the base model; convert the adapter to plain LoRA with PEFT", name, init);
      }
    }
  }
  ASSIGN_OR_RETURN(const auto r, get_int(config, "r", name));
  ASSIGN_OR_RETURN(const auto alpha, get_number(config, "lora_alpha", name));
  ASSIGN_OR_RETURN(const auto rslora, get_bool(config, "use_rslora", name));
  ASSIGN_OR_RETURN(const auto dora, get_bool(config, "use_dora", name));
  if (r.value_or(8) < 1) return invalid("{}: \"r\" is {}, expected 1 or more", name, *r);
  ASSIGN_OR_RETURN(auto targets, read_names(config, "target_modules", name));
  ASSIGN_OR_RETURN(const auto excluded, read_names(config, "exclude_modules", name));
  ASSIGN_OR_RETURN(const auto layers, read_layers(config, name));
  ASSIGN_OR_RETURN(const auto ranks, read_patterns(config, "rank_pattern", name));
  ASSIGN_OR_RETURN(const auto alphas, read_patterns(config, "alpha_pattern", name));
  ASSIGN_OR_RETURN(const auto saved, read_names(config, "modules_to_save", name));
  if (saved.pattern) return invalid("{}: \"modules_to_save\" is a string, expected a list of names", name);
  if (!targets.given) targets.list = {"q_proj", "v_proj"};  // PEFT's default for llama

  model::LoraSpec spec;
  for (const BaseModule& module : model::base_modules(base)) {
    const bool keep = std::any_of(saved.list.begin(), saved.list.end(), [&](const std::string& save) {
      return module.path == save || ends_with_module(module.path, save);
    });
    if (keep) spec.saved.push_back(module.path);
    ASSIGN_OR_RETURN(const bool hit, targeted(module, targets, layers, name));
    if (!hit) continue;
    bool out = std::any_of(excluded.list.begin(), excluded.list.end(), [&](const std::string& exclude) {
      return module.path == exclude || ends_with_module(module.path, exclude);
    });
    if (excluded.pattern) {
      ASSIGN_OR_RETURN(out, matches(excluded.pattern, module.path, name, "exclude_modules"));
    }
    if (out || keep) continue;
    ASSIGN_OR_RETURN(const double rank, pick(ranks, module.path, static_cast<double>(r.value_or(8)), name, "rank_pattern"));
    ASSIGN_OR_RETURN(const double own_alpha, pick(alphas, module.path, alpha.value_or(8), name, "alpha_pattern"));
    if (rank != std::floor(rank) || rank > 4096) return invalid("{}: \"rank_pattern\" gives {} the rank {}, expected a whole number up to 4096", name, module.path, rank);
    spec.modules.push_back({module.path, static_cast<int64_t>(rank),
                            own_alpha / (rslora.value_or(false) ? std::sqrt(rank) : rank), dora.value_or(false)});
  }
  if (spec.modules.empty() && spec.saved.empty()) return invalid("{}: \"target_modules\" names no module of this base model", name);
  return spec;
}

Result<model::LoraSpec> read_peft(const std::filesystem::path& folder, const model::ModelConfig& base) {
  const auto file = folder / "adapter_config.json", weights = folder / "adapter_model.safetensors";
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) {
    return not_found("{} is no adapter: it holds no adapter_config.json", folder.string());
  }
  ASSIGN_OR_RETURN(const auto text, read_file(file, 16 << 20));
  RETURN_IF_ERROR(check_not_mistaken(text, file.string()));
  auto json = parse_json(text, {.unique_keys = true});
  if (!json) return corrupt("{}: {}", file.string(), json.error().message);
  if (!std::filesystem::exists(weights, ignored)) {
    const bool pickled = std::filesystem::exists(folder / "adapter_model.bin", ignored);
    return not_found("{} holds no adapter_model.safetensors{}", folder.string(),
                     pickled ? "; adapter_model.bin is a pickle, which can run code and is not read: save it again as safetensors" : "");
  }
  ASSIGN_OR_RETURN(auto spec, parse_peft(*json, file.string(), base));
  spec.weights = weights;
  return spec;
}

}  // namespace colony::engine
