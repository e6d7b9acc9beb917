// Lua's errors are jumps: between here and lua_pcall no object with a destructor may be alive in a
// frame that can raise one. Results go into Job, which the caller owns.
#include "agent/script_sandbox.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <lua.hpp>

#include "agent/lua_strings.h"
#include "base/file.h"

namespace colony::agent {
namespace {

constexpr int kHookEvery = 100;  // instructions between two looks at the limits

// What one state may still use. Its address lies in the state's extra space.
struct Meter {
  const Clock* clock = nullptr;
  uint64_t steps_left = 0;
  uint64_t memory_max = 0, memory_used = 0, memory_total = 0, memory_total_max = 0;
  std::chrono::nanoseconds deadline{};
  const char* stopped = nullptr;  // which limit; once set, it stays
};

Meter& meter(lua_State* lua) { return **static_cast<Meter**>(lua_getextraspace(lua)); }

void* allocate(void* data, void* block, size_t old_size, size_t new_size) {
  auto& meter = *static_cast<Meter*>(data);
  if (block == nullptr) old_size = 0;  // then it is a kind of object
  if (new_size == 0) {
    std::free(block);
    meter.memory_used -= old_size;
    return nullptr;
  }
  if (new_size > old_size) {
    const uint64_t more = new_size - old_size;
    meter.memory_total += more;
    if (meter.memory_total > meter.memory_total_max) meter.stopped = "memory";
    if (meter.stopped != nullptr || meter.memory_used + more > meter.memory_max) return nullptr;
  }
  void* moved = std::realloc(block, new_size);
  if (moved == nullptr) {
    return new_size <= old_size ? block : nullptr;  // Lua relies on shrinking
  }
  meter.memory_used += new_size;
  meter.memory_used -= old_size;
  return moved;
}

[[noreturn]] void stop(lua_State* lua, const char* which) {
  meter(lua).stopped = which;
  luaL_error(lua, "limit of %s reached", which);
  std::abort();  // luaL_error does not return
}

void charge(lua_State* lua, uint64_t steps) {
  Meter& m = meter(lua);
  if (m.stopped != nullptr) stop(lua, m.stopped);
  if (steps > m.steps_left) {
    m.steps_left = 0;
    stop(lua, "instructions");
  }
  m.steps_left -= steps;
}
uint64_t steps_left(lua_State* lua) { return meter(lua).steps_left; }

void hook(lua_State* lua, lua_Debug*) {
  charge(lua, kHookEvery);
  if (meter(lua).clock->now() > meter(lua).deadline) stop(lua, "time");
}

// ---- functions that Lua's own libraries would let run long, hide a limit, or differ ----

int safe_pcall(lua_State* lua) {
  luaL_checkany(lua, 1);
  const int status = lua_pcall(lua, lua_gettop(lua) - 1, LUA_MULTRET, 0);
  charge(lua, 1);  // raises again when a limit was reached inside
  lua_pushboolean(lua, status == LUA_OK);
  lua_insert(lua, status == LUA_OK ? 1 : -2);
  return status == LUA_OK ? lua_gettop(lua) : 2;
}

int safe_xpcall(lua_State* lua) {
  luaL_checktype(lua, 2, LUA_TFUNCTION);
  lua_pushvalue(lua, 1);
  lua_pushvalue(lua, 2);
  lua_replace(lua, 1);   // the handler stands first,
  lua_replace(lua, 2);   // then the function and its arguments
  const int status = lua_pcall(lua, lua_gettop(lua) - 2, LUA_MULTRET, 1);
  charge(lua, 1);
  lua_pushboolean(lua, status == LUA_OK);
  lua_replace(lua, 1);   // in the place of the handler
  (void)status;          // what is left are the results, or the handler's
  return lua_gettop(lua);
}

// Upvalue 1: the library's function; upvalue 2: steps an element of the first argument costs.
int charged_by_length(lua_State* lua) {
  const uint64_t size = lua_rawlen(lua, 1);
  const auto each = static_cast<uint64_t>(lua_tointeger(lua, lua_upvalueindex(2)));
  charge(lua, size * each / 8 + 1);
  lua_pushvalue(lua, lua_upvalueindex(1));
  lua_insert(lua, 1);
  lua_call(lua, lua_gettop(lua) - 1, LUA_MULTRET);
  return lua_gettop(lua);
}

// table.insert and table.remove move what lies behind the position only.
int charged_by_tail(lua_State* lua) {
  const auto size = static_cast<lua_Integer>(lua_rawlen(lua, 1));
  const bool insert = lua_toboolean(lua, lua_upvalueindex(2)) != 0;
  const bool positioned = lua_gettop(lua) >= (insert ? 3 : 2);
  if (positioned) {
    const lua_Integer at = lua_tointeger(lua, 2);
    if (at >= 1 && at <= size) charge(lua, static_cast<uint64_t>(size - at) / 4 + 1);
  }
  lua_pushvalue(lua, lua_upvalueindex(1));
  lua_insert(lua, 1);
  lua_call(lua, lua_gettop(lua) - 1, LUA_MULTRET);
  return lua_gettop(lua);
}

int charged_move(lua_State* lua) {
  const lua_Integer from = luaL_checkinteger(lua, 2), to = luaL_checkinteger(lua, 3);
  if (to >= from) {
    const uint64_t count = static_cast<uint64_t>(to) - static_cast<uint64_t>(from);
    charge(lua, count == UINT64_MAX ? count : count + 1);
  }
  lua_pushvalue(lua, lua_upvalueindex(1));
  lua_insert(lua, 1);
  lua_call(lua, lua_gettop(lua) - 1, LUA_MULTRET);
  return lua_gettop(lua);
}

void wrap_length(lua_State* lua, const char* name, int each) {
  lua_getfield(lua, -1, name);
  lua_pushinteger(lua, each);
  lua_pushcclosure(lua, charged_by_length, 2);
  lua_setfield(lua, -2, name);
}

void drop(lua_State* lua, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    lua_pushnil(lua);
    lua_setfield(lua, -2, name);
  }
}

// Iteration by key (numbers, strings, false, true, then the rest in no order that may be relied
// on), and names instead of addresses: addresses and hash seeds differ from run to run.
constexpr char kPrelude[] = R"lua(
local rawnext, rawpairs, sort, rawtostring, rawformat = next, pairs, table.sort, tostring, string.format
local type, select, error, unpack = type, select, error, table.unpack
local gsub, find = string.gsub, string.find
local rank = {number = 1, string = 2, boolean = 3}
local function less(a, b)
  local x, y = rank[type(a)] or 4, rank[type(b)] or 4
  if x ~= y then return x < y end
  if x < 3 then return a < b end
  return x == 3 and not a and b
end
local function sorted(t)
  if type(t) ~= "table" then error("table expected, got " .. type(t), 3) end
  local keys, n = {}, 0
  for key in rawpairs(t) do n = n + 1; keys[n] = key end
  sort(keys, less)
  return keys, n
end
function pairs(t)
  local keys, n = sorted(t)
  local i = 0
  return function()
    while i < n do
      i = i + 1
      local value = t[keys[i]]
      if value ~= nil then return keys[i], value end
    end
  end, t, nil
end
function next(t, key)
  local keys, n = sorted(t)
  if key == nil then return keys[1], t[keys[1] ] end
  for i = 1, n - 1 do
    if keys[i] == key then return keys[i + 1], t[keys[i + 1] ] end
  end
end
local function named(value)
  local kind = type(value)
  if kind == "table" or kind == "function" then return kind end
  return value
end
function tostring(value) return rawtostring(named(value)) end
function string.format(format, ...)
  if find(gsub(format, "%%%%", ""), "%%[-+ #0]*%d*%.?%d*p") then error("%p is not available", 2) end
  local count, values = select("#", ...), {...}
  for i = 1, count do values[i] = named(values[i]) end
  return rawformat(format, unpack(values, 1, count))
end
)lua";

