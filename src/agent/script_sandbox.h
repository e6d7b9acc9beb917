// Agents' scripts and script checks: Lua 5.4 in a box.
//
// A script sees the base functions that cannot reach outside, string, table, math and utf8; no io,
// os, require, debug, load, metatables, coroutines, random numbers or collectgarbage. Instructions,
// memory and time are limited, and no pcall survives a limit. Every call starts from a fresh state,
// and pairs() goes by key, so the same task gives the same result on every machine.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "data/check.h"

namespace colony::agent {

struct ScriptLimits {
  uint64_t instructions = 20'000'000;       // virtual machine instructions and pattern steps
  uint64_t memory_bytes = 16 << 20;         // held at once; 64 times that over a call
  std::chrono::nanoseconds wall = std::chrono::seconds(2);
};

// What before() said: another prompt, the answer itself, or neither (the prompt stays).
struct BeforeResult {
  std::optional<std::string> prompt, answer;
};

// Threads: any, once loaded.
class Script {
 public:
  // `name` is for messages. Runs the chunk once. Fails kInvalid: syntax, an error while it runs, a
  // global other than the functions before and after, neither of them defined.
  static Result<std::shared_ptr<const Script>> load(std::string name, std::string source,
                                                    const Clock& clock,
                                                    const ScriptLimits& limits = {});
  bool has_before() const { return has_before_; }
  bool has_after() const { return has_after_; }

  // `task` becomes a Lua table. Fail kInvalid (script error, wrong return), kExhausted (a limit).
  Result<BeforeResult> before(const Json& task) const;
  Result<std::string> after(const Json& task, std::string_view text) const;

 private:
  Script(std::string name, std::string source, const Clock& clock, const ScriptLimits& limits)
      : name_(std::move(name)), source_(std::move(source)), clock_(clock), limits_(limits) {}

  const std::string name_, source_;
  const Clock& clock_;
  const ScriptLimits limits_;
  bool has_before_ = false, has_after_ = false;
};

// For data::Check: the file is a chunk called with (task, output), both also globals of these
// names; it returns a number, or a function (task, output) -> number. `clock` must outlive it.
data::ScriptCheck make_script_check(const Clock& clock, const ScriptLimits& limits = {});

}  // namespace colony::agent
