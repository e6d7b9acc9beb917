// The members of a JSON object in the order they came, found by a hash once there are many.
//
// nlohmann::ordered_map looks through all members at every insertion, so an object of n keys costs
// n². This one keeps the same order and interface; each operation but erase costs the same whatever
// the size (erase moves what stands behind, as a vector does). Threads: one owner, as a container.
#pragma once
#include <bit>
#include <compare>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "base/hash.h"

namespace colony {

// Key: std::string. Less is nlohmann's parameter and unused.
template <class Key, class T, class Less = std::less<Key>, class Allocator = std::allocator<std::pair<const Key, T>>>
class OrderedMap {
  using Members = std::vector<std::pair<const Key, T>, Allocator>;

 public:
  using key_type = Key;
  using mapped_type = T;
  using value_type = std::pair<const Key, T>;
  using allocator_type = Allocator;
  using key_compare = std::equal_to<>;
  using size_type = typename Members::size_type;
  using difference_type = typename Members::difference_type;
  using reference = value_type&;
  using const_reference = const value_type&;
  using pointer = value_type*;
  using const_pointer = const value_type*;
  using iterator = typename Members::iterator;
  using const_iterator = typename Members::const_iterator;

  OrderedMap() = default;
  template <class It>
  OrderedMap(It first, It last) {
    insert(first, last);
  }
  OrderedMap(std::initializer_list<value_type> members) { insert(members.begin(), members.end()); }

  iterator begin() { return members_.begin(); }
  iterator end() { return members_.end(); }
  const_iterator begin() const { return members_.begin(); }
  const_iterator end() const { return members_.end(); }
  const_iterator cbegin() const { return members_.begin(); }
  const_iterator cend() const { return members_.end(); }
  size_type size() const { return members_.size(); }
  size_type max_size() const { return members_.max_size(); }
  bool empty() const { return members_.empty(); }
  void clear() {
    members_.clear();
    slots_.clear();
  }

  template <class K>
  iterator find(const K& key) {
    return members_.begin() + static_cast<difference_type>(place_of(key));
  }
  template <class K>
  const_iterator find(const K& key) const {
    return members_.begin() + static_cast<difference_type>(place_of(key));
  }
  template <class K>
  size_type count(const K& key) const {
    return place_of(key) < members_.size() ? 1 : 0;
  }
  template <class K>
  T& at(const K& key) {
    const size_t place = place_of(key);
    if (place == members_.size()) throw std::out_of_range("key not found");
    return members_[place].second;
  }
  template <class K>
  const T& at(const K& key) const {
    const size_t place = place_of(key);
    if (place == members_.size()) throw std::out_of_range("key not found");
    return members_[place].second;
  }
  template <class K>
  T& operator[](K&& key) {
    return emplace(std::forward<K>(key), T()).first->second;
  }

  // The first value given to a key stays.
  template <class K, class V>
  std::pair<iterator, bool> emplace(K&& key, V&& value) {
    const std::string_view text(key);
    const size_t place = place_of(text);
    if (place < members_.size()) return {members_.begin() + static_cast<difference_type>(place), false};
    members_.emplace_back(std::forward<K>(key), std::forward<V>(value));
    if (!slots_.empty() && members_.size() * 2 <= slots_.size()) put(place);
    else index();
    return {std::prev(members_.end()), true};
  }
  std::pair<iterator, bool> insert(value_type&& member) { return emplace(member.first, std::move(member.second)); }
  std::pair<iterator, bool> insert(const value_type& member) { return emplace(member.first, member.second); }
  template <class It>
  void insert(It first, It last) {
    for (; first != last; ++first) insert(*first);
  }

  template <class K>
    requires std::convertible_to<const K&, std::string_view>
  size_type erase(const K& key) {
    const auto found = find(key);
    if (found == end()) return 0;
    erase(found);
    return 1;
  }
  iterator erase(iterator at) { return erase(at, std::next(at)); }
  iterator erase(iterator first, iterator last) {
    if (first == last) return first;
    const auto from = first - members_.begin();
    // Keys are const, so a member is built anew in its place rather than assigned.
    auto to = first;
    for (auto source = last; source != members_.end(); ++source, ++to) {
      std::destroy_at(&*to);
      std::construct_at(&*to, std::move(const_cast<Key&>(source->first)), std::move(source->second));
    }
    while (members_.end() != to) members_.pop_back();
    index();
    return members_.begin() + from;
  }

  bool operator==(const OrderedMap& other) const { return members_ == other.members_; }
  // Member by member in their order, key before value.
  std::partial_ordering operator<=>(const OrderedMap& other) const {
    for (size_t i = 0; i < members_.size() && i < other.members_.size(); ++i) {
      if (const auto keys = members_[i].first <=> other.members_[i].first; keys != 0) return keys;
      if (const auto values = members_[i].second <=> other.members_[i].second; values != 0) return values;
    }
    return members_.size() <=> other.members_.size();
  }

 private:
  static constexpr size_t kLookedThrough = 16;  // so few are found faster without a table
  static constexpr uint32_t kFree = std::numeric_limits<uint32_t>::max();

  // size() when it is not there.
  size_t place_of(std::string_view key) const {
    if (slots_.empty()) {
      size_t place = 0;
      while (place < members_.size() && members_[place].first != key) ++place;
      return place;
    }
    for (size_t slot = hash_bytes(key);; ++slot) {
      const uint32_t place = slots_[slot & (slots_.size() - 1)];
      if (place == kFree) return members_.size();
      if (members_[place].first == key) return place;
    }
  }
  void put(size_t place) {
    size_t slot = hash_bytes(members_[place].first) & (slots_.size() - 1);
    while (slots_[slot] != kFree) slot = (slot + 1) & (slots_.size() - 1);
    slots_[slot] = static_cast<uint32_t>(place);
  }
  // The table anew, at most a quarter full; none for a few members.
  void index() {
    slots_.clear();
    if (members_.size() <= kLookedThrough) return;
    slots_.assign(std::bit_ceil(members_.size() * 4), kFree);
    for (size_t place = 0; place < members_.size(); ++place) put(place);
  }

  Members members_;
  std::vector<uint32_t> slots_;  // places in members_; empty: looked through
};

}  // namespace colony
