#include "agent/colony.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <set>

#include "agent/agent_run.h"
#include "agent/place.h"
#include "agent/tested.h"
#include "base/check.h"
#include "base/log.h"
#include "base/rng.h"

namespace colony::agent {
namespace {

constexpr int kEmbedAhead = 8;        // places computed before they are needed
constexpr uint64_t kRefreshEvery = 64;  // steps between two looks at the agents' files
constexpr uint64_t kSaveEvery = 16;   // deposits of a node between two saves
constexpr uint32_t kRoundsMax = 16;   // announcements of one task, restarts included

enum class Stage : uint8_t { kWaiting, kEmbedding, kPlaced, kWorking };

struct Vote {
  swarm::AgentId agent = 0;
  std::shared_ptr<const AgentSpec> spec;
  std::string answer;
  const char* by = "model";
  uint64_t prompt_tokens = 0, completion_tokens = 0;
  double ms = 0;  // of its work
};

struct Job {
  int64_t index = 0;
  data::TaskLine task;
  std::shared_ptr<const data::Check> check;
  swarm::TaskId id = 0;
  Stage stage = Stage::kWaiting;
  swarm::Place place{};
  swarm::NodeId asker = 0;
  uint32_t round = 0;
  std::optional<std::chrono::nanoseconds> started;  // first announcement
  // Of the current round.
  std::chrono::nanoseconds began{0};  // the agent's work
  std::optional<engine::RequestId> request;
  swarm::AgentId agent = 0;
  std::shared_ptr<const AgentSpec> spec;
  std::vector<BidRow> bids;
  std::string reason;
  // Of an earlier round.
  std::set<swarm::AgentId> excluded;
  std::string failure;
  // Of a quorum: answers so far, and how it ended.
  std::vector<Vote> votes;
  std::optional<swarm::Ended> ended;

  bool may_bid(swarm::AgentId who) const {
    return !excluded.contains(who) && std::none_of(votes.begin(), votes.end(), [&](const Vote& v) { return v.agent == who; });
  }
};

// One agent at its node.
struct Hosted {
  ReadyAgent agent;
  swarm::NodeId home = 0;  // where it belongs
  swarm::NodeId host = 0;  // where it is; another one while its home is dead
  std::vector<swarm::GateItem> tested = {};  // what a node that does not know it is told of it
};

// The end of a round: an answer, or why there is none.
struct Ending {
  Ending(int64_t of, std::chrono::nanoseconds now) : index(of), at(now) {}
  int64_t index;
  std::chrono::nanoseconds at;
  std::optional<std::string> answer;
  std::string error;
  bool agent_failed = false;  // the agent's own fault: another may try
  const char* by = "model";
  uint64_t prompt_tokens = 0, completion_tokens = 0;
};

// Independent of run and seed, so that the same seed gives the same draws; never 0.
swarm::TaskId task_id_of(int64_t index) {
  const auto number = static_cast<uint64_t>(index);
  const uint64_t hash = fnv1a(reinterpret_cast<const char*>(&number), sizeof number);
  return hash == 0 ? 1 : hash;
}

}  // namespace

struct Colony::State {
  ColonyOptions options;
  engine::Engine& engine;
  AgentDirectory& directory;
  RunLog& log;
  const Clock& clock;
  Placer placer;
  int64_t now_unix_ms = 0;

  std::vector<std::unique_ptr<swarm::Node>> nodes;  // null: dead
  std::vector<uint64_t> deposits_unsaved;           // by node
  std::vector<uint32_t> starts;                     // by node: how often it was started
  std::map<swarm::AgentId, Hosted> hosted;
  std::vector<std::pair<std::string, std::string>> refused, problems_told;

  std::map<int64_t, Job> jobs;                      // everything not final, by index
  std::deque<int64_t> waiting;
  std::set<int64_t> placed;
  std::map<engine::RequestId, int64_t> requests;
  std::map<swarm::TaskId, int64_t> index_of;
  int embedding = 0, working = 0;

