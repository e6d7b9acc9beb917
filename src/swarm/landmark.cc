#include "swarm/landmark.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"

namespace colony::swarm {
namespace {

constexpr double kSoftness = 8, kCut = 0.02;  // 1.3
constexpr int kKept = 5;
constexpr double kMergeCosine = 0.75, kLeastRate = 0.002, kMeanRate = 0.0005;
constexpr double kMeanDoubt = 16;  // places
constexpr int kStarts = 3, kRounds = 10;
constexpr uint16_t kStreamMap = 6;

double dot(const Place& a, const Place& b) {
  std::array<double, 4> sum{};
  for (size_t i = 0; i < kPlaceDim; i += 4) {
    for (size_t k = 0; k < 4; ++k) sum[k] += static_cast<double>(a[i + k]) * static_cast<double>(b[i + k]);
  }
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

std::array<double, kPlaceDim> minus(const Place& a, const Place& b) {
  std::array<double, kPlaceDim> out{};
  for (size_t i = 0; i < kPlaceDim; ++i) out[i] = static_cast<double>(a[i]) - static_cast<double>(b[i]);
  return out;
}

struct Clusters {
  std::vector<Place> centre;
  std::vector<size_t> of;  // point -> cluster
  double cosine = -1;      // total
};

// Spherical k-means with D² seeding.
Clusters cluster(const std::vector<Place>& points, size_t k, RngStream& rng) {
  Clusters c;
  std::vector<double> far(points.size(), 2);
  while (c.centre.size() < k) {
    double total = 0;
    for (const double d : far) total += d;
    size_t pick = 0;
    if (c.centre.empty() || total <= 0) {
      pick = static_cast<size_t>(rng.below(points.size()));
    } else {
      double left = rng.uniform() * total;
      while (pick + 1 < points.size() && left >= far[pick]) left -= far[pick++];
    }
    c.centre.push_back(points[pick]);
    for (size_t i = 0; i < points.size(); ++i) far[i] = std::min(far[i], std::max(0.0, 1 - dot(points[i], c.centre.back())));
  }
  c.of.resize(points.size());
  for (int round = 0; round < kRounds; ++round) {
    c.cosine = 0;
    std::vector<std::array<double, kPlaceDim>> sums(k);
    for (size_t i = 0; i < points.size(); ++i) {
      double best = -2;
      for (size_t j = 0; j < k; ++j) {
        const double s = dot(points[i], c.centre[j]);
        if (s > best) {
          best = s;
          c.of[i] = j;
        }
      }
      c.cosine += best;
      for (size_t d = 0; d < kPlaceDim; ++d) sums[c.of[i]][d] += static_cast<double>(points[i][d]);
    }
    for (size_t j = 0; j < k; ++j) {
      const Place moved = unit(sums[j]);
      if (dot(moved, moved) > 0.5) c.centre[j] = moved;  // an empty cluster stays where it is
    }
  }
  return c;
}

}  // namespace

Place unit(const std::array<double, kPlaceDim>& v) {
  double norm = 0;
  for (const double x : v) norm += x * x;
  Place out{};
  if (norm <= 1e-24) return out;
  const double scale = 1 / std::sqrt(norm);
  for (size_t i = 0; i < kPlaceDim; ++i) out[i] = static_cast<float>(v[i] * scale);
  return out;
}

Place LandmarkMap::place_of(const Logged& logged) {
  Place out{};
  for (size_t i = 0; i < kPlaceDim; ++i) out[i] = static_cast<float>(logged.place[i]) / 32767.0F;
  return out;
}

Place LandmarkMap::centred(const Place& place) const { return unit(minus(place, mean_)); }

size_t LandmarkMap::count() const {
  return static_cast<size_t>(std::count_if(count_.begin(), count_.end(), [](double m) { return m > 0; }));
}

std::array<double, kLandmarks> LandmarkMap::similarity(const Place& place) const {
  return similarity_of(centred(place));
}

std::array<double, kLandmarks> LandmarkMap::similarity_of(const Place& z) const {
  std::array<double, kLandmarks> s{};
  for (size_t j = 0; j < kLandmarks; ++j) s[j] = there(j) ? dot(z, centre_[j]) : -2;
  return s;
}

double LandmarkMap::nearness(const Place& a, const Place& b) const {
  // The mean of a few places is nearly one of them, and nothing would be left of it.
  const double known = static_cast<double>(learned_) / (static_cast<double>(learned_) + kMeanDoubt);
  const auto less = [&](const Place& place) {
    std::array<double, kPlaceDim> out{};
    for (size_t i = 0; i < kPlaceDim; ++i) out[i] = static_cast<double>(place[i]) - known * static_cast<double>(mean_[i]);
    return unit(out);
  };
  return dot(less(a), less(b));
}

std::optional<size_t> LandmarkMap::nearest(const Place& place) const { return nearest(similarity(place)); }

std::optional<size_t> LandmarkMap::nearest(const std::array<double, kLandmarks>& s) const {
  if (count() == 0) return std::nullopt;
  return static_cast<size_t>(std::max_element(s.begin(), s.end()) - s.begin());
}

Features LandmarkMap::features(const Place& place) const { return features_of(centred(place)); }

Features LandmarkMap::features_at(size_t slot) const { return features_of(centre_[slot]); }

Features LandmarkMap::features_of(const Place& z) const { return features(similarity_of(z)); }

Features LandmarkMap::features(const std::array<double, kLandmarks>& s) const {
  Features f;
  f.count = 1;
  f.index[0] = 0;
  f.value[0] = 1;
  if (count() == 0) return f;
  std::array<uint8_t, kLandmarks> order{};
  for (size_t j = 0; j < kLandmarks; ++j) order[j] = static_cast<uint8_t>(j);
  std::partial_sort(order.begin(), order.begin() + kKept, order.end(), [&](uint8_t a, uint8_t b) { return s[a] != s[b] ? s[a] > s[b] : a < b; });
  const double most = s[order[0]];
  std::array<bool, kLandmarks> kept{};
  for (size_t i = 0; i < kKept; ++i) {
    const double at = s[order[i]];
    kept[order[i]] = at > -2 && std::exp(kSoftness * (at - most)) >= kCut;
  }
  double total = 0;
  for (size_t j = 0; j < kLandmarks; ++j) {
    if (!kept[j]) continue;
    const auto at = static_cast<size_t>(f.count++);
    f.index[at] = static_cast<uint8_t>(j + 1);
    f.value[at] = std::exp(kSoftness * (s[j] - most));
    total += f.value[at];
  }
  for (int i = 1; i < f.count; ++i) f.value[static_cast<size_t>(i)] /= total;
  return f;
}

bool LandmarkMap::learn(const Place& place) {
  const double rate = std::max(1.0 / static_cast<double>(learned_ + 1), kMeanRate);
  ++learned_;
  for (size_t i = 0; i < kPlaceDim; ++i) mean_[i] += static_cast<float>(rate * (static_cast<double>(place[i]) - static_cast<double>(mean_[i])));
  if (log_open_) {
    const bool due = rebuilds_next();
    Logged logged;
    for (size_t i = 0; i < kPlaceDim; ++i) logged.place[i] = static_cast<int16_t>(std::lround(std::clamp(place[i], -1.0F, 1.0F) * 32767.0F));
    log_.push_back(logged);
    if (due) {
      rebuild();
      epoch_ = static_cast<uint32_t>(log_.size());
      log_open_ = log_.size() < kMapLog;  // the caller fills from it once more; close_log() then lets it go
      return true;
    }
  }
  const auto j = nearest(place);
  if (!j) return false;
  const double step = std::max(kLeastRate, 1 / (count_[*j] + 1));
  const Place z = centred(place);
  std::array<double, kPlaceDim> moved{};
  for (size_t i = 0; i < kPlaceDim; ++i) moved[i] = (1 - step) * static_cast<double>(centre_[*j][i]) + step * static_cast<double>(z[i]);
  const Place next = unit(moved);
  if (dot(next, next) > 0.5) centre_[*j] = next;
  count_[*j] += 1;
  return false;
}

bool LandmarkMap::rebuilds_next() const {
  const size_t n = log_.size() + 1;
  return log_open_ && n >= 32 && (n & (n - 1)) == 0 && n > epoch_;
}

std::optional<size_t> LandmarkMap::last_logged() const {
  if (!log_open_ || log_.empty()) return std::nullopt;
  return log_.size() - 1;
}

Landmarks LandmarkMap::landmarks() const {
  Landmarks out;
  out.epoch = epoch_;
  if (epoch_ == 0) return out;
  out.mean = mean_;
  out.centre = centre_;
  for (size_t j = 0; j < kLandmarks; ++j) out.count[j] = static_cast<float>(count_[j]);
  return out;
}

void LandmarkMap::adopt(const Landmarks& landmarks) {
  epoch_ = landmarks.epoch;
  mean_ = landmarks.mean;
  centre_ = landmarks.centre;
  for (size_t j = 0; j < kLandmarks; ++j) count_[j] = static_cast<double>(landmarks.count[j]);
  learned_ = std::max<uint64_t>(learned_, epoch_);
  if (epoch_ >= kMapLog) log_open_ = false;
}

std::array<std::array<double, kLandmarks>, kLandmarks> LandmarkMap::overlap(const LandmarkMap& to) const {
  std::array<std::array<double, kLandmarks>, kLandmarks> out{};
  for (size_t slot = 0; slot < kLandmarks; ++slot) {
    if (!there(slot)) continue;
    const Features f = to.features_of(centre_[slot]);
    for (int i = 1; i < f.count; ++i) out[f.index[static_cast<size_t>(i)] - 1U][slot] = f.value[static_cast<size_t>(i)];
  }
  return out;
}

double LandmarkMap::served_by(const Landmarks& other) const {
  double sum = 0, weight = 0;
  for (size_t slot = 0; slot < kLandmarks; ++slot) {
    if (!there(slot)) continue;
    double best = -1;
    for (size_t j = 0; j < kLandmarks; ++j) {
      if (other.count[j] > 0) best = std::max(best, dot(centre_[slot], other.centre[j]));
    }
    sum += count_[slot] * best;
    weight += count_[slot];
  }
  return weight > 0 ? sum / weight : 1;
}

uint64_t Landmarks::id() const {
  if (epoch == 0) return 0;
  uint64_t hash = fnv1a(reinterpret_cast<const char*>(&epoch), sizeof epoch);
  hash = fnv1a(reinterpret_cast<const char*>(mean.data()), sizeof mean, hash);
  hash = fnv1a(reinterpret_cast<const char*>(centre.data()), sizeof centre, hash);
  return fnv1a(reinterpret_cast<const char*>(count.data()), sizeof count, hash);
}

bool Landmarks::valid() const {
  if (epoch < 32 || epoch > kMapLog || (epoch & (epoch - 1)) != 0) return false;
  const auto finite = [](const Place& p) { return std::all_of(p.begin(), p.end(), [](float x) { return std::abs(x) <= 1.001F; }); };
  if (!finite(mean)) return false;
  size_t landmarks = 0;
  for (size_t j = 0; j < kLandmarks; ++j) {
    if (!(count[j] >= 0 && count[j] <= 1e9F) || !finite(centre[j])) return false;
    if (count[j] == 0) continue;
    ++landmarks;
    if (std::abs(dot(centre[j], centre[j]) - 1) > 1e-3) return false;
  }
  return landmarks > 0;
}

void LandmarkMap::rebuild() {
  std::array<double, kPlaceDim> sum{};
  std::vector<Place> points;
  for (const auto& logged : log_) {
    points.push_back(place_of(logged));
    for (size_t i = 0; i < kPlaceDim; ++i) sum[i] += static_cast<double>(points.back()[i]);
  }
  for (size_t i = 0; i < kPlaceDim; ++i) mean_[i] = static_cast<float>(sum[i] / static_cast<double>(points.size()));
  for (auto& point : points) point = centred(point);
  const size_t k = std::min<size_t>(kLandmarks, points.size() / 4);
  Clusters best;
  for (uint32_t start = 0; start < kStarts; ++start) {
    RngStream rng(seed_, points.size() * kStarts + start, node_, kStreamMap);
    Clusters made = cluster(points, k, rng);
    if (made.cosine > best.cosine || best.centre.empty()) best = std::move(made);
  }
  centre_.fill({});
  count_.fill(0);
  for (size_t j = 0; j < k; ++j) centre_[j] = best.centre[j];
  for (const size_t j : best.of) count_[j] += 1;
  merge_close();
}

void LandmarkMap::merge_close() {
  while (true) {
    double most = kMergeCosine;
    size_t a = 0, b = 0;
    for (size_t i = 0; i < kLandmarks; ++i) {
      for (size_t j = i + 1; j < kLandmarks; ++j) {
        if (!there(i) || !there(j)) continue;
        const double s = dot(centre_[i], centre_[j]);
        if (s > most) {
          most = s;
          a = i;
          b = j;
        }
      }
    }
    if (a == b) return;
    std::array<double, kPlaceDim> sum{};
    for (size_t d = 0; d < kPlaceDim; ++d) {
      sum[d] = count_[a] * static_cast<double>(centre_[a][d]) + count_[b] * static_cast<double>(centre_[b][d]);
    }
    centre_[a] = unit(sum);
    count_[a] += count_[b];
    centre_[b] = {};
    count_[b] = 0;
  }
}

}  // namespace colony::swarm
