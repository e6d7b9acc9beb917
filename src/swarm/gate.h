// Whether a candidate may take an incumbent's place, by what both did on the same held-out items, and what a new agent's own
// test leaves on its trail.
//
// Of the items, `better` are those that only the candidate got right and `worse` those that only the incumbent did; the others
// say nothing. Source: swarm_algorithms 7.3 and 1.11; McNemar 1947; for tests that may be looked at after every item (e-values),
// Grünwald, de Heide and Koolen 2024, "Safe testing".
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "swarm/messages.h"

namespace colony::swarm {

// One item of an agent's test: where it lies, and how well the agent did.
struct GateItem {
  Place place{};
  double score = 0;  // [0, 1]
};
inline constexpr size_t kGateItems = 80;  // more than so many say no more
// kGateItems of them at most, evenly chosen.
std::vector<GateItem> chosen_items(std::span<const GateItem> items);
// What each of `items` weighs on a trail, in deposits: a quarter, since a test is not the stream, and 20 together at most. Measured from a
// tenth to a half, also with tests that are wrong: docs/swarm.md.
double gate_weight(size_t items);

enum class Verdict : uint8_t { kOpen, kPass, kFail };

// P(so many better or more, of better + worse, by tossing a coin).
double mcnemar(uint64_t better, uint64_t worse);

// A fixed set of items, tried for the use-th time (from 1): passes if mcnemar ≤ .05/2^use and it gains 3 % of the items. So a set
// that is used again and again still passes what is no better in 5 % of all cases at most. After the fifth use nothing passes.
Verdict judge_set(uint64_t better, uint64_t worse, uint64_t items, int use = 1);

// The same for scores that are not 0 or 1: passes if Student's 95 % interval of the differences (candidate less incumbent, one an
// item) lies above 0, and their mean is .03 or more.
Verdict judge_scores(std::span<const double> differences);

// Harm elsewhere: a loss at one of `probes` other places, one-sided p ≤ .05/probes.
bool harms(uint64_t better, uint64_t worse, uint64_t probes);

// ln of 2^(b+c+1) ∫ from ½ to 1 of q^b (1 − q)^c dq: the evidence that the candidate is better, however often it is looked at.
double log_evidence(uint64_t better, uint64_t worse);

// Judged item by item, with a look after each: passes at evidence 20, fails at evidence 20 of the contrary or after 400 items that
// tell them apart.
class LiveGate {
 public:
  Verdict add(bool candidate_right, bool incumbent_right);
  Verdict verdict() const { return verdict_; }
  uint64_t better() const { return better_; }
  uint64_t worse() const { return worse_; }

 private:
  uint64_t better_ = 0, worse_ = 0;
  Verdict verdict_ = Verdict::kOpen;
};

}  // namespace colony::swarm
