// Result<T> and Status: how every room reports what the world did to it.
//
// Ours never throws. A function that can fail for a reason outside our own code returns Result<T>
// (a value or an Error) or Status (nothing or an Error); dropping either is a compiler warning.
// Messages say what was tried, on what, what was found, and if known what to do.
#pragma once
#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace colony {

// Stable numbers: they cross machines and are written to the ledger. Never renumber.
enum class ErrorCode : uint8_t {
  kInvalid = 1,      // the request or argument is wrong; trying again will not help
  kNotFound = 2,     // the thing named does not exist
  kCorrupt = 3,      // bytes are not what their format promises
  kExhausted = 4,    // a limit was reached: memory, budget, queue, step count
  kUnavailable = 5,  // the outside failed us for now: network, disk, busy; trying again may help
  kCancelled = 6,    // somebody asked to stop
};

// "invalid", "not_found", … as in the enum.
std::string_view error_code_name(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::kInvalid;
  std::string message;

  // The same error with "context: " in front, for callers that know more.
  [[nodiscard]] Error in(std::string_view context) && {
    message = fmt::format("{}: {}", context, message);
    return std::move(*this);
  }
};

template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
  Result(Error error) : tl::expected<T, Error>(tl::unexpect, std::move(error)) {}  // NOLINT
};

using Status = Result<void>;

template <typename... Args>
Error make_error(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return Error{code, fmt::format(format, std::forward<Args>(args)...)};
}
template <typename... Args>
Error invalid(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::kInvalid, format, std::forward<Args>(args)...);
}
template <typename... Args>
Error not_found(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::kNotFound, format, std::forward<Args>(args)...);
}
template <typename... Args>
Error corrupt(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::kCorrupt, format, std::forward<Args>(args)...);
}
template <typename... Args>
Error exhausted(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::kExhausted, format, std::forward<Args>(args)...);
}
template <typename... Args>
Error unavailable(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::kUnavailable, format, std::forward<Args>(args)...);
}
template <typename... Args>
Error cancelled(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::kCancelled, format, std::forward<Args>(args)...);
}

#define COLONY_CONCAT_(a, b) a##b
#define COLONY_CONCAT(a, b) COLONY_CONCAT_(a, b)

// RETURN_IF_ERROR(status_expression);  passes the error up.
#define RETURN_IF_ERROR(expression)                                        \
  do {                                                                     \
    if (auto status_ = (expression); !status_) return std::move(status_).error(); \
  } while (false)

// ASSIGN_OR_RETURN(auto config, load_config(path));  The left side must hold no bare comma.
#define ASSIGN_OR_RETURN(left, expression) \
  ASSIGN_OR_RETURN_(COLONY_CONCAT(result_, __LINE__), left, expression)
#define ASSIGN_OR_RETURN_(result, left, expression)   \
  auto result = (expression);                         \
  if (!result) return std::move(result).error();      \
  left = std::move(*result)

}  // namespace colony
