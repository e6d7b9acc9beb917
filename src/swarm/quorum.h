// Votes on one task's answer, counted until they decide.
//
// A vote of an agent that is right with probability q for answer a: L[a] += ln(q (M−1)/(1−q)), M the
// number of possible answers; P(a) = softmax(L). Stop with k votes of at most cap when k ≥ 2 and
// L[first] − L[second] ≥ θ (1 − p k/cap), or k = cap, or nobody is left to ask. A deterministic check
// decides alone; a learned verifier adds its log likelihood ratio. Source: swarm_algorithms 4.1–4.3.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "swarm/messages.h"

namespace colony::swarm {

struct QuorumOptions {
  double lead = 1.5;      // θ
  double patience = 0.6;  // p: how much less lead is asked for at the end
  int cap = 5;            // votes at most
  int options = 0;        // M; 0: open answers, max(5, distinct + 1)
  static QuorumOptions quick() { return {}; }
  static QuorumOptions thorough() { return {6, 0.6, 15, 0}; }
};
// Where the candidates differ one asks few, where they are alike one asks long (4.1): the spread of the
// means decides. `means` may be in any order.
QuorumOptions quorum_for(const std::vector<double>& means);

class Quorum {
 public:
  struct Verdict {
    uint64_t answer = 0;
    AgentId agent = 0;       // the likeliest to be right among those who gave it
    double probability = 0;  // P(answer)
    double dissent = 0;      // 1 − P(answer)
    int votes = 0;
    bool undecided = false;  // at the end below .6, and not checked
  };
  struct Tally {
    double evidence = 0;  // L
    std::vector<AgentId> voters;
  };

  explicit Quorum(const QuorumOptions& options = {}) : options_(options) {}

  // q is clipped to [.3, .95]. One vote an agent: later ones of the same are not counted.
  void vote(AgentId agent, double q, uint64_t answer);
  // A deterministic check: passed ends the quorum, failed removes the answer.
  void checked(uint64_t answer, bool passed);
  // A verifier that accepts right answers with rate `true_positive` and wrong ones with
  // `false_positive`; once an answer, worth at most ±3.
  void verified(uint64_t answer, bool accepted, double true_positive, double false_positive);

  // What it comes to; nullopt: ask one more. `more`: there is somebody to ask and something to pay with.
  std::optional<Verdict> verdict(bool more) const;
  // All that was said, dissent included: by answer.
  std::map<uint64_t, Tally> tallies() const;
  bool has(AgentId agent) const;  // its vote
  int votes() const { return static_cast<int>(votes_.size()); }

 private:
  struct Vote {
    AgentId agent = 0;
    double q = 0;
    uint64_t answer = 0;
  };
  QuorumOptions options_;
  std::vector<Vote> votes_;  // by agent, so that the order in which they came does not matter
  std::map<uint64_t, bool> checked_;
  std::map<uint64_t, double> verified_;
};

}  // namespace colony::swarm
