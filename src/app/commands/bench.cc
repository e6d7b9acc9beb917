#include "app/commands/bench.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "app/commands/bench_limits.h"
#include "app/commands/bench_ours.h"
#include "app/commands/bench_peers.h"
#include "app/commands/bench_swarm.h"
#include "app/commands/bench_table.h"
#include "app/commands/bench_train.h"
#include "app/console.h"
#include "app/session.h"
#include "base/file.h"
#include "tensor/bench.h"
#include "tensor/cpu.h"

namespace colony::app {
namespace {

namespace fs = std::filesystem;

constexpr int kDecodePrompt = 32, kDecodeSteps = 64;
constexpr int kPrefill = 512;
constexpr int kPrefix = 1000, kSuffix = 16, kPrefixTokens = 64;
constexpr int kFirstPrompt = 16;
constexpr int kAgents = 16, kAgentPrompt = 200;  // the prompts of the bench of memory
constexpr int kRank = 8;
constexpr int kBusyLoops = 2;
constexpr double kWhyBelow = 0.6;  // of the limit

// ---- a run: what is measured, by whom ----

struct Plan {
  Cell cell;
  double work = 1;     // tokens, when the unit is a rate
  int peer_bits = 0;   // only peers with weights of so many bits; 0: all
  std::function<Result<Value>(uint64_t round)> ours;
  std::function<Result<Value>(Peer&, uint64_t round, PeerSide&)> peer;
  std::function<Result<std::string>(double value)> why;  // empty: nothing to say
  std::string absent;  // why it cannot be measured at all
  std::function<void(Cell&, double value)> finish;  // what is known when all rounds are done; may be empty
};

struct Bench {
  const BenchOptions& options;
  int threads;
  ByteLedger ledger;
  tensor::ThreadPool pool;
  std::vector<Plan> plans;
  std::vector<std::unique_ptr<Peer>> peers;

  explicit Bench(const BenchOptions& asked)
      : options(asked), threads(asked.threads > 0 ? asked.threads : machine_threads()),
        ledger(asked.memory_bytes > 0 ? asked.memory_bytes : machine_memory_bytes() / 10 * 7), pool(threads) {}

