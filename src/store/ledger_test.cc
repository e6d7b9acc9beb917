#include "store/ledger.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <iostream>
#include <set>

#include "base/file.h"
#include "base/rng.h"
#include "store/sqlite.h"

namespace colony::store {
namespace {

namespace fs = std::filesystem;
using agent::FinalRow;

class Home {
 public:
  Home() {
    static int count = 0;
    path_ = fs::temp_directory_path() / fmt::format("colony-store-{}-{}", ::getpid(), count++);
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Home() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

FinalRow make_row(int64_t index, std::optional<double> success = 1.0) {
  FinalRow row;
  row.index = index;
  row.task = 0x9e3779b97f4a7c15ULL * static_cast<uint64_t>(index + 1);  // also beyond int64
  row.id = fmt::format("t{}", index);
  row.kind = "sum";
  row.agent = "adder";
  row.generation = "g1";
  row.reason = "best_mean";
  row.by = "script";
  row.success = success;
  row.prompt_tokens = 12;
  row.completion_tokens = 3;
  row.ms = 1.5;
  row.place[0] = 1.0F;
  row.bids = {{"adder", 0.9, 1.0}, {"generalist", 0.4, 0.0}};
  row.attempts.push_back({"broken", "g7", 1, "script.lua:1: on purpose", true, 5, 0.5});
  row.attempts.push_back({"adder", "g1", 0, "", false, 15, 1.0});
  row.deposits.push_back({"broken", "g7", 0});
  if (success) row.deposits.push_back({"adder", "g1", *success});
  row.line = {{"id", row.id}, {"answer", fmt::format("answer {} \" \n ü", index)}};
  return row;
}

const Json kOptions = {{"model_hash", "abc"}, {"nodes", 2}, {"file", "tasks.jsonl"}};

int64_t one_number(const fs::path& home, const std::string& sql) {
  Database db;
  EXPECT_TRUE(db.open(home / "colony.db"));
  auto q = Statement::prepare(db, sql);
  EXPECT_TRUE(q) << (q ? "" : q.error().message);
  if (!q) return -1;
  const auto row = q->row();
  EXPECT_TRUE(row && *row);
  return q->integer(0);
}

TEST(Ledger, KeepsRunsTasksBidsDepositsTrailsAgentsAndMetrics) {
  const Home home;
  {
    auto ledger = Ledger::open(home.path());
    ASSERT_TRUE(ledger) << ledger.error().message;
    EXPECT_EQ((*ledger)->find_run("last").error().code, ErrorCode::kNotFound);
    const auto run = (*ledger)->begin_run(kOptions, 3, 1'700'000'000'000);
    ASSERT_TRUE(run) << run.error().message;
    EXPECT_EQ(run->run, "r000001");
    EXPECT_EQ(run->started, "2023-11-14T22:13:20Z");
    auto log = (*ledger)->run_log(*run);
    ASSERT_TRUE(log);
    auto failed = make_row(2, std::nullopt);
    failed.failed = true;
    failed.agent = "";
    ASSERT_TRUE((*log)->final({make_row(1, 0.25), failed}, {{0, "zero"}, {1, std::string("o\0e", 3)}}));
    ASSERT_TRUE((*log)->final({make_row(0)}, {{1, "one again"}}));
    agent::AgentSpec spec;
    spec.name = "adder";
    spec.generation = "g1";
    const auto shared = std::make_shared<const agent::AgentSpec>(spec);
    ASSERT_TRUE((*ledger)->remember_agents({shared}, 5));
    ASSERT_TRUE((*ledger)->remember_agents({shared}, 6));
    ASSERT_TRUE((*ledger)->add_metrics(run->run, {{"colony_tasks_final_total", 3}}));
    EXPECT_EQ((*ledger)->find_run("last")->state, "running");
  }
  auto ledger = Ledger::open(home.path());
  ASSERT_TRUE(ledger);
  const auto run = (*ledger)->find_run("r000001");
  ASSERT_TRUE(run);
  EXPECT_EQ(run->state, "interrupted");
  EXPECT_EQ(run->tasks, 3);
  EXPECT_EQ(run->final, 3);
  EXPECT_EQ(run->failed, 1);
  EXPECT_EQ(run->options, kOptions);
  const auto results = (*ledger)->results("r000001");
  ASSERT_TRUE(results);
  ASSERT_EQ(results->size(), 3u);
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ((*results)[static_cast<size_t>(i)].first, i);
    EXPECT_EQ((*results)[static_cast<size_t>(i)].second, make_row(i).line);
  }
  const auto trails = (*ledger)->trails("abc", 2);
  ASSERT_TRUE(trails);
  EXPECT_EQ(*trails, (std::vector<std::pair<swarm::NodeId, std::string>>{{0, "zero"}, {1, "one again"}}));
  EXPECT_TRUE((*ledger)->trails("abc", 1)->empty());
  EXPECT_TRUE((*ledger)->trails("abd", 2)->empty());
  EXPECT_EQ(one_number(home.path(), "SELECT COUNT(*) FROM bids"), 6);
  EXPECT_EQ(one_number(home.path(), "SELECT COUNT(*) FROM deposits"), 5);
  EXPECT_EQ(one_number(home.path(), "SELECT COUNT(*) FROM attempts WHERE error IS NULL AND NOT blamed"), 3);
  const auto story = (*ledger)->story("r000001", 1);
  ASSERT_TRUE(story) << story.error().message;
  EXPECT_EQ(story->attempts, Json::parse(R"([
    {"agent":"broken","generation":"g7","node":1,"error":"script.lua:1: on purpose","blamed":true,"tokens":5,"ms":0.5},
    {"agent":"adder","generation":"g1","node":0,"tokens":15,"ms":1.0}])"));
  EXPECT_EQ(story->deposits, Json::parse(R"([{"agent":"adder","generation":"g1","score":0.25},{"agent":"broken","generation":"g7","score":0.0}])"));
  EXPECT_TRUE((*ledger)->story("r000001", 77)->attempts.empty());
  EXPECT_EQ(one_number(home.path(), "SELECT COUNT(*) FROM agents"), 1);
  EXPECT_EQ(one_number(home.path(), "SELECT first_seen_ms FROM agents"), 5);
  EXPECT_EQ(one_number(home.path(), "SELECT value FROM metrics"), 3);
  ASSERT_TRUE((*ledger)->finish_run("r000001", {{"tasks", 3}}));
  EXPECT_EQ((*ledger)->find_run("last")->state, "finished");
  ASSERT_TRUE((*ledger)->begin_run(kOptions, 1, 0));
  const auto runs = (*ledger)->runs();
  ASSERT_EQ(runs->size(), 2u);
  EXPECT_EQ((*runs)[1].run, "r000002");
}

// The tables of the first schema, as a home of then has them.
constexpr const char* kSchema1 = R"sql(
PRAGMA application_id=1129270361;
CREATE TABLE runs (
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, started_ms INTEGER NOT NULL, tasks INTEGER NOT NULL,
  options TEXT NOT NULL, model_hash TEXT NOT NULL, nodes INTEGER NOT NULL, summary TEXT);
CREATE TABLE tasks (
  run INTEGER NOT NULL REFERENCES runs(id), idx INTEGER NOT NULL, task INTEGER NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL,
  agent TEXT NOT NULL, generation TEXT NOT NULL, reason TEXT NOT NULL, by TEXT NOT NULL, success REAL, failed INTEGER NOT NULL,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, ms REAL NOT NULL, line TEXT NOT NULL,
  PRIMARY KEY (run, idx), UNIQUE (run, task)) WITHOUT ROWID;
CREATE TABLE bids (
  run INTEGER NOT NULL, idx INTEGER NOT NULL, agent TEXT NOT NULL, bid REAL NOT NULL, p REAL NOT NULL,
  PRIMARY KEY (run, idx, agent), FOREIGN KEY (run, idx) REFERENCES tasks(run, idx)) WITHOUT ROWID;
CREATE TABLE deposits (
  run INTEGER NOT NULL, idx INTEGER NOT NULL, agent TEXT NOT NULL, generation TEXT NOT NULL, score REAL NOT NULL, place BLOB NOT NULL,
  PRIMARY KEY (run, idx), FOREIGN KEY (run, idx) REFERENCES tasks(run, idx)) WITHOUT ROWID;
CREATE TABLE agents (
  name TEXT NOT NULL, generation TEXT NOT NULL, role TEXT NOT NULL, description TEXT NOT NULL, folder TEXT NOT NULL,
  first_seen_ms INTEGER NOT NULL, PRIMARY KEY (name, generation)) WITHOUT ROWID;
CREATE TABLE trails (
  model_hash TEXT NOT NULL, nodes INTEGER NOT NULL, node INTEGER NOT NULL, run INTEGER NOT NULL REFERENCES runs(id), bytes BLOB NOT NULL,
  PRIMARY KEY (model_hash, nodes, node));
CREATE TABLE metrics (
  run INTEGER NOT NULL REFERENCES runs(id), name TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (run, name)) WITHOUT ROWID;
INSERT INTO runs VALUES (1, 'r000001', 5, 3, '{"model_hash":"abc","nodes":2}', 'abc', 2, NULL);
INSERT INTO tasks VALUES (1, 0, 11, 't0', 'sum', 'adder', 'g1', 'only_bid', 'script', 0.5, 0, 12, 3, 1.5, '{"id":"t0","answer":"4"}');
INSERT INTO bids VALUES (1, 0, 'adder', 0.9, 1.0);
INSERT INTO deposits VALUES (1, 0, 'adder', 'g1', 0.5, x'0000');
INSERT INTO trails VALUES ('abc', 2, 0, 1, 'learned');
PRAGMA user_version=1;
)sql";

TEST(Ledger, AHomeOfTheFirstSchemaOpensAndGoesOn) {
  const Home home;
  {
    Database db;
    ASSERT_TRUE(db.open(home.path() / "colony.db"));
    const auto made = db.execute(kSchema1);
    ASSERT_TRUE(made) << made.error().message;
  }
  for (int time = 0; time < 2; ++time) {
    auto ledger = Ledger::open(home.path());
    ASSERT_TRUE(ledger) << ledger.error().message;
    const auto run = (*ledger)->find_run("last");
    ASSERT_TRUE(run);
    EXPECT_EQ(run->final, 1 + time);
    const auto results = (*ledger)->results("r000001");
    ASSERT_TRUE(results);
    EXPECT_EQ((*results)[0].second["answer"], "4");
    EXPECT_EQ((*ledger)->trails("abc", 2)->size(), 1u);
    const auto story = (*ledger)->story("r000001", 0);
    ASSERT_TRUE(story);
    EXPECT_TRUE(story->attempts.empty());
    EXPECT_EQ(story->deposits.size(), 1u);
    auto log = (*ledger)->run_log(*run);
    ASSERT_TRUE(log);
    const auto written = (*log)->final({make_row(time + 1)}, {});
    ASSERT_TRUE(written) << written.error().message;
    EXPECT_EQ(one_number(home.path(), "SELECT user_version FROM pragma_user_version"), 2);
  }
}

TEST(Ledger, ARunThatNeverBeganLeavesItsName) {
  const Home home;
  auto ledger = Ledger::open(home.path());
  auto run = (*ledger)->begin_run(kOptions, 0, 0);
  ASSERT_TRUE(run);
  run->tasks = 7;
  run->options["content_hash"] = "later";
  ASSERT_TRUE((*ledger)->set_input(*run));
  EXPECT_EQ((*ledger)->find_run("last")->tasks, 7);
  EXPECT_EQ((*ledger)->find_run("last")->options["content_hash"], "later");
  ASSERT_TRUE((*ledger)->drop_run(run->run));
  EXPECT_TRUE((*ledger)->runs()->empty());
  const auto next = (*ledger)->begin_run(kOptions, 3, 0);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->run, "r000001");
  auto log = (*ledger)->run_log(*next);
  ASSERT_TRUE((*log)->final({make_row(0)}, {}));
  ASSERT_TRUE((*ledger)->drop_run(next->run));
  EXPECT_EQ((*ledger)->runs()->size(), 1u) << "what has a task stays";
}

TEST(Ledger, ASecondFinalIsRefusedWhole) {
  const Home home;
  auto ledger = Ledger::open(home.path());
  const auto run = (*ledger)->begin_run(kOptions, 3, 0);
  auto log = (*ledger)->run_log(*run);
  ASSERT_TRUE((*log)->final({make_row(0)}, {}));
  const auto again = (*log)->final({make_row(1), make_row(0)}, {{0, "x"}});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kInvalid);
  auto same_task = make_row(2);
  same_task.task = make_row(0).task;
  EXPECT_EQ((*log)->final({same_task}, {}).error().code, ErrorCode::kInvalid);
  EXPECT_EQ((*ledger)->results(run->run)->size(), 1u);
  EXPECT_TRUE((*ledger)->trails("abc", 2)->empty());
  ASSERT_TRUE((*log)->final({make_row(1)}, {}));  // and it goes on
}

