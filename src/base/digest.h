// Digests (FIPS 180-4) for content identities; OpenSSL's.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct evp_md_ctx_st;  // openssl/evp.h
struct evp_md_st;

namespace colony {

class Digest {
 public:
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) {
    update(std::as_bytes(std::span<const char>(text.data(), text.size())));
  }
  // Two lower-case hex digits a byte. Call once, last.
  std::string hex();

 protected:
  explicit Digest(const evp_md_st* kind);

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

class Sha256 : public Digest {
 public:
  Sha256();
};
class Sha1 : public Digest {  // git's names of blobs
 public:
  Sha1();
};

std::string sha256_hex(std::string_view text);

}  // namespace colony
