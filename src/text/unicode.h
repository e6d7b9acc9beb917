// Code points in UTF-8 and the classes tokenizers ask for. Unicode as ICU has it (72.1 is Unicode 15).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace colony::text {

// The code point at `at` and its length in bytes. Needs valid UTF-8 and at < size.
struct CodePoint {
  int32_t value = 0;
  int size = 0;
};
CodePoint code_point(std::string_view text, size_t at);
bool valid_utf8(std::string_view text);
void append_utf8(int32_t code_point, std::string& out);
// Broken sequences become U+FFFD, as Rust's from_utf8_lossy does.
std::string lossy_utf8(std::string_view bytes);

bool is_letter(int32_t c);  // \p{L}
bool is_number(int32_t c);  // \p{N}: Nd, Nl, No
bool is_space(int32_t c);   // White_Space
bool is_word(int32_t c);    // \w: alphabetic, marks, decimal digits, connector punctuation, joiners

// Columns a terminal gives it: 0 (controls, what combines with the character before), 1, or 2 (East Asian wide).
int columns(int32_t c);

enum class Form { kNfc, kNfd, kNfkc, kNfkd };
std::string normalize(std::string_view text, Form form);

}  // namespace colony::text
