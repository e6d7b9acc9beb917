// The training loop: batches in a seeded order, AdamW, evaluation, the best weights kept, checkpoints.
//
// Everything that decides a number is a function of (data, options, seed, step), so a run that is killed and
// resumed ends with the same bits as one that was not, on any number of threads. (Only --minutes looks at
// the clock: how many steps fit is estimated once, written down, and kept.)
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "train/network.h"
#include "train/optimizer.h"
#include "train/task_metric.h"

namespace colony::train {

struct TrainOptions {
  double learning_rate = 2e-3;
  Schedule schedule = Schedule::kCosine;
  double warmup = 0.05;        // updates when 1 or more, else a share of them, rounded up
  double clip = 1.0;           // longest gradient; 0: never clipped
  AdamWOptions adam;
  double epochs = 3;
  int64_t steps = 0;           // > 0: this many updates whatever the epochs
  double minutes = 0;          // > 0: no more than fit into this
  int64_t batch = 8;           // examples of a micro-batch
  int64_t accumulate = 1;      // micro-batches of an update
  double dropout = 0;
  uint64_t seed = 42;
  int64_t answers = 0;         // validation examples answered by generation at each evaluation, with TrainEvents::answer
  int64_t eval_every = 0;      // updates; 0: a tenth of the run, or with minutes what a fifth of the time allows
  int64_t patience = 0;        // evaluations without a better loss before the run ends; 0: it goes on
  int64_t chunk_tokens = 1024; // rows computed at once, or the longest example's
  int64_t save_every = 0;      // updates between checkpoints; 0: every 20 seconds
};

struct TrainState {
  int64_t step = 0, total = 0;  // updates done and planned
  int64_t tokens = 0;           // read in training, padding there is none
  double seconds = 0;
  double best_loss = 0;         // on the validation examples
  int64_t best_step = -1;       // -1: not evaluated yet
  int64_t worse = 0;            // evaluations since
  int64_t evaluations = 0;      // planned, with TrainOptions::minutes; 0: no plan yet
  int64_t answers = 0;          // of each of them, likewise
  int64_t judged = 0;           // validation examples of each of them, evenly chosen, likewise; 0: all
  bool due = false;             // the evaluation after `step` was cut off and is still to be made
  std::vector<double> recent;   // losses of the last ten updates
  double last_valid = 0;
};

// What is told of an update or an evaluation, as it is written to the metrics file.
struct TrainEvents {
  std::function<void(const Json&)> metric;  // {"step","loss",…} or {"step","valid_loss","exact_match"?,"answered"?}
  // The task's measure on up to `most` validation examples; none where it cannot be taken. Empty: there is no such measure.
  std::function<std::optional<TaskScore>(int64_t most)> answer;
  std::function<bool()> stop;               // asked after each update: true ends the run with a checkpoint
};

// What fits into `left` seconds: evaluations (1 to 10) take at most a fifth of them. Where two of them would take more, they look
// at a share of the validation examples, a twentieth at least. Answering examples by generation, `answer_seconds` each and at
// most `most_answers` an evaluation, takes at most half of that fifth.
struct TimePlan {
  int64_t updates = 1, evaluations = 1, answers = 0;
  double valid_share = 1;
};
TimePlan plan_time(double left, double update_seconds, double evaluation_seconds, int64_t most_updates, double answer_seconds = 0,
                   int64_t most_answers = 0);

enum class TrainEnd : uint8_t { kDone, kEarly, kTime, kStopped };  // stopped: by TrainEvents::stop or a breath (Network::on_breath)

class Trainer {
 public:
  // `fingerprint`: what must be the same when a checkpoint is resumed, an object of plain values.
  Trainer(Network& network, LoraWeights& lora, std::vector<Example> examples, std::vector<Example> valid, const TrainOptions& options,
          Json fingerprint, std::filesystem::path checkpoint, const Clock& clock, tensor::ThreadPool& pool);

  // Goes on where the checkpoint stands. Fails kNotFound, kCorrupt, kInvalid (made with other data or options:
  // the message names what differs).
  Status resume();
  // Fails kInvalid (a loss is no number: the step and what to try), kUnavailable (a checkpoint cannot be written).
  Result<TrainEnd> run(const TrainEvents& events);
  // The weights of the best evaluation (the last ones when there was none) into `lora`.
  void take_best();
  const TrainState& state() const { return state_; }
  std::span<const Example> valid() const { return valid_; }

 private:
  std::vector<size_t> order(int64_t epoch) const;
  std::optional<double> evaluate();  // none: abandoned
  Status save();
  int64_t updates_per_epoch() const;

  Network& network_;
  LoraWeights& lora_;
  const std::vector<Example> examples_, valid_;
  const TrainOptions options_;
  const Json fingerprint_;
  const std::filesystem::path checkpoint_;
  const Clock& clock_;
  tensor::ThreadPool& pool_;
  AdamW adam_;
  TrainState state_;
  std::vector<float> best_;  // empty: not evaluated yet
};

// Bytes that a Trainer holds beside LoraWeights and Network: optimiser and best weights.
uint64_t trainer_bytes(const LoraWeights& lora);

}  // namespace colony::train
