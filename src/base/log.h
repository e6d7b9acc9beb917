// Log lines on standard error: log_info("loaded {} in {} ms", name, ms).
//
// Prompts, answers and secrets never go into a log line. Threads: any.
#pragma once
#include <fmt/format.h>

#include <string_view>

namespace colony {

enum class LogLevel { kDebug, kInfo, kWarn, kError };

// Lines below `level` are dropped. Default kWarn. Call before the first thread starts.
void set_log_level(LogLevel level);
void log_line(LogLevel level, std::string_view line);
bool log_enabled(LogLevel level);

#define COLONY_LOG_FUNCTION(name, level)                                              \
  template <typename... Args>                                                         \
  void name(fmt::format_string<Args...> format, Args&&... args) {                     \
    if (log_enabled(level)) log_line(level, fmt::format(format, std::forward<Args>(args)...)); \
  }
COLONY_LOG_FUNCTION(log_debug, LogLevel::kDebug)
COLONY_LOG_FUNCTION(log_info, LogLevel::kInfo)
COLONY_LOG_FUNCTION(log_warn, LogLevel::kWarn)
COLONY_LOG_FUNCTION(log_error, LogLevel::kError)
#undef COLONY_LOG_FUNCTION

}  // namespace colony
