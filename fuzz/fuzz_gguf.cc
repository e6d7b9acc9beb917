// GGUF bytes: metadata, tensors, and the numbers of every block.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "model/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace colony;
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto file = model::GgufFile::parse(bytes, "fuzz");
  if (!file) return 0;
  std::vector<float> out;
  for (const auto& [name, tensor] : file->tensors()) {
    CHECK(tensor.data.empty() || (tensor.data.data() >= bytes.data() && tensor.data.data() + tensor.data.size() <= bytes.data() + size),
          "a tensor lies outside its file");
    const auto shape = model::block_shape(tensor.type);
    if (shape.numbers == 0) continue;
    out.assign(static_cast<size_t>(static_cast<int64_t>(tensor.data.size()) / shape.bytes * shape.numbers), 0);
    if (!out.empty()) model::decode(tensor.type, tensor.data.data(), out);
  }
  return 0;
}
