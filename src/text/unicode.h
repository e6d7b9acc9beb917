// Code points in UTF-8 and the classes tokenizers ask for, of the Unicode versions that Hugging Face
// tokenizers 0.23.3 has: 16 in patterns, 17 in Rust, 8 and 9 in two crates that it uses.
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

bool is_letter(int32_t c);       // \p{L} of Unicode 16
bool is_number(int32_t c);       // \p{N} of Unicode 16: Nd, Nl, No
bool is_numeric(int32_t c);      // the same of Unicode 17: Rust's char::is_numeric
bool is_space(int32_t c);        // White_Space
bool is_word(int32_t c);         // \w of Unicode 16: alphabetic, marks, decimal digits, connectors, joiners
bool is_punctuation(int32_t c);  // ASCII's signs and \p{P} of Unicode 8: crate unicode_categories
bool is_mark(int32_t c);         // \p{M} of Unicode 9: crate unicode_normalization_alignments
// Each character by itself, as Rust's char::to_lowercase (Unicode 17): no final sigma.
std::string lower_each(std::string_view text);

// Columns a terminal gives it: 0 (controls, what combines with the character before), 1, or 2 (East Asian wide).
int columns(int32_t c);

// Of Unicode 9, as the crate unicode_normalization_alignments: later characters stay as they are.
enum class Form { kNfc, kNfd, kNfkc, kNfkd };
std::string normalize(std::string_view text, Form form);

}  // namespace colony::text
