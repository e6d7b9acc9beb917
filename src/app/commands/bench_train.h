// Our side of `bench train`: whole optimiser steps of a LoRA adapter over random tokens, timed.
#pragma once
#include <filesystem>
#include <memory>
#include <vector>

#include "app/commands/bench_ours.h"
#include "base/byte_ledger.h"
#include "base/result.h"
#include "tensor/bench.h"
#include "tensor/thread_pool.h"
#include "train/network.h"
#include "train/optimizer.h"

namespace colony::app {

// One cell: `examples` sequences of `tokens` ids a step; the last `targets` of each are scored.
struct TrainShape {
  int examples = 1, tokens = 1, targets = 1;
  double work() const { return static_cast<double>(examples) * tokens; }
};

// Threads: one owner.
class OursTrain {
 public:
  // Rank `rank` on all linear modules, bf16 weights. ledger and pool are borrowed.
  static Result<std::unique_ptr<OursTrain>> open(const std::filesystem::path& model, tensor::WeightType dtype, int rank, ByteLedger& ledger,
                                                 tensor::ThreadPool& pool);
  const model::ModelConfig& config() const { return network_->config(); }
  // One update after another one to warm up: gradients, clipping, AdamW.
  Result<Sample> step(const Prompts& warm, const Prompts& ids, const TrainShape& shape);
  // Tokens per second if nothing but the frozen weights' products took time: forward and the gradient of the
  // activations through the layers for every token, through the head for targets.
  double limit(const TrainShape& shape, const tensor::MachineLimits& machine) const;

 private:
  explicit OursTrain(tensor::ThreadPool& pool) : pool_(pool) {}
  void update(const Prompts& ids, const TrainShape& shape);

  tensor::ThreadPool& pool_;
  tensor::WeightType dtype_ = tensor::WeightType::kBf16;
  std::unique_ptr<train::Network> network_;
  std::unique_ptr<train::LoraWeights> lora_;
  std::unique_ptr<train::AdamW> adam_;
};

}  // namespace colony::app
