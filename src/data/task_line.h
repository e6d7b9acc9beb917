// Task lines: what `run` and `eval` read (conventions 2b).
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
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

// Task lines one by one, as they come.
class TaskReader {
 public:
  // `folder`: as in parse_tasks(). Fails when its task.json cannot be read.
  static Result<TaskReader> open(const std::filesystem::path& folder);
  // The next line, without its end; nothing when it is blank. Fails where the line is a problem.
  Result<std::optional<TaskLine>> next(std::string_view line);
  int64_t lines() const { return number_; }  // so far; that of the last one, from 1

 private:
  std::filesystem::path folder_;
  std::string default_check_;
  std::vector<std::string> default_labels_;
  int64_t number_ = 0;
  std::map<std::string, int64_t> line_of_id_;
  std::map<std::string, std::string> problem_of_check_;  // "" when the check is well made
};

// `path` may be "-" (standard input; folder is then empty: the current one, without task.json). A
// task.json beside the file gives the check and the labels that lines lack. Blank lines are skipped.
// Duplicate ids, unknown checks, and a check without the answer it needs are problems of their line.
// Fails when file or task.json cannot be read, or there is no line at all; a file of bad lines only
// gives no task but problems.
Result<TaskFile> read_tasks(const std::filesystem::path& path);
// `folder` empty: no task.json; files of checks are looked for in the current folder.
Result<TaskFile> parse_tasks(std::string_view bytes, const std::filesystem::path& folder);

// The messages of a task: its own, or its prompt as one user message.
Json task_messages(const TaskLine& task);
// Its raw text, for places: the prompt, or the contents of the messages joined by line ends.
std::string task_text(const TaskLine& task);
// The fields of the line that conventions 2b does not name, for the result line.
Json unknown_fields(const TaskLine& task);

}  // namespace colony::data
