#include "text/unicode.h"

#include <unicode/normalizer2.h>
#include <unicode/stringpiece.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <array>

#include "text/unicode_tables.h"

namespace colony::text {

CodePoint code_point(std::string_view text, size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  if (first < 0x80) return {first, 1};
  UChar32 c = 0;
  auto i = static_cast<int32_t>(0);
  const auto left = static_cast<int32_t>(std::min<size_t>(4, text.size() - at));
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data() + at);
  U8_NEXT_OR_FFFD(bytes, i, left, c);
  return {c, i};
}

bool valid_utf8(std::string_view text) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  size_t i = 0;
  while (i < text.size()) {
    if (bytes[i] < 0x80) {
      ++i;
      continue;
    }
    UChar32 c = 0;
    int32_t used = 0;
    const auto left = static_cast<int32_t>(std::min<size_t>(4, text.size() - i));
    U8_NEXT(bytes + i, used, left, c);
    if (c < 0) return false;
    i += static_cast<size_t>(used);
  }
  return true;
}

void append_utf8(int32_t c, std::string& out) {
  std::array<uint8_t, 4> bytes{};
  int32_t size = 0;
  U8_APPEND_UNSAFE(bytes.data(), size, static_cast<uint32_t>(c));
  out.append(reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(size));
}

std::string lossy_utf8(std::string_view text) {
  if (valid_utf8(text)) return std::string(text);
  std::string out;
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  size_t i = 0;
  while (i < text.size()) {
    UChar32 c = 0;
    int32_t used = 0;
    const auto left = static_cast<int32_t>(std::min<size_t>(4, text.size() - i));
    U8_NEXT(bytes + i, used, left, c);  // takes the maximal broken part, as the standard advises
    append_utf8(c < 0 ? 0xfffd : c, out);
    i += static_cast<size_t>(used);
  }
  return out;
}

namespace {
bool older_than(int32_t c, int major) {
  UVersionInfo age{};
  u_charAge(c, age);
  return age[0] < major;
}
}  // namespace

bool is_letter(int32_t c) {
  if (c < 0x80) return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
  static const auto added = tables::added("l");
  return (U_GET_GC_MASK(c) & U_GC_L_MASK) != 0 || tables::contains(added, static_cast<uint32_t>(c));
}
bool is_number(int32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  static const auto added = tables::added("n");
  return (U_GET_GC_MASK(c) & U_GC_N_MASK) != 0 || tables::contains(added, static_cast<uint32_t>(c));
}
bool is_numeric(int32_t c) { return is_number(c) || (c >= 0x80 && tables::contains(tables::numbers(), static_cast<uint32_t>(c))); }
bool is_space(int32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  return u_isUWhiteSpace(c) != 0;
}
bool is_word(int32_t c) {
  if (c < 0x80) return is_letter(c) || is_number(c) || c == '_';
  static const auto added = tables::added("word");
  return u_hasBinaryProperty(c, UCHAR_ALPHABETIC) != 0 || c == 0x200c || c == 0x200d ||
         (U_GET_GC_MASK(c) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0 ||
         tables::contains(added, static_cast<uint32_t>(c));
}
bool is_punctuation(int32_t c) {
  if (c < 0x80) return c > ' ' && !is_letter(c) && !is_number(c) && c != 0x7f;
  if (c == 0x166d || c == 0x111c9) return true;  // So and Mn since Unicode 12 and 11
  return (U_GET_GC_MASK(c) & U_GC_P_MASK) != 0 && older_than(c, 9);
}
bool is_mark(int32_t c) {
  if (c < 0x300 || c == 0x111c9) return false;
  if (c == 0x1cf2 || c == 0x1cf3) return true;  // Lo since Unicode 12
  return (U_GET_GC_MASK(c) & U_GC_M_MASK) != 0 && older_than(c, 10);
}

std::string lower_each(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const auto c = code_point(text, i);
    i += static_cast<size_t>(c.size);
    if (c.value == 0x130) {  // the only one that becomes two
      out += "i\u0307";
      continue;
    }
    const auto pairs = tables::lower();
    const auto value = static_cast<uint32_t>(c.value);
    const auto at = c.value < 0x80 ? pairs.end()
                                   : std::lower_bound(pairs.begin(), pairs.end(), value,
                                                      [](const auto& pair, uint32_t v) { return pair.from < v; });
    append_utf8(at != pairs.end() && at->from == value ? static_cast<int32_t>(at->to) : u_tolower(c.value), out);
  }
  return out;
}

int columns(int32_t c) {
  const int8_t kind = u_charType(c);
  if (kind == U_CONTROL_CHAR || kind == U_FORMAT_CHAR || kind == U_NON_SPACING_MARK || kind == U_ENCLOSING_MARK) return 0;
  const int width = u_getIntPropertyValue(c, UCHAR_EAST_ASIAN_WIDTH);
  return width == U_EA_WIDE || width == U_EA_FULLWIDTH ? 2 : 1;
}

std::string normalize(std::string_view text, Form form) {
  bool ascii = true;
  for (const char c : text) ascii = ascii && static_cast<unsigned char>(c) < 0x80;
  if (ascii) return std::string(text);
  // Normalisation is stable: what Unicode 9 did to its characters, every later version does.
  static const auto* const known = [] {
    UErrorCode code = U_ZERO_ERROR;
    auto* set = new icu::UnicodeSet(UNICODE_STRING_SIMPLE("[:age=9.0:]"), code);  // never freed, as ICU's own
    set->freeze();
    return set;
  }();
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* whole = nullptr;
  switch (form) {
    case Form::kNfc: whole = icu::Normalizer2::getNFCInstance(status); break;
    case Form::kNfd: whole = icu::Normalizer2::getNFDInstance(status); break;
    case Form::kNfkc: whole = icu::Normalizer2::getNFKCInstance(status); break;
    case Form::kNfkd: whole = icu::Normalizer2::getNFKDInstance(status); break;
  }
  if (U_FAILURE(status)) return std::string(text);
  const icu::FilteredNormalizer2 filtered(*whole, *known);
  const icu::Normalizer2& normalizer = filtered;  // whose overload for a new string it hides
  const auto source = icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
  const icu::UnicodeString result = normalizer.normalize(source, status);
  std::string out;
  if (U_FAILURE(status)) return std::string(text);
  return result.toUTF8String(out);
}

}  // namespace colony::text
