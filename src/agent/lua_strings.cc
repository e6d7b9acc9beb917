// Semantics: Lua 5.4 manual, 6.4. No object with a destructor may live where an error can be raised.
#include "agent/lua_strings.h"

#include <algorithm>
#include <cstring>

#include "agent/lua_pattern.h"

namespace colony::agent {
namespace {

struct Meter {
  ChargeSteps charge;
  StepsLeft left;
};
constexpr char kMeterKey[] = "colony.meter";

const Meter& meter(lua_State* lua) {
  lua_getfield(lua, LUA_REGISTRYINDEX, kMeterKey);
  const auto* found = static_cast<const Meter*>(lua_touserdata(lua, -1));
  lua_pop(lua, 1);
  return *found;
}

struct Text {
  const char* data;
  size_t size;
};
Text text_arg(lua_State* lua, int index) {
  Text text{};
  text.data = luaL_checklstring(lua, index, &text.size);
  return text;
}

// 1-based, negative from the end; clipped to [1, size + 1 or more].
size_t start_of(lua_Integer at, size_t size) {
  if (at > 0) return static_cast<size_t>(at);
  if (at == 0) return 1;
  if (at < -static_cast<lua_Integer>(size)) return 1;
  return size + static_cast<size_t>(at + 1);
}

LuaMatcher matcher_for(lua_State* lua, Text subject, Text pattern) {
  LuaMatcher matcher;
  matcher.begin = subject.data;
  matcher.end = subject.data + subject.size;
  matcher.pattern_end = pattern.data + pattern.size;
  matcher.steps_left = meter(lua).left(lua);
  return matcher;
}

// Runs one attempt, charges what it took, and raises what went wrong.
const char* attempt(lua_State* lua, LuaMatcher& matcher, const char* at, const char* pattern) {
  matcher.reset();
  const uint64_t before = matcher.steps_left;
  const char* found = matcher.match(at, pattern);
  meter(lua).charge(lua, before - matcher.steps_left + (matcher.out_of_steps ? 1 : 0));
  if (matcher.error != nullptr) luaL_error(lua, "%s", matcher.error);
  return found;
}

void push_capture(lua_State* lua, const LuaMatcher& matcher, int index, const char* start,
                  const char* stop) {
  if (index >= matcher.level) {
    if (index != 0) luaL_error(lua, "invalid capture index %%%d", index + 1);
    lua_pushlstring(lua, start, static_cast<size_t>(stop - start));
    return;
  }
  const auto& capture = matcher.captures[index];
  if (capture.size == LuaMatcher::kOpen) luaL_error(lua, "unfinished capture");
  if (capture.size == LuaMatcher::kPosition) {
    lua_pushinteger(lua, capture.start - matcher.begin + 1);
  } else {
    lua_pushlstring(lua, capture.start, static_cast<size_t>(capture.size));
  }
}

// All captures, or the whole match when there are none and `start` is given.
int push_captures(lua_State* lua, const LuaMatcher& matcher, const char* start, const char* stop) {
  const int count = matcher.level == 0 && start != nullptr ? 1 : matcher.level;
  luaL_checkstack(lua, count, "too many captures");
  for (int i = 0; i < count; ++i) push_capture(lua, matcher, i, start, stop);
  return count;
}

bool has_magic(Text pattern) {
  for (size_t i = 0; i < pattern.size; ++i) {
    if (pattern.data[i] != '\0' && std::strchr("^$*+?.([%-", pattern.data[i]) != nullptr) return true;
  }
  return false;
}

int find_or_match(lua_State* lua, bool find) {
  const Text subject = text_arg(lua, 1), pattern = text_arg(lua, 2);
  const size_t init = start_of(luaL_optinteger(lua, 3, 1), subject.size) - 1;
  if (init > subject.size) {
    lua_pushnil(lua);
    return 1;
  }
  if (find && (lua_toboolean(lua, 4) != 0 || !has_magic(pattern))) {
    // memmem is linear in glibc.
    meter(lua).charge(lua, (subject.size - init) / 8 + 1);
    const auto* found = static_cast<const char*>(
        pattern.size == 0 ? subject.data + init
                          : memmem(subject.data + init, subject.size - init, pattern.data,
                                   pattern.size));
    if (found == nullptr) {
      lua_pushnil(lua);
      return 1;
    }
    lua_pushinteger(lua, found - subject.data + 1);
    lua_pushinteger(lua, found - subject.data + static_cast<lua_Integer>(pattern.size));
    return 2;
  }
  LuaMatcher matcher = matcher_for(lua, subject, pattern);
  const bool anchor = pattern.size > 0 && pattern.data[0] == '^';
  const char* body = pattern.data + (anchor ? 1 : 0);
  for (const char* at = subject.data + init; at <= matcher.end; ++at) {
    if (const char* stop = attempt(lua, matcher, at, body)) {
      if (!find) return push_captures(lua, matcher, at, stop);
      lua_pushinteger(lua, at - subject.data + 1);
      lua_pushinteger(lua, stop - subject.data);
      return 2 + push_captures(lua, matcher, nullptr, nullptr);
    }
    if (anchor) break;
  }
  lua_pushnil(lua);
  return 1;
}

int lua_find(lua_State* lua) { return find_or_match(lua, true); }
int lua_match(lua_State* lua) { return find_or_match(lua, false); }

// Upvalues: subject, pattern, next offset, end of the last match (-1: none).
int gmatch_next(lua_State* lua) {
  Text subject{}, pattern{};
  subject.data = lua_tolstring(lua, lua_upvalueindex(1), &subject.size);
  pattern.data = lua_tolstring(lua, lua_upvalueindex(2), &pattern.size);
  LuaMatcher matcher = matcher_for(lua, subject, pattern);
  const auto last = static_cast<ptrdiff_t>(lua_tointeger(lua, lua_upvalueindex(4)));
  for (const char* at = subject.data + lua_tointeger(lua, lua_upvalueindex(3)); at <= matcher.end;
       ++at) {
    const char* stop = attempt(lua, matcher, at, pattern.data);
    if (stop == nullptr || stop - subject.data == last) continue;
    lua_pushinteger(lua, stop - subject.data);
    lua_copy(lua, -1, lua_upvalueindex(3));
    lua_replace(lua, lua_upvalueindex(4));
    return push_captures(lua, matcher, at, stop);
  }
  return 0;
}

int lua_gmatch(lua_State* lua) {
  const Text subject = text_arg(lua, 1);
  text_arg(lua, 2);
  const size_t init = start_of(luaL_optinteger(lua, 3, 1), subject.size) - 1;
  lua_settop(lua, 2);
  lua_pushinteger(lua, static_cast<lua_Integer>(std::min(init, subject.size + 1)));
  lua_pushinteger(lua, -1);
  lua_pushcclosure(lua, gmatch_next, 4);
  return 1;
}

void add_replacement_text(lua_State* lua, const LuaMatcher& matcher, luaL_Buffer* buffer,
                          const char* start, const char* stop) {
  size_t size = 0;
  const char* text = lua_tolstring(lua, 3, &size);
  for (size_t i = 0; i < size; ++i) {
    if (text[i] != '%') {
      luaL_addchar(buffer, text[i]);
      continue;
    }
    ++i;
    if (i < size && text[i] == '%') {
      luaL_addchar(buffer, '%');
    } else if (i < size && text[i] == '0') {
      luaL_addlstring(buffer, start, static_cast<size_t>(stop - start));
    } else if (i < size && text[i] >= '1' && text[i] <= '9') {
      push_capture(lua, matcher, text[i] - '1', start, stop);
      luaL_tolstring(lua, -1, nullptr);
      lua_remove(lua, -2);
      luaL_addvalue(buffer);
    } else {
      luaL_error(lua, "invalid use of '%%' in replacement string");
    }
  }
}

// Appends what replaces [start, stop); true when something changed.
bool add_replacement(lua_State* lua, const LuaMatcher& matcher, luaL_Buffer* buffer,
                     const char* start, const char* stop, int type) {
  if (type == LUA_TSTRING || type == LUA_TNUMBER) {
    add_replacement_text(lua, matcher, buffer, start, stop);
    return true;
  }
  if (type == LUA_TTABLE) {
    push_capture(lua, matcher, 0, start, stop);
    lua_gettable(lua, 3);
  } else {
    lua_pushvalue(lua, 3);
    const int count = push_captures(lua, matcher, start, stop);
    lua_call(lua, count, 1);
  }
  if (lua_toboolean(lua, -1) == 0) {
    lua_pop(lua, 1);
    luaL_addlstring(buffer, start, static_cast<size_t>(stop - start));
    return false;
  }
  if (lua_isstring(lua, -1) == 0) {
    luaL_error(lua, "invalid replacement value (a %s)", luaL_typename(lua, -1));
  }
  luaL_addvalue(buffer);
  return true;
}

int lua_gsub(lua_State* lua) {
  const Text subject = text_arg(lua, 1), pattern = text_arg(lua, 2);
  const int type = lua_type(lua, 3);
  luaL_argexpected(lua, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION ||
                            type == LUA_TTABLE, 3, "string/function/table");
  const lua_Integer most = luaL_optinteger(lua, 4, static_cast<lua_Integer>(subject.size) + 1);
  const bool anchor = pattern.size > 0 && pattern.data[0] == '^';
  const char* body = pattern.data + (anchor ? 1 : 0);
  LuaMatcher matcher = matcher_for(lua, subject, pattern);
  const char* at = subject.data;
  const char* last = nullptr;
  lua_Integer count = 0;
  bool changed = false;
  luaL_Buffer buffer;
  luaL_buffinit(lua, &buffer);
  while (count < most) {
    const char* stop = attempt(lua, matcher, at, body);
    if (stop != nullptr && stop != last) {
      ++count;
      changed = add_replacement(lua, matcher, &buffer, at, stop, type) || changed;
      at = last = stop;
      matcher.steps_left = meter(lua).left(lua);  // a replacing function took its own
    } else if (at < matcher.end) {
      luaL_addchar(&buffer, *at++);
    } else {
      break;
    }
    if (anchor) break;
  }
  if (changed) {
    luaL_addlstring(&buffer, at, static_cast<size_t>(matcher.end - at));
    luaL_pushresult(&buffer);
  } else {
    lua_pushvalue(lua, 1);
  }
  lua_pushinteger(lua, count);
  return 2;
}

int lua_rep(lua_State* lua) {
  const Text text = text_arg(lua, 1);
  const lua_Integer count = luaL_checkinteger(lua, 2);
  Text between{};
  between.data = luaL_optlstring(lua, 3, "", &between.size);
  if (count <= 0 || text.size + between.size == 0) {
    lua_pushliteral(lua, "");
    return 1;
  }
  const auto times = static_cast<uint64_t>(count);
  if (times > (UINT64_MAX >> 8) / (text.size + between.size)) {
    return luaL_error(lua, "resulting string too large");
  }
  const uint64_t total = times * text.size + (times - 1) * between.size;
  meter(lua).charge(lua, times);
  luaL_Buffer buffer;
  char* out = luaL_buffinitsize(lua, &buffer, total);  // the allocator refuses what is too large
  for (uint64_t i = 0; i < times; ++i) {
    std::memcpy(out, text.data, text.size);
    out += text.size;
    if (i + 1 < times && between.size > 0) {
      std::memcpy(out, between.data, between.size);
      out += between.size;
    }
  }
  luaL_pushresultsize(&buffer, total);
  return 1;
}

}  // namespace

void install_string_functions(lua_State* lua, ChargeSteps charge, StepsLeft left) {
  auto* found = static_cast<Meter*>(lua_newuserdatauv(lua, sizeof(Meter), 0));
  *found = {charge, left};
  lua_setfield(lua, LUA_REGISTRYINDEX, kMeterKey);
  const luaL_Reg functions[] = {{"find", lua_find},   {"match", lua_match}, {"gmatch", lua_gmatch},
                                {"gsub", lua_gsub},   {"rep", lua_rep},     {nullptr, nullptr}};
  luaL_setfuncs(lua, functions, 0);
}

}  // namespace colony::agent
