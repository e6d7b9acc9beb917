#include "data/compare.h"

#include <algorithm>
#include <map>

#include "text/fold.h"

namespace colony::data {
namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }
bool letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) >= 0x80;
}

// Without currency signs ($, U+00A2…A5, U+20A0…20CF) and with U+2212 as '-'.
std::string plain_numbers(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = [&](size_t ahead) {
      return i + ahead < text.size() ? static_cast<unsigned char>(text[i + ahead]) : 0;
    };
    if (text[i] == '$') continue;
    if (byte(0) == 0xC2 && byte(1) >= 0xA2 && byte(1) <= 0xA5) {
      i += 1;
    } else if (byte(0) == 0xE2 && ((byte(1) == 0x82 && byte(2) >= 0xA0 && byte(2) <= 0xBF) ||
                                   (byte(1) == 0x83 && byte(2) >= 0x80 && byte(2) <= 0x8F))) {
      i += 2;
    } else if (byte(0) == 0xE2 && byte(1) == 0x88 && byte(2) == 0x92) {
      out += '-';
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

// Reads the exponent's digits at `at`; saturates far beyond what any text can balance.
int64_t read_exponent(std::string_view text, size_t& at) {
  int64_t value = 0;
  for (; at < text.size() && digit(text[at]); ++at) {
    value = std::min<int64_t>(value * 10 + (text[at] - '0'), 1'000'000'000'000);
  }
  return value;
}

Decimal normal(bool negative, std::string digits, int64_t exponent) {
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  while (!digits.empty() && digits.back() == '0') {
    digits.pop_back();
    ++exponent;
  }
  if (digits.empty()) return {};
  return {negative, std::move(digits), exponent};
}

}  // namespace

std::optional<Decimal> last_number(std::string_view raw) {
  const std::string text = plain_numbers(raw);
  std::optional<Decimal> last;
  for (size_t at = 0; at < text.size();) {
    const bool fraction_only = text[at] == '.' && at + 1 < text.size() && digit(text[at + 1]) &&
                               (at == 0 || (!digit(text[at - 1]) && !letter(text[at - 1])));
    if (!digit(text[at]) && !fraction_only) {
      ++at;
      continue;
    }
    const bool negative =
        at > 0 && text[at - 1] == '-' &&
        (at == 1 || (!digit(text[at - 2]) && !letter(text[at - 2]) && text[at - 2] != ')' &&
                     text[at - 2] != ']'));
    std::string digits;
    int64_t exponent = 0;
    while (at < text.size()) {
      if (digit(text[at])) {
        digits += text[at++];
      } else if (text[at] == ',' && at + 1 < text.size() && digit(text[at + 1]) && !digits.empty()) {
        ++at;
      } else {
        break;
      }
    }
    if (at + 1 < text.size() && text[at] == '.' && digit(text[at + 1])) {
      for (++at; at < text.size() && digit(text[at]); ++at) {
        digits += text[at];
        --exponent;
      }
    }
    if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
      size_t ahead = at + 1;
      const bool minus = ahead < text.size() && text[ahead] == '-';
      if (ahead < text.size() && (text[ahead] == '-' || text[ahead] == '+')) ++ahead;
      if (ahead < text.size() && digit(text[ahead])) {
        const int64_t power = read_exponent(text, ahead);
        exponent += minus ? -power : power;
        at = ahead;
      }
    }
    last = normal(negative, std::move(digits), exponent);
  }
  return last;
}

namespace {

// The end of the piece that begins at `begin`: the next ';' or new line outside brackets. Brackets
// only count before a '=' (a value may hold a lone '[').
size_t piece_end(std::string_view text, size_t begin) {
  bool inside = false, assigned = false;
  for (size_t i = begin; i < text.size(); ++i) {
    const char c = text[i];
    if (inside) {
      inside = c != ']';
    } else if (c == ';' || c == '\n') {
      return i;
    } else if (c == '=') {
      assigned = true;
    } else if (c == '[' && !assigned) {
      // An opening bracket that never closes is a letter like any other.
      inside = text.find(']', i) != std::string_view::npos;
    }
  }
  return text.size();
}

// Calls `found(name, value)` for each name[value] of `text`; names begin after the last ',' or line.
template <typename Found>
void each_bracket(std::string_view text, Found found) {
  size_t name_begin = 0;
  while (true) {
    const size_t open = text.find('[', name_begin);
    if (open == std::string_view::npos) return;
    const size_t close = text.find(']', open);
    if (close == std::string_view::npos) return;
    std::string_view name = text.substr(name_begin, open - name_begin);
    if (const size_t comma = name.find_last_of(",;\n"); comma != std::string_view::npos) {
      name.remove_prefix(comma + 1);
    }
    name = text::trim(name);
    if (!name.empty()) found(name, text.substr(open + 1, close - open - 1));
    name_begin = close + 1;
  }
}

}  // namespace

Slots parse_slots(std::string_view text) {
  Slots slots;
  text = text::trim(text);
  if (text == "none") return slots;
  bool first = true;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = piece_end(text, begin);
    const std::string_view piece = text::trim(text.substr(begin, end - begin));
    begin = end + 1;
    if (piece.empty()) {
      first = false;
      continue;
    }
    const size_t equals = piece.find('=');
    if (equals != std::string_view::npos && equals < piece.find('[')) {
      slots.emplace(text::trim(piece.substr(0, equals)), text::trim(piece.substr(equals + 1)));
    } else {
      size_t pairs = 0;
      each_bracket(piece, [&](std::string_view name, std::string_view value) {
        slots.emplace(name, text::trim(value));
        ++pairs;
      });
      if (pairs == 0 && first && equals == std::string_view::npos) slots.emplace("intent", piece);
    }
    first = false;
  }
  return slots;
}

std::vector<std::string> bracket_values(std::string_view text) {
  std::vector<std::string> values;
  each_bracket(text, [&](std::string_view, std::string_view value) {
    values.emplace_back(text::trim(value));
  });
  return values;
}

namespace {
double f1(size_t common, size_t expected, size_t found) {
  if (expected + found == 0) return 1;
  return 2.0 * static_cast<double>(common) / static_cast<double>(expected + found);
}
}  // namespace

double slots_f1(const Slots& expected, const Slots& found) {
  size_t common = 0;
  for (const auto& slot : expected) common += found.count(slot);
  return f1(common, expected.size(), found.size());
}

double token_f1(std::string_view expected, std::string_view found) {
  const auto want = text::split_space(expected), got = text::split_space(found);
  std::map<std::string_view, size_t> left;
  for (const auto& token : want) ++left[token];
  size_t common = 0;
  for (const auto& token : got) {
    const auto at = left.find(token);
    if (at == left.end() || at->second == 0) continue;
    --at->second;
    ++common;
  }
  return f1(common, want.size(), got.size());
}

bool json_equal(const Json& a, const Json& b) {
  if (a.is_object() && b.is_object()) {
    if (a.size() != b.size()) return false;
    for (const auto& [key, value] : a.items()) {
      const auto other = b.find(key);
      if (other == b.end() || !json_equal(value, *other)) return false;
    }
    return true;
  }
  if (a.is_array() && b.is_array()) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), json_equal);
  }
  return a == b;  // nlohmann compares numbers of different kinds by value
}

}  // namespace colony::data
