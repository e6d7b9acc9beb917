// Validation of finished values.
#include <algorithm>
#include <cmath>

#include "text/constraint.h"
#include "text/regex.h"

namespace colony::text {
namespace {

constexpr int kDepthMax = 200;

bool has_type(std::string_view type, const Json& value) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (type == "number") return value.is_number();
  if (type == "integer") {
    return value.is_number_integer() || (value.is_number_float() && std::isfinite(value.get<double>()) && value.get<double>() == std::floor(value.get<double>()));
  }
  return false;
}
bool known_type(std::string_view type) {
  for (const auto known : {"object", "array", "string", "boolean", "null", "number", "integer"}) {
    if (type == known) return true;
  }
  return false;
}

size_t characters(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// JSON Schema's equality: numbers by value, objects without regard to order.
bool same(const Json& a, const Json& b, int depth) {
  if (depth > kDepthMax) return false;
  if (a.is_number() && b.is_number()) return a == b;
  if (a.type() != b.type()) return false;
  if (a.is_array()) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [&](const Json& x, const Json& y) { return same(x, y, depth + 1); });
  }
  if (a.is_object()) {
    if (a.size() != b.size()) return false;
    for (const auto& [key, value] : a.items()) {
      const auto other = b.find(key);
      if (other == b.end() || !same(value, *other, depth + 1)) return false;
    }
    return true;
  }
  return a == b;
}

// What a draft gives a meaning that check() does not know. Formats are assertions to those who write them.
constexpr std::string_view kNotJudged[] = {
    "$ref", "$dynamicRef", "$recursiveRef", "allOf", "oneOf", "not", "if", "then", "else", "format", "exclusiveMinimum", "exclusiveMaximum",
    "multipleOf", "uniqueItems", "minProperties", "maxProperties", "prefixItems", "additionalItems", "contains", "minContains", "maxContains",
    "patternProperties", "propertyNames", "dependencies", "dependentRequired", "dependentSchemas", "unevaluatedItems", "unevaluatedProperties"};
bool not_judged(std::string_view key) { return std::find(std::begin(kNotJudged), std::end(kNotJudged), key) != std::end(kNotJudged); }

Status judged(const Json& schema, const std::string& pointer, int depth) {
  if (depth > kDepthMax) return invalid("{}: nested deeper than {} levels", pointer, kDepthMax);
  if (schema.is_boolean()) return {};
  if (!schema.is_object()) return invalid("{}: found {}, expected a schema", pointer, json_kind(schema));
  for (const auto& [key, value] : schema.items()) {
    const std::string at = pointer + "/" + key;
    if (not_judged(key)) return invalid("{}: the keyword \"{}\" is not supported, so no answer could be judged by this schema", at, key);
    if (key == "properties" && value.is_object()) {
      for (const auto& [name, child] : value.items()) RETURN_IF_ERROR(judged(child, at + "/" + name, depth + 1));
    } else if (key == "items" || key == "additionalProperties") {
      RETURN_IF_ERROR(judged(value, at, depth + 1));
    } else if (key == "anyOf" && value.is_array()) {
      for (size_t k = 0; k < value.size(); ++k) RETURN_IF_ERROR(judged(value[k], fmt::format("{}/{}", at, k), depth + 1));
    } else if (key == "pattern" && value.is_string()) {
      if (auto pattern = Regex::compile(value.get_ref<const std::string&>()); !pattern) return std::move(pattern).error().in(at);
    }
  }
  return {};
}

