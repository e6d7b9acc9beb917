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
  const MappedFile* file = nullptr;  // where the data lie; null when parsed
};

// NAME-00002-of-00003.gguf in its parts, as gguf-split writes them; nullopt when `path` is not so named.
struct GgufSplitName {
  std::string before;  // "folder/NAME"
  int number = 0, count = 0;  // from 1
  std::filesystem::path part(int number) const;
};
std::optional<GgufSplitName> gguf_split_name(const std::filesystem::path& path);

class GgufFile {
 public:
  // Of a model in several files (split.count), any part stands for all: they are looked for beside it, by gguf-split's
  // names, and taken as one. Fails kNotFound (a part is not there), kCorrupt, kInvalid (parts that are not so named).
  static Result<std::shared_ptr<const GgufFile>> open(const std::filesystem::path& path);
  // One file. `bytes` is borrowed and must outlive this. `name` is for messages.
  static Result<GgufFile> parse(std::span<const std::byte> bytes, const std::string& name);

  const std::map<std::string, GgufValue>& metadata() const { return metadata_; }
  const std::map<std::string, GgufTensor>& tensors() const { return tensors_; }
  const std::string& name() const { return name_; }
  // The parts in order, one where the model is not split; none when parsed.
  struct Part {
    std::shared_ptr<const MappedFile> file;
    uint64_t header_bytes = 0;  // all before the data
  };
  const std::vector<Part>& parts() const { return parts_; }

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
  static Result<GgufFile> open_part(const std::filesystem::path& path);

  std::string name_;
  std::vector<Part> parts_;
  std::map<std::string, GgufValue> metadata_;
  std::map<std::string, GgufTensor> tensors_;
  uint64_t header_bytes_ = 0;  // of the bytes parsed
};

// The Hugging Face repository (org/name) of the model that this file is a conversion of, as its metadata say: the source
// (general.source.*), the base model it was quantised from (general.base_model.0.repo_url, unless it was fine-tuned since:
// general.finetune not in its name), else the organisation and the file's name without its quantisation, if general.basename
// is in that. nullopt: they do not say.
std::optional<std::string> gguf_origin(const GgufFile& file);

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
