#include "app/console.h"

#include <gtest/gtest.h>

#include "text/unicode.h"

namespace colony::app {
namespace {

int columns_of(const std::string& text) {
  int sum = 0;
  for (size_t at = 0; at < text.size();) {
    const auto c = text::code_point(text, at);
    sum += text::columns(c.value);
    at += static_cast<size_t>(c.size);
  }
  return sum;
}

TEST(ProgressLine, IsWholeWhereThereIsRoom) {
  const std::string line = progress_line("run", 6, 12, "9.1 tasks/s", 80);
  EXPECT_EQ(line, "run ████████████░░░░░░░░░░░░ 6/12  9.1 tasks/s");
}

TEST(ProgressLine, NeverReachesTheLastColumn) {
  for (const char* what : {"run", "eval 数据分析师", "e\u0301val"}) {
    for (const char* detail : {"", "success 0.71, 9.1 tasks/s, 1357 tokens/s, about 3 min left", "答案答案答案答案答案答案答案"}) {
      for (int columns = 1; columns <= 90; ++columns) {
        const std::string line = progress_line(what, 123, 600, detail, columns);
        EXPECT_LE(columns_of(line), std::max(columns - 1, 1)) << columns << " " << line;
        EXPECT_TRUE(text::valid_utf8(line));
        if (columns > 40) {
          EXPECT_NE(line.find("123/600"), std::string::npos) << line;
        }
      }
    }
  }
}

TEST(ProgressLine, KeepsTheCountAndShrinksTheBar) {
  EXPECT_EQ(progress_line("run", 600, 600, "9.1 tasks/s", 16), "run ███ 600/600");
  EXPECT_EQ(progress_line("run", 0, 0, "", 12), "run ███ 0/0");
}

TEST(Table, WideCharactersTakeTwoColumns) {
  EXPECT_EQ(table({{"名前", "N"}, {"ab", "10"}}), "名前   N\nab    10\n");
}

}  // namespace
}  // namespace colony::app
