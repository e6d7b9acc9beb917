// CHECK: our own promises, on in every build. Never on data from outside.
#pragma once
#include <string_view>

namespace colony {
// Prints "file:line: check failed: condition: why" to standard error and aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               std::string_view why);
}  // namespace colony

#define CHECK(condition, why)                                              \
  do {                                                                     \
    if (!(condition)) ::colony::check_failed(__FILE__, __LINE__, #condition, why); \
  } while (false)