  bool wanted(const std::string& cell) const {
    return options.cells.empty() || std::find(options.cells.begin(), options.cells.end(), cell) != options.cells.end();
  }
  Result<std::shared_ptr<const engine::Snapshot>> load(const std::string& dtype) {
    return engine::Snapshot::load(options.model, options.model.string(), dtype, ledger, pool, packed_cache());  // as a user has it
  }
  void start_peers(int adapters, const std::function<bool(const PeerKind&)>& which);
  Status run();
};

void Bench::start_peers(int adapters, const std::function<bool(const PeerKind&)>& which) {
  const auto places = find_places();
  for (const PeerKind& kind : peer_kinds()) {
    const auto& asked = options.peers;
    if (std::find(asked.begin(), asked.end(), kind.peer) == asked.end() || !which(kind)) continue;
    peers.push_back(std::make_unique<Peer>(kind, places, options.model, threads, adapters));
    if (!peers.back()->missing().empty()) note("bench: {} is missing: {}", kind.name, peers.back()->missing());
  }
}

Status Bench::run() {
  for (const std::string& cell : options.cells) {
    if (std::none_of(plans.begin(), plans.end(), [&](const Plan& plan) { return plan.cell.name == cell; })) {
      std::string there;
      for (const Plan& plan : plans) there += (there.empty() ? "" : ", ") + plan.cell.name;
      return invalid("bench {} has no cell '{}'; there are: {}", options.name, cell, there);
    }
  }
  std::erase_if(plans, [&](const Plan& plan) { return !wanted(plan.cell.name); });
  std::map<const Plan*, Rounds> ours;
  std::map<const Plan*, std::vector<PeerSide>> sides;
  for (const Plan& plan : plans) {
    if (!plan.peer) continue;
    for (const auto& peer : peers) {
      if (plan.peer_bits != 0 && plan.peer_bits != peer->kind().bits) continue;
      sides[&plan].push_back({peer->kind().name, peer->version(), {}, peer->missing(), Json::object()});
    }
  }
  for (int round = 0; round < options.rounds; ++round) {
    for (const Plan& plan : plans) {
      if (!plan.absent.empty()) continue;
      ASSIGN_OR_RETURN(const Value value, plan.ours(static_cast<uint64_t>(round)));
      ours[&plan].push_back(value);
      for (PeerSide& side : sides[&plan]) {
        if (!side.missing.empty()) continue;
        const auto peer = std::find_if(peers.begin(), peers.end(), [&](const auto& one) { return one->kind().name == side.name; });
        auto theirs = plan.peer(**peer, static_cast<uint64_t>(round), side);
        if (theirs) {
          side.rounds.push_back(*theirs);
        } else {
          side.missing = theirs.error().message;
          side.rounds.clear();
        }
      }
    }
  }
  for (Plan& plan : plans) {
    if (!plan.absent.empty()) {
      print_absent(options.name, options.json, plan.cell, plan.absent);
      continue;
    }
    const double value = middle(ours[&plan]);
    if (plan.finish) plan.finish(plan.cell, value);
    const double of_limit = plan.cell.limit <= 0 ? 1 : lower_is_better(plan.cell.unit) ? plan.cell.limit / value : value / plan.cell.limit;
    std::string why;
    if (plan.why && of_limit < kWhyBelow) {
      ASSIGN_OR_RETURN(why, plan.why(value));
    }
    print_cell(options.name, options.json, plan.cell, ours[&plan], sides[&plan], why);
  }
  return {};
}

// ---- plans ----

Json ids_json(const Prompts& prompts) {
  Json all = Json::array();
  for (const auto& prompt : prompts) all.push_back(prompt);
  return all;
}

Result<Value> in_unit(const Result<Sample>& sample, Unit unit, double work) {
  if (!sample) return Error(sample.error());
  return value_of(*sample, unit, work);
}

// Prompts of one cell and round, ours and the peers'.
struct PromptMaker {
  int64_t vocab;
  uint64_t cell;
  Prompt one(uint64_t round, uint64_t index, int tokens) const { return bench_prompt(vocab, cell, round, index, tokens); }
  Prompts many(uint64_t round, int count, int tokens) const {
    Prompts all;
    for (int i = 0; i < count; ++i) all.push_back(one(round, static_cast<uint64_t>(i), tokens));
    return all;
  }
  // `count` prompts with one start.
  Prompts sharing(uint64_t round, int count, int shared, int own) const {
    const Prompt start = one(round, 1000, shared);
    Prompts all = many(round, count, own);
    for (Prompt& prompt : all) prompt.insert(prompt.begin(), start.begin(), start.end());
    return all;
  }
};

std::string dtype_of(const Ours& ours) { return std::string(tensor::weight_type_name(ours.snapshot().model->dtype())); }

Plan plan_prefill(Ours& ours, const Limits& limits, PromptMaker make) {
  const StepShape shape{1, kPrefill, kPrefill, false};
  const StepLimit limit = limits.step(shape);
  Plan plan;
  plan.cell = {"pp512", Unit::kTokensPerSecond, dtype_of(ours), kPrefill / limit.seconds(), limit.bound()};
  plan.work = kPrefill;
  plan.ours = [&ours, make, unit = plan.cell.unit](uint64_t round) {
    return in_unit(ours.prefill(make.one(round, 0, kPrefill), make.one(round, 1, kPrefill)), unit, kPrefill);
  };
  plan.peer = [make, unit = plan.cell.unit](Peer& peer, uint64_t round, PeerSide&) {
    return in_unit(peer.ask({{"do", "prefill"}, {"warm", make.one(round, 0, kPrefill)}, {"prompts", {make.one(round, 1, kPrefill)}}}), unit, kPrefill);
  };
  plan.why = [&limits, shape](double value) { return limits.parts(shape, kPrefill / value); };
  return plan;
}

Json decode_question(const Prompts& prompts) { return {{"do", "decode"}, {"prompts", ids_json(prompts)}, {"steps", kDecodeSteps}}; }

Plan plan_decode(const std::string& name, int count, Ours& ours, const Limits& limits, PromptMaker make, int peer_bits) {
  // The middle step of those measured.
  const StepShape shape{count, 1, kDecodePrompt + kWarmSteps + kDecodeSteps / 2, true};
  const StepLimit limit = limits.step(shape);
  Plan plan;
  plan.cell = {name, Unit::kTokensPerSecond, dtype_of(ours), count / limit.seconds(), limit.bound()};
  plan.work = count * kDecodeSteps;
  plan.peer_bits = peer_bits;
  plan.ours = [&ours, make, count, work = plan.work](uint64_t round) {
    return in_unit(ours.decode(make.many(round, count, kDecodePrompt), kDecodeSteps), Unit::kTokensPerSecond, work);
  };
  plan.peer = [make, count, work = plan.work](Peer& peer, uint64_t round, PeerSide&) {
    return in_unit(peer.ask(decode_question(make.many(round, count, kDecodePrompt))), Unit::kTokensPerSecond, work);
  };
  plan.why = [&limits, shape, count](double value) { return limits.parts(shape, count / value); };
  return plan;
}

Plan plan_prefix(Ours& ours, const Limits& limits, PromptMaker make) {
  // The shared start in steps of 512 rows, the own ends in one, then a step a token.
  const auto many = limits.step({kAgents, 1, kPrefix + kSuffix + kPrefixTokens / 2, true});
  const double reading = limits.step({1, 512, 512, false}).seconds() + limits.step({1, kPrefix - 512, kPrefix, false}).seconds() +
                         limits.step({kAgents, kSuffix, kPrefix + kSuffix, false}).seconds();
  Plan plan;
  plan.cell = {"prefix x16", Unit::kSeconds, dtype_of(ours), reading + (kPrefixTokens - 1) * many.seconds(), many.bound()};
  const auto readings = std::make_shared<std::vector<double>>();  // a round each
  plan.ours = [&ours, make, readings](uint64_t round) {
    auto value = in_unit(ours.finish(make.one(round, 2000, kPrefill), make.sharing(round, kAgents, kPrefix, kSuffix), kPrefixTokens), Unit::kSeconds, 1);
    readings->push_back(ours.reading_seconds());
    return value;
  };
  plan.peer = [make](Peer& peer, uint64_t round, PeerSide&) {
    return in_unit(peer.ask({{"do", "finish"}, {"warm", make.one(round, 2000, kPrefill)}, {"prompts", ids_json(make.sharing(round, kAgents, kPrefix, kSuffix))},
                             {"tokens", kPrefixTokens}, {"shared", kPrefix}}),
                   Unit::kSeconds, 1);
  };
  plan.why = [&limits, reading, readings](double value) -> Result<std::string> {
    const double read = median(*readings);
    ASSIGN_OR_RETURN(const auto step, limits.parts({kAgents, 1, kPrefix + kSuffix + kPrefixTokens / 2, true},
                                                   std::max(0.0, value - read) / (kPrefixTokens - 1)));
    return fmt::format("reading the prompts takes {:.2f} s of these, at {:.0f} % of its limit; then {}", read, 100 * reading / std::max(read, 1e-9), step);
  };
  return plan;
}

// From the start of the process: our own program, as a user runs it.
Result<Value> first_token(const BenchOptions& options, const fs::path& program, const std::string& dtype, int threads, const Prompt& prompt) {
  const fs::path file = fs::temp_directory_path() / fmt::format("colony-bench-{}.jsonl", ::getpid());
  RETURN_IF_ERROR(write_file(file, to_line({{"ids", prompt}}) + "\n"));
  const SystemClock clock;
  const double start = clock.seconds();
  auto child = Child::start({program.string(), "generate", file.string(), "--json", "--model", options.model.string(), "--dtype", dtype,
                             "--threads", std::to_string(threads), "--max-tokens", "1", "--ignore-eos"});
  if (!child) return Error(child.error());
  const auto line = child->read_line(600);
  const double wall = clock.seconds() - start;
  const double cpu = child->finish();
  std::error_code ignored;
  fs::remove(file, ignored);
  if (!line) return Error(line.error());
  ASSIGN_OR_RETURN(const Json answer, parse_json(*line));
  if (!answer.contains("ids") || answer["ids"].size() != 1) return corrupt("generate answered {}", *line);
  return Value{1000 * wall, 1000 * cpu};
}

Plan plan_first(const BenchOptions& options, Ours& ours, int threads, PromptMaker make, const tensor::MachineLimits& machine) {
  // The kept packed weights are read once; loading ours has kept them.
  const auto bytes = static_cast<double>(ours.snapshot().model->weight_bytes());
  Plan plan;
  plan.cell = {"ttft", Unit::kMilliseconds, dtype_of(ours), 1000 * bytes / (1e9 * machine.read_gb_per_s), "memory"};
  plan.ours = [&options, dtype = plan.cell.dtype, threads, make](uint64_t round) -> Result<Value> {
    ASSIGN_OR_RETURN(const BenchPlaces places, find_places());
    return first_token(options, places.program, dtype, threads, make.one(round, 0, kFirstPrompt));
  };
  plan.peer = [make](Peer& peer, uint64_t round, PeerSide& side) -> Result<Value> {
    ASSIGN_OR_RETURN(const auto first, peer.first_token(make.one(round, 0, kFirstPrompt)));
    // The better one for the peer: without the interpreter's start and its imports.
    side.more["with_imports"] = side.rounds.empty() ? 1000 * first.whole : std::min(side.more["with_imports"].get<double>(), 1000 * first.whole);
    return Value{1000 * first.without_imports, 1000 * first.cpu};
  };
  plan.why = [](double) -> Result<std::string> {
    return std::string(packed_cache() ? "the tokenizer is made at every start, beside it the kept weights are mapped; then the prompt is computed"
                                      : "nothing is kept (COLONY_CACHE=off): the weights are packed at every start");
  };
  return plan;
}

Plan plan_busy(Ours& ours, int threads, PromptMaker make) {
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  Plan plan;
  plan.cell = {"busy x16", Unit::kShare, dtype_of(ours),
               std::min(1.0, static_cast<double>(cores) / (threads + kBusyLoops)) / std::min(1.0, static_cast<double>(cores) / threads),
               "the fair share of the cores beside two busy loops"};
  const auto share = [](const std::function<Result<Sample>()>& once) -> Result<Value> {
    ASSIGN_OR_RETURN(const Sample quiet, once());
    const BusyLoops loops(kBusyLoops);
    ASSIGN_OR_RETURN(const Sample busy, once());
    return Value{quiet.wall / busy.wall, 0};
  };
  plan.ours = [&ours, make, share](uint64_t round) {
    return share([&] { return ours.decode(make.many(round, kAgents, kDecodePrompt), kDecodeSteps); });
  };
  plan.peer = [make, share](Peer& peer, uint64_t round, PeerSide&) {
    return share([&] { return peer.ask(decode_question(make.many(round, kAgents, kDecodePrompt))); });
  };
  return plan;
}

void say_machine(const Bench& bench, const tensor::MachineLimits& machine, const Ours& ours, const Limits& limits) {
  note("bench {}: {}, {}, {} threads, {}; {}; reads {:.1f} GB/s, products at most {:.0f} GOP/s", bench.options.name,
       bench.options.model.filename().string(), dtype_of(ours), bench.threads, tensor::cpu().model, tensor::isa_name(), machine.read_gb_per_s,
       limits.product_gop_per_s());
}

bool trains(const PeerKind& kind) { return kind.peer == "peft"; }
bool serves(const PeerKind& kind) { return !trains(kind); }

// ---- the benches ----

Status bench_engine(const BenchOptions& options) {
  Bench bench(options);
  ASSIGN_OR_RETURN(const auto snapshot, bench.load(options.dtype));
  const tensor::MachineLimits machine = tensor::measure_limits(bench.pool, SystemClock());
  const Limits limits(*snapshot->model, machine, bench.ledger, bench.pool);
  Ours ours(snapshot, options.kv, bench.ledger, bench.pool);
  say_machine(bench, machine, ours, limits);
  const int64_t vocab = snapshot->model->config().vocab_size;

  // One sequence at 8 and at 4 bits, whatever the others run at.
  struct OneSequence {
    std::string dtype;
    int bits;
    std::unique_ptr<Ours> own;
    std::unique_ptr<Limits> own_limits;
  };
  std::vector<OneSequence> ones;
  ones.push_back({"int8", 8, nullptr, nullptr});
  ones.push_back({"int4", 4, nullptr, nullptr});
  uint64_t cell = 0;
  bench.plans.push_back(plan_prefill(ours, limits, {vocab, ++cell}));
  for (OneSequence& one : ones) {
    const std::string name = "tg x1 " + one.dtype;
    ++cell;
    if (dtype_of(ours) == one.dtype) {
      bench.plans.push_back(plan_decode(name, 1, ours, limits, {vocab, cell}, one.bits));
      continue;
    }
    const auto other = bench.wanted(name) ? bench.load(one.dtype) : Result<std::shared_ptr<const engine::Snapshot>>(invalid("not asked for"));
    if (!other) {
      Plan plan;
      plan.cell = {name, Unit::kTokensPerSecond, one.dtype, 0, ""};
      plan.absent = other.error().message;
      bench.plans.push_back(std::move(plan));
      continue;
    }
    one.own = std::make_unique<Ours>(*other, options.kv, bench.ledger, bench.pool);
    one.own_limits = std::make_unique<Limits>(*(*other)->model, machine, bench.ledger, bench.pool);
    bench.plans.push_back(plan_decode(name, 1, *one.own, *one.own_limits, {vocab, cell}, one.bits));
  }
  for (const int count : {4, 16, 32}) {
    bench.plans.push_back(plan_decode(fmt::format("tg x{}", count), count, ours, limits, {vocab, ++cell}, 0));
  }
  bench.plans.push_back(plan_prefix(ours, limits, {vocab, ++cell}));
  bench.plans.push_back(plan_first(options, ours, bench.threads, {vocab, ++cell}, machine));
  bench.plans.push_back(plan_busy(ours, bench.threads, {vocab, ++cell}));
  bench.start_peers(0, serves);
  return bench.run();
}

// 16 random PEFT folders for this model, made when they are not there.
Result<Folders> make_adapters(const model::ModelConfig& c) {
  ASSIGN_OR_RETURN(const BenchPlaces places, find_places());
  const fs::path out = places.build / "bench-models" / fmt::format("adapters-r{}-{}x{}x{}", kRank, c.num_hidden_layers, c.hidden_size, c.intermediate_size);
  const auto word = [](auto number) { return std::to_string(number); };
  ASSIGN_OR_RETURN(Child maker, Child::start({"python3", (places.tools / "make_bench_adapters.py").string(), "peft", "--out", out.string(),
                                              "--count", word(kAgents), "--rank", word(kRank), "--layers", word(c.num_hidden_layers),
                                              "--hidden", word(c.hidden_size), "--intermediate", word(c.intermediate_size),
                                              "--heads", word(c.num_attention_heads), "--kv-heads", word(c.num_key_value_heads),
                                              "--head-dim", word(c.head_dim)}));
  if (const auto made = maker.read_all(); !made) return unavailable("tools/make_bench_adapters.py: {}", made.error().message);
  Folders folders;
  for (int i = 0; i < kAgents; ++i) folders.push_back(out / fmt::format("adapter-{}", i));
  return folders;
}

Status bench_adapters(const BenchOptions& options) {
  Bench bench(options);
  ASSIGN_OR_RETURN(const auto snapshot, bench.load(options.dtype));
  const tensor::MachineLimits machine = tensor::measure_limits(bench.pool, SystemClock());
  const Limits limits(*snapshot->model, machine, bench.ledger, bench.pool);
  Ours ours(snapshot, options.kv, bench.ledger, bench.pool);
  say_machine(bench, machine, ours, limits);
  const model::ModelConfig& c = snapshot->model->config();
  ASSIGN_OR_RETURN(const Folders folders, make_adapters(c));

  Plan none = plan_decode("tg x16 none", kAgents, ours, limits, {c.vocab_size, 1}, 0);
  Plan with = plan_decode("tg x16 adapters", kAgents, ours, limits, {c.vocab_size, 1}, 0);
  // Beside the base: every adapter read once (in bf16 at least, whatever it is kept in), a row's share of multiply-adds.
  const int64_t q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  const auto parameters = static_cast<double>(
      kRank * c.num_hidden_layers * (2 * (c.hidden_size + q) + 2 * (c.hidden_size + kv) + 3 * (c.hidden_size + c.intermediate_size)));
  const StepLimit limit = limits.step({kAgents, 1, kDecodePrompt + kWarmSteps + kDecodeSteps / 2, true}, kAgents * 2 * parameters, kAgents * 2 * parameters);
  with.cell.limit = kAgents / limit.seconds();
  with.cell.bound = limit.bound();
  const PromptMaker make{c.vocab_size, 1};
  with.ours = [&ours, make, folders, work = with.work](uint64_t round) {
    return in_unit(ours.decode(make.many(round, kAgents, kDecodePrompt), kDecodeSteps, folders), Unit::kTokensPerSecond, work);
  };
  with.peer = [make, folders, work = with.work](Peer& peer, uint64_t round, PeerSide&) {
    Json question = decode_question(make.many(round, kAgents, kDecodePrompt));
    for (const fs::path& folder : folders) question["adapters"].push_back(folder.string());
    return in_unit(peer.ask(question), Unit::kTokensPerSecond, work);
  };
  double without = 0;
  none.finish = [&without](Cell&, double value) { without = value; };
  with.finish = [&without](Cell& cell, double value) {
    if (without > 0) cell.more["of_none"] = value / without;
  };
  // What was found about the parts is the base model's; the adapters' own is what is left.
  with.why = [why = with.why, &without](double value) -> Result<std::string> {
    ASSIGN_OR_RETURN(const auto base, why(value));
    return without > 0 ? fmt::format("the adapters take {:.0f} % of a step; of the base's, {}", 100 * (1 - value / without), base) : base;
  };
  bench.plans.push_back(std::move(none));
  bench.plans.push_back(std::move(with));
  bench.start_peers(kAgents, serves);
  for (const auto& peer : bench.peers) {
    if (peer->kind().peer == "llama.cpp" && peer->missing().empty()) {
      ASSIGN_OR_RETURN(const BenchPlaces places, find_places());
      ASSIGN_OR_RETURN(Child maker, Child::start({peer->python(), (places.tools / "make_bench_adapters.py").string(), "gguf", "--out",
                                                  folders[0].parent_path().string(), "--heads", std::to_string(c.num_attention_heads),
                                                  "--kv-heads", std::to_string(c.num_key_value_heads), "--arch", "llama"}));
      if (const auto made = maker.read_all(); !made) note("bench: no GGUF adapters: {}", made.error().message);
      break;
    }
  }
  return bench.run();
}

Status bench_memory(const BenchOptions& options) {
  Bench bench(options);
  ASSIGN_OR_RETURN(const auto snapshot, bench.load(options.dtype));
  Ours ours(snapshot, options.kv, bench.ledger, bench.pool);
  const PromptMaker make{snapshot->model->config().vocab_size, 1};
  Plan plan;
  plan.cell = {"memory x16", Unit::kMebibytes, dtype_of(ours), 0, "the ledger's peak + 64 MiB", true};
  // The peak of the process never falls: one round says it all.
  ASSIGN_OR_RETURN(const Folders folders, make_adapters(snapshot->model->config()));
  ASSIGN_OR_RETURN([[maybe_unused]] const Sample sample,
                   ours.finish(make.one(0, 100, 8), make.many(0, kAgents, kAgentPrompt), kDecodeSteps, folders));
  plan.cell.limit = static_cast<double>(bench.ledger.peak()) / (1 << 20) + 64;
  for (const auto& [owner, bytes] : bench.ledger.owners()) plan.cell.more["ledger"][owner] = bytes;
  plan.ours = [](uint64_t) -> Result<Value> { return Value{static_cast<double>(peak_resident_bytes()) / (1 << 20), 0}; };
  bench.plans.push_back(std::move(plan));
  return bench.run();
}

// An update is timed after another one. The loss sees the last tokens of each sequence only, as when answers are
// learnt; the tokens are random.
Status bench_train(const BenchOptions& options) {
  Bench bench(options);
  const tensor::MachineLimits machine = tensor::measure_limits(bench.pool, SystemClock());
  const auto dtype = options.dtype == "f32" ? tensor::WeightType::kF32 : tensor::WeightType::kBf16;
  if (options.dtype != "auto" && options.dtype != "f32" && options.dtype != "bf16") return invalid("--dtype is {}; training is in f32 or bf16", options.dtype);
  ASSIGN_OR_RETURN(const auto ours, OursTrain::open(options.model, dtype, kRank, bench.ledger, bench.pool));
  const std::string type(tensor::weight_type_name(dtype));
  note("bench train: {}, {}, {} threads, {}, {}; multiply-adds at most {:.0f} GOP/s in f32, {:.0f} in bf16", options.model.filename().string(), type, bench.threads,
       tensor::cpu().model, tensor::isa_name(), machine.f32_gop_per_s, machine.bf16_gop_per_s);
  uint64_t cell = 100;
  for (const auto& one : {std::pair{"lora r8", TrainShape{16, 64, 8}}, std::pair{"lora r8 x256", TrainShape{4, 256, 8}}}) {
    const char* name = one.first;
    const TrainShape shape = one.second;
    Plan plan;
    plan.cell = {name, Unit::kTokensPerSecond, type, ours->limit(shape, machine), "products"};
    plan.work = shape.work();
    const PromptMaker make{ours->config().vocab_size, ++cell};
    plan.ours = [&ours, make, shape, work = plan.work](uint64_t round) {
      return in_unit(ours->step(make.many(2 * round, shape.examples, shape.tokens), make.many(2 * round + 1, shape.examples, shape.tokens), shape),
                     Unit::kTokensPerSecond, work);
    };
    plan.peer = [make, shape, work = plan.work](Peer& peer, uint64_t round, PeerSide& side) {
      auto value = in_unit(peer.ask({{"do", "train"}, {"dtype", peer.kind().format}, {"warm", ids_json(make.many(2 * round, shape.examples, shape.tokens))},
                                     {"prompts", ids_json(make.many(2 * round + 1, shape.examples, shape.tokens))}, {"targets", shape.targets}, {"rank", kRank}}),
                           Unit::kTokensPerSecond, work);
      side.more["peer_peak_bytes"] = peer.peak_resident_bytes();
      return value;
    };
    plan.finish = [](Cell& own, double) { own.more["peak_bytes"] = peak_resident_bytes(); };
    bench.plans.push_back(std::move(plan));
  }
  bench.start_peers(0, trains);
  return bench.run();
}

// Each bench in a process of its own, so that one's memory is not the other's.
Status bench_all(const BenchOptions& options) {
  ASSIGN_OR_RETURN(const BenchPlaces places, find_places());
  if (!options.cells.empty()) return invalid("--cells goes with one bench, not with all");
  Status failed;
  for (const std::string& name : bench_names()) {
    if (name == "all") continue;
    std::vector<std::string> words{places.program.string(), "bench", name, "--model", options.model.string(), "--dtype", options.dtype,
                                   "--rounds", std::to_string(options.rounds), "--kv", options.kv};
    if (options.threads > 0) words.insert(words.end(), {"--threads", std::to_string(options.threads)});
    if (options.memory_bytes > 0) words.insert(words.end(), {"--memory", std::to_string(options.memory_bytes)});
    if (options.json) words.push_back("--json");
    if (options.peers.empty()) words.push_back("--no-peers");
    if (!options.peers.empty()) {
      words.push_back("--peers");
      words.insert(words.end(), options.peers.begin(), options.peers.end());
    }
    if (!options.json) print_line("-- " + name);
    ASSIGN_OR_RETURN(Child child, Child::start(words));
    const auto said = child.read_all();
    if (!said) {  // the others are still worth their time
      failed = unavailable("bench {}: {}", name, said.error().message);
      continue;
    }
    const std::string& lines = *said;
    for (size_t begin = 0; begin < lines.size();) {
      const size_t end = std::min(lines.find('\n', begin), lines.size());
      print_line(lines.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  return failed;
}

}  // namespace

const std::vector<std::string>& bench_names() {
  static const std::vector<std::string> names{"engine", "adapters", "memory", "train", "swarm", "all"};
  return names;
}

Status run_bench(const BenchOptions& options) {
  for (const std::string& peer : options.peers) {
    const auto& kinds = peer_kinds();
    if (std::none_of(kinds.begin(), kinds.end(), [&](const PeerKind& kind) { return kind.peer == peer; })) {
      return invalid("no peer named '{}'; there are: llama.cpp, openvino, vllm, peft", peer);
    }
  }
  if (options.name == "engine") return bench_engine(options);
  if (options.name == "adapters") return bench_adapters(options);
  if (options.name == "memory") return bench_memory(options);
  if (options.name == "train") return bench_train(options);
  if (options.name == "swarm") return bench_swarm(options);
  if (options.name == "all") return bench_all(options);
  std::string there;
  for (const std::string& name : bench_names()) there += (there.empty() ? "" : ", ") + name;
  return invalid("no bench named '{}'; there are: {}", options.name, there);
}

}  // namespace colony::app
