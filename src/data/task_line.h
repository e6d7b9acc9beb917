// Task lines: what `run` and `eval` read (conventions 2b).
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace colony::data {

struct TaskLine {
  int64_t line = 0;           // 1-based line of the file
  std::string id;             // as given, else "line-N"
  std::string kind;           // kind, else task, else "task"
  std::string prompt;         // "" when messages are given
  Json messages;              // array, or null
  std::optional<std::string> answer;  // numbers and booleans as their JSON text
  std::string check;          // "" means: answered and not scored
  std::vector<std::string> labels;
  Json fields;                // the whole object, copied to the result
};

struct LineProblem {
  int64_t line = 0;
  std::string reason;  // field, found, expected
};

struct TaskFile {
  std::vector<TaskLine> tasks;
  std::vector<LineProblem> problems;  // these lines were left out
  std::filesystem::path folder;       // where schema: and script: checks are looked for
  std::string content_hash;           // SHA-256 of the bytes
};

// `path` may be "-" (standard input). A task.json beside the file gives the check that lines lack.
// Duplicate ids are problems. Fails only when the file cannot be read or holds no task at all.
Result<TaskFile> read_tasks(const std::filesystem::path& path);
Result<TaskFile> parse_tasks(std::string_view bytes, const std::filesystem::path& folder);

}  // namespace colony::data
