#include "swarm/parts_bench.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <queue>

#include "base/rng.h"
#include "base/stats.h"
#include "swarm/loopback.h"

namespace colony::swarm {
namespace {

constexpr uint16_t kStreamSimulation = 7;
constexpr double kServiceSpread = 0.5;
constexpr uint64_t kStepsPerSecond = 10;
constexpr uint32_t kRounds = 3;  // a task nobody bids for is announced so often

struct Done {
  double at = 0;
  uint64_t task = 0;
  AgentId agent = 0;
  NodeId asker = 0;
  double score = 0, service = 0;
  bool operator>(const Done& other) const { return at != other.at ? at > other.at : task > other.task; }
};

}  // namespace

Loaded play_loaded(const Course& course, const LoadOptions& options, const std::string& who, const NodeOptions& rules, uint64_t seed) {
  NodeOptions own = rules;
  own.seed = seed;
  Loopback nodes(own, options.nodes);
  Now now;
  std::vector<size_t> arms;
  for (size_t arm = 0; arm < course.arms(); ++arm) {
    if (!course.there(0, arm)) continue;
    arms.push_back(arm);
    nodes.tell(static_cast<NodeId>(arm % options.nodes), AgentBorn{arm + 1, std::to_string(arm)}, now);
  }
  const double every = options.service_s / (options.load * static_cast<double>(arms.size()));
  std::vector<double> free_at(course.arms()), latencies;
  std::priority_queue<Done, std::vector<Done>, std::greater<>> working;
  const auto at_time = [&](double seconds) {
    now.step = static_cast<uint64_t>(seconds * static_cast<double>(kStepsPerSecond));
    now.ms = static_cast<uint64_t>(1000 * seconds);
  };
  Loaded out;
  double clock = 0;
  const size_t tasks = std::min(options.tasks, course.tasks());
  for (size_t t = 0; t < tasks; ++t) {
    RngStream rng(seed, t, 21, kStreamSimulation);
    clock -= every * std::log(1 - rng.uniform());
    for (; !working.empty() && working.top().at <= clock; working.pop()) {
      const Done done = working.top();
      at_time(done.at);
      nodes.tell(done.asker, Checked{done.task, done.agent, done.score, 0, true, 1000 * done.service}, now);
    }
    at_time(clock);
    ++now.task_time;
    const auto asker = static_cast<NodeId>(rng.below(options.nodes));
    size_t arm = arms[rng.below(arms.size())];
    if (who == "shortest-queue") {
      arm = *std::min_element(arms.begin(), arms.end(), [&](size_t a, size_t b) { return std::max(free_at[a], clock) < std::max(free_at[b], clock); });
    } else if (who == "colony") {
      AgentId worker = 0;
      for (uint32_t round = 0; round < kRounds && worker == 0; ++round) worker = nodes.ask(asker, TaskEntered{t + 1, course.question(t).place, 1, round, 1000 * options.deadline_s}, now);
      if (worker == 0) {  // never answered: later than any
        latencies.push_back(1e9);
        continue;
      }
      arm = worker - 1;
    }
    // The same work whoever does it, so that policies can be paired.
    const double service = options.service_s * std::exp(kServiceSpread * rng.normal() - kServiceSpread * kServiceSpread / 2);
    free_at[arm] = std::max(free_at[arm], clock) + service;
    const double score = course.score(t, arm);
    latencies.push_back(free_at[arm] - clock);
    out.right += score;
    out.goodput += latencies.back() <= options.deadline_s ? score : 0;
    if (who == "colony") working.push({free_at[arm], t + 1, arm + 1, asker, score, service});
  }
  const auto count = static_cast<double>(std::max<size_t>(tasks, 1));
  out.right /= count;
  out.goodput /= count;
  out.bids = static_cast<double>(nodes.bids()) / count;
  out.p95_s = percentile(std::move(latencies), .95);
  return out;
}

Found play_newcomer(const NodeOptions& rules, uint64_t seed) {
  constexpr NodeId kNodes = 16;
  constexpr AgentId kAgents = 200, kNew = 1000;
  constexpr int kBefore = 600, kAfter = 3000;
  NodeOptions own = rules;
  own.seed = seed;
  Loopback nodes(own, kNodes);
  Now now;
  for (NodeId id = 0; id < kNodes; ++id) {
    for (NodeId other = 0; other < kNodes; ++other) nodes.tell(id, PeerJoined{other}, now);
  }
  for (AgentId a = 1; a <= kAgents; ++a) nodes.tell(static_cast<NodeId>(a % kNodes), AgentBorn{a, "a"}, now);
  Found out;
  std::vector<int> last;
  for (int t = 0; t < kBefore + kAfter; ++t) {
    if (t == kBefore) nodes.tell(3, AgentBorn{kNew, "new"}, now);
    ++now.task_time;
    const auto id = static_cast<TaskId>(t + 1);
    RngStream rng(seed, id, 9, kStreamSimulation);
    Place place{};
    place[0] = 1;
    for (size_t i = 1; i < kPlaceDim; ++i) place[i] = static_cast<float>(.05 * rng.normal());
    const auto asker = static_cast<NodeId>(rng.below(kNodes));
    const AgentId agent = nodes.ask(asker, TaskEntered{id, place, 10, 0}, now);
    const double quality = agent == 0 ? 0 : agent == kNew ? .97 : .4 + .4 * static_cast<double>(agent % 11) / 10;
    nodes.tell(asker, Checked{id, agent, rng.uniform() < quality ? 1.0 : 0.0, 5, true}, now);
    if (t < kBefore) continue;
    out.success += quality / kAfter;
    last.push_back(agent == kNew);
    int recent = 0;
    for (size_t i = last.size() > 100 ? last.size() - 100 : 0; i < last.size(); ++i) recent += last[i];
    if (out.tasks_to_half == 0 && recent >= 50) out.tasks_to_half = t - kBefore;
  }
  if (out.tasks_to_half == 0) out.tasks_to_half = kAfter;
  out.bids = static_cast<double>(nodes.bids()) / (kBefore + kAfter);
  out.switches = nodes.switched();
  return out;
}

}  // namespace colony::swarm
