// A model as users name it: weights, tokenizer, chat template and generation defaults together.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/byte_ledger.h"
#include "base/json.h"
#include "base/result.h"
#include "model/packed_cache.h"
#include "model/transformer.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace colony::engine {

// The text side of a model folder or GGUF; tokenizer-only verbs load just this.
struct TextSide {
  std::shared_ptr<const text::Tokenizer> tokenizer;         // null: the folder has none
  std::shared_ptr<const text::ChatTemplate> chat_template;  // null: the model has none
  std::shared_ptr<const text::ChatTemplate> tool_template;  // the one named "tool_use"; null: none
  Json template_variables = Json::object();                 // bos_token, eos_token, …
};

// Fails as its parts do, naming the file. A missing tokenizer or template is no failure.
Result<TextSide> load_text_side(const std::filesystem::path& path);

// generation_config > config > tokenizer. Fails kInvalid, naming the file.
Result<std::vector<int32_t>> find_eos_ids(const std::filesystem::path& path, const model::ModelConfig& config, const TextSide& side);

struct Snapshot {
  std::string name;             // as the user gave it
  std::filesystem::path path;   // folder or .gguf
  std::shared_ptr<const model::Transformer> model;
  TextSide text;
  std::vector<int32_t> eos_ids;  // find_eos_ids()

  // `dtype`: "auto", "f32", "bf16", "int8", "int4". `packed`: as Transformer::Options.
  static Result<std::shared_ptr<const Snapshot>> load(const std::filesystem::path& path,
                                                      const std::string& name,
                                                      const std::string& dtype, ByteLedger& ledger,
                                                      tensor::ThreadPool& pool, const model::PackedCache* packed = nullptr);

  // The template over `messages` (an array of {role, content}); fails kInvalid when the model has
  // no template (the message says to use --raw).
  Result<std::string> render(const Json& messages, const Json& tools, bool add_generation_prompt,
                             int64_t now_unix_ms) const;
  // render() and encode(), without a second BOS.
  Result<std::vector<int32_t>> chat_ids(const Json& messages, int64_t now_unix_ms) const;
  Result<std::vector<int32_t>> raw_ids(std::string_view text) const;
};

}  // namespace colony::engine