  std::deque<std::pair<swarm::NodeId, swarm::Message>> bus;
  std::vector<Ending> endings;                      // of this step
  swarm::Now now;
  ColonyProgress progress;

  State(const ColonyOptions& o, engine::Engine& e, AgentDirectory& d, RunLog& l, const Clock& c,
        Placer p)
      : options(o), engine(e), directory(d), log(l), clock(c), placer(std::move(p)) {}

  // ---- nodes and messages ----

  swarm::NodeOptions node_options(swarm::NodeId id) const {
    swarm::NodeOptions rules = options.rules;
    rules.id = id;
    rules.seed = options.seed;
    if (id < starts.size()) rules.incarnation = starts[id];
    return rules;
  }

  // The living node at or behind `id`.
  swarm::NodeId living_from(uint64_t id) const {
    for (uint64_t i = 0; i < nodes.size(); ++i) {
      const uint64_t at = (id + i) % nodes.size();
      if (nodes[at]) return static_cast<swarm::NodeId>(at);
    }
    CHECK(false, "no node lives");
    return 0;
  }

  void tell(swarm::NodeId id, const swarm::Event& event) {
    if (!nodes[id]) return;
    for (auto& effect : nodes[id]->step(event, now)) {
      if (auto* send = std::get_if<swarm::Send>(&effect)) {
        if (send->to) {
          bus.emplace_back(*send->to, send->message);
        } else {
          for (swarm::NodeId to = 0; to < nodes.size(); ++to) {
            if (nodes[to]) bus.emplace_back(to, send->message);
          }
        }
      } else if (auto* explain = std::get_if<swarm::Explain>(&effect)) {
        if (Job* job = find(explain->task)) {
          job->bids = bid_rows(explain->bids);
          job->reason = std::move(explain->reason);
          if (explain->winner == 0) nobody_bid(*job);
        }
      } else if (const auto* work = std::get_if<swarm::Work>(&effect)) {
        start_work(*work);
      } else if (auto* ended = std::get_if<swarm::Ended>(&effect)) {
        if (Job* job = find(ended->task); job != nullptr && !job->votes.empty()) job->ended = std::move(*ended);
      } else if (std::holds_alternative<swarm::Deposited>(effect)) {
        ++deposits_unsaved[id];
        if (options.metrics != nullptr) options.metrics->get(metric::kDeposits).add(1);
      }
    }
  }
  void introduce() {
    for (swarm::NodeId id = 0; id < nodes.size(); ++id) tell_living(swarm::PeerJoined{id});
  }
  void tell_living(const swarm::Event& event) {
    for (swarm::NodeId id = 0; id < nodes.size(); ++id) tell(id, event);
  }

  // Delivers until nothing is under way. In the process nothing is lost and nothing waits, so all
  // answers are in when the bus is empty.
  void pump() {
    while (!bus.empty()) {
      auto [to, message] = std::move(bus.front());
      bus.pop_front();
      const bool gossip = std::holds_alternative<swarm::Digest>(message) || std::holds_alternative<swarm::Delta>(message);
      if (gossip && options.metrics != nullptr) options.metrics->get(metric::kGossip).add(1);
      if (const auto* bid = std::get_if<swarm::Bid>(&message)) {
        const Job* job = find(bid->task);
        if (job == nullptr || !job->may_bid(bid->agent)) continue;
      }
      tell(to, swarm::Received{message});
    }
  }

  // Under the agents' names of now: they may be gone when the row is written.
  std::vector<BidRow> bid_rows(const std::vector<swarm::Bid>& bids) const {
    double best = 0;
    size_t ties = 0;
    for (const auto& bid : bids) {
      if (ties == 0 || bid.index > best) best = bid.index, ties = 0;
      ties += bid.index == best;
    }
    std::vector<BidRow> rows;
    for (const auto& bid : bids) {
      const auto at = hosted.find(bid.agent);
      rows.push_back({at == hosted.end() ? "" : at->second.agent.spec->name, bid.index,
                      bid.index == best ? 1.0 / static_cast<double>(ties) : 0, std::round(static_cast<double>(bid.tokens))});
    }
    return rows;
  }

