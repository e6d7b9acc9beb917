#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <sstream>

namespace colony::text {
namespace {

const std::string kGoldens = "tests/goldens/templates/";

std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

Result<std::string> render(std::string_view source, const Json& variables = Json::object(), const TemplateLimits& limits = {},
                           int64_t now_unix_ms = 0) {
  auto made = ChatTemplate::parse(source, limits);
  if (!made) return std::move(made).error();
  return (*made)->render(variables, now_unix_ms);
}

// Method: every case of a golden file made by Python's Jinja2 must give the same bytes, or fail where it raised.
void compare_with_python(const std::string& file, size_t cases_min, size_t outputs_min) {
  setenv("TZ", "UTC", 1);  // strftime_now shows local time
  tzset();
  const auto shared = parse_json(slurp(kGoldens + "variables.json"));
  ASSERT_TRUE(shared) << "no " << kGoldens << "variables.json: " << shared.error().message;
  std::ifstream lines(kGoldens + file);
  ASSERT_TRUE(lines) << file;
  size_t cases = 0, outputs = 0, characters = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto golden = parse_json(line);
    ASSERT_TRUE(golden) << golden.error().message;
    const Json& c = *golden;
    const std::string source = c.contains("file") ? slurp(kGoldens + c["file"].get<std::string>()) : c["template"].get<std::string>();
    const Json& variables = c.contains("variables") ? c["variables"] : (*shared)["snippets"];
    const auto got = render(source, variables, {}, (*shared)["now"].get<int64_t>());
    ++cases;
    if (c.contains("raises")) {
      EXPECT_FALSE(got) << c["name"] << " " << source << "\nPython raises " << c["raises"] << ", we render " << *got;
      if (got) continue;
      if (c["raises"] != "OverflowError" && c["raises"] != "MemoryError") {
        EXPECT_EQ(got.error().code, ErrorCode::kInvalid) << source << " " << got.error().message;
      }
      if (c.contains("message")) {
        EXPECT_EQ(got.error().message, c["message"].get<std::string>()) << source;
      }
      continue;
    }
    ++outputs;
    characters += c["output"].get_ref<const std::string&>().size();
    ASSERT_TRUE(got) << c["name"] << " " << source << "\n" << got.error().message;
    EXPECT_EQ(*got, c["output"].get<std::string>()) << c["name"] << " " << source;
  }
  EXPECT_GE(cases, cases_min);
  EXPECT_GE(outputs, outputs_min);
  EXPECT_GT(characters, outputs);
}

TEST(ChatTemplate, RendersRealTemplatesAsPythonDoes) { compare_with_python("templates.jsonl", 600, 450); }
TEST(ChatTemplate, RendersEveryConstructAsPythonDoes) { compare_with_python("snippets.jsonl", 350, 140); }
TEST(ChatTemplate, RendersRandomTemplatesAsPythonDoes) { compare_with_python("random.jsonl", 300, 240); }

TEST(ChatTemplate, ErrorsNameTheLine) {
  const auto syntax = render("a\nb\n{% if %}");
  ASSERT_FALSE(syntax);
  EXPECT_NE(syntax.error().message.find("line 3"), std::string::npos) << syntax.error().message;
  const auto runtime = render("a\n\n{{ x.y }}");
  ASSERT_FALSE(runtime);
  EXPECT_NE(runtime.error().message.find("line 3: UndefinedError: 'x' is undefined"), std::string::npos) << runtime.error().message;
}

TEST(ChatTemplate, SaysWhatIsNotImplemented) {
  for (const char* source : {"{% include 'a' %}", "{% extends 'a' %}", "{% block a %}{% endblock %}", "{% import 'a' as b %}",
                             "{% autoescape true %}{% endautoescape %}", "{{ 'a'|wordwrap }}", "{{ 'a'.encode() }}", "{{ 2**200 }}"}) {
    const auto got = render(source);
    ASSERT_FALSE(got) << source;
    EXPECT_EQ(got.error().code, ErrorCode::kInvalid);
    EXPECT_NE(got.error().message.find("not implemented"), std::string::npos) << got.error().message;
  }
}

// Method: each template would run for ever, overflow the stack or fill the memory without limits.
TEST(ChatTemplate, HostileTemplatesEndInAnErrorQuickly) {
  std::string parens(10'000, '('), brackets(10'000, '['), ifs, chain = "{{ 1", unary = "{{ ", nots = "{{ ", filters = "{{ 'a'", dots = "{{ x", macros;
  for (int k = 0; k < 10'000; ++k) {
    ifs += "{% if 1 %}";
    chain += "+1";
    unary += "- ";
    nots += "not ";
    filters += "|upper";
    dots += ".a";
  }
  const std::string sources[] = {
      "{{ " + parens + "1 }}",
      "{{ " + brackets + " }}",
      ifs,
      chain + " }}",
      unary + "1 }}",
      nots + "1 }}",
      filters + " }}",
      dots + " }}",
      "{% for i in range(10**9) %}x{% endfor %}",
      "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
      "{{ 'a' * 10**9 }}",
      "{{ [1] * 10**9 }}",
      "{{ 'a'.center(10**9) }}",
      "{{ '%1000000000d' % 1 }}",
      "{{ '{:1000000000}'.format(1) }}",
      "{{ 'a'|indent(10**9, true) }}",
      "{{ 10**10**10 }}",
      "{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
      "{% set ns = namespace(x=[1,2,3]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
      "{% set ns = namespace(x=[1]) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}",
      "{% set ns = namespace(x=[1]) %}{% for i in range(90) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
      "{% set ns = namespace(x=[], y=[]) %}{% for i in range(90) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
      "{% set ns = namespace(x=()) %}{% for i in range(90) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ {ns.x: 1} }}",
      "{% set ns = namespace(g=[1]) %}{% for i in range(99999) %}{% set ns.g = ns.g|map('upper') %}{% endfor %}{{ ns.g|list }}",
      "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro m() %}{% for i in [1,2] %}{{ m() }}{% endfor %}{% endmacro %}{{ m() }}",
      "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}",
      "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
      "{% macro m(x) %}{{ [1,2]|map('string')|join ~ m([x]) }}{% endmacro %}{{ m(1) }}",
      "{% for i in range(99999) %}{{ 'abcdefghijklmnopqrstuvwxyz' * 100 }}{% endfor %}",
      "{{ range(99999)|map('string')|join(',' * 1000) }}",
      "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
      "{{ ('a,' * 5000000).split(',')|length }}",
  };
  for (const std::string& source : sources) {
    const auto start = std::chrono::steady_clock::now();
    const auto got = render(source, *parse_json(R"({"x":{}})"));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    EXPECT_FALSE(got) << source.substr(0, 100) << " gave " << got->substr(0, 50);
    EXPECT_LT(seconds, 20) << source.substr(0, 100);  // generous: sanitizers and a busy machine
  }
}

TEST(ChatTemplate, LimitsAreKExhausted) {
  EXPECT_EQ(render("{% for i in range(1000) %}x{% endfor %}", Json::object(), {.steps_max = 500}).error().code, ErrorCode::kExhausted);
  EXPECT_EQ(render("{{ 'x' * 1000 }}", Json::object(), {.output_bytes_max = 500}).error().code, ErrorCode::kExhausted);
  EXPECT_EQ(render("{{ ((((((((((1)))))))))) }}", Json::object(), {.depth_max = 5}).error().code, ErrorCode::kExhausted);
  EXPECT_EQ(*render("{{ ((((1)))) }}{{ 'x' * 100 }}", Json::object(), {.steps_max = 100, .output_bytes_max = 500}), "1" + std::string(100, 'x'));
}

// Method: values that refer to each other in circles; the leak check of the sanitizer is the judge.
TEST(ChatTemplate, CirclesAreFreed) {
  EXPECT_TRUE(render("{% set ns = namespace() %}{% set ns.a = ns %}{% macro m() %}{{ ns.a is defined }}{% macro k() %}{% endmacro %}{% set ns.k = k %}{% endmacro %}"
                     "{% set ns.m = m %}{{ m() }}{% for i in [1, 2] %}{% macro q() %}{{ i }}{% endmacro %}{% set ns.l = loop %}{% set ns.q = q %}{{ q() }}{% endfor %}"
                     "{% for i in [[1]] if ns recursive %}{% set ns.r = loop %}{% endfor %}"));
}

TEST(ChatTemplate, KeepsKeyOrderAndNumbersOfVariables) {
  EXPECT_EQ(*render("{{ a|tojson }}", *parse_json(R"({"a":{"z":1.0,"a":18446744073709551615,"m":[true,null]}})")),
            R"({"z": 1.0, "a": 18446744073709551615, "m": [true, null]})");
  EXPECT_FALSE(render("{{ a }}", Json{{"a", "\xff"}}));
  EXPECT_FALSE(render("\xff"));
  EXPECT_FALSE(render("a", Json::array()));
}

}  // namespace
}  // namespace colony::text
