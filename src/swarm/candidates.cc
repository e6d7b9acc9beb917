#include "swarm/candidates.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace colony::swarm {
namespace {

constexpr size_t kScouts = 2, kColumns = 3;

// The better first; of equals the one with the smaller position.
bool better(const std::pair<float, uint32_t>& a, const std::pair<float, uint32_t>& b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

}  // namespace

void Candidates::begin(std::vector<Hosted> hosted, bool scanned, const LandmarkMap& map, const ReadAt& at) {
  hosted_ = std::move(hosted);
  scanned_ = scanned;
  known_ = true;
  if (!scanned) {
    picked_.resize(hosted_.size());
    std::iota(picked_.begin(), picked_.end(), 0U);
    return;
  }
  follow(map);
  for (auto& column : index_) column.assign(hosted_.size(), 0);
  lower_.assign(hosted_.size(), 0);
  single_ = 0;
  for (size_t position = 0; position < hosted_.size(); ++position) keep(position, at);
}

void Candidates::follow(const LandmarkMap& map) {
  if (!scanned_) return;
  centres_[0].count = 1;
  centres_[0].value[0] = 1;
  there_[0] = true;
  for (size_t slot = 0; slot < kLandmarks; ++slot) {
    there_[slot + 1] = map.there(slot);
    if (there_[slot + 1]) centres_[slot + 1] = map.features_at(slot);
  }
}

void Candidates::keep(size_t position, const ReadAt& at) {
  const Trail& trail = *hosted_[position].trail;
  for (size_t column = 0; column < centres_.size(); ++column) {
    if (!there_[column]) continue;
    const Reading reading = trail.read(centres_[column], at.task_time, at.parts);
    index_[column][position] = static_cast<float>(reading.mean + reading.recent + at.optimism * reading.deviation);
    if (column == 0) lower_[position] = static_cast<float>(reading.mean + reading.recent - 0.45 / std::sqrt(trail.n() + 2));
  }
  // Only when the highest falls must all be looked at.
  if (position == single_) single_ = static_cast<size_t>(std::max_element(lower_.begin(), lower_.end()) - lower_.begin());
  else if (lower_[position] > lower_[single_]) single_ = position;
}

void Candidates::update(AgentId agent, const ReadAt& at) {
  if (!known_ || !scanned_) return;
  const auto found = std::lower_bound(hosted_.begin(), hosted_.end(), agent, [](const Hosted& h, AgentId id) { return h.agent < id; });
  if (found != hosted_.end() && found->agent == agent) keep(static_cast<size_t>(found - hosted_.begin()), at);
}

void Candidates::take_best(size_t begin, size_t end) {
  constexpr size_t kBest = kMost - kScouts - 1, kLanes = 8;
  for (size_t at = begin; at < end; at += kLanes) {
    const size_t past = std::min(at + kLanes, end);
    if (best_.size() == kBest) {
      bool any = false;  // most of the time none of them is good enough
      for (size_t i = at; i < past; ++i) any |= mixed_[i] > best_[0].first;
      if (!any) continue;
    }
    for (size_t i = at; i < past; ++i) {
      if (best_.size() == kBest) {
        if (!(mixed_[i] > best_[0].first)) continue;
        std::pop_heap(best_.begin(), best_.end(), better);
        best_.pop_back();
      }
      best_.emplace_back(mixed_[i], static_cast<uint32_t>(i));
      std::push_heap(best_.begin(), best_.end(), better);
    }
  }
}

const std::vector<uint32_t>& Candidates::pick(const Features& features, RngStream rng) {
  if (!scanned_) return picked_;
  const size_t count = hosted_.size();
  mixed_.resize(count);
  best_.clear();
  // The place's weightiest landmarks say enough about who is worth a reading.
  std::array<std::pair<float, const float*>, Features::kMax> weightiest;
  size_t columns = 0;
  for (int i = features.count == 1 ? 0 : 1; i < features.count; ++i) {
    weightiest[columns++] = {static_cast<float>(features.value[static_cast<size_t>(i)]), index_[features.index[static_cast<size_t>(i)]].data()};
  }
  const auto end_of = [&](size_t count_of) { return weightiest.begin() + static_cast<std::ptrdiff_t>(count_of); };
  std::partial_sort(weightiest.begin(), end_of(std::min(columns, kColumns)), end_of(columns), [](const auto& x, const auto& y) { return x.first > y.first; });
  columns = std::min(columns, kColumns);
  // In blocks, so that what is mixed is looked at while it is near.
  constexpr size_t kBlock = 512;
  for (size_t begin = 0; begin < count; begin += kBlock) {
    const size_t end = std::min(begin + kBlock, count);
    for (size_t at = begin; at < end; ++at) mixed_[at] = weightiest[0].first * weightiest[0].second[at];
    for (size_t i = 1; i < columns; ++i) {
      const auto [weight, column] = weightiest[i];
      for (size_t at = begin; at < end; ++at) mixed_[at] += weight * column[at];
    }
    take_best(begin, end);
  }
  picked_.clear();
  for (const auto& [value, at] : best_) picked_.push_back(at);
  picked_.push_back(static_cast<uint32_t>(single_));
  for (size_t scout = 0; scout < kScouts; ++scout) picked_.push_back(static_cast<uint32_t>(rng.below(count)));
  std::sort(picked_.begin(), picked_.end());
  picked_.erase(std::unique(picked_.begin(), picked_.end()), picked_.end());
  return picked_;
}

}  // namespace colony::swarm
