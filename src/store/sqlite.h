// The little of SQLite's C interface that this room uses, with Result.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace colony::store {

// One connection. Threads: one owner.
class Database {
 public:
  Database() = default;
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Creates the file when absent.
  Status open(const std::filesystem::path& path);
  Status execute(const std::string& sql);  // one or more statements, no parameters
  // kUnavailable (disk, busy, full, read-only), kCorrupt, kInvalid (a constraint); `what` was tried.
  Error error(std::string_view what) const;
  sqlite3* get() const { return db_; }

 private:
  std::filesystem::path path_;
  sqlite3* db_ = nullptr;
};

// BEGIN IMMEDIATE … COMMIT; rolled back when destroyed before commit().
class Transaction {
 public:
  static Result<Transaction> begin(Database& db);
  Transaction(Transaction&& other) noexcept : db_(other.db_) { other.db_ = nullptr; }
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Status commit();

 private:
  explicit Transaction(Database& db) : db_(&db) {}
  Database* db_;
};

// A prepared statement. bind() in order of the question marks; then row() until it says false.
class Statement {
 public:
  static Result<Statement> prepare(Database& db, std::string_view sql);
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  Statement& bind(std::string_view text);
  Statement& bind(int64_t value);
  Statement& bind(double value);
  Statement& bind(std::optional<double> value);
  Statement& bind_blob(std::span<const std::byte> bytes);

  Result<bool> row();  // steps; true while there is one
  Status run();        // steps to the end, and makes it ready to be bound again
  int64_t integer(int column) const;
  double number(int column) const;
  std::string text(int column) const;  // also blobs

 private:
  Statement(Database& db, sqlite3_stmt* statement) : db_(&db), statement_(statement) {}
  Database* db_;
  sqlite3_stmt* statement_;
  int next_ = 1;
  bool bad_bind_ = false;
};

}  // namespace colony::store
