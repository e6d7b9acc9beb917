#include "swarm/trail.h"

#include <algorithm>
#include <cmath>

namespace colony::swarm {
namespace {

// swarm_algorithms 1.12.
constexpr double kNoise = 0.2;                                            // σ²
constexpr double kRecentMemory = 1000, kRecentPrior = 0.0015;             // 1.6
constexpr double kRecentLambda = kNoise / kRecentPrior;
constexpr double kShift = 0.35, kLimit = 9, kEvidenceToTest = 6, kFastLength = 14;  // 1.8
constexpr double kSeverityOffset = 0.1, kSeverityScale = 0.6, kKeptOwn = 3, kKeptElsewhere = 16;
constexpr double kTauBaseFloor = 0.0005, kTauPlaceFloor = 0.01, kTauPrior = 0.02;
constexpr size_t kPendingMax = 4096;

constexpr size_t kQ = kFeatures;

double along(const Features& f, const Weights& w) {
  double sum = 0;
  for (int i = 0; i < f.count; ++i) sum += f.value[static_cast<size_t>(i)] * w[f.index[static_cast<size_t>(i)]];
  return sum;
}

double quadratic(const Features& f, const Square& p) {
  double sum = 0;
  for (int i = 0; i < f.count; ++i) {
    const size_t a = static_cast<size_t>(i);
    double row = 0;
    for (int j = 0; j < f.count; ++j) row += p[f.index[a] * kQ + f.index[static_cast<size_t>(j)]] * f.value[static_cast<size_t>(j)];
    sum += f.value[a] * row;
  }
  return std::max(0.0, sum);
}

// P −= k p pᵀ with p = Pφ, k = 1/(σ² + φ·p). Gives k·p, by which the mean moves.
Weights rank_one(Square& p, const Features& f) {
  Weights along_p{};
  for (size_t row = 0; row < kQ; ++row) {
    for (int j = 0; j < f.count; ++j) along_p[row] += p[row * kQ + f.index[static_cast<size_t>(j)]] * f.value[static_cast<size_t>(j)];
  }
  const double k = 1 / (kNoise + along(f, along_p));
  for (size_t row = 0; row < kQ; ++row) {
    const double scaled = k * along_p[row];
    if (scaled == 0) continue;
    for (size_t column = 0; column < kQ; ++column) p[row * kQ + column] -= scaled * along_p[column];
  }
  for (double& value : along_p) value *= k;
  return along_p;
}

// The inverse of a symmetric positive definite matrix.
void invert(const Square& a, Square& inverse) {
  // A = UᵀU from the top down, with whole rows in the inner loops so that they run in vector registers.
  Square u = a;
  for (size_t j = 0; j < kQ; ++j) {
    const double pivot = std::sqrt(std::max(u[j * kQ + j], 1e-12));
    u[j * kQ + j] = pivot;
    for (size_t k = j + 1; k < kQ; ++k) u[j * kQ + k] /= pivot;
    for (size_t i = j + 1; i < kQ; ++i) {
      const double factor = u[j * kQ + i];
      if (factor == 0) continue;
      for (size_t k = i; k < kQ; ++k) u[i * kQ + k] -= factor * u[j * kQ + k];
    }
  }
  // With L = Uᵀ: L⁻¹ and its square.
  Square li{};
  for (size_t i = 0; i < kQ; ++i) {
    for (size_t k = 0; k < i; ++k) {
      const double factor = u[k * kQ + i];
      if (factor == 0) continue;
      for (size_t j = 0; j <= k; ++j) li[i * kQ + j] -= factor * li[k * kQ + j];
    }
    for (size_t j = 0; j < i; ++j) li[i * kQ + j] /= u[i * kQ + i];
    li[i * kQ + i] = 1 / u[i * kQ + i];
  }
  inverse.fill(0);
  for (size_t k = 0; k < kQ; ++k) {
    for (size_t i = 0; i <= k; ++i) {
      const double factor = li[k * kQ + i];
      if (factor == 0) continue;
      for (size_t j = 0; j <= i; ++j) inverse[i * kQ + j] += factor * li[k * kQ + j];
    }
  }
  for (size_t i = 0; i < kQ; ++i) {
    for (size_t j = 0; j < i; ++j) inverse[j * kQ + i] = inverse[i * kQ + j];
  }
}

}  // namespace

double optimism(double tasks, double agents) {
  constexpr double kYoung = 0.5, kOld = 2, kHalfWay = 50;
  return kYoung + (kOld - kYoung) * tasks / (tasks + kHalfWay * std::max(agents, 1.0));
}

double Trail::mean(const Features& features) const { return along(features, w_); }

Reading Trail::read(const Features& features, uint64_t task_time, const TrailParts& parts) const {
  const double age = task_time > recent_at_ ? static_cast<double>(task_time - recent_at_) : 0;
  const double decay = std::exp(-age / kRecentMemory);
  const double weight = recent_n_ * decay + kRecentLambda;
  Reading reading;
  reading.mean = along(features, w_);
  reading.recent = parts.recent ? recent_sum_ * decay / weight : 0;
  reading.deviation = std::sqrt(quadratic(features, pending_.empty() ? p_ : pv_) + (parts.recent ? kNoise / weight : 0));
  return reading;
}

double Trail::unknown(const Features& features, const Population& population) const {
  double prior = 0;
  for (int i = 0; i < features.count; ++i) {
    const auto at = static_cast<size_t>(i);
    prior += features.value[at] * features.value[at] * population.tau(features.index[at]);
  }
  return prior > 0 ? std::min(1.0, quadratic(features, p_) / prior) : 0;
}

void Trail::add(const Features& features, double score, double weight) {
  for (int i = 0; i < features.count; ++i) {
    const auto a = static_cast<size_t>(i);
    b_[features.index[a]] += weight * (features.value[a] * score);
    for (int j = 0; j < features.count; ++j) {
      const auto c = static_cast<size_t>(j);
      s_[features.index[a] * kQ + features.index[c]] += weight * (features.value[a] * features.value[c]);
    }
  }
  n_ += weight;
}

void Trail::evaporate(double left) {
  for (double& value : s_) value *= left;
  for (double& value : b_) value *= left;
  n_ *= left;
}

void Evidence::add(const Evidence& other) {
  for (size_t i = 0; i < s.size(); ++i) s[i] += other.s[i];
  for (size_t j = 0; j < b.size(); ++j) b[j] += other.b[j];
  n += other.n;
  costs.add(other.costs);
}

void Evidence::scale(double by) {
  for (double& value : s) value *= by;
  for (double& value : b) value *= by;
  n *= by;
  costs.sums.scale(by);
}

bool Trail::deposit(const Features& features, const std::array<double, kLandmarks>& similarity, int nearest,
                    double score, uint64_t task_time, const Population& population, const TrailParts& parts) {
  const double mean = along(features, w_);
  add(features, score);
  const Weights gain = rank_one(p_, features);
  for (size_t j = 0; j < kQ; ++j) w_[j] += gain[j] * (score - mean);
  const double age = task_time > recent_at_ ? static_cast<double>(task_time - recent_at_) : 0;
  const double decay = std::exp(-age / kRecentMemory);
  recent_n_ = recent_n_ * decay + 1;
  recent_sum_ = recent_sum_ * decay + (score - mean);
  recent_at_ = std::max(recent_at_, task_time);
  const bool alarm = parts.detection && nearest >= 0 && detect(features, similarity, static_cast<size_t>(nearest), mean, score, population);
  narrow();
  return alarm;
}

// Two CUSUMs a cell, 1.8.
bool Trail::detect(const Features& features, const std::array<double, kLandmarks>& similarity, size_t slot,
                   double mean, double score, const Population& population) {
  Detector& d = detectors_[slot];
  d.fast_n = std::min(d.fast_n + 1, kFastLength);
  d.fast_mean += (score - d.fast_mean) / d.fast_n;
  const size_t own = slot + 1;
  if (evidence(own) <= kEvidenceToTest) return false;
  const double m = std::clamp(mean, 0.03, 0.97);
  const double lo = std::max(m - kShift, 0.02), hi = std::min(m + kShift, 0.98);
  d.down = std::max(0.0, d.down + score * std::log(lo / m) + (1 - score) * std::log((1 - lo) / (1 - m)));
  d.up = std::max(0.0, d.up + score * std::log(hi / m) + (1 - score) * std::log((1 - hi) / (1 - m)));
  if (d.down <= kLimit && d.up <= kLimit) return false;
  const double fast = d.fast_mean;
  const double moved = d.down > kLimit ? m - fast : fast - m;
  const double z = std::clamp((std::max(moved, 0.0) - kSeverityOffset) / kSeverityScale, 0.0, 1.0);
  double most = -2;
  for (const double s : similarity) most = std::max(most, s);
  Weights keep{};
  double weighed = 0, total = 0;
  for (size_t j = 1; j < kQ; ++j) {
    const double e = evidence(j), s = similarity[j - 1];
    const bool near = j == own || (s > -2 && std::exp(24 * (s - most)) > 0.3);
    keep[j] = e <= 0 ? 1 : near ? std::min(1.0, kKeptOwn / e) : 1 - z * (1 - std::min(1.0, kKeptElsewhere / e));
    weighed += e * keep[j];
    total += e;
  }
  keep[0] = total > 0 ? weighed / total : 1;
  for (size_t i = 0; i < kQ; ++i) {
    for (size_t j = 0; j < kQ; ++j) s_[i * kQ + j] *= std::sqrt(keep[i] * keep[j]);
  }
  Weights target = w_;
  target[own] += fast - m;
  for (size_t i = 0; i < kQ; ++i) {
    b_[i] = 0;
    for (size_t j = 0; j < kQ; ++j) b_[i] += s_[i * kQ + j] * target[j];
  }
  detectors_.fill({});
  recent_n_ = recent_sum_ = 0;
  also_.reset();
  (void)features;
  refresh(population);
  return true;
}

void Trail::refresh(const Population& population) {
  if (!also_ && n_ == 0 && std::all_of(s_.begin(), s_.end(), [](double v) { return v == 0; })) {  // most of very many agents
    p_.fill(0);
    for (size_t j = 0; j < kQ; ++j) p_[j * kQ + j] = population.tau(j);
    w_ = population.theta;
    narrow();
    return;
  }
  Square a = s_;
  Weights b = b_;
  if (also_) {
    for (size_t i = 0; i < a.size(); ++i) a[i] += also_->s[i];
    for (size_t j = 0; j < kQ; ++j) b[j] += also_->b[j];
  }
  Weights right{};
  for (double& value : a) value /= kNoise;
  for (size_t j = 0; j < kQ; ++j) {
    a[j * kQ + j] += 1 / population.tau(j);
    right[j] = b[j] / kNoise + population.theta[j] / population.tau(j);
  }
  invert(a, p_);
  for (size_t i = 0; i < kQ; ++i) {
    w_[i] = 0;
    for (size_t j = 0; j < kQ; ++j) w_[i] += p_[i * kQ + j] * right[j];
  }
  narrow();
}

void Trail::narrow() {
  if (pending_.empty()) return;
  pv_ = p_;
  for (const auto& pending : pending_) rank_one(pv_, pending.features);
}

void Trail::begin(TaskId task, const Place& place, const Features& features) {
  if (pending_.size() >= kPendingMax) pending_.erase(pending_.begin());
  if (pending_.empty()) pv_ = p_;
  pending_.push_back({task, place, features});
  rank_one(pv_, features);
}

bool Trail::end(TaskId task) {
  const auto at = std::find_if(pending_.begin(), pending_.end(), [&](const Pending& p) { return p.task == task; });
  if (at == pending_.end()) return false;
  pending_.erase(at);
  narrow();
  return true;
}

void Trail::restart(const LandmarkMap& map) {
  s_.fill(0);
  b_.fill(0);
  n_ = 0;
  detectors_.fill({});
  for (auto& pending : pending_) pending.features = map.features(pending.place);
}

Evidence remapped(const Evidence& evidence, const std::array<std::array<double, kLandmarks>, kLandmarks>& overlap) {
  const auto m = [&](size_t row, size_t column) {
    if (row == 0 || column == 0) return row == column ? 1.0 : 0.0;
    return overlap[row - 1][column - 1];
  };
  Square half{};  // M S
  Evidence out;
  out.n = evidence.n;
  out.costs = evidence.costs;
  for (size_t i = 0; i < kQ; ++i) {
    for (size_t k = 0; k < kQ; ++k) {
      const double factor = m(i, k);
      if (factor == 0) continue;
      out.b[i] += factor * evidence.b[k];
      for (size_t j = 0; j < kQ; ++j) half[i * kQ + j] += factor * evidence.s[k * kQ + j];
    }
  }
  for (size_t i = 0; i < kQ; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (size_t k = 0; k < kQ; ++k) sum += half[i * kQ + k] * m(j, k);
      out.s[i * kQ + j] = out.s[j * kQ + i] = sum;
    }
  }
  return out;
}