std::string check(const Json& schema, const Json& value, const std::string& path, int depth) {
  if (depth > kDepthMax) return fmt::format("{}: nested deeper than {} levels", path, kDepthMax);
  if (schema.is_boolean()) return schema.get<bool>() ? "" : path + ": nothing is allowed here";
  if (!schema.is_object()) return fmt::format("{}: the schema must be an object, found {}", path, json_kind(schema));
  for (const auto& [key, want] : schema.items()) {
    const auto bad_schema = [&, name = key](std::string_view what) { return fmt::format("{}: the schema's \"{}\" must be {}", path, name, what); };
    const auto bound = [&](auto&& fails) -> std::string {
      if (!want.is_number()) return bad_schema("a number");
      return fails(want.template get<double>()) ? fmt::format("{}: {} breaks \"{}\": {}", path, to_line(value).substr(0, 100), key, to_line(want)) : "";
    };
    std::string problem;
    if (key == "type") {
      bool ok = false;
      const auto one = [&](const Json& type) {
        if (!type.is_string() || !known_type(type.get_ref<const std::string&>())) {
          problem = bad_schema("a known type");
        } else {
          ok = ok || has_type(type.get_ref<const std::string&>(), value);
        }
      };
      if (want.is_array()) {
        std::for_each(want.begin(), want.end(), one);
      } else {
        one(want);
      }
      if (problem.empty() && !ok) problem = fmt::format("{}: must be {}, found {}", path, to_line(want), json_kind(value));
    } else if (key == "enum") {
      if (!want.is_array()) return bad_schema("a list");
      if (std::none_of(want.begin(), want.end(), [&](const Json& one) { return same(one, value, 0); })) {
        problem = fmt::format("{}: {} is not one of {}", path, to_line(value).substr(0, 100), to_line(want).substr(0, 200));
      }
    } else if (key == "const") {
      if (!same(want, value, 0)) problem = fmt::format("{}: must be {}", path, to_line(want).substr(0, 200));
    } else if (key == "anyOf") {
      if (!want.is_array() || want.empty()) return bad_schema("a list of schemas");
      std::string first;
      bool ok = false;
      for (const Json& one : want) {
        const std::string found = check(one, value, path, depth + 1);
        if (found.empty()) {
          ok = true;
          break;
        }
        if (first.empty()) first = found;
      }
      if (!ok) problem = fmt::format("{}: fits none of \"anyOf\" (the first: {})", path, first);
    } else if (key == "properties") {
      if (!want.is_object()) return bad_schema("an object");
      if (value.is_object()) {
        for (const auto& [name, child] : want.items()) {
          const auto held = value.find(name);
          if (held != value.end()) problem = check(child, *held, path + "." + name, depth + 1);
          if (!problem.empty()) break;
        }
      }
    } else if (key == "required") {
      if (!want.is_array()) return bad_schema("a list");
      for (const Json& name : want) {
        if (!name.is_string()) return bad_schema("a list of names");
        if (value.is_object() && !value.contains(name.get_ref<const std::string&>())) problem = fmt::format("{}: \"{}\" is missing", path, name.get<std::string>());
      }
    } else if (key == "additionalProperties") {
      if (value.is_object()) {
        for (const auto& [name, held] : value.items()) {
          if (schema.contains("properties") && schema["properties"].is_object() && schema["properties"].contains(name)) continue;
          if (want.is_boolean() && !want.get<bool>()) {
            problem = fmt::format("{}: \"{}\" is not allowed", path, name);
          } else if (!want.is_boolean()) {
            problem = check(want, held, path + "." + name, depth + 1);
          }
          if (!problem.empty()) break;
        }
      }
    } else if (key == "items") {
      if (value.is_array()) {
        for (size_t k = 0; k < value.size() && problem.empty(); ++k) problem = check(want, value[k], fmt::format("{}[{}]", path, k), depth + 1);
      }
    } else if (key == "minItems") {
      problem = bound([&](double n) { return value.is_array() && static_cast<double>(value.size()) < n; });
    } else if (key == "maxItems") {
      problem = bound([&](double n) { return value.is_array() && static_cast<double>(value.size()) > n; });
    } else if (key == "minLength") {
      problem = bound([&](double n) { return value.is_string() && static_cast<double>(characters(value.get_ref<const std::string&>())) < n; });
    } else if (key == "maxLength") {
      problem = bound([&](double n) { return value.is_string() && static_cast<double>(characters(value.get_ref<const std::string&>())) > n; });
    } else if (key == "minimum") {
      problem = bound([&](double) { return value.is_number() && value < want; });
    } else if (key == "maximum") {
      problem = bound([&](double) { return value.is_number() && value > want; });
    } else if (key == "pattern") {
      if (!want.is_string()) return bad_schema("a string");
      if (value.is_string()) {
        const auto pattern = Regex::compile(want.get_ref<const std::string&>(), {.syntax = RegexSyntax::kEcma});
        if (!pattern) return fmt::format("{}: the schema's \"pattern\": {}", path, pattern.error().message);
        const auto found = (*pattern)->find(value.get_ref<const std::string&>());
        if (!found) return fmt::format("{}: \"pattern\": {}", path, found.error().message);
        if (!*found) problem = fmt::format("{}: {} does not match {}", path, to_line(value).substr(0, 100), to_line(want));
      }
    } else {
      if (not_judged(key)) return fmt::format("{}: the schema's keyword \"{}\" is not supported", path, key);
    }
    if (!problem.empty()) return problem;
  }
  return "";
}

}  // namespace

Status schema_is_judged(const Json& schema) { return judged(schema, "#", 0); }

std::string schema_problem(const Json& schema, const Json& value) { return check(schema, value, "$", 0); }

}  // namespace colony::text
