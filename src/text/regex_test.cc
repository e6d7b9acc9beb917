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
  for (const char* pattern : {"(", "[a", "[z-a]", "\\p{Nothing}", "\xff"}) {
    auto regex = Regex::compile(pattern);
    ASSERT_FALSE(regex) << pattern;
    EXPECT_EQ(regex.error().code, ErrorCode::kInvalid);
  }
  auto regex = Regex::compile("a");
  EXPECT_EQ((*regex)->find("\xc3").error().code, ErrorCode::kInvalid);
}

// Patterns and texts that could cost the square of the text or more end in seconds: with an error
// (matches: -1), or with the answer where Oniguruma sees it sooner.
TEST(Regex, HostilePatternsEnd) {
  struct Case {
    const char* pattern;
    std::string text;
    int64_t matches;  // -1: none on any machine
  };
  const Case cases[] = {{"^(a+)+$", std::string(60, 'a') + "b", -1},
                        {"^(a|a)*$", std::string(60, 'a') + "b", -1},
                        {"(?>a*)(?=[bc])", std::string(1 << 20, 'a'), 0},
                        {"(?=(?>a*))a", std::string(1 << 20, 'a'), 1 << 20},
                        {"\\w+x", std::string(1 << 20, 'a'), 0},
                        {"(?<p>a\\g<p>|a)", std::string(1 << 20, 'a'), 52429}};
  for (const auto& c : cases) {
    const auto regex = Regex::compile(c.pattern);
    ASSERT_TRUE(regex) << regex.error().message;
    const auto found = (*regex)->find_all(c.text);
    if (found) {
      EXPECT_EQ(static_cast<int64_t>(found->size()), c.matches) << c.pattern;
      continue;
    }
    // A slow machine may run out of time where a quick one has the answer.
    EXPECT_EQ(found.error().code, ErrorCode::kExhausted) << c.pattern;
  }
  EXPECT_FALSE(Regex::compile(std::string(30'000, '(') + std::string(30'000, ')')));
  EXPECT_FALSE(Regex::compile(std::string(60'000, '[')));
}

TEST(Regex, LongTextsAreWalked) {
  for (const char* pattern : {"\\S+", "\\w+| ?[^\\s\\w]+|\\s+(?!\\S)|\\s+", "(?:a|b)*", "(a|b)+?", "a*?b|a", "(?m).*"}) {
    const auto regex = Regex::compile(pattern);
    ASSERT_TRUE(regex) << regex.error().message;
    const std::string text(1 << 20, 'a');
    const auto found = (*regex)->find_all(text);
    ASSERT_TRUE(found) << pattern << ": " << found.error().message;
    EXPECT_EQ(found->back().second, text.size()) << pattern;
  }
}

TEST(Regex, EmptyMatchesAreWalkedAsTheLibraryDoes) {
  using Spans = std::vector<Regex::Span>;
  const auto walk = [](const char* pattern, const char* text) {
    const auto regex = Regex::compile(pattern);
    EXPECT_TRUE(regex);
    const auto found = (*regex)->find_all(text);
    EXPECT_TRUE(found);
    return found ? *found : Spans();
  };
  EXPECT_EQ(walk("(?=\\d{3}$)", "12345"), (Spans{{2, 2}}));
  EXPECT_EQ(walk("b*", "abc"), (Spans{{0, 0}, {1, 2}, {3, 3}}));
  EXPECT_EQ(walk("", "é"), (Spans{{0, 0}, {2, 2}}));
}

TEST(Regex, ReadsPython) {
  const auto whole = [](const char* pattern, const char* text) {
    const auto regex = Regex::compile(pattern, {.syntax = RegexSyntax::kPython});
    EXPECT_TRUE(regex) << pattern;
    const auto found = (*regex)->matches(text);
    EXPECT_TRUE(found);
    return found && *found;
  };
  EXPECT_TRUE(whole(".*\\.(q|v)_proj", "model.layers.0.self_attn.q_proj"));
  EXPECT_FALSE(whole(".*\\.(q|v)_proj", "model.layers.0.self_attn.q_proj.x"));
  EXPECT_TRUE(whole("a|ab", "ab"));       // the longer branch is tried when the whole text is asked for
  EXPECT_FALSE(whole("a", "a\n"));
  EXPECT_TRUE(whole("(?P<n>x)(?P=n)", "xx"));
  EXPECT_TRUE(whole("(?i)A # b", "a # B"));
  EXPECT_TRUE(whole("(?x)a # comment", "a"));
  EXPECT_TRUE(whole("[[a]", "["));        // no nested classes
  EXPECT_FALSE(whole("a{2}+", "aaaa"));   // possessive, not repeated
  EXPECT_FALSE(Regex::compile("a)(b", {.syntax = RegexSyntax::kPython}));
  const auto lines = Regex::compile("^b$", {.syntax = RegexSyntax::kPython});
  EXPECT_FALSE((*lines)->find("a\nb\nc")->has_value());
  EXPECT_TRUE((*lines)->find("b\n")->has_value());
  const auto multi = Regex::compile("(?m)^b$", {.syntax = RegexSyntax::kPython});
  EXPECT_TRUE((*multi)->find("a\nb\nc")->has_value());
}

TEST(Regex, ReadsEcma) {
  const auto has = [](const char* pattern, const char* text) {
    const auto regex = Regex::compile(pattern, {.syntax = RegexSyntax::kEcma});
    EXPECT_TRUE(regex) << pattern << ": " << regex.error().message;
    if (!regex) return false;
    const auto found = (*regex)->find(text);
    EXPECT_TRUE(found);
    return found && found->has_value();
  };
  EXPECT_TRUE(has("^\\d{3}-\\w+$", "123-ab_9"));
  EXPECT_FALSE(has("^\\d$", "٣"));           // ASCII digits only
  EXPECT_FALSE(has("^\\w$", "é"));
  EXPECT_TRUE(has("^\\s$", "\xef\xbb\xbf"));  // U+FEFF is white space
  EXPECT_FALSE(has("^a$", "a\n"));
  EXPECT_FALSE(has("^b", "a\nb"));
  EXPECT_TRUE(has("^[^]$", "\n"));
  EXPECT_FALSE(has("[]", "x"));
  EXPECT_FALSE(has("^.$", "\xe2\x80\xa8"));
  EXPECT_TRUE(has("^\\u00e9\\u{1F600}\\ud83d\\ude00\\x41\\cJ$", "é😀😀A\n"));
  EXPECT_TRUE(has("^\\p{Script=Greek}\\p{Lu}[\\p{Nd}-]\\P{L}$", "αA-1"));
  EXPECT_TRUE(has("^(?<y>\\d)\\k<y>(a)\\2$", "11aa"));
  EXPECT_TRUE(has("^[[a&&b-]+$", "[&a-b"));
  EXPECT_TRUE(has("^[\\w-.]+$", "a-.b"));
  EXPECT_TRUE(has("^a{,2}$", "a{,2}"));
  EXPECT_TRUE(has("^a{2}?b$", "aab"));
  EXPECT_FALSE(has("^a{2}?b$", "b"));
  EXPECT_TRUE(has("\\bfoo\\b", "a foo é"));
  EXPECT_TRUE(has("(?<=\\$)\\d+(?!\\d|x)", "$12"));
  EXPECT_TRUE(has("^\\/\\-\\.$", "/-."));
  EXPECT_TRUE(has("^a#b c$", "a#b c"));
  for (const char* wrong : {"a**", "*a", "(?>a)", "\\y", "\\u12", "[b-a]", "(", "a)", "\\p{Nothing}", "a++", "[a"}) {
    EXPECT_FALSE(Regex::compile(wrong, {.syntax = RegexSyntax::kEcma})) << wrong;
  }
}

}  // namespace
}  // namespace colony::text
