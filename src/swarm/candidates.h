// Which of many hosted agents are worth a fresh reading for a task: an index kept for each at every landmark, mixed
// for the task's place. What is kept is a little old; it decides who bids, never who wins.
//
// One pass over K floats an agent instead of a posterior each: 10,000 agents in some microseconds.
// Source: swarm_algorithms 2.4, with whole columns in place of lists.
#pragma once
#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "swarm/landmark.h"
#include "swarm/trail.h"

namespace colony::swarm {

// How indices are read: at which task time, with how many deviations of optimism, without which parts.
struct ReadAt {
  uint64_t task_time = 0;
  double optimism = 2;
  TrailParts parts;
};

struct Member;

class Candidates {
 public:
  static constexpr size_t kMost = 24;

  struct Hosted {
    AgentId agent = 0;
    const Trail* trail = nullptr;
    Member* member = nullptr;  // the node's own, not looked at here
  };

  // Who is hosted, or where landmarks are, has changed: begin() is to be called before the next use.
  void forget() { known_ = false; }
  bool known() const { return known_; }
  // `hosted`: ascending agents; their trails stay where they are until forget(). With `scanned` false everybody is a
  // candidate and nothing is kept.
  void begin(std::vector<Hosted> hosted, bool scanned, const LandmarkMap& map, const ReadAt& at);
  // The trail of one of them has changed.
  void update(AgentId agent, const ReadAt& at);
  // The landmarks have drifted.
  void follow(const LandmarkMap& map);

  const std::vector<Hosted>& hosted() const { return hosted_; }
  // Positions in hosted(), ascending: all, or at most kMost with the best, the best single agent and two scouts.
  const std::vector<uint32_t>& pick(const Features& features, RngStream rng);

 private:
  void keep(size_t position, const ReadAt& at);
  // Takes what mixed_[begin, end) holds into best_.
  void take_best(size_t begin, size_t end);

  bool known_ = false, scanned_ = false;
  std::vector<Hosted> hosted_;
  std::array<Features, kFeatures> centres_{};         // 0: the intercept alone; 1 + slot: a landmark's own
  std::array<bool, kFeatures> there_{};
  std::array<std::vector<float>, kFeatures> index_;   // [agents] each
  std::vector<float> lower_;                          // [agents]: lower bound over all places
  size_t single_ = 0;                                 // where it is highest
  std::vector<float> mixed_;                          // [agents], scratch: the indices at the task's place
  std::vector<uint32_t> picked_;
  std::vector<std::pair<float, uint32_t>> best_;      // scratch: a heap, the worst on top
};

}  // namespace colony::swarm
