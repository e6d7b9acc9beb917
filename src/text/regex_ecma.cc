#include "text/regex_ecma.h"

#include <optional>

#include "text/unicode.h"

namespace colony::text {
namespace {

constexpr std::string_view kWord = "A-Za-z0-9_";
constexpr std::string_view kSpace =
    R"(\x{9}-\x{d}\x{20}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff})";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  Result<std::string> run() {
    while (at_ < in_.size()) RETURN_IF_ERROR(term());
    return std::move(out_);
  }

 private:
  Error wrong(std::string_view what) const {
    return invalid("regular expression {}: {} at byte {}", in_.substr(0, 200), what, at_);
  }
  char peek(size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  bool eat(std::string_view text) {
    if (!in_.substr(at_).starts_with(text)) return false;
    at_ += text.size();
    return true;
  }
  int32_t take() {
    const CodePoint c = code_point(in_, at_);
    at_ += static_cast<size_t>(c.size);
    return c.value;
  }
  static std::string literal(int32_t c) { return fmt::format("\\x{{{:x}}}", c); }

  // {n}, {n,} or {n,m} at at_: its length, or 0.
  size_t interval() const {
    size_t i = at_ + 1;
    const size_t first = i;
    while (i < in_.size() && is_digit(in_[i])) ++i;
    if (i == first) return 0;
    if (i < in_.size() && in_[i] == ',') {
      ++i;
      while (i < in_.size() && is_digit(in_[i])) ++i;
    }
    return i < in_.size() && in_[i] == '}' ? i + 1 - at_ : 0;
  }

  Status repeat() {
    const char c = peek();
    size_t size = c == '*' || c == '+' || c == '?' ? 1 : 0;
    if (c == '{') size = interval();
    if (size == 0) return {};
    const std::string_view taken = in_.substr(at_, size);
    at_ += size;
    // In Oniguruma {n}? is "n times or not at all": fewest of n and n is n.
    const bool fixed = c == '{' && taken.find(',') == std::string_view::npos;
    out_ += taken;
    if (peek() == '?') {
      ++at_;
      if (!fixed) out_ += '?';
    }
    if (peek() == '*' || peek() == '+' || peek() == '?' || (peek() == '{' && interval() > 0)) {
      return wrong("nothing to repeat");
    }
    return {};
  }

  Status term() {
    const char c = peek();
    switch (c) {
      case '^': ++at_, out_ += "\\A"; return {};
      case '$': ++at_, out_ += "\\z"; return {};
      case '|': ++at_, out_ += '|'; return {};
      case ')': ++at_, out_ += ')'; return repeat();
      case '(': return group();
      case '.': ++at_, out_ += R"([^\n\r\x{2028}\x{2029}])"; return repeat();
      case '[': {
        ASSIGN_OR_RETURN(const std::string set, char_class());
        out_ += set;
        return repeat();
      }
      case '*': case '+': case '?': return wrong("nothing to repeat");
      case '\\': {
        ASSIGN_OR_RETURN(const std::string escaped, escape());
        out_ += escaped;
        return repeat();
      }
      default:
        if (c == '{' && interval() > 0) return wrong("nothing to repeat");
        out_ += literal(take());
        return repeat();
    }
  }

  Status group() {
    for (const std::string_view open : {"(?:", "(?=", "(?!", "(?<=", "(?<!"}) {
      if (eat(open)) return out_ += open, Status();
    }
    if (eat("(?<")) {
      const size_t end = in_.find('>', at_);
      if (end == std::string_view::npos || end == at_) return wrong("a group's name does not end");
      out_ += fmt::format("(?<{}>", in_.substr(at_, end - at_));
      at_ = end + 1;
      return {};
    }
    if (peek(1) == '?') return wrong("this kind of group is not known");
    ++at_;
    out_ += '(';
    return {};
  }

  // \p{…} or \P{…}, at_ behind the letter.
  Result<std::string> property(bool negated) {
    const size_t end = in_.find('}', at_);
    if (peek() != '{' || end == std::string_view::npos) return wrong("\\p without {…}");
    std::string_view name = in_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    for (const std::string_view key : {"General_Category=", "gc=", "Script=", "sc="}) {
      if (name.starts_with(key)) name.remove_prefix(key.size());
    }
    if (name.find('=') != std::string_view::npos || name.empty()) return wrong("this property is not supported");
    return fmt::format("\\{}{{{}}}", negated ? 'P' : 'p', name);
  }

  std::optional<int32_t> hex(size_t digits) {
    if (at_ + digits > in_.size()) return std::nullopt;
    int32_t value = 0;
    for (size_t i = 0; i < digits; ++i) {
      const int digit = hex_value(in_[at_ + i]);
      if (digit < 0) return std::nullopt;
      value = value * 16 + digit;
    }
    at_ += digits;
    return value;
  }

  // The character of \xHH, \uHHHH, \u{…}, \cX, \t, … or an escaped sign; at_ behind the backslash.
  Result<int32_t> character() {
    if (at_ >= in_.size()) return wrong("\\ at the end");
    const char c = peek();
    ++at_;
    switch (c) {
      case 't': return 9;
      case 'n': return 10;
      case 'v': return 11;
      case 'f': return 12;
      case 'r': return 13;
      case '0':
        if (is_digit(peek())) return wrong("an octal number");
        return 0;
      case 'c': {
        const char letter = peek();
        if ((letter | 0x20) < 'a' || (letter | 0x20) > 'z') return wrong("\\c without a letter");
        ++at_;
        return letter & 31;
      }
      case 'x': {
        const auto value = hex(2);
        if (!value) return wrong("\\x without two hexadecimal digits");
        return *value;
      }
      case 'u': {
        if (eat("{")) {
          int32_t value = 0;
          size_t digits = 0;
          for (; hex_value(peek()) >= 0 && value <= 0x10ffff; ++at_, ++digits) value = value * 16 + hex_value(peek());
          if (digits == 0 || value > 0x10ffff || !eat("}")) return wrong("\\u{…} is no character");
          return value;
        }
        auto value = hex(4);
        if (!value) return wrong("\\u without four hexadecimal digits");
        if (*value >= 0xd800 && *value < 0xdc00 && in_.substr(at_).starts_with("\\u")) {
          const size_t back = at_;
          at_ += 2;
          const auto low = hex(4);
          if (low && *low >= 0xdc00 && *low < 0xe000) return 0x10000 + ((*value - 0xd800) << 10) + (*low - 0xdc00);
          at_ = back;
        }
        if (*value >= 0xd800 && *value < 0xe000) return wrong("half of a surrogate pair");
        return *value;
      }
      default: break;
    }
    --at_;
    const int32_t sign = take();
    // Letters and digits that mean nothing are an error with the u flag; signs stand for themselves.
    if (sign < 0x80 && (is_letter(sign) || is_number(sign))) return wrong(fmt::format("\\{} is not known", c));
    return sign;
  }

  // A set as a class's content ("A-Z") and whether it is to be negated; nullopt: not \d \s \w.
  std::optional<std::pair<std::string_view, bool>> set_escape(char c) {
    switch (c) {
      case 'd': return {{"0-9", false}};
      case 'D': return {{"0-9", true}};
      case 's': return {{kSpace, false}};
      case 'S': return {{kSpace, true}};
      case 'w': return {{kWord, false}};
      case 'W': return {{kWord, true}};
      default: return std::nullopt;
    }
  }

  Result<std::string> escape() {
    ++at_;
    const char c = peek();
    if (const auto set = set_escape(c)) {
      ++at_;
      return fmt::format("[{}{}]", set->second ? "^" : "", set->first);
    }
    if (c == 'b' || c == 'B') {
      ++at_;
      const auto form = c == 'b' ? "(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))"
                                 : "(?:(?<=[{0}])(?=[{0}])|(?<![{0}])(?![{0}]))";
      return fmt::format(fmt::runtime(form), kWord);
    }
    if (c == 'p' || c == 'P') {
      ++at_;
      return property(c == 'P');
    }
    if (c == 'k' && peek(1) == '<') {
      const size_t end = in_.find('>', at_);
      if (end == std::string_view::npos) return wrong("\\k<…> does not end");
      const std::string_view name = in_.substr(at_ + 2, end - at_ - 2);
      at_ = end + 1;
      return fmt::format("\\k<{}>", name);
    }
    if (c >= '1' && c <= '9') {
      const size_t first = at_;
      while (is_digit(peek())) ++at_;
      return fmt::format("\\k<{}>", in_.substr(first, at_ - first));
    }
    ASSIGN_OR_RETURN(const int32_t value, character());
    return literal(value);
  }

  Result<std::string> char_class() {
    ++at_;
    const bool negated = eat("^");
    std::string set;
    // One member; `single` when it is a character.
    const auto member = [&](std::optional<int32_t>& single) -> Result<std::string> {
      single.reset();
      if (peek() != '\\') {
        single = take();
        return literal(*single);
      }
      ++at_;
      const char c = peek();
      if (const auto s = set_escape(c)) {
        ++at_;
        return s->second ? fmt::format("[^{}]", s->first) : std::string(s->first);
      }
      if (c == 'p' || c == 'P') {
        ++at_;
        return property(c == 'P');
      }
      if (c == 'b' || c == '-') {
        ++at_;
        single = c == 'b' ? 8 : '-';
      } else {
        ASSIGN_OR_RETURN(single, character());
      }
      return literal(*single);
    };
    for (;;) {
      if (at_ >= in_.size()) return wrong("a class does not end");
      if (eat("]")) break;
      std::optional<int32_t> low, high;
      ASSIGN_OR_RETURN(const std::string first, member(low));
      set += first;
      if (peek() != '-' || peek(1) == ']' || peek(1) == '\0') continue;
      ++at_;
      ASSIGN_OR_RETURN(const std::string last, member(high));
      if (low && high) {
        if (*low > *high) return wrong("a range of a class is out of order");
        set += "-" + last;
      } else {  // [\d-x]: the hyphen stands for itself
        set += "\\-" + last;
      }
    }
    if (set.empty()) return std::string(negated ? R"([\x{0}-\x{10ffff}])" : "(?!)");
    return fmt::format("[{}{}]", negated ? "^" : "", set);
  }

  const std::string_view in_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

Result<std::string> regex_from_ecma(std::string_view pattern) { return Translator(pattern).run(); }

}  // namespace colony::text
