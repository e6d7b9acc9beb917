#include "engine/engine.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/core.h"
#include "engine/runner.h"

namespace colony::engine {

struct Engine::State {
  std::shared_ptr<const Snapshot> snapshot;
  std::unique_ptr<Core> core;
};

Engine::Engine() : state_(std::make_unique<State>()) {}
Engine::~Engine() = default;

namespace {

// Pages that all sequences could ever fill, or what the ledger has left, whichever is less. An
// eighth of what is left stays free for what comes later: logits, adapters, the trainer.
Result<int64_t> pages_to_take(const model::ModelConfig& config, tensor::KvType type,
                              const EngineOptions& options, uint64_t scratch, ByteLedger& ledger) {
  if (options.kv_pages < 0) return invalid("kv_pages is {}, expected 0 (automatic) or more", options.kv_pages);
  if (options.kv_pages > 0) return options.kv_pages;
  const int64_t full = options.max_sequences * pages_for(config.context_length());
  const uint64_t used = ledger.used() + scratch;
  const uint64_t left = ledger.ceiling() > used ? (ledger.ceiling() - used) / 8 * 7 : 0;
  const uint64_t page = model::KvCache::page_bytes(config, type);
  const auto pages = static_cast<int64_t>(std::min<uint64_t>(static_cast<uint64_t>(full), left / page));
  if (pages < 1) {
    return exhausted("no room for a single key/value page of {}: {} of {} are taken; raise --memory",
                     format_bytes(page), format_bytes(used), format_bytes(ledger.ceiling()));
  }
  return pages;
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::create(std::shared_ptr<const Snapshot> snapshot,
                                               const EngineOptions& options, ByteLedger& ledger,
                                               tensor::ThreadPool& pool, const Clock& clock,
                                               Metrics& metrics) {
  CHECK(snapshot && snapshot->model, "an engine needs a model");
  if (options.max_sequences < 1) return invalid("max_sequences is {}, expected 1 or more", options.max_sequences);
  if (options.max_step_tokens < 1) return invalid("max_step_tokens is {}, expected 1 or more", options.max_step_tokens);
  const auto& transformer = snapshot->model;
  const model::ModelConfig& config = transformer->config();
  const uint64_t scratch = scratch_estimate(config, Core::step_rows(options), Core::head_rows(options));
  const uint64_t buffers = Core::buffer_bytes(options, config.hidden_size, config.vocab_size, pool.threads());
  const auto type = options.kv.value_or(transformer->default_kv_type());
  ASSIGN_OR_RETURN(const int64_t pages, pages_to_take(config, type, options, scratch + buffers, ledger));
  ASSIGN_OR_RETURN(auto kv, model::KvCache::create(config, type, pages, ledger));
  // With "dynamic" rope a key depends on how long its prompt is: no page fits two prompts.
  EngineOptions own = options;
  if (config.rope.kind == model::RopeConfig::Kind::kDynamic) own.prefix_cache = false;
  auto runner = std::make_unique<ModelRunner>(transformer, std::move(kv), scratch, pool);
  std::unique_ptr<Engine> engine(new Engine());
  ASSIGN_OR_RETURN(engine->state_->core,
                   Core::create(own, std::move(runner), {snapshot->text.tokenizer, snapshot->eos_ids},
                                ledger, pool, clock, metrics,
                                std::make_unique<Adapters>(transformer, ledger, pool, metrics)));
  engine->state_->snapshot = std::move(snapshot);
  return engine;
}

Result<RequestId> Engine::submit(Request request) { return state_->core->submit(std::move(request)); }
void Engine::cancel(RequestId id) { state_->core->cancel(id); }
bool Engine::idle() const { return state_->core->idle(); }
uint64_t Engine::steps() const { return state_->core->steps(); }
size_t Engine::running() const { return state_->core->running(); }
size_t Engine::waiting() const { return state_->core->waiting(); }
void Engine::on_text(OnText callback) { state_->core->on_text(std::move(callback)); }
std::vector<Output> Engine::step() { return state_->core->step(); }
void Engine::set_background(Background* background) { state_->core->set_background(background); }
Adapters& Engine::adapters() { return *state_->core->adapters(); }
std::string Engine::problem() const { return state_->core->blocks().problem(); }
const Snapshot& Engine::snapshot() const { return *state_->snapshot; }

}  // namespace colony::engine
