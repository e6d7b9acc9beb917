#include "app/commands/bench.h"

#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "app/session.h"
#include "base/byte_ledger.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/metrics.h"
#include "base/rng.h"
#include "base/stats.h"
#include "engine/engine.h"
#include "tensor/bench.h"
#include "tensor/cpu.h"
#include "tensor/matmul.h"
#include "tensor/thread_pool.h"

namespace colony::app {
namespace {

namespace fs = std::filesystem;
using engine::Engine;
using engine::Request;

// The same numbers stand in tools/bench_peers.py.
constexpr int kDecodeTokens = 64, kDecodePrompt = 32, kPrefill = 512, kPrefix = 512, kSuffix = 16,
              kTtftPrompt = 128;

struct Cell {
  std::string name;   // as printed
  std::string peer_cell;
  std::string unit;
  bool lower_is_better = false;
  std::function<double()> ours;
  double limit = 0;   // 0: none
};

struct PeerFormat {
  std::string format, name;
};

// ---- what this machine can do ----

// Operations a second of our product at 512 rows on the model's largest matrix; best of four.
double product_rate(const model::ModelConfig& config, tensor::WeightType type, tensor::ThreadPool& pool) {
  const int64_t n = 2 * config.intermediate_size, k = config.hidden_size, rows = 512;
  const auto w = tensor::PackedMatrix::pack(
      type, n, k,
      [](int64_t row, std::span<float> out) {
        for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>((static_cast<size_t>(row) * 31 + i * 17) % 97) / 97.0F - 0.5F;
      },
      pool);
  std::vector<float> x(static_cast<size_t>(rows * k), 0.25F), y(static_cast<size_t>(rows * n));
  tensor::MatmulScratch scratch;
  const SystemClock clock;
  double best = 0;
  for (int round = 0; round < 5; ++round) {
    const double start = clock.seconds();
    tensor::matmul({x, rows, y, {}, false}, w, pool, scratch);
    const double rate = 2.0 * static_cast<double>(rows * n * k) / (clock.seconds() - start);
    if (round > 0) best = std::max(best, rate);
  }
  return best;
}

// ---- ours ----

class Ours {
 public:
  Ours(std::shared_ptr<const engine::Snapshot> snapshot, ByteLedger& ledger, tensor::ThreadPool& pool)
      : snapshot_(std::move(snapshot)), ledger_(ledger), pool_(pool) {}

  // Tokens a second, from submission to the first token.
  Result<double> prefill_seconds(int tokens) {
    RETURN_IF_ERROR(open(1, 1024, false));
    RETURN_IF_ERROR(finish({prompt(tokens)}, 1));  // warm
    const double start = clock_.seconds();
    RETURN_IF_ERROR(finish({prompt(tokens)}, 1));
    return clock_.seconds() - start;
  }
  Result<double> decode_rate(int sequences) {
    RETURN_IF_ERROR(open(sequences, 256, false));
    std::vector<engine::RequestId> ids;
    for (int i = 0; i < sequences; ++i) {
      ASSIGN_OR_RETURN(const auto id, submit(prompt(kDecodePrompt), kDecodeTokens + 32));
      ids.push_back(id);
    }
    // Until every prompt is read, and two steps to warm up.
    for (int i = 0; i < 2 + (sequences * kDecodePrompt + 511) / 512; ++i) engine_->step();
    const double start = clock_.seconds();
    for (int i = 0; i < kDecodeTokens; ++i) engine_->step();
    const double seconds = clock_.seconds() - start;
    for (const auto id : ids) engine_->cancel(id);
    for (const engine::Output& output : engine_->step()) {
      if (output.ids.size() <= kDecodeTokens) return corrupt("a sequence was not decoded in every step");
    }
    return sequences * kDecodeTokens / seconds;
  }
  Result<double> prefix_rate(int sequences) {
    RETURN_IF_ERROR(open(sequences, 1024, true));
    RETURN_IF_ERROR(finish({prompt(kPrefill)}, 1));  // warm
    const auto prefix = prompt(kPrefix);
    std::vector<std::vector<int32_t>> prompts;
    for (int i = 0; i < sequences; ++i) {
      prompts.push_back(prefix);
      const auto suffix = prompt(kSuffix);
      prompts.back().insert(prompts.back().end(), suffix.begin(), suffix.end());
    }
    const double start = clock_.seconds();
    RETURN_IF_ERROR(finish(prompts, 1));
    return sequences * (kPrefix + kSuffix) / (clock_.seconds() - start);
  }

