// Letters to token ids and back, exactly as Hugging Face tokenizers does from a tokenizer.json.
//
// Pipeline (hf_compat 2.1): added tokens on the raw text → normalizer → added tokens on normalised
// text → pre-tokenizer → model → post-processor. An unknown component is an error, never ignored.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace colony::text {

// A tokenizer as a GGUF file describes it; engine copies it here from the metadata.
struct GgufTokenizer {
  std::string model;  // "gpt2" or "llama"
  std::string pre;    // "smollm", "llama-bpe", "qwen2", "gpt-2", …
  std::vector<std::string> tokens;
  std::vector<float> scores;        // llama
  std::vector<int32_t> token_type;  // 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte
  std::vector<std::string> merges;
  std::optional<int32_t> bos_id, eos_id, unk_id, pad_id;
  std::optional<bool> add_bos, add_eos, add_space_prefix;
  std::string tokenizer_json;  // tokenizer.huggingface.json, preferred when present
};

class Tokenizer {
 public:
  // `tokenizer_json` as parsed; `tokenizer_config` may be null (its added tokens and named specials
  // are added as HF does). Fails kInvalid, naming the component or field.
  static Result<std::shared_ptr<const Tokenizer>> from_json(const Json& tokenizer_json,
                                                            const Json& tokenizer_config);
  static Result<std::shared_ptr<const Tokenizer>> from_gguf(const GgufTokenizer& gguf);
  ~Tokenizer();

  // Fails kInvalid when `text` is not UTF-8. add_special: run the post-processor's template.
  // parse_special = false: special tokens in `text` are plain text (for untrusted input; not HF's
  // default). Threads: any.
  Result<std::vector<int32_t>> encode(std::string_view text, bool add_special,
                                      bool parse_special = true) const;
  // Always UTF-8 (U+FFFD for broken sequences). Ids without a token give "".
  std::string decode(std::span<const int32_t> ids, bool skip_special) const;

  // The vocabulary's own spelling ("Ġworld"); nullopt for ids without a token.
  std::optional<std::string> token(int32_t id) const;
  std::optional<int32_t> id_of(std::string_view token) const;
  // The bytes this id stands for in the middle of a text (for constrained decoding); "" for special
  // tokens and ids without a token.
  std::string bytes_of(int32_t id) const;
  bool is_special(int32_t id) const;
  bool is_byte(int32_t id) const;  // <0xXX> of a vocabulary with byte fallback
  int32_t size() const;  // one past the largest id that has a token

  // bos_token, eos_token, unk_token, pad_token, … as (name, content), for the template's variables.
  const std::vector<std::pair<std::string, std::string>>& named_specials() const;

 private:
  Tokenizer();
  struct State;
  std::unique_ptr<State> state_;
};

// Turns ids into text piece by piece: what is returned never ends inside a character, and the
// pieces joined (with finish()) equal decode() of all ids. Threads: one owner.
class StreamDecoder {
 public:
  StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special);
  std::string push(int32_t id);
  std::string finish();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_;
  std::vector<int32_t> ids_;
  size_t prefix_ = 0, read_ = 0;
};

}  // namespace colony::text
