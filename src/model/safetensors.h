// safetensors: a mapped, fully checked reader, and a writer.
//
// Layout: u64 little-endian N, N bytes of JSON {name: {dtype, shape, data_offsets}}, then the data.
// Every check of the reference reader is made before a byte of data is believed. Source:
// huggingface/safetensors safetensors/src/tensor.rs (hf_compat 1.11).
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/result.h"

namespace colony::model {

// How numbers lie in a file. The block types are GGUF's.
enum class DType : uint8_t {
  kF64, kF32, kF16, kBf16, kI64, kI32, kI16, kI8, kU8, kBool, kOther,
  kQ8_0, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ4_K, kQ5_K, kQ6_K,
};

// "F32", "BF16", … as safetensors spells them; kOther for what is no plain number type of ours.
DType plain_type(std::string_view dtype);

struct SafeTensor {
  std::string dtype;             // as the file spells it: "BF16"
  std::vector<uint64_t> shape;   // row-major, outermost first
  std::span<const std::byte> data;
};

class SafetensorsFile {
 public:
  static Result<std::shared_ptr<const SafetensorsFile>> open(const std::filesystem::path& path);
  // `bytes` is borrowed and must outlive this. `name` is for messages.
  static Result<SafetensorsFile> parse(std::span<const std::byte> bytes, const std::string& name);

  // By name, ascending. Data lie in the file, unaligned.
  const std::map<std::string, SafeTensor>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::string& name() const { return name_; }
  const std::shared_ptr<const MappedFile>& file() const { return file_; }  // null when parsed
  uint64_t header_bytes() const { return header_bytes_; }

 private:
  std::string name_;
  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, SafeTensor> tensors_;
  std::map<std::string, std::string> metadata_;
  uint64_t header_bytes_ = 0;
};

// The files that hold a folder's weights: model.safetensors, or the shards its index names. Fails
// kNotFound (neither is there; pickled weights are named and refused), kCorrupt (index).
Result<std::vector<std::shared_ptr<const SafetensorsFile>>> open_checkpoint(
    const std::filesystem::path& folder);

struct TensorToWrite {
  std::string name;
  std::string dtype;  // "F32", "BF16", …
  std::vector<uint64_t> shape;
  std::span<const std::byte> data;
};
// Writes as the reference does: widest type first, then by name, header padded to 8 bytes.
Status write_safetensors(const std::filesystem::path& path, std::vector<TensorToWrite> tensors,
                         const std::map<std::string, std::string>& metadata);

}  // namespace colony::model
