// JSON with a Result, never a throw. Objects keep the order of their keys (templates need it).
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/ordered_map.h"
#include "base/result.h"

namespace colony {

using Json = nlohmann::basic_json<OrderedMap>;

struct JsonLimits {
  size_t depth_max = 128;
  bool unique_keys = false;  // true: a key given twice in one object is an error
};

// Fails kInvalid: not JSON, not UTF-8, or deeper than the limit; the message has the byte offset.
Result<Json> parse_json(std::string_view text, const JsonLimits& limits = {});

// One line, no spaces; invalid UTF-8 in strings becomes U+FFFD, so it never fails.
std::string to_line(const Json& value);

// Typed access to the members of an object, for configurations and requests. `what` names the
// object in messages ("config.json"). An absent or null member gives nullopt; a member of another
// type fails kInvalid and says what was found. Numbers must be representable without loss.
Result<std::optional<std::string>> get_string(const Json& object, const char* key, std::string_view what);
Result<std::optional<int64_t>> get_int(const Json& object, const char* key, std::string_view what);
Result<std::optional<double>> get_number(const Json& object, const char* key, std::string_view what);
Result<std::optional<bool>> get_bool(const Json& object, const char* key, std::string_view what);

// "a number", "an object", …: for messages.
std::string_view json_kind(const Json& value);

// The TOML text as the same kind of value (dates become strings). Fails kInvalid with line and
// column. `name` is the file, for messages.
Result<Json> parse_toml(std::string_view text, std::string_view name);

// The entry of `known` with the least edit distance to `word`, for "did you mean". "" if none is
// near.
std::string nearest(std::string_view word, const std::vector<std::string>& known);

}  // namespace colony
