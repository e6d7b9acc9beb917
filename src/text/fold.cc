#include "text/fold.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <cstdint>

namespace colony::text {
namespace {

bool is_space(UChar32 c) { return c >= 0 && u_isUWhiteSpace(c); }

UChar32 next(std::string_view text, size_t& at) {
  UChar32 c = 0;
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  U8_NEXT(bytes, at, text.size(), c);
  return c;
}

}  // namespace

std::string_view trim(std::string_view text) {
  size_t begin = text.size(), end = text.size();
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    if (is_space(next(text, at))) continue;
    if (begin == text.size()) begin = start;
    end = at;
  }
  return text.substr(begin, end - begin);
}

std::vector<std::string_view> split_space(std::string_view text) {
  std::vector<std::string_view> words;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    if (!is_space(next(text, at))) continue;
    if (start > begin) words.push_back(text.substr(begin, start - begin));
    begin = at;
  }
  if (begin < text.size()) words.push_back(text.substr(begin));
  return words;
}

namespace {
icu::UnicodeString wide(std::string_view text) {
  return icu::UnicodeString::fromUTF8(
      icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
}
}  // namespace

std::string lower(std::string_view text) {
  std::string out;
  wide(text).toLower(icu::Locale::getRoot()).toUTF8String(out);
  return out;
}

std::string fold_case(std::string_view text) {
  std::string out;
  wide(text).foldCase().toUTF8String(out);
  return out;
}

}  // namespace colony::text
