// The engine: many requests, one model, one batch.
//
// step() runs one scheduler step: a decode row of every running sequence, and chunks of prefill up
// to the token budget; then samples, and returns what finished. Continuous batching, paged KV with
// prefix sharing, admission against the byte ceiling (hf_compat 7.1–7.3). Which rows share a step
// never changes a row's tokens.
// Scheduling depends on counts only, so the same submissions at the same steps give the same steps.
// Threads: one owner calls everything but cancel().
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/byte_ledger.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/result.h"
#include "engine/draft.h"
#include "engine/request.h"
#include "engine/snapshot.h"

namespace colony::engine {

struct EngineOptions {
  int max_sequences = 16;          // rows decoded at once
  int max_step_tokens = 512;       // decode rows + prefill chunk; at least max_sequences
  size_t max_waiting = 4096;       // beyond this submit() refuses with kExhausted
  int64_t kv_pages = 0;            // 0: as many as max_sequences full contexts need, or what the
                                   // ledger has left, whichever is less
  bool prefix_cache = true;
  // Keys and values in this type; none: what the model takes (default_kv_type()).
  std::optional<tensor::KvType> kv = std::nullopt;
  // Tokens do not depend on it, the number of steps does.
  Speculate speculate = Speculate::kAuto;
};

// Work that fills the time foreground requests leave: the trainer's slices, evaluation.
class Background {
 public:
  virtual ~Background() = default;
  // Does a short piece of work on the engine's thread. False when there is none.
  virtual bool run_slice() = 0;
};

class Adapters;

class Engine {
 public:
  static Result<std::unique_ptr<Engine>> create(std::shared_ptr<const Snapshot> snapshot,
                                                const EngineOptions& options, ByteLedger& ledger,
                                                tensor::ThreadPool& pool, const Clock& clock,
                                                Metrics& metrics);
  ~Engine();

  // Fails kInvalid (empty prompt, id outside the vocabulary, prompt + 1 beyond the context: nothing
  // is truncated), kExhausted (queue full, or more pages than the whole cache has).
  Result<RequestId> submit(Request request);
  // Threads: any. The request ends as kCancelled at the next step.
  void cancel(RequestId id);

  bool idle() const;             // nothing running or waiting
  uint64_t steps() const;        // steps run so far
  size_t running() const;
  size_t waiting() const;

  // Called for each new piece of text of a generating request, in step order. Optional.
  using OnText = std::function<void(RequestId, std::string_view piece)>;
  void on_text(OnText callback);

  // Runs one step and returns what finished in it, in order of submission. Cheap when idle.
  std::vector<Output> step();

  // Asked for one slice at the end of every step in which no foreground request was there.
  // Borrowed; null: none.
  void set_background(Background* background);

  const Snapshot& snapshot() const;
  // PEFT adapters over the model, added and removed while requests run. Threads: the owner.
  Adapters& adapters();
  // For tests: walks the book of key/value pages; "" or what is wrong with it.
  std::string problem() const;

 private:
  Engine();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace colony::engine
