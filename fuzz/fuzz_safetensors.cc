// Safetensors bytes: the header, and every tensor it lets through, read to its last byte.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "model/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace colony;
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto file = model::SafetensorsFile::parse(bytes, "fuzz");
  if (!file) return 0;
  unsigned sum = 0;
  for (const auto& [name, tensor] : file->tensors()) {
    CHECK(tensor.data.empty() || (tensor.data.data() >= bytes.data() && tensor.data.data() + tensor.data.size() <= bytes.data() + size),
          "a tensor lies outside its file");
    for (const std::byte b : tensor.data) sum += static_cast<unsigned>(b);
  }
  return sum == 0xffffffff ? 1 : 0;
}
