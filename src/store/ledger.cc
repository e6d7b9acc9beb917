#include "store/ledger.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <map>
#include <set>

#include "base/file.h"
#include "store/sqlite.h"

namespace colony::store {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kApplicationId = 0x434f4c59;  // "COLY"
constexpr int64_t kSchema = 2;

// docs/ledger.md says what each column is.
constexpr const char* kCreate = R"sql(
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
CREATE TABLE agents (
  name TEXT NOT NULL, generation TEXT NOT NULL, role TEXT NOT NULL, description TEXT NOT NULL, folder TEXT NOT NULL,
  first_seen_ms INTEGER NOT NULL, PRIMARY KEY (name, generation)) WITHOUT ROWID;
CREATE TABLE trails (
  model_hash TEXT NOT NULL, nodes INTEGER NOT NULL, node INTEGER NOT NULL, run INTEGER NOT NULL REFERENCES runs(id), bytes BLOB NOT NULL,
  PRIMARY KEY (model_hash, nodes, node));
CREATE TABLE metrics (
  run INTEGER NOT NULL REFERENCES runs(id), name TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (run, name)) WITHOUT ROWID;
)sql";
// Schema 2: all deposits of a task, not the last alone; its attempts; where it entered.
constexpr const char* kDeposits = R"sql(
CREATE TABLE deposits (
  run INTEGER NOT NULL, idx INTEGER NOT NULL, agent TEXT NOT NULL, generation TEXT NOT NULL, score REAL NOT NULL, place BLOB NOT NULL,
  PRIMARY KEY (run, idx, agent, generation), FOREIGN KEY (run, idx) REFERENCES tasks(run, idx)) WITHOUT ROWID;
)sql";
constexpr const char* kAttempts = R"sql(
CREATE TABLE attempts (
  run INTEGER NOT NULL, idx INTEGER NOT NULL, number INTEGER NOT NULL, agent TEXT NOT NULL, generation TEXT NOT NULL, node INTEGER NOT NULL,
  error TEXT, blamed INTEGER NOT NULL, tokens INTEGER NOT NULL, ms REAL NOT NULL,
  PRIMARY KEY (run, idx, number), FOREIGN KEY (run, idx) REFERENCES tasks(run, idx)) WITHOUT ROWID;
ALTER TABLE tasks ADD COLUMN node INTEGER NOT NULL DEFAULT 0;
)sql";
// A table more that programs of the same schema without it leave alone.
constexpr const char* kTests = R"sql(
CREATE TABLE IF NOT EXISTS tests (
  id INTEGER PRIMARY KEY AUTOINCREMENT, agent TEXT NOT NULL, generation TEXT NOT NULL, model_hash TEXT NOT NULL, tasks_hash TEXT NOT NULL,
  tested_ms INTEGER NOT NULL, items BLOB NOT NULL, UNIQUE (agent, generation, model_hash, tasks_hash));
)sql";
// An item in the blob: the place, then the score as f64.
constexpr size_t kItemBytes = sizeof(swarm::Place) + sizeof(double);

Result<int64_t> pragma(Database& db, const char* name) {
  ASSIGN_OR_RETURN(auto statement, Statement::prepare(db, std::string("PRAGMA ") + name));
  ASSIGN_OR_RETURN(const bool there, statement.row());
  return there ? statement.integer(0) : 0;
}

