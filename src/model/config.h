// config.json (or GGUF metadata) as one struct: the knobs of the decoder this program runs.
//
// Source: hf_compat 1.2–1.6; agrees with transformers' LlamaConfig, Qwen3Config and Gemma3TextConfig. Unknown keys are ignored;
// a key that changes the numbers and is not implemented is an error that names it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace colony::model {

// How positions turn into angles. Source: HF modeling_rope_utils.
struct RopeConfig {
  enum class Kind : uint8_t { kDefault, kLinear, kDynamic, kLlama3, kYarn };
  Kind kind = Kind::kDefault;
  double theta = 10000.0;
  double partial_rotary_factor = 1.0;
  double factor = 1.0;
  double low_freq_factor = 1.0, high_freq_factor = 4.0;            // llama3
  int64_t original_max_position_embeddings = 0;                    // llama3, yarn
  double beta_fast = 32.0, beta_slow = 1.0;                        // yarn
  std::optional<double> attention_factor, mscale, mscale_all_dim;  // yarn
  bool truncate = true;                                            // yarn
  std::vector<float> divisors;  // GGUF rope_freqs: f' = f / divisor; empty when none
};

struct ModelConfig {
  std::string model_type;  // "llama", "qwen3", "gemma3_text"
  int64_t hidden_size = 0;              // C
  int64_t intermediate_size = 0;        // F
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;      // H
  int64_t num_key_value_heads = 0;      // G
  int64_t head_dim = 0;                 // D
  int64_t vocab_size = 0;               // V
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  bool attention_bias = false;          // of a GGUF file: false; the biases it has are the ones it has
  bool mlp_bias = false;
  bool tie_word_embeddings = false;
  RopeConfig rope;
  // What qwen3 and gemma3_text add to the llama block.
  bool qk_norm = false;           // each head of q and k through a norm of its own before the rotation
  bool norm_offset = false;       // norms multiply by 1 + w
  bool post_norms = false;        // norms also on what attention and feed-forward give
  bool gelu = false;              // gelu's tanh form on the gate, not silu
  double attention_scale = 0;     // of q·k: 1/sqrt(head_dim) where the family has no other
  double embedding_scale = 1;
  std::vector<int64_t> windows;   // of each layer: keys seen, the row itself included, or 0: all. Empty: all of all
  std::optional<RopeConfig> window_rope;  // of layers with a window, where it is another
  std::vector<int32_t> eos_token_ids;   // config or generation_config; may be empty
  std::optional<int32_t> bos_token_id, pad_token_id;

  int64_t window(int64_t layer) const { return windows.empty() ? 0 : windows[static_cast<size_t>(layer)]; }
  bool has_window_rope(int64_t layer) const { return window(layer) > 0 && window_rope.has_value(); }
  const RopeConfig& rope_of(int64_t layer) const { return has_window_rope(layer) ? *window_rope : rope; }

  // Positions that may be asked for. A stretched rope reaches `factor` times what it was trained on:
  // linear and dynamic name the trained length in max_position_embeddings, yarn in
  // original_max_position_embeddings, llama3 writes the stretched one. Agrees with vLLM's
  // _get_and_verify_max_len; Transformers itself sets no limit.
  int64_t context_length() const;
};

// `name` is the file, for messages. Fails kInvalid: wrong type, impossible value, an architecture
// or feature that is not implemented (quantization_config, other model_type, …).
Result<ModelConfig> parse_model_config(const Json& config, std::string_view name);

// Refuses sizes no model has, so that nothing later overflows. Used for every source of a config.
Status validate(ModelConfig& config, std::string_view name);

// An id or a list of ids, as eos_token_id is written; empty when absent or null. Negative ids are none, as Transformers
// has it. Fails kInvalid on what is no whole number.
Result<std::vector<int32_t>> read_token_ids(const Json& object, const char* key, std::string_view name);

}  // namespace colony::model