void open_libraries(lua_State* lua) {
  luaL_requiref(lua, LUA_GNAME, luaopen_base, 1);
  drop(lua, {"collectgarbage", "dofile", "getmetatable", "load", "loadfile", "print", "rawset",
             "setmetatable", "warn", LUA_GNAME});
  lua_pushcfunction(lua, safe_pcall);
  lua_setfield(lua, -2, "pcall");
  lua_pushcfunction(lua, safe_xpcall);
  lua_setfield(lua, -2, "xpcall");
  lua_pop(lua, 1);

  luaL_requiref(lua, LUA_STRLIBNAME, luaopen_string, 1);
  drop(lua, {"dump", "pack", "packsize", "unpack"});
  install_string_functions(lua, charge, steps_left);
  for (const char* name : {"upper", "lower", "reverse"}) wrap_length(lua, name, 1);
  lua_pop(lua, 1);

  luaL_requiref(lua, LUA_TABLIBNAME, luaopen_table, 1);
  wrap_length(lua, "concat", 8);
  wrap_length(lua, "sort", 160);
  lua_getfield(lua, -1, "insert");
  lua_pushboolean(lua, 1);
  lua_pushcclosure(lua, charged_by_tail, 2);
  lua_setfield(lua, -2, "insert");
  lua_getfield(lua, -1, "remove");
  lua_pushboolean(lua, 0);
  lua_pushcclosure(lua, charged_by_tail, 2);
  lua_setfield(lua, -2, "remove");
  lua_getfield(lua, -1, "move");
  lua_pushcclosure(lua, charged_move, 1);
  lua_setfield(lua, -2, "move");
  lua_pop(lua, 1);

  luaL_requiref(lua, LUA_MATHLIBNAME, luaopen_math, 1);
  drop(lua, {"random", "randomseed"});
  lua_pop(lua, 1);
  luaL_requiref(lua, LUA_UTF8LIBNAME, luaopen_utf8, 1);
  for (const char* name : {"len", "codepoint", "offset"}) wrap_length(lua, name, 1);
  lua_pop(lua, 1);

  // package.loaded holds the tables we trimmed; nothing leads to it.
  lua_pushnil(lua);
  lua_setfield(lua, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (luaL_loadbufferx(lua, kPrelude, sizeof(kPrelude) - 1, "=prelude", "t") != LUA_OK) {
    lua_error(lua);
  }
  lua_call(lua, 0, 0);
}

void push_json(lua_State* lua, const Json& value) {
  luaL_checkstack(lua, 4, "value nested too deep");
  switch (value.type()) {
    case Json::value_t::boolean: lua_pushboolean(lua, value.get<bool>()); return;
    case Json::value_t::number_integer: lua_pushinteger(lua, value.get<int64_t>()); return;
    case Json::value_t::number_unsigned: {
      const auto number = value.get<uint64_t>();
      if (number <= INT64_MAX) {
        lua_pushinteger(lua, static_cast<lua_Integer>(number));
      } else {
        lua_pushnumber(lua, static_cast<lua_Number>(number));
      }
      return;
    }
    case Json::value_t::number_float: lua_pushnumber(lua, value.get<double>()); return;
    case Json::value_t::string: {
      const auto& text = value.get_ref<const std::string&>();
      lua_pushlstring(lua, text.data(), text.size());
      return;
    }
    case Json::value_t::array: {
      const auto& items = value.get_ref<const Json::array_t&>();
      lua_createtable(lua, static_cast<int>(std::min<size_t>(items.size(), 1 << 20)), 0);
      for (size_t i = 0; i < items.size(); ++i) {
        push_json(lua, items[i]);
        lua_rawseti(lua, -2, static_cast<lua_Integer>(i + 1));
      }
      return;
    }
    case Json::value_t::object: {
      const auto& members = value.get_ref<const Json::object_t&>();
      lua_createtable(lua, 0, static_cast<int>(std::min<size_t>(members.size(), 1 << 20)));
      for (const auto& member : members) {
        lua_pushlstring(lua, member.first.data(), member.first.size());
        push_json(lua, member.second);
        lua_rawset(lua, -3);
      }
      return;
    }
    case Json::value_t::null:
    case Json::value_t::binary:
    case Json::value_t::discarded: lua_pushnil(lua); return;
  }
}

// ---- one run of a script ----

enum class Call : uint8_t { kLoad, kBefore, kAfter, kCheck };

struct Job {
  Call call = Call::kLoad;
  const char* chunk_name = nullptr;
  std::string_view source;
  const Json* task = nullptr;
  std::string_view text;
  // Results.
  bool has_before = false, has_after = false;
  std::optional<std::string> prompt, answer;
  double number = 0;
};

void take_string(lua_State* lua, int index, std::optional<std::string>& into, const char* what) {
  const int type = lua_type(lua, index);
  if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN) {
    luaL_error(lua, "%s: found %s, expected a string, number or boolean", what,
               luaL_typename(lua, index));
  }
  size_t size = 0;
  const char* data = luaL_tolstring(lua, index, &size);
  into.emplace(data, size);
  lua_pop(lua, 1);
}

