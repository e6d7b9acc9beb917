// GGUF: a mapped, fully checked reader of header, metadata and tensors, and the block formats.
//
// Source: ggml's gguf.h, gguf.cpp, ggml-quants.c (hf_compat 1.13); the values agree bit for bit with
// gguf-py's.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "model/safetensors.h"

namespace colony::model {

// Integers of any width, floats, booleans, strings, and arrays of each.
using GgufValue = std::variant<uint64_t, int64_t, double, bool, std::string, std::vector<int64_t>,
                               std::vector<double>, std::vector<bool>, std::vector<std::string>>;

struct GgufTensor {
  DType type = DType::kOther;
  std::string type_name;         // "Q4_1"
  std::vector<uint64_t> shape;   // as Hugging Face has it: outermost first, last = in_features
  std::span<const std::byte> data;
};

class GgufFile {
 public:
  static Result<std::shared_ptr<const GgufFile>> open(const std::filesystem::path& path);
  // `bytes` is borrowed and must outlive this. `name` is for messages.
  static Result<GgufFile> parse(std::span<const std::byte> bytes, const std::string& name);

  const std::map<std::string, GgufValue>& metadata() const { return metadata_; }
  const std::map<std::string, GgufTensor>& tensors() const { return tensors_; }
  const std::string& name() const { return name_; }
  const std::shared_ptr<const MappedFile>& file() const { return file_; }
  uint64_t header_bytes() const { return header_bytes_; }  // all before the data

  // Typed access; nullopt when absent, kInvalid naming the key when of another type.
  Result<std::optional<int64_t>> integer(const std::string& key) const;
  Result<std::optional<double>> number(const std::string& key) const;
  Result<std::optional<bool>> boolean(const std::string& key) const;
  Result<std::optional<std::string>> text(const std::string& key) const;
  // Null when absent or of another type.
  const std::vector<std::string>* texts(const std::string& key) const;
  const std::vector<int64_t>* integers(const std::string& key) const;
  const std::vector<double>* numbers(const std::string& key) const;

 private:
  std::string name_;
  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, GgufValue> metadata_;
  std::map<std::string, GgufTensor> tensors_;
  uint64_t header_bytes_ = 0;
};

// Numbers in one block and its bytes; (1, size) for plain types, (0, 0) for kOther.
struct BlockShape {
  int64_t numbers = 0, bytes = 0;
};
BlockShape block_shape(DType type);

// Decodes out.size() numbers, a multiple of the block, from `data`. Needs enough data.
void decode(DType type, const std::byte* data, std::span<float> out);

// The numbers of Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 blocks as they are stored, x = d q + m, q in 0…q_most: d, m
// (f16) one a block, q in order. False for types whose q may be larger and for all others, and for a block
// without m whose m = -2^(bits-1) d is no f16. Needs enough data.
bool decode_groups(DType type, const std::byte* data, int q_most, std::span<uint16_t> d, std::span<uint16_t> m, std::span<uint8_t> q);

}  // namespace colony::model
