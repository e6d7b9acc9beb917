// Our side of a bench: an engine over one snapshot, opened anew for each piece of work and timed.
#pragma once
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "app/commands/bench_table.h"
#include "base/byte_ledger.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/result.h"
#include "engine/engine.h"
#include "engine/snapshot.h"
#include "tensor/thread_pool.h"

namespace colony::app {

using Prompt = std::vector<int32_t>;
using Prompts = std::vector<Prompt>;
using Folders = std::vector<std::filesystem::path>;

inline constexpr int kWarmSteps = 2;  // as WARM_STEPS in tools/bench_peers.py

// Random ids, the same for the same numbers; ids below 3 (specials in most models) are left out.
Prompt bench_prompt(int64_t vocab, uint64_t cell, uint64_t round, uint64_t index, int tokens);

// Threads: one owner.
class Ours {
 public:
  // ledger and pool are borrowed.
  Ours(std::shared_ptr<const engine::Snapshot> snapshot, const std::string& kv, ByteLedger& ledger, tensor::ThreadPool& pool)
      : snapshot_(std::move(snapshot)), kv_(kv), ledger_(ledger), pool_(pool) {}

  const engine::Snapshot& snapshot() const { return *snapshot_; }

  // From submission to the first token; `warm` is run before.
  Result<Sample> prefill(const Prompt& warm, const Prompt& prompt);
  // `steps` steps of all sequences after the prompts are read, sampling and text included. `adapters`: a PEFT
  // folder for each prompt, or none.
  Result<Sample> decode(const Prompts& prompts, int steps, const Folders& adapters = {});
  // From submission of all to the last token of the last.
  Result<Sample> finish(const Prompt& warm, const Prompts& prompts, int tokens, const Folders& adapters = {});
  // Of that, the part until the last of them had its first token.
  double reading_seconds() const { return reading_s_; }

 private:
  Status open(int sequences, size_t tokens);
  Result<engine::RequestId> submit(const Prompt& prompt, int max_tokens, const std::filesystem::path& adapter = {});
  Status run(const Prompts& prompts, int max_tokens, const Folders& adapters = {});

  const std::shared_ptr<const engine::Snapshot> snapshot_;
  const std::string kv_;
  ByteLedger& ledger_;
  tensor::ThreadPool& pool_;
  const SystemClock clock_;
  Metrics metrics_;
  std::unique_ptr<engine::Engine> engine_;
  double reading_s_ = 0;
};

// A stopwatch over wall and CPU.
class Stopwatch {
 public:
  Stopwatch() : wall_(clock_.seconds()), cpu_(process_cpu_seconds()) {}
  Sample seconds() const { return {clock_.seconds() - wall_, process_cpu_seconds() - cpu_}; }

 private:
  const SystemClock clock_;
  const double wall_, cpu_;
};

}  // namespace colony::app