  Job* find(swarm::TaskId id) {
    const auto at = index_of.find(id);
    return at == index_of.end() ? nullptr : &jobs.at(at->second);
  }

  // ---- agents ----

  void host(Hosted entry, swarm::NodeId at) {
    const swarm::AgentId id = entry.agent.spec->id();
    entry.host = at;
    tell(at, swarm::AgentBorn{id, entry.agent.spec->name, entry.tested});
    hosted.insert_or_assign(id, std::move(entry));
  }

  // Whether what an agent calls its model is the engine's, by name or as the same file or folder.
  bool is_ours(const std::string& model) const {
    if (model.empty() || model == engine.snapshot().name) return true;
    if (!options.find_model) return false;
    const auto found = options.find_model(model);
    std::error_code code;
    return found && std::filesystem::equivalent(*found, engine.snapshot().path, code);
  }

  // Brings `hosted` in line with the directory.
  void take_agents() {
    std::map<swarm::AgentId, std::shared_ptr<const AgentSpec>> wanted;
    refused.clear();
    for (const auto& spec : directory.agents()) {
      if (!is_ours(spec->model)) {
        refused.emplace_back(spec->name, "wants model " + spec->model + ", the colony has " + engine.snapshot().name);
      } else {
        wanted.emplace(spec->id(), spec);
      }
    }
    for (auto at = hosted.begin(); at != hosted.end();) {
      if (wanted.contains(at->first)) {
        ++at;
        continue;
      }
      tell(at->second.host, swarm::AgentRetired{at->first});
      if (at->second.agent.adapter) engine.adapters().remove(at->second.agent.adapter->name);
      at = hosted.erase(at);
    }
    for (const auto& spec : directory.agents()) {  // by name: the order of births is the same
      if (!wanted.contains(spec->id()) || hosted.contains(spec->id())) continue;
      auto ready = make_ready(spec, &engine.adapters());
      if (!ready) {
        refused.emplace_back(spec->name, ready.error().message);
        continue;
      }
      const auto home = static_cast<swarm::NodeId>(fnv1a(spec->name.data(), spec->name.size()) %
                                                   nodes.size());
      auto tested = options.tested ? read_tested(*spec, engine.snapshot().model->content_hash()) : std::vector<swarm::GateItem>();
      if (!tested) {
        log_warn("agent {}: {}", spec->name, tested.error().message);
        tested = std::vector<swarm::GateItem>();
      }
      host({std::move(*ready), home, home, std::move(*tested)}, living_from(home));
    }
    for (const auto& [name, reason] : refused) log_warn("agent {} is not hosted: {}", name, reason);
  }

  void look_at_clock() { now.ms = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(clock.now()).count()); }

  void look_at_files() {
    if (now.step % kRefreshEvery != 0 || !directory.refresh()) return;
    if (directory.problems() != problems_told) {
      problems_told = directory.problems();
      for (const auto& [path, reason] : problems_told) {
        log_warn("agent {}: {}; the last good version stays", path, reason);
      }
    }
    take_agents();
  }

  // Agents whose node is dead go to living ones. True when there was one.
  bool adopt_orphans() {
    std::vector<swarm::AgentId> orphans;
    for (const auto& [id, entry] : hosted) {
      if (!nodes[entry.host]) orphans.push_back(id);
    }
    for (const auto id : orphans) {
      Hosted entry = hosted.at(id);
      host(std::move(entry), living_from(id));
    }
    return !orphans.empty();
  }

  // ---- the way of a task ----

