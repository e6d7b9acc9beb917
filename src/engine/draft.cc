#include "engine/draft.h"

#include <algorithm>

namespace colony::engine {

void Draft::look_up(std::span<const int32_t> tokens, int64_t count) {
  ids_.clear();
  if (tokens.size() > static_cast<size_t>(kWindow)) tokens = tokens.last(static_cast<size_t>(kWindow));
  const auto size = static_cast<int64_t>(tokens.size());
  if (count < 1 || size <= kLeast) return;
  const int32_t* t = tokens.data();
  const int32_t last = t[size - 1], before = t[size - 2];
  int64_t next = 0;
  int longest = 0;
  for (int64_t end = size - 2; end >= 1 && longest < kMost; --end) {  // of the earlier place
    if (t[end] != last || t[end - 1] != before) continue;
    int length = kLeast;
    while (length < kMost && length <= end && t[end - length] == t[size - 1 - length]) ++length;
    if (length > longest) {
      longest = length;
      next = end + 1;
    }
  }
  if (longest == 0) return;
  bucket_ = longest >= kLong ? 1 : 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t from = next + i;
    ids_.push_back(from < size ? t[from] : ids_[static_cast<size_t>(from - size)]);
  }
}

int64_t Draft::worth(int64_t decoding) const {
  // A row pays when the tokens it brings outweigh those that its time brings without it.
  const auto n = static_cast<double>(decoding);
  const double least = n * kRowCost / (1 + kRowCost * (n - 1));
  int64_t count = 0;
  for (double chance = hits_[bucket_]; count < static_cast<int64_t>(ids_.size()) && chance > least; ++count) {
    chance *= hits_[bucket_];
  }
  return count;
}

void Draft::saw(bool hit) {
  constexpr double kNew = 0.125;
  hits_[bucket_] += kNew * ((hit ? 1.0 : 0.0) - hits_[bucket_]);
}

}  // namespace colony::engine
