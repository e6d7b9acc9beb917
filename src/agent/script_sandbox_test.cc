#include "agent/script_sandbox.h"

#include <gtest/gtest.h>

#include <fstream>

namespace colony::agent {
namespace {

const SystemClock kClock;

// Small limits, so that hostile scripts end quickly even under sanitizers.
constexpr ScriptLimits kSmall{.instructions = 500'000, .memory_bytes = 4 << 20,
                              .wall = std::chrono::seconds(5)};

Result<std::string> answer(const std::string& body, const ScriptLimits& limits = kSmall) {
  auto script = Script::load("test", "function before(task)\n" + body + "\nend", kClock, limits);
  if (!script) return std::move(script).error();
  auto result = (*script)->before(Json{{"prompt", "Add 2 and 40"}, {"id", "t1"}, {"n", 3}});
  if (!result) return std::move(result).error();
  return result->answer.value_or("prompt:" + result->prompt.value_or("-"));
}
std::string must(const std::string& body) {
  auto result = answer(body);
  EXPECT_TRUE(result) << body << ": " << result.error().message;
  return result ? *result : "";
}

TEST(Script, BeforeGivesPromptAnswerOrNothing) {
  EXPECT_EQ(must("return 'P ' .. task.prompt"), "prompt:P Add 2 and 40");
  EXPECT_EQ(must("return"), "prompt:-");
  EXPECT_EQ(must("return {answer = 'x'}"), "x");
  EXPECT_EQ(must("return {answer = 42}"), "42");
  EXPECT_EQ(must("return {answer = true}"), "true");
  EXPECT_EQ(must("return {answer = task.n + 1}"), "4");
  EXPECT_EQ(must("local a, b = task.prompt:match('(%d+) and (%d+)') return {answer = a + b}"), "42");
  EXPECT_FALSE(answer("return {}"));
  EXPECT_FALSE(answer("return {answer = {}}"));
  EXPECT_FALSE(answer("return function() end"));
}

TEST(Script, AfterChangesTheText) {
  auto script = Script::load("test", "function after(task, text) return text:upper() .. task.id end",
                             kClock);
  ASSERT_TRUE(script) << script.error().message;
  EXPECT_FALSE((*script)->has_before());
  EXPECT_EQ(*(*script)->after(Json{{"id", "7"}}, "ab"), "AB7");
  auto silent = Script::load("test", "function after() end", kClock);
  ASSERT_TRUE(silent);
  EXPECT_FALSE((*silent)->after(Json::object(), "ab"));
}

TEST(Script, OnlyBeforeAndAfterMayBeGlobal) {
  auto typo = Script::load("a/script.lua", "function befor(task) end", kClock);
  ASSERT_FALSE(typo);
  EXPECT_NE(typo.error().message.find("\"befor\""), std::string::npos) << typo.error().message;
  EXPECT_FALSE(Script::load("t", "local x = 1", kClock));
  EXPECT_FALSE(Script::load("t", "before = 3", kClock));
  EXPECT_FALSE(Script::load("t", "function before(", kClock));
  EXPECT_FALSE(Script::load("t", "error('no')", kClock));
  auto line = Script::load("t", "local a\nlocal b = nil + 1\n", kClock);
  ASSERT_FALSE(line);
  EXPECT_NE(line.error().message.find("t:2:"), std::string::npos) << line.error().message;
}

TEST(Script, NothingLeadsOutside) {
  for (const char* name :
       {"io", "os", "require", "package", "debug", "load", "loadfile", "dofile", "loadstring",
        "collectgarbage", "print", "warn", "setmetatable", "getmetatable", "rawset", "coroutine",
        "_G", "string.dump", "string.pack", "math.random", "math.randomseed"}) {
    EXPECT_EQ(must(std::string("return {answer = type(") + name + ")}"), "nil") << name;
  }
  EXPECT_FALSE(Script::load("t", "\x1bLua binary", kClock));
}

TEST(Script, WhatStaysWorksAsLuaDoes) {
  EXPECT_EQ(must("local t = {3,1,2} table.sort(t) return {answer = table.concat(t, ',')}"), "1,2,3");
  EXPECT_EQ(must("local t = {1,2,3} table.insert(t, 1, 0) table.remove(t) table.insert(t, 9)"
                 " return {answer = table.concat(t, ',')}"), "0,1,2,9");
  EXPECT_EQ(must("local t = table.move({1,2,3}, 2, 3, 1) return {answer = table.concat(t, ',')}"),
            "2,3,3");
  EXPECT_EQ(must("local ok, why = pcall(error, 'x') return {answer = tostring(ok) .. why}"), "falsex");
  EXPECT_EQ(must("local ok, a, b = pcall(function(...) return ... end, 1, 2)"
                 " return {answer = a + b}"), "3");
  EXPECT_EQ(must("local ok, why = xpcall(function(a) error('e' .. a, 0) end, function(m) return m .. '!' end, 5)"
                 " return {answer = tostring(ok) .. why}"), "falsee5!");
  EXPECT_EQ(must("local ok, a = xpcall(function(a) return a * 2 end, tostring, 5)"
                 " return {answer = tostring(ok) .. a}"), "true10");
  EXPECT_EQ(must("return {answer = ('x'):rep(3, '-')}"), "x-x-x");
  EXPECT_EQ(must("return {answer = string.format('%d %s %5.2f %q', 3, true, 2.5, 'a')}"),
            "3 true  2.50 \"a\"");
  EXPECT_EQ(must("return {answer = utf8.len('äöü')}"), "3");
  EXPECT_EQ(must("return {answer = math.floor(7 / 2) .. math.tointeger(8.0)}"), "38");
}

TEST(Script, PatternsAgreeWithTheManual) {
  const std::pair<const char*, const char*> cases[] = {
      {"('hello world'):find('wor')", "7 9"},
      {"('hello'):find('l+')", "3 4"},
      {"('hello'):find('xyz')", "nil"},
      {"('a.b'):find('.', 1, true)", "2 2"},
      {"('hello'):find('', 10)", "nil"},
      {"('hello'):find('', 6)", "6 5"},
      {"('hello'):find('l', -2)", "4 4"},
      {"('key = value'):match('^(%w+)%s*=%s*(%w+)$')", "key value"},
      {"('THE (quick) fox'):find('%((%a+)%)')", "5 11 quick"},
      {"('f(a(b)c)d'):match('%b()')", "(a(b)c)"},
      {"('THE (quick) fox'):find('()quick()')", "6 10 6 11"},
      {"('say \"hi\" x'):match('([\"\\'])(.-)%1')", "\" hi"},
      {"('THE END'):gsub('%f[%a]%a+', 'w')", "w w 2"},
      {"('hello world'):gsub('o', '0', 1)", "hell0 world 1"},
      {"('hello'):gsub('', '-')", "-h-e-l-l-o- 6"},
      {"('abc'):gsub('%w', '%0%0')", "aabbcc 3"},
      {"('a b'):gsub('(%w) (%w)', '%2 %1')", "b a 1"},
      {"('$x $y'):gsub('%$(%w+)', {x = '1'})", "1 $y 2"},
      {"('ab'):gsub('.', function(c) return c == 'a' and 'A' end)", "Ab 2"},
      {"('x'):gsub('x', '%%')", "% 1"},
      {"('a-b]c'):gsub('[]%-]', '.')", "a.b.c 2"},
      {"('a1b2'):gsub('[^%d]', '')", "12 2"},
      {"('  trim '):match('^%s*(.-)%s*$')", "trim"},
      {"('aaa'):match('a-$')", "aaa"},
      {"('2024-05-06'):match('(%d+)-(%d+)-(%d+)')", "2024 05 06"},
      {"('abc'):match('a?b?c?d?')", "abc"},
      {"('^x'):match('^^x')", "^x"},
      {"('a$'):match('a$$')", "a$"},
      {"('\\0a'):match('%z') == nil", "true"},
  };
  for (const auto& [expression, expected] : cases) {
    EXPECT_EQ(must(std::string("local t = table.pack(") + expression +
                   ") for i = 1, t.n do t[i] = tostring(t[i]) end"
                   " return {answer = table.concat(t, ' ')}"),
              expected)
        << expression;
  }
  EXPECT_EQ(must("local t = {} for k, v in ('a=1, b=2'):gmatch('(%w+)=(%w+)') do t[#t+1] = k .. v end"
                 " return {answer = table.concat(t, ' ')}"), "a1 b2");
  EXPECT_EQ(must("local n = 0 for w in ('one two'):gmatch('%a*') do n = n + 1 end"
                 " return {answer = n}"), "2");
  for (const char* broken : {"[a", "%", "(a", "a)", "%b", "%f", "%1", "[%"}) {
    EXPECT_FALSE(answer(std::string("return {answer = ('a'):match('") + broken + "') or 'none'}"))
        << broken;
  }
}

TEST(Script, OrderAndNamesAreTheSameEveryRun) {
  EXPECT_EQ(must("local t = {} for k in pairs({z=1, a=2, m=3, [2]='b', [1]='a', [true]=0}) do"
                 " t[#t+1] = tostring(k) end return {answer = table.concat(t, ' ')}"),
            "1 2 a m z true");
  EXPECT_EQ(must("return {answer = tostring({}) .. tostring(pairs) .. string.format('%s', {})}"),
            "tablefunctiontable");
  EXPECT_EQ(must("return {answer = tostring(next({})) .. next({b=1, a=2})}"), "nila");
  EXPECT_FALSE(answer("return {answer = string.format('%p', {})}"));
}

// Each would run for hours, or take all memory, in plain Lua; most try to swallow the limit too.
TEST(Script, HostileScriptsMeetALimit) {
  const char* hostile[] = {
      "while true do end",
      "local function f() return f() end return f()",
      "while true do pcall(function() while true do end end) end",
      "while true do xpcall(function() while true do end end, function() while true do end end) end",
      "local s = 'x' while true do s = s .. s end",
      "return {answer = ('x'):rep(1 << 40)}",
      "while true do pcall(string.rep, 'x', 3000000) end",
      "return {answer = (''):rep(1 << 62) .. ('x'):rep(1 << 62, '')}",
      "return ('a'):rep(5000):find(('a*'):rep(20) .. 'b')",
      "return ('a'):rep(5000):match(('.-'):rep(20) .. 'b')",
      "return (('a'):rep(100000):gsub('a*a*a*b', ''))",
      "for _ in ('a'):rep(100000):gmatch('.-b') do end",
      "return ('('):rep(100000):match('%b()')",
      "local t = {} for i = 1, 1e9 do t[i] = i end",
      "return {answer = #table.pack(table.unpack({}, 1, 1e7))}",
      "table.move({}, 1, 1 << 60, 2)",
      "table.move({}, -(1 << 63), (1 << 63) - 1, 2)",
      "return {answer = table.concat({}, 'x', 1, 1 << 60)}",
      "local t = {} for i = 1, 60000 do t[i] = i end while true do table.insert(t, 1, 0) table.remove(t, 1) end",
      "local t = {} for i = 1, 60000 do t[i] = -i end while true do table.sort(t) end",
      "local s = ('x'):rep(1000000) while true do s:upper() end",
      "local s = ('x'):rep(1000000) while true do utf8.len(s) end",
      "local s = ('x'):rep(1000000) while true do local _ = s:find('y', 1, true) end",
      "local function f(n) return pcall(f, n + 1) end f(1) while true do end",
      "local function f() local x <close> = nil return f() + 1 end return f()",
      "return {answer = string.format('%99.99f', 1):rep(1 << 30)}",
      "local t = {} while true do t = {t} end",
      "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
  };
  for (const char* body : hostile) {
    const double start = kClock.seconds();
    auto result = answer(body);
    EXPECT_FALSE(result) << body;
    EXPECT_LT(kClock.seconds() - start, 10) << body;
  }
}

TEST(Script, LimitsAreNamed) {
  EXPECT_NE(answer("while true do end").error().message.find("limit of instructions"),
            std::string::npos);
  EXPECT_EQ(answer("while true do end").error().code, ErrorCode::kExhausted);
  EXPECT_NE(answer("local s = 'x' while true do s = s .. s end").error().message.find("memory"),
            std::string::npos);
  ScriptLimits brief = kSmall;
  brief.instructions = UINT64_MAX / 2;
  brief.wall = std::chrono::milliseconds(50);
  auto result = answer("while true do pcall(function() while true do end end) end", brief);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("limit of time"), std::string::npos)
      << result.error().message;
  ScriptLimits tiny = kSmall;
  tiny.memory_bytes = 1000;
  EXPECT_EQ(Script::load("t", "function before() end", kClock, tiny).error().code,
            ErrorCode::kExhausted);
}

TEST(Script, StringsOfTheBoxAreNotSharedBetweenCalls) {
  auto script = Script::load(
      "t", "local n = 0 function before() n = n + 1 string.x = n return {answer = n} end", kClock);
  ASSERT_TRUE(script);
  EXPECT_EQ(*(*script)->before(Json::object())->answer, "1");
  EXPECT_EQ(*(*script)->before(Json::object())->answer, "1");
}

TEST(Script, TasksOfAnyShapeArrive) {
  auto script = Script::load(
      "t", "function before(task) return {answer = task.a[2].b .. #task.a .. tostring(task.z)"
           " .. tostring(task.big > 1)} end", kClock);
  ASSERT_TRUE(script);
  auto result = (*script)->before(
      *parse_json(R"({"a":[1,{"b":"x\u0000y"}],"z":null,"big":18446744073709551615})"));
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(*result->answer, std::string("x\0y2niltrue", 11));
}

TEST(ScriptCheck, ScoresInTheSameBox) {
  const auto folder = std::filesystem::temp_directory_path() / "colony_script_check";
  std::filesystem::create_directories(folder);
  const auto check = make_script_check(kClock, kSmall);
  const auto score = [&](const std::string& source) {
    const auto path = folder / "check.lua";
    std::ofstream(path, std::ios::trunc) << source;
    return check(path, Json{{"answer", "abc"}}, "ab");
  };
  EXPECT_EQ(*score("return #output / #task.answer > 0.5 and 1 or 0"), 1);
  EXPECT_EQ(*score("local task, output = ... return output == task.answer and 1 or 0.25"), 0.25);
  EXPECT_EQ(*score("return function(t, o) return #o end"), 2);
  EXPECT_FALSE(score("return 'high'"));
  EXPECT_FALSE(score("return"));
  EXPECT_EQ(score("while true do end").error().code, ErrorCode::kExhausted);
  EXPECT_FALSE(check(folder / "absent.lua", Json::object(), ""));
}

}  // namespace
}  // namespace colony::agent