  void submit_places() {
    while (!waiting.empty() && embedding + static_cast<int>(placed.size()) < kEmbedAhead) {
      Job& job = jobs.at(waiting.front());
      waiting.pop_front();
      auto request = Placer::request(engine.snapshot(), data::task_text(job.task));
      if (request) {
        request->task_id = job.id;
        request->budget = options.budget;
        request->deadline = options.deadline;
        auto id = engine.submit(std::move(*request));
        if (id) {
          job.stage = Stage::kEmbedding;
          job.request = *id;
          requests.emplace(*id, job.index);
          ++embedding;
          continue;
        }
        end_without_agent(job, std::move(id).error().message);
      } else {
        end_without_agent(job, std::move(request).error().message);
      }
    }
  }

  void end_without_agent(Job& job, std::string error) {
    Ending ending(job.index, clock.now());
    ending.error = std::move(error);
    endings.push_back(std::move(ending));
  }

  void announce_placed() {
    // What ended in this step still counts: its outcome is not deposited yet.
    while (!placed.empty() && working < options.in_flight) {
      Job& job = jobs.at(*placed.begin());
      placed.erase(placed.begin());
      job.stage = Stage::kWorking;
      ++working;
      if (!job.started) job.started = clock.now();
      const swarm::NodeId asker = living_from(static_cast<uint64_t>(job.index));
      if (asker != job.asker) job.votes.clear();  // they were counted there
      job.asker = asker;
      job.bids.clear();
      job.reason.clear();
      ++now.task_time;
      const swarm::TaskId id = job.id;
      const uint64_t tokens = options.budget ? options.budget->left() : Budget::kUnlimited;
      tell(job.asker, swarm::TaskEntered{id, job.place, tokens, job.round});
      pump();
      tell(job.asker, swarm::BidsClosed{id});
      pump();
      if (job.ended && !job.request && !job.spec) {  // nobody is left to ask: the votes decide
        Ending ending(job.index, clock.now());
        take_verdict(job, ending);
        endings.push_back(std::move(ending));
      }
    }
  }

  void nobody_bid(Job& job) {
    if (job.round < kRoundsMax && adopt_orphans()) {
      restart(job);
      return;
    }
    Ending ending(job.index, clock.now());
    ending.error = job.failure.empty() ? "no agent bid for this task" : job.failure;
    endings.push_back(std::move(ending));
  }

  void start_work(const swarm::Work& work) {
    Job* job = find(work.task);
    const auto at = hosted.find(work.agent);
    if (job == nullptr || job->stage != Stage::kWorking || job->request || job->spec) return;
    if (at == hosted.end()) {
      nobody_bid(*job);
      return;
    }
    job->agent = work.agent;
    job->spec = at->second.agent.spec;
    job->began = clock.now();
    RunContext context;
    context.raw = options.raw;
    context.max_tokens = options.max_tokens;
    context.seed = options.seed;
    context.task_id = job->id;
    context.now_unix_ms = now_unix_ms;
    context.deadline = options.deadline;
    context.now = clock.now();
    context.budget = options.budget;
    context.adapter = options.adapter;
    Ending ending(job->index, clock.now());
    auto prepared = prepare(at->second.agent, job->task, engine.snapshot(), context);
    if (prepared && prepared->request) {
      auto id = engine.submit(std::move(*prepared->request));
      if (id) {
        job->request = *id;
        requests.emplace(*id, job->index);
        return;
      }
      ending.error = std::move(id).error().message;
      ending.agent_failed = true;
    } else if (prepared) {
      ending.answer = std::move(prepared->answer);
      ending.by = "script";
      ending.at = clock.now();
    } else {
      ending.error = std::move(prepared).error().message;
      ending.agent_failed = true;
    }
    endings.push_back(std::move(ending));
  }

