// What an agent's answers cost, in tokens and in milliseconds, by where in task space they were asked for.
//
//   y = ln(1 + tokens), z = ln(1 + ms); of each cell (agent, nearest landmark) the count n, Σy, Σy², Σz, Σz², all fading by
//   exp(−Δ/12,000) over Δ tasks
//   mean of a cell = (Σy + 8·ȳ) / (n + 8), ȳ the agent's mean, itself drawn so towards the mean of all agents; variances likewise
//   predicted cost = exp(mean + variance/2) − 1, the mean of a log-normal
//
// Costs carry no optimism: nobody is asked in order to learn what asking costs. What failed or ran out of time has cost what it has
// cost. Source: swarm_algorithms 1.10.
#pragma once
#include <array>
#include <cstdint>

#include "swarm/messages.h"

namespace colony::swarm {

// Sums over deposits, of logarithms.
struct CostSums {
  double n = 0, tokens = 0, tokens_squared = 0, ms = 0, ms_squared = 0;
  void add(const CostSums& other, double weight = 1);
  void scale(double by);
};

// Sums as they stood at a task time.
struct Costs {
  CostSums sums;
  uint64_t at = 0;
  void fade_to(uint64_t task_time);  // nothing where it is earlier
  void add(Costs other);             // as they stand at the later of the two times
};

// Mean and variance of the logarithms.
struct CostSpread {
  double mean = 0, variance = 0;
};
struct CostLevel {
  bool known = false;
  CostSpread tokens, ms;
  CostLevel(const Costs& costs);  // implicit: where many are predicted it is made once
};

struct Cost {
  double tokens = 0, ms = 0;
};

inline constexpr double kCostMost = 1e12;  // tokens or milliseconds: more of one answer is taken for so many

class CostTrail {
 public:
  // What one answer at `slot` (-1: no landmark) cost. ms: not negative, not NaN. Returns what was added.
  CostSums deposit(int slot, uint64_t tokens, double ms, uint64_t task_time);
  // Of an answer at `slot`; nothing where nobody's cost is known. `everybody`: of all agents, this one included.
  Cost predict(int slot, uint64_t task_time, const CostLevel& everybody) const;
  // The agent's, over all places.
  const Costs& all() const { return all_; }
  // What other nodes know of the agent: counts towards its mean.
  void set_also(const Costs& also) { also_ = also; }
  // The landmarks are other ones: each cell's sums go to them by `overlap` [new slot][old slot], what belongs to none
  // counts for the agent as a whole.
  void remap(const std::array<std::array<double, kLandmarks>, kLandmarks>& overlap);

 private:
  friend struct NodeBytes;
  std::array<CostSums, kFeatures> cells_{};  // slot + 1; [0]: no landmark. As they stood at all_.at
  Costs all_;                                // their sum
  Costs also_;
};

}  // namespace colony::swarm
