// A checkpoint's tensors under Hugging Face's names, from safetensors or GGUF, row by row as f32.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/config.h"
#include "model/gguf.h"
#include "model/safetensors.h"
#include "tensor/matmul.h"

namespace colony::model {

// One tensor in a mapped file: [rows, columns] (a vector has one row). Lives as long as its Weights.
struct WeightRef {
  std::string name;  // as the file spells it
  DType type = DType::kOther;
  int64_t rows = 0, columns = 0;
  std::span<const std::byte> data;
  const MappedFile* file = nullptr;
  // GGUF stores q and k of llama with the rows of a head interleaved (0, d/2, 1, d/2+1, …); heads > 0
  // undoes it: HF row i of a head is file row 2i, row i + d/2 is 2i + 1.
  int64_t permuted_heads = 0;

  // Row `row` in HF's order. out: [columns].
  void row(int64_t row, std::span<float> out) const;
  // The same as it is stored, or false where it is not stored in groups that fit (gguf.h).
  bool stored_row(int64_t row, const tensor::StoredRow& out) const;

 private:
  const std::byte* row_data(int64_t row) const;
};

// The weights of a layer's norms; those that the family has not are empty.
struct LayerNorms {
  std::vector<float> input, middle;         // [C], before attention and before the feed-forward part
  std::vector<float> attention_post, ffn_post;  // [C], on what they give
  std::vector<float> q, k;                  // [D], on each head
  static uint64_t bytes(const ModelConfig& config);
};

// Whether GGUF files of this general.architecture can be read. Fails kInvalid.
Status check_gguf_architecture(std::string_view architecture);

class Weights {
 public:
  // `path`: a folder or a .gguf file. Fails as config, safetensors and gguf do.
  static Result<Weights> open(const std::filesystem::path& path);

  const ModelConfig& config() const { return config_; }
  // By HF name ("model.layers.0.mlp.up_proj.weight"), with or without "model.". Fails kCorrupt when
  // absent, of another shape than [rows, columns], or of a type that is no weight.
  Result<WeightRef> find(const std::string& name, int64_t rows, int64_t columns) const;
  bool has(const std::string& name) const;
  // The head: lm_head, or the embedding when tied. Tying as HF: both present and different are kept
  // apart, with a warning.
  Result<WeightRef> head() const;
  // A norm's weight as it is multiplied with (norm_offset: 1 + w), and all of a layer's. Fail as find().
  Result<std::vector<float>> norm(const std::string& name, int64_t size) const;
  Result<LayerNorms> layer_norms(int64_t layer) const;
  // The biases of modules ("model.layers.0.self_attn.q_proj", outputs) that stand under each other; empty when none has
  // one. A folder's config says which modules have them (attention_bias, mlp_bias): a bias it denies is not read, as
  // Transformers has it, one it promises must be there. Of a GGUF file those that are in it. Fails as find().
  Result<std::vector<float>> biases(const std::vector<std::pair<std::string, int64_t>>& modules) const;
  // Says on the log how many tensors nothing reads, and which; buffers left out.
  void warn_of_unread() const;

  const std::string& content_hash() const { return content_hash_; }
  // When each of its files was written last, as their system counts.
  std::string written() const;
  const std::shared_ptr<const GgufFile>& gguf() const { return gguf_; }
  // Drops the files' pages from resident memory.
  void release() const;

 private:
  std::optional<WeightRef> lookup(const std::string& name) const;
  bool has_bias(const std::string& module) const;
  std::vector<std::string> unread() const;

  ModelConfig config_;
  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
  std::shared_ptr<const GgufFile> gguf_;
  std::string content_hash_;
};

}  // namespace colony::model
