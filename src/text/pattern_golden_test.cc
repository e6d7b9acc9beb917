// Patterns and code points as the tokenizers library reads them: tests/goldens/patterns.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>

#include "base/file.h"
#include "text/pre_tokenizer.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace colony::text {
namespace {

Json read_json(const std::string& path) {
  const auto text = read_file(path);
  EXPECT_TRUE(text) << path;
  auto json = parse_json(text ? *text : "null");
  EXPECT_TRUE(json) << path;
  return json ? *json : Json();
}

// COLONY_PATTERNS names another file of the same form, for a longer comparison.
TEST(Patterns, SplitAsTheLibraryDoes) {
  const char* given = std::getenv("COLONY_PATTERNS");  // NOLINT(concurrency-mt-unsafe)
  const Json rows = read_json(given != nullptr ? given : "tests/goldens/patterns/patterns.json");
  ASSERT_GE(rows.size(), 500U);
  int wrong = 0;
  size_t texts = 0;
  for (const auto& row : rows) {
    const Json step = {{"type", "Split"}, {"pattern", {{"Regex", row["pattern"]}}}, {"behavior", row["behavior"]}, {"invert", row["invert"]}};
    const auto made = PreTokenizer::parse(step);
    if (!made || row["pieces"].is_null()) {
      if (made.has_value() == row["pieces"].is_null() && ++wrong <= 40) {
        ADD_FAILURE() << row["pattern"] << (made ? ": taken, the library refuses it" : ": " + made.error().message);
      }
      continue;
    }
    for (size_t i = 0; i < row["texts"].size(); ++i, ++texts) {
      const auto pieces = made->apply({row["texts"][i].get<std::string>(), true});
      Json got = Json::array();
      if (pieces) {
        for (const auto& piece : *pieces) got.push_back(piece.text);
      }
      if (got != row["pieces"][i] && ++wrong <= 40) {
        ADD_FAILURE() << row["pattern"] << " " << row["behavior"] << " " << row["invert"] << " on " << row["texts"][i] << "\n want "
                      << row["pieces"][i] << "\n got  " << (pieces ? got.dump() : pieces.error().message);
      }
    }
  }
  EXPECT_EQ(wrong, 0);
  std::cout << "  " << rows.size() << " patterns, " << texts << " texts\n";
}

std::vector<uint32_t> flat(const std::function<bool(int32_t)>& is) {
  std::vector<uint32_t> out;
  for (int32_t c = 0; c < 0x110000; ++c) {
    if ((c >= 0xd800 && c < 0xe000) || !is(c)) continue;
    const auto code = static_cast<uint32_t>(c);
    if (!out.empty() && out.back() + 1 == code) out.back() = code;
    else out.insert(out.end(), {code, code});
  }
  return out;
}

TEST(Unicode, ClassesAreTheLibrarys) {
  const Json golden = read_json("tests/goldens/patterns/unicode.json");
  EXPECT_EQ(flat(is_numeric), golden["sets"]["numeric"].get<std::vector<uint32_t>>());
  EXPECT_EQ(flat(is_punctuation), golden["sets"]["punctuation"].get<std::vector<uint32_t>>());
  EXPECT_EQ(flat(is_space), golden["sets"]["space"].get<std::vector<uint32_t>>());
  EXPECT_EQ(flat(is_mark), golden["sets"]["mark"].get<std::vector<uint32_t>>());
  EXPECT_EQ(flat(is_word), golden["sets"]["word"].get<std::vector<uint32_t>>());
  std::map<int32_t, std::string> lower;
  for (const auto& pair : golden["lower"]) lower[pair[0].get<int32_t>()] = pair[1].get<std::string>();
  ASSERT_GT(lower.size(), 1000U);
  for (int32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xd800 && c < 0xe000) continue;
    std::string text;
    append_utf8(c, text);
    const auto want = lower.find(c);
    ASSERT_EQ(lower_each(text), want == lower.end() ? text : want->second) << std::hex << c;
  }
}

TEST(Unicode, PropertiesAreTheLibrarys) {
  const Json golden = read_json("tests/goldens/patterns/unicode.json");
  ASSERT_GE(golden["properties"].size(), 10U);
  for (const auto& [name, want] : golden["properties"].items()) {
    const auto regex = Regex::compile("\\p{" + name + "}");
    ASSERT_TRUE(regex) << regex.error().message;
    const auto matched = flat([&](int32_t c) {
      std::string text;
      append_utf8(c, text);
      const auto found = (*regex)->matches(text);
      return found && *found;
    });
    EXPECT_EQ(matched, want.get<std::vector<uint32_t>>()) << name;
  }
}

// The hand-written scanners and the patterns' engine have one idea of letters and numbers.
TEST(Unicode, ScannersAndPatternsAgree) {
  for (const auto& [pattern, is] : {std::pair<const char*, bool (*)(int32_t)>{"\\p{L}", is_letter}, {"\\p{N}", is_number}, {"\\s", is_space}}) {
    const auto regex = Regex::compile(pattern);
    ASSERT_TRUE(regex);
    const auto matched = flat([&](int32_t c) {
      std::string text;
      append_utf8(c, text);
      const auto found = (*regex)->matches(text);
      return found && *found;
    });
    EXPECT_EQ(matched, flat(is)) << pattern;
  }
}

}  // namespace
}  // namespace colony::text
