// What a node knows of the others: records with one writer each, joined by the newest.
//
// A record's key is (writer, agent); of two records under one key the one with the larger stamp wins,
// equal stamps with unequal contents (a writer that says two things) by the contents, and a writer's new
// incarnation replaces the old one whole. Maximum of a total order per key, so merging is commutative, associative and idempotent, and replicas that saw
// the same writes in any order and number are equal. Forgetting is a write like any other.
// Exchange: digest (what I have of whom) → delta (what you lack), both ways; anti-entropy as in van
// Renesse et al. 2008, "Efficient reconciliation and flow control for anti-entropy protocols";
// incarnations as in Das et al. 2002 (SWIM). Source: swarm_algorithms 5.
#pragma once
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "swarm/landmark.h"
#include "swarm/messages.h"
#include "swarm/trail.h"

namespace colony::swarm {

inline constexpr size_t kWritersMax = 1024;        // nodes known
inline constexpr size_t kTrailRecordsMax = 16384;  // of all writers together

Evidence evidence_of(const TrailRecord& record);
TrailRecord trail_record(AgentId agent, uint64_t landmarks, const Evidence& evidence);
// Numbers that sums of φφᵀ and φr can be: finite, |S_ij| ≤ √(S_ii S_jj), 0 ≤ b_0 ≤ S_00 = N.
bool plausible(const TrailRecord& record);
bool plausible(const CostSums& costs);  // 0 ≤ Σy, (Σy)² ≤ n Σy²
bool plausible(const PopulationRecord& record);

class Replica {
 public:
  // incarnation: larger than in any earlier life, where the driver can know it.
  explicit Replica(NodeId self, uint32_t incarnation = 1) : self_(self), own_{incarnation, 0} {}

  // A write of this node's own; replaces the one under the same key.
  void write(TrailRecord record);
  void write(PopulationRecord record);
  // A new life with what was remembered of the last one (Stamp{}: nothing). Until somebody has told
  // what it still knows of that life, a digest asks for it.
  void begin(Stamp remembered);

  // Everything new to this replica is taken; what is not plausible is refused and counted.
  void merge(const Delta& delta);
  // Another's digest may know more of this node's earlier life than the node itself; then its
  // records get a later incarnation.
  void hear(const Digest& theirs);
  // This node's own records of an earlier life that it did not remember, each once.
  std::vector<TrailRecord> take_returned() { return std::exchange(returned_, {}); }
  Digest digest(bool wants_reply) const;
  // What `theirs` lacks, at most kMessageBytesMax encoded; the oldest writes first, each writer its share.
  Delta delta_for(const Digest& theirs) const;

  // The map all should use: the latest, and of equal ones the one with the largest id.
  // False when it is not taken.
  bool offer(const std::shared_ptr<const Landmarks>& landmarks);
  const std::shared_ptr<const Landmarks>& landmarks() const { return landmarks_; }

  Stamp own() const { return own_; }
  // The last write, of this life or the one before.
  Stamp remembered() const { return own_.version > 0 ? own_ : past_; }
  bool settled() const { return settled_; }
  Stamp seen(NodeId writer) const;
  NodeId self() const { return self_; }
  uint64_t refused() const { return refused_; }
  const std::map<std::pair<AgentId, NodeId>, TrailRecord>& trails() const { return trails_; }
  const std::map<NodeId, PopulationRecord>& populations() const { return populations_; }
  // Agents with a record that changed since the last call.
  std::vector<AgentId> take_changed();
  // All records and the map, in order: equal for equal replicas.
  std::string bytes() const;

 private:
  bool take(const TrailRecord& record);
  bool take(const PopulationRecord& record);
  bool of_this_life(NodeId writer, uint32_t incarnation);
  void settle();
  void restart(Stamp heard);
  Stamp next() { return {own_.incarnation, ++own_.version}; }

  NodeId self_;
  Stamp own_;
  Stamp past_;            // what is known of this node's earlier lives
  bool settled_ = false;  // nobody knows more
  std::vector<TrailRecord> returned_;
  std::map<std::pair<AgentId, NodeId>, TrailRecord> trails_;
  std::map<NodeId, PopulationRecord> populations_;
  std::map<NodeId, uint32_t> lives_;  // the latest incarnation of each writer: earlier ones are gone
  std::map<NodeId, Stamp> seen_;  // of the others: everything up to here is known
  std::shared_ptr<const Landmarks> landmarks_;
  std::vector<AgentId> changed_;
  uint64_t refused_ = 0;
};

}  // namespace colony::swarm
