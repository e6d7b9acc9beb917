#include "base/json.h"

#include <gtest/gtest.h>

namespace colony {
namespace {

TEST(Json, KeepsTheOrderOfKeys) {
  auto value = parse_json(R"({"b":1,"a":2.0,"c":[true,null]})");
  ASSERT_TRUE(value);
  EXPECT_EQ(to_line(*value), R"({"b":1,"a":2.0,"c":[true,null]})");
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const char* text : {"", "{", "{\"a\":}", "[1,]", "nul", "\"\xff\"", "{\"a\":1}x"}) {
    auto value = parse_json(text);
    EXPECT_FALSE(value) << text;
    if (!value) {
      EXPECT_EQ(value.error().code, ErrorCode::kInvalid);
    }
  }
}

TEST(Json, RefusesHostileDepthWithoutRecursing) {
  EXPECT_FALSE(parse_json(std::string(1'000'000, '[')));
  EXPECT_TRUE(parse_json("[[[1]]]", {.depth_max = 3}));
  EXPECT_FALSE(parse_json("[[[[1]]]]", {.depth_max = 3}));
}

TEST(Json, RefusesDuplicateKeysWhenAsked) {
  EXPECT_TRUE(parse_json(R"({"a":1,"a":2})"));
  EXPECT_FALSE(parse_json(R"({"a":1,"a":2})", {.unique_keys = true}));
  EXPECT_TRUE(parse_json(R"({"a":{"b":1},"b":{"a":1}})", {.unique_keys = true}));
}

TEST(Json, TypedAccessNamesWhatItFound) {
  const Json object = *parse_json(R"({"n":3,"f":2.5,"w":4.0,"s":"x","z":null,"big":1e300})");
  EXPECT_EQ(*get_int(object, "n", "test"), 3);
  EXPECT_EQ(*get_int(object, "w", "test"), 4);
  EXPECT_FALSE(get_int(object, "f", "test"));
  EXPECT_FALSE(get_int(object, "big", "test"));
  EXPECT_EQ(*get_int(object, "z", "test"), std::nullopt);
  EXPECT_EQ(*get_string(object, "absent", "test"), std::nullopt);
  auto wrong = get_string(object, "n", "test");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().message, "test: \"n\" must be a string, found a number");
}

TEST(Toml, BecomesTheSameKindOfValue) {
  auto value = parse_toml("a = 1\n[t]\nb = [\"x\", 2.5]\nd = 1979-05-27\n", "agent.toml");
  ASSERT_TRUE(value) << value.error().message;
  EXPECT_EQ(to_line(*value), R"({"a":1,"t":{"b":["x",2.5],"d":"1979-05-27"}})");
  auto broken = parse_toml("a = 1\nb = \n", "agent.toml");
  ASSERT_FALSE(broken);
  EXPECT_NE(broken.error().message.find("agent.toml:2"), std::string::npos) << broken.error().message;
}

TEST(Nearest, FindsTheTypo) {
  EXPECT_EQ(nearest("skils", {"name", "skills", "model"}), "skills");
  EXPECT_EQ(nearest("zzzzzzzz", {"name", "skills"}), "");
}

}  // namespace
}  // namespace colony
