// For tests: a small Llama checkpoint with seeded random weights, as a Hugging Face folder.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "model/lora.h"
#include "model/safetensors.h"

namespace colony::engine {

struct TinyShape {
  int64_t hidden = 96, heads = 6, kv_heads = 2, head_dim = 16, ffn = 160, layers = 3, vocab = 300,
          context = 600;
};

// Writes config.json and model.safetensors (f32, tied embeddings) into `folder`.
inline void write_tiny_checkpoint(const std::filesystem::path& folder, const TinyShape& shape, uint64_t seed) {
  std::filesystem::create_directories(folder);
  const Json config = {{"model_type", "llama"},
                       {"architectures", Json::array({"LlamaForCausalLM"})},
                       {"hidden_size", shape.hidden},
                       {"intermediate_size", shape.ffn},
                       {"num_hidden_layers", shape.layers},
                       {"num_attention_heads", shape.heads},
                       {"num_key_value_heads", shape.kv_heads},
                       {"head_dim", shape.head_dim},
                       {"vocab_size", shape.vocab},
                       {"max_position_embeddings", shape.context},
                       {"rms_norm_eps", 1e-5},
                       {"rope_theta", 10000.0},
                       {"hidden_act", "silu"},
                       {"tie_word_embeddings", true},
                       {"eos_token_id", 0},
                       {"torch_dtype", "float32"}};
  CHECK(write_file(folder / "config.json", config.dump(2)).has_value(), "config.json");

  Json header = Json::object();
  std::string data;
  uint32_t stream = 0;
  const auto add = [&](const std::string& name, std::vector<int64_t> dims, double scale, double shift) {
    int64_t count = 1;
    for (const int64_t dim : dims) count *= dim;
    const size_t begin = data.size();
    data.resize(begin + static_cast<size_t>(count) * sizeof(float));
    // A stream has 65,536 blocks of draws: one for each 4,096 numbers.
    for (int64_t i = 0; i < count; ++i) {
      static thread_local RngStream rng(0, 0, 0, 0);
      if (i % 4096 == 0) rng = RngStream(seed, stream, static_cast<uint32_t>(i / 4096), 1);
      const auto value = static_cast<float>(rng.normal() * scale + shift);
      std::memcpy(data.data() + begin + static_cast<size_t>(i) * sizeof(float), &value, sizeof(float));
    }
    ++stream;
    header[name] = {{"dtype", "F32"}, {"shape", dims}, {"data_offsets", {begin, data.size()}}};
  };
  const double in = 1.0 / std::sqrt(static_cast<double>(shape.hidden));
  add("model.embed_tokens.weight", {shape.vocab, shape.hidden}, 0.3, 0);
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    add(prefix + "input_layernorm.weight", {shape.hidden}, 0.1, 1);
    add(prefix + "self_attn.q_proj.weight", {shape.heads * shape.head_dim, shape.hidden}, 2 * in, 0);
    add(prefix + "self_attn.k_proj.weight", {shape.kv_heads * shape.head_dim, shape.hidden}, 2 * in, 0);
    add(prefix + "self_attn.v_proj.weight", {shape.kv_heads * shape.head_dim, shape.hidden}, in, 0);
    add(prefix + "self_attn.o_proj.weight", {shape.hidden, shape.heads * shape.head_dim}, in, 0);
    add(prefix + "post_attention_layernorm.weight", {shape.hidden}, 0.1, 1);
    add(prefix + "mlp.gate_proj.weight", {shape.ffn, shape.hidden}, in, 0);
    add(prefix + "mlp.up_proj.weight", {shape.ffn, shape.hidden}, in, 0);
    add(prefix + "mlp.down_proj.weight", {shape.hidden, shape.ffn}, in, 0);
  }
  add("model.norm.weight", {shape.hidden}, 0.1, 1);
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t size = text.size();
  std::string file(reinterpret_cast<const char*>(&size), sizeof(size));
  file += text;
  file += data;
  CHECK(write_file(folder / "model.safetensors", file).has_value(), "model.safetensors");
}

// Writes a PEFT folder with seeded noise on all linear modules of the blocks of `base`; `strength` is the
// spread of B. `options` is merged into adapter_config.json. Nothing in it is zero.
inline void write_tiny_adapter(const std::filesystem::path& folder, const model::ModelConfig& base, int64_t rank, uint64_t seed,
                               double strength = 0.2, const Json& options = Json::object()) {
  std::filesystem::create_directories(folder);
  Json config = {{"peft_type", "LORA"}, {"task_type", "CAUSAL_LM"}, {"r", rank}, {"lora_alpha", 2 * rank}, {"target_modules", "all-linear"}};
  const bool dora = options.contains("use_dora") && options["use_dora"].get<bool>();
  for (const auto& [key, value] : options.items()) config[key] = value;
  CHECK(write_file(folder / "adapter_config.json", config.dump(2)).has_value(), "adapter_config.json");
  std::vector<std::vector<float>> numbers;
  std::vector<model::TensorToWrite> tensors;
  const auto add = [&](const std::string& name, std::vector<uint64_t> shape, double spread, double shift) {
    uint64_t count = 1;
    for (const uint64_t size : shape) count *= size;
    auto& values = numbers.emplace_back(count);
    for (size_t i = 0; i < values.size(); ++i) {
      static thread_local RngStream rng(0, 0, 0, 0);
      if (i % 4096 == 0) rng = RngStream(seed, static_cast<uint32_t>(numbers.size()), static_cast<uint32_t>(i / 4096), 2);
      values[i] = static_cast<float>(rng.normal() * spread + shift);
    }
    tensors.push_back({name, "F32", std::move(shape), std::as_bytes(std::span<const float>(values))});
  };
  for (const model::BaseModule& module : model::base_modules(base)) {
    if (module.kind != model::BaseModule::Kind::kLinear) continue;
    const auto r = static_cast<uint64_t>(rank), in = static_cast<uint64_t>(module.inputs), out = static_cast<uint64_t>(module.outputs);
    const std::string name = "base_model.model." + module.path;
    add(name + ".lora_A.weight", {r, in}, 1 / std::sqrt(static_cast<double>(in)), 0);
    add(name + ".lora_B.weight", {out, r}, strength, 0);
    if (dora) add(name + ".lora_magnitude_vector", {out}, 0.2, 2);
  }
  CHECK(model::write_safetensors(folder / "adapter_model.safetensors", std::move(tensors), {{"format", "pt"}}).has_value(), "weights");
}

// The starter model as the quick start puts it into the Hugging Face cache; "" when it is not there.
inline std::filesystem::path starter_model() {
  namespace fs = std::filesystem;
  fs::path hub;
  if (const char* set = std::getenv("HF_HUB_CACHE")) {
    hub = set;
  } else if (const char* home = std::getenv("HF_HOME")) {
    hub = fs::path(home) / "hub";
  } else if (const char* user = std::getenv("HOME")) {
    hub = fs::path(user) / ".cache/huggingface/hub";
  }
  const fs::path snapshots = hub / "models--colony--SmolLM2-135M-Instruct-GGUF" / "snapshots";
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(snapshots, ignored)) {
    const fs::path file = entry.path() / "SmolLM2-135M-Instruct.Q4_1.gguf";
    if (fs::exists(file, ignored)) return file;
  }
  return {};
}

// A folder of its own, gone with this object.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "colony-engine-XXXXXX").string();
    CHECK(::mkdtemp(name.data()) != nullptr, "a temporary folder");
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace colony::engine
