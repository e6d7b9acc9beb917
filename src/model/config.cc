#include "model/config.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace colony::model {
namespace {

constexpr int64_t kPositionsMax = 1 << 26;

// v5 puts everything into rope_parameters, maybe once for each type of layer; v4 has rope_theta at the top and
// rope_scaling. `layers`: "full_attention" or "sliding_attention" where the family has both, else "".
Status read_rope(const Json& config, std::string_view name, const char* layers, double theta, RopeConfig& rope) {
  const std::string what(name);
  const Json* dict = nullptr;
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    if (config.contains(key) && !config[key].is_null()) {
      if (!config[key].is_object()) return invalid("{}: \"{}\" must be an object, found {}", what, key, json_kind(config[key]));
      dict = &config[key];
      break;
    }
  }
  const Json empty = Json::object();
  if (dict != nullptr && *layers != '\0' && dict->contains(layers)) {
    if (!(*dict)[layers].is_object()) return invalid("{}: rope parameters: \"{}\" must be an object, found {}", what, layers, json_kind((*dict)[layers]));
    dict = &(*dict)[layers];
  }
  const Json& r = dict == nullptr ? empty : *dict;
  for (const auto& [key, value] : r.items()) {
    if (value.is_object()) return invalid("{}: rope parameters per layer type ({}) are not supported", what, key);
  }
  const auto number = [&](const char* key, double fallback) -> Result<double> {
    ASSIGN_OR_RETURN(const auto inside, get_number(r, key, what));
    if (inside) return *inside;
    ASSIGN_OR_RETURN(const auto outside, get_number(config, key, what));
    return outside.value_or(fallback);
  };
  ASSIGN_OR_RETURN(rope.theta, number("rope_theta", theta));
  ASSIGN_OR_RETURN(rope.partial_rotary_factor, number("partial_rotary_factor", 1.0));
  ASSIGN_OR_RETURN(auto kind, get_string(r, "rope_type", what));
  if (!kind) {
    ASSIGN_OR_RETURN(kind, get_string(r, "type", what));
  }
  const std::string type = kind.value_or("default");
  if (type == "default") {
    rope.kind = RopeConfig::Kind::kDefault;
    return {};
  }
  if (type == "linear") rope.kind = RopeConfig::Kind::kLinear;
  else if (type == "dynamic") rope.kind = RopeConfig::Kind::kDynamic;
  else if (type == "llama3") rope.kind = RopeConfig::Kind::kLlama3;
  else if (type == "yarn") rope.kind = RopeConfig::Kind::kYarn;
  else return invalid("{}: rope type \"{}\" is not supported (default, linear, dynamic, llama3, yarn are)", what, type);

  ASSIGN_OR_RETURN(const auto factor, get_number(r, "factor", what));
  ASSIGN_OR_RETURN(const auto original_inside, get_int(r, "original_max_position_embeddings", what));
  ASSIGN_OR_RETURN(const auto original_outside, get_int(config, "original_max_position_embeddings", what));
  ASSIGN_OR_RETURN(const auto longest, get_int(config, "max_position_embeddings", what));
  rope.original_max_position_embeddings =
      original_outside ? *original_outside : original_inside ? *original_inside : longest.value_or(2048);
  if (factor) {
    rope.factor = *factor;
  } else if (type == "yarn" && rope.original_max_position_embeddings > 0) {
    rope.factor = static_cast<double>(longest.value_or(2048)) / static_cast<double>(rope.original_max_position_embeddings);
  } else {
    return invalid("{}: rope type \"{}\" needs \"factor\"", what, type);
  }
  ASSIGN_OR_RETURN(rope.low_freq_factor, number("low_freq_factor", 1.0));
  ASSIGN_OR_RETURN(rope.high_freq_factor, number("high_freq_factor", 4.0));
  ASSIGN_OR_RETURN(rope.beta_fast, number("beta_fast", 32.0));
  ASSIGN_OR_RETURN(rope.beta_slow, number("beta_slow", 1.0));
  ASSIGN_OR_RETURN(rope.attention_factor, get_number(r, "attention_factor", what));
  ASSIGN_OR_RETURN(rope.mscale, get_number(r, "mscale", what));
  ASSIGN_OR_RETURN(rope.mscale_all_dim, get_number(r, "mscale_all_dim", what));
  ASSIGN_OR_RETURN(const auto truncate, get_bool(r, "truncate", what));
  rope.truncate = truncate.value_or(true);
  if (!(rope.factor > 0) || rope.original_max_position_embeddings <= 0 ||
      !(rope.low_freq_factor > 0) || rope.high_freq_factor == rope.low_freq_factor) {
    return invalid("{}: rope parameters are out of range (factor {}, original_max_position_embeddings {})", what,
                   rope.factor, rope.original_max_position_embeddings);
  }
  return {};
}