// Fails when the chunk left globals beside before and after.
void check_globals(lua_State* lua, Job& job) {
  // The names that were there before stand in the registry under our key.
  lua_getfield(lua, LUA_REGISTRYINDEX, "colony.globals");
  lua_pushglobaltable(lua);
  lua_pushnil(lua);
  while (lua_next(lua, -2) != 0) {
    lua_pushvalue(lua, -2);
    lua_rawget(lua, -5);
    const bool known = lua_toboolean(lua, -1) != 0;
    lua_pop(lua, 1);
    if (!known) {
      const char* name = lua_type(lua, -2) == LUA_TSTRING ? lua_tostring(lua, -2) : "?";
      const bool before = std::strcmp(name, "before") == 0, after = std::strcmp(name, "after") == 0;
      if (!before && !after) {
        luaL_error(lua, "global \"%s\" is defined; a script may define before and after only "
                        "(write \"local\" for the rest)", name);
      }
      if (!lua_isfunction(lua, -1)) luaL_error(lua, "\"%s\" is no function", name);
      (before ? job.has_before : job.has_after) = true;
    }
    lua_pop(lua, 1);
  }
  lua_pop(lua, 2);
  if (!job.has_before && !job.has_after) {
    luaL_error(lua, "found neither a function before nor after, expected at least one");
  }
}