 private:
  Status open(int sequences, int tokens, bool prefix_cache) {
    engine_.reset();
    engine::EngineOptions options;
    options.max_sequences = sequences;
    options.kv_pages = static_cast<int64_t>(sequences) * (tokens / tensor::kPageTokens + 1);
    options.prefix_cache = prefix_cache;
    options.speculate = engine::Speculate::kOff;  // the cells count a token a row
    ASSIGN_OR_RETURN(engine_, Engine::create(snapshot_, options, ledger_, pool_, clock_, metrics_));
    return {};
  }
  std::vector<int32_t> prompt(int tokens) {
    std::vector<int32_t> ids;
    RngStream rng(7, ++prompts_, 0, 0);
    for (int i = 0; i < tokens; ++i) {
      ids.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(snapshot_->model->config().vocab_size))));
    }
    return ids;
  }
  Result<engine::RequestId> submit(std::vector<int32_t> ids, int max_tokens) {
    Request request;
    request.prompt_ids = std::move(ids);
    request.sampling.max_tokens = max_tokens;
    request.sampling.ignore_eos = true;
    return engine_->submit(std::move(request));
  }
  Status finish(const std::vector<std::vector<int32_t>>& prompts, int max_tokens) {
    for (const auto& ids : prompts) {
      ASSIGN_OR_RETURN([[maybe_unused]] const auto id, submit(ids, max_tokens));
    }
    size_t ended = 0;
    while (!engine_->idle()) {
      for (const engine::Output& output : engine_->step()) {
        if (output.error) return Error(*output.error);
        ++ended;
      }
    }
    if (ended != prompts.size()) return corrupt("{} of {} requests ended", ended, prompts.size());
    return {};
  }

  const std::shared_ptr<const engine::Snapshot> snapshot_;
  ByteLedger& ledger_;
  tensor::ThreadPool& pool_;
  const SystemClock clock_;
  Metrics metrics_;
  uint64_t prompts_ = 0;
  std::unique_ptr<Engine> engine_;
};

// ---- peers ----

std::string quoted(const std::string& word) {
  std::string out = "'";
  for (const char letter : word) out += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
  return out + "'";
}

// Standard output of a command; what it says on standard error goes to ours.
Result<std::string> output_of(const std::vector<std::string>& command) {
  std::string line;
  for (const std::string& word : command) line += (line.empty() ? "" : " ") + quoted(word);
  std::FILE* pipe = ::popen(line.c_str(), "r");
  if (pipe == nullptr) return unavailable("could not start {}", command[0]);
  std::string out;
  char buffer[4096];
  for (size_t got = 0; (got = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) out.append(buffer, got);
  const int status = ::pclose(pipe);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return unavailable("{} {} ended with status {}", command[0], command.size() > 1 ? command[1] : "", WEXITSTATUS(status));
  }
  return out;
}