  // Back to the announcement, in a new round; what was under way is dropped.
  void restart(Job& job) {
    if (job.request) {
      engine.cancel(*job.request);
      requests.erase(*job.request);
      job.request.reset();
    }
    std::erase_if(endings, [&](const Ending& ending) { return ending.index == job.index; });
    tell_living(swarm::TaskWithdrawn{job.id});
    job.spec.reset();
    job.agent = 0;
    ++job.round;
    if (job.stage == Stage::kWorking) --working;
    job.stage = Stage::kPlaced;
    placed.insert(job.index);
  }

  void take_output(engine::Output& output) {
    const auto at = requests.find(output.id);
    if (at == requests.end()) return;  // dropped by a restart
    Job& job = jobs.at(at->second);
    requests.erase(at);
    job.request.reset();
    // What never started has cost nothing.
    const uint64_t prompt_tokens = output.first_step > 0 ? output.prompt_ids.size() : 0;
    progress.tokens += prompt_tokens + output.ids.size();
    if (job.stage == Stage::kEmbedding) {
      --embedding;
      job.stage = Stage::kPlaced;
      if (output.error) {
        end_without_agent(job, std::move(output.error->message));
        return;
      }
      auto place = placer.place(output.values);
      if (!place) {
        end_without_agent(job, std::move(place).error().message);
        return;
      }
      job.place = *place;
      placed.insert(job.index);
      return;
    }
    Ending ending(job.index, clock.now());
    ending.prompt_tokens = prompt_tokens;
    ending.completion_tokens = output.ids.size();
    if (output.error) {
      // Deadlines, budgets and cancelling are nobody's fault.
      ending.error = std::move(output.error->message);
      ending.agent_failed = output.error->code == ErrorCode::kInvalid ||
                            output.error->code == ErrorCode::kCorrupt;
    } else {
      auto answer = finish_answer(*job.spec, job.task, std::move(output.text));
      if (answer) {
        ending.answer = std::move(*answer);
      } else {
        ending.error = std::move(answer).error().message;
        ending.agent_failed = true;
      }
    }
    endings.push_back(std::move(ending));
  }

  // ---- the end of a step ----

  // What an agent's answer was worth, and what it cost; without a score what it cost alone.
  void deposit(const Job& job, swarm::AgentId agent, std::optional<double> score, uint64_t tokens, double ms, bool final) {
    if (!hosted.contains(agent)) {  // retired meanwhile: its trail is gone
      tell_living(swarm::TaskWithdrawn{job.id});
      return;
    }
    tell(job.asker, swarm::Checked{job.id, agent, score.value_or(0), tokens, final, ms, score.has_value()});
    pump();
  }

  FinalRow final_row(Job& job, Ending& ending, std::optional<double> success, std::string error) {
    FinalRow row;
    row.index = job.index;
    row.task = job.id;
    row.id = job.task.id;
    row.kind = job.task.kind;
    if (job.spec) {
      row.agent = job.spec->name;
      row.generation = job.spec->generation;
    }
    row.reason = job.reason;
    row.by = ending.by;
    row.success = success;
    row.failed = !ending.answer;
    row.prompt_tokens = ending.prompt_tokens;
    row.completion_tokens = ending.completion_tokens;
    if (job.started) {
      row.ms = std::chrono::duration<double, std::milli>(ending.at - *job.started).count();
    }
    row.place = job.place;
    row.bids = job.bids;
    Json bids = Json::array();
    for (const auto& bid : row.bids) {
      bids.push_back(Json{{"agent", bid.agent}, {"bid", bid.bid}, {"p", bid.p}, {"tokens", bid.tokens}});
    }
    row.line = Json{{"id", row.id}, {"kind", row.kind}, {"agent", row.agent},
                    {"generation", row.generation}};
    row.line["answer"] = ending.answer ? Json(*ending.answer) : Json();
    row.line["success"] = success ? Json(*success) : Json();
    row.line["prompt_tokens"] = row.prompt_tokens;
    row.line["completion_tokens"] = row.completion_tokens;
    row.line["ms"] = row.ms;
    row.line["bids"] = std::move(bids);
    row.line["reason"] = row.reason;
    row.line["by"] = row.by;
    if (!error.empty()) row.line["error"] = std::move(error);
    const Json unknown = data::unknown_fields(job.task);
    for (const auto& [key, value] : unknown.items()) {
      if (key != "error" && !row.line.contains(key)) row.line[key] = value;  // ours are ours
    }
    return row;
  }

