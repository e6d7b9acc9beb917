#include "base/stats.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/rng.h"

namespace colony {

Interval wilson95(double successes, uint64_t n) {
  if (n == 0) return {0, 1};
  constexpr double z = 1.959963984540054;
  const auto count = static_cast<double>(n);
  const double p = successes / count;
  const double denominator = 1 + z * z / count;
  const double centre = (p + z * z / (2 * count)) / denominator;
  const double half = z * std::sqrt(p * (1 - p) / count + z * z / (4 * count * count)) / denominator;
  // With none or all they are 0 and 1, which rounding misses by a hair.
  return {successes == 0 ? 0.0 : std::max(0.0, centre - half), successes == count ? 1.0 : std::min(1.0, centre + half)};
}

Interval bootstrap95(std::span<const double> values) {
  if (values.empty()) return {0, 1};
  constexpr int kResamples = 1000;
  std::vector<double> means;
  means.reserve(kResamples);
  for (uint32_t sample = 0; sample < kResamples; ++sample) {
    // One Philox block gives four indices; streams cannot run out however large the input is.
    double sum = 0;
    for (size_t i = 0; i < values.size(); i += 4) {
      const auto draws = philox({static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32), sample, 0},
                                {0x626f6f74u, 0u});
      for (size_t j = i; j < std::min(i + 4, values.size()); ++j) {
        sum += values[static_cast<size_t>(uint64_t{draws[j - i]} * values.size() >> 32)];
      }
    }
    means.push_back(sum / static_cast<double>(values.size()));
  }
  std::sort(means.begin(), means.end());
  return {means[24], means[974]};
}

Interval interval95(std::span<const double> scores) {
  const bool binary = std::all_of(scores.begin(), scores.end(), [](double s) { return s == 0 || s == 1; });
  if (!binary) return bootstrap95(scores);
  return wilson95(std::accumulate(scores.begin(), scores.end(), 0.0), scores.size());
}

Interval student95(std::span<const double> values) {
  const double centre = mean(values);
  if (values.size() < 2) return {centre, centre};
  const auto count = static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) squares += (value - centre) * (value - centre);
  // The 97.5 % quantile: a table, then Cornish–Fisher's expansion (to 1e-3 from 6 degrees on).
  constexpr double kTable[] = {12.7062, 4.3027, 3.1824, 2.7764, 2.5706}, z = 1.959963984540054;
  const double v = count - 1;
  const double t = values.size() <= 6 ? kTable[values.size() - 2]
                                      : z + (std::pow(z, 3) + z) / (4 * v) + (5 * std::pow(z, 5) + 16 * std::pow(z, 3) + 3 * z) / (96 * v * v) +
                                            (3 * std::pow(z, 7) + 19 * std::pow(z, 5) + 17 * std::pow(z, 3) - 15 * z) / (384 * v * v * v);
  const double half = t * std::sqrt(squares / v / count);
  return {centre - half, centre + half};
}

std::vector<double> differences(std::span<const double> a, std::span<const double> b) {
  CHECK(a.size() == b.size(), "pairs");
  std::vector<double> out(a.size());
  for (size_t i = 0; i < a.size(); ++i) out[i] = a[i] - b[i];
  return out;
}

double mean(std::span<const double> values) {
  if (values.empty()) return 0;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double percentile(std::vector<double> values, double p) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<size_t>(std::ceil(p * static_cast<double>(values.size())));
  return values[std::clamp<size_t>(rank, 1, values.size()) - 1];
}

}  // namespace colony
