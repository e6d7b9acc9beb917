// An agent's trail: a small Bayesian regression of its outcomes on where in task space they were,
// a recent record, and change detectors. Rule B of swarm_algorithms part 1.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "swarm/cost.h"
#include "swarm/landmark.h"

namespace colony::swarm {

using Weights = std::array<double, kFeatures>;
using Square = std::array<double, static_cast<size_t>(kFeatures) * kFeatures>;  // row by row, symmetric

// What the agents of a node share: prior mean and strengths (1.4).
struct Population {
  Weights theta{0.5};
  // The base starts wide: at .02 one of ten orders of 28 agents stayed with the second best (docs/swarm.md).
  double tau_base = 0.04, tau_place = 0.02;
  double tau(size_t j) const { return j == 0 ? tau_base : tau_place; }
};

// What other nodes know of the same agent, in the same landmarks (swarm_algorithms 5.1).
struct Evidence {
  Square s{};
  Weights b{};
  double n = 0;
  Costs costs;  // over all places
  void add(const Evidence& other);
  void scale(double by);
};

// What the trails of one node say about the population: sums, so that nodes add theirs up (1.7).
struct PopulationSums {
  Weights known{};     // Σ ρ
  Weights known_w{};   // Σ ρ w
  Weights w{};         // Σ w
  double square_base = 0, square_place = 0;  // Σ w² + P over the intercept; over all places
  double agents = 0;
  void add(const PopulationSums& other);
};

struct Reading {
  double mean = 0;       // φ·w
  double recent = 0;     // o
  double deviation = 0;  // √(φᵀPφ + v_o), as if what is under way had been deposited
};

// How many deviations an index adds to its mean: ½ in a young colony, 2 in an old one, half way at 50 tasks an
// agent. Nobody knows how long a stream will be; as far as it has come it may be expected to go on, and
// what is learned pays no longer than that.
double optimism(double tasks, double agents);

// Parts of the rule that can be left out, as NodeOptions says.
struct TrailParts {
  bool recent = true, detection = true;
};

class Trail {
 public:
  Trail() { refresh({}); }

  Reading read(const Features& features, uint64_t task_time, const TrailParts& parts = {}) const;
  // What of the prior mean at a place is still there, 0 to 1: φᵀPφ / φᵀΛ⁻¹φ.
  double unknown(const Features& features, const Population& population) const;
  // One checked outcome. `similarity`: of the place with each landmark, `nearest` the slot (or -1),
  // for the change detector. True when it raised an alarm.
  bool deposit(const Features& features, const std::array<double, kLandmarks>& similarity, int nearest,
               double score, uint64_t task_time, const Population& population, const TrailParts& parts = {});
  // P and w anew from S, b and the population: (S/σ² + Λ)⁻¹ by Cholesky.
  void refresh(const Population& population);

  // Tasks under way narrow the deviation without moving the mean; undone when they end.
  void begin(TaskId task, const Place& place, const Features& features);
  bool end(TaskId task);   // false: it was not under way
  size_t under_way() const { return pending_.size(); }
  // After the landmarks moved: S, b from nothing (fill with add()), detectors at rest, features of
  // what is under way anew.
  void restart(const LandmarkMap& map);
  void add(const Features& features, double score, double weight = 1);
  // Time has passed: so much of the evidence is left, the estimate stays. To be followed by refresh().
  void evaporate(double left);

  // Evidence of other writers, added on reading; null: none. An alarm drops it. To be followed by
  // refresh().
  void set_also(std::shared_ptr<const Evidence> also) { also_ = std::move(also); }
  const Evidence* also() const { return also_.get(); }
  Evidence own() const { return {s_, b_, n_, {}}; }  // this writer's alone, without costs
  // The landmarks are other ones, and no log is left: S, b by `overlap` [new slot][old slot].
  void remap(const std::array<std::array<double, kLandmarks>, kLandmarks>& overlap, const LandmarkMap& map);

  uint64_t latest_deposit() const { return recent_at_; }  // its task time; 0: none
  double n() const { return n_ + (also_ ? also_->n : 0); }
  double mean(const Features& features) const;  // φ·w
  const Weights& weights() const { return w_; }
  double variance(size_t j) const { return p_[j * kFeatures + j]; }
  double evidence(size_t j) const { return s_[j * kFeatures + j] + (also_ ? also_->s[j * kFeatures + j] : 0); }

 private:
  friend struct NodeBytes;
  struct Pending {
    TaskId task = 0;
    Place place{};
    Features features;
  };
  struct Detector {
    double down = 0, up = 0, fast_mean = 0, fast_n = 0;
  };
  bool detect(const Features& features, const std::array<double, kLandmarks>& similarity, size_t slot,
              double mean, double score, const Population& population);
  void narrow();  // pv_ from p_ and what is under way

  Square s_{};   // Σ φφᵀ
  Weights b_{};  // Σ φ r
  double n_ = 0;
  Square p_{}, pv_{};  // posterior covariance; the same with what is under way
  Weights w_{};        // posterior mean
  double recent_n_ = 0, recent_sum_ = 0;
  uint64_t recent_at_ = 0;
  std::array<Detector, kLandmarks> detectors_{};
  std::vector<Pending> pending_;
  std::shared_ptr<const Evidence> also_;
};

// S' = M S Mᵀ, b' = M b: evidence under other landmarks.
Evidence remapped(const Evidence& evidence, const std::array<std::array<double, kLandmarks>, kLandmarks>& overlap);

PopulationSums population_sums(const Population& population, const std::vector<const Trail*>& trails);
// One step of empirical Bayes over what the trails of all nodes sum up to (1.4).
void update_population(Population& population, const PopulationSums& sums);

}  // namespace colony::swarm
