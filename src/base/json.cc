#include "base/json.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>
#include <vector>

namespace colony {
namespace {

// Builds the value by nlohmann's own DOM callback, and stops at the first broken limit.
class Guard {
 public:
  explicit Guard(const JsonLimits& limits) : limits_(limits) {}

  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    if (!problem_.empty()) return false;
    if (event == Event::object_start || event == Event::array_start) {
      if (static_cast<size_t>(depth) >= limits_.depth_max) {
        problem_ = fmt::format("nested deeper than {} levels", limits_.depth_max);
        return false;
      }
      if (event == Event::object_start && limits_.unique_keys) keys_.emplace_back();
    } else if (event == Event::object_end && limits_.unique_keys) {
      keys_.pop_back();
    } else if (event == Event::key && limits_.unique_keys) {
      if (!keys_.back().insert(parsed.get<std::string>()).second) {
        problem_ = fmt::format("key \"{}\" given twice", parsed.get<std::string>());
        return false;
      }
    }
    return true;
  }
  const std::string& problem() const { return problem_; }

 private:
  const JsonLimits& limits_;
  std::string problem_;
  std::vector<std::unordered_set<std::string>> keys_;
};

// The nesting of brackets outside strings, so that a hostile depth is refused before a recursive
// destructor ever sees it.
bool deeper_than(std::string_view text, size_t limit) {
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > limit) return true;
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return false;
}

}  // namespace

Result<Json> parse_json(std::string_view text, const JsonLimits& limits) {
  if (deeper_than(text, limits.depth_max)) {
    return invalid("JSON nested deeper than {} levels", limits.depth_max);
  }
  Guard guard(limits);
  try {
    Json value;
    if (limits.unique_keys) {
      value = Json::parse(text.begin(), text.end(), std::ref(guard));
      if (!guard.problem().empty()) return invalid("JSON: {}", guard.problem());
    } else {
      value = Json::parse(text.begin(), text.end());
    }
    return value;
  } catch (const nlohmann::json::exception& e) {
    std::string message = e.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 2: …" -> from "parse error".
    if (const auto at = message.find("] "); at != std::string::npos) message.erase(0, at + 2);
    return invalid("not JSON: {}", message);
  }
}

std::string to_line(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string_view json_kind(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null: return "null";
    case Json::value_t::object: return "an object";
    case Json::value_t::array: return "an array";
    case Json::value_t::string: return "a string";
    case Json::value_t::boolean: return "a boolean";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
    case Json::value_t::number_float: return "a number";
    case Json::value_t::binary:
    case Json::value_t::discarded: break;
  }
  return "no value";
}

namespace {
const Json* member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto at = object.find(key);
  return at == object.end() || at->is_null() ? nullptr : &*at;
}
Error wrong_kind(std::string_view what, const char* key, const char* expected, const Json& found) {
  return invalid("{}: \"{}\" must be {}, found {}", what, key, expected, json_kind(found));
}
}  // namespace

Result<std::optional<std::string>> get_string(const Json& object, const char* key,
                                              std::string_view what) {
  const Json* value = member(object, key);
  if (value == nullptr) return std::optional<std::string>();
  if (!value->is_string()) return wrong_kind(what, key, "a string", *value);
  return std::optional<std::string>(value->get<std::string>());
}

Result<std::optional<int64_t>> get_int(const Json& object, const char* key, std::string_view what) {
  const Json* value = member(object, key);
  if (value == nullptr) return std::optional<int64_t>();
  if (value->is_number_unsigned() && value->get<uint64_t>() <= INT64_MAX) {
    return std::optional<int64_t>(value->get<int64_t>());
  }
  if (value->is_number_integer() && !value->is_number_unsigned()) {
    return std::optional<int64_t>(value->get<int64_t>());
  }
  if (value->is_number_float()) {
    const double number = value->get<double>();
    if (number == std::floor(number) && std::abs(number) < 9e15) {
      return std::optional<int64_t>(static_cast<int64_t>(number));
    }
  }
  if (value->is_number()) {
    return invalid("{}: \"{}\" must be a whole number of 64 bits, found {}", what, key,
                   to_line(*value));
  }
  return wrong_kind(what, key, "a whole number", *value);
}

Result<std::optional<double>> get_number(const Json& object, const char* key,
                                         std::string_view what) {
  const Json* value = member(object, key);
  if (value == nullptr) return std::optional<double>();
  if (!value->is_number()) return wrong_kind(what, key, "a number", *value);
  return std::optional<double>(value->get<double>());
}

Result<std::optional<bool>> get_bool(const Json& object, const char* key, std::string_view what) {
  const Json* value = member(object, key);
  if (value == nullptr) return std::optional<bool>();
  if (!value->is_boolean()) return wrong_kind(what, key, "true or false", *value);
  return std::optional<bool>(value->get<bool>());
}

std::string nearest(std::string_view word, const std::vector<std::string>& known) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 2) + 1;
  for (const auto& candidate : known) {
    std::vector<size_t> row(candidate.size() + 1);
    for (size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= word.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j < row.size(); ++j) {
        const size_t above = row[j];
        row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (word[i - 1] != candidate[j - 1])});
        diagonal = above;
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

}  // namespace colony
