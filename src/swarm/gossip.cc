#include "swarm/gossip.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "base/check.h"
#include "swarm/bytes.h"

namespace colony::swarm {
namespace {

constexpr uint64_t kVersionJumpMax = 1'000'000, kVersionMost = 1ULL << 48;
constexpr size_t kRangeBytes = 4 + 2 * 12;
constexpr size_t kLandmarkBytes = 1 + 4 + (kLandmarks + 1) * sizeof(Place) + kLandmarks * sizeof(float);
constexpr size_t kRoomForRecords = kMessageBytesMax - kLandmarkBytes - 64;

// What a record says beyond its key and stamp, in an order: two of one stamp are told apart by it.
auto contents(const TrailRecord& r) { return std::tie(r.landmarks, r.n, r.b, r.s, r.costs_at, r.costs); }
auto contents(const PopulationRecord& r) { return std::tie(r.landmarks, r.sums); }

template <typename Record>
bool newer(const Record& one, const Record& than) {
  return one.stamp != than.stamp ? one.stamp > than.stamp : contents(one) > contents(than);
}

}  // namespace

Evidence evidence_of(const TrailRecord& record) {
  Evidence e;
  size_t at = 0;
  for (size_t i = 0; i < kFeatures; ++i) {
    e.b[i] = static_cast<double>(record.b[i]);
    for (size_t j = 0; j <= i; ++j, ++at) e.s[i * kFeatures + j] = e.s[j * kFeatures + i] = static_cast<double>(record.s[at]);
  }
  e.n = static_cast<double>(record.n);
  const auto cost = [&](size_t i) { return static_cast<double>(record.costs[i]); };
  e.costs = {{cost(0), cost(1), cost(2), cost(3), cost(4)}, record.costs_at};
  return e;
}

TrailRecord trail_record(AgentId agent, uint64_t landmarks, const Evidence& e) {
  TrailRecord r;
  r.agent = agent;
  r.landmarks = landmarks;
  size_t at = 0;
  for (size_t i = 0; i < kFeatures; ++i) {
    r.b[i] = static_cast<float>(e.b[i]);
    for (size_t j = 0; j <= i; ++j, ++at) r.s[at] = static_cast<float>(e.s[i * kFeatures + j]);
  }
  r.n = static_cast<float>(e.n);
  const CostSums& costs = e.costs.sums;
  const double sums[] = {costs.n, costs.tokens, costs.tokens_squared, costs.ms, costs.ms_squared};
  for (size_t i = 0; i < r.costs.size(); ++i) r.costs[i] = static_cast<float>(sums[i]);
  r.costs_at = e.costs.at;
  return r;
}

bool plausible(const TrailRecord& record) {
  constexpr double kSlack = 1e-3;
  const auto n = static_cast<double>(record.n);
  if (!(n >= 0 && n <= 1e9) || record.agent == 0) return false;
  const Evidence e = evidence_of(record);
  const double s00 = e.s[0], most = s00 * (1 + kSlack) + 1e-2;
  if (!(s00 >= 0 && s00 <= n * (1 + kSlack) + 1e-2)) return false;
  for (size_t i = 0; i < kFeatures; ++i) {
    const double sii = e.s[i * kFeatures + i];
    if (!(sii >= 0 && sii <= most) || !(std::abs(e.b[i]) <= 1.5 * most)) return false;
    for (size_t j = 0; j < i; ++j) {
      const double sij = e.s[i * kFeatures + j];
      if (!(sij * sij <= sii * e.s[j * kFeatures + j] * (1 + kSlack) + kSlack)) return false;
    }
  }
  return plausible(e.costs.sums);
}

bool plausible(const CostSums& c) {
  constexpr double kSlack = 1e-3, kMostLog = 28;  // ln(1 + kCostMost) is 27.6
  if (!(c.n >= 0 && c.n <= 1e9)) return false;
  for (const auto& [sum, squares] : {std::pair(c.tokens, c.tokens_squared), std::pair(c.ms, c.ms_squared)}) {
    if (!(sum >= 0 && sum <= kMostLog * c.n + kSlack) || !(squares >= 0 && squares <= kMostLog * kMostLog * c.n + kSlack)) return false;
    if (!(sum * sum <= squares * c.n * (1 + kSlack) + kSlack)) return false;
  }
  return true;
}

bool plausible(const PopulationRecord& record) {
  const double agents = record.sums[3 * kFeatures + 2];
  if (!(agents >= 0 && agents <= 1e6)) return false;
  for (size_t j = 0; j < kFeatures; ++j) {
    const double known = record.sums[j];
    if (!(known >= 0 && known <= agents * 1.001)) return false;
    if (!(std::abs(record.sums[kFeatures + j]) <= 2 * known + 1e-9) || !(std::abs(record.sums[2 * kFeatures + j]) <= 2 * agents)) return false;
  }
  const double base = record.sums[3 * kFeatures], place = record.sums[3 * kFeatures + 1];
  return base >= 0 && base <= 5 * agents && place >= 0 && place <= 5 * kLandmarks * agents;
}

void Replica::write(TrailRecord record) {
  record.writer = self_;
  record.stamp = next();
  trails_[{record.agent, self_}] = record;
}

void Replica::write(PopulationRecord record) {
  record.writer = self_;
  record.stamp = next();
  populations_[self_] = record;
}

void Replica::begin(Stamp remembered) {
  past_ = remembered;
  settled_ = false;
  own_ = {std::max(own_.incarnation, remembered.incarnation + 1), 0};
}

void Replica::restart(Stamp heard) {
  own_ = {std::max(own_.incarnation, heard.incarnation) + 1, 0};
  settled_ = true;
  for (auto& [key, record] : trails_) {
    if (key.second == self_) record.stamp = next();
  }
  if (const auto at = populations_.find(self_); at != populations_.end()) at->second.stamp = next();
}

// A later life of a writer replaces all that an earlier one wrote: it took over what it remembered and
// what it was told.
bool Replica::of_this_life(NodeId writer, uint32_t incarnation) {
  uint32_t& life = lives_[writer];
  if (incarnation < life) return false;
  if (incarnation > life) {
    life = incarnation;
    std::erase_if(trails_, [&](const auto& one) {
      if (one.first.second != writer) return false;
      changed_.push_back(one.first.first);
      return true;
    });
    populations_.erase(writer);
  }
  return true;
}

bool Replica::take(const TrailRecord& record) {
  if (!of_this_life(record.writer, record.stamp.incarnation)) return false;
  const std::pair key(record.agent, record.writer);
  const auto at = trails_.find(key);
  if (at != trails_.end()) {
    if (!newer(record, at->second)) return false;
    at->second = record;
  } else {
    if (trails_.size() >= kTrailRecordsMax) {
      // The least used of the others makes way, if it is less used than this one.
      auto least = trails_.end();
      for (auto one = trails_.begin(); one != trails_.end(); ++one) {
        if (one->first.second != self_ && (least == trails_.end() || one->second.n < least->second.n)) least = one;
      }
      if (least == trails_.end() || least->second.n >= record.n) return false;
      trails_.erase(least);
    }
    trails_.emplace(key, record);
  }
  changed_.push_back(record.agent);
  return true;
}

bool Replica::take(const PopulationRecord& record) {
  if (!of_this_life(record.writer, record.stamp.incarnation)) return false;
  const auto [at, fresh] = populations_.try_emplace(record.writer, record);
  if (fresh) return true;
  if (!newer(record, at->second)) return false;
  at->second = record;
  return true;
}

void Replica::merge(const Delta& delta) {
  const auto trusted = [&](NodeId writer, const Stamp& stamp) {
    const Stamp known = seen(writer);
    if (known != Stamp{} && stamp > known) {
      const uint64_t from = known.incarnation == stamp.incarnation ? known.version : 0;
      if (stamp.version - from > kVersionJumpMax) return false;
    }
    return stamp.version < kVersionMost && stamp.incarnation <= known.incarnation + kVersionJumpMax &&
           (seen_.contains(writer) || writer == self_ || seen_.size() < kWritersMax);
  };
  std::vector<NodeId> refused;
  bool mine = false;
  const auto each = [&](const auto& record, const auto& mine_too) {
    if (!plausible(record) || !trusted(record.writer, record.stamp)) {
      refused.push_back(record.writer);
      ++refused_;
    } else if (record.writer == self_) {
      mine_too(record);
    } else {
      take(record);
    }
  };
  for (const auto& record : delta.trails) {
    each(record, [&](const TrailRecord& r) {
      if (!settled_ && r.stamp > past_) returned_.push_back(r);
    });
  }
  for (const auto& record : delta.populations) each(record, [](const PopulationRecord&) {});
  for (const auto& range : delta.ranges) {
    if (std::find(refused.begin(), refused.end(), range.writer) != refused.end() || !trusted(range.writer, range.upto)) continue;
    if (range.writer == self_) {
      mine = true;
      if (!settled_ && range.after <= past_) past_ = std::max(past_, range.upto);
    } else if (range.after <= seen(range.writer) && range.upto > seen(range.writer)) {
      seen_[range.writer] = range.upto;
      of_this_life(range.writer, range.upto.incarnation);
    }
  }
  if (!settled_ && !mine) settle();
}

void Replica::settle() {
  settled_ = true;
  if (past_ >= own_ || past_.incarnation == own_.incarnation) restart(past_);
}

void Replica::hear(const Digest& theirs) {
  const auto at = std::find_if(theirs.seen.begin(), theirs.seen.end(), [&](const auto& one) { return one.first == self_; });
  const Stamp known = at == theirs.seen.end() ? Stamp{} : at->second;
  if (known.incarnation > own_.incarnation + kVersionJumpMax) return;
  if (!settled_) {
    if (known <= past_) settle();
  } else if (known > own_) {
    restart(known);  // of an earlier life, more than we remembered
  }
}

Stamp Replica::seen(NodeId writer) const {
  if (writer == self_) return own_;
  const auto at = seen_.find(writer);
  return at == seen_.end() ? Stamp{} : at->second;
}

Digest Replica::digest(bool wants_reply) const {
  Digest d;
  d.from = self_;
  d.wants_reply = wants_reply;
  if (landmarks_) {
    d.epoch = landmarks_->epoch;
    d.landmarks = landmarks_->id();
  }
  d.seen.assign(seen_.begin(), seen_.end());
  const std::pair mine(self_, settled_ ? own_ : past_);
  d.seen.insert(std::lower_bound(d.seen.begin(), d.seen.end(), mine), mine);
  return d;
}

Delta Replica::delta_for(const Digest& theirs) const {
  Delta delta;
  delta.from = self_;
  if (landmarks_ && std::pair(landmarks_->epoch, landmarks_->id()) > std::pair(theirs.epoch, theirs.landmarks)) delta.landmarks = landmarks_;
  std::map<NodeId, Stamp> have(theirs.seen.begin(), theirs.seen.end());
  struct Wanted {
    std::vector<std::pair<Stamp, const TrailRecord*>> trails;
    const PopulationRecord* population = nullptr;
  };
  std::map<NodeId, Wanted> wanted;
  // Own writes wait until it is known that they are later than those of an earlier life.
  const auto lacks = [&](NodeId writer, const Stamp& stamp) {
    return stamp > have[writer] && stamp <= seen(writer) && (settled_ || writer != self_);
  };
  for (const auto& [key, record] : trails_) {
    if (lacks(key.second, record.stamp)) wanted[key.second].trails.emplace_back(record.stamp, &record);
  }
  for (const auto& [writer, record] : populations_) {
    if (lacks(writer, record.stamp)) wanted[writer].population = &record;
  }
  for (const auto& [writer, stamp] : seen_) {
    if (stamp > have[writer]) wanted[writer];
  }
  if (settled_ && own_.version > 0 && own_ > have[self_]) wanted[self_];
  if (wanted.empty()) return delta;
  const size_t writers = std::min(wanted.size(), kRoomForRecords / (kRangeBytes + kPopulationRecordBytes + kTrailRecordBytes));
  const size_t share = kRoomForRecords / writers;
  // Where all cannot have a share, the turn goes round with what is known already.
  auto at = wanted.begin();
  if (writers < wanted.size()) std::advance(at, static_cast<ptrdiff_t>(own_.version % wanted.size()));
  for (size_t i = 0; i < writers; ++i, ++at) {
    if (at == wanted.end()) at = wanted.begin();
    auto& [writer, w] = *at;
    std::sort(w.trails.begin(), w.trails.end());
    size_t room = share - kRangeBytes;
    Delta::Range range{writer, have[writer], seen(writer)};
    bool population = w.population == nullptr;
    for (const auto& [stamp, record] : w.trails) {
      if (!population && w.population->stamp < stamp) {
        if (room < kPopulationRecordBytes) break;
        population = true;
        room -= kPopulationRecordBytes;
        delta.populations.push_back(*w.population);
      }
      if (room < kTrailRecordBytes) {
        // Up to the last one that fits.
        range.upto = stamp;
        if (range.upto.version > 0) --range.upto.version;
        population = true;
        break;
      }
      room -= kTrailRecordBytes;
      delta.trails.push_back(*record);
    }
    if (!population) {
      if (room >= kPopulationRecordBytes) {
        delta.populations.push_back(*w.population);
      } else {
        range.upto = w.population->stamp;
        if (range.upto.version > 0) --range.upto.version;
      }
    }
    if (range.upto > range.after) delta.ranges.push_back(range);
  }
  return delta;
}

bool Replica::offer(const std::shared_ptr<const Landmarks>& landmarks) {
  if (!landmarks) return false;
  if (landmarks_ && std::pair(landmarks_->epoch, landmarks_->id()) >= std::pair(landmarks->epoch, landmarks->id())) return false;
  landmarks_ = landmarks;
  return true;
}

std::vector<AgentId> Replica::take_changed() {
  std::sort(changed_.begin(), changed_.end());
  changed_.erase(std::unique(changed_.begin(), changed_.end()), changed_.end());
  return std::exchange(changed_, {});
}

std::string Replica::bytes() const {
  ByteWriter w;
  w.put(static_cast<uint32_t>(trails_.size()));
  for (const auto& [key, r] : trails_) {
    w.put(r.writer), w.put(r.agent), w.put(r.stamp.incarnation), w.put(r.stamp.version), w.put(r.landmarks), w.put(r.s), w.put(r.b), w.put(r.n), w.put(r.costs), w.put(r.costs_at);
  }
  for (const auto& [writer, r] : populations_) {
    w.put(writer), w.put(r.stamp.incarnation), w.put(r.stamp.version), w.put(r.landmarks), w.put(r.sums);
  }
  w.put(landmarks_ ? landmarks_->id() : 0);
  return std::move(w.bytes());
}

}  // namespace colony::swarm
