#include "base/json.h"

#include <gtest/gtest.h>

#include <ctime>

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

Json object_of(size_t keys) {
  Json object = Json::object();
  for (size_t i = 0; i < keys; ++i) object[std::to_string(i * 7919 % 1'000'003)] = i;
  return object;
}

TEST(Json, LargeObjectsKeepOrderAndFindTheirKeys) {
  Json object = object_of(5000);
  object["7919"] = "again";  // an old key keeps its place
  Json copy = *parse_json(to_line(object));
  EXPECT_EQ(copy, object);
  ASSERT_EQ(copy.size(), 5000u);
  size_t i = 0;
  for (const auto& [key, value] : copy.items()) {
    EXPECT_EQ(key, std::to_string(i * 7919 % 1'000'003));
    EXPECT_TRUE(i == 1 ? value == "again" : value == i);
    ++i;
  }
  EXPECT_TRUE(copy.contains("0"));
  EXPECT_FALSE(copy.contains("x"));
  // What is taken away is gone, what stood behind it is still found, down to few and up again.
  EXPECT_EQ(copy.erase("0"), 1u);
  EXPECT_EQ(copy.erase("0"), 0u);
  copy.erase(std::next(copy.begin(), 3));
  EXPECT_FALSE(copy.contains(std::to_string(4 * 7919)));
  EXPECT_EQ(copy[std::to_string(5 * 7919)], 5);
  copy.erase(std::next(copy.begin(), 10), copy.end());
  EXPECT_EQ(copy.size(), 10u);
  EXPECT_EQ(copy["7919"], "again");
  copy["new"] = 1;
  EXPECT_EQ(copy.items().begin().key(), "7919");
  const Json moved = std::move(object);
  EXPECT_EQ(moved["7919"], "again");
  EXPECT_EQ(object, Json());  // NOLINT(bugprone-use-after-move): what nlohmann leaves
}

// A square would make the larger one 256 times as dear; hashing makes it 16 times, and memory some.
TEST(Json, AnObjectOfManyKeysIsNotTheirSquare) {
  const auto cost = [](size_t keys, bool unique) {
    std::string text = "{";
    for (size_t i = 0; i < keys; ++i) text += (i == 0 ? "\"k" : ",\"k") + std::to_string(i) + "\":1";
    text += "}";
    double best = 1e9;
    for (int round = 0; round < 3; ++round) {
      const std::clock_t start = std::clock();
      EXPECT_TRUE(parse_json(text, {.unique_keys = unique}));
      best = std::min(best, static_cast<double>(std::clock() - start));
    }
    return best / CLOCKS_PER_SEC;
  };
  for (const bool unique : {false, true}) {
    const double small = cost(10'000, unique), large = cost(160'000, unique);
    EXPECT_LT(large, 80 * small + 0.05) << small << " s and " << large << " s";
  }
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
