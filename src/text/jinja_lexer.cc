#include "text/jinja_lexer.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <cstdlib>

#include "text/jinja_text.h"

namespace colony::text::jinja {
namespace {

bool ascii_digit(char c) { return c >= '0' && c <= '9'; }

// One \n for \r\n and \r, and without the one newline that ends the template.
std::string normalise_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalise_newlines(source)) {
    if (!source_.empty() && source_.back() == '\n') source_.pop_back();
  }

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) {
      RETURN_IF_ERROR(root());
    }
    Token end;
    end.line = line_;
    tokens_.push_back(std::move(end));
    return std::move(tokens_);
  }

 private:
  char peek(size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }
  bool starts(std::string_view text, size_t at) const { return source_.compare(at, text.size(), text) == 0; }
  size_t skip_space(size_t at) const {
    while (at < source_.size()) {
      size_t next = at;
      if (!is_space(next_char(source_, next))) break;
      at = next;
    }
    return at;
  }
  Error fail(std::string_view why) const { return invalid("line {}: {}", line_, why); }

  void move_to(size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<long>(at_), source_.begin() + static_cast<long>(end), '\n'));
    at_ = end;
  }
  void emit(TokenKind kind, std::string text) {
    Token token;
    token.kind = kind;
    token.line = line_;
    token.text = std::move(text);
    tokens_.push_back(std::move(token));
  }

  // Emits the text before a tag, stripped as its sign ('-', '+' or none) says.
  void data(size_t end, char sign, bool may_lstrip) {
    std::string_view text = std::string_view(source_).substr(at_, end - at_);
    if (sign == '-') {
      text = strip(text, nullptr, false, true);
    } else if (sign != '+' && may_lstrip) {
      const size_t newline = text.rfind('\n');
      const size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
      if (line_start > 0 || line_starting_) {
        const auto tail = text.substr(line_start);
        if (!tail.empty() && strip(tail, nullptr, true, false).empty()) text = text.substr(0, line_start);
      }
    }
    if (!text.empty()) emit(TokenKind::kData, std::string(text));
    move_to(end);
  }

  // Where a tag that began may end with `close` ("%}", "#}", …): its sign was looked at before.
  // Returns the end of the match at `at`, or npos. Signs: '-' eats white space; '+' keeps the newline.
  size_t close_at(size_t at, std::string_view close, bool plus, bool trim_newline) const {
    if (plus && at < source_.size() && source_[at] == '+' && starts(close, at + 1)) return at + 1 + close.size();
    if (at < source_.size() && source_[at] == '-' && starts(close, at + 1)) return skip_space(at + 1 + close.size());
    if (!starts(close, at)) return std::string::npos;
    size_t end = at + close.size();
    if (trim_newline && end < source_.size() && source_[end] == '\n') ++end;
    return end;
  }
  void closed(size_t end) {
    line_starting_ = source_[end - 1] == '\n';
    move_to(end);
  }

  Status root() {
    size_t open = at_;
    while (true) {
      open = source_.find('{', open);
      if (open == std::string::npos || open + 1 >= source_.size()) {
        emit(TokenKind::kData, source_.substr(at_));
        move_to(source_.size());
        return {};
      }
      const char c = source_[open + 1];
      if (c == '%' || c == '{' || c == '#') break;
      ++open;
    }
    const char kind = source_[open + 1];
    const char after = open + 2 < source_.size() ? source_[open + 2] : '\0';
    const char sign = after == '-' || after == '+' ? after : '\0';
    const size_t inside = open + 2 + (sign != '\0' ? 1 : 0);
    data(open, sign, kind != '{');
    if (kind == '#') return comment(inside);
    if (kind == '%') {
      const size_t word = skip_space(inside);
      if (starts("raw", word)) {
        const size_t close = skip_space(word + 3);
        const size_t end = close_at(close, "%}", false, false);
        if (end != std::string::npos) {
          closed(end);
          return raw();
        }
      }
    }
    emit(kind == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin, "");
    move_to(inside);
    line_starting_ = false;
    return tag(kind == '%' ? "%}" : "}}", kind == '%');
  }

  Status comment(size_t inside) {
    const size_t close = source_.find("#}", inside);
    if (close == std::string::npos) return fail("Missing end of comment tag");
    const bool signed_close = close > inside && (source_[close - 1] == '-' || source_[close - 1] == '+');
    const size_t end = close_at(signed_close ? close - 1 : close, "#}", true, true);
    closed(end);
    return {};
  }

  Status raw() {
    for (size_t open = at_; (open = source_.find("{%", open)) != std::string::npos; ++open) {
      const char after = open + 2 < source_.size() ? source_[open + 2] : '\0';
      const char sign = after == '-' || after == '+' ? after : '\0';
      const size_t word = skip_space(open + 2 + (sign != '\0' ? 1 : 0));
      if (!starts("endraw", word)) continue;
      const size_t end = close_at(skip_space(word + 6), "%}", true, true);
      if (end == std::string::npos) continue;
      data(open, sign, true);
      closed(end);
      return {};
    }
    return fail("Missing end of raw directive");
  }

  // Everything between {{ or {% and its end.
  Status tag(std::string_view close, bool block) {
    std::string open_brackets;
    while (true) {
      if (at_ >= source_.size()) return {};  // the parser sees the end of the file
      if (open_brackets.empty()) {
        if (const size_t end = close_at(at_, close, block, block); end != std::string::npos) {
          emit(block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd, "");
          closed(end);
          return {};
        }
      }
      if (const size_t end = skip_space(at_); end != at_) {
        move_to(end);
        continue;
      }
      RETURN_IF_ERROR(number_name_string_or_operator(open_brackets));
    }
  }

  // digits with single underscores between them: (\d+_)*\d+
  size_t digits_end(size_t at) const {
    if (at >= source_.size() || !ascii_digit(source_[at])) return at;
    while (at < source_.size()) {
      if (ascii_digit(source_[at])) {
        ++at;
      } else if (source_[at] == '_' && at + 1 < source_.size() && ascii_digit(source_[at + 1])) {
        at += 2;
      } else {
        break;
      }
    }
    return at;
  }
  size_t float_end() const {
    if (at_ > 0 && source_[at_ - 1] == '.') return at_;
    const size_t whole = digits_end(at_);
    if (whole == at_) return at_;
    const auto exponent = [&](size_t at) {
      if (at >= source_.size() || (source_[at] != 'e' && source_[at] != 'E')) return at;
      size_t d = at + 1;
      if (d < source_.size() && (source_[d] == '+' || source_[d] == '-')) ++d;
      const size_t end = digits_end(d);
      return end == d ? at : end;
    };
    size_t end = whole;
    if (end < source_.size() && source_[end] == '.' && digits_end(end + 1) != end + 1) {
      end = digits_end(end + 1);
      return exponent(end);
    }
    const size_t with_exponent = exponent(whole);
    return with_exponent == whole ? at_ : with_exponent;
  }
  // Sets base and the start of the digits.
  size_t integer_end(int& base) const {
    base = 10;
    const char c = peek();
    if (!ascii_digit(c)) return at_;
    const auto run = [&](size_t at, auto&& ok) {
      while (at < source_.size()) {
        if (ok(source_[at])) {
          ++at;
        } else if (source_[at] == '_' && at + 1 < source_.size() && ok(source_[at + 1])) {
          at += 2;
        } else {
          break;
        }
      }
      return at;
    };
    if (c != '0') return run(at_, ascii_digit);
    const char kind = static_cast<char>(peek(1) | 0x20);
    size_t end = at_;
    if (kind == 'b') {
      end = run(at_ + 2, [](char d) { return d == '0' || d == '1'; });
      base = 2;
    } else if (kind == 'o') {
      end = run(at_ + 2, [](char d) { return d >= '0' && d <= '7'; });
      base = 8;
    } else if (kind == 'x') {
      end = run(at_ + 2, [](char d) { return ascii_digit(d) || ((d | 0x20) >= 'a' && (d | 0x20) <= 'f'); });
      base = 16;
    }
    if (end > at_ + 2) return end;
    base = 10;
    return run(at_, [](char d) { return d == '0'; });
  }

  Status number_name_string_or_operator(std::string& open_brackets) {
    const auto plain = [&](size_t from, size_t end) {
      std::string out = source_.substr(from, end - from);
      out.erase(std::remove(out.begin(), out.end(), '_'), out.end());
      return out;
    };
    if (const size_t end = float_end(); end != at_) {
      emit(TokenKind::kFloat, "");
      tokens_.back().real = std::strtod(plain(at_, end).c_str(), nullptr);
      move_to(end);
      return {};
    }
    int base = 10;
    if (const size_t end = integer_end(base); end != at_) {
      Int number = 0;
      if (!parse_int(plain(at_ + (base == 10 ? 0 : 2), end), base, number)) {
        return fail("an integer beyond 128 bits is not implemented");
      }
      emit(TokenKind::kInteger, "");
      tokens_.back().integer = number;
      move_to(end);
      return {};
    }
    size_t end = at_;
    while (end < source_.size()) {
      size_t next = end;
      const char32_t c = next_char(source_, next);
      if (!is_word(c) && !u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_XID_CONTINUE)) break;
      end = next;
    }
    if (end != at_) {
      std::string name = source_.substr(at_, end - at_);
      if (!is_identifier(name)) return fail("Invalid character in identifier");
      emit(TokenKind::kName, std::move(name));
      move_to(end);
      return {};
    }
    if (peek() == '\'' || peek() == '"') return string();
    return op(open_brackets);
  }

  Status string() {
    const char quote = peek();
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return fail(fmt::format("unexpected char '{}'", quote));
    ASSIGN_OR_RETURN(std::string text, unescape(std::string_view(source_).substr(at_ + 1, end - at_ - 1)));
    emit(TokenKind::kString, std::move(text));
    move_to(end + 1);
    return {};
  }

  // Python: text.encode("ascii", "backslashreplace").decode("unicode-escape"). A backslash before a
  // character beyond ASCII therefore escapes the backslash of that character's own escape.
  Result<std::string> unescape(std::string_view text) const {
    if (text.find('\\') == std::string_view::npos) return std::string(text);
    std::string in;
    for (size_t i = 0; i < text.size();) {
      const char32_t c = next_char(text, i);
      if (c < 0x80) {
        in += static_cast<char>(c);
      } else if (c < 0x100) {
        in += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
      } else if (c < 0x10000) {
        in += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
      } else {
        in += fmt::format("\\U{:08x}", static_cast<unsigned>(c));
      }
    }
    std::string out;
    for (size_t i = 0; i < in.size();) {
      if (in[i] != '\\') {
        out += in[i++];
        continue;
      }
      if (++i >= in.size()) return fail("\\ at end of string");
      const char c = in[i++];
      switch (c) {
        case '\n': continue;
        case '\\': out += '\\'; continue;
        case '\'': out += '\''; continue;
        case '"': out += '"'; continue;
        case 'a': out += '\a'; continue;
        case 'b': out += '\b'; continue;
        case 'f': out += '\f'; continue;
        case 'n': out += '\n'; continue;
        case 'r': out += '\r'; continue;
        case 't': out += '\t'; continue;
        case 'v': out += '\v'; continue;
        default: break;
      }
      char32_t value = 0;
      if (c >= '0' && c <= '7') {
        value = static_cast<char32_t>(c - '0');
        for (int k = 0; k < 2 && i < in.size() && in[i] >= '0' && in[i] <= '7'; ++k) {
          value = value * 8 + static_cast<char32_t>(in[i++] - '0');
        }
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const size_t n = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        Int parsed = 0;
        const bool hex = i + n <= in.size() &&
                         std::all_of(in.begin() + static_cast<long>(i), in.begin() + static_cast<long>(i + n),
                                     [](char d) { return std::isxdigit(static_cast<unsigned char>(d)) != 0; });
        if (!hex || !parse_int(std::string_view(in).substr(i, n), 16, parsed)) {
          return fail(fmt::format("truncated \\{} escape", c));
        }
        if (parsed > 0x10FFFF) return fail("illegal Unicode character");
        value = static_cast<char32_t>(parsed);
        if (value >= 0xD800 && value < 0xE000) return fail("a lone surrogate is not implemented");
        i += n;
      } else if (c == 'N') {
        const size_t close = i < in.size() && in[i] == '{' ? in.find('}', i) : std::string::npos;
        if (close == std::string::npos) return fail("malformed \\N character escape");
        UErrorCode status = U_ZERO_ERROR;
        const UChar32 found = u_charFromName(U_UNICODE_CHAR_NAME, in.substr(i + 1, close - i - 1).c_str(), &status);
        if (U_FAILURE(status)) return fail("unknown Unicode character name");
        value = static_cast<char32_t>(found);
        i = close + 1;
      } else {
        out += '\\';
        out += c;
        continue;
      }
      append_char(out, value);
    }
    return out;
  }

  Status op(std::string& open_brackets) {
    static constexpr std::string_view kTwo[] = {"//", "**", "==", "!=", ">=", "<="};
    std::string text(1, peek());
    for (const auto two : kTwo) {
      if (starts(two, at_)) text = two;
    }
    if (text.size() == 1 && std::string_view("+-/*%~[](){}<>=.:|,;").find(text[0]) == std::string_view::npos) {
      size_t next = at_;
      next_char(source_, next);
      return fail(fmt::format("unexpected char '{}'", source_.substr(at_, next - at_)));
    }
    const char c = text.size() == 1 ? text[0] : '\0';
    if (c == '(' || c == '[' || c == '{') {
      open_brackets += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (open_brackets.empty()) return fail(fmt::format("unexpected '{}'", c));
      const char expected = open_brackets.back();
      open_brackets.pop_back();
      if (expected != c) return fail(fmt::format("unexpected '{}', expected '{}'", c, expected));
    }
    const size_t length = text.size();
    emit(TokenKind::kOperator, std::move(text));
    move_to(at_ + length);
    return {};
  }

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace colony::text::jinja
