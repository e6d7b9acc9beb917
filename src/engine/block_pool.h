// Who holds which key/value page, and which full pages can be shared.
//
// A page is free, held by sequences (counted), or cached: full, computed, held by nobody, waiting to
// be used again or evicted. Full pages form a tree: a node's key is its parent and the kPageTokens
// token ids that stand in it; at the root also the cache salt. Keys are compared whole, and stand in
// order, so that the page with the longest common start is a neighbour: it can be copied where a prompt
// leaves a page in its middle. The least recently released leaf is evicted first.
// Invariants: held parent of a held node; free + cached + held = pages().
// Source: Kwon et al. 2023, arXiv:2309.06180 (pages); vLLM's prefix caching, SGLang's radix tree.
// Threads: one owner.
#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tensor/attention.h"

namespace colony::engine {

class BlockPool {
 public:
  explicit BlockPool(int64_t pages);

  int64_t pages() const { return static_cast<int64_t>(pages_.size()); }
  int64_t available() const { return static_cast<int64_t>(free_.size()) + cached_; }
  int64_t cached() const { return cached_; }
  int64_t held() const { return pages() - available(); }
  int64_t references(int32_t page) const { return pages_[static_cast<size_t>(page)].references; }

  // A page held once, with nothing of use in it; evicts a cached one when none is free.
  std::optional<int32_t> allocate();
  void hold(int32_t page);
  // A page that is pending must be retracted before its last release.
  void release(int32_t page);

  struct Match {
    std::vector<int32_t> pages;  // computed pages from the start on; not held yet
    int64_t unreferenced = 0;    // of these, how many holding takes from available()
    bool pending = false;        // the next page is being computed by somebody
    bool pending_foreground = false;
    // A computed page whose first begun_tokens tokens come next: to be copied. Not held; -1: none.
    int32_t begun = -1;
    int64_t begun_tokens = 0;
  };
  // The longest chain of computed pages that spells the start of `tokens`, and the page that goes on longest after it; together at
  // most max_tokens.
  Match match(const std::string& salt, std::span<const int32_t> tokens, int64_t max_tokens) const;
  // Released now, when it comes to evicting; nothing for a page that is not in the tree, computed.
  void touch(int32_t page);

  enum class State : uint8_t { kPending, kComputed };
  // Offers a held, full page as the child of `parent` (-1: of the root) with these token ids.
  // Returns the page that stands for them in the tree: `page` itself, or the one already there.
  int32_t publish(int32_t page, int32_t parent, const std::string& salt,
                  std::span<const int32_t> tokens, State state, bool foreground);
  bool is_computed(int32_t page) const;
  void mark_computed(int32_t page);
  // Takes a pending page out of the tree. Children first.
  void retract(int32_t page);

  // Walks the whole book; "" or what is wrong with it. For tests.
  std::string problem() const;

 private:
  struct Key {
    uint64_t parent = 0;  // serial number of the parent node, 0 at the root
    std::string salt;     // "" below the root level
    std::array<int32_t, tensor::kPageTokens> tokens{};
    auto operator<=>(const Key&) const = default;
  };
  using Tree = std::map<Key, int32_t>;

  struct Page {
    int32_t references = 0;
    int32_t children = 0;
    int32_t parent = -1;
    bool published = false, computed = false, foreground = false;
    uint64_t serial = 0;        // of the node; never used twice
    uint64_t released_at = 0;   // counter of releases, for LRU
    const Key* key = nullptr;   // into tree_
  };
  Page& at(int32_t page) { return pages_[static_cast<size_t>(page)]; }
  const Page& at(int32_t page) const { return pages_[static_cast<size_t>(page)]; }
  // At most a page of tokens; fewer stand before every page that begins with them.
  Key key_of(int32_t parent, const std::string& salt, std::span<const int32_t> tokens) const;
  void unlink(int32_t page);

  std::vector<Page> pages_;
  std::vector<int32_t> free_;
  Tree tree_;
  std::set<std::pair<uint64_t, int32_t>> evictable_;  // cached leaves, least recent first
  int64_t cached_ = 0;
  uint64_t serials_ = 0, releases_ = 0;
};

}  // namespace colony::engine
