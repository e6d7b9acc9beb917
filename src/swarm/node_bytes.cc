// A node as bytes: "COLN", version, fields in order, SHA-256 of all before.
#include <cmath>
#include <cstring>

#include "base/digest.h"
#include "swarm/bytes.h"
#include "swarm/node_state.h"

namespace colony::swarm {
namespace {

constexpr char kMagic[4] = {'C', 'O', 'L', 'N'};
constexpr uint32_t kVersion = 5;
constexpr size_t kDigest = 32, kMembersMax = 1 << 20;

std::string digest_of(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

}  // namespace

struct NodeBytes {
  static void write(ByteWriter& w, const LandmarkMap& m) {
    w.put(m.learned_);
    w.put(m.epoch_);
    w.put(m.mean_);
    w.put(m.centre_);
    w.put(m.count_);
    w.put(static_cast<uint8_t>(m.log_open_));
    w.put(static_cast<uint32_t>(m.log_.size()));
    for (const auto& logged : m.log_) {
      w.put(logged.place);
      w.put(logged.agent);
      w.put(logged.score);
      w.put(logged.weight);
    }
  }
  static void read(ByteReader& r, LandmarkMap& m) {
    r.get(m.learned_);
    r.get(m.epoch_);
    r.get(m.mean_);
    r.get(m.centre_);
    r.get(m.count_);
    r.finite(m.mean_);
    for (const auto& centre : m.centre_) r.finite(centre);
    r.finite(m.count_);
    for (const double count : m.count_) r.require(count >= 0);
    uint8_t open = 0;
    r.get(open);
    m.log_open_ = open != 0;
    const size_t count = r.get_count(kMapLog, sizeof(Logged::place) + sizeof(AgentId) + 2 * sizeof(float));
    // The log holds every task heard, until it is full or a final map came; then nothing.
    r.require(open <= 1 && (m.log_open_ ? count < kMapLog && m.learned_ >= count : count == 0 && m.learned_ >= kMapLog));
    r.require(m.epoch_ == 0 || (m.epoch_ >= 32 && m.epoch_ <= kMapLog && std::has_single_bit(m.epoch_)));
    r.require((m.epoch_ == kMapLog) == !m.log_open_ && (m.epoch_ > 0) == (m.count() > 0) && m.learned_ >= m.epoch_);
    if (!r.good()) return;
    m.log_.resize(count);
    for (auto& logged : m.log_) {
      r.get(logged.place);
      r.get(logged.agent);
      r.get(logged.score);
      r.get(logged.weight);
      r.require(logged.score >= 0 && logged.score <= 1 && logged.weight >= 0 && logged.weight <= 1);
    }
  }
  static void write(ByteWriter& w, const Landmarks& l) {
    w.put(l.epoch);
    if (l.epoch == 0) return;
    w.put(l.mean);
    w.put(l.centre);
    w.put(l.count);
  }
  static void read(ByteReader& r, Landmarks& l) {
    r.get(l.epoch);
    if (l.epoch == 0) return;
    r.get(l.mean);
    r.get(l.centre);
    r.get(l.count);
  }
  static void write(ByteWriter& w, const CostTrail& c) {
    for (const CostSums& cell : c.cells_) w.put(cell);
    write(w, c.all_);
  }
  static void write(ByteWriter& w, const Costs& c) {
    w.put(c.sums);
    w.put(c.at);
  }
  static void read(ByteReader& r, Costs& c) {
    r.get(c.sums);
    r.get(c.at);
    r.require(plausible(c.sums));
  }
  static void read(ByteReader& r, CostTrail& c) {
    for (CostSums& cell : c.cells_) {
      r.get(cell);
      r.require(plausible(cell));
    }
    read(r, c.all_);
  }
  static void write(ByteWriter& w, const Thresholds& t) { w.put(t.theta_); }
  static void read(ByteReader& r, Thresholds& t) {
    r.get(t.theta_);
    for (const float theta : t.theta_) r.require(theta >= 0 && theta <= 1);
  }
  static void write(ByteWriter& w, const Trail& t) {
    for (size_t i = 0; i < kFeatures; ++i) {
      for (size_t j = 0; j <= i; ++j) w.put(t.s_[i * kFeatures + j]);
    }
    w.put(t.b_);
    w.put(t.n_);
    w.put(t.recent_n_);
    w.put(t.recent_sum_);
    w.put(t.recent_at_);
    for (const auto& d : t.detectors_) {
      for (const double value : {d.down, d.up, d.fast_mean, d.fast_n}) w.put(value);
    }
  }
  static void read(ByteReader& r, Trail& t) {
    for (size_t i = 0; i < kFeatures; ++i) {
      for (size_t j = 0; j <= i; ++j) {
        r.get(t.s_[i * kFeatures + j]);
        t.s_[j * kFeatures + i] = t.s_[i * kFeatures + j];
      }
      r.require(t.s_[i * kFeatures + i] >= 0);
    }
    r.get(t.b_);
    r.get(t.n_);
    r.get(t.recent_n_);
    r.get(t.recent_sum_);
    r.get(t.recent_at_);
    r.finite(t.s_);
    r.finite(t.b_);
    r.finite(std::array{t.n_, t.recent_n_, t.recent_sum_});
    r.require(t.n_ >= 0 && t.recent_n_ >= 0);
    for (auto& d : t.detectors_) {
      for (double* value : {&d.down, &d.up, &d.fast_mean, &d.fast_n}) {
        r.get(*value);
        r.require(*value >= 0 && *value <= kMost);
      }
    }
  }
};

std::string Node::save() const {
  const State& s = *state_;
  ByteWriter w;
  w.put(kMagic);
  w.put(kVersion);
  NodeBytes::write(w, s.map);
  w.put(s.population.theta);
  w.put(s.population.tau_base);
  w.put(s.population.tau_place);
  w.put(s.heard);
  w.put(s.refreshed);
  w.put(s.due_ms);
  NodeBytes::write(w, s.costs);
  w.put(s.replica.remembered().incarnation);
  w.put(s.replica.remembered().version);
  NodeBytes::write(w, s.replica.landmarks() ? *s.replica.landmarks() : Landmarks());
  w.put(static_cast<uint32_t>(s.members.size()));
  for (const auto& [id, member] : s.members) {
    w.put(id);
    w.put_text(member.name);
    NodeBytes::write(w, member.trail);
    NodeBytes::write(w, member.cost);
    NodeBytes::write(w, member.thresholds);
    w.put(member.price);
    w.put(member.own_taken);
    w.put(static_cast<uint8_t>(member.returned != nullptr));
    if (member.returned) {
      w.put(member.returned_landmarks);
      const TrailRecord record = trail_record(id, 0, *member.returned);
      w.put(record.s);
      w.put(record.b);
      w.put(record.n);
      w.put(record.costs);
      w.put(record.costs_at);
    }
  }
  w.put(static_cast<uint32_t>(s.extras.size()));
  for (const auto& extra : s.extras) {
    w.put(extra.place);
    w.put(extra.agent);
    w.put(extra.score);
    w.put(extra.weight);
  }
  const std::string digest = digest_of(w.bytes());
  return std::move(w.bytes()) + digest;
}

Status Node::load(std::string_view bytes) {
  constexpr size_t kHex = 2 * kDigest;
  if (bytes.size() < sizeof(kMagic) + sizeof(kVersion) + kHex || std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) != 0) {
    return corrupt("a saved node: {} bytes that do not begin with COLN", bytes.size());
  }
  const std::string_view body = bytes.substr(0, bytes.size() - kHex);
  if (digest_of(body) != bytes.substr(body.size())) return corrupt("a saved node: its checksum does not match");
  ByteReader r(body.substr(sizeof(kMagic)));
  uint32_t version = 0;
  r.get(version);
  if (version != kVersion) return corrupt("a saved node: version {}, expected {}", version, kVersion);
  auto fresh = std::make_unique<State>(state_->options);
  NodeBytes::read(r, fresh->map);
  r.get(fresh->population.theta);
  r.get(fresh->population.tau_base);
  r.get(fresh->population.tau_place);
  r.finite(fresh->population.theta);
  r.require(fresh->population.tau_base > 0 && fresh->population.tau_base < 1e6);
  r.require(fresh->population.tau_place > 0 && fresh->population.tau_place < 1e6);
  r.get(fresh->heard);
  r.get(fresh->refreshed);
  r.get(fresh->due_ms);
  r.require(fresh->due_ms < 1ULL << 62);
  NodeBytes::read(r, fresh->costs);
  Stamp own;
  r.get(own.incarnation);
  r.get(own.version);
  r.require(own.incarnation < 1U << 31 && own.version < 1ULL << 48);
  auto landmarks = std::make_shared<Landmarks>();
  NodeBytes::read(r, *landmarks);
  r.require(landmarks->epoch == 0 || (landmarks->valid() && landmarks->epoch == fresh->map.epoch()));
  if (r.good() && landmarks->epoch > 0) fresh->replica.offer(std::move(landmarks));
  // Saved without: the map as it is now stands for what it was.
  if (!fresh->replica.landmarks() && fresh->map.epoch() > 0) fresh->replica.offer(std::make_shared<const Landmarks>(fresh->map.landmarks()));
  if (fresh->replica.landmarks()) fresh->landmarks_id = fresh->replica.landmarks()->id();
  const size_t members = r.get_count(kMembersMax, sizeof(AgentId) + sizeof(uint32_t));
  for (size_t i = 0; i < members && r.good(); ++i) {
    AgentId id = 0;
    r.get(id);
    Member& member = fresh->members[id];
    r.get_text(member.name, kNameMax);
    NodeBytes::read(r, member.trail);
    NodeBytes::read(r, member.cost);
    NodeBytes::read(r, member.thresholds);
    r.get(member.price);
    r.require(member.price >= 0 && member.price <= 1);
    r.get(member.own_taken);
    uint8_t returned = 0;
    r.get(returned);
    r.require(returned <= 1);
    if (returned == 1) {
      TrailRecord record;
      record.agent = id;
      r.get(member.returned_landmarks);
      r.get(record.s);
      r.get(record.b);
      r.get(record.n);
      r.get(record.costs);
      r.get(record.costs_at);
      r.require(id == 0 || plausible(record));
      member.returned = std::make_shared<const Evidence>(evidence_of(record));
    }
    member.remembered = true;
    member.unwritten = true;
    if (!r.good()) break;
    member.trail.refresh(fresh->population);
    // What is no sum of squares gives weights and variances that are none.
    r.finite(member.trail.weights());
    for (size_t j = 0; j < kFeatures; ++j) {
      const double variance = member.trail.variance(j);
      r.require(variance >= 0 && variance <= fresh->population.tau(j) * (1 + 1e-6));
    }
  }
  const size_t extras = r.get_count(kExtrasMax, sizeof(Place) + sizeof(AgentId) + 2 * sizeof(float));
  r.require(extras == 0 || fresh->map.logging());
  for (size_t i = 0; i < extras && r.good(); ++i) {
    Extra& extra = fresh->extras.emplace_back();
    r.get(extra.place);
    r.get(extra.agent);
    r.get(extra.score);
    r.get(extra.weight);
    r.finite(extra.place);
    r.require(extra.score >= 0 && extra.score <= 1 && extra.weight >= 0 && extra.weight <= 1);
  }
  if (!r.good() || !r.at_end() || fresh->members.size() != members) return corrupt("a saved node: its fields are not what version {} has", version);
  fresh->replica.begin(own);
  for (const auto& [id, member] : state_->members) {
    if (!member.hosted) continue;
    Member& kept = fresh->members[id];
    kept.name = member.name;
    kept.hosted = true;
    fresh->refresh(id, kept);
  }
  state_ = std::move(fresh);
  return {};
}

}  // namespace colony::swarm
