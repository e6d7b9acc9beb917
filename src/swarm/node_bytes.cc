// A node as bytes: "COLN", version, fields in order, SHA-256 of all before.
#include <bit>
#include <cmath>
#include <cstring>

#include "base/sha256.h"
#include "swarm/node_state.h"

namespace colony::swarm {
namespace {

constexpr char kMagic[4] = {'C', 'O', 'L', 'N'};
constexpr uint32_t kVersion = 2;
constexpr size_t kDigest = 32, kMembersMax = 1 << 20;
constexpr double kMost = 1e15;  // no honest number is larger; beyond, arithmetic would overflow
static_assert(std::endian::native == std::endian::little);

class Writer {
 public:
  template <typename T>
  void put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  void put_text(const std::string& text) {
    put(static_cast<uint32_t>(text.size()));
    bytes_ += text;
  }
  std::string& bytes() { return bytes_; }

 private:
  std::string bytes_;
};

// Reads in the same order; once something is wrong it stays wrong.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}
  template <typename T>
  void get(T& value) {
    if (left_.size() < sizeof(T)) good_ = false;
    if (!good_) return;
    std::memcpy(&value, left_.data(), sizeof(T));
    left_.remove_prefix(sizeof(T));
  }
  void get_text(std::string& text) {
    uint32_t size = 0;
    get(size);
    if (size > kNameMax || size > left_.size()) good_ = false;
    if (!good_) return;
    text.assign(left_.substr(0, size));
    left_.remove_prefix(size);
  }
  // A count of things of at least `least` bytes each.
  size_t get_count(size_t most, size_t least) {
    uint32_t count = 0;
    get(count);
    if (count > most || count * least > left_.size()) good_ = false;
    return good_ ? count : 0;
  }
  // Numbers, and none beyond kMost.
  template <typename List>
  void finite(const List& list) {
    for (const auto value : list) good_ = good_ && std::abs(value) <= kMost;  // false for NaN
  }
  void require(bool what) { good_ = good_ && what; }
  bool good() const { return good_; }
  bool at_end() const { return left_.empty(); }

 private:
  std::string_view left_;
  bool good_ = true;
};

std::string digest_of(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

}  // namespace

struct NodeBytes {
  static void write(Writer& w, const LandmarkMap& m) {
    w.put(m.learned_);
    w.put(m.mean_);
    w.put(m.centre_);
    w.put(m.count_);
    w.put(static_cast<uint8_t>(m.log_open_));
    w.put(static_cast<uint32_t>(m.log_.size()));
    for (const auto& logged : m.log_) {
      w.put(logged.place);
      w.put(logged.agent);
      w.put(logged.score);
    }
  }
  static void read(Reader& r, LandmarkMap& m) {
    r.get(m.learned_);
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
    const size_t count = r.get_count(kMapLog, sizeof(Logged::place) + sizeof(AgentId) + sizeof(float));
    // The log holds every task heard, until it is full; then nothing.
    r.require(open <= 1 && (m.log_open_ ? count < kMapLog && m.learned_ == count : count == 0 && m.learned_ >= kMapLog));
    if (!r.good()) return;
    m.log_.resize(count);
    for (auto& logged : m.log_) {
      r.get(logged.place);
      r.get(logged.agent);
      r.get(logged.score);
      r.require(logged.score >= 0 && logged.score <= 1);
    }
  }
  static void write(Writer& w, const Trail& t) {
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
  static void read(Reader& r, Trail& t) {
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
  Writer w;
  w.put(kMagic);
  w.put(kVersion);
  NodeBytes::write(w, s.map);
  w.put(s.population.theta);
  w.put(s.population.tau_base);
  w.put(s.population.tau_place);
  w.put(s.heard);
  w.put(s.refreshed);
  w.put(static_cast<uint32_t>(s.members.size()));
  for (const auto& [id, member] : s.members) {
    w.put(id);
    w.put_text(member.name);
    NodeBytes::write(w, member.trail);
  }
  w.put(static_cast<uint32_t>(s.extras.size()));
  for (const auto& extra : s.extras) {
    w.put(extra.place);
    w.put(extra.agent);
    w.put(extra.score);
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
  Reader r(body.substr(sizeof(kMagic)));
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
  const size_t members = r.get_count(kMembersMax, sizeof(AgentId) + sizeof(uint32_t));
  for (size_t i = 0; i < members && r.good(); ++i) {
    AgentId id = 0;
    r.get(id);
    Member& member = fresh->members[id];
    r.get_text(member.name);
    NodeBytes::read(r, member.trail);
    if (!r.good()) break;
    member.trail.refresh(fresh->population);
    // What is no sum of squares gives weights and variances that are none.
    r.finite(member.trail.weights());
    for (size_t j = 0; j < kFeatures; ++j) {
      const double variance = member.trail.variance(j);
      r.require(variance >= 0 && variance <= fresh->population.tau(j) * (1 + 1e-6));
    }
  }
  const size_t extras = r.get_count(kExtrasMax, sizeof(Place) + sizeof(AgentId) + sizeof(float));
  r.require(extras == 0 || fresh->map.logging());
  for (size_t i = 0; i < extras && r.good(); ++i) {
    Extra& extra = fresh->extras.emplace_back();
    r.get(extra.place);
    r.get(extra.agent);
    r.get(extra.score);
    r.finite(extra.place);
    r.require(extra.score >= 0 && extra.score <= 1);
  }
  if (!r.good() || !r.at_end() || fresh->members.size() != members) return corrupt("a saved node: its fields are not what version {} has", version);
  for (const auto& [id, member] : state_->members) {
    if (!member.hosted) continue;
    Member& kept = fresh->members[id];
    kept.name = member.name;
    kept.hosted = true;
    if (kept.trail.n() == 0) kept.trail.refresh(fresh->population);
  }
  state_ = std::move(fresh);
  return {};
}

}  // namespace colony::swarm
