// Splits a template into tokens, as Jinja2's lexer does with trim_blocks and lstrip_blocks.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/jinja_value.h"

namespace colony::text::jinja {

enum class TokenKind : uint8_t {
  kEof, kData, kVariableBegin, kVariableEnd, kBlockBegin, kBlockEnd, kName, kString, kInteger,
  kFloat, kOperator,
};
struct Token {
  TokenKind kind = TokenKind::kEof;
  int line = 1;
  std::string text;  // data, name, the string's value, the operator
  Int integer = 0;
  double real = 0;
};

// Fails kInvalid with the line. `source` must be UTF-8. The last token is kEof.
Result<std::vector<Token>> tokenize(std::string_view source);

}  // namespace colony::text::jinja