void remember_globals(lua_State* lua) {
  lua_newtable(lua);
  lua_pushglobaltable(lua);
  lua_pushnil(lua);
  while (lua_next(lua, -2) != 0) {
    lua_pop(lua, 1);
    lua_pushvalue(lua, -1);
    lua_pushboolean(lua, 1);
    lua_rawset(lua, -5);
  }
  lua_pop(lua, 1);
  lua_setfield(lua, LUA_REGISTRYINDEX, "colony.globals");
}

void call_before(lua_State* lua, Job& job) {
  lua_getglobal(lua, "before");
  push_json(lua, *job.task);
  lua_call(lua, 1, 1);
  if (lua_isnil(lua, -1)) return;
  if (!lua_istable(lua, -1)) {
    take_string(lua, -1, job.prompt, "before returned");
    return;
  }
  lua_getfield(lua, -1, "answer");
  take_string(lua, -1, job.answer, "before returned a table; its field answer");
}

void call_check(lua_State* lua, Job& job) {
  // The chunk is on the stack.
  push_json(lua, *job.task);
  lua_pushvalue(lua, -1);
  lua_setglobal(lua, "task");
  lua_pushlstring(lua, job.text.data(), job.text.size());
  lua_pushvalue(lua, -1);
  lua_setglobal(lua, "output");
  lua_call(lua, 2, 1);
  if (lua_isfunction(lua, -1)) {
    lua_getglobal(lua, "task");
    lua_getglobal(lua, "output");
    lua_call(lua, 2, 1);
  }
  if (lua_type(lua, -1) != LUA_TNUMBER) {
    luaL_error(lua, "the check returned %s, expected a number", luaL_typename(lua, -1));
  }
  job.number = lua_tonumber(lua, -1);
}

int run_job(lua_State* lua) {
  auto& job = *static_cast<Job*>(lua_touserdata(lua, 1));
  lua_settop(lua, 0);
  open_libraries(lua);
  remember_globals(lua);
  if (luaL_loadbufferx(lua, job.source.data(), job.source.size(), job.chunk_name, "t") != LUA_OK) {
    return lua_error(lua);
  }
  if (job.call == Call::kCheck) {
    call_check(lua, job);
    return 0;
  }
  lua_call(lua, 0, 0);
  if (job.call == Call::kLoad) {
    check_globals(lua, job);
  } else if (job.call == Call::kBefore) {
    call_before(lua, job);
  } else {
    lua_getglobal(lua, "after");
    push_json(lua, *job.task);
    lua_pushlstring(lua, job.text.data(), job.text.size());
    lua_call(lua, 2, 1);
    take_string(lua, -1, job.answer, "after returned");
  }
  return 0;
}

