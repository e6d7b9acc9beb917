// The text side of a GGUF file's metadata: its tokenizer and templates, for room text.
#pragma once
#include <optional>
#include <string>

#include "base/result.h"
#include "model/gguf.h"
#include "text/tokenizer.h"

namespace colony::engine {

struct GgufText {
  std::optional<text::GgufTokenizer> tokenizer;  // nullopt: the file has none
  std::string chat_template, tool_template;      // "": none
};

// Reads metadata only. Fails kInvalid: a key of the wrong type, an id outside the tokens.
Result<GgufText> gguf_text(const model::GgufFile& gguf);

}  // namespace colony::engine