int64_t stretched(int64_t trained, double factor) {
  return static_cast<int64_t>(std::min(static_cast<double>(kPositionsMax), static_cast<double>(trained) * std::max(1.0, factor)));
}

Status between(int64_t value, int64_t low, int64_t high, const char* key, std::string_view name) {
  if (value < low || value > high) {
    return invalid("{}: {} is {}, expected {} to {}", name, key, value, low, high);
  }
  return {};
}

}  // namespace

Result<std::vector<int32_t>> read_token_ids(const Json& object, const char* key, std::string_view name) {
  std::vector<int32_t> ids;
  if (!object.is_object() || !object.contains(key) || object[key].is_null()) return ids;
  const Json& value = object[key];
  const auto one = [&](const Json& id) -> Status {
    if (!id.is_number_integer()) return invalid("{}: \"{}\" must be a token id or a list of them, found {}", name, key, to_line(id));
    // -1 is "none" as many write it; an id beyond 32 bits is no vocabulary's.
    const uint64_t number = id.is_number_unsigned() || id.get<int64_t>() >= 0 ? id.get<uint64_t>() : UINT64_MAX;
    if (number <= INT32_MAX) ids.push_back(static_cast<int32_t>(number));
    return {};
  };
  if (!value.is_array()) {
    RETURN_IF_ERROR(one(value));
  } else {
    for (const auto& id : value) RETURN_IF_ERROR(one(id));
  }
  return ids;
}

int64_t ModelConfig::context_length() const {
  switch (rope.kind) {
    case RopeConfig::Kind::kLinear:
    case RopeConfig::Kind::kDynamic: return stretched(max_position_embeddings, rope.factor);
    case RopeConfig::Kind::kYarn:
      return std::max(max_position_embeddings, stretched(rope.original_max_position_embeddings, rope.factor));
    case RopeConfig::Kind::kDefault:
    case RopeConfig::Kind::kLlama3: break;
  }
  return max_position_embeddings;
}

Status validate(ModelConfig& c, std::string_view name) {
  RETURN_IF_ERROR(between(c.hidden_size, 1, 1 << 20, "hidden_size", name));
  RETURN_IF_ERROR(between(c.intermediate_size, 1, 1 << 22, "intermediate_size", name));
  RETURN_IF_ERROR(between(c.num_hidden_layers, 1, 4096, "num_hidden_layers", name));
  RETURN_IF_ERROR(between(c.num_attention_heads, 1, 4096, "num_attention_heads", name));
  RETURN_IF_ERROR(between(c.num_key_value_heads, 1, c.num_attention_heads, "num_key_value_heads", name));
  RETURN_IF_ERROR(between(c.head_dim, 2, 512, "head_dim", name));
  RETURN_IF_ERROR(between(c.vocab_size, 1, 1 << 24, "vocab_size", name));
  RETURN_IF_ERROR(between(c.max_position_embeddings, 1, kPositionsMax, "max_position_embeddings", name));
  if (c.num_attention_heads % c.num_key_value_heads != 0) {
    return invalid("{}: num_attention_heads {} is no multiple of num_key_value_heads {}", name,
                   c.num_attention_heads, c.num_key_value_heads);
  }
  if (c.head_dim % 2 != 0) return invalid("{}: head_dim {} is odd", name, c.head_dim);
  if (!(c.rms_norm_eps >= 0 && c.rms_norm_eps < 1)) return invalid("{}: rms_norm_eps is {}", name, c.rms_norm_eps);
  for (const RopeConfig* rope : {&c.rope, c.window_rope ? &*c.window_rope : &c.rope}) {
    if (!(rope->theta > 1 && rope->theta < 1e15)) return invalid("{}: rope_theta is {}", name, rope->theta);
    if (!(rope->partial_rotary_factor > 0 && rope->partial_rotary_factor <= 1)) {
      return invalid("{}: partial_rotary_factor is {}, expected above 0 to 1", name, rope->partial_rotary_factor);
    }
  }
  if (c.attention_scale == 0) c.attention_scale = 1.0 / std::sqrt(static_cast<double>(c.head_dim));
  if (!(c.attention_scale > 0 && std::isfinite(c.attention_scale))) return invalid("{}: the scale of q·k is {}", name, c.attention_scale);
  CHECK(c.windows.empty() || static_cast<int64_t>(c.windows.size()) == c.num_hidden_layers, "a window for each layer");
  return {};
}

