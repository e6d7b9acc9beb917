#include "text/regex.h"

#include <oniguruma.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <limits>
#include <mutex>

#include "text/regex_ecma.h"
#include "text/regex_encoding.h"
#include "text/unicode.h"

namespace colony::text {
namespace {

constexpr unsigned kParseDepthMax = 1000;  // nesting of a pattern; its parser is recursive

const OnigUChar* units(std::string_view text) {
  // An empty view may have no address; Oniguruma wants one.
  return reinterpret_cast<const OnigUChar*>(text.data() == nullptr ? "" : text.data());
}

std::string onig_message(int code, OnigErrorInfo* info = nullptr) {
  std::array<OnigUChar, ONIG_MAX_ERROR_MESSAGE_LEN + 1> buffer{};
  const int size = info != nullptr ? onig_error_code_to_str(buffer.data(), code, info)
                                   : onig_error_code_to_str(buffer.data(), code);
  return {reinterpret_cast<const char*>(buffer.data()), static_cast<size_t>(std::max(0, size))};
}

// Python's `re`: Oniguruma's own reading of it, with the possessive repeats of Python 3.11.
OnigSyntaxType python_syntax() {
  OnigSyntaxType syntax = *ONIG_SYNTAX_PYTHON;
  syntax.op2 |= ONIG_SYN_OP2_PLUS_POSSESSIVE_REPEAT | ONIG_SYN_OP2_PLUS_POSSESSIVE_INTERVAL;
  return syntax;
}

// onig_new writes to tables that all patterns share.
std::mutex& compile_lock() {
  static std::mutex lock;
  return lock;
}

// Outside a class Oniguruma 6.9.9 and later read \p{Word} as \w, which differs for ² and ½.
std::string word_as_escape(std::string_view pattern) {
  std::string out;
  int depth = 0;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '[') {
      ++depth;
    } else if (c == ']' && depth > 0) {
      --depth;
    }
    if (c != '\\' || i + 1 == pattern.size()) {
      out += c;
      continue;
    }
    const char kind = pattern[i + 1];
    const size_t end = pattern.find('}', i);
    if (depth == 0 && (kind == 'p' || kind == 'P') && pattern.substr(i + 2).starts_with('{') && end != std::string_view::npos) {
      std::string name;
      for (const char n : pattern.substr(i + 3, end - i - 3)) {
        if (n != ' ' && n != '-' && n != '_') name += static_cast<char>(n >= 'A' && n <= 'Z' ? n | 0x20 : n);
      }
      const bool inverted = name.starts_with('^');
      if (inverted) name.erase(0, 1);
      if (name == "word") {
        out += (kind == 'P') != inverted ? "\\W" : "\\w";
        i = end;
        continue;
      }
    }
    out += pattern.substr(i, 2);
    ++i;
  }
  return out;
}

Result<OnigRegex> make(std::string_view pattern, RegexSyntax syntax) {
  const std::lock_guard guard(compile_lock());
  static const int started = [] {
    onig_set_parse_depth_limit(kParseDepthMax);
    onig_set_warn_func(onig_null_warn);
    onig_set_verb_warn_func(onig_null_warn);
    OnigEncoding encoding = regex_encoding();
    return onig_initialize(&encoding, 1);
  }();
  if (started != ONIG_NORMAL) return exhausted("regular expression: {}", onig_message(started));
  static OnigSyntaxType python = python_syntax();
  OnigRegex regex = nullptr;
  OnigErrorInfo info{};
  const int code =
      onig_new(&regex, units(pattern), units(pattern) + pattern.size(),
               syntax == RegexSyntax::kEcma ? ONIG_OPTION_CAPTURE_GROUP : ONIG_OPTION_NONE,
               regex_encoding(), syntax == RegexSyntax::kPython ? &python : ONIG_SYNTAX_ONIGURUMA,
               &info);
  if (code == ONIGERR_MEMORY) return exhausted("regular expression: no memory for the pattern");
  if (code != ONIG_NORMAL) {
    return invalid("regular expression {}: {}", pattern.substr(0, 200), onig_message(code, &info));
  }
  return regex;
}

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct FreeRegion {
  void operator()(OnigRegion* region) const { onig_region_free(region, 1); }
};
struct FreeParam {
  void operator()(OnigMatchParam* param) const { onig_free_match_param(param); }
};

}  // namespace

