#include "app/session.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <map>
#include <mutex>
#include <stop_token>
#include <thread>

#include "app/console.h"
#include "base/file.h"
#include "net/hub.h"
#include "tensor/cpu.h"

namespace colony::app {

engine::SamplingParams SamplingOptions::params() const {
  engine::SamplingParams p;
  p.greedy = true;
  over(p);
  p.seed = seed;
  p.max_tokens = max_tokens;
  p.logprobs = logprobs;
  return p;
}

void SamplingOptions::over(engine::SamplingParams& p) const {
  const bool sampling = temperature || top_k || top_p || min_p;
  if (greedy || sampling) p.greedy = greedy || (temperature && *temperature == 0.0);
  if (temperature && *temperature != 0.0) p.temperature = *temperature;
  if (top_k) p.top_k = *top_k;
  if (top_p) p.top_p = *top_p;
  if (min_p) p.min_p = *min_p;
  if (repetition_penalty) p.repetition_penalty = *repetition_penalty;
  if (ignore_eos) p.ignore_eos = true;
  if (!stop.empty()) p.stop = stop;
}

uint64_t machine_memory_bytes() {
  uint64_t bytes = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  for (const char* limit : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    const auto text = read_file(limit, 64);
    if (!text) continue;
    uint64_t value = 0;
    const auto [end, problem] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (problem == std::errc() && value > 0) bytes = std::min(bytes, value);
  }
  return bytes;
}

int machine_threads() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

Result<std::filesystem::path> find_model(const std::string& model) {
  return net::resolve_model(model, net::HubOptions::from_environment());
}

Result<std::filesystem::path> find_adapter(const std::string& adapter) {
  return net::resolve_adapter(adapter, net::HubOptions::from_environment());
}

const model::PackedCache* packed_cache() {
  static const auto cache = []() -> std::optional<model::PackedCache> {
    const auto variable = [](const char* name) {
      const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets variables
      return std::string(value != nullptr ? value : "");
    };
    const std::string own = variable("COLONY_CACHE"), xdg = variable("XDG_CACHE_HOME"), user = variable("HOME");
    if (own == "off") return std::nullopt;
    if (!own.empty()) return model::PackedCache(own);
    if (!xdg.empty()) return model::PackedCache(std::filesystem::path(xdg) / "colony");
    if (!user.empty()) return model::PackedCache(std::filesystem::path(user) / ".cache" / "colony");
    return std::nullopt;
  }();
  return cache ? &*cache : nullptr;
}

std::string Session::weights_hash() const {
  const std::string& hash = snapshot->model->content_hash();
  return adapter ? hash + "+" + adapter->hash : hash;
}

namespace {

// Says on standard error what a start is doing when it takes longer than a second; while this lives.
class SlowStart {
 public:
  explicit SlowStart(std::string line)
      : thread_([line = std::move(line)](const std::stop_token& stop) {
          std::mutex mutex;
          std::condition_variable_any wake;
          std::unique_lock lock(mutex);
          wake.wait_for(lock, stop, std::chrono::seconds(1), [] { return false; });
          if (!stop.stop_requested()) note("{}", line);
        }) {}

