#include "swarm/gate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/stats.h"

namespace colony::swarm {
namespace {

constexpr double kError = 0.05, kLeastGain = 0.03;
constexpr int kUsesMost = 5;
constexpr uint64_t kTellingMost = 400;
constexpr double kWeightEach = 0.25, kWeightMost = 20;

double log_choose(double n, double k) { return std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1); }

// ln of the chance of `from` or more heads in n tosses, for from > n/2, where the terms fall.
double log_tail(uint64_t n, uint64_t from) {
  if (from > n) return -INFINITY;
  double sum = 0, term = 1;
  for (uint64_t k = from; k <= n && term > sum * 1e-18; ++k) {
    sum += term;
    term *= static_cast<double>(n - k) / static_cast<double>(k + 1);
  }
  return log_choose(static_cast<double>(n), static_cast<double>(from)) + std::log(sum) - static_cast<double>(n) * std::numbers::ln2;
}
// The same for any `from`.
double log_at_least(uint64_t n, uint64_t from) {
  if (2 * from > n) return log_tail(n, from);
  // All but fewer than `from` heads, which is more than n − from tails.
  return std::log1p(-std::exp(log_tail(n, n - from + 1)));
}

}  // namespace

std::vector<GateItem> chosen_items(std::span<const GateItem> items) {
  std::vector<GateItem> chosen;
  for (size_t i = 0, most = std::min(items.size(), kGateItems); i < most; ++i) chosen.push_back(items[i * items.size() / most]);
  return chosen;
}

double gate_weight(size_t items) {
  const auto n = static_cast<double>(items);
  return items == 0 ? 0 : std::min(kWeightMost, kWeightEach * n) / n;
}

double mcnemar(uint64_t better, uint64_t worse) { return std::min(1.0, std::exp(log_at_least(better + worse, better))); }

Verdict judge_set(uint64_t better, uint64_t worse, uint64_t items, int use) {
  if (use < 1 || use > kUsesMost || better <= worse) return Verdict::kFail;
  const bool enough = static_cast<double>(better - worse) >= kLeastGain * static_cast<double>(items);
  return enough && mcnemar(better, worse) <= kError / static_cast<double>(1 << use) ? Verdict::kPass : Verdict::kFail;
}

Verdict judge_scores(std::span<const double> differences) {
  if (differences.size() < 2) return Verdict::kFail;
  return student95(differences).low > 0 && mean(differences) >= kLeastGain ? Verdict::kPass : Verdict::kFail;
}

bool harms(uint64_t better, uint64_t worse, uint64_t probes) {
  return worse > better && mcnemar(worse, better) <= kError / static_cast<double>(std::max<uint64_t>(probes, 1));
}

// ∫ = B(b+1, c+1) · P(Beta(b+1, c+1) > ½), and that chance is the one of b heads or fewer in b+c+1 tosses.
double log_evidence(uint64_t better, uint64_t worse) {
  const uint64_t tosses = better + worse + 1;
  const double log_beta = std::lgamma(static_cast<double>(better) + 1) + std::lgamma(static_cast<double>(worse) + 1) - std::lgamma(static_cast<double>(tosses) + 1);
  // b heads or fewer are tosses − b tails or more.
  return static_cast<double>(tosses) * std::numbers::ln2 + log_beta + log_at_least(tosses, tosses - better);
}

Verdict LiveGate::add(bool candidate_right, bool incumbent_right) {
  if (verdict_ != Verdict::kOpen || candidate_right == incumbent_right) return verdict_;
  ++(candidate_right ? better_ : worse_);
  static const double kEnough = std::log(1 / kError);
  if (log_evidence(better_, worse_) >= kEnough) verdict_ = Verdict::kPass;
  else if (log_evidence(worse_, better_) >= kEnough || better_ + worse_ >= kTellingMost) verdict_ = Verdict::kFail;
  return verdict_;
}

}  // namespace colony::swarm
