// Regular expressions over UTF-8 (Oniguruma, Unicode 16), bounded against hostile patterns and texts.
//
// Three ways to read a pattern: kOniguruma is what Hugging Face tokenizers reads (syntax and options
// of its `onig` crate), kPython is Python's `re`, kEcma is JavaScript's with the u flag, which JSON
// Schema's "pattern" means. Threads: any, once compiled; compile() locks.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace colony::text {

enum class RegexSyntax { kOniguruma, kPython, kEcma };

struct RegexOptions {
  RegexSyntax syntax = RegexSyntax::kOniguruma;
  // Steps back that a subject of n bytes may cost in all: steps + steps_per_byte * n.
  uint64_t steps = 20'000'000;
  uint64_t steps_per_byte = 200;
  // Processor time that a subject may cost, looked at between stretches of it.
  double seconds = 2, seconds_per_mib = 20;
  uint32_t stack_entries = 4'000'000;  // points to go back to that are held at once (64 bytes each)
  size_t pattern_bytes_max = 64 << 10;
};

class Regex {
 public:
  // Fails kInvalid: the pattern is not UTF-8, too long, or wrong; kExhausted: too large for memory.
  static Result<std::shared_ptr<const Regex>> compile(std::string_view pattern,
                                                      const RegexOptions& options = {});
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // Byte ranges [begin, end) of the first match at or after `from` and of its groups (npos, npos for
  // a group that took no part); nothing when there is none. Fails kInvalid (`subject` is not UTF-8),
  // kExhausted (a limit).
  using Span = std::pair<size_t, size_t>;
  Result<std::optional<std::vector<Span>>> find(std::string_view subject, size_t from = 0) const;
  // Every match, left to right, as the tokenizers library walks them: an empty match counts unless
  // it stands where the match before ended. Fails as find; the limits hold for the whole walk.
  Result<std::vector<Span>> find_all(std::string_view subject) const;
  // Whether the whole subject matches (Python's re.fullmatch). Fails as find.
  Result<bool> matches(std::string_view subject) const;

 private:
  Regex();
  struct State;
  struct Walk;
  std::unique_ptr<State> state_;
};

}  // namespace colony::text