std::string iso_utc(int64_t unix_ms) {
  const auto seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

const char* role_name(agent::Role role) {
  switch (role) {
    case agent::Role::kWorker: return "worker";
    case agent::Role::kData: return "data";
    case agent::Role::kResource: return "resource";
    case agent::Role::kInteraction: return "interaction";
    case agent::Role::kEvaluation: return "evaluation";
  }
  return "worker";
}

// A file that is one process's. The kernel lets go of it however the process ends.
class Lock {
 public:
  // Of a run: who holds it works on the run. Somebody who only looks whether it is taken holds it for an instant.
  static Result<Lock> of_run(const fs::path& path) { return take(path, 20, "another process works on this run"); }
  // Of a home, while its ledger is opened: turning the write-ahead log on waits for nobody by itself, and the tables of somebody who is
  // just making them are no other program's.
  static Result<Lock> of_home(const fs::path& path) { return take(path, 2000, "another process has been opening the ledger for ten seconds"); }
  static bool is_taken(const fs::path& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool taken = ::flock(fd, LOCK_SH | LOCK_NB) != 0;
    ::close(fd);
    return taken;
  }
  Lock(Lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Lock& operator=(Lock&&) = delete;
  ~Lock() {
    if (fd_ >= 0) ::close(fd_);
  }

 private:
  explicit Lock(int fd) : fd_(fd) {}
  static Result<Lock> take(const fs::path& path, int tries_most, const char* else_what) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return unavailable("{}: {}", path.string(), std::strerror(errno));
    for (int tries = 0; ::flock(fd, LOCK_EX | LOCK_NB) != 0; ++tries) {
      const int reason = errno;
      const bool held = reason == EWOULDBLOCK || reason == EINTR;
      if (!held || tries == tries_most) {
        ::close(fd);
        return unavailable("{}: {}", path.string(), held ? else_what : std::strerror(reason));
      }
      ::usleep(5'000);
    }
    return Lock(fd);
  }
  int fd_;
};

}  // namespace

struct Ledger::State {
  fs::path home, path;
  Database db;
  std::map<std::string, Lock> locks;  // of runs that are this process's

  fs::path lock_path(const std::string& run) const { return home / "runs" / run / "lock"; }

  Status take(const std::string& run) {
    if (locks.contains(run)) return {};
    std::error_code problem;
    fs::create_directories(lock_path(run).parent_path(), problem);
    if (problem) return unavailable("{}: {}", lock_path(run).parent_path().string(), problem.message());
    auto lock = Lock::of_run(lock_path(run));
    if (!lock) return std::move(lock).error();
    locks.emplace(run, std::move(*lock));
    return {};
  }
  std::string state_of(const std::string& run, bool finished) const {
    if (finished) return "finished";
    if (locks.contains(run)) return "running";
    std::error_code ignored;
    if (!fs::exists(lock_path(run), ignored)) return "interrupted";
    return Lock::is_taken(lock_path(run)) ? "running" : "interrupted";
  }

  Result<std::vector<RunInfo>> list(const std::string& where, const std::string& name) {
    ASSIGN_OR_RETURN(auto q, Statement::prepare(db,
        "SELECT r.id, r.name, r.started_ms, r.tasks, r.options, COALESCE(r.summary, ''), "
        "(SELECT COUNT(*) FROM tasks t WHERE t.run = r.id), (SELECT COUNT(*) FROM tasks t WHERE t.run = r.id AND t.failed) "
        "FROM runs r " + where + " ORDER BY r.id"));
    if (!name.empty()) q.bind(std::string_view(name));
    std::vector<RunInfo> out;
    while (true) {
      ASSIGN_OR_RETURN(const bool more, q.row());
      if (!more) return out;
      RunInfo info;
      info.run_id = static_cast<uint64_t>(q.integer(0));
      info.run = q.text(1);
      info.started = iso_utc(q.integer(2));
      info.tasks = q.integer(3);
      auto options = parse_json(q.text(4));
      if (!options) return corrupt("{}: run {}: options: {}", path.string(), info.run, options.error().message);
      info.options = std::move(*options);
      if (const std::string summary = q.text(5); !summary.empty()) {
        auto parsed = parse_json(summary);
        if (!parsed) return corrupt("{}: run {}: summary: {}", path.string(), info.run, parsed.error().message);
        info.summary = std::move(*parsed);
      }
      info.state = state_of(info.run, !info.summary.is_null());
      info.final = q.integer(6);
      info.failed = q.integer(7);
      out.push_back(std::move(info));
    }
  }
};

Ledger::Ledger() : state_(std::make_unique<State>()) {}
Ledger::~Ledger() = default;
const fs::path& Ledger::path() const { return state_->path; }

Result<std::unique_ptr<Ledger>> Ledger::open(const fs::path& home) {
  std::unique_ptr<Ledger> ledger(new Ledger());
  State& s = *ledger->state_;
  s.home = home;
  s.path = home / "colony.db";
  std::error_code problem;
  fs::create_directories(home / "runs", problem);
  if (problem) return unavailable("{}: {}", (home / "runs").string(), problem.message());
  ASSIGN_OR_RETURN([[maybe_unused]] const Lock opening, Lock::of_home(home / "lock"));
  RETURN_IF_ERROR(s.db.open(s.path));
  ASSIGN_OR_RETURN(const int64_t application, pragma(s.db, "application_id"));
  ASSIGN_OR_RETURN(auto objects, Statement::prepare(s.db, "SELECT COUNT(*) FROM sqlite_master"));
  ASSIGN_OR_RETURN(const bool there, objects.row());
  if (application != kApplicationId && (application != 0 || (there && objects.integer(0) > 0))) {
    return corrupt("{}: application id {:#x}, expected {:#x}: another program's database", s.path.string(), application, kApplicationId);
  }
  // synchronous=FULL: a committed row has reached the disk before final() returns.
  RETURN_IF_ERROR(objects.run());
  RETURN_IF_ERROR(s.db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"));
  ASSIGN_OR_RETURN(auto transaction, Transaction::begin(s.db));
  ASSIGN_OR_RETURN(const int64_t schema, pragma(s.db, "user_version"));
  if (schema > kSchema) {
    return corrupt("{}: schema {}, this program knows up to {}; it was written by a newer version", s.path.string(), schema, kSchema);
  }
  if (schema == 0) {
    RETURN_IF_ERROR(s.db.execute(fmt::format("PRAGMA application_id={}; {} {} {} PRAGMA user_version={};", kApplicationId, kCreate, kDeposits, kAttempts, kSchema)));
  } else if (schema == 1) {
    RETURN_IF_ERROR(s.db.execute(fmt::format("ALTER TABLE deposits RENAME TO deposits1; {} INSERT INTO deposits SELECT run, idx, agent, generation, score, place FROM deposits1; "
                                             "DROP TABLE deposits1; {} PRAGMA user_version={};", kDeposits, kAttempts, kSchema)));
  }
  RETURN_IF_ERROR(s.db.execute(kTests));
  RETURN_IF_ERROR(transaction.commit());
  return ledger;
}

Result<RunInfo> Ledger::begin_run(const Json& options, int64_t tasks, int64_t started_unix_ms) {
  State& s = *state_;
  ASSIGN_OR_RETURN(const auto model_hash, get_string(options, "model_hash", "run options"));
  ASSIGN_OR_RETURN(const auto nodes, get_int(options, "nodes", "run options"));
  ASSIGN_OR_RETURN(auto transaction, Transaction::begin(s.db));
  ASSIGN_OR_RETURN(auto last, Statement::prepare(s.db, "SELECT COALESCE(MAX(id), 0) FROM runs"));
  ASSIGN_OR_RETURN([[maybe_unused]] const bool there, last.row());
  RunInfo info;
  info.run_id = static_cast<uint64_t>(last.integer(0) + 1);
  info.run = fmt::format("r{:06}", info.run_id);
  info.started = iso_utc(started_unix_ms);
  info.tasks = tasks;
  info.state = "running";
  info.options = options;
  RETURN_IF_ERROR(s.take(info.run));
  ASSIGN_OR_RETURN(auto insert, Statement::prepare(s.db, "INSERT INTO runs (id, name, started_ms, tasks, options, model_hash, nodes) VALUES (?,?,?,?,?,?,?)"));
  insert.bind(static_cast<int64_t>(info.run_id)).bind(std::string_view(info.run)).bind(started_unix_ms).bind(tasks);
  insert.bind(std::string_view(to_line(options))).bind(std::string_view(model_hash.value_or(""))).bind(nodes.value_or(1));
  RETURN_IF_ERROR(insert.run());
  RETURN_IF_ERROR(transaction.commit());
  return info;
}

Status Ledger::set_input(const RunInfo& run) {
  ASSIGN_OR_RETURN(auto update, Statement::prepare(state_->db, "UPDATE runs SET tasks = ?, options = ? WHERE name = ?"));
  return update.bind(run.tasks).bind(std::string_view(to_line(run.options))).bind(std::string_view(run.run)).run();
}

Status Ledger::drop_run(const std::string& run) {
  ASSIGN_OR_RETURN(auto drop, Statement::prepare(state_->db, "DELETE FROM runs WHERE name = ? AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.run = runs.id)"));
  RETURN_IF_ERROR(drop.bind(std::string_view(run)).run());
  state_->locks.erase(run);
  return {};
}

Status Ledger::finish_run(const std::string& run, const Json& summary) {
  ASSIGN_OR_RETURN(auto update, Statement::prepare(state_->db, "UPDATE runs SET summary = ? WHERE name = ?"));
  RETURN_IF_ERROR(update.bind(std::string_view(to_line(summary))).bind(std::string_view(run)).run());
  state_->locks.erase(run);
  return {};
}

Result<std::vector<RunInfo>> Ledger::runs() { return state_->list("", ""); }

Result<RunInfo> Ledger::find_run(const std::string& name) {
  ASSIGN_OR_RETURN(auto found, name == "last" ? state_->list("WHERE r.id = (SELECT MAX(id) FROM runs)", "") : state_->list("WHERE r.name = ?", name));
  if (found.empty()) {
    return name == "last" ? not_found("{}: no run yet", state_->path.string()) : not_found("{}: no run '{}'; see: colony runs", state_->path.string(), name);
  }
  return std::move(found.front());
}

namespace {

class SqliteRunLog final : public agent::RunLog {
 public:
  SqliteRunLog(Database& db, const RunInfo& run, std::string model_hash, int64_t nodes)
      : db_(db), run_(static_cast<int64_t>(run.run_id)), model_hash_(std::move(model_hash)), nodes_(nodes) {}

  Status final(const std::vector<agent::FinalRow>& rows, const std::vector<std::pair<swarm::NodeId, std::string>>& nodes) override {
    if (rows.empty() && nodes.empty()) return {};
    ASSIGN_OR_RETURN(auto transaction, Transaction::begin(db_));
    ASSIGN_OR_RETURN(auto task, Statement::prepare(db_,
        "INSERT INTO tasks (run, idx, task, id, kind, agent, generation, reason, by, success, failed, prompt_tokens, completion_tokens, ms, line, node) "
        "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"));
    ASSIGN_OR_RETURN(auto bid, Statement::prepare(db_, "INSERT INTO bids (run, idx, agent, bid, p) VALUES (?,?,?,?,?)"));
    ASSIGN_OR_RETURN(auto attempt, Statement::prepare(db_, "INSERT INTO attempts (run, idx, number, agent, generation, node, error, blamed, tokens, ms) VALUES (?,?,?,?,?,?,?,?,?,?)"));
    ASSIGN_OR_RETURN(auto deposit, Statement::prepare(db_, "INSERT INTO deposits (run, idx, agent, generation, score, place) VALUES (?,?,?,?,?,?)"));
    for (const auto& row : rows) {
      task.bind(run_).bind(row.index).bind(static_cast<int64_t>(row.task)).bind(std::string_view(row.id)).bind(std::string_view(row.kind));
      task.bind(std::string_view(row.agent)).bind(std::string_view(row.generation)).bind(std::string_view(row.reason)).bind(std::string_view(row.by));
      task.bind(row.success).bind(int64_t{row.failed ? 1 : 0}).bind(static_cast<int64_t>(row.prompt_tokens));
      task.bind(static_cast<int64_t>(row.completion_tokens)).bind(row.ms).bind(std::string_view(to_line(row.line))).bind(static_cast<int64_t>(row.node));
      if (auto status = task.run(); !status) return std::move(status).error().in(fmt::format("task {} of run {}", row.index, run_));
      for (const auto& one : row.bids) {
        RETURN_IF_ERROR(bid.bind(run_).bind(row.index).bind(std::string_view(one.agent)).bind(one.bid).bind(one.p).run());
      }
      int64_t number = 0;
      for (const auto& one : row.attempts) {
        attempt.bind(run_).bind(row.index).bind(number++).bind(std::string_view(one.agent)).bind(std::string_view(one.generation)).bind(static_cast<int64_t>(one.node));
        if (one.error.empty()) attempt.bind(std::optional<double>());
        else attempt.bind(std::string_view(one.error));
        RETURN_IF_ERROR(attempt.bind(int64_t{one.blamed ? 1 : 0}).bind(static_cast<int64_t>(one.tokens)).bind(one.ms).run());
      }
      for (const auto& one : row.deposits) {
        deposit.bind(run_).bind(row.index).bind(std::string_view(one.agent)).bind(std::string_view(one.generation)).bind(one.score);
        RETURN_IF_ERROR(deposit.bind_blob(std::as_bytes(std::span(row.place))).run());
      }
    }
    ASSIGN_OR_RETURN(auto trail, Statement::prepare(db_, "INSERT OR REPLACE INTO trails (model_hash, nodes, node, run, bytes) VALUES (?,?,?,?,?)"));
    for (const auto& [node, bytes] : nodes) {
      trail.bind(std::string_view(model_hash_)).bind(nodes_).bind(static_cast<int64_t>(node)).bind(run_);
      RETURN_IF_ERROR(trail.bind_blob(std::as_bytes(std::span(bytes))).run());
    }
    return transaction.commit();
  }

 private:
  Database& db_;
  const int64_t run_;
  const std::string model_hash_;
  const int64_t nodes_;
};

}  // namespace

Result<std::unique_ptr<agent::RunLog>> Ledger::run_log(const RunInfo& run) {
  RETURN_IF_ERROR(state_->take(run.run));
  ASSIGN_OR_RETURN(const auto model_hash, get_string(run.options, "model_hash", "run options"));
  ASSIGN_OR_RETURN(const auto nodes, get_int(run.options, "nodes", "run options"));
  return std::unique_ptr<agent::RunLog>(new SqliteRunLog(state_->db, run, model_hash.value_or(""), nodes.value_or(1)));
}

Result<std::vector<std::pair<int64_t, Json>>> Ledger::results(const std::string& run) {
  ASSIGN_OR_RETURN(auto q, Statement::prepare(state_->db, "SELECT t.idx, t.line FROM tasks t JOIN runs r ON r.id = t.run WHERE r.name = ? ORDER BY t.idx"));
  q.bind(std::string_view(run));
  std::vector<std::pair<int64_t, Json>> out;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, q.row());
    if (!more) return out;
    auto line = parse_json(q.text(1));
    if (!line) return corrupt("{}: run {}, task {}: {}", state_->path.string(), run, q.integer(0), line.error().message);
    out.emplace_back(q.integer(0), std::move(*line));
  }
}

