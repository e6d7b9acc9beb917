#include "engine/runner.h"

#include <utility>

namespace colony::engine {

ModelRunner::ModelRunner(std::shared_ptr<const model::Transformer> transformer, model::KvCache kv,
                         uint64_t scratch_bytes, tensor::ThreadPool& pool)
    : transformer_(std::move(transformer)),
      kv_(std::move(kv)),
      scratch_bytes_(scratch_bytes),
      pool_(pool) {}

int64_t ModelRunner::vocab_size() const { return transformer_->config().vocab_size; }
int64_t ModelRunner::hidden_size() const { return transformer_->config().hidden_size; }
int64_t ModelRunner::context() const { return transformer_->config().context_length(); }

void ModelRunner::forward(const model::StepRows& rows, std::span<float> hidden) {
  transformer_->forward(rows, kv_, hidden, work_, pool_);
}

void ModelRunner::head(std::span<const float> hidden, int64_t rows, std::span<float> logits,
                       std::span<const model::Adapter* const> adapters) {
  transformer_->head(hidden, rows, logits, work_, pool_, adapters);
}

uint64_t scratch_estimate(const model::ModelConfig& config, int64_t rows, int64_t head_rows) {
  const int64_t qkv = (config.num_attention_heads + 2 * config.num_key_value_heads) * config.head_dim;
  // hidden, residual, normed, attention in and out, feed-forward in and out, their packed copies.
  const int64_t row = 4 * (6 * config.hidden_size + 2 * qkv + 5 * config.intermediate_size);
  return static_cast<uint64_t>(rows * row + head_rows * 4 * (config.vocab_size + config.hidden_size));
}

}  // namespace colony::engine
