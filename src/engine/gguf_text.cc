#include "engine/gguf_text.h"

#include <utility>

namespace colony::engine {
namespace {

// An id of the vocabulary, or nullopt.
Result<std::optional<int32_t>> id_at(const model::GgufFile& gguf, const std::string& key, size_t tokens) {
  ASSIGN_OR_RETURN(const auto id, gguf.integer(key));
  if (!id) return std::optional<int32_t>();
  if (*id < 0 || *id >= static_cast<int64_t>(tokens)) {
    return invalid("{}: {} is {}, expected 0 to {}", gguf.name(), key, *id, static_cast<int64_t>(tokens) - 1);
  }
  return std::optional<int32_t>(static_cast<int32_t>(*id));
}

Status present(const model::GgufFile& gguf, const std::string& key, bool read, const char* expected) {
  if (read || !gguf.metadata().contains(key)) return {};
  return invalid("{}: {} is of another type, expected {}", gguf.name(), key, expected);
}

}  // namespace

Result<GgufText> gguf_text(const model::GgufFile& gguf) {
  GgufText found;
  const std::string ggml = "tokenizer.ggml.";
  ASSIGN_OR_RETURN(const auto kind, gguf.text(ggml + "model"));
  ASSIGN_OR_RETURN(const auto whole, gguf.text("tokenizer.huggingface.json"));
  if (kind || whole) {
    text::GgufTokenizer& made = found.tokenizer.emplace();
    made.model = kind.value_or("");
    made.tokenizer_json = whole.value_or("");
    ASSIGN_OR_RETURN(const auto pre, gguf.text(ggml + "pre"));
    made.pre = pre.value_or("");

    const auto* tokens = gguf.texts(ggml + "tokens");
    RETURN_IF_ERROR(present(gguf, ggml + "tokens", tokens != nullptr, "an array of strings"));
    if (tokens != nullptr) made.tokens = *tokens;
    const auto* merges = gguf.texts(ggml + "merges");
    RETURN_IF_ERROR(present(gguf, ggml + "merges", merges != nullptr, "an array of strings"));
    if (merges != nullptr) made.merges = *merges;
    const auto* scores = gguf.numbers(ggml + "scores");
    RETURN_IF_ERROR(present(gguf, ggml + "scores", scores != nullptr, "an array of numbers"));
    if (scores != nullptr) {
      for (const double score : *scores) made.scores.push_back(static_cast<float>(score));
    }
    const auto* types = gguf.integers(ggml + "token_type");
    RETURN_IF_ERROR(present(gguf, ggml + "token_type", types != nullptr, "an array of integers"));
    if (types != nullptr) {
      for (const int64_t type : *types) {
        if (type < 0 || type > INT32_MAX) return invalid("{}: {}token_type holds {}", gguf.name(), ggml, type);
        made.token_type.push_back(static_cast<int32_t>(type));
      }
    }
    ASSIGN_OR_RETURN(made.bos_id, id_at(gguf, ggml + "bos_token_id", made.tokens.size()));
    ASSIGN_OR_RETURN(made.eos_id, id_at(gguf, ggml + "eos_token_id", made.tokens.size()));
    ASSIGN_OR_RETURN(made.unk_id, id_at(gguf, ggml + "unknown_token_id", made.tokens.size()));
    ASSIGN_OR_RETURN(made.pad_id, id_at(gguf, ggml + "padding_token_id", made.tokens.size()));
    ASSIGN_OR_RETURN(made.add_bos, gguf.boolean(ggml + "add_bos_token"));
    ASSIGN_OR_RETURN(made.add_eos, gguf.boolean(ggml + "add_eos_token"));
    ASSIGN_OR_RETURN(made.add_space_prefix, gguf.boolean(ggml + "add_space_prefix"));
  }
  ASSIGN_OR_RETURN(const auto chat, gguf.text("tokenizer.chat_template"));
  ASSIGN_OR_RETURN(const auto by_default, gguf.text("tokenizer.chat_template.default"));
  ASSIGN_OR_RETURN(const auto tool_use, gguf.text("tokenizer.chat_template.tool_use"));
  found.chat_template = chat ? *chat : by_default.value_or("");
  found.tool_template = tool_use.value_or("");
  return found;
}

}  // namespace colony::engine
