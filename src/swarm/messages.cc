#include "swarm/messages.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/rng.h"
#include "swarm/bytes.h"
#include "swarm/gossip.h"

namespace colony::swarm {
namespace {

constexpr char kMagic[4] = {'C', 'O', 'L', 'M'};
constexpr uint8_t kVersion = 3;

// One description of the fields for both ways: Io is a ByteWriter or a ByteReader.
struct Out {
  ByteWriter& w;
  template <typename T>
  void operator()(const T& value) { w.put(value); }
  template <typename List>
  size_t count(const List& list, size_t, size_t) {
    w.put(static_cast<uint32_t>(list.size()));
    return list.size();
  }
  template <typename List>
  void finite(const List&) {}
  void require(bool) {}
};
struct In {
  ByteReader& r;
  template <typename T>
  void operator()(T& value) { r.get(value); }
  template <typename List>
  size_t count(List& list, size_t most, size_t least) {
    list.resize(r.get_count(most, least));
    return list.size();
  }
  template <typename List>
  void finite(const List& list) { r.finite(list); }
  void require(bool what) { r.require(what); }
};

template <typename Io, typename S>
void stamp(Io& io, S& s) {
  io(s.incarnation), io(s.version);
}
template <typename Io, typename M>
void announce(Io& io, M& m) {
  io(m.task), io(m.asker), io(m.place), io(m.budget_tokens), io(m.round), io(m.deadline_ms);
  io.finite(m.place);
  io.require(m.deadline_ms >= 0 && m.deadline_ms <= kMost);
  const size_t count = io.count(m.asked, kAskedAgentsMax, sizeof(AgentId));
  for (size_t i = 0; i < count; ++i) {
    io(m.asked[i]);
    io.require(i == 0 || m.asked[i - 1] < m.asked[i]);
  }
}
template <typename Io, typename M>
void dance(Io& io, M& m) {
  io(m.kind), io(m.agent), io(m.host), io(m.origin), io(m.time), io(m.hops), io(m.place), io(m.value), io(m.mean), io(m.lower), io(m.n);
  io.require(m.kind <= DanceKind::kReady && m.hops <= 64 && m.mean >= 0 && m.mean <= 1 && m.lower >= 0 && m.lower <= 1 && m.n >= 0);
  io.finite(m.place);
  io.finite(std::array{m.value, m.n});
}
template <typename Io, typename M>
void bid(Io& io, M& m) {
  io(m.task), io(m.node), io(m.agent), io(m.index), io(m.mean), io(m.deviation), io(m.recent), io(m.n), io(m.load), io(m.round), io(m.tokens), io(m.ms), io(m.wait_ms);
  io.finite(std::array{m.index, m.mean, m.deviation, m.recent, m.n, m.load});
  io.finite(std::array{m.tokens, m.ms, m.wait_ms});
}
template <typename Io, typename M>
void assign(Io& io, M& m) {
  io(m.task), io(m.asker), io(m.agent), io(m.place), io(m.round), io(m.tokens);
  io.finite(m.place);
}
template <typename Io, typename M>
void outcome(Io& io, M& m) {
  auto scored = static_cast<uint8_t>(m.scored);
  io(m.task), io(m.agent), io(m.place), io(m.score), io(m.tokens), io(m.ms), io(scored);
  io.finite(m.place);
  io.require(m.score >= 0 && m.score <= 1 && m.ms >= 0 && m.ms <= kMost && scored <= 1);
  if constexpr (std::is_same_v<Io, In>) m.scored = scored == 1;
}
template <typename Io, typename M>
void digest(Io& io, M& m) {
  auto wants = static_cast<uint8_t>(m.wants_reply);
  io(m.from), io(wants), io(m.epoch), io(m.landmarks);
  io.require(wants <= 1);
  if constexpr (std::is_same_v<Io, In>) m.wants_reply = wants == 1;
  const size_t count = io.count(m.seen, kWritersMax + 1, sizeof(NodeId) + sizeof(uint32_t) + sizeof(uint64_t));
  for (size_t i = 0; i < count; ++i) {
    io(m.seen[i].first);
    stamp(io, m.seen[i].second);
    io.require(i == 0 || m.seen[i - 1].first < m.seen[i].first);
  }
}
template <typename Io, typename R>
void trail(Io& io, R& r) {
  io(r.writer), io(r.agent), stamp(io, r.stamp), io(r.landmarks), io(r.s), io(r.b), io(r.n), io(r.costs), io(r.costs_at);
  io.require(plausible(r));
}
template <typename Io, typename R>
void population(Io& io, R& r) {
  io(r.writer), stamp(io, r.stamp), io(r.landmarks), io(r.sums);
  io.require(plausible(r));
}
template <typename Io>
void landmarks(Io& io, std::shared_ptr<const Landmarks>& m) {
  auto there = static_cast<uint8_t>(m != nullptr);
  io(there);
  io.require(there <= 1);
  if (there != 1) return;
  Landmarks l = m ? *m : Landmarks();
  io(l.epoch), io(l.mean), io(l.centre), io(l.count);
  if constexpr (std::is_same_v<Io, In>) {
    io.require(l.valid());
    m = std::make_shared<const Landmarks>(l);
  }
}
template <typename Io, typename M>
void delta(Io& io, M& m) {
  io(m.from);
  size_t count = io.count(m.ranges, kWritersMax + 1, sizeof(NodeId) + 2 * (sizeof(uint32_t) + sizeof(uint64_t)));
  for (size_t i = 0; i < count; ++i) {
    io(m.ranges[i].writer), stamp(io, m.ranges[i].after), stamp(io, m.ranges[i].upto);
    io.require(m.ranges[i].after < m.ranges[i].upto);
  }
  count = io.count(m.trails, kMessageBytesMax / kTrailRecordBytes, kTrailRecordBytes);
  for (size_t i = 0; i < count; ++i) trail(io, m.trails[i]);
  count = io.count(m.populations, kMessageBytesMax / kPopulationRecordBytes, kPopulationRecordBytes);
  for (size_t i = 0; i < count; ++i) population(io, m.populations[i]);
  std::shared_ptr<const Landmarks> map = m.landmarks;
  landmarks(io, map);
  if constexpr (std::is_same_v<Io, In>) m.landmarks = std::move(map);
}

template <typename Io>
struct Fields {
  Io& io;
  template <typename M>
  void operator()(M& m) {
    using T = std::remove_const_t<M>;
    if constexpr (std::is_same_v<T, Announce>) announce(io, m);
    if constexpr (std::is_same_v<T, Bid>) bid(io, m);
    if constexpr (std::is_same_v<T, Assign>) assign(io, m);
    if constexpr (std::is_same_v<T, Outcome>) outcome(io, m);
    if constexpr (std::is_same_v<T, Digest>) digest(io, m);
    if constexpr (std::is_same_v<T, Delta>) delta(io, m);
    if constexpr (std::is_same_v<T, Dance>) dance(io, m);
  }
};

// A message with nothing in it, by its kind.
template <size_t... I>
Message blank(size_t kind, std::index_sequence<I...>) {
  Message m;
  ((kind == I ? void(m.emplace<I>()) : void()), ...);
  return m;
}

}  // namespace

bool finite(const Place& place) {
  return std::all_of(place.begin(), place.end(), [](float x) { return std::isfinite(x); });
}

std::string encode(const Message& message) {
  ByteWriter w;
  w.put(kMagic);
  w.put(kVersion);
  w.put(static_cast<uint8_t>(message.index()));
  Out out{w};
  std::visit(Fields<Out>{out}, message);
  w.put(fnv1a(w.bytes().data(), w.bytes().size()));
  CHECK(w.bytes().size() <= kMessageBytesMax, "a message within its bound");
  return std::move(w.bytes());
}

Result<Message> decode(std::string_view bytes) {
  constexpr size_t kAround = sizeof(kMagic) + 2 + sizeof(uint64_t);
  if (bytes.size() > kMessageBytesMax) return corrupt("a message: {} bytes, at most {}", bytes.size(), kMessageBytesMax);
  if (bytes.size() < kAround || std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) != 0) {
    return corrupt("a message: {} bytes that do not begin with COLM", bytes.size());
  }
  const std::string_view body = bytes.substr(0, bytes.size() - sizeof(uint64_t));
  uint64_t hash = 0;
  std::memcpy(&hash, bytes.data() + body.size(), sizeof hash);
  if (hash != fnv1a(body.data(), body.size())) return corrupt("a message: its hash does not match");
  ByteReader r(body.substr(sizeof(kMagic)));
  uint8_t version = 0, kind = 0;
  r.get(version);
  r.get(kind);
  if (version != kVersion) return corrupt("a message: version {}, expected {}", version, kVersion);
  if (kind >= std::variant_size_v<Message>) return corrupt("a message: kind {}, expected below {}", kind, std::variant_size_v<Message>);
  Message message = blank(kind, std::make_index_sequence<std::variant_size_v<Message>>());
  In in{r};
  std::visit(Fields<In>{in}, message);
  if (!r.good() || !r.at_end()) return corrupt("a message of kind {}: its fields are not what version {} has", kind, version);
  return message;
}

}  // namespace colony::swarm
