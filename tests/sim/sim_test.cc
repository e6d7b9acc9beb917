// N nodes, one thread, one seed: delay, loss, duplication, reordering, corruption, partition, crash with
// and without state, restart, clock skew. The real step functions, messages as bytes.
//
// Wanted of every seed: each task that entered ends exactly once, no task's budget is passed by one
// token, nothing that is no number is ever bid, and once the network is whole again all replicas become
// equal. A seed that fails prints the command that runs it alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <queue>
#include <set>
#include <thread>

#include "base/rng.h"
#include "swarm/landmark.h"
#include "swarm/node.h"

namespace colony::swarm {
namespace {

struct Scenario {
  uint64_t seed = 0;
  NodeId nodes = 3;
  AgentId agents = 6;
  int tasks = 50;
  double loss = 0, twice = 0, flipped = 0;
  double delay_mean = 5;        // ms, exponential: later messages overtake
  double every = 8;             // ms between tasks
  int partitions = 0, crashes = 0;
  double deadline_ms = 0;       // of each task; 0: none
  bool tested = false;          // agents come with a test
  NodeOptions rules;

  static Scenario of(uint64_t seed, int tasks_fixed = 0) {
    RngStream rng(seed, 1, 0, 7);
    Scenario s;
    s.seed = seed;
    s.nodes = static_cast<NodeId>(2 + rng.below(5));
    s.agents = s.nodes + rng.below(2 * s.nodes);
    s.tasks = static_cast<int>(rng.uniform() < .85 ? 5 + rng.below(45) : 50 + rng.below(151));
    if (tasks_fixed > 0) s.tasks = tasks_fixed;
    const bool calm = rng.uniform() < .1;
    if (!calm) {
      s.loss = rng.uniform() < .3 ? 0 : .25 * rng.uniform();
      s.twice = .2 * rng.uniform();
      s.flipped = rng.uniform() < .3 ? .02 : 0;
      s.delay_mean = 1 + 25 * rng.uniform();
      s.partitions = static_cast<int>(rng.below(4)) * std::max(1, s.tasks / 200);
      s.crashes = static_cast<int>(rng.below(5)) * std::max(1, s.tasks / 200);
    }
    s.every = 2 + 12 * rng.uniform();
    s.rules.seed = seed;
    s.rules.bid_window = 40 + rng.below(60);
    s.rules.lease = 300 + rng.below(300);
    s.rules.attempt_tokens = 100;
    s.rules.gossip = rng.uniform() < .9;
    s.rules.thresholds = rng.uniform() < .2;
    s.rules.price = rng.uniform() < .2;
    if (rng.uniform() < .25) s.rules.quorum = QuorumOptions::quick();
    if (rng.uniform() < .2) s.rules.cost_weight = .1;
    if (rng.uniform() < .2) s.rules.half_life_ms = 2000;
    if (rng.uniform() < .25) s.rules.queues = true, s.deadline_ms = 20 + 300 * rng.uniform();
    s.tested = rng.uniform() < .25;
    return s;
  }
};

class Simulation {
 public:
  struct Report {
    std::string wrong;  // empty: all is well
    int answered = 0, out_of_budget = 0, by_votes = 0, deposits = 0;
    int rounds = 0;     // of gossip until all replicas are equal
    uint64_t trace = 0; // of everything that happened
  };

  explicit Simulation(const Scenario& scenario) : s_(scenario), rng_(scenario.seed, 2, 0, 7) {
    for (NodeId id = 0; id < s_.nodes; ++id) {
      Machine machine;
      machine.rate = .8 + .45 * dice();
      machine.offset = static_cast<uint64_t>(1e6 * dice());
      machines_.push_back(std::move(machine));
      start(id, "");
    }
    for (AgentId a = 1; a <= s_.agents; ++a) host(a, static_cast<NodeId>(a % s_.nodes));
    double at = 1;
    for (int i = 0; i < s_.tasks; ++i, at += s_.every) plan(at, Kind::kEnter, 0, static_cast<uint64_t>(i + 1));
    const double end = at;
    for (int i = 0; i < s_.partitions; ++i) {
      const double from = end * dice();
      const uint64_t sides = below(1ULL << s_.nodes);
      plan(from, Kind::kPartition, 0, sides);
      plan(from + 50 + 1500 * dice(), Kind::kHeal, 0, 0);
    }
    for (int i = 0; i < s_.crashes; ++i) {
      const double from = end * dice();
      const auto who = static_cast<NodeId>(below(s_.nodes));
      plan(from, Kind::kCrash, who, 0);
      plan(from + 20 + 2000 * dice(), Kind::kRestart, who, below(3));
    }
    for (NodeId id = 0; id < s_.nodes; ++id) plan(20 * dice(), Kind::kTick, id, 0);
    faults_until_ = end + 4000;
  }

