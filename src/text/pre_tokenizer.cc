#include "text/pre_tokenizer.h"

#include <algorithm>
#include <optional>

#include "text/bpe.h"
#include "text/unicode.h"

namespace colony::text {
namespace {

int32_t at_or(std::string_view text, size_t at) { return at < text.size() ? code_point(text, at).value : -1; }
size_t step_over(std::string_view text, size_t at) { return at + static_cast<size_t>(code_point(text, at).size); }

template <typename Is>
size_t run_of(std::string_view text, size_t at, const Is& is) {
  while (at < text.size()) {
    const auto c = code_point(text, at);
    if (!is(c.value)) break;
    at += static_cast<size_t>(c.size);
  }
  return at;
}
bool is_other(int32_t c) { return !is_space(c) && !is_letter(c) && !is_number(c); }
bool is_break(int32_t c) { return c == '\r' || c == '\n'; }

// \s+(?!\S)|\s+ from `at`, a space: all of the run but its last character when more text follows.
size_t space_end(std::string_view text, size_t at) {
  const size_t end = run_of(text, at, is_space);
  if (end == text.size()) return end;
  size_t last = at;
  for (size_t i = at; i < end; i = step_over(text, i)) last = i;
  return last == at ? end : last;
}

// The contraction at an apostrophe: its length in bytes, or 0. Without case, the long s (U+017F)
// counts as s: that is how Oniguruma folds.
size_t contraction(std::string_view text, size_t at, bool any_case) {
  if (text[at] != '\'') return 0;
  const auto letter = [&](size_t i) -> int32_t {
    const int32_t c = at_or(text, i);
    if (any_case && c == 0x17f) return 's';
    return any_case && c < 0x80 && is_letter(c) ? c | 0x20 : c;
  };
  const int32_t first = letter(at + 1);
  if (first == 's') return step_over(text, at + 1) - at;
  if (first == 't' || first == 'm' || first == 'd') return 2;
  const int32_t second = first < 0 ? -1 : letter(step_over(text, at + 1));
  if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l')) return 3;
  return 0;
}

}  // namespace

size_t scan_gpt2(std::string_view text, size_t at) {
  if (const size_t size = contraction(text, at, false); size > 0) return at + size;
  const size_t body = text[at] == ' ' ? at + 1 : at;
  const int32_t c = at_or(text, body);
  if (c >= 0) {
    if (is_letter(c)) return run_of(text, body, is_letter);
    if (is_number(c)) return run_of(text, body, is_number);
    if (is_other(c)) return run_of(text, body, is_other);
  }
  return space_end(text, at);
}

size_t scan_llama3(std::string_view text, size_t at, int digits_max) {
  if (const size_t size = contraction(text, at, true); size > 0) return at + size;
  const int32_t c = at_or(text, at);
  if (is_letter(c)) return run_of(text, at, is_letter);
  if (!is_break(c) && !is_number(c)) {
    const size_t next = step_over(text, at);
    if (next < text.size() && is_letter(at_or(text, next))) return run_of(text, next, is_letter);
  }
  if (is_number(c)) {
    size_t end = at;
    for (int i = 0; i < digits_max && end < text.size() && is_number(at_or(text, end)); ++i) end = step_over(text, end);
    return end;
  }
  const size_t body = c == ' ' ? at + 1 : at;
  if (body < text.size() && is_other(at_or(text, body))) {
    return run_of(text, run_of(text, body, is_other), is_break);
  }
  const size_t end = run_of(text, at, is_space);
  size_t after_break = at;
  for (size_t i = at; i < end; i = step_over(text, i)) {
    if (is_break(at_or(text, i))) after_break = i + 1;
  }
  if (after_break > at) return after_break;
  return space_end(text, at);
}

Status PreTokenizer::add(const Json& json, int depth, PreTokenizer& out) {
  if (depth > 8) return invalid("tokenizer.json: pre-tokenizers nested deeper than 8");
  ASSIGN_OR_RETURN(const auto type, get_string(json, "type", "tokenizer.json pre_tokenizer"));
  if (!type) return invalid("tokenizer.json pre_tokenizer: \"type\" is missing");
  const std::string what = "tokenizer.json pre_tokenizer " + *type;
  Step step;
  if (*type == "Sequence") {
    if (!json.contains("pretokenizers") || !json["pretokenizers"].is_array()) {
      return invalid("{}: \"pretokenizers\" must be a list", what);
    }
    for (const auto& inner : json["pretokenizers"]) RETURN_IF_ERROR(add(inner, depth + 1, out));
    return {};
  }
  if (*type == "ByteLevel") {
    ASSIGN_OR_RETURN(const auto prefix, get_bool(json, "add_prefix_space", what));
    ASSIGN_OR_RETURN(const auto use_regex, get_bool(json, "use_regex", what));
    if (prefix.value_or(true)) out.steps_.push_back({.kind = Step::Kind::kPrefixSpace});
    if (use_regex.value_or(true)) out.steps_.push_back({.kind = Step::Kind::kGpt2});
    out.steps_.push_back({.kind = Step::Kind::kSpell});
    return {};
  }
  if (*type == "BertPreTokenizer") {
    out.steps_.push_back({.kind = Step::Kind::kWhitespaceSplit, .behavior = Step::Behavior::kRemoved});
    out.steps_.push_back({.kind = Step::Kind::kPunctuation});
    return {};
  }
  if (*type == "Digits") {
    ASSIGN_OR_RETURN(const auto individual, get_bool(json, "individual_digits", what));
    step.kind = Step::Kind::kDigits;
    step.behavior = individual.value_or(false) ? Step::Behavior::kIsolated : Step::Behavior::kContiguous;
  } else if (*type == "WhitespaceSplit") {
    step.kind = Step::Kind::kWhitespaceSplit;
    step.behavior = Step::Behavior::kRemoved;
  } else if (*type == "Whitespace") {
    step.kind = Step::Kind::kWhitespace;
    step.behavior = Step::Behavior::kRemoved;
  } else if (*type == "CharDelimiterSplit") {
    ASSIGN_OR_RETURN(const auto delimiter, get_string(json, "delimiter", what));
    if (!delimiter || delimiter->empty() || static_cast<size_t>(code_point(*delimiter, 0).size) != delimiter->size()) {
      return invalid("{}: \"delimiter\" must be one character", what);
    }
    step.kind = Step::Kind::kSplit;
    step.behavior = Step::Behavior::kRemoved;
    step.pattern.literal = *delimiter;
  } else if (*type == "Metaspace") {
    step.kind = Step::Kind::kMetaspace;
    ASSIGN_OR_RETURN(const auto replacement, get_string(json, "replacement", what));
    ASSIGN_OR_RETURN(const auto scheme, get_string(json, "prepend_scheme", what));
    ASSIGN_OR_RETURN(const auto prefix, get_bool(json, "add_prefix_space", what));
    ASSIGN_OR_RETURN(const auto split, get_bool(json, "split", what));
    step.replacement = replacement.value_or("\u2581");
    step.split = split.value_or(true);
    const std::string s = scheme ? *scheme : prefix && !*prefix ? "never" : "always";
    if (s == "always") step.prepend = Step::Prepend::kAlways;
    else if (s == "first") step.prepend = Step::Prepend::kFirst;
    else if (s == "never") step.prepend = Step::Prepend::kNever;
    else return invalid("{}: prepend_scheme \"{}\" is none of always, first, never", what, s);
  } else if (*type == "Split" || *type == "Punctuation") {
    ASSIGN_OR_RETURN(const auto behavior, get_string(json, "behavior", what));
    const std::string b = behavior.value_or("Isolated");
    if (b == "Removed") step.behavior = Step::Behavior::kRemoved;
    else if (b == "Isolated") step.behavior = Step::Behavior::kIsolated;
    else if (b == "MergedWithPrevious") step.behavior = Step::Behavior::kMergedWithPrevious;
    else if (b == "MergedWithNext") step.behavior = Step::Behavior::kMergedWithNext;
    else if (b == "Contiguous") step.behavior = Step::Behavior::kContiguous;
    else return invalid("{}: behavior \"{}\" is not known", what, b);
    if (*type == "Punctuation") {
      step.kind = Step::Kind::kPunctuation;
    } else {
      if (!json.contains("pattern")) return invalid("{}: \"pattern\" is missing", what);
      ASSIGN_OR_RETURN(step.pattern, parse_pattern(json["pattern"], what));
      ASSIGN_OR_RETURN(const auto invert, get_bool(json, "invert", what));
      step.invert = invert.value_or(false);
      step.kind = Step::Kind::kSplit;
      // The three patterns that most models carry cover every character, so each match is a piece.
      if (!step.invert && step.behavior == Step::Behavior::kIsolated) {
        if (step.pattern.source == kGpt2Pattern) step.kind = Step::Kind::kGpt2;
        if (step.pattern.source == kLlama3Pattern) step.kind = Step::Kind::kLlama3, step.digits_max = 3;
        if (step.pattern.source == kQwenPattern) step.kind = Step::Kind::kLlama3, step.digits_max = 1;
      }
    }
  } else {
    return invalid("tokenizer.json: pre-tokenizer \"{}\" is not supported", *type);
  }
  out.steps_.push_back(std::move(step));
  return {};
}

Result<PreTokenizer> PreTokenizer::parse(const Json& json) {
  PreTokenizer p;
  if (json.is_null()) return p;
  RETURN_IF_ERROR(add(json, 0, p));
  const auto spells = [](const Step& step) { return step.kind == Step::Kind::kSpell; };
  const auto count = std::count_if(p.steps_.begin(), p.steps_.end(), spells);
  p.byte_level_ = count > 0;
  if (count == 1 && spells(p.steps_.back())) {
    p.raw_bytes_ = true;
    p.steps_.pop_back();
  }
  return p;
}

Result<PreTokenizer> PreTokenizer::from_gguf_name(const std::string& pre) {
  PreTokenizer p;
  p.byte_level_ = p.raw_bytes_ = true;
  if (pre == "smollm") {
    p.steps_.push_back({.kind = Step::Kind::kDigits, .behavior = Step::Behavior::kIsolated});
    p.steps_.push_back({.kind = Step::Kind::kGpt2});
  } else if (pre == "gpt-2" || pre == "gpt2") {
    p.steps_.push_back({.kind = Step::Kind::kGpt2});
  } else if (pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3") {
    p.steps_.push_back({.kind = Step::Kind::kLlama3, .digits_max = 3});
  } else if (pre == "qwen2") {
    p.steps_.push_back({.kind = Step::Kind::kLlama3, .digits_max = 1});
  } else {
    return invalid("tokenizer.ggml.pre \"{}\" is not supported (smollm, gpt-2, llama-bpe, qwen2 are); put the "
                   "model's tokenizer.json beside it", pre);
  }
  return p;
}

// NormalizedString::split of the tokenizers library, step by step: empty matches join and part too.
std::vector<Piece> PreTokenizer::split_by(const Step& step, const Piece& piece, const std::vector<Cut>& cuts) {
  std::vector<std::pair<size_t, size_t>> parts;
  bool previous = false;
  switch (step.behavior) {
    case Step::Behavior::kRemoved:
      for (const auto& c : cuts) {
        if (!c.matched) parts.emplace_back(c.begin, c.end);
      }
      break;
    case Step::Behavior::kIsolated:
      for (const auto& c : cuts) parts.emplace_back(c.begin, c.end);
      break;
    case Step::Behavior::kContiguous:
    case Step::Behavior::kMergedWithPrevious:
      for (const auto& c : cuts) {
        const bool joins = step.behavior == Step::Behavior::kContiguous ? c.matched == previous
                                                                        : c.matched && !previous;
        if (joins && !parts.empty()) parts.back().second = c.end;
        else parts.emplace_back(c.begin, c.end);
        previous = c.matched;
      }
      break;
    case Step::Behavior::kMergedWithNext:
      for (auto c = cuts.rbegin(); c != cuts.rend(); ++c) {
        if (c->matched && !previous && !parts.empty()) parts.back().first = c->begin;
        else parts.emplace_back(c->begin, c->end);
        previous = c->matched;
      }
      std::reverse(parts.begin(), parts.end());
      break;
  }
  std::vector<Piece> out;
  for (const auto& [begin, end] : parts) {
    if (end > begin) out.push_back({piece.text.substr(begin, end - begin), piece.at_start && begin == 0});
  }
  return out;
}

Result<std::vector<Piece>> PreTokenizer::run(const Step& step, Piece piece) {
  std::vector<Piece> out;
  const std::string_view text = piece.text;
  std::vector<Cut> cuts;
  const auto by_class = [&](const auto& is) {
    for (size_t i = 0; i < text.size();) {
      const auto c = code_point(text, i);
      const size_t next = i + static_cast<size_t>(c.size);
      const bool matched = is(c.value);
      // Stretches that do not match stand together; matches come one by one.
      if (!cuts.empty() && !matched && !cuts.back().matched) cuts.back().end = next;
      else cuts.push_back({i, next, matched});
      i = next;
    }
  };
  switch (step.kind) {
    case Step::Kind::kPrefixSpace:
      if (!text.empty() && text[0] != ' ') piece.text.insert(0, " ");
      out.push_back(std::move(piece));
      return out;
    case Step::Kind::kSpell:
      piece.text = spelling_of_bytes(piece.text);
      out.push_back(std::move(piece));
      return out;
    case Step::Kind::kGpt2:
    case Step::Kind::kLlama3:
      for (size_t i = 0; i < text.size();) {
        const size_t end = step.kind == Step::Kind::kGpt2 ? scan_gpt2(text, i) : scan_llama3(text, i, step.digits_max);
        out.push_back({std::string(text.substr(i, end - i)), piece.at_start && i == 0});
        i = end;
      }
      return out;
    case Step::Kind::kMetaspace: {
      std::string replaced = replace_all(text, " ", step.replacement);
      const bool prepend = step.prepend == Step::Prepend::kAlways ||
                           (step.prepend == Step::Prepend::kFirst && piece.at_start);
      if (prepend && !replaced.empty() && !replaced.starts_with(step.replacement)) replaced.insert(0, step.replacement);
      Piece whole{std::move(replaced), piece.at_start};
      if (!step.split) {
        if (!whole.text.empty()) out.push_back(std::move(whole));
        return out;
      }
      size_t open = 0;
      for (size_t at = whole.text.find(step.replacement, 0); at != std::string::npos;
           at = whole.text.find(step.replacement, at + step.replacement.size())) {
        if (at > open) out.push_back({whole.text.substr(open, at - open), whole.at_start && open == 0});
        open = at;
      }
      if (open < whole.text.size()) out.push_back({whole.text.substr(open), whole.at_start && open == 0});
      return out;
    }
    case Step::Kind::kDigits: by_class(is_numeric); break;
    case Step::Kind::kWhitespaceSplit: by_class(is_space); break;
    case Step::Kind::kWhitespace:  // \w+|[^\w\s]+: what is between goes
      for (size_t i = 0; i < text.size();) {
        const int32_t c = at_or(text, i);
        size_t end = 0;
        if (is_word(c)) end = run_of(text, i, is_word);
        else if (is_space(c)) end = run_of(text, i, is_space);
        else end = run_of(text, i, [](int32_t o) { return !is_word(o) && !is_space(o); });
        cuts.push_back({i, end, !is_word(c) && is_space(c)});
        i = end;
      }
      break;
    case Step::Kind::kPunctuation: by_class(is_punctuation); break;
    case Step::Kind::kSplit: {
      if (text.empty()) break;
      size_t at = 0;
      const auto match = [&](size_t begin, size_t end) {
        if (begin != at) cuts.push_back({at, begin, step.invert});
        cuts.push_back({begin, end, !step.invert});
        at = end;
      };
      if (step.pattern.regex) {
        ASSIGN_OR_RETURN(const auto found, step.pattern.regex->find_all(text));
        for (const auto& [begin, end] : found) match(begin, end);
      } else if (!step.pattern.literal.empty()) {
        for (size_t begin = text.find(step.pattern.literal); begin != std::string_view::npos;
             begin = text.find(step.pattern.literal, at)) {
          match(begin, begin + step.pattern.literal.size());
        }
      }
      if (at < text.size()) cuts.push_back({at, text.size(), step.invert});
      break;
    }
  }
  return split_by(step, piece, cuts);
}

Result<std::vector<Piece>> PreTokenizer::apply(Piece piece) const {
  std::vector<Piece> pieces;
  if (piece.text.empty()) return pieces;
  pieces.push_back(std::move(piece));
  for (const auto& step : steps_) {
    std::vector<Piece> next;
    for (auto& p : pieces) {
      ASSIGN_OR_RETURN(auto parts, run(step, std::move(p)));
      for (auto& part : parts) next.push_back(std::move(part));
    }
    pieces = std::move(next);
  }
  return pieces;
}

}  // namespace colony::text
