// Lua patterns (manual 5.4, 6.4.1) with a count of steps, so that a search can be stopped.
//
// Lua's own matcher runs in C where no instruction hook looks: "a*a*a*a*b" on a long subject would
// run for hours. Nothing here allocates or has a destructor, since Lua's errors jump over frames.
#pragma once
#include <cstddef>
#include <cstdint>

namespace colony::agent {

inline constexpr int kLuaCapturesMax = 32;

struct LuaMatcher {
  static constexpr ptrdiff_t kOpen = -1, kPosition = -2;
  static constexpr int kDepthMax = 200;
  struct Capture {
    const char* start = nullptr;
    ptrdiff_t size = 0;  // kOpen while unfinished, kPosition for "()"
  };

  const char* begin = nullptr;        // subject
  const char* end = nullptr;
  const char* pattern_end = nullptr;
  uint64_t steps_left = 0;
  const char* error = nullptr;        // set when the pattern is wrong
  bool out_of_steps = false;
  int level = 0;
  Capture captures[kLuaCapturesMax] = {};

  // The end of the match of `pattern` at `at`, or null (then look at error and out_of_steps).
  // Call reset() first.
  const char* match(const char* at, const char* pattern);
  void reset() { level = 0, depth_ = 0; }

 private:
  bool step();
  const char* fail(const char* why);
  const char* class_end(const char* pattern);
  bool single(const char* at, const char* pattern, const char* item_end);
  bool in_set(unsigned char c, const char* set, const char* last);
  const char* most(const char* at, const char* pattern, const char* item_end);
  const char* fewest(const char* at, const char* pattern, const char* item_end);
  const char* balance(const char* at, const char* pattern);

  int depth_ = 0;
};

}  // namespace colony::agent