  Report run() {
    while (report_.wrong.empty() && (open_ > 0 || now_ms_ < faults_until_)) {
      if (!step()) break;
      if (now_ms_ > faults_until_) whole_ = true, sides_ = 0;
      if (now_ms_ > faults_until_ + 200'000) return wrong("tasks are still open long after the network is whole");
    }
    if (!report_.wrong.empty()) return report_;
    for (const auto& [id, task] : ledger_) {
      if (task.ends != 1) return wrong("task " + std::to_string(id) + " ended " + std::to_string(task.ends) + " times");
      if (task.spent > task.budget) return wrong("task " + std::to_string(id) + " spent more than its budget");
    }
    if (ledger_.size() != static_cast<size_t>(s_.tasks)) return wrong("a task never entered");
    if (s_.rules.gossip) converge();
    return report_;
  }

 private:
  enum class Kind : uint8_t { kEnter, kDeliver, kAnswer, kDone, kTick, kPartition, kHeal, kCrash, kRestart };
  struct Planned {
    double at = 0;
    uint64_t number = 0;  // of equal times the first planned comes first
    Kind kind = Kind::kTick;
    NodeId node = 0, from = 0;
    uint64_t what = 0;
    uint64_t life = 0;  // of the machine it was planned for; others die with it
    AgentId agent = 0;
    uint64_t tokens = 0;
    std::string bytes;
    bool operator>(const Planned& o) const { return at != o.at ? at > o.at : number > o.number; }
  };
  struct Machine {
    std::unique_ptr<Node> node;  // null: dead
    std::string saved;
    double rate = 1;
    uint64_t offset = 0, heard = 0, life = 0;
    int saves = 0;
  };
  struct Task {  // as the ledger has it: durable
    NodeId asker = 0;
    uint64_t budget = 0, given = 0, spent = 0;
    uint32_t entries = 0;
    int ends = 0;
    bool waits = false;  // for a node that lives
    std::map<AgentId, uint64_t> voted;
  };

  double dice() { return draw().uniform(); }
  uint64_t below(uint64_t bound) { return draw().below(bound); }
  RngStream& draw() {
    if (++draws_ % 10'000 == 0) rng_ = RngStream(s_.seed, draws_, 0, 7);  // a stream is long, not endless
    return rng_;
  }
  void note(uint64_t what) { report_.trace = (report_.trace ^ what) * 0x100000001b3ULL; }
  Report wrong(std::string what) {
    if (report_.wrong.empty()) report_.wrong = std::move(what);
    return report_;
  }

  Planned& plan(double at, Kind kind, NodeId node, uint64_t what) {
    Planned p;
    p.at = at;
    p.number = ++planned_;
    p.kind = kind;
    p.node = node;
    p.what = what;
    p.life = machines_[node].life;
    return later_.emplace_back(std::move(p));
  }
  void settle_plans() {
    for (auto& p : later_) queue_.push(std::move(p));
    later_.clear();
  }

  Now now(NodeId id) const {
    const Machine& m = machines_[id];
    const uint64_t ms = m.offset + static_cast<uint64_t>(now_ms_ * m.rate);
    return {m.heard, ms, stopped_ ? 0 : ms};
  }
  static Place place(uint64_t task) {
    RngStream rng(77, task, 0, 7);
    std::array<double, kPlaceDim> v{};
    for (size_t i = 0; i < kPlaceDim; ++i) v[i] = (i == task % 5 ? 4 : 0) + .5 * (rng.uniform() - .5);
    return unit(v);
  }

  void start(NodeId id, const std::string& bytes) {
    NodeOptions options = s_.rules;
    options.id = id;
    Machine& m = machines_[id];
    options.incarnation = static_cast<uint32_t>(m.life + 1);
    m.node = std::make_unique<Node>(options);
    if (!bytes.empty() && !m.node->load(bytes)) wrong("what a node saved it cannot load");
    for (NodeId other = 0; other < machines_.size(); ++other) {
      tell(id, PeerJoined{other});
      tell(other, PeerJoined{id});
    }
  }
  void host(AgentId agent, NodeId at) {
    host_[agent] = at;
    AgentBorn born{agent, "a" + std::to_string(agent)};
    // Enough items for a map; some agents were asked the same, some something else.
    for (uint64_t i = 0; s_.tested && i < 10 * (1 + agent % 5); ++i) born.gate.push_back({place(1'000'000 + i + 7 * (agent % 2)), (agent + i) % 3 == 0 ? 1.0 : 0.0});
    tell(at, born);
  }
  NodeId living(uint64_t from) const {
    for (uint64_t i = 0; i < s_.nodes; ++i) {
      if (machines_[(from + i) % s_.nodes].node) return static_cast<NodeId>((from + i) % s_.nodes);
    }
    return s_.nodes;
  }

  // A message on its way: as bytes, late, perhaps twice, changed, or never.
  void send(NodeId from, NodeId to, Kind kind, const std::string& bytes, uint64_t what = 0, AgentId agent = 0, uint64_t tokens = 0) {
    const bool cut = ((sides_ >> from) & 1) != ((sides_ >> to) & 1);
    int copies = 1;
    if (!whole_ && from != to) {
      if (cut || dice() < s_.loss) copies = 0;
      if (copies > 0 && dice() < s_.twice) copies = 2;
    }
    for (int i = 0; i < copies; ++i) {
      Planned& p = plan(now_ms_ + (from == to ? 0 : .2 - s_.delay_mean * std::log(1 - dice())), kind, to, what);
      p.from = from;
      p.bytes = bytes;
      p.agent = agent;
      p.tokens = tokens;
      if (!whole_ && from != to && !bytes.empty() && dice() < s_.flipped) p.bytes[below(bytes.size())] ^= static_cast<char>(1 << below(8));
    }
  }

  void tell(NodeId id, const Event& event) {
    Machine& m = machines_[id];
    if (!m.node) return;
    for (auto& effect : m.node->step(event, now(id))) take(id, effect);
  }

  void take(NodeId id, Effect& effect) {
    note(effect.index() * 31 + id);
    if (auto* out = std::get_if<Send>(&effect)) {
      if (const auto* bid = std::get_if<Bid>(&out->message); bid != nullptr && !std::isfinite(bid->index)) wrong("a bid that is no number");
      if (const auto* assign = std::get_if<Assign>(&out->message)) {
        Task& task = ledger_.at(assign->task);
        task.given += assign->tokens;  // written before it is sent
        if (task.given > task.budget) wrong("more was given than the budget of task " + std::to_string(assign->task));
      }
      const std::string bytes = encode(out->message);
      for (NodeId to = 0; to < s_.nodes; ++to) {
        if (!out->to || *out->to == to) send(id, to, Kind::kDeliver, bytes);
      }
    } else if (const auto* work = std::get_if<Work>(&effect)) {
      Planned& p = plan(now_ms_ + 1 + 40 * dice(), Kind::kDone, id, work->task);
      p.from = work->asker;
      p.agent = work->agent;
      p.tokens = std::min<uint64_t>(work->tokens, 10 + below(91));
    } else if (const auto* ended = std::get_if<Ended>(&effect)) {
      Task& task = ledger_.at(ended->task);
      ++task.ends;
      --open_;
      note(ended->agent);
      (ended->reason == "budget" ? report_.out_of_budget : report_.answered) += 1;
      if (ended->votes > 0) ++report_.by_votes;
      if (ended->votes > QuorumOptions().cap) wrong("more votes than the cap");
      if (ended->agent != 0 && s_.rules.quorum && !task.voted.contains(ended->agent)) wrong("the answer of somebody who gave none");
    } else if (const auto* deposited = std::get_if<Deposited>(&effect)) {
      ++report_.deposits;
      if (!std::isfinite(deposited->predicted)) wrong("a prediction that is no number");
      if (++machines_[id].saves % 5 == 0) machines_[id].saved = machines_[id].node->save();
    } else if (const auto* explain = std::get_if<Explain>(&effect)) {
      if (explain->winner != 0 && std::none_of(explain->bids.begin(), explain->bids.end(), [&](const Bid& b) { return b.agent == explain->winner; })) {
        wrong("a winner that did not bid");
      }
    }
  }

  void enter(TaskId id) {
    auto [entry, fresh] = ledger_.try_emplace(id);
    Task& task = entry->second;
    if (fresh) {
      task.budget = 300 + 100 * below(6);
      ++open_;
    }
    const NodeId at = living(id);
    task.waits = at == s_.nodes;
    if (task.waits) {
      plan(now_ms_ + 50, Kind::kEnter, 0, id);
      return;
    }
    task.asker = at;
    task.voted.clear();
    tell(at, TaskEntered{id, place(id), task.budget - task.given, 1000 * task.entries++, s_.deadline_ms});
  }

  bool step() {
    settle_plans();
    if (queue_.empty()) return false;
    Planned p = std::move(const_cast<Planned&>(queue_.top()));
    queue_.pop();
    now_ms_ = p.at;
    Machine& m = machines_[p.node];
    note(static_cast<uint64_t>(p.kind) * 1009 + p.node);
    switch (p.kind) {
      case Kind::kEnter:
        enter(p.what);
        break;
      case Kind::kDeliver:
        if (m.node) {
          const auto message = decode(p.bytes);
          if (!message) break;  // changed on the way
          if (std::holds_alternative<Announce>(*message)) ++m.heard;
          tell(p.node, Received{*message});
        }
        break;
      case Kind::kDone: {  // the work is done, if its machine lives
        if (m.life != p.life || !m.node) break;
        ledger_.at(p.what).spent += p.tokens;
        send(p.node, p.from, Kind::kAnswer, "", p.what, p.agent, p.tokens);
        break;
      }
      case Kind::kAnswer: {
        if (!m.node) break;
        Task& task = ledger_.at(p.what);
        if (task.asker != p.node) break;  // another asks now
        RngStream luck(s_.seed, p.what, static_cast<uint32_t>(p.agent), 7);
        const bool right = luck.uniform() < (p.agent % 5 == p.what % 5 ? .9 : .4);
        if (s_.rules.quorum) {
          task.voted.emplace(p.agent, right);
          tell(p.node, Voted{p.what, p.agent, right ? 1 : 2 + luck.below(3), p.tokens, false});
        }
        tell(p.node, Checked{p.what, p.agent, right ? 1.0 : 0.0, p.tokens, !s_.rules.quorum, 10 * dice()});
        break;
      }
      case Kind::kTick:
        tell(p.node, Tick{});
        plan(now_ms_ + 20, Kind::kTick, p.node, 0);
        break;
      case Kind::kPartition:
        if (!whole_) sides_ = p.what;
        break;
      case Kind::kHeal:
        sides_ = 0;
        break;
      case Kind::kCrash: {
        if (!m.node) break;
        m.node.reset();
        ++m.life;
        // The others learn of it: they take the agents, and what was asked there and has not ended.
        const NodeId next = living(p.node + 1);
        for (const auto& [agent, at] : std::map(host_)) {
          if (at == p.node && next < s_.nodes) host(agent, next);
        }
        for (const auto& [id, task] : std::map(ledger_)) {
          if (task.asker == p.node && task.ends == 0 && !task.waits) enter(id);
        }
        break;
      }
      case Kind::kRestart: {
        if (m.node) break;
        start(p.node, p.what == 0 ? "" : m.saved);  // sometimes the disk is gone too
        m.offset += below(1000);
        for (AgentId a = 1; a <= s_.agents; ++a) {
          if (a % s_.nodes != p.node) continue;
          if (host_[a] != p.node) tell(host_[a], AgentRetired{a});
          host(a, p.node);
        }
        break;
      }
    }
    return report_.wrong.empty();
  }

  // The network is whole and nobody works: how many rounds of gossip until all know the same?
  void converge() {
    while (!queue_.empty()) queue_.pop();
    later_.clear();
    whole_ = true;
    sides_ = 0;
    stopped_ = true;
    for (NodeId id = 0; id < s_.nodes; ++id) {
      if (!machines_[id].node) start(id, machines_[id].saved);
    }
    const int most = static_cast<int>(std::ceil(std::log2(s_.nodes))) + 3;
    for (int round = 0; round <= 4 * most; ++round) {
      std::set<std::string> replicas;
      for (auto& m : machines_) replicas.insert(m.node->replica());
      report_.rounds = round;
      if (replicas.size() == 1) return;
      now_ms_ += 400;
      for (NodeId id = 0; id < s_.nodes; ++id) {
        tell(id, Tick{});
        for (settle_plans(); !queue_.empty(); settle_plans()) {
          const Planned p = queue_.top();
          queue_.pop();
          if (p.kind != Kind::kDeliver) continue;
          const auto message = decode(p.bytes);
          const bool gossip = message && message->index() >= 4;
          if (gossip) tell(p.node, Received{*message});
        }
      }
    }
    wrong("replicas are not equal after " + std::to_string(4 * most) + " rounds of gossip");
  }

  Scenario s_;
  RngStream rng_;
  uint64_t draws_ = 0, planned_ = 0;
  double now_ms_ = 0, faults_until_ = 0;
  bool whole_ = false;
  bool stopped_ = false;  // no evidence fades any more: what fades is written anew for ever
  uint64_t sides_ = 0;  // bit i: the side node i is on
  std::vector<Machine> machines_;
  std::map<AgentId, NodeId> host_;
  std::map<TaskId, Task> ledger_;
  std::vector<Planned> later_;
  std::priority_queue<Planned, std::vector<Planned>, std::greater<>> queue_;
  int open_ = 0;
  Report report_;
};

struct Totals {
  int64_t seeds = 0, tasks = 0, answered = 0, out_of_budget = 0, by_votes = 0, deposits = 0, soon = 0, gossiping = 0;
  int most_rounds = 0;
};

// Seeds [from, from + count), on all cores; each thread its own seeds, so that the result is the same.
Totals run_seeds(uint64_t from, uint64_t count, int tasks) {
  Totals totals;
  std::mutex mutex;
  std::atomic<uint64_t> next{from};
  const auto work = [&] {
    for (uint64_t seed = next++; seed < from + count; seed = next++) {
      const Scenario scenario = Scenario::of(seed, tasks);
      const auto report = Simulation(scenario).run();
      const std::lock_guard lock(mutex);
      if (!report.wrong.empty()) {
        ADD_FAILURE() << "seed " << seed << ": " << report.wrong << "\n  run it alone: COLONY_SIM_SEED=" << seed
                      << (tasks > 0 ? " COLONY_SIM_TASKS=" + std::to_string(tasks) : "")
                      << " build/release/tests/sim/sim_tests --gtest_filter=Sim.OneSeed";
      }
      ++totals.seeds;
      totals.tasks += scenario.tasks;
      totals.answered += report.answered;
      totals.out_of_budget += report.out_of_budget;
      totals.by_votes += report.by_votes;
      totals.deposits += report.deposits;
      totals.gossiping += scenario.rules.gossip;
      totals.soon += scenario.rules.gossip && report.rounds <= static_cast<int>(std::ceil(std::log2(scenario.nodes))) + 3;
      totals.most_rounds = std::max(totals.most_rounds, report.rounds);
    }
  };
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < std::clamp(std::thread::hardware_concurrency(), 1U, 4U); ++i) threads.emplace_back(work);
  }
  std::cout << "  " << totals.seeds << " seeds, " << totals.tasks << " tasks: " << totals.answered << " answered (" << totals.by_votes
            << " by votes), " << totals.out_of_budget << " ended by their budget, " << totals.deposits << " deposits; replicas equal within log2 P + 3 rounds in "
            << totals.soon << " of " << totals.gossiping << ", at most " << totals.most_rounds << " rounds\n";
  EXPECT_EQ(totals.answered + totals.out_of_budget, totals.tasks);
  EXPECT_GT(totals.answered, totals.tasks * 8 / 10);
  return totals;
}

TEST(Sim, NothingIsLostNothingEndsTwiceBudgetsHoldReplicasBecomeEqual) { run_seeds(1, 200, 0); }

TEST(Sim, TheSameSeedIsTheSameRun) {
  for (uint64_t seed = 500; seed < 510; ++seed) {
    const auto one = Simulation(Scenario::of(seed)).run(), two = Simulation(Scenario::of(seed)).run();
    EXPECT_EQ(one.trace, two.trace) << seed;
    EXPECT_NE(one.trace, Simulation(Scenario::of(seed + 1000)).run().trace);
  }
}

TEST(Sim, OneSeed) {
  const char* seed = std::getenv("COLONY_SIM_SEED");
  const char* tasks = std::getenv("COLONY_SIM_TASKS");
  run_seeds(seed != nullptr ? std::strtoull(seed, nullptr, 10) : 1, 1, tasks != nullptr ? std::atoi(tasks) : 0);
}

TEST(SlowSim, TenThousandSeeds) { run_seeds(1000, 10'000, 0); }
TEST(SlowSim, TwentySeedsOfFiveThousandTasks) { run_seeds(100'000, 20, 5000); }

}  // namespace
}  // namespace colony::swarm