class Peers {
 public:
  // Finds or makes the interpreter and the requantised files. Fails with the reason why not.
  Status prepare(const fs::path& model) {
    if (model.extension() != ".gguf") return invalid("llama.cpp reads GGUF files, the model is {}", model.string());
    std::error_code ignored;
    const fs::path build = fs::read_symlink("/proc/self/exe", ignored).parent_path().parent_path();
    script_ = build.parent_path() / "tools" / "bench_peers.py";
    if (!fs::exists(script_, ignored)) script_ = fs::path("tools") / "bench_peers.py";
    if (!fs::exists(script_, ignored)) return not_found("tools/bench_peers.py is not beside this build");
    if (const char* set = std::getenv("COLONY_BENCH_PYTHON")) {
      python_ = set;
    } else {
      const fs::path venv = build / "bench-venv";
      python_ = (venv / "bin" / "python").string();
      if (!output_of({python_, "-c", "import llama_cpp"})) {
        std::fprintf(stderr, "bench: installing llama-cpp-python 0.3.36 into %s (compiles, once, some minutes)\n", venv.c_str());
        RETURN_IF_ERROR(outcome(output_of({"python3", "-m", "venv", venv.string()})));
        RETURN_IF_ERROR(outcome(output_of({"env", "CMAKE_ARGS=-DGGML_NATIVE=ON", python_, "-m", "pip", "install",
                                           "--quiet", "llama-cpp-python==0.3.36"})));
      }
    }
    const fs::path folder = build / "bench-models";
    fs::create_directories(folder, ignored);
    for (const PeerFormat& peer : formats()) {
      const fs::path out = folder / (model.stem().string() + "." + peer.format + ".gguf");
      RETURN_IF_ERROR(outcome(output_of({python_, script_.string(), "prepare", "--source", model.string(), "--out",
                                         out.string(), "--format", peer.format})));
      files_[peer.format] = out;
    }
    return {};
  }
  // One round of `cells`: peer cell -> value.
  Result<std::map<std::string, double>> round(const std::string& format, const std::string& cells, int threads, int seed) {
    ASSIGN_OR_RETURN(const std::string out,
                     output_of({python_, script_.string(), "round", "--model", files_.at(format).string(), "--threads",
                                std::to_string(threads), "--cells", cells, "--seed", std::to_string(seed)}));
    std::map<std::string, double> values;
    for (size_t begin = 0; begin < out.size();) {
      const size_t end = std::min(out.find('\n', begin), out.size());
      ASSIGN_OR_RETURN(const Json line, parse_json(std::string_view(out).substr(begin, end - begin)));
      ASSIGN_OR_RETURN(const auto cell, get_string(line, "cell", "bench_peers.py"));
      ASSIGN_OR_RETURN(const auto value, get_number(line, "value", "bench_peers.py"));
      if (!cell || !value) return corrupt("bench_peers.py gave a line without cell or value");
      values[*cell] = *value;
      begin = end + 1;
    }
    return values;
  }
  static const std::vector<PeerFormat>& formats() {
    static const std::vector<PeerFormat> all{{"q8_0", "llama.cpp Q8_0"}, {"q4_0", "llama.cpp Q4_0"}};
    return all;
  }

 private:
  static Status outcome(const Result<std::string>& result) {
    if (!result) return Error(result.error());
    return {};
  }
  std::string python_;
  fs::path script_;
  std::map<std::string, fs::path> files_;
};

// ---- the table ----

double spread(const std::vector<double>& values) {
  const double middle = median(values);
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return middle > 0 ? (*high - *low) / middle : 0;
}

void print_cell(const BenchOptions& options, const Cell& cell, const std::vector<double>& ours,
                const std::string& peer_name, const std::vector<double>& peer, const std::string& missing) {
  const double value = median(ours);
  if (options.json) {
    Json line = {{"bench", options.name}, {"cell", cell.name}, {"ours", value}};
    if (!peer.empty()) {
      line["peer"] = median(peer);
      line["ratio"] = value / median(peer);
      line["peer_name"] = peer_name;
      line["peer_spread"] = spread(peer);
    } else if (!missing.empty()) {
      line["peer_missing"] = missing;
    }
    if (cell.limit > 0) {
      line["limit"] = cell.limit;
      line["of_limit"] = cell.lower_is_better ? cell.limit / value : value / cell.limit;
    }
    line["unit"] = cell.unit;
    if (cell.lower_is_better) line["better"] = "lower";
    line["spread"] = spread(ours);
    std::printf("%s\n", to_line(line).c_str());
  } else {
    std::string text = fmt::format("{:<12} {:>9.1f} {:<6} ±{:>2.0f} %", cell.name, value, cell.unit, 50 * spread(ours));
    if (cell.limit > 0) {
      text += fmt::format("  {:>3.0f} % of the limit {:.0f}", 100 * (cell.lower_is_better ? cell.limit / value : value / cell.limit), cell.limit);
    }
    if (!peer.empty()) {
      const double ratio = value / median(peer);
      text += fmt::format("  {} {:.1f} (ours × {:.2f})", peer_name, median(peer), ratio);
    } else if (!missing.empty()) {
      text += "  no peer: " + missing;
    }
    std::printf("%s\n", text.c_str());
  }
  std::fflush(stdout);
}

}  // namespace

