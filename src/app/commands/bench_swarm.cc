#include "app/commands/bench_swarm.h"

#include <malloc.h>

#include <algorithm>
#include <cmath>

#include "app/commands/bench_table.h"
#include "app/console.h"
#include "base/clock.h"
#include "base/rng.h"
#include "base/stats.h"
#include "swarm/landmark.h"
#include "swarm/node.h"

namespace colony::app {
namespace {

constexpr size_t kAgents[] = {10, 100, 1000, 10'000};
constexpr size_t kWarm = 1100, kMeasured = 2000, kKinds = 40;
constexpr double kDecideFew = 20, kDecideMany = 50, kDeposit = 20;  // bars, microseconds
constexpr uint16_t kStream = 42;

struct Timed {
  std::vector<double> decide_us, deposit_us;
  double bytes_per_agent = 0;
};

// Tasks of 40 kinds; each agent is good at one of them and middling at the others.
Timed time_node(size_t agents, uint64_t seed, const Clock& clock) {
  using namespace swarm;
  Timed timed;
  std::vector<std::array<double, kPlaceDim>> centres(kKinds);
  for (size_t k = 0; k < kKinds; ++k) {
    RngStream rng(seed, k, 0, kStream);
    for (double& x : centres[k]) x = rng.normal() / std::sqrt(double{kPlaceDim});
  }
  const uint64_t before = ::mallinfo2().uordblks;
  NodeOptions options;
  options.seed = seed;
  Node node(options);
  Now now;
  for (AgentId agent = 1; agent <= agents; ++agent) node.step(AgentBorn{agent, "agent"}, now);
  for (size_t t = 1; t <= kWarm + kMeasured; ++t) {
    RngStream rng(seed, t, 1, kStream);
    const size_t kind = static_cast<size_t>(rng.below(kKinds));
    std::array<double, kPlaceDim> v{};
    for (size_t i = 0; i < kPlaceDim; ++i) v[i] = centres[kind][i] + rng.normal() * .6 / std::sqrt(double{kPlaceDim});
    const Place place = unit(v);
    now.task_time = now.step = t;
    const TaskId task = t;
    AgentId winner = 0;
    const double entered = clock.seconds();
    // What the node sends comes back to it: it is alone.
    const auto tell = [&](const Event& event, const auto& self) -> void {
      for (const auto& effect : node.step(event, now)) {
        if (const auto* work = std::get_if<Work>(&effect)) winner = work->agent;
        if (const auto* send = std::get_if<Send>(&effect)) self(Received{send->message}, self);
      }
    };
    tell(TaskEntered{task, place, 1}, tell);
    tell(BidsClosed{task}, tell);
    const double decided = clock.seconds();
    const double score = rng.uniform() < (winner % kKinds == kind ? .9 : .4) ? 1 : 0;
    const double checked = clock.seconds();
    tell(Checked{task, winner, score, 1, true}, tell);
    const double deposited = clock.seconds();
    if (t <= kWarm) continue;
    timed.decide_us.push_back(1e6 * (decided - entered));
    timed.deposit_us.push_back(1e6 * (deposited - checked));
  }
  timed.bytes_per_agent = static_cast<double>(::mallinfo2().uordblks - before) / static_cast<double>(agents);
  return timed;
}

}  // namespace

Status bench_swarm(const BenchOptions& options) {
  std::vector<std::string> names;
  for (const char* what : {"decide", "deposit"}) {
    for (const size_t agents : kAgents) names.push_back(fmt::format("{} {}", what, agents));
  }
  for (const std::string& cell : options.cells) {
    if (std::find(names.begin(), names.end(), cell) == names.end()) {
      return invalid("bench swarm has no cell '{}'; there are: {}", cell, fmt::join(names, ", "));
    }
  }
  const auto wanted = [&](const std::string& cell) {
    return options.cells.empty() || std::find(options.cells.begin(), options.cells.end(), cell) != options.cells.end();
  };
  const SystemClock clock;
  for (const size_t agents : kAgents) {
    const std::string decide = fmt::format("decide {}", agents), deposit = fmt::format("deposit {}", agents);
    if (!wanted(decide) && !wanted(deposit)) continue;
    Rounds decisions, deposits;
    Json more_decide = Json::object(), more_deposit = Json::object();
    double bytes = 0;
    for (int round = 0; round < options.rounds; ++round) {
      const Timed timed = time_node(agents, static_cast<uint64_t>(round) + 1, clock);
      decisions.push_back({median(timed.decide_us), 0});
      deposits.push_back({median(timed.deposit_us), 0});
      bytes = std::max(bytes, timed.bytes_per_agent);
      for (auto* side : {&more_decide, &more_deposit}) {  // of the last round
        const auto& all = side == &more_decide ? timed.decide_us : timed.deposit_us;
        (*side)["p95"] = percentile(all, .95);
        (*side)["mean"] = mean(all);
        (*side)["bytes_per_agent"] = bytes;
      }
    }
    if (wanted(decide)) print_cell("swarm", options.json, {decide, Unit::kMicroseconds, "", agents <= 100 ? kDecideFew : kDecideMany, "median", true, more_decide}, decisions, {}, "");
    if (wanted(deposit)) print_cell("swarm", options.json, {deposit, Unit::kMicroseconds, "", kDeposit, "median", true, more_deposit}, deposits, {}, "");
    if (!options.json) {
      print_line(fmt::format("    decision p95 {:.1f}, mean {:.1f} us; deposit p95 {:.1f}; {:.1f} KiB an agent (bar 64, the node's own included)", more_decide["p95"].get<double>(),
                             more_decide["mean"].get<double>(), more_deposit["p95"].get<double>(), bytes / 1024));
    }
  }
  return {};
}

}  // namespace colony::app
