// Large zeroed memory straight from the kernel, aligned to pages, with huge pages where it has them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

namespace colony::tensor {

class Memory {
 public:
  Memory() = default;
  // Zeroed; pages are touched on first use. Ends the process when the system has no address space
  // left (the byte ledger refuses long before).
  explicit Memory(uint64_t bytes, bool huge_pages = true);
  Memory(Memory&& other) noexcept { swap(other); }
  Memory& operator=(Memory&& other) noexcept {
    Memory(std::move(other)).swap(*this);
    return *this;
  }
  ~Memory();
  std::byte* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

 private:
  void swap(Memory& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  std::byte* data_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace colony::tensor
