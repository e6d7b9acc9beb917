#include "engine/block_pool.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/rng.h"

namespace colony::engine {
namespace {

constexpr int kPage = tensor::kPageTokens;
using State = BlockPool::State;

std::vector<int32_t> tokens_from(int32_t first, int pages) {
  std::vector<int32_t> tokens(static_cast<size_t>(pages * kPage));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}
std::span<const int32_t> page_of(const std::vector<int32_t>& tokens, int page) {
  return std::span(tokens).subspan(static_cast<size_t>(page * kPage), kPage);
}
// Publishes `count` computed pages of `tokens` and returns them, held.
std::vector<int32_t> publish(BlockPool& pool, const std::vector<int32_t>& tokens, int count,
                             const std::string& salt = "") {
  std::vector<int32_t> pages;
  for (int i = 0; i < count; ++i) {
    const auto page = pool.allocate();
    EXPECT_TRUE(page);
    EXPECT_EQ(pool.publish(*page, pages.empty() ? -1 : pages.back(), salt, page_of(tokens, i), State::kComputed, true), *page);
    pages.push_back(*page);
  }
  return pages;
}
void release(BlockPool& pool, const std::vector<int32_t>& pages) {
  for (size_t i = pages.size(); i-- > 0;) pool.release(pages[i]);
}

TEST(BlockPool, GivesEveryPageOnceAndThenNone) {
  BlockPool pool(5);
  std::vector<int> seen(5, 0);
  for (int i = 0; i < 5; ++i) ++seen[static_cast<size_t>(*pool.allocate())];
  EXPECT_EQ(seen, std::vector<int>(5, 1));
  EXPECT_FALSE(pool.allocate());
  EXPECT_EQ(pool.available(), 0);
  pool.release(3);
  EXPECT_EQ(pool.allocate(), 3);
  EXPECT_EQ(pool.problem(), "");
}

TEST(BlockPool, FindsWhatWasComputedAndOnlyThat) {
  BlockPool pool(8);
  const auto tokens = tokens_from(0, 3);
  const auto pages = publish(pool, tokens, 3);
  auto match = pool.match("", tokens, 9 * kPage);
  EXPECT_EQ(match.pages, pages);
  EXPECT_EQ(match.unreferenced, 0);
  EXPECT_EQ(pool.match("", tokens, 2 * kPage).pages.size(), 2U);   // the limit
  EXPECT_EQ(pool.match("salt", tokens, 9 * kPage).pages.size(), 0U);
  auto other = tokens;
  other[kPage + 5] = 999;  // differs in the second page: only the first is shared
  EXPECT_EQ(pool.match("", other, 9 * kPage).pages.size(), 1U);
  EXPECT_EQ(pool.match("", std::span(tokens).first(2 * kPage - 1), 9 * kPage).pages.size(), 1U);  // full pages only
  release(pool, pages);
  match = pool.match("", tokens, 9 * kPage);
  EXPECT_EQ(match.pages, pages);  // cached, still found
  EXPECT_EQ(match.unreferenced, 3);
  EXPECT_EQ(pool.available(), 8);
  EXPECT_EQ(pool.problem(), "");
}

TEST(BlockPool, FindsThePageWithTheLongestCommonStart) {
  BlockPool pool(64);
  RngStream rng(5, 0, 0, 0);
  const auto root = tokens_from(0, 1);
  const auto parent = publish(pool, root, 1)[0];
  std::vector<std::pair<std::vector<int32_t>, int32_t>> children;
  const auto random_page = [&] {
    std::vector<int32_t> tokens(static_cast<size_t>(kPage));
    for (auto& token : tokens) token = static_cast<int32_t>(rng.below(2));  // long common starts
    return tokens;
  };
  for (int i = 0; i < 40; ++i) {
    const auto tokens = random_page();
    const auto page = *pool.allocate();
    const bool computed = i % 4 != 0;
    pool.publish(page, parent, "", tokens, computed ? State::kComputed : State::kPending, true);
    if (computed) children.emplace_back(tokens, page);
  }
  int with = 0, of_pending = 0;
  for (int i = 0; i < 500; ++i) {
    auto tokens = root;
    const auto more = random_page();
    tokens.insert(tokens.end(), more.begin(), more.begin() + static_cast<ptrdiff_t>(1 + rng.below(kPage - 1)));
    const auto match = pool.match("", tokens, static_cast<int64_t>(tokens.size()));
    EXPECT_EQ(match.pages, std::vector<int32_t>{parent});
    int64_t longest = 0;
    for (const auto& [child, page] : children) {
      int64_t same = 0;
      while (same < static_cast<int64_t>(tokens.size()) - kPage && child[static_cast<size_t>(same)] == more[static_cast<size_t>(same)]) ++same;
      longest = std::max(longest, same);
      if (page == match.begun) { EXPECT_EQ(match.begun_tokens, same); }
    }
    // A pending neighbour may stand before the best one.
    EXPECT_LE(match.begun_tokens, longest);
    match.begun_tokens == longest ? ++with : ++of_pending;
    EXPECT_EQ(match.begun >= 0, match.begun_tokens > 0);
  }
  EXPECT_GT(with, 300);
  EXPECT_GT(of_pending, 0);
  EXPECT_EQ(pool.match("", root, kPage - 1).begun_tokens, kPage - 1);  // all but the last token of a full page
  EXPECT_EQ(pool.match("salt", root, kPage - 1).begun, -1);
  EXPECT_EQ(pool.match("", root, 0).begun, -1);
}

TEST(BlockPool, ATouchedPageIsEvictedLater) {
  BlockPool pool(3);
  const auto a = publish(pool, tokens_from(0, 1), 1), b = publish(pool, tokens_from(1000, 1), 1), c = publish(pool, tokens_from(2000, 1), 1);
  release(pool, a), release(pool, b), release(pool, c);
  pool.touch(a[0]);
  EXPECT_EQ(pool.available(), 3);
  EXPECT_EQ(pool.allocate(), b[0]);
  pool.touch(b[0]);  // not in the tree any more
  EXPECT_EQ(pool.allocate(), c[0]);
  EXPECT_EQ(pool.problem(), "");
}

TEST(BlockPool, SamePageUnderAnotherParentIsAnotherPage) {
  BlockPool pool(8);
  const auto a = tokens_from(0, 2);
  auto b = a;
  b[0] = 777;  // second pages are equal, first are not
  publish(pool, a, 2);
  EXPECT_EQ(pool.match("", b, 9 * kPage).pages.size(), 0U);
  publish(pool, b, 1);
  EXPECT_EQ(pool.match("", b, 9 * kPage).pages.size(), 1U);
}

TEST(BlockPool, EvictsTheLeastRecentlyReleasedLeafFirst) {
  BlockPool pool(4);
  const auto a = tokens_from(0, 2), b = tokens_from(1000, 2);
  const auto pages_a = publish(pool, a, 2);
  const auto pages_b = publish(pool, b, 2);
  release(pool, pages_a);
  release(pool, pages_b);
  EXPECT_EQ(pool.available(), 4);
  EXPECT_EQ(pool.allocate(), pages_a[1]);  // a's leaf: older than b's; its parent stays
  EXPECT_EQ(pool.match("", a, 9 * kPage).pages.size(), 1U);
  EXPECT_EQ(pool.match("", b, 9 * kPage).pages.size(), 2U);
  // Held again: not evicted however old.
  pool.hold(pages_a[0]);
  EXPECT_EQ(pool.allocate(), pages_b[1]);
  EXPECT_EQ(pool.allocate(), pages_b[0]);
  EXPECT_FALSE(pool.allocate());
  EXPECT_EQ(pool.match("", a, 9 * kPage).pages.size(), 1U);
  EXPECT_EQ(pool.problem(), "");
}

TEST(BlockPool, SecondOfferOfTheSameTokensNamesTheFirst) {
  BlockPool pool(4);
  const auto tokens = tokens_from(0, 1);
  const auto pages = publish(pool, tokens, 1);
  const auto twin = pool.allocate();
  EXPECT_EQ(pool.publish(*twin, -1, "", tokens, State::kComputed, true), pages[0]);
  pool.release(*twin);
  EXPECT_EQ(pool.available(), 3);
  EXPECT_EQ(pool.problem(), "");
}

TEST(BlockPool, PendingPagesAreSeenButNotShared) {
  BlockPool pool(4);
  const auto tokens = tokens_from(0, 2);
  const auto first = *pool.allocate(), second = *pool.allocate();
  pool.publish(first, -1, "", page_of(tokens, 0), State::kPending, false);
  pool.publish(second, first, "", page_of(tokens, 1), State::kPending, false);
  auto match = pool.match("", tokens, 9 * kPage);
  EXPECT_TRUE(match.pages.empty());
  EXPECT_TRUE(match.pending);
  EXPECT_FALSE(match.pending_foreground);
  pool.mark_computed(first);
  match = pool.match("", tokens, 9 * kPage);
  EXPECT_EQ(match.pages, std::vector<int32_t>{first});
  EXPECT_TRUE(match.pending);
  pool.retract(second);
  pool.release(second);
  EXPECT_FALSE(pool.match("", tokens, 9 * kPage).pending);
  EXPECT_EQ(pool.problem(), "");
}

}  // namespace
}  // namespace colony::engine
