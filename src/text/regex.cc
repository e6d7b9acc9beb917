#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

namespace colony::text {
namespace {

std::string pcre_message(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

PCRE2_SPTR units(std::string_view text) {
  // An empty view may have no address; PCRE2 wants one.
  return reinterpret_cast<PCRE2_SPTR>(text.data() == nullptr ? "" : text.data());
}

struct FreeMatchData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

}  // namespace

struct Regex::State {
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;

  ~State() {
    pcre2_match_context_free(context);
    pcre2_code_free(code);
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
  int code = 0;
  PCRE2_SIZE offset = 0;
  // NEVER_BACKSLASH_C: \C would split a character.
  std::shared_ptr<Regex> regex(new Regex());
  regex->state_->code = pcre2_compile(units(pattern), pattern.size(),
                                      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code,
                                      &offset, nullptr);
  if (regex->state_->code == nullptr) {
    return invalid("regular expression: {} at byte {}", pcre_message(code), offset);
  }
  regex->state_->context = pcre2_match_context_create(nullptr);
  if (regex->state_->context == nullptr) return exhausted("regular expression: no memory");
  pcre2_set_match_limit(regex->state_->context, options.match_limit);
  pcre2_set_depth_limit(regex->state_->context, options.depth_limit);
  pcre2_set_heap_limit(regex->state_->context, options.heap_limit_kib);
  return std::shared_ptr<const Regex>(std::move(regex));
}

Result<std::optional<std::vector<Regex::Span>>> Regex::find(std::string_view subject,
                                                            size_t from) const {
  using Found = std::optional<std::vector<Span>>;
  if (from > subject.size()) return Found();
  const std::unique_ptr<pcre2_match_data, FreeMatchData> data(
      pcre2_match_data_create_from_pattern(state_->code, nullptr));
  if (data == nullptr) return exhausted("regular expression: no memory");
  const int count = pcre2_match(state_->code, units(subject), subject.size(), from, 0, data.get(),
                                state_->context);
  if (count == PCRE2_ERROR_NOMATCH) return Found();
  if (count == PCRE2_ERROR_MATCHLIMIT || count == PCRE2_ERROR_DEPTHLIMIT ||
      count == PCRE2_ERROR_HEAPLIMIT) {
    return exhausted("regular expression: {}", pcre_message(count));
  }
  if (count < 0) return invalid("regular expression: {}", pcre_message(count));
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data.get());
  std::vector<Span> spans;
  for (uint32_t i = 0; i < pcre2_get_ovector_count(data.get()); ++i) {
    // \K in a lookahead can put the start behind the end; such a span is empty.
    const size_t begin = ends[2 * i], end = ends[2 * i + 1];
    spans.emplace_back(begin, begin <= end ? end : begin);
  }
  return Found(std::move(spans));
}

}  // namespace colony::text