namespace {

// What qwen3 and gemma3_text say beyond llama's keys.
Status read_family(const Json& config, const std::string& what, bool gemma3, ModelConfig& c) {
  RETURN_IF_ERROR(between(c.num_hidden_layers, 1, 4096, "num_hidden_layers", what));
  c.qk_norm = true;
  ASSIGN_OR_RETURN(const auto window, get_int(config, "sliding_window", what));
  int64_t width = window.value_or(4096);
  // Which layers slide: layer_types where it is there, else each family's own rule.
  int64_t first = c.num_hidden_layers, period = 0;
  if (gemma3) {
    for (const char* key : {"attn_logit_softcapping", "final_logit_softcapping"}) {
      ASSIGN_OR_RETURN(const auto cap, get_number(config, key, what));
      if (cap) return invalid("{}: {} = {} is not supported", what, key, *cap);
    }
    ASSIGN_OR_RETURN(const auto both_ways, get_bool(config, "use_bidirectional_attention", what));
    if (both_ways.value_or(false)) return invalid("{}: use_bidirectional_attention is not supported", what);
    c.norm_offset = c.post_norms = true;
    ASSIGN_OR_RETURN(const auto scalar, get_number(config, "query_pre_attn_scalar", what));
    c.attention_scale = 1.0 / std::sqrt(scalar.value_or(256));
    c.embedding_scale = std::sqrt(static_cast<double>(c.hidden_size));
    ASSIGN_OR_RETURN(const auto own, get_number(config, "rope_local_base_freq", what));
    RopeConfig local;
    local.theta = own.value_or(1e4);
    if (config.contains("rope_parameters") && config["rope_parameters"].is_object() && config["rope_parameters"].contains("sliding_attention")) {
      RETURN_IF_ERROR(read_rope(config, what, "sliding_attention", local.theta, local));
      if (local.kind == RopeConfig::Kind::kDefault) local.partial_rotary_factor = 1.0;
    }
    if (local.kind == RopeConfig::Kind::kDynamic || c.rope.kind == RopeConfig::Kind::kDynamic) return invalid("{}: dynamic rope is not supported in gemma3_text", what);
    c.window_rope = local;
    ASSIGN_OR_RETURN(const auto pattern, get_int(config, "sliding_window_pattern", what));
    first = 0;
    period = pattern.value_or(6);
    if (period < 1) return invalid("{}: sliding_window_pattern is {}", what, period);
  } else {
    ASSIGN_OR_RETURN(const auto sliding, get_bool(config, "use_sliding_window", what));
    ASSIGN_OR_RETURN(const auto from, get_int(config, "max_window_layers", what));
    if (sliding.value_or(false)) first = from.value_or(28);
    else width = 0;
  }
  std::vector<uint8_t> slides(static_cast<size_t>(c.num_hidden_layers));
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) slides[static_cast<size_t>(i)] = i >= first && (period == 0 || (i + 1) % period != 0);
  if (config.contains("layer_types") && !config["layer_types"].is_null()) {
    const Json& types = config["layer_types"];
    if (!types.is_array() || types.size() != slides.size()) {
      return invalid("{}: \"layer_types\" must be a list of {} names", what, c.num_hidden_layers);
    }
    for (size_t i = 0; i < slides.size(); ++i) {
      const bool own = types[i] == "sliding_attention";
      if (!own && types[i] != "full_attention") return invalid("{}: \"layer_types\" holds {}; full_attention and sliding_attention are supported", what, to_line(types[i]));
      slides[i] = own;
    }
  }
  if (std::find(slides.begin(), slides.end(), 1) == slides.end()) return {};
  if (width < 1) return invalid("{}: sliding_window is {}, and layers with a window need one", what, width);
  for (const uint8_t own : slides) c.windows.push_back(own != 0 ? width : 0);
  return {};
}

}  // namespace

