#include "data/csv.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

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

// What Python 3.11's csv.DictReader gives for the same bytes (newline=""); pandas 2 agrees.
TEST(Csv, QuotesAsPythonTakesThem) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"a \"b\" c,x", R"({"p":"a \"b\" c","a":"x"})"},
      {"5\" pipe,x", R"({"p":"5\" pipe","a":"x"})"},
      {"a\"\"b,x", R"({"p":"a\"\"b","a":"x"})"},
      {" \"a,b", R"({"p":" \"a","a":"b"})"},  // a space first: no quoted field
      {"\"a\"b,x", R"({"p":"ab","a":"x"})"},
      {"\"a\"b\"c\",x", R"({"p":"ab\"c\"","a":"x"})"},
      {"\"a\" ,x", R"({"p":"a ","a":"x"})"},
      {"\"a\"\"b\",x", R"({"p":"a\"b","a":"x"})"},
      {"\"a\"\"\"\"b\",\"\"\"\"", R"({"p":"a\"\"b","a":"\""})"},
      {"\"\"a,x", R"({"p":"a","a":"x"})"},
      {"x,\"", "-"},  // not closed
      {"x,y\"", R"({"p":"x","a":"y\""})"},
      {"\"a\r\nb\",x", "{\"p\":\"a\\r\\nb\",\"a\":\"x\"}"},
      {"it's,'q,'", "-"}};
  for (const auto& [line, expected] : cases) {
    for (const char* end : {"\n", "\r\n", "\r"}) {
      const auto rows = parse_csv(std::string("p,a") + end + line + end);
      ASSERT_TRUE(rows) << line;
      ASSERT_EQ(rows->size(), 1u) << line;
      EXPECT_EQ(rows->front().fields ? to_line(*rows->front().fields) : "-", expected) << line;
      EXPECT_EQ(rows->front().line, 2);
    }
  }
}

// pandas' to_csv writes its index in a column without a name; so do R's write.csv ("") and trailing commas.
TEST(Csv, ColumnsWithoutANameAreLeftOut) {
  for (const char* bytes : {",prompt,answer\n0,two,2\n1,three,3\n", "\"\",\"prompt\",\"answer\"\n\"1\",two,2\n\"2\",three,3\n", "prompt,answer,\ntwo,2,\nthree,3,x\n",
                            ",,prompt,answer\na,0,two,2\na,1,three,3\n"}) {
    const auto rows = parse_csv(bytes);
    ASSERT_TRUE(rows) << rows.error().message;
    ASSERT_EQ(rows->size(), 2u);
    EXPECT_EQ(to_line(*(*rows)[0].fields), R"({"prompt":"two","answer":"2"})") << bytes;
    EXPECT_EQ(to_line(*(*rows)[1].fields), R"({"prompt":"three","answer":"3"})") << bytes;
  }
}

TEST(Csv, BadRowsAreNamedAndTheRestIsRead) {
  const auto rows = parse_csv("a,b\n1,2\n1\n1,2,3\n\xff,2\n3,4\n\"open,5\n");
  ASSERT_TRUE(rows);
  std::string good;
  for (const auto& row : *rows) good += row.fields ? '+' : '-';
  EXPECT_EQ(good, "+---+-");
  EXPECT_EQ((*rows)[1].line, 3);
  for (const char* bad : {"", ",\n", "a,a\n", "\"a\n"}) EXPECT_FALSE(parse_csv(bad)) << bad;
  EXPECT_TRUE(parse_csv("a,b\n")->empty());
}

}  // namespace
}  // namespace colony::data
