#include "text/decoder.h"

#include <charconv>
#include <optional>

#include "text/bpe.h"
#include "text/unicode.h"

namespace colony::text {
namespace {

// "<0x1F>" -> 31.
std::optional<char> byte_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  unsigned value = 0;
  const auto [end, problem] = std::from_chars(token.data() + 3, token.data() + 5, value, 16);
  if (problem != std::errc() || end != token.data() + 5) return std::nullopt;
  return static_cast<char>(value);
}

}  // namespace

Status Decoder::add(const Json& json, int depth, std::vector<Step>& steps) {
  if (depth > 8) return invalid("tokenizer.json: decoders nested deeper than 8");
  ASSIGN_OR_RETURN(const auto type, get_string(json, "type", "tokenizer.json decoder"));
  if (!type) return invalid("tokenizer.json decoder: \"type\" is missing");
  const std::string what = "tokenizer.json decoder " + *type;
  Step step;
  if (*type == "Sequence") {
    if (!json.contains("decoders") || !json["decoders"].is_array()) return invalid("{}: \"decoders\" must be a list", what);
    for (const auto& inner : json["decoders"]) RETURN_IF_ERROR(add(inner, depth + 1, steps));
    return {};
  }
  if (*type == "ByteLevel") {
    step.kind = Step::Kind::kByteLevel;
  } else if (*type == "ByteFallback") {
    step.kind = Step::Kind::kByteFallback;
  } else if (*type == "Fuse") {
    step.kind = Step::Kind::kFuse;
  } else if (*type == "Replace") {
    step.kind = Step::Kind::kReplace;
    ASSIGN_OR_RETURN(const auto content, get_string(json, "content", what));
    if (!content || !json.contains("pattern")) return invalid("{}: needs \"pattern\" and \"content\"", what);
    ASSIGN_OR_RETURN(const auto pattern, parse_pattern(json["pattern"], what));
    if (pattern.regex) return invalid("{}: a Regex pattern is not supported", what);
    step.what = pattern.literal;
    step.with = *content;
  } else if (*type == "Strip") {
    step.kind = Step::Kind::kStrip;
    ASSIGN_OR_RETURN(const auto content, get_string(json, "content", what));
    ASSIGN_OR_RETURN(const auto start, get_int(json, "start", what));
    ASSIGN_OR_RETURN(const auto stop, get_int(json, "stop", what));
    step.what = content.value_or(" ");
    if (step.what.empty() || start.value_or(0) < 0 || stop.value_or(0) < 0) return invalid("{}: content, start or stop is wrong", what);
    step.start = static_cast<size_t>(start.value_or(0));
    step.stop = static_cast<size_t>(stop.value_or(0));
  } else if (*type == "Metaspace") {
    step.kind = Step::Kind::kMetaspace;
    ASSIGN_OR_RETURN(const auto replacement, get_string(json, "replacement", what));
    ASSIGN_OR_RETURN(const auto scheme, get_string(json, "prepend_scheme", what));
    ASSIGN_OR_RETURN(const auto prefix, get_bool(json, "add_prefix_space", what));
    step.what = replacement.value_or("\u2581");
    step.drop_first = scheme ? *scheme != "never" : prefix.value_or(true);
  } else {
    return invalid("tokenizer.json: decoder \"{}\" is not supported", *type);
  }
  steps.push_back(std::move(step));
  return {};
}

Result<Decoder> Decoder::parse(const Json& json) {
  Decoder d;
  if (json.is_null()) return d;
  RETURN_IF_ERROR(add(json, 0, d.steps_));
  return d;
}

Decoder Decoder::byte_level() {
  Decoder d;
  d.steps_.push_back({.kind = Step::Kind::kByteLevel, .what = "", .with = ""});
  return d;
}

Decoder Decoder::llama() {
  Decoder d;
  d.steps_.push_back({.kind = Step::Kind::kReplace, .what = "\u2581", .with = " "});
  d.steps_.push_back({.kind = Step::Kind::kByteFallback, .what = "", .with = ""});
  d.steps_.push_back({.kind = Step::Kind::kFuse, .what = "", .with = ""});
  d.steps_.push_back({.kind = Step::Kind::kStrip, .what = " ", .with = "", .start = 1});
  return d;
}

std::string Decoder::apply(std::vector<std::string> tokens) const {
  for (const auto& step : steps_) {
    std::vector<std::string> out;
    switch (step.kind) {
      case Step::Kind::kByteLevel: {
        std::string bytes;
        for (const auto& token : tokens) bytes += bytes_of_spelling(token).value_or(token);
        out.push_back(lossy_utf8(bytes));
        break;
      }
      case Step::Kind::kReplace:
        for (const auto& token : tokens) out.push_back(replace_all(token, step.what, step.with));
        break;
      case Step::Kind::kByteFallback: {
        std::string run;
        const auto flush = [&] {
          if (run.empty()) return;
          if (valid_utf8(run)) {
            out.push_back(run);
          } else {
            for (size_t i = 0; i < run.size(); ++i) out.emplace_back("\uFFFD");
          }
          run.clear();
        };
        for (auto& token : tokens) {
          if (const auto byte = byte_token(token)) {
            run += *byte;
          } else {
            flush();
            out.push_back(std::move(token));
          }
        }
        flush();
        break;
      }
      case Step::Kind::kFuse: {
        std::string all;
        for (const auto& token : tokens) all += token;
        out.push_back(std::move(all));
        break;
      }
      case Step::Kind::kStrip:
        for (const auto& token : tokens) {
          std::string_view rest = token;
          for (size_t i = 0; i < step.start && rest.starts_with(step.what); ++i) rest.remove_prefix(step.what.size());
          for (size_t i = 0; i < step.stop && rest.ends_with(step.what); ++i) rest.remove_suffix(step.what.size());
          out.emplace_back(rest);
        }
        break;
      case Step::Kind::kMetaspace:
        for (size_t i = 0; i < tokens.size(); ++i) {
          out.push_back(replace_all(tokens[i], step.what, i == 0 && step.drop_first ? "" : " "));
        }
        break;
    }
    tokens = std::move(out);
  }
  std::string text;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && steps_.empty()) text += ' ';
    text += tokens[i];
  }
  return text;
}

}  // namespace colony::text
