#include "text/normalizer.h"

#include <algorithm>

#include "text/bpe.h"
#include "text/unicode.h"

namespace colony::text {

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  if (from.empty()) return std::string(text);
  size_t at = 0;
  for (;;) {
    const size_t next = text.find(from, at);
    if (next == std::string_view::npos) break;
    out.append(text.substr(at, next - at)).append(to);
    at = next + from.size();
  }
  return out.append(text.substr(at));
}

Result<std::string> replace_all(std::string_view text, const Regex& regex, std::string_view to) {
  std::string out;
  if (text.empty()) return out;
  ASSIGN_OR_RETURN(const auto matches, regex.find_all(text));
  size_t at = 0;
  for (const auto& [begin, end] : matches) {
    out.append(text.substr(at, begin - at)).append(to);
    at = end;
  }
  return out.append(text.substr(at));
}

Result<Pattern> parse_pattern(const Json& json, const std::string& what) {
  Pattern pattern;
  if (json.is_object() && json.size() == 1 && json.contains("String") && json["String"].is_string()) {
    pattern.literal = json["String"].get<std::string>();
    return pattern;
  }
  if (json.is_object() && json.size() == 1 && json.contains("Regex") && json["Regex"].is_string()) {
    pattern.source = json["Regex"].get<std::string>();
    auto regex = Regex::compile(pattern.source);
    if (!regex) return invalid("{}: {}", what, regex.error().message);
    pattern.regex = *regex;
    return pattern;
  }
  return invalid("{}: pattern must be {{\"String\": …}} or {{\"Regex\": …}}, found {}", what, json_kind(json));
}

Status Normalizer::add(const Json& json, int depth, std::vector<Step>& steps) {
  if (depth > 8) return invalid("tokenizer.json: normalizers nested deeper than 8");
  ASSIGN_OR_RETURN(const auto type, get_string(json, "type", "tokenizer.json normalizer"));
  if (!type) return invalid("tokenizer.json normalizer: \"type\" is missing");
  const std::string what = "tokenizer.json normalizer " + *type;
  Step step;
  if (*type == "Sequence") {
    if (!json.contains("normalizers") || !json["normalizers"].is_array()) return invalid("{}: \"normalizers\" must be a list", what);
    for (const auto& inner : json["normalizers"]) RETURN_IF_ERROR(add(inner, depth + 1, steps));
    return {};
  }
  if (*type == "NFC") step.kind = Step::Kind::kNfc;
  else if (*type == "NFD") step.kind = Step::Kind::kNfd;
  else if (*type == "NFKC") step.kind = Step::Kind::kNfkc;
  else if (*type == "NFKD") step.kind = Step::Kind::kNfkd;
  else if (*type == "Lowercase") step.kind = Step::Kind::kLowercase;
  else if (*type == "StripAccents") step.kind = Step::Kind::kStripAccents;
  else if (*type == "ByteLevel") step.kind = Step::Kind::kByteLevel;
  else if (*type == "Strip") {
    step.kind = Step::Kind::kStrip;
    ASSIGN_OR_RETURN(const auto left, get_bool(json, "strip_left", what));
    ASSIGN_OR_RETURN(const auto right, get_bool(json, "strip_right", what));
    step.left = left.value_or(true);
    step.right = right.value_or(true);
  } else if (*type == "Prepend") {
    step.kind = Step::Kind::kPrepend;
    ASSIGN_OR_RETURN(const auto prepend, get_string(json, "prepend", what));
    if (!prepend) return invalid("{}: \"prepend\" is missing", what);
    step.what = *prepend;
  } else if (*type == "Replace") {
    ASSIGN_OR_RETURN(const auto content, get_string(json, "content", what));
    if (!content || !json.contains("pattern")) return invalid("{}: needs \"pattern\" and \"content\"", what);
    ASSIGN_OR_RETURN(auto pattern, parse_pattern(json["pattern"], what));
    step.kind = pattern.regex ? Step::Kind::kReplaceRegex : Step::Kind::kReplace;
    step.what = std::move(pattern.literal);
    step.regex = std::move(pattern.regex);
    step.with = *content;
  } else {
    return invalid("tokenizer.json: normalizer \"{}\" is not supported", *type);
  }
  steps.push_back(std::move(step));
  return {};
}

Result<Normalizer> Normalizer::parse(const Json& json) {
  Normalizer n;
  if (json.is_null()) return n;
  RETURN_IF_ERROR(add(json, 0, n.steps_));
  return n;
}

bool Normalizer::byte_level() const {
  return std::any_of(steps_.begin(), steps_.end(), [](const Step& step) { return step.kind == Step::Kind::kByteLevel; });
}

Normalizer Normalizer::llama(bool prefix) {
  Normalizer n;
  if (prefix) n.steps_.push_back({.kind = Step::Kind::kPrepend, .what = "\u2581", .with = "", .regex = nullptr});
  n.steps_.push_back({.kind = Step::Kind::kReplace, .what = " ", .with = "\u2581", .regex = nullptr});
  return n;
}

Result<std::string> Normalizer::apply(std::string text) const {
  for (const auto& step : steps_) {
    switch (step.kind) {
      case Step::Kind::kNfc: text = normalize(text, Form::kNfc); break;
      case Step::Kind::kNfd: text = normalize(text, Form::kNfd); break;
      case Step::Kind::kNfkc: text = normalize(text, Form::kNfkc); break;
      case Step::Kind::kNfkd: text = normalize(text, Form::kNfkd); break;
      case Step::Kind::kLowercase: text = lower_each(text); break;
      case Step::Kind::kPrepend:
        if (!text.empty()) text.insert(0, step.what);
        break;
      case Step::Kind::kReplace: text = replace_all(text, step.what, step.with); break;
      case Step::Kind::kReplaceRegex: {
        ASSIGN_OR_RETURN(text, replace_all(text, *step.regex, step.with));
        break;
      }
      case Step::Kind::kStrip: {
        size_t begin = 0, end = text.size();
        while (step.left && begin < end) {
          const auto c = code_point(text, begin);
          if (!is_space(c.value)) break;
          begin += static_cast<size_t>(c.size);
        }
        while (step.right && end > begin) {
          size_t last = end - 1;
          while (last > begin && (static_cast<unsigned char>(text[last]) & 0xc0) == 0x80) --last;
          if (!is_space(code_point(text, last).value)) break;
          end = last;
        }
        text = text.substr(begin, end - begin);
        break;
      }
      case Step::Kind::kByteLevel: text = spelling_of_bytes(text); break;
      case Step::Kind::kStripAccents: {
        std::string out;
        for (size_t i = 0; i < text.size();) {
          const auto c = code_point(text, i);
          if (!is_mark(c.value)) out.append(text, i, static_cast<size_t>(c.size));
          i += static_cast<size_t>(c.size);
        }
        text = std::move(out);
        break;
      }
    }
  }
  return text;
}

}  // namespace colony::text
