// JSON lines of a file or of standard input, for the verbs that answer line by line.
#pragma once
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace colony::app {

struct InputLine {
  int64_t line = 0;     // 1-based, for messages
  Result<Json> value;   // an object, or what is wrong (with file and line)
};

// "-" is standard input. Blank lines are left out. Fails when the file cannot be read or has no line.
Result<std::vector<InputLine>> read_lines(const std::string& file);
Result<std::string> read_file_or_input(const std::string& file);
// The rows of a Parquet file as JSON lines, of these columns those it has; colony-parquet beside the running program
// reads it. Fails kNotFound where that was not built, kInvalid when the file cannot be read (why: on standard error).
Result<std::string> read_parquet(const std::string& file, const std::vector<std::string>& columns);

// The error of a line: "FILE:LINE: message".
Error at_line(const std::string& file, int64_t line, const Error& error);

// The member `ids`: token ids in [0, vocab). Fails kInvalid; nullopt when absent.
Result<std::optional<std::vector<int32_t>>> read_ids(const Json& object, int64_t vocab);

}  // namespace colony::app
