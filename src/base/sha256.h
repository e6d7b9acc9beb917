// SHA-256, for content identities. Source: FIPS 180-4.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace colony {

class Sha256 {
 public:
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) {
    update(std::as_bytes(std::span<const char>(text.data(), text.size())));
  }
  // 64 lower-case hex digits. Call once, last.
  std::string hex();

 private:
  void block(const std::byte* data);

  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> pending_{};
  uint64_t size_ = 0;
};

std::string sha256_hex(std::string_view text);

}  // namespace colony
