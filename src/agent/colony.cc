#include "agent/colony.h"

#include <algorithm>
#include <utility>

#include "agent/colony_state.h"
#include "base/check.h"
#include "base/log.h"
#include "base/rng.h"

namespace colony::agent {
namespace {

constexpr uint64_t kSaveEvery = 16;  // deposits of a node between two saves

// Independent of run and seed, so that the same seed gives the same draws; never 0.
swarm::TaskId task_id_of(int64_t index) {
  const auto number = static_cast<uint64_t>(index);
  const uint64_t hash = fnv1a(reinterpret_cast<const char*>(&number), sizeof number);
  return hash == 0 ? 1 : hash;
}

}  // namespace

Status Colony::State::stop() {
  for (auto& [index, job] : jobs) {
    if (job.request) engine.cancel(*job.request);
    tell_living(swarm::TaskWithdrawn{job.id});
    ++progress.cut_off;
  }
  jobs.clear();
  index_of.clear();
  requests.clear();
  endings.clear();
  waiting.clear();
  placed.clear();
  embedding = working = 0;
  progress.in_flight = 0;
  return log.final({}, saves());
}

std::vector<std::pair<swarm::NodeId, std::string>> Colony::State::saves() {
  std::vector<std::pair<swarm::NodeId, std::string>> list;
  const bool last = jobs.empty();
  for (swarm::NodeId id = 0; id < nodes.size(); ++id) {
    const bool due = deposits_unsaved[id] >= kSaveEvery || (last && deposits_unsaved[id] > 0);
    if (!nodes[id] || !due) continue;
    list.emplace_back(id, nodes[id]->save());
    deposits_unsaved[id] = 0;
  }
  return list;
}

Result<std::vector<FinalRow>> Colony::State::step() {
  look_at_clock();
  look_at_files();
  // Scripts that were recruited at the end of the last step have answered already.
  if (options.deadline && clock.now() >= *options.deadline) {
    RETURN_IF_ERROR(stop());
    return std::vector<FinalRow>();
  }
  submit_places();
  announce_placed();
  if (!engine.idle()) {
    for (auto& output : engine.step()) take_output(output);
  }
  ++now.step;
  std::vector<FinalRow> rows;
  // A task ends once a step, so the order is whole.
  std::sort(endings.begin(), endings.end(),
            [](const Ending& a, const Ending& b) { return a.index < b.index; });
  std::vector<Ending> ended = std::move(endings);
  endings.clear();
  for (auto& ending : ended) conclude(ending, rows);
  progress.in_flight = working;
  if (!rows.empty()) RETURN_IF_ERROR(log.final(rows, saves()));
  return rows;
}

Colony::Colony() = default;
Colony::~Colony() = default;

Result<std::unique_ptr<Colony>> Colony::create(
    const ColonyOptions& options, engine::Engine& engine, AgentDirectory& agents, RunLog& log,
    const Clock& clock, const std::vector<std::pair<swarm::NodeId, std::string>>& saved) {
  if (options.nodes < 1 || options.nodes > 1024) {
    return invalid("nodes: found {}, expected 1 to 1024", options.nodes);
  }
  if (options.in_flight < 1) return invalid("in flight: found {}, expected 1 or more", options.in_flight);
  ASSIGN_OR_RETURN(Placer placer, Placer::create(engine, options.home));
  std::unique_ptr<Colony> colony(new Colony());
  colony->state_ = std::make_unique<State>(options, engine, agents, log, clock, std::move(placer));
  State& state = *colony->state_;
  state.now_unix_ms = clock.unix_ms();
  state.look_at_clock();
  for (int id = 0; id < options.nodes; ++id) {
    state.nodes.push_back(
        std::make_unique<swarm::Node>(state.node_options(static_cast<swarm::NodeId>(id))));
  }
  state.deposits_unsaved.assign(state.nodes.size(), 0);
  state.starts.assign(state.nodes.size(), 1);
  for (const auto& [id, bytes] : saved) {
    if (id >= state.nodes.size()) continue;  // of a run with more nodes
    if (const auto loaded = state.nodes[id]->load(bytes); !loaded) {
      log_warn("what node {} learned earlier is not used: {}", id, loaded.error().message);
    }
    state.now.task_time = std::max(state.now.task_time, state.nodes[id]->latest_deposit());
  }
  state.introduce();
  state.problems_told = agents.problems();
  state.take_agents();
  state.news.clear();  // refused() has it
  if (state.hosted.empty()) {
    std::string why;
    for (const auto& [name, reason] : state.refused) why += (why.empty() ? ": " : "; ") + name + ": " + reason;
    return invalid("no agent can be hosted{}", why);
  }
  return colony;
}

void Colony::add(int64_t index, data::TaskLine task, std::shared_ptr<const data::Check> check) {
  State& state = *state_;
  State::Job job;
  job.index = index;
  job.task = std::move(task);
  job.check = std::move(check);
  job.id = task_id_of(index);
  CHECK(!state.jobs.contains(index), "an index is added once");
  state.index_of.emplace(job.id, index);
  state.jobs.emplace(index, std::move(job));
  state.waiting.push_back(index);
  ++state.progress.total;
}

Result<std::vector<FinalRow>> Colony::step() { return state_->step(); }
Status Colony::stop() { return state_->stop(); }
bool Colony::done() const { return state_->jobs.empty(); }
const ColonyProgress& Colony::progress() const { return state_->progress; }
const std::vector<std::pair<std::string, std::string>>& Colony::refused() const {
  return state_->refused;
}
size_t Colony::hosted() const { return state_->hosted.size(); }
std::vector<std::string> Colony::news() { return std::exchange(state_->news, {}); }

const swarm::Node& Colony::node(swarm::NodeId id) const {
  CHECK(id < state_->nodes.size() && state_->nodes[id], "the node lives");
  return *state_->nodes[id];
}

Status Colony::kill_node(swarm::NodeId node) {
  State& state = *state_;
  if (node >= state.nodes.size() || !state.nodes[node]) return invalid("node {} does not live", node);
  const auto living = std::count_if(state.nodes.begin(), state.nodes.end(),
                                    [](const auto& one) { return one != nullptr; });
  if (living == 1) return invalid("node {} is the last living one", node);
  state.nodes[node].reset();
  state.deposits_unsaved[node] = 0;
  for (auto& [index, job] : state.jobs) {
    if (job.stage != State::Stage::kWorking) continue;
    const auto at = state.hosted.find(job.agent);
    if (job.asker == node) job.votes.clear();
    const bool worked_there = at != state.hosted.end() && at->second.host == node;
    if (job.asker == node || worked_there) {
      if (job.spec) {
        State::Ending ending(index, state.clock.now());
        ending.error = fmt::format("node {} died", node);
        state.note_attempt(job, ending);
      }
      state.restart(job);
    }
  }
  return {};
}

Status Colony::revive_node(swarm::NodeId node, const std::string& saved) {
  State& state = *state_;
  if (node >= state.nodes.size()) return invalid("there is no node {}", node);
  if (state.nodes[node]) return invalid("node {} lives", node);
  ++state.starts[node];
  auto fresh = std::make_unique<swarm::Node>(state.node_options(node));
  Status loaded;
  if (!saved.empty()) loaded = fresh->load(saved);
  state.nodes[node] = std::move(fresh);
  state.introduce();
  for (auto& [id, entry] : state.hosted) {
    if (entry.home != node) continue;
    if (entry.host != node) state.tell(entry.host, swarm::AgentRetired{id});
    entry.host = node;
    state.tell(node, state.birth(id, entry));
  }
  return loaded;
}

}  // namespace colony::agent
