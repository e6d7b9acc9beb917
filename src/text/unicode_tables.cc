#include "text/unicode_tables.h"

#include <algorithm>
#include <string_view>

namespace colony::text::tables {
namespace {
#include "text/unicode_delta.inc"
}  // namespace

std::span<const Range> ranges(Part part) { return std::span(kRanges).subspan(part.first, part.count); }

bool contains(std::span<const Range> ranges, uint32_t c) {
  const auto at = std::partition_point(ranges.begin(), ranges.end(), [c](const Range& r) { return r.high < c; });
  return at != ranges.end() && at->low <= c;
}

std::span<const Change> changes() { return kChanges; }
std::span<const Range> added(const char* name) {
  const auto at = std::find_if(std::begin(kChanges), std::end(kChanges),
                               [name](const Change& c) { return std::string_view(c.name) == name; });
  return at == std::end(kChanges) ? std::span<const Range>() : ranges(at->added);
}
std::span<const Fresh> fresh() { return kFresh; }
std::span<const Pair> folds() { return kFolds; }
std::span<const Pair> lower() { return kLower; }
std::span<const Range> numbers() { return ranges(kNumbers); }

}  // namespace colony::text::tables
