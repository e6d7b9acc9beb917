#include "swarm/replay.h"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "base/check.h"
#include "base/rng.h"
#include "swarm/landmark.h"
#include "swarm/loopback.h"

namespace colony::swarm {
namespace {

constexpr uint16_t kStreamSimulation = 7;
constexpr size_t kExchanging = 6;

// The swarm as it serves: the same steps, messages carried from node to node at once.
class Colony final : public Policy {
 public:
  // `births`: of each arm, what it is born with.
  Colony(const NodeOptions& options, NodeId nodes, std::vector<AgentBorn> births) : nodes_(options, nodes), known_(births.size()), births_(std::move(births)) {}

  size_t choose(const Question& q, const std::vector<uint8_t>& there) override {
    now_.task_time = now_.step = q.number + 1;
    for (size_t arm = 0; arm < there.size(); ++arm) {
      if ((there[arm] != 0) == (known_[arm] != 0)) continue;
      known_[arm] = there[arm];
      const auto host = static_cast<NodeId>(arm % nodes_.count());
      if (there[arm] != 0) nodes_.tell(host, births_[arm], now_);
      else nodes_.tell(host, AgentRetired{arm + 1}, now_);
    }
    asker_ = static_cast<NodeId>(q.number % nodes_.count());
    winner_ = nodes_.ask(asker_, TaskEntered{q.number + 1, q.place, 1}, now_);
    CHECK(winner_ > 0, "somebody bids where somebody is there");
    return winner_ - 1;
  }

  void learn(double score, uint64_t tokens) override { nodes_.tell(asker_, Checked{now_.task_time, winner_, score, tokens, true}, now_); }

 private:
  Loopback nodes_;
  std::vector<uint8_t> known_;  // arms that were born
  std::vector<AgentBorn> births_;
  Now now_;
  NodeId asker_ = 0;
  AgentId winner_ = 0;
};

// Knows every arm's score on the whole course, by domain or over all.
class Hindsight final : public Policy {
 public:
  Hindsight(const Course& course, bool by_domain) : by_domain_(by_domain), sums_((by_domain ? course.domains() : 1) * course.arms()), arms_(course.arms()) {
    for (size_t t = 0; t < course.tasks(); ++t) {
      const size_t row = by_domain ? course.question(t).domain : 0;
      for (size_t arm = 0; arm < arms_; ++arm) {
        if (course.there(t, arm)) sums_[row * arms_ + arm] += course.score(t, arm);
      }
    }
  }
  size_t choose(const Question& q, const std::vector<uint8_t>& there) override {
    size_t best = arms_;
    const size_t row = by_domain_ ? q.domain : 0;
    for (size_t arm = 0; arm < arms_; ++arm) {
      if (there[arm] != 0 && (best == arms_ || sums_[row * arms_ + arm] > sums_[row * arms_ + best])) best = arm;
    }
    CHECK(best < arms_, "an arm can be chosen");
    return best;
  }
  void learn(double, uint64_t) override {}

