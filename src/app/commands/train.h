// colony train: fine-tunes a LoRA adapter on a data file, in this process.
#pragma once
#include <string>
#include <vector>

#include "app/options.h"
#include "base/result.h"
#include "train/trainer.h"

namespace colony::app {

struct TrainCommand {
  std::string file;      // "-": standard input
  std::string out;       // PEFT folder to make; or:
  std::string agent;     // agents/NAME/adapter
  std::string agents;    // folder of agents; "" = ./agents
  std::string from;      // PEFT folder whose weights and options it begins with; "": a new adapter
  std::string valid;     // "" = a share of the data, by content
  double valid_share = 0.1;
  int64_t valid_most = 200;  // examples an evaluation looks at
  ModelOptions model;    // dtype: auto, f32, bf16
  int64_t rank = 8;
  double alpha = 0;      // 0: twice the rank
  std::string targets = "all-linear";  // or names with commas, or a pattern
  std::vector<std::string> rank_pattern, alpha_pattern;  // "NAME=NUMBER"
  bool dora = false, rslora = false;
  int64_t max_length = 1024;
  std::string loss_on = "answer", too_long = "refuse", schedule = "cosine";
  bool raw = false, resume = false, recompute = false;
  train::TrainOptions loop;
  bool json = false;
};

// Writes into the folder: adapter_config.json, adapter_model.safetensors, README.md, metrics.jsonl, loss.svg; while it
// runs checkpoint.safetensors. kInterrupted leaves the checkpoint; kSomeBad: some lines were bad, the rest is learnt.
Result<int> run_train(const TrainCommand& command);

}  // namespace colony::app
