// What the engine asks of a model: hidden states for rows, logits for hidden states.
//
// An interface, so that scheduling can be tested against a model whose every number is known.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>

#include "base/byte_ledger.h"
#include "base/result.h"
#include "model/kv_cache.h"
#include "model/transformer.h"
#include "tensor/thread_pool.h"

namespace colony::engine {

// Threads: one owner.
class Runner {
 public:
  virtual ~Runner() = default;
  virtual int64_t vocab_size() const = 0;
  virtual int64_t hidden_size() const = 0;
  virtual int64_t context() const = 0;  // most tokens of one sequence
  virtual int64_t pages() const = 0;
  // hidden: [T, hidden_size]. Stores keys and values of the rows in their pages.
  virtual void forward(const model::StepRows& rows, std::span<float> hidden) = 0;
  // All that page `from` holds, over all layers, also to page `to`.
  virtual void copy_page(int32_t from, int32_t to) = 0;
  // logits: [rows, vocab_size]. adapters: [rows] or empty, as StepRows'.
  virtual void head(std::span<const float> hidden, int64_t rows, std::span<float> logits,
                    std::span<const model::Adapter* const> adapters) = 0;
  // Bytes of scratch held now, or expected to be held by a full step.
  virtual uint64_t scratch_bytes() const = 0;
};

// A transformer with its key/value pages. `pool` is borrowed.
class ModelRunner final : public Runner {
 public:
  // scratch_bytes: expected of a full step (scratch_estimate()).
  ModelRunner(std::shared_ptr<const model::Transformer> transformer, model::KvCache kv,
              uint64_t scratch_bytes, tensor::ThreadPool& pool);
  int64_t vocab_size() const override;
  int64_t hidden_size() const override;
  int64_t context() const override;
  int64_t pages() const override { return kv_.pages(); }
  void forward(const model::StepRows& rows, std::span<float> hidden) override;
  void copy_page(int32_t from, int32_t to) override { kv_.copy_page(from, to); }
  void head(std::span<const float> hidden, int64_t rows, std::span<float> logits,
            std::span<const model::Adapter* const> adapters) override;
  uint64_t scratch_bytes() const override { return std::max(work_.bytes(), scratch_bytes_); }

 private:
  const std::shared_ptr<const model::Transformer> transformer_;
  const model::KvCache kv_;
  const uint64_t scratch_bytes_;
  tensor::ThreadPool& pool_;
  model::Transformer::Workspace work_;
};

// Scratch that a step of `rows` rows is expected to need, to be taken from the ledger beforehand.
uint64_t scratch_estimate(const model::ModelConfig& config, int64_t rows, int64_t head_rows);

}  // namespace colony::engine