Status run_bench(const BenchOptions& options) {
  if (options.name != "engine") return invalid("no bench named '{}'; there is: engine", options.name);
  const int threads = options.threads > 0 ? options.threads : machine_threads();
  ByteLedger ledger(options.memory_bytes > 0 ? options.memory_bytes : machine_memory_bytes() / 10 * 7);
  tensor::ThreadPool pool(threads);
  ASSIGN_OR_RETURN(const auto snapshot,
                   engine::Snapshot::load(options.model, options.model.string(), options.dtype, ledger, pool));
  const model::ModelConfig& config = snapshot->model->config();
  const auto type = snapshot->model->dtype();

  // Roofline: every weight is read once a step, every product done once a row.
  const SystemClock clock;
  const double bytes_rate = 1e9 * tensor::measure_limits(pool, clock).read_gb_per_s, ops_rate = product_rate(config, type, pool);
  const auto layer_params = static_cast<double>(
      config.num_hidden_layers *
      (config.hidden_size * (2 * config.num_attention_heads + 2 * config.num_key_value_heads) * config.head_dim +
       3 * config.hidden_size * config.intermediate_size));
  const auto head_params = static_cast<double>(config.vocab_size * config.hidden_size);
  const auto weight_bytes = static_cast<double>(snapshot->model->weight_bytes());
  const auto step_seconds = [&](double rows, double head_rows) {
    return std::max(weight_bytes / bytes_rate, 2 * (rows * layer_params + head_rows * head_params) / ops_rate);
  };

  Ours ours(snapshot, ledger, pool);
  std::optional<Error> failed;
  const auto value_of = [&](const Result<double>& result) {
    if (!result) failed = result.error();
    return result && !failed ? *result : 0.0;
  };
  const std::string int8 = std::string("tg x1 ") + std::string(tensor::weight_type_name(type));
  std::vector<Cell> cells;
  cells.push_back({"pp512", "pp512", "tok/s", false, [&] { return kPrefill / value_of(ours.prefill_seconds(kPrefill)); },
                   kPrefill / step_seconds(kPrefill, 1)});
  for (const int n : {1, 4, 16, 32}) {
    cells.push_back({n == 1 ? int8 : fmt::format("tg x{}", n), fmt::format("tg x{}", n), "tok/s", false,
                     [&, n] { return value_of(ours.decode_rate(n)); }, n / step_seconds(n, n)});
  }
  cells.push_back({"prefix x16", "prefix x16", "tok/s", false, [&] { return value_of(ours.prefix_rate(16)); },
                   16.0 * (kPrefix + kSuffix) / step_seconds(kPrefix + 16 * kSuffix, 16)});
  cells.push_back({"ttft", "ttft", "ms", true, [&] { return 1000 * value_of(ours.prefill_seconds(kTtftPrompt)); },
                   1000 * step_seconds(kTtftPrompt, 1)});

  Peers peers;
  std::string missing;
  if (!options.peers) {
    missing = "not asked for";
  } else if (const Status ready = peers.prepare(options.model); !ready) {
    missing = ready.error().message;
  }
  std::fprintf(stderr, "bench engine: %s, %s, %d threads, %s, reads %.1f GB/s, products %.0f GOP/s%s%s\n",
               options.model.filename().c_str(), std::string(tensor::weight_type_name(type)).c_str(), threads,
               tensor::isa_name().c_str(), bytes_rate / 1e9, ops_rate / 1e9, missing.empty() ? "" : "; no peer: ", missing.c_str());

  std::string peer_cells;
  for (const Cell& cell : cells) peer_cells += (peer_cells.empty() ? "" : ",") + cell.peer_cell;
  std::map<std::string, std::vector<double>> our_values;
  std::map<std::string, std::map<std::string, std::vector<double>>> peer_values;  // format, cell
  for (int round = 0; round < std::max(3, options.rounds); ++round) {
    for (const Cell& cell : cells) {
      const double value = cell.ours();
      if (failed) return *failed;
      our_values[cell.name].push_back(value);
    }
    if (!missing.empty()) continue;
    for (const PeerFormat& peer : Peers::formats()) {
      const auto values = peers.round(peer.format, peer_cells, threads, round);
      if (!values) {
        missing = values.error().message;
        break;
      }
      for (const auto& [cell, value] : *values) peer_values[peer.format][cell].push_back(value);
    }
  }
  for (const Cell& cell : cells) {
    bool printed = false;
    for (const PeerFormat& peer : Peers::formats()) {
      const auto& values = peer_values[peer.format][cell.peer_cell];
      if (values.empty()) continue;
      print_cell(options, cell, our_values[cell.name], peer.name, values, "");
      printed = true;
    }
    if (!printed) print_cell(options, cell, our_values[cell.name], "", {}, missing);
  }
  return {};
}

}  // namespace colony::app
