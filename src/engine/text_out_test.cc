#include "engine/text_out.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "engine/small_tokenizer.h"

namespace colony::engine {
namespace {

const std::shared_ptr<const text::Tokenizer>& tokenizer() {
  static const auto made = small_tokenizer({"ab", "abc", "bc", "ca", "cab", "aa", "xy", "\xC3\xA9"});
  return made;
}

// The ids of `text` under a random cut into tokens.
std::vector<int32_t> random_ids(const std::string& text, RngStream& rng) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < text.size();) {
    std::vector<std::pair<int32_t, size_t>> fitting{{1 + static_cast<uint8_t>(text[i]), 1}};
    for (int32_t id = 257; id < tokenizer()->size(); ++id) {
      const std::string bytes = tokenizer()->bytes_of(id);
      if (text.compare(i, bytes.size(), bytes) == 0) fitting.emplace_back(id, bytes.size());
    }
    const auto& [id, size] = fitting[rng.below(fitting.size())];
    ids.push_back(id);
    i += size;
  }
  return ids;
}

struct Whole {
  std::string text, pieces;
  bool stopped = false;
};
Whole run(const std::vector<int32_t>& ids, const std::vector<std::string>& stop) {
  TextOut out(tokenizer(), stop);
  Whole result;
  for (const int32_t id : ids) {
    result.stopped = out.push(id);
    result.pieces += out.take_piece();
    if (result.stopped) break;
  }
  if (!result.stopped) result.stopped = out.finish();
  result.pieces += out.take_piece();
  result.text = out.text();
  return result;
}

TEST(TextOut, EndsBeforeTheFirstStopStringHoweverTokensFall) {
  RngStream rng(5, 0, 0, 0);
  size_t stops = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (uint64_t i = 0, n = rng.below(14); i < n; ++i) {
      text += std::vector<std::string>{"a", "b", "c", "x", "y", "\xC3\xA9"}[rng.below(6)];
    }
    std::vector<std::string> stop;
    for (uint64_t i = 0, n = 1 + rng.below(3); i < n; ++i) {
      std::string word;
      for (uint64_t k = 0, m = 1 + rng.below(3); k < m; ++k) word += std::vector<std::string>{"a", "b", "c", "\xC3\xA9"}[rng.below(4)];
      stop.push_back(word);
    }
    // The first to be complete, reading letter by letter; of several the one that began first.
    std::string expected = text;
    bool stopped = false;
    for (size_t end = 1; end <= text.size() && !stopped; ++end) {
      size_t first = std::string::npos;
      for (const std::string& word : stop) {
        if (text.substr(0, end).ends_with(word)) first = std::min(first, end - word.size());
      }
      if (first == std::string::npos) continue;
      expected = text.substr(0, first);
      stopped = true;
    }
    const Whole got = run(random_ids(text, rng), stop);
    EXPECT_EQ(got.text, expected) << text;
    EXPECT_EQ(got.stopped, stopped);
    EXPECT_EQ(got.pieces, got.text);
    stops += stopped ? 1 : 0;
  }
  EXPECT_GT(stops, 500U);
}

TEST(TextOut, HoldsBackOnlyWhatMayBecomeAStopString) {
  TextOut out(tokenizer(), {"abc"});
  out.push(1 + 'x');
  EXPECT_EQ(out.take_piece(), "x");
  out.push(1 + 'a');
  EXPECT_EQ(out.take_piece(), "");
  out.push(1 + 'b');
  EXPECT_EQ(out.take_piece(), "");
  out.push(1 + 'a');
  EXPECT_EQ(out.take_piece(), "ab");
  EXPECT_FALSE(out.finish());
  EXPECT_EQ(out.take_piece(), "a");
  EXPECT_EQ(out.text(), "xaba");
}

TEST(TextOut, NeverGivesPartOfACharacter) {
  TextOut out(tokenizer(), {});
  out.push(1 + 0xC3);
  EXPECT_EQ(out.take_piece(), "");
  out.push(1 + 0xA9);
  EXPECT_EQ(out.take_piece(), "\xC3\xA9");
  out.push(1 + 0xC3);
  EXPECT_FALSE(out.finish());
  EXPECT_EQ(out.text(), "\xC3\xA9\xEF\xBF\xBD");  // broken at the end: U+FFFD
}

TEST(TextOut, SpecialTokensAreNoText) {
  EXPECT_EQ(run({1 + 'a', 0, 1 + 'b'}, {}).text, "ab");
}

}  // namespace
}  // namespace colony::engine