struct Regex::State {
  OnigRegex code = nullptr;
  OnigRegex whole = nullptr;  // the pattern between \A and the end, for matches()
  RegexOptions options;
  bool from_here = false;  // names \G: where a search begins matters

  ~State() {
    if (code != nullptr) onig_free(code);
    if (whole != nullptr) onig_free(whole);
  }
};

// The searches of one subject, within its limits. Oniguruma can only be bounded by how often it steps
// back, and says nothing when it ends well; work between two such steps (an atomic loop) goes
// uncounted. So it is given few steps at first and more when it asks, and few places to begin at
// when the subject is long; between, the processor time is looked at.
struct Regex::Walk {
  const State& state;
  const OnigRegex code;
  const std::string_view subject;
  const std::unique_ptr<OnigRegion, FreeRegion> region{onig_region_new()};
  const std::unique_ptr<OnigMatchParam, FreeParam> param{onig_new_match_param()};
  const double until;
  uint64_t steps_left;
  size_t searches = 0;

  Walk(const State& s, OnigRegex regex, std::string_view text)
      : state(s), code(regex), subject(text),
        until(cpu_seconds() + s.options.seconds +
              s.options.seconds_per_mib * static_cast<double>(text.size()) / (1 << 20)),
        steps_left(s.options.steps + s.options.steps_per_byte * text.size()) {
    if (param == nullptr) return;
    onig_initialize_match_param(param.get());
    const uint64_t entries = std::min<uint64_t>(state.options.stack_entries, 100'000 + 6 * text.size());
    onig_set_match_stack_limit_size_of_match_param(param.get(), static_cast<unsigned>(entries));
  }

  Status in_time() const {
    if (cpu_seconds() < until) return {};
    return exhausted("regular expression: matching {} bytes takes too long; the pattern goes back over "
                     "the same text too often", subject.size());
  }

  // Whether there is a match at or after `from`; region holds it.
  Result<bool> search(size_t from) {
    if (region == nullptr || param == nullptr) return exhausted("regular expression: no memory");
    if (++searches % 16 == 0) RETURN_IF_ERROR(in_time());
    const OnigUChar* const begin = units(subject);
    const OnigUChar* const end = begin + subject.size();
    // Work between two looks at the clock: about 2^28 steps forward.
    const size_t size = std::max<size_t>(1, subject.size());
    size_t window = subject.size() <= (16 << 10) || state.from_here
                        ? subject.size() : std::max<size_t>(64, (size_t{1} << 28) / size);
    uint64_t steps = std::max<uint64_t>(1024, (uint64_t{1} << 28) / size);
    for (;;) {
      size_t stop = from + std::min(window, subject.size() - from);
      while (stop < subject.size() && (static_cast<unsigned char>(subject[stop]) & 0xc0) == 0x80) ++stop;
      steps = std::min(steps, std::max<uint64_t>(1, steps_left));
      onig_set_retry_limit_in_match_of_match_param(param.get(), steps);
      onig_set_retry_limit_in_search_of_match_param(param.get(), steps);
      const int found = onig_search_with_param(code, begin, end, begin + from, begin + stop, region.get(),
                                               ONIG_OPTION_NONE, param.get());
      if (found >= 0) return true;
      if (found == ONIG_MISMATCH) {
        if (stop == subject.size()) return false;
        RETURN_IF_ERROR(in_time());
        from = stop;
        window *= 2;
        continue;
      }
      if (found != ONIGERR_RETRY_LIMIT_IN_MATCH_OVER && found != ONIGERR_RETRY_LIMIT_IN_SEARCH_OVER) {
        return exhausted("regular expression: {} in a text of {} bytes", onig_message(found), subject.size());
      }
      steps_left -= steps;
      if (steps_left == 0) {
        return exhausted("regular expression: {} in a text of {} bytes; the pattern goes back over the "
                         "same text too often", onig_message(found), subject.size());
      }
      RETURN_IF_ERROR(in_time());
      steps *= 4;
    }
  }
};

Regex::Regex() : state_(std::make_unique<State>()) {}
Regex::~Regex() = default;

Result<std::shared_ptr<const Regex>> Regex::compile(std::string_view pattern,
                                                    const RegexOptions& options) {
  if (pattern.size() > options.pattern_bytes_max) {
    return invalid("regular expression of {} bytes; at most {} are allowed", pattern.size(),
                   options.pattern_bytes_max);
  }
  if (!valid_utf8(pattern)) return invalid("the regular expression is not UTF-8");
  std::string translated;
  if (options.syntax == RegexSyntax::kEcma) {
    ASSIGN_OR_RETURN(translated, regex_from_ecma(pattern));
    pattern = translated;
  } else if (options.syntax == RegexSyntax::kOniguruma && pattern.find("{") != std::string_view::npos) {
    translated = word_as_escape(pattern);
    pattern = translated;
  }
  std::shared_ptr<Regex> regex(new Regex());
  State& s = *regex->state_;
  s.options = options;
  s.from_here = pattern.find("\\G") != std::string_view::npos;
  ASSIGN_OR_RETURN(s.code, make(pattern, options.syntax));
  const char* const end = options.syntax == RegexSyntax::kPython ? ")\\Z" : ")\\z";
  auto whole = make(fmt::format("\\A(?:{}{}", pattern, end), options.syntax);
  // A comment of (?x) that runs to the end takes our bracket with it; a newline ends the comment.
  if (!whole) whole = make(fmt::format("\\A(?:{}\n{}", pattern, end), options.syntax);
  if (whole) s.whole = *whole;
  return std::shared_ptr<const Regex>(std::move(regex));
}

Result<std::optional<std::vector<Regex::Span>>> Regex::find(std::string_view subject,
                                                            size_t from) const {
  using Found = std::optional<std::vector<Span>>;
  if (from > subject.size()) return Found();
  if (!valid_utf8(subject)) return invalid("regular expression: the text is not UTF-8");
  Walk walk(*state_, state_->code, subject);
  ASSIGN_OR_RETURN(const bool found, walk.search(from));
  if (!found) return Found();
  std::vector<Span> spans;
  for (int i = 0; i < walk.region->num_regs; ++i) {
    const int begin = walk.region->beg[i], end = walk.region->end[i];
    if (begin < 0) {
      spans.emplace_back(std::string::npos, std::string::npos);
    } else {
      // \K in a lookahead can put the start behind the end; such a span is empty.
      spans.emplace_back(static_cast<size_t>(begin), static_cast<size_t>(std::max(begin, end)));
    }
  }
  return Found(std::move(spans));
}

Result<std::vector<Regex::Span>> Regex::find_all(std::string_view subject) const {
  if (!valid_utf8(subject)) return invalid("regular expression: the text is not UTF-8");
  Walk walk(*state_, state_->code, subject);
  std::vector<Span> spans;
  std::optional<size_t> before;  // where the last match ended
  for (size_t from = 0; from <= subject.size();) {
    ASSIGN_OR_RETURN(const bool found, walk.search(from));
    if (!found) break;
    const auto begin = static_cast<size_t>(walk.region->beg[0]);
    const auto end = static_cast<size_t>(walk.region->end[0]);
    if (begin == end && before == end) {
      if (from >= subject.size()) break;
      from += static_cast<size_t>(code_point(subject, from).size);
      continue;
    }
    // \K can put the start before the end of the last match, or behind its own end.
    const size_t least = before.value_or(0);
    if (end < least || begin < least || begin > end) {
      return invalid("regular expression: a match overlaps the one before it (\\K in a lookaround)");
    }
    spans.emplace_back(begin, end);
    from = end;
    before = end;
  }
  return spans;
}

Result<bool> Regex::matches(std::string_view subject) const {
  if (state_->whole == nullptr) {
    return invalid("regular expression: the pattern cannot be asked to match a whole text");
  }
  if (!valid_utf8(subject)) return invalid("regular expression: the text is not UTF-8");
  Walk walk(*state_, state_->whole, subject);
  return walk.search(0);
}

}  // namespace colony::text
