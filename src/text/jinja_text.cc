#include "text/jinja_text.h"

#include <unicode/bytestream.h>
#include <unicode/casemap.h>
#include <unicode/uchar.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/result.h"

namespace colony::text::jinja {

bool valid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) {
      ++i;
      continue;
    }
    const size_t n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (c < 0xC2 || c > 0xF4 || i + n > text.size()) return false;
    char32_t value = c & (0xFFu >> (n + 1));
    for (size_t k = 1; k < n; ++k) {
      const auto d = static_cast<unsigned char>(text[i + k]);
      if ((d & 0xC0) != 0x80) return false;
      value = (value << 6) | (d & 0x3Fu);
    }
    if ((n == 3 && value < 0x800) || (n == 4 && value < 0x10000) || value > 0x10FFFF ||
        (value >= 0xD800 && value < 0xE000)) {
      return false;
    }
    i += n;
  }
  return true;
}

size_t utf8_length(std::string_view text) {
  size_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

char32_t next_char(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const char32_t c = byte(at);
  if (c < 0x80) {
    ++at;
    return c;
  }
  if (c < 0xE0) {
    const char32_t v = ((c & 0x1F) << 6) | (byte(at + 1) & 0x3F);
    at = std::min(at + 2, text.size());
    return v;
  }
  if (c < 0xF0) {
    const char32_t v = ((c & 0x0F) << 12) | ((byte(at + 1) & 0x3F) << 6) | (byte(at + 2) & 0x3F);
    at = std::min(at + 3, text.size());
    return v;
  }
  const char32_t v = ((c & 0x07) << 18) | ((byte(at + 1) & 0x3F) << 12) |
                     ((byte(at + 2) & 0x3F) << 6) | (byte(at + 3) & 0x3F);
  at = std::min(at + 4, text.size());
  return v;
}

void append_char(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

size_t byte_offset(std::string_view text, size_t index) {
  size_t i = 0;
  while (i < text.size() && index > 0) {
    ++i;
    while (i < text.size() && (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) ++i;
    --index;
  }
  return i;
}

namespace {
UChar32 uc(char32_t c) { return static_cast<UChar32>(c); }
bool ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}
int numeric_type(char32_t c) { return u_getIntPropertyValue(uc(c), UCHAR_NUMERIC_TYPE); }

enum class Case { kUpper, kLower, kFold, kTitle };
std::string map_case(std::string_view text, Case how) {
  std::string out;
  icu::StringByteSink<std::string> sink(&out, static_cast<int32_t>(text.size()));
  const icu::StringPiece piece(text.data(), static_cast<int32_t>(text.size()));
  UErrorCode status = U_ZERO_ERROR;
  switch (how) {
    case Case::kUpper: icu::CaseMap::utf8ToUpper("", 0, piece, sink, nullptr, status); break;
    case Case::kLower: icu::CaseMap::utf8ToLower("", 0, piece, sink, nullptr, status); break;
    case Case::kFold: icu::CaseMap::utf8Fold(0, piece, sink, nullptr, status); break;
    case Case::kTitle:
      icu::CaseMap::utf8ToTitle("", U_TITLECASE_WHOLE_STRING | U_TITLECASE_NO_BREAK_ADJUSTMENT,
                                nullptr, piece, sink, nullptr, status);
      break;
  }
  return U_SUCCESS(status) ? out : std::string(text);
}
}  // namespace

bool is_space(char32_t c) {
  if (c < 0x80) return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}
bool is_alpha(char32_t c) { return (U_GET_GC_MASK(uc(c)) & U_GC_L_MASK) != 0; }
bool is_decimal(char32_t c) { return numeric_type(c) == U_NT_DECIMAL; }
bool is_digit(char32_t c) {
  const int type = numeric_type(c);
  return type == U_NT_DECIMAL || type == U_NT_DIGIT;
}
bool is_numeric(char32_t c) { return numeric_type(c) != U_NT_NONE; }
bool is_word(char32_t c) { return c == '_' || is_alpha(c) || is_numeric(c); }
bool is_printable(char32_t c) {
  if (c < 0x7F) return c >= 0x20;
  return (U_GET_GC_MASK(uc(c)) & (U_GC_C_MASK | U_GC_Z_MASK)) == 0;
}
bool is_lower(char32_t c) { return u_hasBinaryProperty(uc(c), UCHAR_LOWERCASE) != 0; }
bool is_upper(char32_t c) { return u_hasBinaryProperty(uc(c), UCHAR_UPPERCASE) != 0; }
bool is_title(char32_t c) { return u_charType(uc(c)) == U_TITLECASE_LETTER; }

bool is_identifier(std::string_view text) {
  if (text.empty()) return false;
  for (size_t i = 0; i < text.size();) {
    const bool first = i == 0;
    const char32_t c = next_char(text, i);
    if (c == '_') continue;
    if (!u_hasBinaryProperty(uc(c), first ? UCHAR_XID_START : UCHAR_XID_CONTINUE)) return false;
  }
  return true;
}

std::string to_upper(std::string_view text) {
  if (!ascii(text)) return map_case(text, Case::kUpper);
  std::string out(text);
  for (char& c : out) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  return out;
}
std::string to_lower(std::string_view text) {
  if (!ascii(text)) return map_case(text, Case::kLower);
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}
std::string to_casefold(std::string_view text) { return map_case(text, Case::kFold); }
std::string to_capitalized(std::string_view text) {
  if (text.empty()) return {};
  const size_t first = byte_offset(text, 1);
  // The rest is lowered with its context (a capital sigma at a word's end).
  const std::string lowered = to_lower(text);
  const std::string head = to_lower(text.substr(0, first));
  std::string out = map_case(text.substr(0, first), Case::kTitle);
  out += lowered.compare(0, head.size(), head) == 0 ? lowered.substr(head.size())
                                                    : to_lower(text.substr(first));
  return out;
}
std::string to_titled(std::string_view text) {
  std::string out;
  bool in_word = false;
  for (size_t i = 0; i < text.size();) {
    const size_t from = i;
    const char32_t c = next_char(text, i);
    out += map_case(text.substr(from, i - from), in_word ? Case::kLower : Case::kTitle);
    in_word = u_hasBinaryProperty(uc(c), UCHAR_CASED) != 0;
  }
  return out;
}
std::string swap_case(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const size_t from = i;
    const char32_t c = next_char(text, i);
    const auto piece = text.substr(from, i - from);
    out += is_upper(c) ? to_lower(piece) : is_lower(c) ? to_upper(piece) : std::string(piece);
  }
  return out;
}

std::string_view strip(std::string_view text, const std::string_view* chars, bool left,
                       bool right) {
  const auto gone = [&](char32_t c) {
    if (chars == nullptr) return is_space(c);
    for (size_t i = 0; i < chars->size();) {
      if (next_char(*chars, i) == c) return true;
    }
    return false;
  };
  size_t from = 0, to = text.size();
  while (left && from < to) {
    size_t next = from;
    if (!gone(next_char(text, next))) break;
    from = next;
  }
  while (right && to > from) {
    size_t start = to - 1;
    while (start > from && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
    size_t at = start;
    if (!gone(next_char(text, at))) break;
    to = start;
  }
  return text.substr(from, to - from);
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> out;
  size_t from = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t at = i;
    const char32_t c = next_char(text, i);
    const bool end = (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 ||
                     c == 0x2028 || c == 0x2029;
    if (!end) continue;
    if (c == '\r' && i < text.size() && text[i] == '\n') ++i;
    out.push_back(text.substr(from, (keep_ends ? i : at) - from));
    from = i;
  }
  if (from < text.size()) out.push_back(text.substr(from));
  return out;
}

std::vector<std::string_view> split_space(std::string_view text, long max, bool from_right) {
  std::vector<std::string_view> out;
  std::string_view rest = text;
  while (true) {
    rest = strip(rest, nullptr, !from_right, from_right);
    if (rest.empty()) break;
    if (max >= 0 && out.size() == static_cast<size_t>(max)) {
      out.push_back(strip(rest, nullptr, from_right, !from_right));
      break;
    }
    if (from_right) {
      size_t start = rest.size();
      while (start > 0) {
        size_t at = start - 1;
        while (at > 0 && (static_cast<unsigned char>(rest[at]) & 0xC0) == 0x80) --at;
        size_t next = at;
        if (is_space(next_char(rest, next))) break;
        start = at;
      }
      out.push_back(rest.substr(start));
      rest = rest.substr(0, start);
    } else {
      size_t end = 0;
      while (end < rest.size()) {
        size_t next = end;
        if (is_space(next_char(rest, next))) break;
        end = next;
      }
      out.push_back(rest.substr(0, end));
      rest = rest.substr(end);
    }
  }
  if (from_right) std::reverse(out.begin(), out.end());
  return out;
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  std::string_view text(buffer, static_cast<size_t>(end - buffer));
  std::string out;
  if (text.front() == '-') {
    out = "-";
    text.remove_prefix(1);
  }
  const size_t e = text.find('e');
  int exponent = 0;
  std::string_view power = text.substr(e + 1);
  if (power.front() == '+') power.remove_prefix(1);
  std::from_chars(power.data(), power.data() + power.size(), exponent);
  std::string digits(text.substr(0, 1));
  if (e > 2) digits += text.substr(2, e - 2);
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (count > 1) out += "." + digits.substr(1);
    return out + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1) {
    return out + digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  }
  return out + digits.substr(0, static_cast<size_t>(exponent + 1)) + "." +
         digits.substr(static_cast<size_t>(exponent + 1));
}

void append_repr(std::string& out, std::string_view text) {
  const bool doubled = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = doubled ? '"' : '\'';
  out += quote;
  for (size_t i = 0; i < text.size();) {
    const size_t from = i;
    const char32_t c = next_char(text, i);
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (is_printable(c)) {
      out += text.substr(from, i - from);
    } else if (c < 0x100) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    } else if (c < 0x10000) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += fmt::format("\\U{:08x}", static_cast<unsigned>(c));
    }
  }
  out += quote;
}

}  // namespace colony::text::jinja
