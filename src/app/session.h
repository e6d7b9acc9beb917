// A model opened for one verb: ledger, threads, weights, and an engine over them.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/options.h"
#include "base/byte_ledger.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/json.h"
#include "engine/adapters.h"
#include "engine/engine.h"
#include "tensor/thread_pool.h"

namespace colony::app {

// Memory this process may use: the machine's, or its control group's limit when that is less.
uint64_t machine_memory_bytes();
int machine_threads();

struct Session {
  ByteLedger ledger;
  tensor::ThreadPool pool;
  SystemClock clock;
  Metrics metrics;
  std::shared_ptr<const engine::Snapshot> snapshot;
  std::unique_ptr<engine::Engine> engine;
  std::shared_ptr<const engine::AdapterInfo> adapter;  // --adapter; null: none

  // The weights that earn trails and tests: the model's content, and that of the adapter that all agents carry.
  std::string weights_hash() const;

  // Loads the model and makes the engine; says on standard error what was loaded and how.
  static Result<std::unique_ptr<Session>> open(const ModelOptions& options);

  // The adapter that an input line names in "adapter", else --adapter's. A folder is read once.
  Result<std::shared_ptr<const engine::AdapterInfo>> adapter_of(const Json& line);

  Session(uint64_t memory, int threads) : ledger(memory), pool(threads) {}
};

// Where packed weights are kept: the folder COLONY_CACHE ("off": null), else colony in $XDG_CACHE_HOME or ~/.cache.
const model::PackedCache* packed_cache();
// The model's folder or file, from what --model says.
Result<std::filesystem::path> find_model(const std::string& model);
// The PEFT folder, from what --adapter says.
Result<std::filesystem::path> find_adapter(const std::string& adapter);

// A request to run, or why there is none.
using Asked = Result<engine::Request>;

// Runs `count` requests, made one by one through `make`, and hands each one's output (or error) to
// `take` in ascending index, as soon as all before it are done. Interrupted: what runs is cancelled
// and kInterrupted returned; else kSomeBad when any failed, or kDone.
int run_all(engine::Engine& engine, size_t count, const std::function<Asked(size_t)>& make,
            const std::function<void(size_t, Result<engine::Output>)>& take);

}  // namespace colony::app
