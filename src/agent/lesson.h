// An adapter learnt behind serving: training in slices that the engine runs when no foreground request is there.
//
// engine.set_background(&lesson), and every step() of the engine's owner that finds no foreground request lets it go on for
// about one slice. The frozen weights are a copy of their own (serving keeps them packed for its kernels, training row by
// row), its line in the ledger is "trainer weights"; all of it is given back when the lesson ends. What is learnt does not
// depend on the slices, bit for bit.
#pragma once
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/byte_ledger.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "base/slices.h"
#include "engine/engine.h"
#include "train/trainer.h"

namespace colony::agent {

struct LessonOptions {
  std::filesystem::path model;  // the base: a folder, or a .gguf file
  bool f32 = false;             // frozen weights in f32, else bf16
  Json peft;                    // the adapter's adapter_config.json
  std::vector<train::Example> examples, valid;
  train::TrainOptions loop;
  // Rows computed at once, in place of loop.chunk_tokens, or the longest example's: between two breaths lies one product
  // of so many rows, so few of them keep slices short.
  int64_t rows = 128;
  // PEFT folder to make, and its checkpoint.safetensors meanwhile, from which an unfinished lesson goes on.
  std::filesystem::path out;
  std::chrono::nanoseconds slice = std::chrono::milliseconds(5);
  std::function<void(const Json&)> metric = nullptr;  // as train::TrainEvents::metric
};

// Threads: one owner, the engine's. The lesson's own thread is awake only inside run_slice(); `metric` is called on it.
class Lesson final : public engine::Background {
 public:
  // ledger, clock and pool are borrowed and outlive it. Nothing is read or computed before the first slice.
  Lesson(LessonOptions options, ByteLedger& ledger, const Clock& clock, tensor::ThreadPool& pool);
  // A lesson that has not ended stops within a few milliseconds of work; its last checkpoint stays.
  ~Lesson() override;

  bool run_slice() override;
  // How it ended: kStopped never. Nothing while it goes on. Fails as train::Network::load(), engine::parse_peft(),
  // train::Trainer.
  const std::optional<Result<train::TrainEnd>>& result() const { return result_; }
  const train::TrainState& state() const { return state_; }  // at the last update

 private:
  Result<train::TrainEnd> learn(Slices& slices);

  const LessonOptions options_;
  ByteLedger& ledger_;
  const Clock& clock_;
  tensor::ThreadPool& pool_;
  train::TrainState state_;
  std::optional<Result<train::TrainEnd>> result_;
  std::unique_ptr<Slices> slices_;
};

}  // namespace colony::agent
