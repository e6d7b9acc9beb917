// One test a row of the table of checks, with its odd cases.
#include "data/check.h"

#include <gtest/gtest.h>

#include <fstream>

#include "data/compare.h"

namespace colony::data {
namespace {

Result<double> score(const std::string& spec, std::optional<std::string> answer,
                     std::string_view output, const std::string& prompt = "p") {
  auto check = Check::make(spec, ".", nullptr);
  if (!check) return std::move(check).error();
  TaskLine task;
  task.id = "t";
  task.prompt = prompt;
  task.answer = std::move(answer);
  return (*check)->score(task, output);
}
double must(const std::string& spec, std::string answer, std::string_view output,
            const std::string& prompt = "p") {
  auto result = score(spec, std::move(answer), output, prompt);
  EXPECT_TRUE(result) << spec << ": " << result.error().message;
  return result ? *result : -1;
}

TEST(Check, ExactTrimsAndNothingElse) {
  EXPECT_EQ(must("exact", "Paris", " Paris\n"), 1);
  EXPECT_EQ(must("exact", " Paris ", "Paris"), 1);
  EXPECT_EQ(must("exact", "Paris", "paris"), 0);
  EXPECT_EQ(must("exact", "Paris", "Paris."), 0);
  EXPECT_EQ(must("exact", "a b", "a  b"), 0);
  EXPECT_EQ(must("exact", "", ""), 1);
}

TEST(Check, IcaseFoldsCase) {
  EXPECT_EQ(must("icase", "Paris", " PARIS "), 1);
  EXPECT_EQ(must("icase", "straße", "STRASSE"), 1);
  EXPECT_EQ(must("icase", "Paris", "Paris."), 0);
}

TEST(Check, LabelDropsOneFinalFullStop) {
  EXPECT_EQ(must("label", "positive", "Positive."), 1);
  EXPECT_EQ(must("label", "positive", " positive.\n"), 1);
  EXPECT_EQ(must("label", "positive", "positive.."), 0);
  EXPECT_EQ(must("label", "positive", "It is positive"), 0);
  EXPECT_EQ(must("label", "U.S.", "u.s."), 1);
}

TEST(Check, NumericComparesTheLastNumbers) {
  EXPECT_EQ(must("numeric", "6", "3 + 3 = 6"), 1);
  EXPECT_EQ(must("numeric", "6", "6 apples, then 7"), 0);
  EXPECT_EQ(must("numeric", "( 26 - 10 ) - 10 = 6", "The answer is 6."), 1);
  EXPECT_EQ(must("numeric", "1234.5", "It costs $1,234.50."), 1);
  EXPECT_EQ(must("numeric", "1,234", "€1234"), 1);
  EXPECT_EQ(must("numeric", "-5", "minus: -$5"), 1);
  EXPECT_EQ(must("numeric", "-5", "\xe2\x88\x92" "5"), 1);
  EXPECT_EQ(must("numeric", "4", "that is 14-10=4"), 1);
  EXPECT_EQ(must("numeric", "10", "14-10"), 1);  // a difference, not a sign
  EXPECT_EQ(must("numeric", "0.5", ".5"), 1);
  EXPECT_EQ(must("numeric", "0.3", "0.30"), 1);
  EXPECT_EQ(must("numeric", "7", "007"), 1);
  EXPECT_EQ(must("numeric", "0", "-0"), 1);
  EXPECT_EQ(must("numeric", "3.14", "3.14"), 1);
  EXPECT_EQ(must("numeric", "3.14", "3.1"), 0);
  EXPECT_EQ(must("numeric", "1e3", "1000"), 1);
  EXPECT_EQ(must("numeric", "1e-07", "5e-07"), 0);
  EXPECT_EQ(must("numeric", "9007199254740993", "9007199254740992"), 0);  // beyond doubles
  EXPECT_EQ(must("numeric", "50", "50%"), 1);
  EXPECT_EQ(must("numeric", "6", "six"), 0);
  EXPECT_EQ(must("numeric", "6", ""), 0);
  EXPECT_FALSE(score("numeric", "six", "6"));
}

TEST(Check, SqlFoldsCaseAndSpace) {
  EXPECT_EQ(must("sql", "SELECT a FROM t WHERE b = \"X\"", "select  a\nfrom t where b = \"x\" "), 1);
  EXPECT_EQ(must("sql", "SELECT a FROM t", "SELECT a FROM t;"), 0);
  EXPECT_EQ(must("sql", "SELECT a FROM t", "SELECT b FROM t"), 0);
}

TEST(Check, SlotsIsF1OverPairs) {
  EXPECT_EQ(must("slots", "name[The Mill], food[Thai]", "food[Thai], name[The Mill]"), 1);
  EXPECT_DOUBLE_EQ(must("slots", "name[The Mill], food[Thai]", "name[The Mill]"), 2.0 / 3);
  EXPECT_DOUBLE_EQ(must("slots", "name[The Mill]", "name[The Mill], food[Thai]"), 2.0 / 3);
  EXPECT_EQ(must("slots", "name[The Mill]", "name[Mill]"), 0);
  EXPECT_EQ(must("slots", "customer rating[3 out of 5]", "customer rating[3 out of 5]"), 1);
  EXPECT_EQ(must("slots", "PlayMusic; artist=Coil; year=1984", "PlayMusic; year = 1984;artist=Coil"), 1);
  EXPECT_DOUBLE_EQ(must("slots", "PlayMusic; artist=Coil", "GetWeather; artist=Coil"), 0.5);
  EXPECT_EQ(must("slots", "GetWeather", "GetWeather;"), 1);
  EXPECT_EQ(must("slots", "none", "none"), 1);
  EXPECT_EQ(must("slots", "none", ""), 1);
  EXPECT_EQ(must("slots", "none", "name[x]"), 0);
  EXPECT_EQ(must("slots", "name[x]", "none"), 0);
  EXPECT_DOUBLE_EQ(must("slots", "a=1; b=2", "a=1; b=2; c=3; d=4"), 2.0 * 2 / 6);
  EXPECT_EQ(must("slots", "a=1", "a=1; a=1"), 1);  // a set
}

TEST(Check, SlotsReadsOddTexts) {
  EXPECT_EQ(parse_slots("movie_name=Foo [2]; city=Bonn"),
            (Slots{{"movie_name", "Foo [2]"}, {"city", "Bonn"}}));
  EXPECT_EQ(parse_slots("x=a=b"), (Slots{{"x", "a=b"}}));
  EXPECT_EQ(parse_slots("name[a; b], food[c]"), (Slots{{"name", "a; b"}, {"food", "c"}}));
  EXPECT_EQ(parse_slots("name[open"), (Slots{{"intent", "name[open"}}));
  EXPECT_EQ(parse_slots("a=1; stray words; b=2"), (Slots{{"a", "1"}, {"b", "2"}}));
  EXPECT_EQ(parse_slots("; stray"), Slots{});
  EXPECT_EQ(parse_slots("[]"), (Slots{{"intent", "[]"}}));
}

TEST(Check, HasSlotsIsTheShareOfPromptValuesThatStandInTheOutput) {
  const std::string prompt =
      "Describe: name[The Phoenix], food[French], familyFriendly[yes], near[Café Sicilia]";
  EXPECT_EQ(must("has_slots", "", "The Phoenix serves french food near Café Sicilia.", prompt), 1);
  EXPECT_DOUBLE_EQ(must("has_slots", "", "The Phoenix is French.", prompt), 2.0 / 3);
  EXPECT_EQ(must("has_slots", "", "yes", prompt), 0);
  EXPECT_EQ(must("has_slots", "", "anything", "open[yes], late[No]"), 1);  // nothing to miss
  EXPECT_FALSE(score("has_slots", std::nullopt, "x", "no slots here"));
  EXPECT_TRUE(score("has_slots", std::nullopt, "x", prompt));
}

TEST(Check, TokenF1CountsMultisets) {
  EXPECT_EQ(must("token_f1", "a b b", "b a b"), 1);
  EXPECT_DOUBLE_EQ(must("token_f1", "a b b", "b b b"), 2.0 * 2 / 6);
  EXPECT_DOUBLE_EQ(must("token_f1", "find . -name x", "find . -type f"), 2.0 * 2 / 8);
  EXPECT_EQ(must("token_f1", "a", "A"), 0);
  EXPECT_EQ(must("token_f1", "", " "), 1);
  EXPECT_EQ(must("token_f1", "a", ""), 0);
}

TEST(Check, JsonIgnoresKeyOrderAndSpace) {
  EXPECT_EQ(must("json", R"({"a":1,"b":[true,null]})", " {\"b\": [true, null],\n\"a\": 1.0} "), 1);
  EXPECT_EQ(must("json", "[1,2]", "[2,1]"), 0);
  EXPECT_EQ(must("json", R"({"a":1})", R"({"a":1,"b":2})"), 0);
  EXPECT_EQ(must("json", R"({"a":1})", R"({"a":"1"})"), 0);
  EXPECT_EQ(must("json", R"({"a":1})", "{\"a\":1"), 0);
  EXPECT_EQ(must("json", R"({"a":1})", "Here: {\"a\":1}"), 0);
  EXPECT_FALSE(score("json", "not json", "{}"));
}

TEST(Check, SchemaValidates) {
  const auto folder = std::filesystem::temp_directory_path() / "colony_schema_test";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "s.json")
      << R"({"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]})";
  std::ofstream(folder / "broken.json") << "{";
  std::ofstream(folder / "list.json") << "[]";
  auto check = Check::make("schema:s.json", folder, nullptr);
  ASSERT_TRUE(check) << check.error().message;
  TaskLine task;
  EXPECT_EQ(*(*check)->score(task, " {\"a\": 3}\n"), 1);
  EXPECT_EQ(*(*check)->score(task, "{\"a\": \"3\"}"), 0);
  EXPECT_EQ(*(*check)->score(task, "{}"), 0);
  EXPECT_EQ(*(*check)->score(task, "{\"a\": 3"), 0);
  EXPECT_EQ(*(*check)->score(task, "text"), 0);
  EXPECT_EQ(Check::make("schema:absent.json", folder, nullptr).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(Check::make("schema:", folder, nullptr).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(Check::make("schema:broken.json", folder, nullptr).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(Check::make("schema:list.json", folder, nullptr).error().code, ErrorCode::kInvalid);
}

// A schema that cannot be judged would score every valid answer 0, and agents would learn from it.
TEST(Check, SchemaThatCannotBeJudgedIsRefusedWhenMade) {
  const auto folder = std::filesystem::temp_directory_path() / "colony_schema_unjudged_test";
  std::filesystem::create_directories(folder);
  const auto made = [&](const std::string& schema) {
    std::ofstream(folder / "s.json") << schema;
    return Check::make("schema:s.json", folder, nullptr);
  };
  const std::pair<const char*, const char*> refused[] = {
      {R"({"$ref":"#/$defs/a","$defs":{"a":{}}})", "#/$ref"},
      {R"({"oneOf":[{}]})", "#/oneOf"},
      {R"({"allOf":[{}]})", "#/allOf"},
      {R"({"not":{}})", "#/not"},
      {R"({"if":{},"then":{}})", "#/if"},
      {R"({"properties":{"d":{"type":"string","format":"date"}}})", "#/properties/d/format"},
      {R"({"items":{"exclusiveMinimum":1}})", "#/items/exclusiveMinimum"},
      {R"({"anyOf":[{"type":"null"},{"multipleOf":2}]})", "#/anyOf/1/multipleOf"},
      {R"({"additionalProperties":{"uniqueItems":true}})", "#/additionalProperties/uniqueItems"},
      {R"({"minProperties":1})", "#/minProperties"},
      {R"({"prefixItems":[{}]})", "#/prefixItems"},
      {R"({"patternProperties":{"a":{}}})", "#/patternProperties"},
      {R"({"propertyNames":{}})", "#/propertyNames"},
      {R"({"contains":{}})", "#/contains"},
      {R"({"dependentRequired":{}})", "#/dependentRequired"},
      {R"({"unevaluatedProperties":false})", "#/unevaluatedProperties"},
      {R"({"properties":{"a":{"pattern":"("}}})", "#/properties/a/pattern"},
  };
  for (const auto& [schema, pointer] : refused) {
    const auto check = made(schema);
    ASSERT_FALSE(check) << schema;
    EXPECT_NE(check.error().message.find(pointer), std::string::npos) << check.error().message;
    EXPECT_NE(check.error().message.find("s.json"), std::string::npos) << check.error().message;
  }
  // What says nothing about validity; "format" and "not" here are names of properties.
  const auto check = made(R"({"x-order":1,"nullable":true,"contentMediaType":"text/plain","$defs":{"u":{"not":{}}},"$anchor":"r",
                              "properties":{"format":{"type":"integer"},"not":{"x-y":[]}}})");
  ASSERT_TRUE(check) << check.error().message;
  EXPECT_EQ(*(*check)->score(TaskLine(), R"({"format":1,"not":null})"), 1);
  EXPECT_EQ(*(*check)->score(TaskLine(), R"({"format":"x"})"), 0);
}

TEST(Check, RegexIsFoundAnywhere) {
  EXPECT_EQ(*score("regex:^\\d{4}-\\d{2}$", std::nullopt, "2024-05"), 1);
  EXPECT_EQ(*score("regex:b+c", std::nullopt, "aabbc!"), 1);
  EXPECT_EQ(*score("regex:b+c", std::nullopt, "aabb"), 0);
  EXPECT_EQ(*score("regex:\\p{Lu}", std::nullopt, "école É"), 1);
  EXPECT_FALSE(Check::make("regex:(", ".", nullptr));
  EXPECT_FALSE(score("regex:^(a+)+$", std::nullopt, std::string(50, 'a') + "b"));  // bounded
}

TEST(Check, ScriptIsHandedOutAndItsScoreChecked) {
  const auto folder = std::filesystem::temp_directory_path() / "colony_check_test";
  std::filesystem::create_directories(folder / "checks");
  std::ofstream(folder / "checks/long.lua") << "return 1";
  double give = 0.25;
  auto check = Check::make("script:long", folder,
                           [&](const std::filesystem::path& path, const Json& fields,
                               std::string_view output) -> Result<double> {
                             EXPECT_EQ(path, folder / "checks/long.lua");
                             EXPECT_EQ(fields["extra"], 7);
                             EXPECT_EQ(output, "out");
                             return give;
                           });
  ASSERT_TRUE(check);
  TaskLine task;
  task.fields = Json{{"extra", 7}};
  EXPECT_EQ(*(*check)->score(task, "out"), 0.25);
  give = 1.5;
  EXPECT_FALSE((*check)->score(task, "out"));
  give = std::nan("");
  EXPECT_FALSE((*check)->score(task, "out"));
  EXPECT_EQ(Check::make("script:absent", folder, nullptr).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(Check::make("script:../long", folder, nullptr).error().code, ErrorCode::kInvalid);
  EXPECT_FALSE((*Check::make("script:long", folder, nullptr))->score(task, "out"));
}

TEST(Check, UnknownNamesTheNearest) {
  auto check = Check::make("numerik", ".", nullptr);
  ASSERT_FALSE(check);
  EXPECT_NE(check.error().message.find("\"numeric\""), std::string::npos) << check.error().message;
  EXPECT_FALSE(Check::make("", ".", nullptr));
  EXPECT_FALSE(Check::make("regex", ".", nullptr));
}

TEST(Check, AnswersAreRequiredWhereCompared) {
  for (const char* spec : {"exact", "icase", "label", "numeric", "sql", "slots", "token_f1", "json"}) {
    auto result = score(spec, std::nullopt, "x");
    ASSERT_FALSE(result) << spec;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalid);
    EXPECT_TRUE(check_needs_answer(spec));
  }
  EXPECT_FALSE(check_needs_answer("regex:x"));
  EXPECT_FALSE(check_needs_answer("has_slots"));
}

}  // namespace
}  // namespace colony::data
