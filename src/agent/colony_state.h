// What a colony holds and does inside: private to colony*.cc.
#pragma once
#include <deque>
#include <map>
#include <set>

#include "agent/agent_run.h"
#include "agent/colony.h"
#include "agent/place.h"

namespace colony::agent {

struct Colony::State {
  enum class Stage : uint8_t { kWaiting, kEmbedding, kPlaced, kWorking };

  struct Vote {
    swarm::AgentId agent = 0;
    std::shared_ptr<const AgentSpec> spec;
    std::string answer, raw;
    const char* by = "model";
    engine::FinishReason finish = engine::FinishReason::kStop;
    uint64_t prompt_tokens = 0, completion_tokens = 0;
    double ms = 0;  // of its work
  };

  // Whose fault it is that there is no answer.
  enum class Fault : uint8_t {
    kNone,    // the budget's, a dead node's
    kAgent,
    kShared,  // the task's, unless another agent answers it
    kTask,
    kCut,     // the run's deadline passed: nothing ended
  };
  struct Attempt {
    swarm::AgentId agent = 0;
    Fault fault = Fault::kNone;
    AttemptRow row;
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
    std::set<swarm::AgentId> excluded;  // they failed
    std::vector<Attempt> attempts;
    std::vector<DepositRow> deposits;
    uint64_t prompt_tokens = 0, completion_tokens = 0;  // of attempts that failed
    // Of a quorum: answers so far, and how it ended.
    std::vector<Vote> votes;
    std::optional<swarm::Ended> ended;

    // The kind's pins, of a home's user or of agents that serve it; none when they could not answer.
    std::vector<swarm::AgentId> only;
    std::set<swarm::AgentId> silent;  // pinned agents that did not bid

    bool may_bid(swarm::AgentId who) const {
      return !excluded.contains(who) && std::none_of(votes.begin(), votes.end(), [&](const Vote& v) { return v.agent == who; });
    }
  };

  // One agent at its node.
  struct Hosted {
    ReadyAgent agent;
    swarm::NodeId home = 0;  // where it belongs
    swarm::NodeId host = 0;  // where it is; another one while its home is dead
    // What a node is told of it.
    std::vector<swarm::GateItem> tested = {};
    bool own_test = false;
    std::vector<swarm::Place> about = {};
  };

  // The end of a round: an answer, or why there is none.
  struct Ending {
    Ending(int64_t of, std::chrono::nanoseconds now) : index(of), at(now) {}
    int64_t index;
    std::chrono::nanoseconds at;
    std::optional<std::string> answer;
    std::string error;
    Fault fault = Fault::kNone;
    std::string raw;  // what the model wrote, before after()
    const char* by = "model";
    engine::FinishReason finish = engine::FinishReason::kError;  // of the answer, or of what there is none of
    uint64_t prompt_tokens = 0, completion_tokens = 0;
  };

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
  std::vector<std::string> news;

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

  // ---- nodes and messages (in colony_nodes.cc) ----
  swarm::NodeOptions node_options(swarm::NodeId id) const;
  // The living node at or behind `id`.
  swarm::NodeId living_from(uint64_t id) const;
  void tell(swarm::NodeId id, const swarm::Event& event);
  void count_gossip(swarm::NodeId from, const swarm::Send& send);
  void introduce();
  void tell_living(const swarm::Event& event);
  // Delivers until nothing is under way. In the process nothing is lost and nothing waits, so all
  // answers are in when the bus is empty.
  void pump();
  // Under the agents' names of now: they may be gone when the row is written.
  std::vector<BidRow> bid_rows(const std::vector<swarm::Bid>& bids) const;
  Job* find(swarm::TaskId id);

  // ---- agents (in colony_nodes.cc) ----
  void host(Hosted entry, swarm::NodeId at);
  swarm::AgentBorn birth(swarm::AgentId id, const Hosted& entry) const;
  // Who alone may answer tasks of this kind, ascending; empty: everybody.
  std::vector<swarm::AgentId> pinned(const std::string& kind) const;
  // Where what an agent says of itself lies. The engine must be idle; else, and where a text has no place, it is less.
  std::vector<swarm::Place> places_about(const AgentSpec& agent);
  // Brings `hosted` in line with the directory.
  void take_agents();
  void look_at_clock() { now.ms = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(clock.now()).count()); }
  void look_at_files();
  // Agents whose node is dead go to living ones. True when there was one.
  bool adopt_orphans();

  // ---- the way of a task (in colony_tasks.cc) ----
  void submit_places();
  void end_without_agent(Job& job, std::string error, Fault fault);
  void announce_placed();
  void nobody_bid(Job& job);
  void start_work(const swarm::Work& work);
  // Back to the announcement, in a new round; what was under way is dropped.
  void restart(Job& job);
  void take_output(engine::Output& output);

  // ---- the end of a step (in colony_endings.cc) ----
  // What an agent's answer was worth, and what it cost; without a score what it cost alone.
  void deposit(Job& job, swarm::AgentId agent, std::optional<double> score, uint64_t tokens, double ms, bool final);
  void note_attempt(Job& job, const Ending& ending);
  // The agent failed: true when another shall try.
  bool give_way(Job& job, Ending& ending);
  FinalRow final_row(Job& job, Ending& ending, std::optional<double> success, std::string error);
  // The answer is a vote: true when more of them are to come. When they have decided, `ending` is
  // what they decided, over all that was spent.
  bool recruit(Job& job, Ending& ending);
  void take_verdict(Job& job, Ending& ending);
  // What was said, dissent included.
  Json quorum_row(const Job& job) const;
  // One ending: a deposit, and a final row unless another agent shall try or vote.
  void conclude(Ending& ending, std::vector<FinalRow>& rows);
  static double work_ms(const Job& job, const Ending& ending) { return std::chrono::duration<double, std::milli>(ending.at - job.began).count(); }
  void forget(Job& job);

  // ---- a step (in colony.cc) ----
  // What is not final is dropped, and what the nodes learned is written down.
  Status stop();
  std::vector<std::pair<swarm::NodeId, std::string>> saves();
  Result<std::vector<FinalRow>> step();
};

}  // namespace colony::agent
