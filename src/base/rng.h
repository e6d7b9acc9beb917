// Counter-based randomness: the n-th number of a stream depends on nothing but key and counter.
//
// Philox4x32-10. Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; agrees
// with Random123's known-answer vectors. A decision never depends on how many numbers somebody
// else drew, or on which thread drew first.
#pragma once
#include <array>
#include <cstdint>

namespace colony {

// Four 32-bit numbers for one counter under one key.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// A stream of draws under (seed, who, what, stream). Each field is part of the counter or key, so
// two streams that differ in any of them are independent. Copyable; threads: one a copy.
class RngStream {
 public:
  // seed: of the run. item: task id. actor: agent or node index. stream: what the draw is for
  // (0…65535, one number per purpose, listed where it is used).
  RngStream(uint64_t seed, uint64_t item, uint32_t actor, uint16_t stream)
      : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
        item_(item),
        actor_(actor),
        stream_(stream) {}

  uint32_t next_u32();
  uint64_t next_u64();
  // In [0, 1), 53 bits.
  double uniform();
  // In [0, bound), without bias. Needs bound > 0.
  uint64_t below(uint64_t bound);
  // Standard normal (Box–Muller).
  double normal();

 private:
  std::array<uint32_t, 2> key_;
  uint64_t item_;
  uint32_t actor_;
  uint16_t stream_;
  uint16_t block_ = 0;  // 65,536 blocks of four draws; CHECKed, since a wrap would repeat numbers
  std::array<uint32_t, 4> ready_{};
  int left_ = 0;
};

// 64-bit FNV-1a, for ids made of text. Not for anything an adversary may choose.
constexpr uint64_t fnv1a(const char* data, uint64_t size, uint64_t hash = 0xcbf29ce484222325ULL) {
  for (uint64_t i = 0; i < size; ++i) {
    hash ^= static_cast<unsigned char>(data[i]);
    hash *= 0x100000001b3ULL;
  }
  return hash;
}

}  // namespace colony
