// Central bandits, for comparison. Constants' defaults: tuned on the design orders of docs/swarm.md.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <functional>

#include "base/check.h"
#include "base/json.h"
#include "base/rng.h"
#include "swarm/policy.h"

namespace colony::swarm {
namespace {

constexpr uint16_t kStreamBaseline = 8;

RngStream dice(uint64_t seed, uint64_t number, size_t arm) { return {seed, number, static_cast<uint32_t>(arm), kStreamBaseline}; }

// The highest value among the arms that are there; ties are drawn.
template <typename Value>
size_t best_arm(const std::vector<uint8_t>& there, RngStream rng, const Value& value) {
  size_t best = there.size(), ties = 0;
  double most = 0;
  for (size_t arm = 0; arm < there.size(); ++arm) {
    if (there[arm] == 0) continue;
    const double v = value(arm);
    if (best == there.size() || v > most) {
      best = arm;
      most = v;
      ties = 1;
    } else if (v == most && rng.below(++ties) == 0) {
      best = arm;
    }
  }
  CHECK(best < there.size(), "an arm can be chosen");
  return best;
}

class Random final : public Policy {
 public:
  explicit Random(uint64_t seed) : seed_(seed) {}
  size_t choose(const Question& q, const std::vector<uint8_t>& there) override {
    return best_arm(there, dice(seed_, q.number, 0), [](size_t) { return 0.0; });
  }
  void learn(double, uint64_t) override {}

 private:
  uint64_t seed_;
};

// Counts and sums of each arm in each context (label), fading by gamma a task.
class Counts {
 public:
  Counts(size_t arms, size_t contexts, double gamma) : arms_(arms), n_(arms * contexts), sum_(n_), total_(contexts), gamma_(gamma) {}
  void add(size_t context, size_t arm, double score) {
    if (gamma_ < 1) {
      for (size_t a = 0; a < arms_; ++a) {
        n_[context * arms_ + a] *= gamma_;
        sum_[context * arms_ + a] *= gamma_;
      }
      total_[context] *= gamma_;
    }
    n_[context * arms_ + arm] += 1;
    sum_[context * arms_ + arm] += score;
    total_[context] += 1;
  }
  double n(size_t context, size_t arm) const { return n_[context * arms_ + arm]; }
  double sum(size_t context, size_t arm) const { return sum_[context * arms_ + arm]; }
  double total(size_t context) const { return total_[context]; }

 private:
  size_t arms_;
  std::vector<double> n_, sum_, total_;
  double gamma_;
};

// mean + c √(ln t / n). Source: Auer, Cesa-Bianchi, Fischer 2002 (there c = √2); discounted: Garivier, Moulines 2008.
class Ucb1 final : public Policy {
 public:
  Ucb1(size_t arms, size_t contexts, uint64_t seed, double c, double gamma) : counts_(arms, contexts, gamma), seed_(seed), c_(c) {}
  size_t choose(const Question& q, const std::vector<uint8_t>& there) override {
    context_ = q.domain;
    const double spread = std::log(counts_.total(context_) + 1);
    return arm_ = best_arm(there, dice(seed_, q.number, 0), [&](size_t arm) {
             const double n = counts_.n(context_, arm);
             return n < 1e-3 ? 1e9 : counts_.sum(context_, arm) / n + c_ * std::sqrt(spread / n);
           });
  }
  void learn(double score, uint64_t) override { counts_.add(context_, arm_, score); }

