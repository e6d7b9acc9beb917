#include "text/constraint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>



namespace colony::text {
namespace {

Json json(std::string_view text) { return *parse_json(text, {.depth_max = 1000}); }
bool reads(const Acceptor& acceptor, std::string_view text, bool bytewise = false) {
  auto state = acceptor.start();
  if (!bytewise) return state->advance(text) && state->complete();
  for (const char c : text) {
    if (!state->advance(std::string_view(&c, 1))) return false;
  }
  return state->complete();
}

TEST(Choices, AcceptsExactlyItsMembers) {
  const auto made = make_choices({"yes", "no", "not", "nothing", "\xc3\xa9"});
  ASSERT_TRUE(made);
  for (const char* member : {"yes", "no", "not", "nothing", "\xc3\xa9"}) EXPECT_TRUE(reads(**made, member)) << member;
  for (const char* other : {"", "y", "n", "yess", "noth", "nothingx", "\xc3", "Yes", " no"}) EXPECT_FALSE(reads(**made, other)) << other;
  auto state = (*made)->start();
  EXPECT_FALSE(state->complete());
  ASSERT_TRUE(state->advance("no"));
  EXPECT_TRUE(state->complete());
  EXPECT_FALSE(state->exhausted());
  auto copy = state->clone();
  EXPECT_FALSE(copy->advance("x"));
  ASSERT_TRUE(state->advance("thing"));
  EXPECT_TRUE(state->exhausted());
}

TEST(Choices, RefusesNoneEmptyAndTwice) {
  EXPECT_FALSE(make_choices({}));
  EXPECT_FALSE(make_choices({"a", ""}));
  EXPECT_FALSE(make_choices({"a", "b", "a"}));
}

TEST(JsonSchema, AcceptsValidAndRefusesOther) {
  struct Case {
    const char* schema;
    std::vector<const char*> yes, no;
  };
  const Case cases[] = {
      {R"({"type":"integer"})", {"0", "-0", "7", "-12", "9223372036854775807"}, {"", "-", "01", "1.0", "1e2", "+1", " 1", "12345678901234567890", "1 "}},
      {R"({"type":"number"})", {"0", "-0.5", "1e5", "1.5E-3", "1.7976931348623157e+200", "2e299", "1e-308"}, {".5", "1.", "1e", "1e+", "0x1", "NaN", "1e999", "1e300", "12e150"}},
      {R"({"type":"boolean"})", {"true", "false"}, {"True", "tru", "1"}},
      {R"({"type":"null"})", {"null"}, {"", "nul", "none"}},
      {R"({"type":"string"})",
       {R"("")", R"("a\"\\\/\b\f\n\r\t\u00e9")", "\"\xc3\xa9\xe4\xb8\x96\xf0\x9f\xa7\x91\"", R"("\ud83e\uddd1")", "\"\x7f\""},
       {"\"", "a", "\"\n\"", "\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xc3\"", "\"\xf4\x90\x80\x80\"", R"("\ud83e")", R"("\udc00")", R"("\ud83e\u0041")", R"("\x41")", R"("\u00g0")"}},
      {R"({"type":"string","minLength":2,"maxLength":3})",
       {R"("ab")", "\"\xc3\xa9\xc3\xa9\xc3\xa9\"", R"("\u0041\ud83e\uddd1")"},
       {R"("a")", R"("abcd")", R"("\n")"}},
      {R"({"enum":["a","b c",1,null,{"k":[1]}]})", {R"("a")", R"("b c")", "1", "null", R"({"k":[1]})"}, {"a", "2", R"("b")", R"({"k": [1]})"}},
      {R"({"const":"x"})", {R"("x")"}, {R"("y")"}},
      {R"({"type":"string","enum":["a",1]})", {R"("a")"}, {"1"}},
      {R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})", {"[1]", "[1,2]", "[1, 2,3]"}, {"[]", "[1,2,3,4]", "[1,]", "[1,  2]", "[ 1]", "[1 ,2]", "[\"a\"]"}},
      {R"({"type":"array","items":{"type":"null"},"maxItems":0})", {"[]"}, {"[null]"}},
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},"c":{"type":"null"}},"required":["b"]})",
       {R"({"b":""})", R"({"a":1,"b":""})", R"({"a": 1, "b": "x", "c": null})", R"({"b":"","c":null})"},
       {"{}", R"({"a":1})", R"({"b":"","a":1})", R"({"b":"",})", R"({"b":"","b":""})", R"({"b":"","d":1})", R"({ "b":""})", R"({"b":""}x)"}},
      {R"({"type":"object","properties":{"a":{"type":"null"}}})", {"{}", R"({"a":null})"}, {"", "{", R"({"a":1})"}},
      {R"({"type":"object"})", {"{}"}, {R"({"a":1})"}},
      {R"({"anyOf":[{"type":"integer"},{"type":"number"},{"type":"array","items":{"type":"integer"}},{"type":"string","maxLength":1}]})",
       {"1", "1.5", "[1,2]", R"("a")"},
       {R"("ab")", "[1.5]", "null"}},
      {R"({"type":["string","null","array"],"items":{"type":"boolean"},"maxLength":2})", {"null", R"("ab")", "[true]"}, {R"("abc")", "1"}},
      {R"({"type":"object","properties":{"q\"é":{"type":"null"}},"additionalProperties":false,"title":"t","description":"d"})", {"{\"q\\\"\xc3\xa9\":null}"}, {}},
  };
  for (const Case& c : cases) {
    const auto made = make_json_schema(json(c.schema));
    ASSERT_TRUE(made) << c.schema << " " << made.error().message;
    for (const char* text : c.yes) {
      EXPECT_TRUE(reads(**made, text)) << c.schema << " should accept " << text;
      EXPECT_TRUE(reads(**made, text, true)) << c.schema << " should accept bytewise " << text;
      const auto value = parse_json(text);
      ASSERT_TRUE(value) << text;
      EXPECT_EQ(schema_problem(json(c.schema), *value), "") << text;
    }
    for (const char* text : c.no) EXPECT_FALSE(reads(**made, text)) << c.schema << " should refuse " << text;
  }
}

