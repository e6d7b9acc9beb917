// A stream of tasks with known outcomes played to a policy, of which it sees only what it pays for.
//
// Courses: recorded outcomes in a seeded order (outcomes.h), and the synthetic bench of changing experts
// (drift_bench.h). Source: swarm_algorithms 9.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "swarm/outcomes.h"
#include "swarm/policy.h"

namespace colony::swarm {

class Course {
 public:
  virtual ~Course() = default;
  virtual size_t tasks() const = 0;
  virtual size_t arms() const = 0;
  virtual size_t domains() const { return 1; }
  virtual Question question(size_t t) const = 0;
  virtual bool there(size_t t, size_t arm) const = 0;
  virtual double score(size_t t, size_t arm) const = 0;
  virtual uint64_t tokens(size_t, size_t) const { return 0; }  // that arm's answer costs; 0: not known
  virtual std::vector<GateItem> gate(size_t) const { return {}; }  // what that arm did on questions held out of the stream
  virtual std::vector<Place> about(size_t) const { return {}; }    // where what that arm says of itself lies
  // What choosing `arm` at t loses against the best that could be had.
  virtual double regret(size_t t, size_t arm) const = 0;
};

struct StreamOptions {
  uint64_t seed = 1;     // of the order
  size_t tasks = 0;      // the first so many of the order; 0: all
  // The first so many of the order are held out, as every agent's test; the stream begins after them. Of a set that names the questions held
  // out itself it is these, and no number counts.
  size_t gate = 0;
  bool drift = false;    // at half time the six best agents exchange behaviour in reverse order
  bool arrival = false;  // the best agent can be chosen only from half time on
  bool labels = false;   // the domain is told: it is the label and, instead of the embedding, the place
};

// Recorded outcomes in an order drawn from the seed. Regret is against the best single agent in hindsight, of each
// half where half time changes something. Both references must outlive it; `places`: one a task.
class RecordedCourse final : public Course {
 public:
  // `about`: of outcomes.about, a place each; may be empty.
  RecordedCourse(const Outcomes& outcomes, const std::vector<Place>& places, const StreamOptions& options, const std::vector<Place>& about = {});

  size_t tasks() const override { return order_.size(); }
  size_t arms() const override { return outcomes_.agents.size(); }
  size_t domains() const override { return options_.labels ? outcomes_.domains.size() : 1; }
  Question question(size_t t) const override;
  bool there(size_t t, size_t arm) const override { return !(options_.arrival && arm == best_ && t < half_); }
  double score(size_t t, size_t arm) const override;
  uint64_t tokens(size_t t, size_t arm) const override;
  std::vector<GateItem> gate(size_t arm) const override;
  std::vector<Place> about(size_t arm) const override { return about_.empty() ? std::vector<Place>() : about_[arm]; }
  double regret(size_t t, size_t arm) const override { return score(t, single_[t < half_ ? 0 : 1]) - score(t, arm); }

 private:
  const Place& place_of(size_t row) const;

  const Outcomes& outcomes_;
  const std::vector<Place>& places_;
  const StreamOptions options_;
  std::vector<size_t> order_, held_out_;
  size_t half_;
  std::vector<size_t> behaves_as_;  // in the second half
  size_t best_ = 0;                 // of the stream without drift
  size_t single_[2] = {0, 0};       // each half's best to compare with
  std::vector<Place> domain_places_;
  std::vector<std::vector<Place>> about_;  // of each arm; or none
};

// What the swarm runs with when it is played.
struct ColonyOptions {
  NodeId nodes = 1;
  std::vector<std::string> off;  // names of switches()
  double cost_weight = 0;        // NodeOptions::cost_weight
  bool gate = false;             // agents are born with what the course's gate() says
  bool own_test = false;         // and that is a test of their own home
};
// What can be switched off: "trails", "places", "recent", "detection", "exploration", "early-optimism", "priors"; of several nodes "gossip", "audit".
std::vector<std::string> switches(NodeId nodes);

// Fails kInvalid when a switch is unknown. `labels` etc. are the course's own matter.
Result<std::unique_ptr<Policy>> make_colony(const Course& course, const ColonyOptions& options, uint64_t seed);
// Any policy; those in hindsight look at the course.
Result<std::unique_ptr<Policy>> make_policy(const PolicySpec& spec, const Course& course, const ColonyOptions& options, uint64_t seed);

struct Played {
  double mean = 0, second_half = 0, regret = 0;  // regret: the sum over the course
  double tokens = 0;                             // a task, of what was chosen
  double seconds = 0;                            // deciding and learning
  std::vector<double> regret_at;                 // sum up to and with each task
  std::vector<size_t> chosen;                    // arm of each task
};
Played play(const Course& course, Policy& policy, const Clock& clock);

}  // namespace colony::swarm