  // The answer is a vote: true when more of them are to come. When they have decided, `ending` is
  // what they decided, over all that was spent.
  bool recruit(Job& job, Ending& ending) {
    const bool failed = !ending.answer;
    if (failed && (ending.agent_failed || job.votes.empty())) return false;
    uint64_t said = 0;
    if (!failed) {
      std::string_view text = *ending.answer;
      const auto space = " \t\r\n";
      text.remove_prefix(std::min(text.find_first_not_of(space), text.size()));
      text = text.substr(0, text.find_last_not_of(space) + 1);
      said = std::max<uint64_t>(1, fnv1a(text.data(), text.size()));
      job.votes.push_back({job.agent, job.spec, *ending.answer, ending.by, ending.prompt_tokens, ending.completion_tokens, work_ms(job, ending)});
      if (options.metrics != nullptr) options.metrics->get(metric::kQuorumVotes).add(1);
    }
    const swarm::AgentId agent = job.agent;
    job.spec.reset();
    job.agent = 0;
    // What nobody is to blame for (budget, deadline) ends the voting.
    tell(job.asker, swarm::Voted{job.id, agent, said, ending.prompt_tokens + ending.completion_tokens, failed});
    pump();
    if (!job.ended) {
      CHECK(!failed, "a last vote ends the task");
      // The next one's node died or gave it away since it bid: it is announced anew, voters left out.
      if (!job.spec) restart(job);
      return true;
    }
    take_verdict(job, ending);
    return false;
  }

  void take_verdict(Job& job, Ending& ending) {
    const auto winner = std::find_if(job.votes.begin(), job.votes.end(), [&](const Vote& v) { return v.agent == job.ended->agent; });
    CHECK(winner != job.votes.end(), "the winner voted");
    job.agent = winner->agent;
    job.spec = winner->spec;
    ending.answer = winner->answer;
    ending.error.clear();
    ending.agent_failed = false;
    ending.by = winner->by;
    ending.prompt_tokens = ending.completion_tokens = 0;
    for (const Vote& vote : job.votes) {
      ending.prompt_tokens += vote.prompt_tokens;
      ending.completion_tokens += vote.completion_tokens;
    }
  }

  // What was said, dissent included.
  Json quorum_row(const Job& job) const {
    Json answers = Json::array();
    for (const Vote& vote : job.votes) answers.push_back({{"agent", vote.spec->name}, {"answer", vote.answer}});
    return {{"votes", job.ended->votes}, {"p", job.ended->probability}, {"undecided", job.ended->reason == "undecided"}, {"answers", std::move(answers)}};
  }