 private:
  bool by_domain_;
  std::vector<double> sums_;
  size_t arms_;
};

}  // namespace

RecordedCourse::RecordedCourse(const Outcomes& outcomes, const std::vector<Place>& places, const StreamOptions& options, const std::vector<Place>& about)
    : outcomes_(outcomes), places_(places), options_(options), order_(outcomes.tasks()) {
  CHECK(options.labels || places.size() == outcomes.tasks(), "a place for each task");
  std::iota(order_.begin(), order_.end(), size_t{0});
  for (size_t i = order_.size(); i > 1; --i) {
    RngStream rng(options.seed, i, 1, kStreamSimulation);
    std::swap(order_[i - 1], order_[rng.below(i)]);
  }
  const bool named = std::any_of(outcomes.held_out.begin(), outcomes.held_out.end(), [](uint8_t out) { return out != 0; });
  if (named) {  // these first, both parts in the order drawn
    std::vector<size_t> rows;
    for (const bool out : {true, false}) {
      std::copy_if(order_.begin(), order_.end(), std::back_inserter(rows), [&](size_t row) { return (outcomes.held_out[row] != 0) == out; });
    }
    order_ = std::move(rows);
  }
  const size_t held = named ? static_cast<size_t>(std::count(outcomes.held_out.begin(), outcomes.held_out.end(), 1)) : options.gate;
  const auto stream = order_.begin() + static_cast<ptrdiff_t>(std::min(held, order_.size()));
  held_out_.assign(order_.begin(), stream);
  order_.erase(order_.begin(), stream);
  if (options.tasks > 0 && options.tasks < order_.size()) order_.resize(options.tasks);
  half_ = order_.size() / 2;
  behaves_as_.resize(arms());
  std::iota(behaves_as_.begin(), behaves_as_.end(), size_t{0});
  std::vector<double> sums(arms());
  for (const size_t row : order_) {
    for (size_t arm = 0; arm < arms(); ++arm) sums[arm] += static_cast<double>(outcomes_.score(row, arm));
  }
  std::vector<size_t> ranking = behaves_as_;
  std::sort(ranking.begin(), ranking.end(), [&](size_t a, size_t b) { return sums[a] != sums[b] ? sums[a] > sums[b] : a < b; });
  best_ = ranking[0];
  if (options.drift) {
    const size_t count = std::min(kExchanging, arms());
    for (size_t i = 0; i < count; ++i) behaves_as_[ranking[i]] = ranking[count - 1 - i];
  }
  for (size_t phase = 0; phase < 2; ++phase) {
    std::vector<double> phase_sums(arms());
    const bool changes = options.drift || options.arrival;
    for (size_t t = changes && phase == 1 ? half_ : 0; t < (changes && phase == 0 ? half_ : order_.size()); ++t) {
      for (size_t arm = 0; arm < arms(); ++arm) phase_sums[arm] += there(t, arm) ? score(t, arm) : -1;
    }
    single_[phase] = static_cast<size_t>(std::max_element(phase_sums.begin(), phase_sums.end()) - phase_sums.begin());
  }
  if (!about.empty()) {
    CHECK(about.size() == outcomes.about.size(), "a place for each of what agents say of themselves");
    about_.resize(arms());
    for (size_t i = 0; i < about.size(); ++i) about_[outcomes.about[i].agent].push_back(about[i]);
  }
  // Labels as places: a direction of its own for each.
  for (size_t d = 0; options.labels && d < outcomes.domains.size(); ++d) {
    RngStream rng(0, d, 2, kStreamSimulation);
    std::array<double, kPlaceDim> v{};
    for (double& x : v) x = rng.normal();
    domain_places_.push_back(unit(v));
  }
}

Question RecordedCourse::question(size_t t) const {
  const size_t row = order_[t];
  return {t, place_of(row), options_.labels ? outcomes_.domain[row] : 0};
}

const Place& RecordedCourse::place_of(size_t row) const { return options_.labels ? domain_places_[outcomes_.domain[row]] : places_[row]; }

std::vector<GateItem> RecordedCourse::gate(size_t arm) const {
  std::vector<GateItem> items;
  for (const size_t row : held_out_) items.push_back({place_of(row), static_cast<double>(outcomes_.score(row, arm))});
  return items;
}

double RecordedCourse::score(size_t t, size_t arm) const {
  return static_cast<double>(outcomes_.score(order_[t], t < half_ ? arm : behaves_as_[arm]));
}

uint64_t RecordedCourse::tokens(size_t t, size_t arm) const {
  return outcomes_.tokens.empty() ? 0 : outcomes_.tokens[order_[t] * arms() + (t < half_ ? arm : behaves_as_[arm])];
}

std::vector<std::string> switches(NodeId nodes) {
  std::vector<std::string> names{"trails", "places", "recent", "detection", "exploration", "early-optimism", "priors"};
  if (nodes > 1) names.insert(names.end(), {"gossip", "audit"});
  return names;
}

Result<std::unique_ptr<Policy>> make_colony(const Course& course, const ColonyOptions& options, uint64_t seed) {
  NodeOptions node;
  node.seed = seed;
  node.cost_weight = options.cost_weight;
  for (const std::string& off : options.off) {
    if (off == "trails") node.trails = false;
    else if (off == "places") node.places = false;
    else if (off == "recent") node.recent = false;
    else if (off == "detection") node.detection = false;
    else if (off == "priors") node.priors = false;
    else if (off == "exploration") node.explore = false;
    else if (off == "early-optimism") node.early_optimism = false;
    else if (off == "gossip") node.gossip = false;
    else if (off == "audit") node.audit = false;
    else {
      std::string names;
      for (const auto& name : switches(2)) names += (names.empty() ? "" : ", ") + name;
      return invalid("ablate: found '{}', expected one of: {}", off, names);
    }
  }
  std::vector<AgentBorn> births;
  for (size_t arm = 0; arm < course.arms(); ++arm) {
    births.push_back({arm + 1, std::to_string(arm), options.gate ? course.gate(arm) : std::vector<GateItem>(), options.own_test, course.about(arm)});
  }
  return std::unique_ptr<Policy>(std::make_unique<Colony>(node, options.nodes, std::move(births)));
}

Result<std::unique_ptr<Policy>> make_policy(const PolicySpec& spec, const Course& course, const ColonyOptions& options, uint64_t seed) {
  if (spec.name == "colony") return make_colony(course, options, seed);
  if (spec.name == "best-single") return std::unique_ptr<Policy>(std::make_unique<Hindsight>(course, false));
  if (spec.name == "per-domain-best") {
    if (course.domains() < 2) return invalid("policy per-domain-best: found a stream without labels (or with one domain), expected --labels");
    return std::unique_ptr<Policy>(std::make_unique<Hindsight>(course, true));
  }
  return make_baseline(spec, course.arms(), course.domains(), seed);
}

Played play(const Course& course, Policy& policy, const Clock& clock) {
  Played played;
  const size_t tasks = course.tasks(), half = tasks / 2;
  std::vector<uint8_t> there(course.arms());
  double first = 0, second = 0;
  for (size_t t = 0; t < tasks; ++t) {
    for (size_t arm = 0; arm < there.size(); ++arm) there[arm] = course.there(t, arm);
    const Question question = course.question(t);
    const double begun = clock.seconds();
    const size_t arm = policy.choose(question, there);
    played.seconds += clock.seconds() - begun;
    CHECK(arm < there.size() && there[arm] != 0, "a policy chooses what is there");
    const double score = course.score(t, arm);
    const uint64_t tokens = course.tokens(t, arm);
    played.tokens += static_cast<double>(tokens) / static_cast<double>(tasks);
    (t < half ? first : second) += score;
    played.regret += course.regret(t, arm);
    played.regret_at.push_back(played.regret);
    played.chosen.push_back(arm);
    const double paid = clock.seconds();
    policy.learn(score, tokens);
    played.seconds += clock.seconds() - paid;
  }
  played.mean = (first + second) / static_cast<double>(std::max<size_t>(tasks, 1));
  played.second_half = second / static_cast<double>(std::max<size_t>(tasks - half, 1));
  return played;
}

}  // namespace colony::swarm
