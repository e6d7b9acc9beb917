// The synthetic bench of changing experts: 12 types of tasks, 20 agents of which half change at half time, and one
// expert that comes late. Regret is in true probabilities. Source: swarm_algorithms 9.1.
#pragma once
#include <vector>

#include "swarm/replay.h"

namespace colony::swarm {

enum class DriftVariant : uint8_t {
  kMain,    // 10 agents get new abilities
  kNone,    // nothing changes
  kRegion,  // all agents' abilities are permuted on 4 types
  kBreak,   // the best agent of each of the 6 most frequent types drops to .15
};
// "main", "none", "region", "break".
Result<DriftVariant> drift_variant(const std::string& name);

class DriftCourse final : public Course {
 public:
  static constexpr size_t kTasks = 12'000, kTypes = 12, kAgents = 20, kArms = kAgents + 1;

  explicit DriftCourse(uint64_t seed, DriftVariant variant = DriftVariant::kMain);

  size_t tasks() const override { return kTasks; }
  size_t arms() const override { return kArms; }
  Question question(size_t t) const override { return {t, places_[t], 0}; }
  bool there(size_t t, size_t arm) const override { return arm < kAgents || t >= kTasks * 3 / 4; }
  double score(size_t t, size_t arm) const override { return scores_[t * kArms + arm]; }
  double regret(size_t t, size_t arm) const override;
  double probability(size_t t, size_t arm) const { return static_cast<double>(truth_[t * kArms + arm]); }

 private:
  std::vector<Place> places_;
  std::vector<float> truth_;     // [tasks, arms]: the probability of success
  std::vector<uint8_t> scores_;  // [tasks, arms]
};

}  // namespace colony::swarm
