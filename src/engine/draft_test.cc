#include "engine/draft.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace colony::engine {
namespace {

// By the definition: of all earlier places the longest repetition, the latest of these.
std::vector<int32_t> naive(const std::vector<int32_t>& tokens, int64_t count) {
  const auto size = static_cast<int64_t>(tokens.size());
  const int64_t begin = std::max<int64_t>(0, size - Draft::kWindow);
  for (int length = Draft::kMost; length >= Draft::kLeast; --length) {
    for (int64_t end = size - 1; end - length >= begin; --end) {  // one past the earlier place
      if (!std::equal(tokens.begin() + end - length, tokens.begin() + end, tokens.end() - length)) continue;
      std::vector<int32_t> longer = tokens;
      for (int64_t i = 0; i < count; ++i) longer.push_back(longer[static_cast<size_t>(end + i)]);
      return {longer.begin() + size, longer.end()};
    }
  }
  return {};
}

TEST(Draft, FindsWhatTheDefinitionSays) {
  RngStream rng(1, 0, 0, 0);
  size_t found = 0, asked = 0;
  for (int round = 0; round < 400; ++round) {
    std::vector<int32_t> tokens;
    const uint64_t letters = 1 + rng.below(12);
    const size_t size = rng.below(90);
    for (size_t i = 0; i < size; ++i) tokens.push_back(static_cast<int32_t>(rng.below(letters)));
    const auto count = static_cast<int64_t>(rng.below(12));
    Draft draft;
    draft.look_up(tokens, count);
    EXPECT_EQ(std::vector<int32_t>(draft.ids().begin(), draft.ids().end()), naive(tokens, count)) << "round " << round;
    found += draft.ids().empty() ? 0 : 1;
    ++asked;
  }
  EXPECT_GT(found, asked / 3);
  EXPECT_LT(found, asked);
}

TEST(Draft, LooksNoFurtherThanItsWindow) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < Draft::kWindow; ++i) tokens.push_back(100 + i);
  tokens.push_back(100);
  tokens.push_back(101);
  Draft draft;
  draft.look_up(tokens, 4);
  EXPECT_TRUE(draft.ids().empty());
  draft.look_up(std::span(tokens).subspan(2), 4);
  EXPECT_TRUE(draft.ids().empty());
  tokens.erase(tokens.begin() + 10, tokens.begin() + 20);
  draft.look_up(tokens, 4);
  EXPECT_EQ(std::vector<int32_t>(draft.ids().begin(), draft.ids().end()), (std::vector<int32_t>{102, 103, 104, 105}));
}

TEST(Draft, IsWorthLessTheWiderTheBatchAndTheMoreItFails) {
  const std::vector<int32_t> tokens{1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4};
  Draft draft;
  draft.look_up(tokens, 6);
  ASSERT_EQ(draft.ids().size(), 6U);
  const auto at_first = draft.worth(1);
  EXPECT_GT(at_first, 1);
  for (int i = 0; i < 50; ++i) draft.saw(true);
  EXPECT_EQ(draft.worth(1), 6);
  EXPECT_GE(draft.worth(1), draft.worth(4));
  EXPECT_GE(draft.worth(4), draft.worth(16));
  for (int i = 0; i < 50; ++i) draft.saw(false);
  EXPECT_EQ(draft.worth(1), 0);
  for (int i = 0; i < 4; ++i) draft.saw(true);  // judged also while nothing is drafted, so it comes back
  EXPECT_GT(draft.worth(1), 0);
}

}  // namespace
}  // namespace colony::engine