void Trail::remap(const std::array<std::array<double, kLandmarks>, kLandmarks>& overlap, const LandmarkMap& map) {
  const Evidence moved = remapped(own(), overlap);
  s_ = moved.s;
  b_ = moved.b;
  detectors_.fill({});
  for (auto& pending : pending_) pending.features = map.features(pending.place);
}

void PopulationSums::add(const PopulationSums& other) {
  for (size_t j = 0; j < kQ; ++j) {
    known[j] += other.known[j];
    known_w[j] += other.known_w[j];
    w[j] += other.w[j];
  }
  square_base += other.square_base;
  square_place += other.square_place;
  agents += other.agents;
}

PopulationSums population_sums(const Population& population, const std::vector<const Trail*>& trails) {
  PopulationSums sums;
  sums.agents = static_cast<double>(trails.size());
  for (const Trail* trail : trails) {
    for (size_t j = 0; j < kQ; ++j) {
      const double w = trail->weights()[j], variance = trail->variance(j);
      const double rho = std::clamp(1 - variance / population.tau(j), 0.0, 1.0);
      sums.known[j] += rho;
      sums.known_w[j] += rho * w;
      sums.w[j] += w;
      (j == 0 ? sums.square_base : sums.square_place) += w * w + variance;
    }
  }
  return sums;
}

void update_population(Population& population, const PopulationSums& sums) {
  if (sums.agents <= 0) return;
  for (size_t j = 0; j < kQ; ++j) {
    const double mean = ((j == 0 ? 0.5 : 0) + sums.known_w[j]) / (sums.known[j] + 1);
    population.theta[j] += 0.5 * (mean - population.theta[j]);
  }
  // Σ (w − θ)² + P = Σ (w² + P) − 2 θ Σ w + A θ².
  double base = sums.square_base, place = sums.square_place;
  for (size_t j = 0; j < kQ; ++j) {
    const double theta = population.theta[j];
    (j == 0 ? base : place) += theta * (sums.agents * theta - 2 * sums.w[j]);
  }
  population.tau_base = std::max(kTauBaseFloor, (std::max(base, 0.0) + 2 * kTauPrior) / (sums.agents + 2));
  population.tau_place = std::max(kTauPlaceFloor, (std::max(place, 0.0) + 20 * kTauPrior) / (sums.agents * kLandmarks + 20));
}

}  // namespace colony::swarm
