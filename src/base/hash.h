// A hash of bytes for tables in memory. Its seed is drawn anew in every process, so that nobody can
// send keys that all fall on one slot. Never kept in a file, never a cause of an order.
// Source: the mixing of wyhash (Wang Yi, public domain). Threads: any.
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

namespace colony {

uint64_t hash_seed();

namespace hash_detail {
inline uint64_t mix(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}
inline uint64_t word(const char* at, size_t bytes) {
  uint64_t value = 0;
  std::memcpy(&value, at, bytes);
  return value;
}
}  // namespace hash_detail

inline uint64_t hash_bytes(std::string_view text) {
  constexpr uint64_t kA = 0xa0761d6478bd642fULL, kB = 0xe7037ed1a0b428dbULL;
  uint64_t state = hash_seed() ^ (text.size() * kB);
  const char* at = text.data();
  size_t left = text.size();
  for (; left > 8; left -= 8, at += 8) state = hash_detail::mix(hash_detail::word(at, 8) ^ kA, state ^ kB);
  state = hash_detail::mix(hash_detail::word(at, left) ^ kA, state ^ kB);
  return hash_detail::mix(state ^ kA, state ^ kB);
}

}  // namespace colony
