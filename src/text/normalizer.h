// tokenizer.json's "normalizer": text to text, piece by piece (hf_compat 2.4).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/regex.h"

namespace colony::text {

class Normalizer {
 public:
  // null gives one that changes nothing. Fails kInvalid naming the unknown type or field.
  static Result<Normalizer> parse(const Json& json);
  // Llama's legacy form: Prepend "▁", Replace " " by "▁".
  static Normalizer llama(bool prefix);
  Result<std::string> apply(std::string text) const;
  bool empty() const { return steps_.empty(); }
  // A step is ByteLevel: the text is spelled in GPT-2's byte characters.
  bool byte_level() const;

 private:
  struct Step {
    enum class Kind { kNfc, kNfd, kNfkc, kNfkd, kLowercase, kPrepend, kReplace, kReplaceRegex, kStrip, kStripAccents, kByteLevel };
    Kind kind = Kind::kNfc;
    std::string what, with;  // Prepend: what; Replace: what, with
    std::shared_ptr<const Regex> regex;
    bool left = false, right = false;  // Strip
  };
  static Status add(const Json& json, int depth, std::vector<Step>& steps);
  std::vector<Step> steps_;
};

// "from" replaced by "to" everywhere, left to right.
std::string replace_all(std::string_view text, std::string_view from, std::string_view to);
// Every match of `regex` replaced, empty ones too; an empty text stays. Fails as Regex::find.
Result<std::string> replace_all(std::string_view text, const Regex& regex, std::string_view to);
// A tokenizer.json pattern {"String": s} or {"Regex": s}: exactly one of the two is set.
struct Pattern {
  std::string literal, source;
  std::shared_ptr<const Regex> regex;
};
Result<Pattern> parse_pattern(const Json& json, const std::string& what);

}  // namespace colony::text