TEST(JsonSchema, CompleteAndExhausted) {
  auto number = (*make_json_schema(json(R"({"type":"integer"})")))->start();
  ASSERT_TRUE(number->advance("12"));
  EXPECT_TRUE(number->complete());
  EXPECT_FALSE(number->exhausted());
  auto object = (*make_json_schema(json(R"({"type":"object"})")))->start();
  EXPECT_FALSE(object->complete());
  ASSERT_TRUE(object->advance("{}"));
  EXPECT_TRUE(object->exhausted());
  EXPECT_FALSE(object->advance(" "));
}

TEST(JsonSchema, NamesWhatItDoesNotSupport) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"type":"string","pattern":"a"})", "pattern"},
      {R"({"type":"integer","minimum":1})", "minimum"},
      {R"({"$ref":"#"})", "$ref"},
      {R"({"type":"object","properties":{"a":{"$ref":"#/properties/a"}}})", "$ref"},
      {R"({"oneOf":[{"type":"null"}]})", "oneOf"},
      {R"({"type":"array","prefixItems":[]})", "prefixItems"},
      {R"({"type":"array"})", "items"},
      {R"({"type":"object","additionalProperties":{"type":"null"}})", "additionalProperties"},
      {R"({"type":"object","required":["a"]})", "required"},
      {R"({"type":"object","properties":{},"patternProperties":{}})", "patternProperties"},
      {R"({"anyOf":[]})", "anyOf"},
      {R"({"anyOf":[{"type":"null"}],"type":"null"})", "anyOf"},
      {R"({"enum":[]})", "enum"},
      {R"({"type":"integer","enum":["a"]})", "enum"},
      {R"({"type":"date"})", "date"},
      {R"({"type":3})", "type"},
      {R"({})", "type"},
      {R"({"type":"string","minLength":5,"maxLength":4})", "minLength"},
      {R"({"type":"string","minLength":-1})", "minLength"},
      {R"({"type":"array","items":{"type":"null"},"minItems":"3"})", "minItems"},
      {R"([])", "object"},
      {R"(true)", "object"},
  };
  for (const auto& [schema, word] : cases) {
    const auto made = make_json_schema(json(schema));
    ASSERT_FALSE(made) << schema;
    EXPECT_EQ(made.error().code, ErrorCode::kInvalid);
    EXPECT_NE(made.error().message.find(word), std::string::npos) << schema << " " << made.error().message;
  }
}