Result<Ledger::TaskStory> Ledger::story(const std::string& run, int64_t index) {
  TaskStory story;
  ASSIGN_OR_RETURN(auto attempts, Statement::prepare(state_->db,
      "SELECT a.agent, a.generation, a.node, COALESCE(a.error, ''), a.blamed, a.tokens, a.ms FROM attempts a JOIN runs r ON r.id = a.run WHERE r.name = ? AND a.idx = ? ORDER BY a.number"));
  attempts.bind(std::string_view(run)).bind(index);
  while (true) {
    ASSIGN_OR_RETURN(const bool more, attempts.row());
    if (!more) break;
    Json one = {{"agent", attempts.text(0)}, {"generation", attempts.text(1)}, {"node", attempts.integer(2)}};
    if (const std::string error = attempts.text(3); !error.empty()) {
      one["error"] = error;
      one["blamed"] = attempts.integer(4) != 0;
    }
    one["tokens"] = attempts.integer(5);
    one["ms"] = attempts.number(6);
    story.attempts.push_back(std::move(one));
  }
  ASSIGN_OR_RETURN(auto deposits, Statement::prepare(state_->db,
      "SELECT d.agent, d.generation, d.score FROM deposits d JOIN runs r ON r.id = d.run WHERE r.name = ? AND d.idx = ? ORDER BY d.agent, d.generation"));
  deposits.bind(std::string_view(run)).bind(index);
  while (true) {
    ASSIGN_OR_RETURN(const bool more, deposits.row());
    if (!more) return story;
    story.deposits.push_back({{"agent", deposits.text(0)}, {"generation", deposits.text(1)}, {"score", deposits.number(2)}});
  }
}

