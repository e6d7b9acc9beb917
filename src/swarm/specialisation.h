// Who answers which call: response thresholds that move with success, the price of load, and the index
// that says how far labour is divided.
//
// An agent answers with probability σ²/(σ² + θ²)·(1 + fit): σ the stimulus of the task, θ the agent's
// threshold at the task's landmark. Source: Bonabeau et al. 1996, "Quantitative study of the fixed
// threshold model"; thresholds that learn: Theraulaz et al. 1998; the index: Gorelick et al. 2004.
// Formulas and defaults: swarm_algorithms 2.2, 6.1, 6.2, 8.1.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "swarm/messages.h"

namespace colony::swarm {

// Of one agent: θ in [.05, .95] a landmark slot, [0] where there is no landmark yet.
class Thresholds {
 public:
  Thresholds() { theta_.fill(0.5F); }
  double at(int slot) const { return static_cast<double>(theta_[index(slot)]); }
  // An own outcome in [0, 1] at a slot (-1: none).
  void outcome(int slot, double score);
  // A task at a slot that others did.
  void idle(int slot);
  // In [0, 1]. fit: how much better than the population the agent is expected to do here.
  double response(int slot, double stimulus, double fit) const;
  void reset() { theta_.fill(0.5F); }

 private:
  friend struct NodeBytes;
  static size_t index(int slot) { return static_cast<size_t>(slot + 1); }
  std::array<float, kFeatures> theta_{};
};

// What a node last saw of the answers to its calls, by slot: the less there were, the louder it calls.
// round: 0 at the first announcement. In [0, 1].
double stimulus(uint32_t round, double bids_last_time);

// Price of an agent's time in units of success: dual ascent on "at most `target` tasks at once".
double next_price(double price, double load, double target);

struct DivisionOfLabour {
  double task = 0;        // how far a kind of task determines its agent
  double individual = 0;  // how far an agent keeps to its kinds
};
// Of (kind, agent) of finished tasks, small whole numbers each. Mutual information less what chance gives
// (20 shuffles under a fixed seed), over the entropy less the same; 0 where that is nothing.
DivisionOfLabour division_of_labour(std::span<const std::pair<uint32_t, uint32_t>> tasks);

}  // namespace colony::swarm