TEST(Ledger, TwoProcessesEachWithItsRun) {
  const Home home;
  const pid_t child = ::fork();
  if (child == 0) {
    auto ledger = Ledger::open(home.path());
    if (!ledger) ::_exit(1);
    const auto run = (*ledger)->begin_run(kOptions, 50, 0);
    if (!run) ::_exit(2);
    auto log = (*ledger)->run_log(*run);
    for (int64_t i = 0; i < 50; ++i) {
      if (!(*log)->final({make_row(i)}, {})) ::_exit(3);
    }
    ::_exit(0);
  }
  auto ledger = Ledger::open(home.path());
  ASSERT_TRUE(ledger) << ledger.error().message;
  const auto run = (*ledger)->begin_run(kOptions, 50, 0);
  ASSERT_TRUE(run);
  auto log = (*ledger)->run_log(*run);
  for (int64_t i = 0; i < 50; ++i) ASSERT_TRUE((*log)->final({make_row(i)}, {}));
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(one_number(home.path(), "SELECT COUNT(*) FROM tasks"), 100);
}

// Who is first makes the tables and turns the write-ahead log on; the others wait for that and see all of it.
TEST(Ledger, ManyProcessesMayMeetAtANewHome) {
  constexpr int kProcesses = 6;
  for (int round = 0; round < 30; ++round) {
    const Home home;
    std::array<pid_t, kProcesses> children{};
    for (pid_t& child : children) {
      child = ::fork();
      if (child != 0) continue;
      auto ledger = Ledger::open(home.path());
      if (!ledger) std::fprintf(stderr, "%s\n", ledger.error().message.c_str());
      ::_exit(ledger && (*ledger)->begin_run(kOptions, 1, 0) ? 0 : 1);
    }
    for (const pid_t child : children) {
      int status = -1;
      ::waitpid(child, &status, 0);
      ASSERT_EQ(status, 0) << "round " << round;
    }
    ASSERT_EQ(one_number(home.path(), "SELECT COUNT(*) FROM runs"), kProcesses);
  }
}

