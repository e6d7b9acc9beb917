// The block of llama, qwen3 and gemma3_text forward and backward, with a LoRA adapter that learns over frozen weights.
//
// Agrees with HF's LlamaForCausalLM, Qwen3ForCausalLM and Gemma3ForCausalLM under PEFT in f32 (golden/train). One copy of the weights serves both
// directions (tensor/row_matrix.h); no gradient is computed for frozen weights. Examples stand one after
// the other in the rows: each sees only itself and begins at position 0; the head and the loss see only
// scored positions.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/byte_ledger.h"
#include "base/result.h"
#include "model/config.h"
#include "tensor/row_matrix.h"
#include "tensor/thread_pool.h"
#include "train/lora_weights.h"

namespace colony::train {

// Token i is a target, predicted from the tokens before it, where scored[i] is not 0; scored[0] is 0.
struct Example {
  std::vector<int32_t> ids;
  std::vector<uint8_t> scored;  // [ids.size()]
  int64_t answer = 0;           // where its last answer begins and the prompt ends; 0: it has none, or not whole
  int64_t targets() const;
};

struct PassOptions {
  bool gradients = false;
  float weight = 1;       // of each target's loss in the gradients: 1 / targets of the whole step
  double dropout = 0;     // on the input of A; needs `draw`s that differ from pass to pass
  uint64_t seed = 0;
  uint64_t first_draw = 0;  // names the first example's random numbers; the next one has the next
};
struct PassResult {
  double loss_sum = 0;  // over the targets
  int64_t targets = 0;
  bool abandoned = false;  // breathe() said so; the numbers are worth nothing
};
struct GreedyPrompt {
  std::span<const int32_t> ids;  // not empty
  int64_t max_tokens = 0;
};

class Network {
 public:
  struct Options {
    tensor::WeightType dtype = tensor::WeightType::kF32;  // kF32 or kBf16
    std::function<bool()> breathe = nullptr;  // as on_breath(), from the loading on; false there: fails kCancelled
  };
  // Takes the weights from `ledger` (owner "trainer weights"). Fails as model::Weights does.
  static Result<std::unique_ptr<Network>> load(const std::filesystem::path& path, const Options& options, ByteLedger& ledger,
                                               tensor::ThreadPool& pool);
  ~Network();

  const model::ModelConfig& config() const;
  const std::string& content_hash() const;
  uint64_t weight_bytes() const;
  // Multiply-adds of one token through the layers' frozen weights, forward only: for rooflines.
  double layer_weights() const;
  double head_weights() const;
  // Bytes of activations for a pass of `tokens` rows. With `recompute` those of one layer are kept, and
  // computed again when its gradient is due: a third more work, a fraction of the memory, the same bits.
  uint64_t activation_bytes(int64_t tokens, const LoraWeights& lora, bool recompute) const;
  // Takes activation_bytes() for passes of up to `tokens` rows (owner "trainer"). Fails kExhausted.
  Status reserve(int64_t tokens, const LoraWeights& lora, bool recompute = false);

  // DoRA's magnitudes as PEFT begins them: the length of each output's row of W + s B A.
  void initialise_magnitudes(LoraWeights& lora, tensor::ThreadPool& pool) const;
  // To be called whenever the values of `lora` have changed.
  void refresh(LoraWeights& lora, tensor::ThreadPool& pool);

  // Loss of `examples`, whose tokens together must be at most what was reserved; with gradients these are
  // added to lora's. The same bits for any number of threads.
  PassResult pass(std::span<const Example* const> examples, LoraWeights& lora, const PassOptions& options, tensor::ThreadPool& pool);

  // The greedy continuation of each prompt up to the first of `eos_ids`, which is left out; prompts are computed together.
  // Their keys and values are taken from the ledger (owner "kv") meanwhile: fewer prompts at once where there is no room
  // for more. Needs reserve() and refresh(). Fails kExhausted (not even one fits), kCancelled (breathe() said so).
  Result<std::vector<std::vector<int32_t>>> greedy(std::span<const GreedyPrompt> prompts, LoraWeights& lora, std::span<const int32_t> eos_ids,
                                                   tensor::ThreadPool& pool);

  // Called between a pass's products, a few milliseconds of work each as long as passes are of few rows; it may wait.
  // False: the pass is abandoned as soon as may be. The bits do not depend on it.
  void on_breath(std::function<bool()> breathe);

 private:
  friend class PassRun;
  Network();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace colony::train
