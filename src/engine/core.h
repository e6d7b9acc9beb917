// The engine without the model's files: requests in, steps, outputs out, over any Runner.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/byte_ledger.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/sync.h"
#include "engine/adapters.h"
#include "engine/choose.h"
#include "engine/engine.h"
#include "engine/runner.h"
#include "engine/scheduler.h"

namespace colony::engine {

// What text needs; tokenizer may be null, then there is none.
struct CoreText {
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::vector<int32_t> eos_ids;
};

// Threads: one owner calls everything but cancel().
class Core {
 public:
  // ledger, pool, clock and metrics are borrowed. Takes the step's buffers from the ledger.
  static Result<std::unique_ptr<Core>> create(const EngineOptions& options,
                                              std::unique_ptr<Runner> runner, CoreText text,
                                              ByteLedger& ledger, tensor::ThreadPool& pool,
                                              const Clock& clock, Metrics& metrics,
                                              std::unique_ptr<Adapters> adapters = nullptr);
  // Bytes of buffers that create() takes beside what the runner expects.
  static uint64_t buffer_bytes(const EngineOptions& options, int64_t hidden, int64_t vocab, int threads);
  // Most rows of a step, and most rows of logits made at once.
  static int64_t step_rows(const EngineOptions& options);
  static int64_t head_rows(const EngineOptions& options);

  Result<RequestId> submit(Request request);
  void cancel(RequestId id) EXCLUDES(cancel_mutex_);
  bool idle() const { return sequences_.empty(); }
  uint64_t steps() const { return steps_; }
  size_t running() const { return scheduler_.running(); }
  size_t waiting() const { return scheduler_.waiting(); }
  void on_text(Engine::OnText callback) { on_text_ = std::move(callback); }
  void set_background(Background* background) { background_ = background; }
  std::vector<Output> step() EXCLUDES(cancel_mutex_);

  Adapters* adapters() { return adapters_.get(); }  // null: requests must not name one
  const BlockPool& blocks() const { return blocks_; }
  const Plan& last_plan() const { return plan_; }  // of the step before; sequences may be gone

 private:
  Core(const EngineOptions& options, std::unique_ptr<Runner> runner, CoreText text,
       ByteLedger& ledger, tensor::ThreadPool& pool, const Clock& clock, Metrics& metrics,
       std::unique_ptr<Adapters> adapters);
  Status check(const Request& request) const;
  void end_cancelled_and_late();
  void run_rows();
  void take_result(const Chunk& chunk, std::span<const float> hidden);
  void take_logits(Sequence& sequence, const Chunk& chunk, std::span<const float> hidden);
  void take_scores(Sequence& sequence, const Chunk& chunk, std::span<const float> hidden);
  void sample();
  // True when the sequence goes on.
  bool take_token(Sequence& sequence, Choice choice);
  void say(Sequence& sequence);
  void finish(Sequence& sequence, FinishReason reason, std::optional<Error> error = std::nullopt);
  const TokenBytes* token_bytes();
  bool is_eos(int32_t id) const;

  const EngineOptions options_;
  const std::unique_ptr<Runner> runner_;
  const CoreText text_;
  const std::unique_ptr<Adapters> adapters_;
  ByteLedger& ledger_;
  tensor::ThreadPool& pool_;
  const Clock& clock_;
  Engine::OnText on_text_;
  Background* background_ = nullptr;

  BlockPool blocks_;
  Scheduler scheduler_;
  std::map<RequestId, std::unique_ptr<Sequence>> sequences_;  // submitted and not finished
  RequestId next_id_ = 1;
  uint64_t steps_ = 0;
  std::vector<Output> outputs_;  // of the step under way

  Mutex cancel_mutex_;
  std::vector<RequestId> cancels_ GUARDED_BY(cancel_mutex_);

  // Of the step under way; kept so that a warm step allocates nothing large.
  Plan plan_;
  std::vector<int32_t> ids_;
  std::vector<tensor::AttentionRow> where_;
  std::vector<int64_t> lengths_;
  std::vector<const model::Adapter*> row_adapters_, sampled_adapters_;  // empty: no row has one
  std::vector<float> hidden_, picked_, logits_;
  // Rows of logits of one sequence: of its last token, then of its drafts.
  struct Sampled {
    Sequence* sequence = nullptr;
    size_t row = 0, drafted = 0;
  };
  bool accept(const Sampled& sampled, size_t depth, int32_t chosen);
  std::vector<Sampled> sampled_;
  std::vector<Choice> choices_;
  std::vector<ChooseScratch> scratches_;  // one a part of the choosing
  std::unique_ptr<TokenBytes> token_bytes_;
  ByteLease buffers_, scratch_;

  Metric &prompt_tokens_, &generated_tokens_, &drafted_tokens_, &accepted_tokens_, &hit_tokens_, &steps_metric_, &preemptions_,
      &running_metric_, &waiting_metric_, &pages_used_, &pages_metric_;
};

}  // namespace colony::engine
