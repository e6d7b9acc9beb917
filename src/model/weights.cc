#include "model/weights.h"

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

Result<ModelConfig> gguf_config(const GgufFile& file) {
  const std::string& name = file.name();
  ASSIGN_OR_RETURN(const auto arch, file.text("general.architecture"));
  if (!arch) return corrupt("{}: general.architecture is missing", name);
  if (*arch != "llama") return invalid("{}: general.architecture \"{}\" is not supported (llama is)", name, *arch);
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
  ASSIGN_OR_RETURN(const auto theta, file.number("llama.rope.freq_base"));
  c.rope.theta = theta.value_or(10000.0);
  ASSIGN_OR_RETURN(const auto scaling, file.text("llama.rope.scaling.type"));
  ASSIGN_OR_RETURN(const auto factor, file.number("llama.rope.scaling.factor"));
  if (scaling && *scaling == "linear" && factor) {
    c.rope.kind = RopeConfig::Kind::kLinear;
    c.rope.factor = *factor;
  } else if (scaling && *scaling != "none" && *scaling != "linear") {
    return invalid("{}: llama.rope.scaling.type \"{}\" is not supported", name, *scaling);
  }
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
  c.attention_bias = file.tensors().contains("blk.0.attn_q.bias");
  c.mlp_bias = file.tensors().contains("blk.0.ffn_gate.bias");
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
    if (*value < 0 || *value > INT32_MAX) return corrupt("{}: tokenizer.ggml.{} is {}", name, key, *value);
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
    hash_file(hash, w.gguf_->file()->bytes(), w.gguf_->header_bytes());
  } else {
    const auto file = path / "config.json";
    ASSIGN_OR_RETURN(const auto text, read_file(file, 16 << 20));
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
    ref.file = gguf_->file().get();
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

std::vector<std::string> Weights::unexpected() const {
  std::set<std::string> known = {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"};
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i);
    for (const char* part : {"input_layernorm.weight", "post_attention_layernorm.weight"}) known.insert(layer + part);
    if (config_.qk_norm) known.insert({layer + "self_attn.q_norm.weight", layer + "self_attn.k_norm.weight"});
    if (config_.post_norms) known.insert({layer + "pre_feedforward_layernorm.weight", layer + "post_feedforward_layernorm.weight"});
    for (const char* part : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                             "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
      known.insert(layer + part + ".weight");
      known.insert(layer + part + ".bias");
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
  if (gguf_) add(*gguf_->file());
  for (const auto& file : files_) add(*file->file());
  return all;
}

void Weights::release() const {
  if (gguf_) gguf_->file()->release(gguf_->file()->bytes());
  for (const auto& file : files_) file->file()->release(file->file()->bytes());
}

}  // namespace colony::model
