#include "engine/block_pool.h"

#include <gtest/gtest.h>

#include <numeric>

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
  auto match = pool.match("", tokens, 9);
  EXPECT_EQ(match.pages, pages);
  EXPECT_EQ(match.unreferenced, 0);
  EXPECT_EQ(pool.match("", tokens, 2).pages.size(), 2U);   // the limit
  EXPECT_EQ(pool.match("salt", tokens, 9).pages.size(), 0U);
  auto other = tokens;
  other[kPage + 5] = 999;  // differs in the second page: only the first is shared
  EXPECT_EQ(pool.match("", other, 9).pages.size(), 1U);
  EXPECT_EQ(pool.match("", std::span(tokens).first(2 * kPage - 1), 9).pages.size(), 1U);  // full pages only
  release(pool, pages);
  match = pool.match("", tokens, 9);
  EXPECT_EQ(match.pages, pages);  // cached, still found
  EXPECT_EQ(match.unreferenced, 3);
  EXPECT_EQ(pool.available(), 8);
  EXPECT_EQ(pool.problem(), "");
}

TEST(BlockPool, SamePageUnderAnotherParentIsAnotherPage) {
  BlockPool pool(8);
  const auto a = tokens_from(0, 2);
  auto b = a;
  b[0] = 777;  // second pages are equal, first are not
  publish(pool, a, 2);
  EXPECT_EQ(pool.match("", b, 9).pages.size(), 0U);
  publish(pool, b, 1);
  EXPECT_EQ(pool.match("", b, 9).pages.size(), 1U);
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
  EXPECT_EQ(pool.match("", a, 9).pages.size(), 1U);
  EXPECT_EQ(pool.match("", b, 9).pages.size(), 2U);
  // Held again: not evicted however old.
  pool.hold(pages_a[0]);
  EXPECT_EQ(pool.allocate(), pages_b[1]);
  EXPECT_EQ(pool.allocate(), pages_b[0]);
  EXPECT_FALSE(pool.allocate());
  EXPECT_EQ(pool.match("", a, 9).pages.size(), 1U);
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
  auto match = pool.match("", tokens, 9);
  EXPECT_TRUE(match.pages.empty());
  EXPECT_TRUE(match.pending);
  EXPECT_FALSE(match.pending_foreground);
  pool.mark_computed(first);
  match = pool.match("", tokens, 9);
  EXPECT_EQ(match.pages, std::vector<int32_t>{first});
  EXPECT_TRUE(match.pending);
  pool.retract(second);
  pool.release(second);
  EXPECT_FALSE(pool.match("", tokens, 9).pending);
  EXPECT_EQ(pool.problem(), "");
}

}  // namespace
}  // namespace colony::engine
