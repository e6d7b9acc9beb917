// JavaScript's regular expressions (ECMA-262 with the u flag, as JSON Schema's "pattern" asks for),
// rewritten for Oniguruma.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace colony::text {

// Needs valid UTF-8. Fails kInvalid with the character where the pattern is wrong or not supported.
// Differs: a backreference to a group that took no part fails, where JavaScript lets it match "".
Result<std::string> regex_from_ecma(std::string_view pattern);

}  // namespace colony::text