Result<ModelConfig> parse_model_config(const Json& config, std::string_view name) {
  const std::string what(name);
  if (!config.is_object()) return invalid("{}: expected an object, found {}", what, json_kind(config));
  ModelConfig c;
  ASSIGN_OR_RETURN(const auto type, get_string(config, "model_type", what));
  if (!type) return invalid("{}: \"model_type\" is missing", what);
  const bool qwen3 = *type == "qwen3", gemma3 = *type == "gemma3_text";
  if (*type != "llama" && !qwen3 && !gemma3) {
    return invalid("{}: model_type \"{}\" is not supported (llama, qwen3 and gemma3_text are)", what, *type);
  }
  c.model_type = *type;
  if (config.contains("quantization_config") && !config["quantization_config"].is_null()) {
    const auto& q = config["quantization_config"];
    return invalid("{}: quantization_config ({}) is not supported; use unquantised safetensors or a GGUF file", what,
                   q.is_object() && q.contains("quant_method") ? to_line(q["quant_method"]) : "no quant_method");
  }
  const auto integer = [&](const char* key, int64_t fallback, int64_t& into) -> Status {
    ASSIGN_OR_RETURN(const auto value, get_int(config, key, what));
    into = value.value_or(fallback);
    return {};
  };
  // Defaults of transformers' LlamaConfig, Qwen3Config, Gemma3TextConfig.
  const auto by_family = [&](int64_t for_llama, int64_t for_qwen3, int64_t for_gemma3) { return gemma3 ? for_gemma3 : qwen3 ? for_qwen3 : for_llama; };
  RETURN_IF_ERROR(integer("hidden_size", by_family(4096, 4096, 2304), c.hidden_size));
  RETURN_IF_ERROR(integer("intermediate_size", by_family(11008, 22016, 9216), c.intermediate_size));
  RETURN_IF_ERROR(integer("num_hidden_layers", by_family(32, 32, 26), c.num_hidden_layers));
  RETURN_IF_ERROR(integer("num_attention_heads", by_family(32, 32, 8), c.num_attention_heads));
  RETURN_IF_ERROR(integer("num_key_value_heads", by_family(c.num_attention_heads, c.num_attention_heads, std::min<int64_t>(4, c.num_attention_heads)), c.num_key_value_heads));
  RETURN_IF_ERROR(between(c.num_attention_heads, 1, 4096, "num_attention_heads", what));
  RETURN_IF_ERROR(integer("head_dim", by_family(c.hidden_size / c.num_attention_heads, 128, 256), c.head_dim));
  RETURN_IF_ERROR(integer("vocab_size", by_family(32000, 151936, 262208), c.vocab_size));
  RETURN_IF_ERROR(integer("max_position_embeddings", by_family(2048, 32768, 131072), c.max_position_embeddings));
  ASSIGN_OR_RETURN(const auto eps, get_number(config, "rms_norm_eps", what));
  c.rms_norm_eps = eps.value_or(1e-6);
  // Gemma's configuration carries a hidden_act too, which nothing reads.
  const char* act = gemma3 ? "hidden_activation" : "hidden_act";
  ASSIGN_OR_RETURN(const auto activation, get_string(config, act, what));
  c.gelu = gemma3;
  if (activation && (gemma3 ? *activation != "gelu_pytorch_tanh" : *activation != "silu" && *activation != "swish")) {
    return invalid("{}: {} \"{}\" is not supported ({} is)", what, act, *activation, gemma3 ? "gelu_pytorch_tanh" : "silu");
  }
  const auto flag = [&](const char* key, bool fallback, bool& into) -> Status {
    ASSIGN_OR_RETURN(const auto value, get_bool(config, key, what));
    into = value.value_or(fallback);
    return {};
  };
  RETURN_IF_ERROR(flag("attention_bias", false, c.attention_bias));
  if (*type == "llama") RETURN_IF_ERROR(flag("mlp_bias", false, c.mlp_bias));  // the others' feed-forward part has none
  RETURN_IF_ERROR(flag("tie_word_embeddings", gemma3, c.tie_word_embeddings));
  RETURN_IF_ERROR(read_rope(config, what, gemma3 ? "full_attention" : "", gemma3 ? 1e6 : 1e4, c.rope));
  // Transformers 5 ignores partial_rotary_factor where the rope is not scaled.
  if (c.rope.kind == RopeConfig::Kind::kDefault) c.rope.partial_rotary_factor = 1.0;
  if (qwen3 || gemma3) RETURN_IF_ERROR(read_family(config, what, gemma3, c));
  ASSIGN_OR_RETURN(c.eos_token_ids, read_token_ids(config, "eos_token_id", what));
  ASSIGN_OR_RETURN(const auto bos, read_token_ids(config, "bos_token_id", what));
  ASSIGN_OR_RETURN(const auto pad, read_token_ids(config, "pad_token_id", what));
  if (!bos.empty()) c.bos_token_id = bos[0];
  if (!pad.empty()) c.pad_token_id = pad[0];
  RETURN_IF_ERROR(validate(c, what));
  return c;
}

}  // namespace colony::model
