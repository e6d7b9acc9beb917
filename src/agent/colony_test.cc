// The whole loop over a tiny real engine: agents by script and by a random model, one node and four.
#include "agent/colony.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "agent/tested.h"
#include "agent/tiny_colony_test.h"
#include "engine/adapters.h"
#include "swarm/places_test.h"

namespace colony::agent {
namespace {

namespace fs = std::filesystem;

// Keeps all, refuses what the contract forbids.
class MemoryLog final : public RunLog {
 public:
  Status final(const std::vector<FinalRow>& step_rows,
               const std::vector<std::pair<swarm::NodeId, std::string>>& nodes) override {
    if (fail) return unavailable("disk full");
    int64_t last = -1;
    for (const auto& row : step_rows) {
      CHECK(row.index > last, "rows of a step come in task order");
      last = row.index;
      if (!rows.emplace(row.index, row).second) return invalid("task {} is final twice", row.index);
    }
    for (const auto& [id, bytes] : nodes) saved[id] = bytes, ++save_count;
    return {};
  }
  std::vector<std::pair<swarm::NodeId, std::string>> saves() const { return {saved.begin(), saved.end()}; }

  std::map<int64_t, FinalRow> rows;
  std::map<swarm::NodeId, std::string> saved;
  int save_count = 0;
  bool fail = false;
};

constexpr char kUpper[] = "function before(task) return {answer = task.prompt:upper()} end";
constexpr char kReverse[] = "function before(task) return {answer = task.prompt:reverse()} end";
constexpr char kBroken[] = "function before(task) error('broken on purpose') end";

class ColonyTest : public ::testing::Test {
 protected:
  ColonyTest() : agents_(tiny_.folder.path() / "agents") {
    options_.in_flight = 6;
    options_.max_tokens = 5;
  }
  // The checks live as long as the test.
  std::shared_ptr<const data::Check> exact() {
    auto check = data::Check::make("exact", "", nullptr);
    CHECK(check.has_value(), "exact");
    return *check;
  }
  std::unique_ptr<Colony> make(RunLog& log,
                               const std::vector<std::pair<swarm::NodeId, std::string>>& saved = {}) {
    auto directory = AgentDirectory::open(agents_);
    CHECK(directory.has_value(), directory ? "" : directory.error().message);
    directory_ = std::make_unique<AgentDirectory>(std::move(*directory));
    auto colony = Colony::create(options_, *tiny_.engine, *directory_, log, tiny_.clock, saved);
    CHECK(colony.has_value(), colony ? "" : colony.error().message);
    return std::move(*colony);
  }
  // Words in turn to be put in capitals and to be reversed; `scored`: whether they have a check.
  void add_tasks(Colony& colony, int64_t count, bool scored = true) {
    RngStream rng(5, 6, 7, 99);
    for (int64_t i = 0; i < count; ++i) {
      std::string word;
      for (int k = 0; k < 6; ++k) word += static_cast<char>('a' + rng.below(26));
      data::TaskLine task;
      task.line = i + 1;
      task.id = "task-" + std::to_string(i);
      task.kind = i % 2 == 0 ? "upper" : "reverse";
      task.prompt = word;
      std::string answer = word;
      if (i % 2 == 0) {
        for (char& c : answer) c = static_cast<char>(c - 'a' + 'A');
      } else {
        std::reverse(answer.begin(), answer.end());
      }
      task.answer = answer;
      task.fields = Json{{"id", task.id}, {"prompt", word}, {"source", "test"}};
      colony.add(i, task, scored ? exact() : nullptr);
    }
  }
  // Steps until done.
  void finish(Colony& colony, int steps_max = 20000) {
    for (int step = 0; !colony.done(); ++step) {
      ASSERT_LT(step, steps_max) << "the colony does not get on";
      const auto rows = colony.step();
      ASSERT_TRUE(rows) << rows.error().message;
      ASSERT_LE(colony.progress().in_flight, options_.in_flight);
    }
  }
  // All but the time.
  static Json without_ms(const std::map<int64_t, FinalRow>& rows) {
    Json all = Json::array();
    for (const auto& [index, row] : rows) {
      Json line = row.line;
      line.erase("ms");
      for (auto& attempt : line["attempts"]) attempt.erase("ms");
      all.push_back(std::move(line));
    }
    return all;
  }
  static double deposits(const Colony& colony, int nodes) {
    double sum = 0;
    for (int id = 0; id < nodes; ++id) {
      for (const auto& trail : colony.node(static_cast<swarm::NodeId>(id)).trails()) sum += trail.n;
    }
    return sum;
  }