Status Ledger::remember_agents(const std::vector<std::shared_ptr<const agent::AgentSpec>>& agents, int64_t now_unix_ms) {
  ASSIGN_OR_RETURN(auto transaction, Transaction::begin(state_->db));
  ASSIGN_OR_RETURN(auto insert, Statement::prepare(state_->db,
      "INSERT OR IGNORE INTO agents (name, generation, role, description, folder, first_seen_ms) VALUES (?,?,?,?,?,?)"));
  for (const auto& a : agents) {
    insert.bind(std::string_view(a->name)).bind(std::string_view(a->generation)).bind(std::string_view(role_name(a->role)));
    RETURN_IF_ERROR(insert.bind(std::string_view(a->description)).bind(std::string_view(a->folder.string())).bind(now_unix_ms).run());
  }
  return transaction.commit();
}

Result<std::vector<std::pair<swarm::NodeId, std::string>>> Ledger::trails(const std::string& model_hash, int nodes) {
  ASSIGN_OR_RETURN(auto q, Statement::prepare(state_->db, "SELECT node, bytes FROM trails WHERE model_hash = ? AND nodes = ? ORDER BY node"));
  q.bind(std::string_view(model_hash)).bind(int64_t{nodes});
  std::vector<std::pair<swarm::NodeId, std::string>> out;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, q.row());
    if (!more) return out;
    out.emplace_back(static_cast<swarm::NodeId>(q.integer(0)), q.text(1));
  }
}

