#include "tensor/memory.h"

#include <sys/mman.h>

#include "base/check.h"

namespace colony::tensor {

Memory::Memory(uint64_t bytes, bool huge_pages) : bytes_(bytes) {
  if (bytes == 0) return;
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                      -1, 0);
  CHECK(data != MAP_FAILED, "the system has no address space left");
  if (huge_pages && bytes >= (4u << 20)) ::madvise(data, bytes, MADV_HUGEPAGE);
  data_ = static_cast<std::byte*>(data);
}

Memory::~Memory() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

}  // namespace colony::tensor