  TinyEngine tiny_;
  const fs::path agents_;
  ColonyOptions options_;
  std::unique_ptr<AgentDirectory> directory_;
};

TEST_F(ColonyTest, EveryTaskIsFinalOnceWithItsLine) {
  put_agent(agents_, "upper", kUpper);
  put_agent(agents_, "reverse", kReverse);
  put_agent(agents_, "model");
  Metrics metrics;
  options_.metrics = &metrics;
  MemoryLog log;
  auto colony = make(log);
  add_tasks(*colony, 60);
  finish(*colony);
  ASSERT_EQ(log.rows.size(), 60U);
  std::set<std::string> agents, by;
  double score = 0;
  for (const auto& [index, row] : log.rows) {
    EXPECT_EQ(row.id, "task-" + std::to_string(index));
    EXPECT_FALSE(row.failed);
    ASSERT_TRUE(row.success);
    score += *row.success;
    agents.insert(row.agent);
    by.insert(row.by);
    EXPECT_EQ(row.by, row.agent == "model" ? "model" : "script");
    EXPECT_EQ(row.completion_tokens > 0, row.agent == "model");
    EXPECT_EQ(row.bids.size(), 3U);
    double p = 0;
    for (const auto& bid : row.bids) p += bid.p;
    EXPECT_NEAR(p, 1, 1e-9);
    const Json& line = row.line;
    for (const char* key : {"id", "kind", "agent", "generation", "answer", "success", "prompt_tokens",
                            "completion_tokens", "ms", "bids", "reason", "by", "source"}) {
      EXPECT_TRUE(line.contains(key)) << key;
    }
    EXPECT_FALSE(line.contains("error"));
    EXPECT_NE(row.reason, "");
    double length = 0;
    for (const float v : row.place) length += static_cast<double>(v) * v;
    EXPECT_NEAR(length, 1, 1e-4);
  }
  EXPECT_EQ(agents, (std::set<std::string>{"model", "reverse", "upper"}));
  EXPECT_EQ(colony->progress().final, 60);
  EXPECT_EQ(colony->progress().failed, 0);
  EXPECT_EQ(colony->progress().scored, 60);
  EXPECT_EQ(colony->progress().score_sum, score);
  EXPECT_GT(score, 10);
  EXPECT_EQ(deposits(*colony, 1), 60);
  EXPECT_EQ(metrics.get(metric::kDeposits).value(), 60);
  EXPECT_EQ(metrics.get(metric::kTasksFinal).value(), 60);
}

TEST_F(ColonyTest, SameSeedSameRun) {
  put_agent(agents_, "upper", kUpper);
  put_agent(agents_, "reverse", kReverse);
  put_agent(agents_, "model");
  put_agent(agents_, "sampler", "", "[sampling]\ntemperature = 1.5\n");
  for (const int nodes : {1, 4}) {
    options_.nodes = nodes;
    Json lines[3];
    for (int i = 0; i < 3; ++i) {
      MemoryLog log;
      options_.seed = i < 2 ? 1 : 2;
      options_.run_id = static_cast<uint64_t>(i);
      auto colony = make(log);
      add_tasks(*colony, 50);
      finish(*colony);
      ASSERT_EQ(log.rows.size(), 50U);
      lines[i] = without_ms(log.rows);
    }
    EXPECT_EQ(lines[0], lines[1]) << nodes;
    EXPECT_NE(lines[0], lines[2]) << nodes << ": the seed changes nothing";
  }
}

TEST_F(ColonyTest, AFailingAgentGivesWayAndItsTrailLearnsIt) {
  put_agent(agents_, "broken", kBroken);
  put_agent(agents_, "upper", kUpper);
  for (const bool scored : {true, false}) {
    for (const int nodes : {1, 3}) {
      options_.nodes = nodes;
      MemoryLog log;
      auto colony = make(log);
      add_tasks(*colony, 60, scored);
      finish(*colony);
      ASSERT_EQ(log.rows.size(), 60U);
      double failures = 0, late = 0;
      for (const auto& [index, row] : log.rows) {
        EXPECT_EQ(row.agent, "upper");
        EXPECT_FALSE(row.failed);
        EXPECT_FALSE(row.line.contains("error"));
        ASSERT_GE(row.attempts.size(), 1U);
        ASSERT_LE(row.attempts.size(), 2U);
        ASSERT_EQ(row.line["attempts"].size(), row.attempts.size());
        EXPECT_EQ(row.line["attempts"].back()["agent"], "upper") << "the last one answered";
        EXPECT_FALSE(row.line["attempts"].back().contains("error"));
        EXPECT_GE(row.line["attempts"].back()["ms"].get<double>(), 0);
        EXPECT_EQ(row.line.contains("node"), nodes > 1);
        if (row.attempts.size() == 2) {
          EXPECT_EQ(row.attempts[0].agent, "broken");
          EXPECT_TRUE(row.attempts[0].blamed);
          EXPECT_NE(row.attempts[0].error.find("broken on purpose"), std::string::npos);
          EXPECT_EQ(row.line["attempts"][0]["error"], row.attempts[0].error);
          ++failures;
          late += index >= 30;
          ASSERT_EQ(row.deposits.size(), scored ? 2U : 1U);
          EXPECT_EQ(row.deposits[0].agent, "broken");
          EXPECT_EQ(row.deposits[0].score, 0);
        }
      }
      double broken = 0;
      for (int id = 0; id < nodes; ++id) {
        for (const auto& trail : colony->node(static_cast<swarm::NodeId>(id)).trails()) {
          if (trail.name == "broken") broken += trail.n;
        }
      }
      EXPECT_GT(failures, 0);
      EXPECT_EQ(broken, failures) << "each failure is a deposit, checked or not";
      EXPECT_EQ(deposits(*colony, nodes), failures + (scored ? 60 : 0));
      if (scored) {
        EXPECT_LT(late, 6) << "it is hardly asked any more";
      }
    }
  }
}

TEST_F(ColonyTest, ACutAnswerSaysSoAndHalfAConstrainedOneIsNone) {
  const auto row_of = [&](const std::string& name, const std::string& toml) {
    fs::remove_all(agents_);
    put_agent(agents_, name, "", toml);
    MemoryLog log;
    auto colony = make(log);
    add_tasks(*colony, 1);
    finish(*colony);
    return log.rows.at(0).line;
  };
  const Json cut = row_of("half", "[answer]\nchoices = [\"zzzzzzzzzzzzzzzzzzzz\"]\n");  // 5 tokens at most, a letter each
  EXPECT_EQ(cut["finish"], "length") << cut;
  EXPECT_EQ(cut["success"], 0) << cut;
  EXPECT_EQ(cut["attempts"][0]["finish"], "length") << cut;
  EXPECT_NE(cut["error"].get<std::string>().find("cut at max_tokens after 5 tokens"), std::string::npos) << cut;
  const Json whole = row_of("whole", "[answer]\nchoices = [\"zzz\"]\n");
  EXPECT_EQ(whole["finish"], "stop") << whole;
  EXPECT_EQ(whole["answer"], "zzz") << whole;
  EXPECT_EQ(whole["success"], 0) << whole;
  const Json free = row_of("free", "");
  EXPECT_EQ(free["finish"], free["completion_tokens"] == 5 ? "length" : "stop") << free;
  EXPECT_EQ(free["success"], 0) << free;
  EXPECT_FALSE(free.contains("error")) << free;
}

TEST_F(ColonyTest, OthersAreTriedUntilOneAnswersOrTheAttemptsEnd) {
  for (const char* name : {"broken-a", "broken-b", "broken-c"}) put_agent(agents_, name, kBroken);
  put_agent(agents_, "stuck", "function before(task) while true do end end");     // instructions
  put_agent(agents_, "hungry", "function before(task) local t = {} for i = 1, 1e7 do t[i] = i .. '' end end");
  put_agent(agents_, "late", "function after(task, text) error('after') end");
  put_agent(agents_, "upper", kUpper);
  options_.in_flight = 1;
  for (const int attempts : {1, 3, 10}) {
    options_.attempts = attempts;
    Json lines[2];
    for (Json& of_run : lines) {
      MemoryLog log;
      auto colony = make(log);
      add_tasks(*colony, 20);
      finish(*colony);
      ASSERT_EQ(log.rows.size(), 20U);
      double sum = 0;
      for (const auto& [index, row] : log.rows) {
        ASSERT_LE(row.attempts.size(), static_cast<size_t>(attempts));
        std::set<std::string> who;
        for (const auto& attempt : row.attempts) EXPECT_TRUE(who.insert(attempt.agent).second) << "not asked again";
        EXPECT_EQ(row.failed, !who.contains("upper"));
        ASSERT_TRUE(row.success) << "a failed task counts";
        EXPECT_TRUE(!row.failed || *row.success == 0);
        EXPECT_TRUE(!row.failed || row.attempts.size() == static_cast<size_t>(attempts)) << row.line;
        EXPECT_EQ(row.line.contains("error"), row.failed);
        EXPECT_EQ(row.deposits.size(), row.attempts.size());
        sum += *row.success;
      }
      EXPECT_EQ(colony->progress().scored, 20);
      EXPECT_EQ(colony->progress().score_sum, sum);
      EXPECT_EQ(colony->progress().failed > 0, attempts < 6) << attempts;
      of_run = without_ms(log.rows);
    }
    EXPECT_EQ(lines[0], lines[1]) << "the same seed, the same run";
  }
}

// The agent's own limit is its fault, the run's is nobody's.
TEST_F(ColonyTest, AnAgentThatTakesTooLongFails) {
  put_agent(agents_, "slow", "", "[limits]\nseconds = 0.05\nmax_tokens = 400\n[sampling]\nignore_eos = true\n");
  put_agent(agents_, "upper", kUpper);
  options_.max_tokens = 400;
  options_.in_flight = 1;
  MemoryLog log;
  auto colony = make(log);
  add_tasks(*colony, 10);
  for (int step = 0; !colony->done(); ++step) {
    ASSERT_LT(step, 5000);
    ASSERT_TRUE(colony->step());
    tiny_.clock.advance(std::chrono::milliseconds(10));
  }
  int late = 0;
  for (const auto& [index, row] : log.rows) {
    EXPECT_EQ(row.agent, "upper");
    if (row.attempts.size() < 2) continue;
    ++late;
    EXPECT_TRUE(row.attempts[0].blamed);
    EXPECT_NE(row.attempts[0].error.find("deadline"), std::string::npos) << row.attempts[0].error;
    EXPECT_GT(row.attempts[0].tokens, 0U);
    EXPECT_EQ(row.prompt_tokens + row.completion_tokens, row.attempts[0].tokens) << "what the failure cost is in the row";
  }
  EXPECT_GT(late, 0);
  EXPECT_EQ(colony->progress().failed, 0);
}

TEST_F(ColonyTest, TheSeedReachesTheSampling) {
  put_agent(agents_, "sampler", "", "[sampling]\ntemperature = 1.5\n");
  Json answers[2];
  for (const uint64_t seed : {1U, 2U}) {
    options_.seed = seed;
    MemoryLog log;
    auto colony = make(log);
    add_tasks(*colony, 6);
    finish(*colony);
    for (const auto& [index, row] : log.rows) answers[seed - 1].push_back(row.line["answer"]);
  }
  EXPECT_NE(answers[0], answers[1]);
}

TEST_F(ColonyTest, WhatNobodyCanDoEndsWithItsReason) {
  put_agent(agents_, "broken", kBroken);
  put_agent(agents_, "worse", "function before(task) return 1 .. {} end");
  MemoryLog log;
  auto colony = make(log);
  add_tasks(*colony, 7);
  finish(*colony);
  ASSERT_EQ(log.rows.size(), 7U);
  for (const auto& [index, row] : log.rows) {
    EXPECT_TRUE(row.failed);
    EXPECT_EQ(row.success, 0.0);
    EXPECT_EQ(row.line["success"], 0.0);
    EXPECT_TRUE(row.line["answer"].is_null());
    EXPECT_NE(row.line.value("error", ""), "");
    EXPECT_EQ(row.attempts.size(), 2U);
  }
  EXPECT_EQ(colony->progress().failed, 7);
  EXPECT_EQ(colony->progress().scored, 7);
  EXPECT_EQ(colony->progress().score_sum, 0);
  EXPECT_EQ(deposits(*colony, 1), 14);
}

TEST_F(ColonyTest, APromptBeyondTheContextIsTheAgentsFailure) {
  // 600 tokens of context; a token a byte.
  put_agent(agents_, "wordy");
  put_file(agents_ / "wordy" / "PROMPT.md", std::string(700, 'x'));
  put_agent(agents_, "brief", kUpper);
  MemoryLog log;
  auto colony = make(log);
  add_tasks(*colony, 12);
  finish(*colony);
  ASSERT_EQ(log.rows.size(), 12U);
  double wordy = 0;
  for (const auto& [index, row] : log.rows) {
    EXPECT_EQ(row.agent, "brief");
    if (row.attempts.size() == 2) {
      EXPECT_TRUE(row.attempts[0].blamed) << "another could do it";
      ++wordy;
    }
  }
  EXPECT_GT(wordy, 0);
  EXPECT_EQ(deposits(*colony, 1), 12 + wordy);
}

TEST_F(ColonyTest, ATaskThatIsTooLongForAllIsNobodysFault) {
  put_agent(agents_, "one");
  put_agent(agents_, "two", "", "[limits]\nmax_tokens = 3\n");
  MemoryLog log;
  auto colony = make(log);
  data::TaskLine task;
  task.id = "long";
  task.prompt = std::string(590, 'x');  // the template makes it longer than the context
  task.answer = "x";
  task.fields = Json{{"prompt", task.prompt}};
  colony->add(0, task, exact());
  finish(*colony);
  const FinalRow& row = log.rows.at(0);
  EXPECT_TRUE(row.failed);
  EXPECT_EQ(row.success, 0.0);
  ASSERT_EQ(row.attempts.size(), 2U);
  for (const auto& attempt : row.line["attempts"]) {
    EXPECT_EQ(attempt["blamed"], false);
    EXPECT_NE(attempt.value("error", ""), "");
  }
  EXPECT_TRUE(row.deposits.empty());
  EXPECT_EQ(deposits(*colony, 1), 0);
}

TEST_F(ColonyTest, ATaskBeyondTheContextEndsWithItsReason) {
  put_agent(agents_, "upper", kUpper);
  MemoryLog log;
  auto colony = make(log);
  data::TaskLine task;
  task.id = "long";
  task.prompt = std::string(700, 'x');
  task.fields = Json{{"prompt", task.prompt}};
  colony->add(0, task, nullptr);
  task.id = "short";
  task.prompt = "x";
  colony->add(1, task, nullptr);
  finish(*colony);
  ASSERT_EQ(log.rows.size(), 2U);
  EXPECT_TRUE(log.rows.at(0).failed);
  EXPECT_NE(log.rows.at(0).line.value("error", ""), "");
  EXPECT_FALSE(log.rows.at(1).failed);
}

TEST_F(ColonyTest, UnscoredTasksLeaveNoTrail) {
  put_agent(agents_, "upper", kUpper);
  MemoryLog log;
  auto colony = make(log);
  add_tasks(*colony, 10, false);
  finish(*colony);
  ASSERT_EQ(log.rows.size(), 10U);
  for (const auto& [index, row] : log.rows) {
    EXPECT_FALSE(row.success);
    EXPECT_TRUE(row.line["success"].is_null());
    EXPECT_FALSE(row.failed);
  }
  EXPECT_EQ(deposits(*colony, 1), 0);
  EXPECT_EQ(colony->progress().scored, 0);
}

TEST_F(ColonyTest, TheBudgetIsNeverPassedAndEveryTaskStillEnds) {
  put_agent(agents_, "model");
  for (const uint64_t tokens : {0U, 100U, 900U}) {
    options_.budget = std::make_shared<Budget>(tokens);
    MemoryLog log;
    auto colony = make(log);
    add_tasks(*colony, 40);
    finish(*colony);
    ASSERT_EQ(log.rows.size(), 40U);
    EXPECT_LE(options_.budget->spent(), tokens);
    EXPECT_GE(colony->progress().failed, 10);
    EXPECT_EQ(colony->progress().failed == 40, tokens < 500) << tokens;
    for (const auto& [index, row] : log.rows) {
      if (!row.failed) continue;
      EXPECT_NE(row.line.value("error", "").find("budget"), std::string::npos) << row.line;
    }
  }
}

TEST_F(ColonyTest, TheDeadlineEndsWhatIsLeft) {
  put_agent(agents_, "model");
  options_.max_tokens = 200;
  options_.deadline = tiny_.clock.now() + std::chrono::seconds(5);
  MemoryLog log;
  auto colony = make(log);
  add_tasks(*colony, 30);
  for (int step = 0; step < 400 && log.rows.empty(); ++step) {  // 4 of the 5 seconds
    ASSERT_TRUE(colony->step());
    tiny_.clock.advance(std::chrono::milliseconds(10));
  }
  EXPECT_LT(log.rows.size(), 30U);
  tiny_.clock.advance(std::chrono::seconds(5));
  const size_t final = log.rows.size();
  ASSERT_TRUE(colony->step());
  EXPECT_TRUE(colony->done());
  EXPECT_EQ(log.rows.size(), final) << "what is cut off is not final";
  EXPECT_GT(final, 0U);
  EXPECT_EQ(colony->progress().failed, 0);
  EXPECT_EQ(colony->progress().cut_off, static_cast<int64_t>(30 - final));
  swarm::Node kept({.id = 0});
  ASSERT_TRUE(kept.load(log.saved.at(0)));
  EXPECT_EQ(kept.latest_deposit() > 0, true) << "what was learned is written down";
  // The engine is free for the next colony.
  options_.deadline.reset();
  MemoryLog next_log;
  auto next = make(next_log);
  add_tasks(*next, 3);
  finish(*next);
  EXPECT_EQ(next_log.rows.size(), 3U);
  EXPECT_EQ(next->progress().failed, 0);
}

// Every node killed at every step, alone, and later brought back.
TEST_F(ColonyTest, KillAnyNodeAtAnyStepAndNothingIsLost) {
  put_agent(agents_, "upper", kUpper);
  put_agent(agents_, "reverse", kReverse);
  put_agent(agents_, "model");
  put_agent(agents_, "model-too", "", "[limits]\nmax_tokens = 3\n");
  options_.nodes = 4;
  size_t kills = 0, rows_after_kills = 0;
  for (int at = 0; at < 60; ++at) {
    for (swarm::NodeId victim = 0; victim < 4; ++victim) {
      if ((at + static_cast<int>(victim)) % 3 != 0 && at > 12) continue;  // every step, not every pair
      MemoryLog log;
      auto colony = make(log);
      add_tasks(*colony, 30);
      bool killed = false, revived = false;
      size_t before_kill = 0;
      for (int step = 0; !colony->done(); ++step) {
        ASSERT_LT(step, 5000);
        if (step == at) {
          ASSERT_TRUE(colony->kill_node(victim));
          ASSERT_FALSE(colony->kill_node(victim)) << "a dead node died";
          killed = true, ++kills;
          before_kill = log.rows.size();
        }
        if (step == at + 7 && victim % 2 == 0) {
          const auto saved = log.saved.find(victim);
          ASSERT_TRUE(colony->revive_node(victim, saved == log.saved.end() ? "" : saved->second));
          revived = true;
        }
        const auto rows = colony->step();
        ASSERT_TRUE(rows) << rows.error().message;
        // Nothing that was worked on at a dead node comes from there.
        for (const auto& row : killed && !revived ? *rows : std::vector<FinalRow>()) {
          ASSERT_NE(fnv1a(row.agent.data(), row.agent.size()) % 4, victim) << row.agent;
        }
      }
      rows_after_kills += log.rows.size() - before_kill;
      ASSERT_EQ(log.rows.size(), 30U) << "node " << victim << " at step " << at;
      ASSERT_EQ(colony->progress().final, 30);
      ASSERT_EQ(colony->progress().failed, 0) << "node " << victim << " at step " << at;
      for (const auto& [index, row] : log.rows) ASSERT_TRUE(row.success);
      if (!killed) at = 1000;  // the run is shorter than that
    }
  }
  EXPECT_GT(kills, 30U);
  EXPECT_GT(rows_after_kills, 300U);
}

TEST_F(ColonyTest, OneNodeIsEnough) {
  put_agent(agents_, "upper", kUpper);
  put_agent(agents_, "model");
  options_.nodes = 4;
  MemoryLog log;
  auto colony = make(log);
  add_tasks(*colony, 30);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(colony->step());
  for (const swarm::NodeId victim : {2U, 0U, 3U}) {
    ASSERT_TRUE(colony->kill_node(victim));
    ASSERT_TRUE(colony->step());
  }
  EXPECT_EQ(colony->kill_node(1).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(colony->kill_node(9).error().code, ErrorCode::kInvalid);
  finish(*colony);
  EXPECT_EQ(log.rows.size(), 30U);
  EXPECT_EQ(colony->progress().failed, 0);
}

TEST_F(ColonyTest, AnAgentTakesItsTrailAlongWhenItsNodeDies) {
  put_agent(agents_, "upper", kUpper);
  put_agent(agents_, "reverse", kReverse);
  put_agent(agents_, "model");
  for (const bool gossip : {true, false}) {
    options_.nodes = 4;
    options_.rules.gossip = gossip;
    MemoryLog log;
    auto colony = make(log);
    add_tasks(*colony, 240);
    for (int step = 0; log.rows.size() < 160; ++step) {
      ASSERT_LT(step, 5000);
      ASSERT_TRUE(colony->step());
    }
    const auto home = static_cast<swarm::NodeId>(fnv1a("upper", 5) % 4);
    ASSERT_TRUE(colony->kill_node(home));
    finish(*colony);
    EXPECT_EQ(log.rows.size(), 240U);
    double most = 0;  // what a living node knows of the agent
    for (swarm::NodeId id = 0; id < 4; ++id) {
      if (id == home) continue;
      for (const auto& trail : colony->node(id).trails()) {
        if (trail.name == "upper") most = std::max(most, trail.n);
      }
    }
    if (gossip && most > 0) {
      EXPECT_GT(most, 8) << "adopted, with its trail";
    }
  }
}

TEST_F(ColonyTest, AQuorumAsksUntilTheVotesDecide) {
  put_agent(agents_, "upper", kUpper);
  put_agent(agents_, "upper-too", kUpper);
  put_agent(agents_, "upper-three", kUpper);
  put_agent(agents_, "wrong", "function before(task) return {answer = '?'} end");
  put_agent(agents_, "broken", kBroken);
  Metrics metrics;
  options_.metrics = &metrics;
  for (const int nodes : {1, 3}) {
    options_.nodes = nodes;
    options_.rules.quorum = swarm::QuorumOptions::quick();
    Json lines[2];
    for (Json& of_run : lines) {
      MemoryLog log;
      auto colony = make(log);
      add_tasks(*colony, 60);
      finish(*colony);
      ASSERT_EQ(log.rows.size(), 60U);
      int votes = 0, right = 0;
      for (const auto& [index, row] : log.rows) {
        EXPECT_FALSE(row.failed);
        ASSERT_TRUE(row.line.contains("quorum")) << row.line;
        const Json& quorum = row.line["quorum"];
        EXPECT_GE(quorum["votes"].get<int>(), 2);
        EXPECT_LE(quorum["votes"].get<int>(), 5);
        EXPECT_EQ(quorum["answers"].size(), quorum["votes"].get<size_t>()) << "dissent is kept";
        votes += quorum["votes"].get<int>();
        right += index % 2 == 0 && index >= 20 && row.success == 1;
      }
      EXPECT_GT(right, 15) << "of 20: three of four agree";
      double sum = 0;
      for (int id = 0; id < nodes; ++id) {
        for (const auto& trail : colony->node(static_cast<swarm::NodeId>(id)).trails()) {
          if (trail.name != "broken") sum += trail.n;
        }
      }
      EXPECT_EQ(sum, votes) << "each vote that was checked is a deposit";
      of_run = without_ms(log.rows);
    }
    EXPECT_EQ(lines[0], lines[1]) << "the same seed, the same run";
  }
  EXPECT_GT(metrics.get(metric::kQuorumVotes).value(), 480);
}

TEST_F(ColonyTest, AQuorumWhoseOthersFailGivesWhatItHas) {
  put_agent(agents_, "upper", kUpper);
  for (const char* name : {"broken-a", "broken-b", "broken-c", "broken-d"}) put_agent(agents_, name, kBroken);
  options_.rules.quorum = swarm::QuorumOptions::quick();
  for (const int nodes : {1, 3}) {
    options_.nodes = nodes;
    MemoryLog log;
    auto colony = make(log);
    add_tasks(*colony, 30);
    finish(*colony);
    ASSERT_EQ(log.rows.size(), 30U);
    int answered = 0;
    for (const auto& [index, row] : log.rows) {
      const bool voted = std::any_of(row.attempts.begin(), row.attempts.end(), [](const auto& one) { return one.error.empty(); });
      EXPECT_EQ(row.failed, !voted) << row.line;
      EXPECT_EQ(row.line["agent"] == "upper", voted);
      EXPECT_LE(row.attempts.size(), 4U) << "a vote and three failures";
      answered += voted;
    }
    EXPECT_GT(answered, 20);
    double broken = 0;
    for (int id = 0; id < nodes; ++id) {
      for (const auto& trail : colony->node(static_cast<swarm::NodeId>(id)).trails()) broken += trail.name == "upper" ? 0 : trail.n;
    }
    EXPECT_GT(broken, 30) << "votes that fail are outcomes too";
  }
}

TEST_F(ColonyTest, AQuorumThatTheBudgetEndsGivesWhatItHas) {
  put_agent(agents_, "model");
  put_agent(agents_, "model-too", "", "[sampling]\ntemperature = 1.5\n");
  put_agent(agents_, "model-three", "", "[sampling]\ntemperature = 1.0\n");
  options_.rules.quorum = swarm::QuorumOptions::quick();
  for (const uint64_t tokens : {0U, 300U, 1500U}) {
    options_.budget = std::make_shared<Budget>(tokens);
    MemoryLog log;
    auto colony = make(log);
    add_tasks(*colony, 40);
    finish(*colony);
    ASSERT_EQ(log.rows.size(), 40U);
    EXPECT_LE(options_.budget->spent(), tokens);
    EXPECT_GT(colony->progress().failed, 10);
  }
}

TEST_F(ColonyTest, KilledNodesLoseNoVotedTask) {
  put_agent(agents_, "upper", kUpper);
  put_agent(agents_, "reverse", kReverse);
  put_agent(agents_, "model");
  options_.nodes = 3;
  options_.rules.quorum = swarm::QuorumOptions::quick();
  for (int at = 0; at < 12; ++at) {
    MemoryLog log;
    auto colony = make(log);
    add_tasks(*colony, 20);
    for (int step = 0; !colony->done(); ++step) {
      ASSERT_LT(step, 5000);
      if (step == at) {
        ASSERT_TRUE(colony->kill_node(static_cast<swarm::NodeId>(at % 3)));
      }
      if (step == at + 5) {
        ASSERT_TRUE(colony->revive_node(static_cast<swarm::NodeId>(at % 3), ""));
      }
      ASSERT_TRUE(colony->step());
    }
    ASSERT_EQ(log.rows.size(), 20U);
    ASSERT_EQ(colony->progress().failed, 0);
  }
}

TEST_F(ColonyTest, TrailsLastFromRunToRun) {
  put_agent(agents_, "upper", kUpper);
  put_agent(agents_, "reverse", kReverse);
  MemoryLog first_log;
  auto first = make(first_log);
  add_tasks(*first, 40);
  finish(*first);
  EXPECT_EQ(deposits(*first, 1), 40);
  ASSERT_EQ(first_log.saved.size(), 1U);
  EXPECT_LE(first_log.save_count, 4) << "a save is large: not one a deposit";
  MemoryLog log;
  auto second = make(log, first_log.saves());
  EXPECT_EQ(deposits(*second, 1), 40);
  add_tasks(*second, 10);
  finish(*second);
  EXPECT_EQ(deposits(*second, 1), 50);
  // The second run's tasks come after the first one's: what was recent fades.
  swarm::Node kept({.id = 0});
  ASSERT_TRUE(kept.load(log.saved.at(0)));
  EXPECT_EQ(kept.latest_deposit(), 50U);
  // What is not a trail is reported, and the run goes on from nothing.
  MemoryLog broken_log;
  auto third = make(broken_log, {{0, "rubbish"}, {77, "of a larger colony"}});
  EXPECT_EQ(deposits(*third, 1), 0);
  add_tasks(*third, 5);
  finish(*third);
  EXPECT_EQ(broken_log.rows.size(), 5U);
}

TEST_F(ColonyTest, LearnsWhoIsGoodAtWhat) {
  put_agent(agents_, "upper", kUpper);
  put_agent(agents_, "wrong", "function before(task) return {answer = '?'} end");
  put_agent(agents_, "wrong-too", "function before(task) return {answer = '!'} end");
  MemoryLog log;
  auto colony = make(log);
  add_tasks(*colony, 200);
  finish(*colony);
  // Only "upper" is ever right, on half of the tasks.
  std::map<std::string, int> late;
  for (int64_t i = 100; i < 200; ++i) ++late[log.rows.at(i).agent];
  EXPECT_GT(late["upper"], 70);
  EXPECT_GE(colony->progress().score_sum, 65);
}

TEST_F(ColonyTest, BeginsWithWhatAgentsShowedInTheirTests) {
  put_agent(agents_, "upper", kUpper);
  put_agent(agents_, "wrong", "function before(task) return {answer = '?'} end");
  put_agent(agents_, "wrong-too", "function before(task) return {answer = '!'} end");
  options_.in_flight = 1;
  const auto early = [&] {
    MemoryLog log;
    auto colony = make(log);
    add_tasks(*colony, 30);
    finish(*colony);
    double right = 0;
    for (const auto& [index, row] : log.rows) right += row.agent == "upper";
    return std::pair(right, deposits(*colony, 1));
  };
  const auto [untested, alone] = early();
  EXPECT_EQ(alone, 30);
  // A test of 40 items each, as `colony eval --keep` leaves it.
  const auto directory = AgentDirectory::open(agents_);
  ASSERT_TRUE(directory);
  for (const auto& spec : directory->agents()) {
    std::vector<swarm::GateItem> items;
    for (size_t i = 0; i < 40; ++i) items.push_back({swarm::place_of(i, 3), spec->name == "upper" && i % 2 == 0 ? 1.0 : 0.0});
    ASSERT_TRUE(keep_tested(*spec, tiny_.snapshot->model->content_hash(), items));
  }
  const auto [tested, with] = early();
  EXPECT_NEAR(with, 30 + 3 * 10, 1e-3) << "a quarter of a deposit an item";
  EXPECT_GE(tested, 28) << "the one that showed something, from the first task on";
  EXPECT_GT(tested, untested);
  options_.tested = false;
  EXPECT_EQ(early(), std::pair(untested, alone)) << "switched off it is the run it was";
  options_.tested = true;
  // What is not theirs is left aside, and the run goes on as without.
  for (const auto& spec : directory->agents()) ASSERT_TRUE(keep_tested(*spec, "another model", {}));
  EXPECT_EQ(early().second, 30);
}

// What this home saw itself is a deposit an item, whatever the agent's folder says of itself, and the folder cannot claim to be it.
TEST_F(ColonyTest, AnOwnTestWeighsWhatOutcomesDoAndAFolderCannotClaimOne) {
  put_agent(agents_, "upper", kUpper);
  const auto directory = AgentDirectory::open(agents_);
  ASSERT_TRUE(directory);
  const AgentSpec& upper = *directory->agents()[0];
  std::vector<swarm::GateItem> items;
  for (size_t i = 0; i < 100; ++i) items.push_back({swarm::place_of(i, 3), 1.0});
  ASSERT_TRUE(keep_tested(upper, tiny_.snapshot->model->content_hash(), items));
  MemoryLog log;
  EXPECT_NEAR(deposits(*make(log), 1), 20, 1e-3) << "brought along";
  options_.own_test = [](const AgentSpec&) { return std::vector<swarm::GateItem>(); };
  EXPECT_NEAR(deposits(*make(log), 1), 20, 1e-3) << "this home ran none";
  options_.own_test = [&](const AgentSpec& spec) { return spec.generation == upper.generation ? items : std::vector<swarm::GateItem>(); };
  EXPECT_NEAR(deposits(*make(log), 1), 100, 1e-3);
  put_agent(agents_, "upper", std::string(kUpper) + " -- another generation");
  EXPECT_NEAR(deposits(*make(log), 1), 0, 1e-9);
  options_.own_test = [](const AgentSpec&) -> Result<std::vector<swarm::GateItem>> { return corrupt("a ledger that is none"); };
  EXPECT_NEAR(deposits(*make(log), 1), 0, 1e-9) << "said, and gone on without";
  options_.tested = false;
  options_.own_test = [&](const AgentSpec&) { return items; };
  EXPECT_NEAR(deposits(*make(log), 1), 0, 1e-9) << "--no-tested means these too";
}

TEST_F(ColonyTest, WhatAnAgentServesGoesToItAndToOthersOnlyWhenItCannot) {
  put_agent(agents_, "upper", kUpper);
  put_agent(agents_, "wrong", "function before(task) return {answer = '?'} end", "[serves]\nkinds = [\"upper\"]\n");
  const auto rows_of = [&] {
    MemoryLog log;
    auto colony = make(log);
    add_tasks(*colony, 24);
    finish(*colony);
    return std::pair(log.rows, deposits(*colony, 1));
  };
  auto [rows, taught] = rows_of();
  for (const auto& [index, row] : rows) {
    EXPECT_EQ(row.agent + " " + row.reason == "wrong pinned", row.kind == "upper") << index << row.agent << row.reason;
  }
  EXPECT_EQ(taught, 24) << "pinned outcomes teach trails";
  // A route is a person's word, before what agents say they serve.
  put_agent(agents_, "reverse", kReverse);
  options_.routes = {{"upper", "upper"}, {"reverse", "reverse"}};
  std::tie(rows, taught) = rows_of();
  for (const auto& [index, row] : rows) {
    EXPECT_EQ(row.agent, row.kind) << index;
    EXPECT_EQ(row.reason, "pinned") << index;
    EXPECT_EQ(row.success, 1) << index;
  }
  // Several of one kind choose among themselves.
  options_.routes = {{"upper", "upper"}, {"upper", "wrong"}};
  std::tie(rows, taught) = rows_of();
  for (const auto& [index, row] : rows) {
    if (row.kind != "upper") continue;
    EXPECT_NE(row.agent, "reverse") << index;
    EXPECT_EQ(row.bids.size(), 2U) << index;
    EXPECT_EQ(row.reason, "pinned") << index;
  }
  // One that fails, and one that cannot be hosted, leave the task to whoever is there.
  put_agent(agents_, "broken", kBroken);
  put_agent(agents_, "alien", "", "model = \"another/model\"\n[serves]\nkinds = [\"reverse\"]\n");
  options_.routes = {{"upper", "broken"}};
  std::tie(rows, taught) = rows_of();
  for (const auto& [index, row] : rows) {
    EXPECT_FALSE(row.failed) << index;
    EXPECT_NE(row.agent, "broken") << index;
    EXPECT_NE(row.reason, "pinned") << index;
  }
}

TEST_F(ColonyTest, APinnedTaskOfAQuorumIsVotedOnByThoseItIsPinnedTo) {
  for (const char* name : {"a", "b", "c"}) put_agent(agents_, name, kUpper);
  put_agent(agents_, "wrong", "function before(task) return {answer = '?'} end");
  options_.rules.quorum.emplace();
  options_.routes = {{"upper", "a"}, {"upper", "b"}};
  MemoryLog log;
  auto colony = make(log);
  add_tasks(*colony, 12);
  finish(*colony);
  for (const auto& [index, row] : log.rows) {
    EXPECT_TRUE(row.kind != "upper" || row.agent == "a" || row.agent == "b") << row.agent;
  }
}

// With one letter of a kind each, the place of a task says its kind even under a random model; an agent that says so leans there.
TEST_F(ColonyTest, AgentsLeanToTasksLikeWhatTheySayOfThemselves) {
  put_agent(agents_, "a", kUpper, "description = \"aaaaaa aaaaaa aaaaaa\"\n");
  put_agent(agents_, "b", kUpper, "description = \"zzzzzz zzzzzz zzzzzz\"\n");
  options_.in_flight = 1;
  const auto first = [&](const std::string& prompt) {
    MemoryLog log;
    auto colony = make(log);
    data::TaskLine task;
    task.id = task.prompt = prompt;
    task.answer = "?";
    colony->add(0, task, exact());
    finish(*colony);
    std::map<std::string, double> bids;
    for (const auto& bid : log.rows.at(0).bids) bids[bid.agent] = bid.bid;
    return bids;
  };
  auto bids = first("aaaaaa aaaaaa aaaaaa");
  EXPECT_GT(bids["a"], bids["b"] + .01);
  bids = first("zzzzzz zzzzzz zzzzzz");
  EXPECT_GT(bids["b"], bids["a"] + .01);
  options_.rules.priors = false;
  bids = first("aaaaaa aaaaaa aaaaaa");
  EXPECT_EQ(bids["a"], bids["b"]);
}

TEST_F(ColonyTest, EditsArePickedUpAndBrokenOnesAreNot) {
  put_agent(agents_, "one", "function before(task) return {answer = 'first'} end");
  options_.in_flight = 1;
  MemoryLog log;
  auto colony = make(log);
  add_tasks(*colony, 400);
  const auto answers = [&](const std::string& text) {
    return std::count_if(log.rows.begin(), log.rows.end(), [&](const auto& one) {
      return one.second.line["answer"] == Json(text);
    });
  };
  const auto touch = [&](const std::string& script, int later) {
    const auto path = agents_ / "one" / "script.lua";
    put_file(path, script);
    fs::last_write_time(path, fs::file_time_type::clock::now() + std::chrono::seconds(later));
  };
  for (int i = 0; i < 80; ++i) ASSERT_TRUE(colony->step());
  EXPECT_GT(answers("first"), 5);
  touch("function before(task) return {answer = 'second'} end", 10);
  for (int i = 0; i < 140; ++i) ASSERT_TRUE(colony->step());
  EXPECT_GT(answers("second"), 5);
  const auto news = colony->news();
  ASSERT_EQ(news.size(), 1U);
  EXPECT_NE(news[0].find("agent one was edited"), std::string::npos) << news[0];
  touch("function before(task", 20);
  finish(*colony);
  ASSERT_EQ(log.rows.size(), 400U);
  EXPECT_EQ(colony->progress().failed, 0);
  EXPECT_EQ(answers("first") + answers("second"), 400);
  EXPECT_EQ(log.rows.at(399).line["answer"], "second");
  EXPECT_NE(log.rows.at(0).generation, log.rows.at(399).generation);
}

TEST_F(ColonyTest, AgentsOfAnotherModelAreRefused) {
  put_agent(agents_, "upper", kUpper);
  put_agent(agents_, "foreign", "", "model = \"org/other\"\n");
  put_agent(agents_, "lost", "", "model = \"org/lost\"\n");
  options_.find_model = [this](const std::string& model) -> Result<fs::path> {
    if (model == "org/ours") return tiny_.engine->snapshot().path;
    if (model == "org/other") return agents_;
    return not_found("{}", model);
  };
  MemoryLog log;
  auto colony = make(log);
  ASSERT_EQ(colony->refused().size(), 2U);
  EXPECT_EQ(colony->refused()[0].first, "foreign");
  EXPECT_EQ(colony->refused()[1].first, "lost");
  add_tasks(*colony, 4);
  finish(*colony);
  for (const auto& [index, row] : log.rows) EXPECT_EQ(row.agent, "upper");

  put_agent(agents_, "foreign", "", "model = \"org/ours\"\n");  // the engine's, by another name
  {
    MemoryLog again;
    ASSERT_EQ(make(again)->refused().size(), 1U);
  }
  put_agent(agents_, "foreign", "", "model = \"org/other\"\n");

  fs::remove_all(agents_ / "upper");
  auto directory = AgentDirectory::open(agents_);
  ASSERT_TRUE(directory);
  const auto none = Colony::create(options_, *tiny_.engine, *directory, log, tiny_.clock, {});
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message.find("org/other"), std::string::npos);
}

TEST_F(ColonyTest, AgentsBringTheirOwnAdapters) {
  const auto& config = tiny_.snapshot->model->config();
  put_agent(agents_, "plain");
  put_agent(agents_, "one");
  put_agent(agents_, "two", "", "adapter = \"weights\"\n");
  put_agent(agents_, "broken", "", "adapter = \"weights\"\n");
  engine::write_tiny_adapter(agents_ / "one" / "adapter", config, 4, 1);  // found without a word in agent.toml
  engine::write_tiny_adapter(agents_ / "two" / "weights", config, 8, 2);
  engine::write_tiny_adapter(agents_ / "broken" / "weights", config, 8, 3, 0.2, {{"r", 7}});
  options_.in_flight = 6;
  MemoryLog log;
  auto colony = make(log);
  ASSERT_EQ(colony->refused().size(), 1U);
  EXPECT_EQ(colony->refused()[0].first, "broken");
  EXPECT_NE(colony->refused()[0].second.find("adapter_model.safetensors"), std::string::npos) << colony->refused()[0].second;
  EXPECT_EQ(tiny_.engine->adapters().list().size(), 2U);
  // The same prompt for everybody: who answers is all that differs.
  for (int64_t i = 0; i < 120; ++i) {
    data::TaskLine task;
    task.line = i + 1;
    task.id = std::to_string(i);
    task.prompt = "abcdef";
    colony->add(i, task, nullptr);
  }
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(colony->step());
  // One gets other weights while the rest goes on.
  engine::write_tiny_adapter(agents_ / "one" / "adapter", config, 4, 9);
  fs::last_write_time(agents_ / "one" / "adapter" / "adapter_model.safetensors", fs::file_time_type::clock::now() + std::chrono::seconds(10));
  finish(*colony);
  std::map<std::pair<std::string, std::string>, std::set<std::string>> answers;  // agent, generation
  for (const auto& [index, row] : log.rows) answers[{row.agent, row.generation}].insert(to_line(row.line["answer"]));
  std::set<std::string> distinct;
  std::set<std::string> agents;
  for (const auto& [who, said] : answers) {
    EXPECT_EQ(said.size(), 1U) << who.first << ": greedy, one prompt, one answer";
    distinct.insert(said.begin(), said.end());
    agents.insert(who.first);
  }
  EXPECT_EQ(agents, (std::set<std::string>{"one", "plain", "two"}));
  EXPECT_EQ(answers.size(), 4U) << "one has two generations";
  EXPECT_EQ(distinct.size(), 4U);
}

TEST_F(ColonyTest, WhatCannotBeHostedIsNotHosted) {
  const auto& config = tiny_.snapshot->model->config();
  put_agent(agents_, "upper", kUpper);
  put_agent(agents_, "large");
  put_agent(agents_, "lacking", kUpper, "[requires]\nexecutables = [\"no-such-program-anywhere\"]\n");
  engine::write_tiny_adapter(agents_ / "large" / "adapter", config, 64, 1);
  auto rest = tiny_.ledger.take("trainer", tiny_.ledger.ceiling() - tiny_.ledger.used() - 1000);
  ASSERT_TRUE(rest);
  MemoryLog log;
  auto colony = make(log);
  ASSERT_EQ(colony->refused().size(), 2U);
  EXPECT_EQ(colony->hosted(), 1U);
  EXPECT_EQ(colony->refused()[0].first, "lacking");
  EXPECT_NE(colony->refused()[0].second.find("no-such-program-anywhere"), std::string::npos);
  EXPECT_EQ(colony->refused()[1].first, "large");
  EXPECT_NE(colony->refused()[1].second.find("--memory"), std::string::npos) << colony->refused()[1].second;
  EXPECT_TRUE(tiny_.engine->adapters().list().empty()) << "nothing of it is left";
  add_tasks(*colony, 6);
  finish(*colony);
  for (const auto& [index, row] : log.rows) EXPECT_EQ(row.bids.size(), 1U);

  // Room that is gone only later: its failure, and the others go on.
  rest = {};
  MemoryLog later_log;
  auto later = make(later_log);
  EXPECT_EQ(later->hosted(), 2U);
  rest = tiny_.ledger.take("trainer", tiny_.ledger.ceiling() - tiny_.ledger.used() - 1000);
  ASSERT_TRUE(rest);
  add_tasks(*later, 30);
  finish(*later);
  int failures = 0;
  for (const auto& [index, row] : later_log.rows) {
    EXPECT_EQ(row.agent, "upper");
    if (row.attempts.size() == 2) {
      ++failures;
      EXPECT_TRUE(row.attempts[0].blamed) << row.line;
    }
  }
  EXPECT_GT(failures, 0);
  EXPECT_EQ(deposits(*later, 1), 30 + failures);
}

TEST_F(ColonyTest, FullLinesHavePromptExpectedAndRawText) {
  put_agent(agents_, "shout", "function after(task, text) return 'after ' .. #text end");
  options_.full = true;
  MemoryLog log;
  auto colony = make(log);
  add_tasks(*colony, 3);
  finish(*colony);
  for (const auto& [index, row] : log.rows) {
    const Json& line = row.line;
    EXPECT_EQ(line["prompt"].get<std::string>().size(), 6U);
    EXPECT_EQ(line["expected"].get<std::string>().size(), 6U);
    EXPECT_EQ(line["answer"], fmt::format("after {}", line["raw"].get<std::string>().size()));
  }
}

TEST_F(ColonyTest, ALogThatFailsStopsTheRun) {
  put_agent(agents_, "upper", kUpper);
  MemoryLog log;
  auto colony = make(log);
  add_tasks(*colony, 5);
  log.fail = true;
  bool failed = false;
  for (int i = 0; i < 50 && !failed; ++i) failed = !colony->step();
  EXPECT_TRUE(failed);
}

TEST_F(ColonyTest, WrongOptionsAreRefused) {
  put_agent(agents_, "upper", kUpper);
  auto directory = AgentDirectory::open(agents_);
  ASSERT_TRUE(directory);
  MemoryLog log;
  options_.nodes = 0;
  EXPECT_FALSE(Colony::create(options_, *tiny_.engine, *directory, log, tiny_.clock, {}));
  options_.nodes = 1;
  options_.in_flight = 0;
  EXPECT_FALSE(Colony::create(options_, *tiny_.engine, *directory, log, tiny_.clock, {}));
}

}  // namespace
}  // namespace colony::agent
