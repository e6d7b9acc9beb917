// Plain little-endian fields in order, written and read back; for what a node saves and sends.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

namespace colony::swarm {

inline constexpr double kMost = 1e15;  // no honest number is larger; beyond, arithmetic would overflow
static_assert(std::endian::native == std::endian::little);

class ByteWriter {
 public:
  template <typename T>
  void put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  void put_text(const std::string& text) {
    put(static_cast<uint32_t>(text.size()));
    bytes_ += text;
  }
  std::string& bytes() { return bytes_; }

 private:
  std::string bytes_;
};

// Reads in the same order; once something is wrong it stays wrong.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : left_(bytes) {}
  template <typename T>
  void get(T& value) {
    if (left_.size() < sizeof(T)) good_ = false;
    if (!good_) return;
    std::memcpy(&value, left_.data(), sizeof(T));
    left_.remove_prefix(sizeof(T));
  }
  void get_text(std::string& text, size_t most) {
    uint32_t size = 0;
    get(size);
    if (size > most || size > left_.size()) good_ = false;
    if (!good_) return;
    text.assign(left_.substr(0, size));
    left_.remove_prefix(size);
  }
  // A count of things of at least `least` bytes each.
  size_t get_count(size_t most, size_t least) {
    uint32_t count = 0;
    get(count);
    if (count > most || count * least > left_.size()) good_ = false;
    return good_ ? count : 0;
  }
  // Numbers, and none beyond kMost.
  template <typename List>
  void finite(const List& list) {
    for (const auto value : list) good_ = good_ && std::abs(value) <= kMost;  // false for NaN
  }
  void require(bool what) { good_ = good_ && what; }
  bool good() const { return good_; }
  bool at_end() const { return left_.empty(); }

 private:
  std::string_view left_;
  bool good_ = true;
};

}  // namespace colony::swarm
