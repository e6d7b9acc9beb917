// What Unicode 16 and 17 have beyond the tables of Debian 12's Oniguruma (Unicode 14) and ICU (15):
// added to what those say it changes nothing that they know already. tools/make_unicode_tables.py.
#pragma once
#include <cstdint>
#include <span>

namespace colony::text::tables {

struct Range {
  uint32_t low, high;
};
struct Part {
  uint32_t first, count;  // of the ranges, which ascend
};
// A property by the name that Oniguruma looks up: lower case without space, hyphen, underscore.
struct Change {
  const char* name;
  Part added, removed;
};
struct Fresh {
  const char* name;
  Part all;
};
struct Pair {
  uint32_t from, to;
};

std::span<const Range> ranges(Part part);
bool contains(std::span<const Range> ranges, uint32_t c);
std::span<const Change> changes();
std::span<const Range> added(const char* name);  // empty when nothing was
std::span<const Fresh> fresh();
std::span<const Pair> folds();           // small letter, capital letter
std::span<const Pair> lower();           // capital letter, small letter; ascending; Unicode 17
std::span<const Range> numbers();        // Unicode 17

}  // namespace colony::text::tables
