#include "text/regex.h"

#include <gtest/gtest.h>

namespace colony::text {
namespace {

TEST(Regex, FindsByBytesWithGroups) {
  auto regex = Regex::compile("(\\d+)-(x)?");
  ASSERT_TRUE(regex) << regex.error().message;
  auto found = (*regex)->find("äb 12-y");
  ASSERT_TRUE(found);
  ASSERT_TRUE(found->has_value());
  const auto& spans = **found;
  ASSERT_EQ(spans.size(), 3U);
  EXPECT_EQ(spans[0], Regex::Span(4, 7));  // ä has two bytes
  EXPECT_EQ(spans[1], Regex::Span(4, 6));
  EXPECT_EQ(spans[2].first, std::string::npos);
  auto later = (*regex)->find("1-2-", 2);
  ASSERT_TRUE(later && later->has_value());
  EXPECT_EQ((**later)[0], Regex::Span(2, 4));
  EXPECT_FALSE((*regex)->find("none")->has_value());
}

TEST(Regex, KnowsUnicodeProperties) {
  auto letters = Regex::compile("^\\w+$");
  ASSERT_TRUE(letters);
  EXPECT_TRUE((*letters)->find("Straße")->has_value());
  auto digit = Regex::compile("^\\p{N}$");
  EXPECT_TRUE((*digit)->find("٣")->has_value());
}

TEST(Regex, EmptySubjectAndPatternAreFine) {
  auto regex = Regex::compile("");
  ASSERT_TRUE(regex);
  EXPECT_TRUE((*regex)->find(std::string_view())->has_value());
}

TEST(Regex, RefusesWrongPatternsAndBytes) {
  for (const char* pattern : {"(", "[a", "*x", "\\C", "\xff"}) {
    auto regex = Regex::compile(pattern);
    ASSERT_FALSE(regex) << pattern;
    EXPECT_EQ(regex.error().code, ErrorCode::kInvalid);
  }
  auto regex = Regex::compile("a");
  EXPECT_EQ((*regex)->find("\xc3").error().code, ErrorCode::kInvalid);
}

TEST(Regex, CatastrophicPatternsEnd) {
  auto regex = Regex::compile("^(a+)+$");
  ASSERT_TRUE(regex);
  auto found = (*regex)->find(std::string(60, 'a') + "b");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::kExhausted);
}

}  // namespace
}  // namespace colony::text
