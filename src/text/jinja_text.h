// Python's view of Unicode text, over UTF-8: lengths and slices in code points, case, classes.
//
// Source: CPython 3 str methods. Case mappings and properties come from ICU. All input must be valid
// UTF-8. Threads: pure.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace colony::text::jinja {

bool valid_utf8(std::string_view text);
size_t utf8_length(std::string_view text);  // in code points
// The code point that begins at text[at]; at is moved behind it.
char32_t next_char(std::string_view text, size_t& at);
void append_char(std::string& out, char32_t c);
// Byte offset of code point `index`; index may equal the length.
size_t byte_offset(std::string_view text, size_t index);

bool is_space(char32_t c);       // str.isspace, also \s
bool is_word(char32_t c);        // \w
bool is_alpha(char32_t c);
bool is_decimal(char32_t c);
bool is_digit(char32_t c);
bool is_numeric(char32_t c);
bool is_printable(char32_t c);
bool is_lower(char32_t c);
bool is_upper(char32_t c);
bool is_title(char32_t c);
bool is_identifier(std::string_view text);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string to_casefold(std::string_view text);
std::string to_capitalized(std::string_view text);
std::string to_titled(std::string_view text);  // str.title, not the filter
std::string swap_case(std::string_view text);

// str.strip and its one-sided forms. chars == nullptr: white space.
std::string_view strip(std::string_view text, const std::string_view* chars, bool left, bool right);
// str.splitlines.
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);
// str.split() without a separator; max < 0: no limit. from_right: rsplit.
std::vector<std::string_view> split_space(std::string_view text, long max, bool from_right);

// float.__repr__: shortest digits that read back the same.
std::string float_repr(double value);
// str.__repr__: single quotes unless the text has one and no double quote.
void append_repr(std::string& out, std::string_view text);

}  // namespace colony::text::jinja
