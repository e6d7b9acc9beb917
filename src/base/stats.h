// Intervals for success figures, as every table of this program prints them.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace colony {

struct Interval {
  double low = 0, high = 0;
};

// Wilson's 95 % interval for `successes` of `n` (0 or 1 each). n = 0 gives [0, 1].
// Source: Wilson 1927.
Interval wilson95(double successes, uint64_t n);

// 95 % percentile bootstrap of the mean, 1,000 resamples under a fixed seed. Empty gives [0, 1];
// one value gives [value, value].
Interval bootstrap95(std::span<const double> values);

// Wilson when every value is 0 or 1, otherwise the bootstrap: `ci95` of conventions.
Interval interval95(std::span<const double> scores);

// 95 % interval of the mean by Student's t. Fewer than two values give [mean, mean].
Interval student95(std::span<const double> values);

// a − b, one a pair. CHECKs that they are as many.
std::vector<double> differences(std::span<const double> a, std::span<const double> b);

double mean(std::span<const double> values);    // 0 when empty
double median(std::vector<double> values);      // 0 when empty
double percentile(std::vector<double> values, double p);  // p in [0,1], nearest rank; 0 when empty

}  // namespace colony
