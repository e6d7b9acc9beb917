// A comparison that means something: refuses empty, aliased, NaN and all-zero data.
#pragma once
#include <cmath>
#include <span>
#include <algorithm>
#include <string>

#include "base/result.h"



namespace colony::tensor {

// "" when every |got - want| <= rel * max|want|, otherwise what differs first or why the
// comparison itself is worthless.
template <typename Got, typename Want>
std::string differs(std::span<const Got> got, std::span<const Want> want, double rel) {
  if (got.empty() || got.size() != want.size()) {
    return fmt::format("sizes {} and {}", got.size(), want.size());
  }
  if (static_cast<const void*>(got.data()) == static_cast<const void*>(want.data())) return "the same buffer";
  double most = 0;
  for (const auto w : want) {
    if (!std::isfinite(static_cast<double>(w))) return "want holds NaN or infinity";
    most = std::max(most, std::abs(static_cast<double>(w)));
  }
  if (most == 0) return "want is all zero";
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    if (!(error <= rel * most)) {
      return fmt::format("at {}: got {}, want {}, error {:.3g} of {:.3g} allowed", i,
                         static_cast<double>(got[i]), static_cast<double>(want[i]), error, rel * most);
    }
  }
  return "";
}

}  // namespace colony::tensor
