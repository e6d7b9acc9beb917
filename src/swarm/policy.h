// One choice at a time among agents, paid with the chosen agent's score and nothing else.
//
// What the swarm and the central baselines have in common, so that one stream can be played to each.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "swarm/node.h"

namespace colony::swarm {

struct Question {
  uint64_t number = 0;  // in the stream, from 0
  Place place{};
  size_t domain = 0;    // the label; 0 for all tasks unless the stream is played with labels
};

class Policy {
 public:
  virtual ~Policy() = default;
  // `there[arm]` != 0: it can be chosen; at least one can. Returns one of them.
  virtual size_t choose(const Question& question, const std::vector<uint8_t>& there) = 0;
  // The score in [0, 1] of what was chosen last, and the tokens it cost (0: not known).
  virtual void learn(double score, uint64_t tokens) = 0;
};

// A policy's name and those of its constants that are not the default: "ucb1:c=0.3:gamma=0.999".
struct PolicySpec {
  std::string name;
  std::map<std::string, double> constants;

  std::string text() const;
};

struct PolicyKind {
  std::string name, what;
  std::map<std::string, double> constants;  // with their defaults
  bool labels = false;     // needs the tasks' labels
  bool hindsight = false;  // knows all scores before: a mark to compare with, no policy
};

const std::vector<PolicyKind>& policy_kinds();

// Fails kInvalid and lists what there is.
Result<PolicySpec> parse_policy(const std::string& text);

// The central baselines (baselines.cc): they see every outcome at one place. Needs a name of policy_kinds() that is
// neither in hindsight nor the colony. `domains`: number of labels (1 without).
std::unique_ptr<Policy> make_baseline(const PolicySpec& spec, size_t arms, size_t domains, uint64_t seed);

}  // namespace colony::swarm