 private:
  Counts counts_;
  uint64_t seed_;
  double c_;
  size_t context_ = 0, arm_ = 0;
};

// Gamma(shape, 1). Source: Marsaglia, Tsang 2000.
double draw_gamma(RngStream& rng, double shape) {
  if (shape < 1) return draw_gamma(rng, shape + 1) * std::pow(1 - rng.uniform(), 1 / shape);
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = rng.normal(), v = std::pow(1 + c * x, 3);
    if (v <= 0) continue;
    if (std::log(1 - rng.uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

// A draw from Beta(a + s w, b + (n - s) w); w > 1 explores less.
class Thompson final : public Policy {
 public:
  Thompson(size_t arms, size_t contexts, uint64_t seed, const PolicySpec& spec)
      : counts_(arms, contexts, spec.constants.at("gamma")), seed_(seed), a_(spec.constants.at("a")), b_(spec.constants.at("b")), w_(spec.constants.at("w")) {}
  size_t choose(const Question& q, const std::vector<uint8_t>& there) override {
    context_ = q.domain;
    return arm_ = best_arm(there, dice(seed_, q.number, 0), [&](size_t arm) {
             RngStream rng = dice(seed_, q.number, arm + 1);
             const double s = counts_.sum(context_, arm), n = counts_.n(context_, arm);
             const double x = draw_gamma(rng, a_ + w_ * s), y = draw_gamma(rng, b_ + w_ * std::max(0.0, n - s));
             return x / (x + y);
           });
  }
  void learn(double score, uint64_t) override { counts_.add(context_, arm_, score); }

 private:
  Counts counts_;
  uint64_t seed_;
  double a_, b_, w_;
  size_t context_ = 0, arm_ = 0;
};

// Ridge regression an arm on [place, .5]; target score - .5; index mean + alpha sd (LinUCB) or a draw with v sd (LinTS).
// Sources: Li et al. 2010, arXiv:1003.0146; Agrawal, Goyal 2013, arXiv:1209.3352.
class Linear final : public Policy {
 public:
  Linear(size_t arms, uint64_t seed, double ridge, double width, bool draw) : arms_(arms), seed_(seed), width_(width), draw_(draw) {
    for (auto& arm : arms_) {
      arm.inverse.assign(kSize * kSize, 0);
      for (size_t i = 0; i < kSize; ++i) arm.inverse[i * kSize + i] = static_cast<float>(1 / ridge);
    }
  }
  size_t choose(const Question& q, const std::vector<uint8_t>& there) override {
    x_.fill(0);
    std::copy(q.place.begin(), q.place.end(), x_.begin());
    x_[kPlaceDim] = 0.5F;
    return arm_ = best_arm(there, dice(seed_, q.number, 0), [&](size_t arm) {
             const Arm& of = arms_[arm];
             const Vector along = times(of, x_);
             double mean = 0, variance = 0;
             for (size_t i = 0; i < kSize; ++i) {
               mean += static_cast<double>(along[i]) * static_cast<double>(of.b[i]);
               variance += static_cast<double>(along[i]) * static_cast<double>(x_[i]);
             }
             RngStream rng = dice(seed_, q.number, arm + 1);
             return mean + width_ * std::sqrt(std::max(0.0, variance)) * (draw_ ? rng.normal() : 1);
           });
  }
  void learn(double score, uint64_t) override {
    Arm& of = arms_[arm_];
    const Vector along = times(of, x_);
    float denominator = 1;
    for (size_t i = 0; i < kSize; ++i) denominator += along[i] * x_[i];
    for (size_t i = 0; i < kSize; ++i) {
      const float scaled = along[i] / denominator;
      for (size_t j = 0; j < kSize; ++j) of.inverse[i * kSize + j] -= scaled * along[j];
      of.b[i] += static_cast<float>(score - 0.5) * x_[i];
    }
  }

 private:
  static constexpr size_t kSize = 68;  // 64, the constant, and zeros to a multiple of four
  using Vector = std::array<float, kSize>;
  struct Arm {
    std::vector<float> inverse;
    Vector b{};
  };
  Vector times(const Arm& arm, const Vector& x) const {
    Vector out{};
    for (size_t i = 0; i < kSize; ++i) {
      for (size_t j = 0; j < kSize; ++j) out[j] += x[i] * arm.inverse[i * kSize + j];
    }
    return out;
  }
  std::vector<Arm> arms_;
  uint64_t seed_;
  double width_;
  bool draw_;
  Vector x_{};
  size_t arm_ = 0;
};

// The `k` nearest of the last `window` tasks vote for the arm they were given to; with `epsilon` any arm.
class Knn final : public Policy {
 public:
  Knn(uint64_t seed, const PolicySpec& spec)
      : seed_(seed),
        k_(static_cast<size_t>(std::max(1.0, spec.constants.at("k")))),
        window_(static_cast<size_t>(std::max(0.0, spec.constants.at("window")))),
        epsilon_(spec.constants.at("epsilon")),
        prior_(spec.constants.at("prior")),
        prior_mean_(spec.constants.at("mean")) {}
  size_t choose(const Question& q, const std::vector<uint8_t>& there) override {
    place_ = q.place;
    RngStream rng = dice(seed_, q.number, 0);
    if (rng.uniform() < epsilon_) return arm_ = best_arm(there, rng, [](size_t) { return 0.0; });
    std::vector<std::pair<float, size_t>> near;
    near.reserve(seen_.size());
    for (size_t i = 0; i < seen_.size(); ++i) {
      constexpr size_t kLanes = 8;
      std::array<float, kLanes> lanes{};
      for (size_t d = 0; d < kPlaceDim; d += kLanes) {
        for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += place_[d + lane] * seen_[i].place[d + lane];
      }
      const float cosine = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
      if (cosine > 0) near.emplace_back(cosine, i);
    }
    const size_t k = std::min(k_, near.size());
    if (k < near.size()) std::nth_element(near.begin(), near.begin() + static_cast<std::ptrdiff_t>(k), near.end(), std::greater<>());
    std::vector<double> weight(there.size(), prior_), sum(there.size(), prior_ * prior_mean_);
    for (size_t i = 0; i < k; ++i) {
      const Seen& one = seen_[near[i].second];
      const double w = static_cast<double>(near[i].first) * static_cast<double>(near[i].first);
      weight[one.arm] += w;
      sum[one.arm] += w * one.score;
    }
    return arm_ = best_arm(there, rng, [&](size_t arm) { return sum[arm] / weight[arm]; });
  }
  void learn(double score, uint64_t) override {
    if (window_ > 0 && seen_.size() == window_) {
      seen_[next_] = {place_, arm_, score};
      next_ = (next_ + 1) % window_;
    } else {
      seen_.push_back({place_, arm_, score});
    }
  }

 private:
  struct Seen {
    Place place{};
    size_t arm = 0;
    double score = 0;
  };
  uint64_t seed_;
  size_t k_, window_;
  double epsilon_, prior_, prior_mean_;
  std::vector<Seen> seen_;
  size_t next_ = 0;
  Place place_{};
  size_t arm_ = 0;
};

std::string known_names() {
  std::string names;
  for (const auto& kind : policy_kinds()) names += (names.empty() ? "" : ", ") + kind.name;
  return names;
}

const PolicyKind* kind_of(const std::string& name) {
  const auto& kinds = policy_kinds();
  const auto at = std::find_if(kinds.begin(), kinds.end(), [&](const PolicyKind& kind) { return kind.name == name; });
  return at == kinds.end() ? nullptr : &*at;
}

}  // namespace

const std::vector<PolicyKind>& policy_kinds() {
  static const std::vector<PolicyKind> kinds{
      {"colony", "the swarm, by the steps that serve", {}, false, false},
      {"random", "any agent", {}, false, false},
      {"best-single", "the best single agent, known in hindsight", {}, false, true},
      {"per-domain-best", "the best agent of each labelled domain, known in hindsight", {}, true, true},
      {"ucb1", "mean + c sqrt(ln t / n), no context (with labels: one a domain)", {{"c", 0.3}, {"gamma", 1}}, false, false},
      {"thompson", "a draw from each agent's Beta, no context (with labels: one a domain)", {{"a", 1}, {"b", 1}, {"w", 4}, {"gamma", 1}}, false, false},
      {"linucb", "ridge regression on the place, mean + alpha sd", {{"alpha", 0.1}, {"ridge", 10}}, false, false},
      {"lints", "ridge regression on the place, a draw with v sd", {{"v", 0.1}, {"ridge", 10}}, false, false},
      {"knn", "votes of the nearest earlier tasks; any agent with epsilon", {{"k", 300}, {"window", 0}, {"epsilon", 0.02}, {"prior", 2}, {"mean", 0.5}}, false, false},
  };
  return kinds;
}

std::string PolicySpec::text() const {
  std::string out = name;
  for (const auto& [key, value] : constants) out += fmt::format(":{}={}", key, value);
  return out;
}

Result<PolicySpec> parse_policy(const std::string& text) {
  PolicySpec spec;
  size_t at = std::min(text.find(':'), text.size());
  spec.name = text.substr(0, at);
  const PolicyKind* kind = kind_of(spec.name);
  if (kind == nullptr) return invalid("policy: found '{}', expected one of: {}", spec.name, known_names());
  while (at < text.size()) {
    const size_t begin = at + 1;
    at = std::min(text.find(':', begin), text.size());
    const std::string part = text.substr(begin, at - begin);
    const size_t equals = part.find('=');
    const std::string key = part.substr(0, std::min(equals, part.size()));
    if (equals == std::string::npos || !kind->constants.contains(key)) {
      std::string keys;
      for (const auto& [name, value] : kind->constants) keys += fmt::format("{}{}={}", keys.empty() ? "" : ", ", name, value);
      return invalid("policy {}: found '{}', expected constants of: {}", spec.name, part, keys.empty() ? "(none)" : keys);
    }
    const std::string number = part.substr(equals + 1);
    double value = 0;
    const auto [end, problem] = std::from_chars(number.data(), number.data() + number.size(), value);
    if (problem != std::errc() || end != number.data() + number.size() || !(value >= 0 && value <= 1e9)) {
      return invalid("policy {}: {}: found '{}', expected a number from 0 to 1e9", spec.name, key, number);
    }
    for (const char* above : {"ridge", "a", "b", "w", "gamma", "prior"}) {
      if (key == above && value == 0) return invalid("policy {}: {}: found 0, expected a number above 0", spec.name, key);
    }
    if (key == "gamma" && value > 1) return invalid("policy {}: gamma: found {}, expected at most 1", spec.name, number);
    spec.constants[key] = value;
  }
  return spec;
}

std::unique_ptr<Policy> make_baseline(const PolicySpec& given, size_t arms, size_t domains, uint64_t seed) {
  const PolicyKind* kind = kind_of(given.name);
  CHECK(kind != nullptr && !kind->hindsight && kind->name != "colony", "a baseline");
  PolicySpec spec = given;
  spec.constants.insert(kind->constants.begin(), kind->constants.end());  // what is there stays
  const auto constant = [&](const char* key) { return spec.constants.at(key); };
  if (spec.name == "ucb1") return std::make_unique<Ucb1>(arms, domains, seed, constant("c"), constant("gamma"));
  if (spec.name == "thompson") return std::make_unique<Thompson>(arms, domains, seed, spec);
  if (spec.name == "linucb") return std::make_unique<Linear>(arms, seed, constant("ridge"), constant("alpha"), false);
  if (spec.name == "lints") return std::make_unique<Linear>(arms, seed, constant("ridge"), constant("v"), true);
  if (spec.name == "knn") return std::make_unique<Knn>(seed, spec);
  return std::make_unique<Random>(seed);
}

}  // namespace colony::swarm
