// A PEFT LoRA adapter's weights, packed to ride on rows of the base model's batch.
//
// What adapter_config.json says is worked out elsewhere (engine/peft.h); here a plain LoraSpec names
// the modules. Tensor names as PEFT writes them (hf_compat 4.2): base_model.model.<path>.lora_A.weight
// [r, in], .lora_B.weight [out, r], .lora_B.bias [out], .lora_magnitude_vector [out] (DoRA),
// .lora_embedding_A [r, V], .lora_embedding_B [C, r]; with or without the inner "model." and ".default".
// Source: PEFT tuners/lora/layer.py, dora.py. Agrees with PEFT in f32 (unmerged).
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/byte_ledger.h"
#include "base/result.h"
#include "model/config.h"
#include "tensor/lora.h"
#include "tensor/matmul.h"
#include "tensor/memory.h"

namespace colony::model {

class Transformer;

// A tensor's name in an adapter without what spellings differ in: "base_model.model.", a missing inner "model.", ".default".
// "base_model.model.model.layers.0.….lora_A.default.weight" -> "model.layers.0.….lora_A.weight".
std::string plain_tensor_name(std::string name);

// A module of the base that an adapter may name, by its path in Hugging Face's CausalLM class:
// "model.layers.0.self_attn.q_proj", "lm_head", "model.embed_tokens", "model.norm".
struct BaseModule {
  enum class Kind : uint8_t { kLinear, kHead, kEmbedding, kNorm };
  std::string path;
  Kind kind = Kind::kLinear;
  int64_t outputs = 0, inputs = 0;  // an embedding: V, C; a norm: C, 1
};
std::vector<BaseModule> base_modules(const ModelConfig& config);

// What an adapter does to its base.
struct LoraModule {
  std::string path;    // of a linear, the head, or the embedding
  int64_t rank = 0;
  double scale = 1;    // alpha / r, or alpha / sqrt(r)
  bool dora = false;
};
struct LoraSpec {
  std::filesystem::path weights;    // adapter_model.safetensors
  std::vector<LoraModule> modules;  // updated
  std::vector<std::string> saved;   // replaced whole: "lm_head", "model.embed_tokens"
};

// Updates of one layer's products.
struct LayerUpdates {
  tensor::LoraUpdate qkv, o, gate_up, down;
};

// Immutable once loaded. Threads: any may read.
class Adapter {
 public:
  // Checks names, shapes and types of all tensors against `spec` and the base, and says how many bytes
  // load() takes; reads no weights. Fails kNotFound, kCorrupt, kInvalid: names file, tensor, found, expected.
  static Result<uint64_t> bytes_needed(const LoraSpec& spec, const Transformer& base);

  // Reads and packs: f32 beside f32 and bf16 weights, int8 beside int8 ones. Takes bytes_needed() from
  // `ledger` (owner "adapters") first. Fails as bytes_needed(), and kExhausted; kCorrupt also when a
  // number is infinite or NaN.
  static Result<std::shared_ptr<const Adapter>> load(const LoraSpec& spec, const Transformer& base,
                                                     ByteLedger& ledger, tensor::ThreadPool& pool);

  uint64_t bytes() const { return lease_.bytes(); }

  // ---- for Transformer ----
  const LayerUpdates& layer(int64_t index) const { return layers_[static_cast<size_t>(index)]; }
  const tensor::LoraUpdate& head() const { return head_; }
  const tensor::PackedMatrix* saved_head() const { return has_saved_head_ ? &saved_head_ : nullptr; }
  // row: [C], the base's embedding of token `id`; becomes this adapter's.
  void embed(int32_t id, std::span<float> row) const;

 private:
  Adapter() = default;

  ByteLease lease_;
  tensor::Memory memory_;
  std::vector<LayerUpdates> layers_;
  tensor::LoraUpdate head_;
  bool has_saved_head_ = false;
  tensor::PackedMatrix saved_head_;
  const float* embedding_ = nullptr;        // [V, C]: a saved embedding, or null
  const float* embedding_a_ = nullptr;      // [V, r], or null
  const float* embedding_b_ = nullptr;      // [r, C], scaled
  int64_t embedding_rank_ = 0;
};

}  // namespace colony::model
