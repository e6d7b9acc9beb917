// How the checks read an answer: numbers, slots, JSON values. Internal to the checks and their tests.
#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace colony::data {

// A decimal number as written, exactly: (-1)^negative · digits · 10^exponent, digits without zeros
// at either end; zero is empty digits, exponent 0, not negative.
struct Decimal {
  bool negative = false;
  std::string digits;
  int64_t exponent = 0;
  bool operator==(const Decimal&) const = default;
};

// The last number of a text. Commas between digits and currency signs are ignored; a minus sign
// counts unless it follows a digit, a letter or a closing bracket ("10-4" ends in 4).
std::optional<Decimal> last_number(std::string_view text);

// (slot, value) pairs of "name[The Mill], food[Thai]" or "PlayMusic; artist=Coil; year=1984"; text
// before a first ";" without "=" and brackets is ("intent", text); "none" alone is the empty set.
// Pieces that are neither are left out. Names and values are trimmed.
using Slots = std::set<std::pair<std::string, std::string>>;
Slots parse_slots(std::string_view text);

// The values of every slot[value] in order of appearance, as written.
std::vector<std::string> bracket_values(std::string_view text);

// 2·|a ∩ b| / (|a| + |b|); 1 when both are empty.
double slots_f1(const Slots& expected, const Slots& found);
// The same over white-space tokens as multisets (SQuAD's F1 without its normalisation).
double token_f1(std::string_view expected, std::string_view found);

// Equal as JSON: the order of keys does not count, 1 equals 1.0.
bool json_equal(const Json& a, const Json& b);

}  // namespace colony::data
