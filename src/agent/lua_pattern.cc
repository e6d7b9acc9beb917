#include "agent/lua_pattern.h"

#include <cctype>
#include <cstring>

namespace colony::agent {
namespace {

bool in_class(unsigned char c, char cl) {
  bool is = false;
  switch (std::tolower(static_cast<unsigned char>(cl))) {
    case 'a': is = std::isalpha(c) != 0; break;
    case 'c': is = std::iscntrl(c) != 0; break;
    case 'd': is = std::isdigit(c) != 0; break;
    case 'g': is = std::isgraph(c) != 0; break;
    case 'l': is = std::islower(c) != 0; break;
    case 'p': is = std::ispunct(c) != 0; break;
    case 's': is = std::isspace(c) != 0; break;
    case 'u': is = std::isupper(c) != 0; break;
    case 'w': is = std::isalnum(c) != 0; break;
    case 'x': is = std::isxdigit(c) != 0; break;
    default: return static_cast<unsigned char>(cl) == c;
  }
  return std::isupper(static_cast<unsigned char>(cl)) != 0 ? !is : is;
}

}  // namespace

bool LuaMatcher::step() {
  if (steps_left == 0) {
    out_of_steps = true;
    return false;
  }
  --steps_left;
  return true;
}

const char* LuaMatcher::fail(const char* why) {
  if (error == nullptr) error = why;
  return nullptr;
}

// The first character behind the single-character item at `pattern`; null when it is malformed.
const char* LuaMatcher::class_end(const char* pattern) {
  const char first = *pattern++;
  if (first == '%') {
    if (pattern == pattern_end) return fail("malformed pattern (ends with '%')");
    return pattern + 1;
  }
  if (first != '[') return pattern;
  if (pattern < pattern_end && *pattern == '^') ++pattern;
  do {  // the first character may be ']'
    if (pattern == pattern_end) return fail("malformed pattern (missing ']')");
    const char c = *pattern++;
    if (c == '%') {
      if (pattern == pattern_end) return fail("malformed pattern (missing ']')");
      ++pattern;
    }
  } while (pattern == pattern_end || *pattern != ']');
  return pattern + 1;
}

// `set` is the '[', `last` the ']'.
bool LuaMatcher::in_set(unsigned char c, const char* set, const char* last) {
  bool positive = true;
  if (set[1] == '^') {
    positive = false;
    ++set;
  }
  while (++set < last) {
    if (*set == '%') {
      ++set;
      if (in_class(c, *set)) return positive;
    } else if (set + 2 < last && set[1] == '-') {
      set += 2;
      if (static_cast<unsigned char>(set[-2]) <= c && c <= static_cast<unsigned char>(*set)) {
        return positive;
      }
    } else if (static_cast<unsigned char>(*set) == c) {
      return positive;
    }
  }
  return !positive;
}

bool LuaMatcher::single(const char* at, const char* pattern, const char* item_end) {
  if (at >= end) return false;
  const auto c = static_cast<unsigned char>(*at);
  switch (*pattern) {
    case '.': return true;
    case '%': return in_class(c, pattern[1]);
    case '[': return in_set(c, pattern, item_end - 1);
    default: return static_cast<unsigned char>(*pattern) == c;
  }
}

const char* LuaMatcher::most(const char* at, const char* pattern, const char* item_end) {
  ptrdiff_t count = 0;
  while (single(at + count, pattern, item_end)) {
    if (!step()) return nullptr;
    ++count;
  }
  for (; count >= 0; --count) {
    const char* found = match(at + count, item_end + 1);
    if (found != nullptr || error != nullptr || out_of_steps) return found;
  }
  return nullptr;
}

const char* LuaMatcher::fewest(const char* at, const char* pattern, const char* item_end) {
  while (true) {
    const char* found = match(at, item_end + 1);
    if (found != nullptr || error != nullptr || out_of_steps) return found;
    if (!single(at, pattern, item_end)) return nullptr;
    ++at;
  }
}

const char* LuaMatcher::balance(const char* at, const char* pattern) {
  if (pattern + 1 >= pattern_end) return fail("malformed pattern (missing arguments to '%b')");
  if (at >= end || *at != *pattern) return nullptr;
  const char open = pattern[0], close = pattern[1];
  int nested = 1;
  while (++at < end) {
    if (!step()) return nullptr;
    if (*at == close) {
      if (--nested == 0) return at + 1;
    } else if (*at == open) {
      ++nested;
    }
  }
  return nullptr;
}

const char* LuaMatcher::match(const char* at, const char* pattern) {
  if (++depth_ > kDepthMax) {
    --depth_;
    return fail("pattern too complex");
  }
  struct Leave {  // trivially jumped over: nothing here raises Lua errors
    int& depth;
    ~Leave() { --depth; }
  } leave{depth_};

  while (true) {
    if (!step()) return nullptr;
    if (pattern == pattern_end) return at;
    switch (*pattern) {
      case '(': {
        if (level >= kLuaCapturesMax) return fail("too many captures");
        const bool position = pattern + 1 < pattern_end && pattern[1] == ')';
        captures[level++] = {at, position ? kPosition : kOpen};
        const char* found = match(at, pattern + (position ? 2 : 1));
        if (found == nullptr) --level;
        return found;
      }
      case ')': {
        int open = level - 1;
        while (open >= 0 && captures[open].size != kOpen) --open;
        if (open < 0) return fail("invalid pattern capture");
        captures[open].size = at - captures[open].start;
        const char* found = match(at, pattern + 1);
        if (found == nullptr) captures[open].size = kOpen;
        return found;
      }
      case '$':
        if (pattern + 1 == pattern_end) return at == end ? at : nullptr;
        break;
      case '%': {
        const char next = pattern + 1 < pattern_end ? pattern[1] : '\0';
        if (next == 'b') {
          at = balance(at, pattern + 2);
          if (at == nullptr) return nullptr;
          pattern += 4;
          continue;
        }
        if (next == 'f') {
          pattern += 2;
          if (pattern >= pattern_end || *pattern != '[') {
            return fail("missing '[' after '%f' in pattern");
          }
          const char* set_end = class_end(pattern);
          if (set_end == nullptr) return nullptr;
          const auto before = static_cast<unsigned char>(at == begin ? '\0' : at[-1]);
          const auto here = static_cast<unsigned char>(at == end ? '\0' : *at);
          if (in_set(before, pattern, set_end - 1) || !in_set(here, pattern, set_end - 1)) {
            return nullptr;
          }
          pattern = set_end;
          continue;
        }
        if (next >= '0' && next <= '9') {
          const int index = next - '1';
          if (index < 0 || index >= level || captures[index].size < 0) {
            return fail("invalid capture index in pattern");
          }
          const auto size = static_cast<size_t>(captures[index].size);
          if (static_cast<size_t>(end - at) < size ||
              std::memcmp(captures[index].start, at, size) != 0) {
            return nullptr;
          }
          at += size;
          pattern += 2;
          continue;
        }
        break;
      }
      default: break;
    }
    const char* item_end = class_end(pattern);
    if (item_end == nullptr) return nullptr;
    const char quantifier = item_end < pattern_end ? *item_end : '\0';
    if (quantifier == '*') return most(at, pattern, item_end);
    if (quantifier == '-') return fewest(at, pattern, item_end);
    const bool fits = single(at, pattern, item_end);
    if (quantifier == '+') return fits ? most(at + 1, pattern, item_end) : nullptr;
    if (quantifier == '?') {
      if (fits) {
        const char* found = match(at + 1, item_end + 1);
        if (found != nullptr || error != nullptr || out_of_steps) return found;
      }
      pattern = item_end + 1;
      continue;
    }
    if (!fits) return nullptr;
    ++at;
    pattern = item_end;
  }
}

}  // namespace colony::agent