  // One ending: a deposit, and a final row unless another agent shall try or vote.
  void conclude(Ending& ending, std::vector<FinalRow>& rows) {
    Job& job = jobs.at(ending.index);
    if (options.rules.quorum && !job.ended && recruit(job, ending)) return;
    uint64_t tokens = ending.prompt_tokens + ending.completion_tokens;
    double ms = work_ms(job, ending);
    std::optional<double> success;
    std::string error = ending.error;
    if (ending.answer && job.check) {
      auto score = job.check->score(job.task, *ending.answer);
      if (score) {
        success = *score;
      } else {
        error = std::move(score).error().message;
      }
    }
    const bool blame = !ending.answer && ending.agent_failed && job.check != nullptr;
    const bool another = !ending.answer && ending.agent_failed && (job.failure.empty() || !job.votes.empty());
    for (const Vote& vote : job.votes) {
      const uint64_t spent = vote.prompt_tokens + vote.completion_tokens;
      if (job.ended && vote.agent == job.agent) {  // the ending has what all votes cost
        tokens = spent;
        ms = vote.ms;
        continue;
      }
      if (another) continue;  // the vote still stands
      std::optional<double> scored;
      if (success && job.ended) {
        if (const auto score = job.check->score(job.task, vote.answer)) scored = *score;
      }
      deposit(job, vote.agent, scored, spent, vote.ms, false);
    }
    if (success) {
      deposit(job, job.agent, *success, tokens, ms, true);
    } else if (blame) {
      deposit(job, job.agent, 0, tokens, ms, !another);
    } else if (job.agent != 0 && tokens > 0) {  // nothing checks it, or it was stopped
      deposit(job, job.agent, std::nullopt, tokens, ms, false);
    }
    if (another) {
      if (job.failure.empty()) job.failure = ending.error;
      job.excluded.insert(job.agent);
      restart(job);
      return;
    }
    if (!success && !blame) tell_living(swarm::TaskWithdrawn{job.id});
    rows.push_back(final_row(job, ending, success, std::move(error)));
    if (job.ended) rows.back().line["quorum"] = quorum_row(job);
    ++progress.final;
    progress.failed += rows.back().failed;
    if (success) {
      progress.score_sum += *success;
      ++progress.scored;
    }
    if (options.metrics != nullptr) options.metrics->get(metric::kTasksFinal).add(1);
    forget(job);
  }

  static double work_ms(const Job& job, const Ending& ending) { return std::chrono::duration<double, std::milli>(ending.at - job.began).count(); }

  void forget(Job& job) {
    if (job.stage == Stage::kWorking) --working;
    index_of.erase(job.id);
    jobs.erase(job.index);
  }

  // The run's deadline: what is not final ends now, with an error.
  void end_everything(const std::string& error) {
    for (auto& [index, job] : jobs) {
      if (job.request) {
        engine.cancel(*job.request);
        requests.erase(*job.request);
        job.request.reset();
      }
      end_without_agent(job, error);
    }
    waiting.clear();
    placed.clear();
    embedding = 0;
  }

  std::vector<std::pair<swarm::NodeId, std::string>> saves() {
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

  Result<std::vector<FinalRow>> step() {
    look_at_clock();
    look_at_files();
    // Scripts that were recruited at the end of the last step have answered already.
    if (options.deadline && clock.now() >= *options.deadline) {
      endings.clear();
      end_everything("the deadline of the run passed before this task had an answer");
    } else {
      submit_places();
      announce_placed();
      if (!engine.idle()) {
        for (auto& output : engine.step()) take_output(output);
      }
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
};

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
  for (const auto& [path, reason] : state.problems_told) log_warn("agent {}: {}", path, reason);
  state.take_agents();
  if (state.hosted.empty()) {
    return invalid("no agent can be hosted{}",
                   state.refused.empty() ? "" : ": " + state.refused[0].first + " " +
                                                    state.refused[0].second);
  }
  return colony;
}

void Colony::add(int64_t index, data::TaskLine task, std::shared_ptr<const data::Check> check) {
  State& state = *state_;
  Job job;
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
bool Colony::done() const { return state_->jobs.empty(); }
const ColonyProgress& Colony::progress() const { return state_->progress; }
const std::vector<std::pair<std::string, std::string>>& Colony::refused() const {
  return state_->refused;
}

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
    if (job.stage != Stage::kWorking) continue;
    const auto at = state.hosted.find(job.agent);
    if (job.asker == node) job.votes.clear();
    if (job.asker == node || (at != state.hosted.end() && at->second.host == node)) {
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
    state.tell(node, swarm::AgentBorn{id, entry.agent.spec->name, entry.tested});
  }
  return loaded;
}

}  // namespace colony::agent