TEST(Ledger, ARunBelongsToOneProcess) {
  const Home home;
  auto first = Ledger::open(home.path()), second = Ledger::open(home.path());
  const auto run = (*first)->begin_run(kOptions, 1, 0);
  EXPECT_EQ((*second)->find_run("last")->state, "running");
  EXPECT_EQ((*second)->run_log(*run).error().code, ErrorCode::kUnavailable);
  first->reset();
  EXPECT_EQ((*second)->find_run("last")->state, "interrupted");
  EXPECT_TRUE((*second)->run_log(*run));
}

TEST(Ledger, WhatIsNotOursIsRefused) {
  {
    const Home home;
    ASSERT_TRUE(write_file(home.path() / "colony.db", std::string(5000, 'x')));
    EXPECT_EQ(Ledger::open(home.path()).error().code, ErrorCode::kCorrupt);
  }
  {
    const Home home;
    {
      Database other;
      ASSERT_TRUE(other.open(home.path() / "colony.db"));
      ASSERT_TRUE(other.execute("CREATE TABLE t (x)"));
    }
    const auto ledger = Ledger::open(home.path());
    ASSERT_FALSE(ledger);
    EXPECT_EQ(ledger.error().code, ErrorCode::kCorrupt);
    EXPECT_NE(ledger.error().message.find("another program"), std::string::npos);
  }
  {
    const Home home;
    ASSERT_TRUE(Ledger::open(home.path()));
    {
      Database db;
      ASSERT_TRUE(db.open(home.path() / "colony.db"));
      ASSERT_TRUE(db.execute("PRAGMA user_version=99"));
    }
    const auto ledger = Ledger::open(home.path());
    ASSERT_FALSE(ledger);
    EXPECT_NE(ledger.error().message.find("newer version"), std::string::npos);
  }
  {
    const Home home;
    ASSERT_TRUE(write_file(home.path() / "file", "x"));
    EXPECT_EQ(Ledger::open(home.path() / "file").error().code, ErrorCode::kUnavailable);
  }
}

