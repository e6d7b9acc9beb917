// Regular expressions over UTF-8 (PCRE2, Unicode properties), bounded against hostile input.
//
// A search stops with kExhausted when it passes the match limit, so a pattern from outside costs a
// bounded time. Threads: any, once compiled.
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

struct RegexOptions {
  uint32_t match_limit = 1'000'000;  // backtracking steps of one search
  uint32_t depth_limit = 10'000;
  uint32_t heap_limit_kib = 20'000;
  size_t pattern_bytes_max = 64 << 10;
};

class Regex {
 public:
  // Fails kInvalid: the pattern is not UTF-8, too long, or wrong (the message has the offset).
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

 private:
  Regex();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace colony::text
