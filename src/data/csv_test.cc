#include "data/csv.h"

#include <gtest/gtest.h>

namespace colony::data {
namespace {

TEST(Csv, FieldsAsRfc4180HasThem) {
  const auto rows = parse_csv("\xEF\xBB\xBFprompt,answer\r\nplain,yes\r\n\"a, \"\"b\"\"\nc\",\"\"\r\n\n ü ,\" x \"");
  ASSERT_TRUE(rows) << rows.error().message;
  ASSERT_EQ(rows->size(), 3u);
  EXPECT_EQ(to_line(*(*rows)[0].fields), R"({"prompt":"plain","answer":"yes"})");
  EXPECT_EQ((*(*rows)[1].fields)["prompt"], "a, \"b\"\nc");
  EXPECT_FALSE((*rows)[1].fields->contains("answer")) << "an empty field is left out";
  EXPECT_EQ(to_line(*(*rows)[2].fields), "{\"prompt\":\" ü \",\"answer\":\" x \"}");
  EXPECT_EQ((*rows)[0].line, 2);
  EXPECT_EQ((*rows)[1].line, 3);
  EXPECT_EQ((*rows)[2].line, 6) << "lines inside quotes and empty ones count";
}

TEST(Csv, BadRowsAreNamedAndTheRestIsRead) {
  const auto rows = parse_csv("a,b\n1,2\n1\n1,2,3\nx\"y,2\n\"x\"y,2\n\xff,2\n3,4\n\"open,5\n");
  ASSERT_TRUE(rows);
  std::string good;
  for (const auto& row : *rows) good += row.fields ? '+' : '-';
  EXPECT_EQ(good, "+-----+-");
  EXPECT_EQ((*rows)[1].line, 3);
  for (const char* bad : {"", "a,,b\n", "a,a\n", "\"a\n"}) EXPECT_FALSE(parse_csv(bad)) << bad;
  EXPECT_TRUE(parse_csv("a,b\n")->empty());
}

}  // namespace
}  // namespace colony::data