 private:
  std::jthread thread_;
};

}  // namespace

Result<std::unique_ptr<Session>> Session::open(const ModelOptions& options) {
  if (options.batch < 1 || options.batch > 512) return invalid("--batch is {}, expected 1 to 512", options.batch);
  if (options.threads < 0 || options.threads > 1024) return invalid("--threads is {}, expected 1 to 1024", options.threads);
  uint64_t memory = machine_memory_bytes() / 10 * 7;
  if (!options.memory.empty()) {
    ASSIGN_OR_RETURN(memory, parse_bytes(options.memory));
  }
  ASSIGN_OR_RETURN(const auto path, find_model(options.model));
  auto session = std::make_unique<Session>(memory, options.threads > 0 ? options.threads : machine_threads());
  const double start = session->clock.seconds();
  const std::string name = options.model.empty() ? path.filename().string() : options.model;
  {
    const SlowStart slow(fmt::format("model {}: loading; at the first start the weights are packed for this processor{} ...", name,
                                     packed_cache() == nullptr ? "" : " and kept in " + packed_cache()->folder().string() + " for the next"));
    ASSIGN_OR_RETURN(session->snapshot, engine::Snapshot::load(path, name, options.dtype, session->ledger, session->pool, packed_cache()));
  }
  engine::EngineOptions engine_options;
  engine_options.max_sequences = options.batch;
  engine_options.max_step_tokens = std::max(512, options.batch);
  if (options.kv == "f32") engine_options.kv = tensor::KvType::kF32;
  if (options.kv == "bf16") engine_options.kv = tensor::KvType::kBf16;
  if (options.kv == "int8") engine_options.kv = tensor::KvType::kInt8;
  engine_options.speculate = options.speculate == "on"    ? engine::Speculate::kOn
                             : options.speculate == "off" ? engine::Speculate::kOff
                                                          : engine::Speculate::kAuto;
  ASSIGN_OR_RETURN(session->engine, engine::Engine::create(session->snapshot, engine_options, session->ledger,
                                                           session->pool, session->clock, session->metrics));
  if (!options.adapter.empty()) {
    ASSIGN_OR_RETURN(const auto folder, find_adapter(options.adapter));
    ASSIGN_OR_RETURN(session->adapter, session->engine->adapters().add(options.adapter, folder));
  }
  note("model {}: {}, {} of weights, {}, {} threads, loaded in {:.1f} s", name,
       tensor::weight_type_name(session->snapshot->model->dtype()),
       format_bytes(session->snapshot->model->weight_bytes()), tensor::isa_name(), session->pool.threads(),
       session->clock.seconds() - start);
  return session;
}

Result<std::shared_ptr<const engine::AdapterInfo>> Session::adapter_of(const Json& line) {
  ASSIGN_OR_RETURN(const auto name, get_string(line, "adapter", "line"));
  if (!name) return adapter;
  if (auto known = engine->adapters().find(*name)) return known;
  const auto folder = find_adapter(*name);
  if (!folder) return Error(folder.error()).in("\"adapter\"");
  auto added = engine->adapters().add(*name, *folder);
  if (!added) return std::move(added).error().in("\"adapter\"");
  return added;
}

int run_all(engine::Engine& engine, size_t count, const std::function<Asked(size_t)>& make,
            const std::function<void(size_t, Result<engine::Output>)>& take) {
  constexpr size_t kWaiting = 64;  // enough that the scheduler always has a choice
  std::map<engine::RequestId, size_t> index_of;
  std::map<size_t, Result<engine::Output>> done;  // not handed over yet
  size_t next = 0, handed = 0;
  bool bad = false;
  const auto finish = [&](size_t index, Result<engine::Output> output) {
    if (!output || output->finish == engine::FinishReason::kError) bad = true;
    done.emplace(index, std::move(output));
    for (auto at = done.begin(); at != done.end() && at->first == handed; at = done.erase(at), ++handed) {
      take(at->first, std::move(at->second));
    }
  };
  while (handed < count) {
    if (interrupted()) {
      for (const auto& [id, index] : index_of) engine.cancel(id);
      while (!engine.idle()) {
        for (auto& output : engine.step()) {
          const size_t index = index_of.at(output.id);
          finish(index, std::move(output));
        }
      }
      return kInterrupted;
    }
    // Outputs wait for the ones before them, so not too many may run ahead.
    while (next < count && engine.waiting() < kWaiting && done.size() < 4096) {
      const size_t index = next++;
      auto request = make(index);
      if (!request) {
        finish(index, std::move(request).error());
        continue;
      }
      auto id = engine.submit(std::move(*request));
      if (!id) {
        finish(index, std::move(id).error());
        continue;
      }
      index_of[*id] = index;
    }
    for (auto& output : engine.step()) {
      const auto at = index_of.find(output.id);
      const size_t index = at->second;
      index_of.erase(at);
      finish(index, std::move(output));
    }
  }
  return bad ? kSomeBad : kDone;
}

}  // namespace colony::app