TEST(Ledger, ADamagedFileIsAnErrorNotACrash) {
  const Home home;
  {
    auto ledger = Ledger::open(home.path());
    const auto run = (*ledger)->begin_run(kOptions, 400, 0);
    auto log = (*ledger)->run_log(*run);
    for (int64_t i = 0; i < 40; ++i) ASSERT_TRUE((*log)->final({make_row(i)}, {{0, std::string(3000, 't')}}));
  }
  const auto whole = read_file(home.path() / "colony.db");
  ASSERT_TRUE(whole);
  ASSERT_GT(whole->size(), 20'000u);
  for (uint64_t round = 0; round < 60; ++round) {
    RngStream rng(5, round, 0, 0);
    std::string bytes = *whole;
    if (round % 2 == 0) bytes.resize(rng.below(bytes.size()));
    for (int i = 0; round % 2 == 1 && i < 200; ++i) bytes[rng.below(bytes.size())] = static_cast<char>(rng.below(256));
    fs::remove(home.path() / "colony.db-wal");
    fs::remove(home.path() / "colony.db-shm");
    ASSERT_TRUE(write_file(home.path() / "colony.db", bytes));
    auto ledger = Ledger::open(home.path());
    if (!ledger) continue;
    const auto runs = (*ledger)->runs();
    if (runs) (void)(*ledger)->results("r000001");
    (void)(*ledger)->trails("abc", 2);
  }
}

TEST(Ledger, AFullDiskLeavesWhatWasThere) {
  const Home home;
  {
    auto ledger = Ledger::open(home.path());
    const auto run = (*ledger)->begin_run(kOptions, 1000, 0);
    auto log = (*ledger)->run_log(*run);
    ASSERT_TRUE((*log)->final({make_row(0)}, {}));
  }
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{300'000, 300'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    auto ledger = Ledger::open(home.path());
    if (!ledger) ::_exit(1);
    const auto run = (*ledger)->find_run("last");
    auto log = (*ledger)->run_log(*run);
    for (int64_t i = 1; i < 1000; ++i) {
      const auto status = (*log)->final({make_row(i)}, {{0, std::string(2000, 't')}});
      if (!status) ::_exit(status.error().code == ErrorCode::kUnavailable && i > 1 ? 0 : 2);
    }
    ::_exit(3);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  auto ledger = Ledger::open(home.path());
  ASSERT_TRUE(ledger) << ledger.error().message;
  const auto results = (*ledger)->results("r000001");
  ASSERT_TRUE(results);
  ASSERT_GT(results->size(), 1u);
  for (size_t i = 0; i < results->size(); ++i) EXPECT_EQ((*results)[i].first, static_cast<int64_t>(i));  // no gap
  EXPECT_EQ(one_number(home.path(), "SELECT COUNT(*) FROM bids"), 2 * static_cast<int64_t>(results->size()));
}

// The child writes rows and says each index after final() returned; it is killed at a random moment,
// over and over, until a whole run has come to its end too. What it said must be there, once.
TEST(SlowLedger, AHundredKillsLoseNothingAcknowledged) {
  constexpr int64_t kTasks = 2000;
  constexpr int kKills = 120;
  auto home = std::make_unique<Home>();
  std::set<int64_t> said;
  int kills = 0, whole_runs = 0;
  double longest_us = 15'000;  // of a life; grows where the disk is slow, so that lives get somewhere
  for (uint64_t round = 0; kills < kKills || whole_runs == 0; ++round) {
    ASSERT_LT(round, 5000u);
    const size_t said_before = said.size();
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      auto ledger = Ledger::open(home->path());
      if (!ledger) ::_exit(1);
      auto found = (*ledger)->find_run("last");
      if (!found) found = (*ledger)->begin_run(kOptions, kTasks, 0);
      if (!found) ::_exit(2);
      auto log = (*ledger)->run_log(*found);
      if (!log) ::_exit(3);
      std::set<int64_t> there;
      const auto results = (*ledger)->results(found->run);
      if (!results) ::_exit(4);
      for (const auto& [index, line] : *results) there.insert(index);
      for (int64_t i = 0; i < kTasks;) {
        std::vector<FinalRow> rows;
        for (; i < kTasks && rows.size() < 4; ++i) {
          if (!there.contains(i)) rows.push_back(make_row(i));
        }
        if (rows.empty()) break;
        if (!(*log)->final(rows, {{0, fmt::format("after {}", i)}})) ::_exit(5);
        for (const auto& row : rows) {
          if (::write(ends[1], &row.index, sizeof(row.index)) != sizeof(row.index)) ::_exit(6);
        }
      }
      ::_exit(0);
    }
    ::close(ends[1]);
    RngStream rng(11, round, 0, 0);
    ::usleep(static_cast<useconds_t>(500 + rng.below(static_cast<uint64_t>(longest_us))));
    ::kill(child, SIGKILL);
    int64_t index = 0;
    while (::read(ends[0], &index, sizeof(index)) == sizeof(index)) {
      EXPECT_TRUE(said.insert(index).second) << index << " was final twice";
    }
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) ++kills;
    else ASSERT_EQ(WEXITSTATUS(status), 0) << "round " << round;
    if (said.size() < said_before + kTasks / 50) longest_us = std::min(longest_us * 1.05, 2e6);
    if (!said.empty()) {
      auto ledger = Ledger::open(home->path());
      ASSERT_TRUE(ledger) << ledger.error().message;
      const auto results = (*ledger)->results("r000001");
      ASSERT_TRUE(results);
      std::set<int64_t> there;
      for (const auto& [i, line] : *results) {
        EXPECT_TRUE(there.insert(i).second);
        EXPECT_EQ(line, make_row(i).line);
      }
      for (const int64_t i : said) ASSERT_TRUE(there.contains(i)) << "acknowledged " << i << " is gone";
      said = there;  // a row may be durable although its word did not reach us
      if (there.size() == kTasks) {
        ++whole_runs;
        if (kills < kKills) {  // once more from the start
          said.clear();
          home = std::make_unique<Home>();
        }
      }
    }
  }
  ASSERT_TRUE(Ledger::open(home->path()));
  Database db;
  ASSERT_TRUE(db.open(home->path() / "colony.db"));
  auto q = Statement::prepare(db, "PRAGMA integrity_check");
  ASSERT_TRUE(q && *q->row());
  EXPECT_EQ(q->text(0), "ok");
  std::cout << "  " << kills << " kills, " << whole_runs << " runs came to their end\n";
}

