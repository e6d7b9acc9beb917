#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "base/log.h"
#include "base/digest.h"

namespace colony::model {
namespace {

bool is_weight(DType type) {
  switch (type) {
    case DType::kF64: case DType::kF32: case DType::kF16: case DType::kBf16: case DType::kQ8_0:
    case DType::kQ4_0: case DType::kQ4_1: case DType::kQ5_0: case DType::kQ5_1: case DType::kQ4_K:
    case DType::kQ5_K: case DType::kQ6_K: return true;
    default: return false;
  }
}

// "model.layers.3.self_attn.q_proj.weight" -> "blk.3.attn_q.weight"; "" when GGUF has no such thing.
std::string gguf_name(const std::string& hf) {
  static const std::map<std::string, std::string> kWhole = {{"model.embed_tokens.weight", "token_embd.weight"},
                                                            {"model.norm.weight", "output_norm.weight"},
                                                            {"lm_head.weight", "output.weight"}};
  static const std::map<std::string, std::string> kPart = {
      {"input_layernorm", "attn_norm"},      {"post_attention_layernorm", "ffn_norm"},
      {"self_attn.q_proj", "attn_q"},        {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},        {"self_attn.o_proj", "attn_output"},
      {"mlp.gate_proj", "ffn_gate"},         {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"}};
  if (const auto at = kWhole.find(hf); at != kWhole.end()) return at->second;
  constexpr std::string_view kLayers = "model.layers.";
  if (!hf.starts_with(kLayers)) return "";
  const size_t dot = hf.find('.', kLayers.size()), last = hf.rfind('.');
  if (dot == std::string::npos || last <= dot) return "";
  const auto part = kPart.find(hf.substr(dot + 1, last - dot - 1));
  if (part == kPart.end()) return "";
  return "blk." + hf.substr(kLayers.size(), dot - kLayers.size()) + "." + part->second + hf.substr(last);
}

// How positions are scaled. As llama.cpp's load_hparams and llama_context (src/llama-model.cpp, src/llama-context.cpp): a
// factor without a type is linear, 0 is none, the old key counts where the new one is absent; yarn's magnitude is
// 0.1 ln(factor) + 1 times attn_factor, and its ramp is ggml_rope_yarn_corr_dims, which is Transformers' with truncate.
Status read_gguf_rope(const GgufFile& file, ModelConfig& c) {
  const std::string& name = file.name();
  const std::string prefix = "llama.rope.", scaling = prefix + "scaling.";
  ASSIGN_OR_RETURN(const auto theta, file.number(prefix + "freq_base"));
  c.rope.theta = theta.value_or(10000.0);
  ASSIGN_OR_RETURN(const auto given, file.text(scaling + "type"));
  const std::string type = given.value_or("linear");
  if (type != "none" && type != "linear" && type != "yarn") {
    return invalid("{}: {}type \"{}\" is not supported (none, linear, yarn are)", name, scaling, type);
  }
  std::string factor_key = scaling + "factor";
  ASSIGN_OR_RETURN(auto factor, file.number(factor_key));
  if (!factor) {
    factor_key = prefix + "scale_linear";
    ASSIGN_OR_RETURN(factor, file.number(factor_key));
  }
  if (factor && !(*factor >= 0 && *factor < 1e9)) return invalid("{}: {} is {}, expected 0 (none) or more", name, factor_key, *factor);
  // Each with the value at which it does nothing here.
  const bool yarn = type == "yarn";
  const auto only = [&](const std::string& key, double without) -> Status {
    ASSIGN_OR_RETURN(const auto value, file.number(scaling + key));
    if (value && *value != without && !(key == "yarn_ext_factor" && *value < 0)) {
      return invalid("{}: {}{} = {} with scaling type {} is not supported", name, scaling, key, *value, type);
    }
    return {};
  };
  RETURN_IF_ERROR(only("yarn_ext_factor", yarn ? 1 : 0));
  RETURN_IF_ERROR(only("yarn_attn_factor", 1));
  RETURN_IF_ERROR(only("yarn_log_multiplier", 0));
  if (!yarn) RETURN_IF_ERROR(only("attn_factor", 1));
  if (type == "none") return {};
  c.rope.factor = factor && *factor != 0 ? *factor : 1.0;
  if (!yarn) {
    if (c.rope.factor != 1) c.rope.kind = RopeConfig::Kind::kLinear;
    return {};
  }
  c.rope.kind = RopeConfig::Kind::kYarn;
  ASSIGN_OR_RETURN(const auto original, file.integer(scaling + "original_context_length"));
  c.rope.original_max_position_embeddings = original.value_or(c.max_position_embeddings);
  ASSIGN_OR_RETURN(const auto fast, file.number(scaling + "yarn_beta_fast"));
  ASSIGN_OR_RETURN(const auto slow, file.number(scaling + "yarn_beta_slow"));
  ASSIGN_OR_RETURN(const auto magnitude, file.number(scaling + "attn_factor"));
  c.rope.beta_fast = fast.value_or(32);
  c.rope.beta_slow = slow.value_or(1);
  if (!(c.rope.beta_fast > 0 && c.rope.beta_slow > 0) || c.rope.original_max_position_embeddings < 1 ||
      c.rope.original_max_position_embeddings > (1 << 26) || !(magnitude.value_or(1) > 0)) {
    return invalid("{}: {}original_context_length {}, yarn_beta_fast {}, yarn_beta_slow {}, attn_factor {} are out of range", name, scaling,
                   c.rope.original_max_position_embeddings, c.rope.beta_fast, c.rope.beta_slow, magnitude.value_or(1));
  }
  if (magnitude) c.rope.attention_factor = (c.rope.factor <= 1 ? 1.0 : 0.1 * std::log(c.rope.factor) + 1.0) * *magnitude;
  return {};
}

Result<ModelConfig> gguf_config(const GgufFile& file) {
  const std::string& name = file.name();
  ASSIGN_OR_RETURN(const auto arch, file.text("general.architecture"));
  if (!arch) return corrupt("{}: general.architecture is missing", name);
  if (auto good = check_gguf_architecture(*arch); !good) return std::move(good).error().in(name);
  ModelConfig c;
  c.model_type = "llama";
  const auto need = [&](const char* key, int64_t& into) -> Status {
    ASSIGN_OR_RETURN(const auto value, file.integer("llama." + std::string(key)));
    if (!value) return corrupt("{}: llama.{} is missing", name, key);
    into = *value;
    return {};
  };
  RETURN_IF_ERROR(need("embedding_length", c.hidden_size));
  RETURN_IF_ERROR(need("feed_forward_length", c.intermediate_size));
  RETURN_IF_ERROR(need("block_count", c.num_hidden_layers));
  RETURN_IF_ERROR(need("context_length", c.max_position_embeddings));
  RETURN_IF_ERROR(need("attention.head_count", c.num_attention_heads));
  ASSIGN_OR_RETURN(const auto kv_heads, file.integer("llama.attention.head_count_kv"));
  c.num_key_value_heads = kv_heads.value_or(c.num_attention_heads);
  if (c.num_attention_heads < 1) return corrupt("{}: llama.attention.head_count is {}", name, c.num_attention_heads);
  ASSIGN_OR_RETURN(const auto key_length, file.integer("llama.attention.key_length"));
  c.head_dim = key_length.value_or(c.hidden_size / c.num_attention_heads);
  ASSIGN_OR_RETURN(const auto rotary, file.integer("llama.rope.dimension_count"));
  if (rotary && *rotary != c.head_dim) {
    return invalid("{}: llama.rope.dimension_count {} differs from the head size {}, which is not supported", name,
                   *rotary, c.head_dim);
  }
  ASSIGN_OR_RETURN(const auto eps, file.number("llama.attention.layer_norm_rms_epsilon"));
  if (!eps) return corrupt("{}: llama.attention.layer_norm_rms_epsilon is missing", name);
  c.rms_norm_eps = static_cast<double>(static_cast<float>(*eps));
  RETURN_IF_ERROR(read_gguf_rope(file, c));
  for (const char* key : {"llama.expert_count", "llama.attention.sliding_window", "llama.attention.scale",
                          "llama.logit_scale", "llama.embedding_scale", "llama.residual_scale"}) {
    ASSIGN_OR_RETURN(const auto value, file.number(key));
    if (value && *value != 0) return invalid("{}: {} = {} is not supported", name, key, *value);
  }
  const auto embedding = file.tensors().find("token_embd.weight");
  if (embedding == file.tensors().end() || embedding->second.shape.size() != 2) {
    return corrupt("{}: token_embd.weight is missing or no matrix", name);
  }
  c.vocab_size = static_cast<int64_t>(embedding->second.shape[0]);
  c.tie_word_embeddings = !file.tensors().contains("output.weight");
  if (const auto at = file.tensors().find("rope_freqs.weight"); at != file.tensors().end()) {
    if (at->second.type != DType::kF32 || at->second.shape.size() != 1 ||
        static_cast<int64_t>(at->second.shape[0]) != c.head_dim / 2) {
      return corrupt("{}: rope_freqs.weight is no list of {} F32 numbers", name, c.head_dim / 2);
    }
    c.rope.divisors.resize(static_cast<size_t>(c.head_dim / 2));
    decode(DType::kF32, at->second.data.data(), c.rope.divisors);
  }
  const auto id = [&](const char* key) -> Result<std::optional<int32_t>> {
    ASSIGN_OR_RETURN(const auto value, file.integer(std::string("tokenizer.ggml.") + key));
    if (!value) return std::optional<int32_t>();
    if (*value < 0 || *value >= c.vocab_size) return std::optional<int32_t>();  // -1, also as 32 bits without sign: none
    return std::optional<int32_t>(static_cast<int32_t>(*value));
  };
  ASSIGN_OR_RETURN(const auto eos, id("eos_token_id"));
  if (eos) c.eos_token_ids.push_back(*eos);
  ASSIGN_OR_RETURN(c.bos_token_id, id("bos_token_id"));
  ASSIGN_OR_RETURN(c.pad_token_id, id("padding_token_id"));
  RETURN_IF_ERROR(validate(c, name));
  return c;
}

void hash_file(Sha256& hash, std::span<const std::byte> bytes, uint64_t header) {
  hash.update(fmt::format("{} {} ", bytes.size(), header));
  hash.update(bytes.first(std::min<uint64_t>(header, bytes.size())));
  const uint64_t stride = bytes.size() <= (4 << 20) ? 4096 : 256 << 10;  // small files whole
  for (uint64_t at = header; at < bytes.size(); at += stride) {
    hash.update(bytes.subspan(at, std::min<uint64_t>(4096, bytes.size() - at)));
  }
}

}  // namespace

Status check_gguf_architecture(std::string_view architecture) {
  if (architecture == "llama") return {};
  return invalid("general.architecture \"{}\" is not supported (llama is)", architecture);
}

const std::byte* WeightRef::row_data(int64_t row) const {
  int64_t at = row;
  if (permuted_heads > 0) {
    const int64_t head_rows = rows / permuted_heads;
    const int64_t head = row / head_rows, i = row % head_rows, half = head_rows / 2;
    at = head * head_rows + (i < half ? 2 * i : 2 * (i - half) + 1);
  }
  const auto [numbers, bytes] = block_shape(type);
  return data.data() + at * (columns / numbers) * bytes;
}

void WeightRef::row(int64_t row, std::span<float> out) const { decode(type, row_data(row), out); }

bool WeightRef::stored_row(int64_t row, const tensor::StoredRow& out) const {
  return decode_groups(type, row_data(row), out.q_most, out.d, out.m, out.q);
}

Result<Weights> Weights::open(const std::filesystem::path& path) {
  Weights w;
  Sha256 hash;
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return not_found("there is no model at {}", path.string());
  if (!std::filesystem::is_directory(path, ignored)) {
    ASSIGN_OR_RETURN(w.gguf_, GgufFile::open(path));
    ASSIGN_OR_RETURN(w.config_, gguf_config(*w.gguf_));
    for (const auto& part : w.gguf_->parts()) hash_file(hash, part.file->bytes(), part.header_bytes);
  } else {
    const auto file = path / "config.json";
    ASSIGN_OR_RETURN(const auto text, read_file(file, 16 << 20));
    RETURN_IF_ERROR(check_not_mistaken(text, file.string()));
    auto json = parse_json(text, {.unique_keys = true});
    if (!json) return corrupt("{}: {}", file.string(), json.error().message);
    ASSIGN_OR_RETURN(w.config_, parse_model_config(*json, file.string()));
    ASSIGN_OR_RETURN(w.files_, open_checkpoint(path));
    hash.update(text);
    for (const auto& shard : w.files_) hash_file(hash, shard->file()->bytes(), 8 + shard->header_bytes());
  }
  w.content_hash_ = hash.hex();
  return w;
}

std::optional<WeightRef> Weights::lookup(const std::string& name) const {
  WeightRef ref;
  if (gguf_) {
    const auto at = gguf_->tensors().find(gguf_name(name));
    if (at == gguf_->tensors().end()) return std::nullopt;
    ref.name = at->first;
    ref.type = at->second.type;
    ref.data = at->second.data;
    ref.file = at->second.file;
    const auto& shape = at->second.shape;
    if (shape.size() == 1) ref.rows = 1, ref.columns = static_cast<int64_t>(shape[0]);
    if (shape.size() == 2) ref.rows = static_cast<int64_t>(shape[0]), ref.columns = static_cast<int64_t>(shape[1]);
    const bool q = name.find("self_attn.q_proj.") != std::string::npos;
    const bool k = name.find("self_attn.k_proj.") != std::string::npos;
    if (q) ref.permuted_heads = config_.num_attention_heads;
    if (k) ref.permuted_heads = config_.num_key_value_heads;
    return ref;
  }
  constexpr std::string_view kPrefix = "model.";
  for (const auto& file : files_) {
    for (const std::string& candidate :
         {name, name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : "model." + name}) {
      const auto at = file->tensors().find(candidate);
      if (at == file->tensors().end()) continue;
      ref.name = at->first;
      ref.type = plain_type(at->second.dtype);
      ref.data = at->second.data;
      ref.file = file->file().get();
      const auto& shape = at->second.shape;
      if (shape.size() == 1) ref.rows = 1, ref.columns = static_cast<int64_t>(shape[0]);
      if (shape.size() == 2) ref.rows = static_cast<int64_t>(shape[0]), ref.columns = static_cast<int64_t>(shape[1]);
      return ref;
    }
  }
  return std::nullopt;
}

bool Weights::has(const std::string& name) const { return lookup(name).has_value(); }

Result<WeightRef> Weights::find(const std::string& name, int64_t rows, int64_t columns) const {
  const std::string where = gguf_ ? gguf_->name() : files_.front()->name();
  auto ref = lookup(name);
  if (!ref) return corrupt("{}: tensor {} is missing", where, name);
  if (!is_weight(ref->type)) {
    return invalid("{}: tensor {} is stored in a type that is not supported as a weight", where, ref->name);
  }
  // A permuted bias is a vector of head rows; read it as [rows, 1].
  if (ref->rows == 1 && columns == 1 && ref->columns == rows && rows > 1) std::swap(ref->rows, ref->columns);
  if (ref->rows != rows || ref->columns != columns) {
    return corrupt("{}: tensor {} has shape [{}, {}], the config says [{}, {}]", where, ref->name, ref->rows,
                   ref->columns, rows, columns);
  }
  const auto block = block_shape(ref->type);
  if (columns % block.numbers != 0) {
    return corrupt("{}: tensor {}: rows of {} numbers cut its blocks of {}", where, ref->name, columns, block.numbers);
  }
  return *ref;
}

Result<WeightRef> Weights::head() const {
  const auto &c = config_;
  const bool has_head = has("lm_head.weight"), has_embedding = has("model.embed_tokens.weight");
  if (has_head && has_embedding && c.tie_word_embeddings) {
    ASSIGN_OR_RETURN(auto head, find("lm_head.weight", c.vocab_size, c.hidden_size));
    ASSIGN_OR_RETURN(auto embedding, find("model.embed_tokens.weight", c.vocab_size, c.hidden_size));
    if (head.type == embedding.type && head.data.size() == embedding.data.size() &&
        std::memcmp(head.data.data(), embedding.data.data(), head.data.size()) == 0) {
      return embedding;
    }
    log_warn("lm_head and embed_tokens differ although tie_word_embeddings is true: kept apart");
    return head;
  }
  if (has_head) return find("lm_head.weight", c.vocab_size, c.hidden_size);
  if (!c.tie_word_embeddings && !gguf_) {
    log_warn("lm_head.weight is missing and tie_word_embeddings is false: the embedding is used");
  }
  return find("model.embed_tokens.weight", c.vocab_size, c.hidden_size);
}

uint64_t LayerNorms::bytes(const ModelConfig& c) {
  return static_cast<uint64_t>((c.post_norms ? 4 : 2) * c.hidden_size + (c.qk_norm ? 2 * c.head_dim : 0)) * sizeof(float);
}

Result<LayerNorms> Weights::layer_norms(int64_t layer) const {
  const ModelConfig& c = config_;
  const std::string prefix = fmt::format("model.layers.{}.", layer);
  LayerNorms norms;
  ASSIGN_OR_RETURN(norms.input, norm(prefix + "input_layernorm.weight", c.hidden_size));
  // What llama calls post_attention_layernorm stands before the feed-forward part; gemma means what it says.
  ASSIGN_OR_RETURN(norms.middle, norm(prefix + (c.post_norms ? "pre_feedforward_layernorm.weight" : "post_attention_layernorm.weight"), c.hidden_size));
  if (c.post_norms) {
    ASSIGN_OR_RETURN(norms.attention_post, norm(prefix + "post_attention_layernorm.weight", c.hidden_size));
    ASSIGN_OR_RETURN(norms.ffn_post, norm(prefix + "post_feedforward_layernorm.weight", c.hidden_size));
  }
  if (c.qk_norm) {
    ASSIGN_OR_RETURN(norms.q, norm(prefix + "self_attn.q_norm.weight", c.head_dim));
    ASSIGN_OR_RETURN(norms.k, norm(prefix + "self_attn.k_norm.weight", c.head_dim));
  }
  return norms;
}

Result<std::vector<float>> Weights::norm(const std::string& name, int64_t size) const {
  ASSIGN_OR_RETURN(const auto ref, find(name, 1, size));
  std::vector<float> values(static_cast<size_t>(size));
  ref.row(0, values);
  if (config_.norm_offset) {
    for (float& value : values) value += 1.0f;
  }
  return values;
}

bool Weights::has_bias(const std::string& module) const {
  if (gguf_) return has(module + ".bias");
  return module.find(".mlp.") != std::string::npos ? config_.mlp_bias : config_.attention_bias;
}

Result<std::vector<float>> Weights::biases(const std::vector<std::pair<std::string, int64_t>>& modules) const {
  std::vector<float> values;
  bool any = false;
  for (const auto& [module, outputs] : modules) {
    const size_t start = values.size();
    values.resize(start + static_cast<size_t>(outputs), 0.0f);
    if (!has_bias(module)) continue;
    any = true;
    ASSIGN_OR_RETURN(const auto ref, find(module + ".bias", outputs, 1));
    for (int64_t i = 0; i < outputs; ++i) ref.row(i, std::span(values).subspan(start + static_cast<size_t>(i), 1));
  }
  if (!any) values.clear();
  return values;
}

void Weights::warn_of_unread() const {
  const auto list = unread();
  if (list.empty()) return;
  constexpr size_t kShown = 4;
  std::string names;
  for (size_t i = 0; i < std::min(kShown, list.size()); ++i) names += (i == 0 ? "" : ", ") + to_line(Json(list[i]));
  if (list.size() > kShown) names += fmt::format(" and {} more", list.size() - kShown);
  log_warn("{}: {} {} not read, as this configuration has no use for {}: {}", gguf_ ? gguf_->name() : files_.front()->name(), list.size(),
           list.size() == 1 ? "tensor is" : "tensors are", list.size() == 1 ? "it" : "them", names);
}

std::vector<std::string> Weights::unread() const {
  std::set<std::string> known = {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"};
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i);
    for (const char* part : {"input_layernorm.weight", "post_attention_layernorm.weight"}) known.insert(layer + part);
    if (config_.qk_norm) known.insert({layer + "self_attn.q_norm.weight", layer + "self_attn.k_norm.weight"});
    if (config_.post_norms) known.insert({layer + "pre_feedforward_layernorm.weight", layer + "post_feedforward_layernorm.weight"});
    for (const char* part : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                             "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
      known.insert(layer + part + ".weight");
      if (has_bias(layer + part)) known.insert(layer + part + ".bias");
    }
  }
  std::vector<std::string> list;
  if (gguf_) {
    std::set<std::string> names = {"rope_freqs.weight"};
    for (const auto& name : known) names.insert(gguf_name(name));
    for (const auto& [name, tensor] : gguf_->tensors()) {
      if (!names.contains(name)) list.push_back(name);
    }
    return list;
  }
  for (const auto& file : files_) {
    for (const auto& [name, tensor] : file->tensors()) {
      if (!known.contains(name) && !known.contains("model." + name) &&
          name.find("rotary_emb.inv_freq") == std::string::npos) {
        list.push_back(name);
      }
    }
  }
  return list;
}

std::string Weights::written() const {
  std::string all;
  const auto add = [&all](const MappedFile& file) {
    std::error_code unknown;
    const auto at = std::filesystem::last_write_time(file.path(), unknown);
    all += fmt::format(" {}", unknown ? 0 : at.time_since_epoch().count());
  };
  if (gguf_) for (const auto& part : gguf_->parts()) add(*part.file);
  for (const auto& file : files_) add(*file->file());
  return all;
}

void Weights::release() const {
  if (gguf_) for (const auto& part : gguf_->parts()) part.file->release(part.file->bytes());
  for (const auto& file : files_) file->file()->release(file->file()->bytes());
}

}  // namespace colony::model
