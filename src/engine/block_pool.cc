#include "engine/block_pool.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "base/check.h"
#include "base/result.h"

namespace colony::engine {

BlockPool::BlockPool(int64_t pages) {
  CHECK(pages > 0 && pages < INT32_MAX, "a pool of pages");
  pages_.resize(static_cast<size_t>(pages));
  free_.reserve(pages_.size());
  for (int64_t page = pages; page-- > 0;) free_.push_back(static_cast<int32_t>(page));
}

void BlockPool::unlink(int32_t page) {
  Page& gone = at(page);
  CHECK(gone.published && gone.children == 0, "only leaves leave the tree");
  if (gone.parent >= 0) {
    Page& parent = at(gone.parent);
    --parent.children;
    if (parent.children == 0 && parent.references == 0) {
      evictable_.emplace(parent.released_at, gone.parent);
    }
  }
  const Key key = *gone.key;  // erase() by a reference into the node itself would read freed memory
  tree_.erase(key);
  gone.published = gone.computed = gone.foreground = false;
  gone.parent = -1;
  gone.key = nullptr;
}

std::optional<int32_t> BlockPool::allocate() {
  int32_t page = -1;
  if (!free_.empty()) {
    page = free_.back();
    free_.pop_back();
  } else if (!evictable_.empty()) {
    page = evictable_.begin()->second;
    evictable_.erase(evictable_.begin());
    --cached_;
    unlink(page);
  } else {
    return std::nullopt;
  }
  at(page).references = 1;
  return page;
}

void BlockPool::hold(int32_t page) {
  Page& held = at(page);
  if (held.references == 0) {
    CHECK(held.published && held.computed, "a free page cannot be shared");
    if (held.children == 0) evictable_.erase({held.released_at, page});
    --cached_;
  }
  ++held.references;
}

void BlockPool::release(int32_t page) {
  Page& left = at(page);
  CHECK(left.references > 0, "a page is released as often as it was held");
  if (--left.references > 0) return;
  if (!left.published) {
    free_.push_back(page);
    return;
  }
  CHECK(left.computed, "a pending page is retracted before it is released");
  left.released_at = ++releases_;
  ++cached_;
  if (left.children == 0) evictable_.emplace(left.released_at, page);
}

BlockPool::Key BlockPool::key_of(int32_t parent, const std::string& salt,
                                 std::span<const int32_t> tokens) const {
  Key key;
  if (parent >= 0) {
    key.parent = at(parent).serial;
  } else {
    key.salt = salt;
  }
  std::fill(std::copy(tokens.begin(), tokens.end(), key.tokens.begin()), key.tokens.end(), std::numeric_limits<int32_t>::min());
  return key;
}

BlockPool::Match BlockPool::match(const std::string& salt, std::span<const int32_t> tokens,
                                  int64_t max_tokens) const {
  Match found;
  auto left = tokens.first(std::min(tokens.size(), static_cast<size_t>(max_tokens)));
  int32_t parent = -1;
  for (; left.size() >= tensor::kPageTokens; left = left.subspan(tensor::kPageTokens)) {
    const auto node = tree_.find(key_of(parent, salt, left.first(tensor::kPageTokens)));
    if (node == tree_.end()) break;
    const Page& page = at(node->second);
    if (!page.computed) {
      found.pending = true;
      found.pending_foreground = page.foreground;
      return found;
    }
    if (page.references == 0) ++found.unreferenced;
    found.pages.push_back(node->second);
    parent = node->second;
  }
  if (left.empty()) return found;
  left = left.first(std::min<size_t>(left.size(), tensor::kPageTokens));
  const Key wanted = key_of(parent, salt, left);
  const auto look_at = [&](Tree::const_iterator node) {
    if (node->first.parent != wanted.parent || node->first.salt != wanted.salt || !at(node->second).computed) return;
    const auto same = std::mismatch(left.begin(), left.end(), node->first.tokens.begin()).first - left.begin();
    if (same > found.begun_tokens) found.begun = node->second, found.begun_tokens = same;
  };
  const auto after = tree_.lower_bound(wanted);
  if (after != tree_.end()) look_at(after);
  if (after != tree_.begin()) look_at(std::prev(after));
  return found;
}

void BlockPool::touch(int32_t page) {
  if (!is_computed(page)) return;
  hold(page);
  release(page);
}

int32_t BlockPool::publish(int32_t page, int32_t parent, const std::string& salt,
                           std::span<const int32_t> tokens, State state, bool foreground) {
  Page& offered = at(page);
  CHECK(offered.references > 0 && !offered.published, "a private, held page is published");
  CHECK(tokens.size() == static_cast<size_t>(tensor::kPageTokens), "only full pages are nodes");
  CHECK(parent < 0 || (at(parent).published && at(parent).references > 0), "below a held node");
  const auto [node, is_new] = tree_.try_emplace(key_of(parent, salt, tokens), page);
  if (!is_new) return node->second;
  offered.published = true;
  offered.computed = state == State::kComputed;
  offered.foreground = foreground;
  offered.serial = ++serials_;
  offered.parent = parent;
  offered.key = &node->first;
  if (parent >= 0) ++at(parent).children;
  return page;
}

bool BlockPool::is_computed(int32_t page) const { return at(page).published && at(page).computed; }

void BlockPool::mark_computed(int32_t page) {
  CHECK(at(page).published && !at(page).computed, "only a pending page becomes computed");
  at(page).computed = true;
}

void BlockPool::retract(int32_t page) {
  CHECK(at(page).published && !at(page).computed && at(page).references == 1,
        "a pending page has one holder");
  unlink(page);
}

std::string BlockPool::problem() const {
  std::vector<int> seen(pages_.size(), 0);
  for (const int32_t page : free_) {
    if (++seen[static_cast<size_t>(page)] > 1) return fmt::format("page {} is free twice", page);
    if (at(page).references != 0 || at(page).published) return fmt::format("free page {} is in use", page);
  }
  int64_t cached = 0;
  std::vector<int32_t> children(pages_.size(), 0);
  for (size_t i = 0; i < pages_.size(); ++i) {
    const Page& page = pages_[i];
    if (page.references < 0) return fmt::format("page {} has {} holders", i, page.references);
    if (page.references == 0 && !page.published && seen[i] == 0) return fmt::format("page {} is lost", i);
    if (!page.published) continue;
    if (page.references == 0) ++cached;
    if (page.references == 0 && !page.computed) return fmt::format("pending page {} has no holder", i);
    const auto node = tree_.find(*page.key);
    if (node == tree_.end() || node->second != static_cast<int32_t>(i)) {
      return fmt::format("page {} is not the node it says", i);
    }
    if (page.parent >= 0) {
      const Page& parent = at(page.parent);
      ++children[static_cast<size_t>(page.parent)];
      if (!parent.published || parent.serial != page.key->parent) return fmt::format("page {} is an orphan", i);
      if (page.references > 0 && parent.references == 0) return fmt::format("page {} is held, its parent is not", i);
      if (page.computed && !parent.computed) return fmt::format("page {} is computed before its parent", i);
    }
    const bool leaf = page.references == 0 && page.children == 0;
    if (leaf != evictable_.contains({page.released_at, static_cast<int32_t>(i)})) {
      return fmt::format("page {}: evictable or not?", i);
    }
  }
  for (size_t i = 0; i < pages_.size(); ++i) {
    if (pages_[i].published && pages_[i].children != children[i]) return fmt::format("page {}: wrong number of children", i);
  }
  if (cached != cached_) return fmt::format("{} pages are cached, the count says {}", cached, cached_);
  if (tree_.size() != static_cast<size_t>(std::count_if(pages_.begin(), pages_.end(), [](const Page& page) { return page.published; }))) {
    return "the tree has a node without a page";
  }
  return "";
}

}  // namespace colony::engine
