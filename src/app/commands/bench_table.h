// A bench's cells: what was measured, as lines for people and for machines.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace colony::app {

// Seconds of one piece of work: on the wall, and of all threads together.
struct Sample {
  double wall = 0, cpu = 0;
};

enum class Unit : uint8_t {
  kTokensPerSecond,  // work / wall
  kSeconds,          // lower is better
  kMilliseconds,     // lower is better
  kMicroseconds,     // lower is better; no CPU number
  kShare,            // of what the same work has on a quiet machine
  kMebibytes,        // lower is better
};
std::string_view unit_name(Unit unit);
bool lower_is_better(Unit unit);

// A cell's number by the wall and by CPU time (tokens a core-second, CPU seconds, …); kShare and
// kMebibytes have no CPU number.
struct Value {
  double wall = 0, cpu = 0;
};
Value value_of(const Sample& sample, Unit unit, double work);

struct Cell {
  std::string name;   // as printed
  Unit unit = Unit::kTokensPerSecond;
  std::string dtype;  // of our weights
  double limit = 0;   // in the cell's unit; 0: none
  std::string bound;  // what the limit is made of
  bool bar_only = false;  // the limit is a bar to keep below, not a roofline to come near
  Json more = Json::object();  // further members of our lines
};

// All rounds of one side.
using Rounds = std::vector<Value>;

struct PeerSide {
  std::string name, version;  // "llama.cpp Q8_0"
  Rounds rounds;
  std::string missing;        // why there are no rounds
  Json more = Json::object();
};

// The median of `rounds` (0 when empty) and (max - min) / median.
double middle(const Rounds& rounds);
double middle_cpu(const Rounds& rounds);
double spread(const Rounds& rounds);

// One line a peer (one without, when there is none). `why`: what is in the way, when we are below 60 % of the limit.
void print_cell(const std::string& bench, bool json, const Cell& cell, const Rounds& ours,
                const std::vector<PeerSide>& peers, const std::string& why);
// A cell that this build or machine cannot measure, and why.
void print_absent(const std::string& bench, bool json, const Cell& cell, const std::string& why);

}  // namespace colony::app