TEST(JsonSchema, HostileDepthEndsInAnError) {
  std::string deep = R"({"type":"null"})";
  for (int k = 0; k < 300; ++k) deep = R"({"type":"array","items":)" + deep + "}";
  EXPECT_FALSE(make_json_schema(json(deep)));
  std::string any = R"({"type":"null"})";
  for (int k = 0; k < 300; ++k) any = R"({"anyOf":[)" + any + "]}";
  EXPECT_FALSE(make_json_schema(json(any)));
  EXPECT_NE(schema_problem(json(any), Json()), "");
  std::string wide = R"({"anyOf":[)";
  for (int k = 0; k < 30'000; ++k) wide += (k > 0 ? "," : "") + std::string(R"({"type":"null"})");
  EXPECT_FALSE(make_json_schema(json(wide + "]}")));
}

// An ambiguous schema keeps few stacks: what two alternatives read alike is one.
TEST(JsonSchema, AmbiguityDoesNotGrow) {
  const auto made = make_json_schema(json(R"({"type":"array","items":{"anyOf":[{"type":"integer"},{"type":"number"},{"type":"integer"}]}})"));
  ASSERT_TRUE(made);
  std::string text = "[1";
  for (int k = 0; k < 5000; ++k) text += ",1";
  EXPECT_TRUE(reads(**made, text + "]"));
}

TEST(JsonSchema, ManyEnumValuesStayCheap) {
  std::string schema = R"({"enum":[)";
  for (int k = 0; k < 20'000; ++k) schema += fmt::format("{}\"v{}\"", k > 0 ? "," : "", k);
  const auto made = make_json_schema(json(schema + "]}"));
  ASSERT_TRUE(made);
  auto state = (*made)->start();
  for (int k = 0; k < 10'000; ++k) EXPECT_FALSE(state->clone()->advance("x"));
  EXPECT_TRUE(reads(**made, "\"v19999\""));
  EXPECT_FALSE(reads(**made, "\"v20000\""));
}

TEST(SchemaProblem, NamesThePath) {
  const Json schema = json(R"({"type":"object","properties":{"a":{"type":"array","items":{"type":"integer","minimum":1,"maximum":9}},"s":{"type":"string","pattern":"^x+$"}},"required":["a"],"additionalProperties":false})");
  EXPECT_EQ(schema_problem(schema, json(R"({"a":[1,9],"s":"xx"})")), "");
  EXPECT_NE(schema_problem(schema, json(R"({"a":[1,0]})")).find("$.a[1]"), std::string::npos);
  EXPECT_NE(schema_problem(schema, json(R"({"a":[10]})")).find("maximum"), std::string::npos);
  EXPECT_NE(schema_problem(schema, json(R"({"a":[],"s":"y"})")).find("$.s"), std::string::npos);
  EXPECT_NE(schema_problem(schema, json(R"({})")).find("\"a\" is missing"), std::string::npos);
  EXPECT_NE(schema_problem(schema, json(R"({"a":[],"b":1})")).find("\"b\" is not allowed"), std::string::npos);
  EXPECT_NE(schema_problem(schema, json("[]")).find("$: must be"), std::string::npos);
  EXPECT_EQ(schema_problem(json(R"({"type":"integer"})"), json("1.0")), "");
  EXPECT_NE(schema_problem(json(R"({"type":"integer"})"), json("1.5")), "");
  EXPECT_NE(schema_problem(json(R"({"$ref":"#"})"), json("1")).find("$ref"), std::string::npos);
  EXPECT_NE(schema_problem(json(R"({"pattern":"("})"), json("\"a\"")).find("pattern"), std::string::npos);
  EXPECT_EQ(schema_problem(json(R"({"enum":[{"a":1,"b":2}]})"), json(R"({"b":2.0,"a":1})")), "");
}

// --- random schemas

struct Dice {
  uint64_t state;
  uint64_t next() {
    state += 0x9E3779B97F4A7C15u;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  size_t below(size_t n) { return static_cast<size_t>(next() % n); }
  bool one_in(size_t n) { return below(n) == 0; }
};

std::string random_text(Dice& dice, size_t length) {
  static const std::vector<std::string> kPieces = {"a", "Z", "\"", "\\", "\n", "\x01", "\xc3\xa9", "\xe4\xb8\x96", "\xf0\x9f\xa7\x91", " ", "/", "\x7f"};
  std::string out;
  for (size_t k = 0; k < length; ++k) out += kPieces[dice.below(kPieces.size())];
  return out;
}

Json random_schema(Dice& dice, int depth) {
  const size_t kind = dice.below(depth > 0 ? 9 : 6);
  Json out = Json::object();
  switch (kind) {
    case 0: return json(R"({"type":"integer"})");
    case 1: return json(R"({"type":"number"})");
    case 2: return dice.one_in(2) ? json(R"({"type":"boolean"})") : json(R"({"type":"null"})");
    case 3:
    case 4: {
      out["type"] = "string";
      const size_t least = dice.below(3);
      if (dice.one_in(2)) out["minLength"] = least;
      if (dice.one_in(2)) out["maxLength"] = least + dice.below(4);
      return out;
    }
    case 5: {
      out["enum"] = Json::array();
      for (size_t k = 0; k <= dice.below(3); ++k) out["enum"].push_back(dice.one_in(2) ? Json(random_text(dice, 2)) : Json(static_cast<int>(dice.below(20)) - 10));
      return out;
    }
    case 6: {
      out["type"] = "array";
      out["items"] = random_schema(dice, depth - 1);
      const size_t least = dice.below(3);
      if (dice.one_in(2)) out["minItems"] = least;
      if (dice.one_in(2)) out["maxItems"] = least + dice.below(3);
      return out;
    }
    case 7: {
      out["type"] = "object";
      out["properties"] = Json::object();
      Json required = Json::array();
      for (size_t k = 0; k < dice.below(4); ++k) {
        const std::string name = dice.one_in(4) ? random_text(dice, 2) : std::string(1, static_cast<char>('a' + k));
        if (!out["properties"].contains(name) && dice.one_in(2)) required.push_back(name);
        out["properties"][name] = random_schema(dice, depth - 1);
      }
      out["required"] = required;
      return out;
    }
    default: {
      out["anyOf"] = Json::array();
      for (size_t k = 0; k <= dice.below(3); ++k) out["anyOf"].push_back(random_schema(dice, depth - 1));
      return out;
    }
  }
}

Json random_instance(Dice& dice, const Json& schema) {
  if (schema.contains("enum")) return schema["enum"][dice.below(schema["enum"].size())];
  if (schema.contains("anyOf")) return random_instance(dice, schema["anyOf"][dice.below(schema["anyOf"].size())]);
  const std::string type = schema["type"];
  if (type == "integer") return static_cast<int64_t>(dice.next() >> dice.below(64)) / 2 * (dice.one_in(2) ? -1 : 1);
  if (type == "number") return dice.one_in(3) ? Json(static_cast<int>(dice.below(1000))) : Json((static_cast<double>(dice.next() >> 11) - 4e15) * std::pow(10.0, static_cast<double>(dice.below(60)) - 30));
  if (type == "boolean") return dice.one_in(2);
  if (type == "null") return nullptr;
  const auto between = [&](const char* least, const char* most) {
    const size_t low = schema.contains(least) ? schema[least].get<size_t>() : 0;
    const size_t high = schema.contains(most) ? schema[most].get<size_t>() : low + 3;
    return low + dice.below(high - low + 1);
  };
  if (type == "string") return random_text(dice, between("minLength", "maxLength"));
  if (type == "array") {
    Json out = Json::array();
    const size_t n = between("minItems", "maxItems");
    for (size_t k = 0; k < n; ++k) out.push_back(random_instance(dice, schema["items"]));
    return out;
  }
  Json out = Json::object();
  for (const auto& [name, child] : schema["properties"].items()) {
    const Json& required = schema["required"];
    if (std::find(required.begin(), required.end(), name) != required.end() || dice.one_in(2)) out[name] = random_instance(dice, child);
  }
  return out;
}

// With a space behind every comma and colon that is not inside a text.
std::string spaced(const std::string& compact) {
  std::string out;
  bool text = false;
  for (size_t k = 0; k < compact.size(); ++k) {
    out += compact[k];
    if (compact[k] == '"') text = !text;
    if (text && compact[k] == '\\') out += compact[++k];
    if (!text && (compact[k] == ',' || compact[k] == ':')) out += ' ';
  }
  return out;
}

// Method: every compact or spaced valid instance is accepted.
TEST(JsonSchemaProp, AcceptsEveryValidInstance) {
  Dice dice{20261124};
  size_t instances = 0;
  for (int round = 0; round < 400; ++round) {
    const Json schema = random_schema(dice, 3);
    const auto made = make_json_schema(schema);
    ASSERT_TRUE(made) << to_line(schema) << made.error().message;
    for (int k = 0; k < 8; ++k) {
      const Json value = random_instance(dice, schema);
      ASSERT_EQ(schema_problem(schema, value), "") << to_line(schema) << " " << to_line(value);
      EXPECT_TRUE(reads(**made, to_line(value))) << to_line(schema) << " " << to_line(value);
      EXPECT_TRUE(reads(**made, spaced(to_line(value)), true)) << to_line(schema) << " " << spaced(to_line(value));
      ++instances;
    }
  }
  EXPECT_EQ(instances, 3200u);
}

// Method: a walk that takes any byte the acceptor allows; wherever it is complete, the bytes read are JSON valid under the schema.
TEST(JsonSchemaProp, WhateverIsCompleteIsValid) {
  Dice dice{42};
  size_t complete = 0, bytes = 0;
  std::set<std::string> seen;
  for (int round = 0; round < 400; ++round) {
    const Json schema = random_schema(dice, 3);
    const auto made = make_json_schema(schema);
    ASSERT_TRUE(made);
    auto state = (*made)->start();
    std::string text;
    for (int length = 0; length < 60; ++length) {
      std::string allowed;
      for (int c = 0; c < 256; ++c) {
        const char byte = static_cast<char>(c);
        if (state->clone()->advance(std::string_view(&byte, 1))) allowed += byte;
      }
      if (state->complete()) {
        ++complete;
        seen.insert(text);
        const auto value = parse_json(text);
        ASSERT_TRUE(value) << to_line(schema) << " " << text << " " << value.error().message;
        ASSERT_EQ(schema_problem(schema, *value), "") << to_line(schema) << " " << text;
      } else {
        ASSERT_FALSE(allowed.empty()) << "a dead end: " << to_line(schema) << " " << text;
      }
      ASSERT_EQ(state->exhausted(), state->complete() && allowed.empty());
      if (allowed.empty()) break;
      // Prefers what closes things, so that many walks come to an end.
      std::string closing;
      for (const char c : allowed) {
        if (std::string_view("\"]},:").find(c) != std::string_view::npos) closing += c;
      }
      const std::string& from = !closing.empty() && dice.one_in(2) ? closing : allowed;
      const char byte = from[dice.below(from.size())];
      ASSERT_TRUE(state->advance(std::string_view(&byte, 1)));
      text += byte;
      ++bytes;
    }
  }
  EXPECT_GT(complete, 300u);
  EXPECT_GT(seen.size(), 150u);
  EXPECT_GT(bytes, 3000u);
}

}  // namespace
}  // namespace colony::text
