// A Hugging Face checkpoint as a function from token ids to hidden states and logits.
//
// Weights are mapped from the files, packed once into what the kernels want, and shared by every
// agent; nothing here knows text. A row's numbers depend on its own sequence only, bit for bit, at
// every dtype (tensor/matmul.h, tensor/attention.h keep that promise).
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/byte_ledger.h"
#include "base/result.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "tensor/matmul.h"
#include "tensor/thread_pool.h"

namespace colony::model {

class Adapter;   // model/lora.h
class GgufFile;  // model/gguf.h
class PackedCache;  // model/packed_cache.h

// One step's rows. Rows of one sequence stand together, in ascending position.
struct StepRows {
  std::span<const int32_t> ids;                   // [T], each in [0, vocab_size)
  std::span<const tensor::AttentionRow> where;    // [T], position and pages
  // [T] or empty: tokens of the row's sequence that are prefilled together with it (its prompt's
  // length; position + 1 for generated rows). Only "dynamic" rope looks at it, as HF's generate()
  // does; empty means position + 1.
  std::span<const int64_t> lengths = {};
  // [T] or empty: the row's adapter, null for the base alone. Rows of one adapter should stand together.
  std::span<const Adapter* const> adapters = {};
};

class Transformer {
 public:
  struct Options {
    tensor::WeightType dtype = tensor::WeightType::kF32;
    // Looked at for what an earlier load packed, and given what this one packs. Null: neither.
    const PackedCache* packed = nullptr;
  };

  // `path`: a folder with config.json and safetensors (single or sharded), or a .gguf file.
  // Takes the packed weights from `ledger` (owner "weights") before reading them.
  // Fails kNotFound, kCorrupt, kInvalid (not supported, names file, field, found, expected),
  // kExhausted.
  static Result<std::shared_ptr<const Transformer>> load(const std::filesystem::path& path,
                                                         const Options& options,
                                                         ByteLedger& ledger,
                                                         tensor::ThreadPool& pool);
  // Whether load() could begin: configuration, every tensor's name, shape and type, and room in the ledger. Reads no
  // weights and keeps no bytes. Fails as load().
  static Status check(const std::filesystem::path& path, tensor::WeightType dtype, ByteLedger& ledger);
  ~Transformer();

  const ModelConfig& config() const;
  tensor::WeightType dtype() const;
  tensor::WeightType head_type() const;      // how the head is kept
  tensor::KvType default_kv_type() const;  // f32 for f32 weights, else bf16
  uint64_t weight_bytes() const;
  // SHA-256 over the files' headers (all names, types, shapes, metadata), their sizes, config.json,
  // and the data (of files above 4 MiB, 4 KiB out of every 256): who the model is, not a proof against tampering.
  // 64 hex digits; same for every dtype.
  const std::string& content_hash() const;
  bool tied_head() const;  // the head is the embedding
  // Rows of the weights, for adapters: of a linear module of the blocks by its path (lora.h) as the
  // kernels see it (rounded), [inputs]; of the embedding as the file has it, [hidden_size].
  void weight_row(const std::string& path, int64_t output, std::span<float> out) const;
  void embedding_row(int32_t id, std::span<float> out) const;
  // The opened GGUF when the model came from one (its metadata hold tokenizer and template).
  const GgufFile* gguf() const;

  // What a step needs and keeps: scratch, reused. Threads: one owner.
  class Workspace {
   public:
    Workspace();
    ~Workspace();
    Workspace(Workspace&&) noexcept;
    Workspace& operator=(Workspace&&) noexcept;
    uint64_t bytes() const;

   private:
    friend class Transformer;
    struct State;
    std::unique_ptr<State> state_;
  };

  // Runs all layers and the final norm. hidden: [T, hidden_size], after the final norm (HF's
  // last_hidden_state). Stores keys and values in `kv`. Threads: one caller a Workspace and KvCache.
  void forward(const StepRows& rows, const KvCache& kv, std::span<float> hidden, Workspace& work,
               tensor::ThreadPool& pool) const;

  // logits: [rows, vocab_size] of hidden rows [rows, hidden_size]. adapters: [rows] or empty, as StepRows'.
  void head(std::span<const float> hidden, int64_t rows, std::span<float> logits, Workspace& work,
            tensor::ThreadPool& pool, std::span<const Adapter* const> adapters = {}) const;

 private:
  Transformer();
  struct State;
  struct Found;
  static Result<Found> find_all(const std::filesystem::path& path, tensor::WeightType dtype, ByteLedger& ledger);
  std::unique_ptr<State> state_;
};

}  // namespace colony::model
