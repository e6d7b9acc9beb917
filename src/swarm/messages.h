// What nodes say to each other, and how it looks as bytes.
//
// Bytes: "COLM", u8 version, u8 kind (index in Message), fields in the order below, little-endian,
// counts as u32, then the FNV-1a hash of all before as u64. The hash finds accidents; who may speak is
// the carrier's business.
#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace colony::swarm {

inline constexpr int kPlaceDim = 64;  // D
using Place = std::array<float, kPlaceDim>;
bool finite(const Place& place);  // all of it
using TaskId = uint64_t;
using AgentId = uint64_t;  // fnv1a of "name\ngeneration hash": a new generation is a new trail
using NodeId = uint32_t;

inline constexpr int kLandmarks = 24;             // K
inline constexpr int kFeatures = kLandmarks + 1;  // the intercept, then one a landmark slot
inline constexpr size_t kPackedSquare = static_cast<size_t>(kFeatures) * (kFeatures + 1) / 2;

// ---- messages between nodes (typed; carried by a Bus) ----
struct Announce {
  TaskId task = 0;
  NodeId asker = 0;
  Place place{};
  uint64_t budget_tokens = 0;
  uint32_t round = 0;  // 0, then 1, … when nobody answered or a node died
  std::vector<AgentId> asked = {};  // ascending; empty: everybody
  double deadline_ms = 0;           // from now on an answer is worth nothing after so long; 0: it always is
};
struct Bid {
  TaskId task = 0;
  NodeId node = 0;
  AgentId agent = 0;
  double index = 0, mean = 0, deviation = 0, recent = 0;  // index = mean + recent + optimism·deviation, at most 2 of these
  double n = 0;      // deposits so far
  double load = 0;   // tasks this agent is working on
  uint32_t round = 0;
  float tokens = 0, ms = 0;  // what its answer is expected to cost; 0: nothing is known
  float wait_ms = 0;         // until the agent could begin, where agents have queues
};
struct Assign {
  TaskId task = 0;
  NodeId asker = 0;
  AgentId agent = 0;
  Place place{};
  uint32_t round = 0;
  uint64_t tokens = 0;  // to spend at most
};
struct Outcome {  // checked result, from the asker to the host of the agent: the only deposit
  TaskId task = 0;
  AgentId agent = 0;
  Place place{};
  double score = 0;  // [0, 1]
  uint64_t tokens = 0;
  double ms = 0;       // from the start of the work to its end
  bool scored = true;  // false: only what it cost is known. A score may follow, and then counts
};

// One write of a node: its incarnation grows when it starts anew, its version with every write.
struct Stamp {
  uint32_t incarnation = 0;
  uint64_t version = 0;
  auto operator<=>(const Stamp&) const = default;
};
// What one node deposited on one agent's trail, in single precision as it travels.
struct TrailRecord {
  NodeId writer = 0;
  AgentId agent = 0;
  Stamp stamp;
  uint64_t landmarks = 0;                // id of the map whose slots these are; 0: none yet
  std::array<float, kPackedSquare> s{};  // Σ φφᵀ, lower triangle by rows
  std::array<float, kFeatures> b{};      // Σ φ r
  float n = 0;
  // What its answers cost over all places (CostSums), as it stood at a task time.
  std::array<float, 5> costs{};
  uint64_t costs_at = 0;
};
// What the agents of one node say about all agents (PopulationSums).
struct PopulationRecord {
  NodeId writer = 0;
  Stamp stamp;
  uint64_t landmarks = 0;
  std::array<double, 3 * kFeatures + 3> sums{};
};
inline constexpr size_t kTrailRecordBytes = 4 + 8 + 12 + 8 + sizeof(TrailRecord::s) + sizeof(TrailRecord::b) + 4 + sizeof(TrailRecord::costs) + 8;
inline constexpr size_t kPopulationRecordBytes = 4 + 12 + 8 + sizeof(PopulationRecord::sums);
struct Landmarks;
// What I have of whom. Asked back (wants_reply) the other sends its own.
struct Digest {
  NodeId from = 0;
  bool wants_reply = false;
  uint32_t epoch = 0;      // of the landmarks in use
  uint64_t landmarks = 0;
  std::vector<std::pair<NodeId, Stamp>> seen;  // ascending node
};
// What you lack: of each writer all that came after `after`, up to `upto`.
struct Delta {
  struct Range {
    NodeId writer = 0;
    Stamp after, upto;
  };
  NodeId from = 0;
  std::vector<Range> ranges;
  std::vector<TrailRecord> trails;
  std::vector<PopulationRecord> populations;
  std::shared_ptr<const Landmarks> landmarks;  // null: you have it
};
// A measured skill told around.
enum class DanceKind : uint8_t {
  kArrival,  // a new agent; told on
  kSuccess,  // an asker was well served
  kStop,     // an asker was not
  kReady,    // the sender found it better than the default agent
};
struct Dance {
  DanceKind kind = DanceKind::kArrival;
  AgentId agent = 0;
  NodeId host = 0, origin = 0;
  uint64_t time = 0;  // task time at the origin
  uint32_t hops = 0;  // still to go
  Place place{};
  float value = 0;    // index
  float mean = 0, lower = 0, n = 0;
};
inline constexpr size_t kAskedAgentsMax = 256;
using Message = std::variant<Announce, Bid, Assign, Outcome, Digest, Delta, Dance>;

inline constexpr size_t kMessageBytesMax = 64 << 10;  // no message is longer

std::string encode(const Message& message);
// Fails kCorrupt: not such bytes, another version, a wrong hash, numbers that are none, counts beyond
// their bounds, bytes left over.
Result<Message> decode(std::string_view bytes);

}  // namespace colony::swarm