Status Ledger::keep_test(const agent::AgentSpec& agent, const std::string& model_hash, const std::string& tasks_hash, const std::vector<swarm::GateItem>& items, int64_t now_unix_ms) {
  std::string bytes(items.size() * kItemBytes, '\0');
  for (size_t i = 0; i < items.size(); ++i) {
    std::memcpy(&bytes[i * kItemBytes], items[i].place.data(), sizeof(swarm::Place));
    std::memcpy(&bytes[i * kItemBytes + sizeof(swarm::Place)], &items[i].score, sizeof(double));
  }
  ASSIGN_OR_RETURN(auto insert, Statement::prepare(state_->db,
      "INSERT INTO tests (agent, generation, model_hash, tasks_hash, tested_ms, items) VALUES (?,?,?,?,?,?) "
      "ON CONFLICT (agent, generation, model_hash, tasks_hash) DO UPDATE SET tested_ms = excluded.tested_ms, items = excluded.items"));
  insert.bind(std::string_view(agent.name)).bind(std::string_view(agent.generation)).bind(std::string_view(model_hash)).bind(std::string_view(tasks_hash)).bind(now_unix_ms);
  return insert.bind_blob(std::as_bytes(std::span(bytes))).run();
}

Result<std::vector<swarm::GateItem>> Ledger::own_test(const agent::AgentSpec& agent, const std::string& model_hash) {
  ASSIGN_OR_RETURN(auto q, Statement::prepare(state_->db, "SELECT items FROM tests WHERE agent = ? AND generation = ? AND model_hash = ? ORDER BY id"));
  q.bind(std::string_view(agent.name)).bind(std::string_view(agent.generation)).bind(std::string_view(model_hash));
  std::vector<swarm::GateItem> items;
  std::set<swarm::Place> places;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, q.row());
    if (!more) return items;
    const std::string bytes = q.text(0);
    if (bytes.size() % kItemBytes != 0) return corrupt("{}: a test of agent {}: found {} bytes, expected {} an item", state_->path.string(), agent.name, bytes.size(), kItemBytes);
    for (size_t at = 0; at < bytes.size(); at += kItemBytes) {
      swarm::GateItem item;
      std::memcpy(item.place.data(), &bytes[at], sizeof(swarm::Place));
      std::memcpy(&item.score, &bytes[at + sizeof(swarm::Place)], sizeof(double));
      if (!swarm::finite(item.place) || !(item.score >= 0 && item.score <= 1)) return corrupt("{}: a test of agent {}: found an item that is none", state_->path.string(), agent.name);
      if (places.insert(item.place).second) items.push_back(item);
    }
  }
}

Status Ledger::add_metrics(const std::string& run, const std::vector<std::pair<std::string, double>>& metrics) {
  ASSIGN_OR_RETURN(auto transaction, Transaction::begin(state_->db));
  ASSIGN_OR_RETURN(auto insert, Statement::prepare(state_->db,
      "INSERT OR REPLACE INTO metrics (run, name, value) SELECT id, ?, ? FROM runs WHERE name = ?"));
  for (const auto& [name, value] : metrics) {
    RETURN_IF_ERROR(insert.bind(std::string_view(name)).bind(value).bind(std::string_view(run)).run());
  }
  return transaction.commit();
}

}  // namespace colony::store