struct CloseState {
  void operator()(lua_State* lua) const { lua_close(lua); }
};

Status run(Job& job, const std::string& name, const Clock& clock, const ScriptLimits& limits) {
  Meter meter;
  meter.clock = &clock;
  meter.steps_left = limits.instructions;
  meter.memory_max = limits.memory_bytes;
  meter.memory_total_max = limits.memory_bytes * 64;
  meter.deadline = clock.now() + limits.wall;
  const std::string chunk_name = "=" + name;
  job.chunk_name = chunk_name.c_str();
  const std::unique_ptr<lua_State, CloseState> lua(lua_newstate(allocate, &meter));
  if (lua == nullptr) return exhausted("{}: limit of memory reached", name);
  *static_cast<Meter**>(lua_getextraspace(lua.get())) = &meter;
  lua_sethook(lua.get(), hook, LUA_MASKCOUNT, kHookEvery);
  lua_pushcfunction(lua.get(), run_job);
  lua_pushlightuserdata(lua.get(), &job);
  const int status = lua_pcall(lua.get(), 1, 0, 0);
  lua_sethook(lua.get(), nullptr, 0, 0);
  if (status == LUA_OK) return {};
  if (meter.stopped != nullptr) {
    return exhausted("{}: the script reached its limit of {}", name, meter.stopped);
  }
  if (status == LUA_ERRMEM) return exhausted("{}: the script reached its limit of memory", name);
  size_t size = 0;
  const char* text = lua_type(lua.get(), -1) == LUA_TSTRING ? lua_tolstring(lua.get(), -1, &size)
                                                            : nullptr;
  std::string message = text == nullptr ? "error that is no text" : std::string(text, size);
  if (message.size() > 1000) message.resize(1000);
  return message.starts_with(name) ? invalid("{}", message) : invalid("{}: {}", name, message);
}

}  // namespace

Result<std::shared_ptr<const Script>> Script::load(std::string name, std::string source,
                                                   const Clock& clock, const ScriptLimits& limits) {
  std::shared_ptr<Script> script(new Script(std::move(name), std::move(source), clock, limits));
  Job job;
  job.source = script->source_;
  RETURN_IF_ERROR(run(job, script->name_, clock, limits));
  script->has_before_ = job.has_before;
  script->has_after_ = job.has_after;
  return std::shared_ptr<const Script>(std::move(script));
}

Result<BeforeResult> Script::before(const Json& task) const {
  if (!has_before_) return BeforeResult{};
  Job job;
  job.call = Call::kBefore;
  job.source = source_;
  job.task = &task;
  RETURN_IF_ERROR(run(job, name_, clock_, limits_));
  return BeforeResult{std::move(job.prompt), std::move(job.answer)};
}

Result<std::string> Script::after(const Json& task, std::string_view text) const {
  if (!has_after_) return std::string(text);
  Job job;
  job.call = Call::kAfter;
  job.source = source_;
  job.task = &task;
  job.text = text;
  RETURN_IF_ERROR(run(job, name_, clock_, limits_));
  if (!job.answer) return invalid("{}: after returned nothing, expected a string", name_);
  return std::move(*job.answer);
}

data::ScriptCheck make_script_check(const Clock& clock, const ScriptLimits& limits) {
  return [&clock, limits](const std::filesystem::path& path, const Json& task,
                          std::string_view output) -> Result<double> {
    ASSIGN_OR_RETURN(const std::string source, read_file(path, 1 << 20));
    Job job;
    job.call = Call::kCheck;
    job.source = source;
    job.task = &task;
    job.text = output;
    RETURN_IF_ERROR(run(job, path.filename().string(), clock, limits));
    return job.number;
  };
}

}  // namespace colony::agent
