// The numbers that training changes: A and B (and DoRA's magnitudes) of every adapted module, in f32, in
// one flat array beside their gradients, so that the optimiser sees one vector.
//
// Files are PEFT's adapter_model.safetensors (model/lora.h has the names). B is kept by columns here, as
// Bᵀ [rank, outputs], and turned when read or written.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/byte_ledger.h"
#include "base/result.h"
#include "model/config.h"
#include "model/lora.h"

namespace colony::train {

// The four products of a block; q, k, v and gate, up stand side by side in their outputs.
enum class Product : uint8_t { kQkv, kO, kGateUp, kDown };

struct TrainedModule {
  std::string path;          // "model.layers.0.self_attn.q_proj"
  int64_t layer = 0;
  Product product = Product::kQkv;
  int64_t first_output = 0;  // inside its product
  int64_t outputs = 0, inputs = 0, rank = 0;
  double scale = 1;
  bool dora = false;
  size_t a = 0, b = 0, m = 0;  // where A [rank, inputs], Bᵀ [rank, outputs], magnitudes [outputs] begin
};

class LoraWeights {
 public:
  // All zero. Linear modules of the blocks only: fails kInvalid on the head, the embedding and unknown
  // paths, kExhausted when the ledger (owner "trainer") has no room for weights and gradients.
  static Result<LoraWeights> create(const model::ModelConfig& config, std::span<const model::LoraModule> modules, ByteLedger& ledger);

  // A uniform in ±1/sqrt(inputs), B zero: PEFT's init_lora_weights=True. The same seed gives the same numbers.
  void initialise(uint64_t seed);
  // From PEFT's file, in any of its spellings. `base`: content_hash() of the base. Fails kNotFound, kCorrupt (a tensor is
  // missing, left over, holds no finite number, or has another shape), kInvalid (the file says that it was trained over
  // another base).
  Status read(const std::filesystem::path& file, const std::string& base = "");
  // Atomically; `base` is kept in the file's metadata. Fails kUnavailable.
  Status write(const std::filesystem::path& file, const std::string& base = "") const;

  std::span<const TrainedModule> modules() const { return modules_; }
  // Indices of the modules of one product of a layer.
  std::span<const size_t> of(int64_t layer, Product product) const {
    return by_product_[static_cast<size_t>(layer) * 4 + static_cast<size_t>(product)];
  }
  int64_t lowest_layer() const { return lowest_layer_; }  // below it no gradient is needed
  std::span<float> values() { return values_; }
  std::span<const float> values() const { return values_; }
  std::span<float> gradients() { return gradients_; }

  std::span<float> a(const TrainedModule& m, std::span<float> all) const { return all.subspan(m.a, static_cast<size_t>(m.rank * m.inputs)); }
  std::span<float> b(const TrainedModule& m, std::span<float> all) const { return all.subspan(m.b, static_cast<size_t>(m.rank * m.outputs)); }
  std::span<float> magnitude(const TrainedModule& m, std::span<float> all) const {
    return all.subspan(m.m, static_cast<size_t>(m.dora ? m.outputs : 0));
  }

 private:
  std::vector<TrainedModule> modules_;
  std::vector<std::vector<size_t>> by_product_;  // [layers * 4]
  std::vector<float> values_, gradients_;
  int64_t lowest_layer_ = 0;
  ByteLease lease_;
};

}  // namespace colony::train
