#include "store/sqlite.h"

#include <sqlite3.h>

#include <utility>

namespace colony::store {

Database::~Database() { sqlite3_close_v2(db_); }

Status Database::open(const std::filesystem::path& path) {
  path_ = path;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path.c_str(), &db_, flags, nullptr) != SQLITE_OK) return error("opening");
  sqlite3_busy_timeout(db_, 10'000);
  return {};
}

Error Database::error(std::string_view what) const {
  const int code = db_ == nullptr ? SQLITE_NOMEM : sqlite3_errcode(db_);
  const char* says = db_ == nullptr ? "out of memory" : sqlite3_errmsg(db_);
  ErrorCode kind = ErrorCode::kUnavailable;
  if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) kind = ErrorCode::kCorrupt;
  if (code == SQLITE_CONSTRAINT) kind = ErrorCode::kInvalid;
  return make_error(kind, "{}: {}: {}", path_.string(), what, says);
}

Status Database::execute(const std::string& sql) {
  if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) return error("writing");
  return {};
}

Result<Transaction> Transaction::begin(Database& db) {
  RETURN_IF_ERROR(db.execute("BEGIN IMMEDIATE"));
  return Transaction(db);
}
Transaction::~Transaction() {
  if (db_ != nullptr && sqlite3_get_autocommit(db_->get()) == 0) (void)db_->execute("ROLLBACK");
}
Status Transaction::commit() {
  RETURN_IF_ERROR(db_->execute("COMMIT"));
  db_ = nullptr;
  return {};
}

Result<Statement> Statement::prepare(Database& db, std::string_view sql) {
  sqlite3_stmt* made = nullptr;
  if (sqlite3_prepare_v2(db.get(), sql.data(), static_cast<int>(sql.size()), &made, nullptr) != SQLITE_OK) {
    return db.error("preparing a statement");
  }
  return Statement(db, made);
}
Statement::Statement(Statement&& other) noexcept
    : db_(other.db_), statement_(std::exchange(other.statement_, nullptr)), next_(other.next_), bad_bind_(other.bad_bind_) {}
Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::bind(std::string_view text) {
  bad_bind_ |= sqlite3_bind_text64(statement_, next_++, text.data() == nullptr ? "" : text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8) != SQLITE_OK;
  return *this;
}
Statement& Statement::bind(int64_t value) {
  bad_bind_ |= sqlite3_bind_int64(statement_, next_++, value) != SQLITE_OK;
  return *this;
}
Statement& Statement::bind(double value) {
  bad_bind_ |= sqlite3_bind_double(statement_, next_++, value) != SQLITE_OK;
  return *this;
}
Statement& Statement::bind(std::optional<double> value) {
  if (value) return bind(*value);
  bad_bind_ |= sqlite3_bind_null(statement_, next_++) != SQLITE_OK;
  return *this;
}
Statement& Statement::bind_blob(std::span<const std::byte> bytes) {
  bad_bind_ |= sqlite3_bind_blob64(statement_, next_++, bytes.empty() ? static_cast<const void*>("") : bytes.data(), bytes.size(), SQLITE_TRANSIENT) != SQLITE_OK;
  return *this;
}

Result<bool> Statement::row() {
  if (bad_bind_) return db_->error("binding a value");
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return db_->error("running a statement");
}
Status Statement::run() {
  while (true) {
    auto more = row();
    if (!more) {
      Error error = std::move(more).error();
      sqlite3_reset(statement_);
      return error;
    }
    if (!*more) break;
  }
  sqlite3_reset(statement_);
  next_ = 1;
  return {};
}
int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }
double Statement::number(int column) const { return sqlite3_column_double(statement_, column); }
std::string Statement::text(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  const int size = sqlite3_column_bytes(statement_, column);
  return bytes == nullptr ? std::string() : std::string(bytes, static_cast<size_t>(size));
}

}  // namespace colony::store
