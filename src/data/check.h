// Checks: a task's own judge, output → score in [0, 1] (the table of conventions 2b).
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "data/task_line.h"

namespace colony::data {

// script:NAME is run by whoever has a sandbox: (script path, task fields, output) -> score.
using ScriptCheck = std::function<Result<double>(const std::filesystem::path& script,
                                                 const Json& task, std::string_view output)>;

// Threads: any, once made.
class Check {
 public:
  // spec: "exact", "icase", "label", "numeric", "sql", "slots", "has_slots", "token_f1", "json",
  // "schema:FILE", "regex:RE", "script:NAME". Fails kInvalid (unknown, bad RE), kNotFound (file).
  // `script` may be empty: the score of script checks is then an error.
  static Result<std::shared_ptr<const Check>> make(const std::string& spec,
                                                   const std::filesystem::path& folder,
                                                   ScriptCheck script);
  virtual ~Check() = default;
  // In [0, 1]. Fails when the task lacks the answer this check needs, or a script fails.
  virtual Result<double> score(const TaskLine& task, std::string_view output) const = 0;
};

// Whether a check of this spec compares with the task's answer.
bool check_needs_answer(const std::string& spec);

}  // namespace colony::data
