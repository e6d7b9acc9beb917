#include "base/rng.h"

#include <cmath>
#include <numbers>

#include "base/check.h"

namespace colony {

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

uint32_t RngStream::next_u32() {
  if (left_ == 0) {
    CHECK(block_ != UINT16_MAX, "a random stream ran out of numbers; use one stream per purpose");
    ready_ = philox({static_cast<uint32_t>(item_), static_cast<uint32_t>(item_ >> 32), actor_,
                     static_cast<uint32_t>(stream_) << 16 | block_},
                    key_);
    ++block_;
    left_ = 4;
  }
  return ready_[static_cast<size_t>(4 - left_--)];
}

uint64_t RngStream::next_u64() {
  const uint64_t high = next_u32();
  return high << 32 | next_u32();
}

double RngStream::uniform() { return static_cast<double>(next_u64() >> 11) * 0x1p-53; }

uint64_t RngStream::below(uint64_t bound) {
  CHECK(bound > 0, "below(0) has no value");
  const uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  uint64_t draw = next_u64();
  while (draw >= limit) draw = next_u64();
  return draw % bound;
}

double RngStream::normal() {
  const double u = 1.0 - uniform();
  const double v = uniform();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

}  // namespace colony