// A test is of one generation under one model, and of what this home wrote down.
TEST(Ledger, KnowsTheTestsOfItsHomeByGenerationAndModel) {
  const Home home;
  const auto ledger = Ledger::open(home.path());
  ASSERT_TRUE(ledger);
  agent::AgentSpec spec;
  spec.name = "adder";
  spec.generation = "g1";
  const auto item = [](float x, double score) {
    swarm::GateItem one;
    one.place[0] = x;
    one.score = score;
    return one;
  };
  const auto scores = [&](const agent::AgentSpec& of, const std::string& model) {
    const auto items = (*ledger)->own_test(of, model);
    EXPECT_TRUE(items) << (items ? "" : items.error().message);
    std::vector<double> list;
    for (const auto& one : items.value_or(std::vector<swarm::GateItem>())) list.push_back(one.score);
    return list;
  };
  EXPECT_TRUE(scores(spec, "m").empty());
  ASSERT_TRUE((*ledger)->keep_test(spec, "m", "file 1", {item(.5F, 1), item(.25F, 0)}, 1));
  ASSERT_TRUE((*ledger)->keep_test(spec, "m", "file 2", {item(.125F, .75), item(.5F, 0)}, 2));
  EXPECT_EQ(scores(spec, "m"), (std::vector<double>{1, 0, .75})) << "in the order tested, a place once";
  ASSERT_TRUE((*ledger)->keep_test(spec, "m", "file 1", {item(.5F, .5), item(.25F, 0)}, 3));
  EXPECT_EQ(scores(spec, "m"), (std::vector<double>{.5, 0, .75})) << "the same test once more";
  EXPECT_TRUE(scores(spec, "another model").empty());
  agent::AgentSpec later = spec;
  later.generation = "g2";
  EXPECT_TRUE(scores(later, "m").empty());
  EXPECT_EQ((*ledger)->own_test(spec, "m")->at(2).place, item(.125F, 0).place);
  Database db;
  ASSERT_TRUE(db.open(home.path() / "colony.db"));
  ASSERT_TRUE(db.execute("UPDATE tests SET items = x'0102'"));
  EXPECT_EQ((*ledger)->own_test(spec, "m").error().code, ErrorCode::kCorrupt);
}

// A ledger of before tests were kept gets their table when it is opened.
TEST(Ledger, AnOlderLedgerLearnsToKeepTests) {
  const Home home;
  ASSERT_TRUE(Ledger::open(home.path()));
  {
    Database db;
    ASSERT_TRUE(db.open(home.path() / "colony.db"));
    ASSERT_TRUE(db.execute("DROP TABLE tests"));
  }
  const auto ledger = Ledger::open(home.path());
  ASSERT_TRUE(ledger);
  agent::AgentSpec spec;
  spec.name = "adder";
  EXPECT_TRUE((*ledger)->keep_test(spec, "m", "file", {swarm::GateItem()}, 1));
  EXPECT_EQ((*ledger)->own_test(spec, "m")->size(), 1U);
}

}  // namespace
}  // namespace colony::store
