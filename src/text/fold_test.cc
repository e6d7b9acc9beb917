#include "text/fold.h"

#include <gtest/gtest.h>

namespace colony::text {
namespace {

TEST(Fold, TrimsUnicodeSpace) {
  EXPECT_EQ(trim("\xc2\xa0 a b\t\n\xe3\x80\x80"), "a b");
  EXPECT_EQ(trim(" \n "), "");
  EXPECT_EQ(trim(""), "");
  EXPECT_EQ(trim("\xff x"), "\xff x");
}

TEST(Fold, SplitsAtRunsOfSpace) {
  EXPECT_EQ(split_space("  a\xe2\x80\x83 bc\n"), (std::vector<std::string_view>{"a", "bc"}));
  EXPECT_TRUE(split_space(" \t").empty());
}

TEST(Fold, FoldsAndLowersBeyondAscii) {
  EXPECT_EQ(fold_case("STRASSE"), fold_case("Straße"));
  EXPECT_EQ(fold_case("ÉCOLE"), "école");
  EXPECT_EQ(lower("SELECT Ä"), "select ä");
  EXPECT_EQ(lower("Straße"), "straße");
}

}  // namespace
}  // namespace colony::text
