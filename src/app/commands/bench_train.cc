#include "app/commands/bench_train.h"

#include <algorithm>

#include "tensor/row_matrix.h"

namespace colony::app {

Result<std::unique_ptr<OursTrain>> OursTrain::open(const std::filesystem::path& model, tensor::WeightType dtype, int rank, ByteLedger& ledger,
                                                   tensor::ThreadPool& pool) {
  std::unique_ptr<OursTrain> own(new OursTrain(pool));
  own->dtype_ = dtype;
  ASSIGN_OR_RETURN(own->network_, train::Network::load(model, {dtype}, ledger, pool));
  std::vector<model::LoraModule> modules;
  for (const auto& module : model::base_modules(own->config())) {
    if (module.kind == model::BaseModule::Kind::kLinear) modules.push_back({module.path, rank, 2.0, false});
  }
  ASSIGN_OR_RETURN(auto lora, train::LoraWeights::create(own->config(), modules, ledger));
  own->lora_ = std::make_unique<train::LoraWeights>(std::move(lora));
  own->lora_->initialise(1);
  own->adam_ = std::make_unique<train::AdamW>(own->lora_->values().size(), train::AdamWOptions{});
  own->network_->refresh(*own->lora_, pool);
  return own;
}

void OursTrain::update(const Prompts& ids, const TrainShape& shape) {
  std::vector<train::Example> examples;
  for (const Prompt& prompt : ids) {
    train::Example& e = examples.emplace_back(train::Example{prompt, std::vector<uint8_t>(prompt.size(), 0)});
    std::fill(e.scored.end() - shape.targets, e.scored.end(), uint8_t{1});
  }
  std::vector<const train::Example*> all;
  for (const auto& e : examples) all.push_back(&e);
  std::ranges::fill(lora_->gradients(), 0.0f);
  network_->pass(all, *lora_, {.gradients = true, .weight = 1.0f / static_cast<float>(shape.examples * shape.targets)}, pool_);
  adam_->step(lora_->values(), lora_->gradients(), train::clip_factor(train::gradient_norm(lora_->gradients()), 1.0), 1e-4);
  network_->refresh(*lora_, pool_);
}

Result<Sample> OursTrain::step(const Prompts& warm, const Prompts& ids, const TrainShape& shape) {
  RETURN_IF_ERROR(network_->reserve(static_cast<int64_t>(shape.work()), *lora_));
  update(warm, shape);
  const Stopwatch watch;
  update(ids, shape);
  return watch.seconds();
}

double OursTrain::limit(const TrainShape& shape, const tensor::MachineLimits& machine) const {
  const double operations = 4 * (network_->layer_weights() + network_->head_weights() * shape.targets / shape.tokens);
  const bool halves = tensor::best_row_products(dtype_) == tensor::RowProducts::kBf16;
  return 1e9 * (halves ? machine.bf16_gop_per_s : machine.f32_gop_per_s) / operations;
}

}  // namespace colony::app
