#include "app/commands/train.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <utility>

#include "agent/agent.h"
#include "app/console.h"
#include "app/input_lines.h"
#include "app/session.h"
#include "base/file.h"
#include "base/digest.h"
#include "engine/peft.h"
#include "engine/snapshot.h"
#include "model/gguf.h"
#include "tensor/cpu.h"
#include "train/examples.h"
#include "train/loss_curve.h"

namespace colony::app {
namespace {

namespace fs = std::filesystem;

// "q_proj=4" -> a member of PEFT's rank_pattern.
Result<Json> patterns(const std::vector<std::string>& list, const char* option) {
  Json object = Json::object();
  for (const std::string& entry : list) {
    const size_t at = entry.rfind('=');
    double value = 0;
    if (at != std::string::npos && at > 0) {
      char* end = nullptr;
      value = std::strtod(entry.c_str() + at + 1, &end);
      if (end == entry.c_str() + at + 1 || *end != '\0') value = 0;
    }
    if (!(value > 0)) return invalid("{}: found {}, expected NAME=NUMBER", option, entry);
    if (value == std::floor(value)) object[entry.substr(0, at)] = static_cast<int64_t>(value);
    else object[entry.substr(0, at)] = value;
  }
  return object;
}

Json targets_of(const std::string& targets) {
  if (targets == "all-linear") return Json::array({"down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"});
  if (targets.find_first_of("\\*[]()|^$+?{}") != std::string::npos) return targets;  // a pattern
  Json list = Json::array();
  for (size_t at = 0; at <= targets.size();) {
    const size_t end = std::min(targets.find(',', at), targets.size());
    std::string name = targets.substr(at, end - at);
    std::erase(name, ' ');
    if (!name.empty()) list.push_back(name);
    at = end + 1;
  }
  return list;
}

// Whom the adapter names as its base: of a GGUF file the model it was made of, which is what PEFT can load.
Result<std::string> original_model(const fs::path& path, const std::string& base) {
  if (path.extension() != ".gguf") return base;
  ASSIGN_OR_RETURN(const auto gguf, model::GgufFile::open(path));
  return model::gguf_origin(*gguf).value_or(base);
}

Result<Json> peft_config(const TrainCommand& command, const std::string& base) {
  ASSIGN_OR_RETURN(const Json ranks, patterns(command.rank_pattern, "--rank-pattern"));
  ASSIGN_OR_RETURN(const Json alphas, patterns(command.alpha_pattern, "--alpha-pattern"));
  const double alpha = command.alpha > 0 ? command.alpha : 2 * static_cast<double>(command.rank);
  Json config = {{"alpha_pattern", alphas}, {"auto_mapping", nullptr}, {"base_model_name_or_path", base}, {"bias", "none"},
                 {"exclude_modules", nullptr}, {"fan_in_fan_out", false}, {"inference_mode", true}, {"init_lora_weights", true},
                 {"layers_pattern", nullptr}, {"layers_to_transform", nullptr}, {"lora_alpha", alpha},
                 {"lora_bias", false}, {"lora_dropout", command.loop.dropout}, {"modules_to_save", nullptr}, {"peft_type", "LORA"},
                 {"r", command.rank}, {"rank_pattern", ranks}, {"revision", nullptr}, {"target_modules", targets_of(command.targets)},
                 {"task_type", "CAUSAL_LM"}, {"use_dora", command.dora}, {"use_rslora", command.rslora}};
  if (alpha == std::floor(alpha)) config["lora_alpha"] = static_cast<int64_t>(alpha);
  return config;
}

// What the adapter in command.from is, as the configuration of the one to make; parse_peft() judges the rest.
Result<Json> continued_config(const TrainCommand& command, const std::string& base) {
  const fs::path file = fs::path(command.from) / "adapter_config.json";
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return not_found("--from: {} is no adapter: it holds no adapter_config.json", command.from);
  ASSIGN_OR_RETURN(const auto text, read_file(file, 16 << 20));
  auto config = parse_json(text, {.unique_keys = true});
  if (!config) return corrupt("{}: {}", file.string(), config.error().message);
  if (!config->is_object()) return invalid("{} is {}, expected an object", file.string(), json_kind(*config));
  if (config->contains("lora_bias") && (*config)["lora_bias"] == true) return invalid("{}: \"lora_bias\" is true; biases of adapters cannot be trained", file.string());
  // Written as a path here and a hub's name there, so only a word of warning; the weights' file may know the base's hash.
  const auto own = get_string(*config, "base_model_name_or_path", file.string());
  if (own && *own && fs::path(**own).filename() != fs::path(base).filename()) note("--from: the adapter was made for {}, this base is {}", **own, base);
  (*config)["base_model_name_or_path"] = base;
  (*config)["revision"] = nullptr;
  (*config)["inference_mode"] = true;
  (*config)["lora_dropout"] = command.loop.dropout;
  return *config;
}

// The agent that is to learn: its folder, made when there is none, and its system message.
struct Pupil {
  fs::path folder;
  std::string system;
};
Result<Pupil> find_pupil(const TrainCommand& command) {
  Pupil pupil;
  const std::string& name = command.agent;
  const bool good = !name.empty() && name.size() <= 64 &&
                    std::all_of(name.begin(), name.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'; });
  if (!good) return invalid("--agent: '{}' is no agent's name: 1 to 64 of a-z, 0-9, - and _", name);
  pupil.folder = (command.agents.empty() ? fs::path("agents") : fs::path(command.agents)) / name;
  std::error_code problem;
  if (!fs::exists(pupil.folder, problem)) {
    fs::create_directories(pupil.folder, problem);
    if (problem) return unavailable("{}: {}", pupil.folder.string(), problem.message());
    RETURN_IF_ERROR(write_file(pupil.folder / "agent.toml", fmt::format("name = \"{}\"\ndescription = \"A specialist, trained\"\nrole = \"worker\"\n\n[limits]\nmax_tokens = 256\n", name)));
    RETURN_IF_ERROR(write_file(pupil.folder / "PROMPT.md", ""));
    return pupil;
  }
  ASSIGN_OR_RETURN(const auto spec, agent::load_agent(pupil.folder));
  if (spec.program || !spec.examples.empty()) {
    return invalid("agent {} has {}, which training does not see; train with --out DIR and set \"adapter\" in its agent.toml", name,
                   spec.program ? "a script" : "examples");
  }
  if (!spec.adapter.empty() && spec.adapter != "adapter") return invalid("agent {} has its adapter in {}; training writes to adapter", name, spec.adapter);
  pupil.system = spec.prompt;
  return pupil;
}

Result<train::ExampleFile> read_data(const std::string& file, train::ExampleOptions options, const train::TextSide& text) {
  if (file.ends_with(".tsv")) return invalid("{}: training reads JSON lines, CSV, Parquet and, with --raw, plain text; .tsv files are not supported", file);
  options.format = file.ends_with(".csv") ? train::DataFormat::kCsv : file.ends_with(".txt") ? train::DataFormat::kText : train::DataFormat::kJsonLines;
  if (options.format == train::DataFormat::kText && text.render) return invalid("{}: plain text, an example a line, is learnt as it is: add --raw", file);
  ASSIGN_OR_RETURN(const std::string bytes, file.ends_with(".parquet") ? read_parquet(file, train::kExampleFields) : read_file_or_input(file));
  auto read = train::read_examples(bytes, options, text);
  if (!read) return std::move(read).error().in(file);
  constexpr size_t kShown = 20;
  for (size_t i = 0; i < std::min(kShown, read->problems.size()); ++i) {
    complain(invalid("{}:{}: {}", file, read->problems[i].line, read->problems[i].reason));
  }
  if (read->problems.size() > kShown) complain(invalid("{}: {} more bad lines", file, read->problems.size() - kShown));
  if (read->cut > 0) note("{}: {} examples cut to {} tokens", file, read->cut, options.max_length);
  if (read->dropped > 0) note("{}: {} examples left out as too long", file, read->dropped);
  if (read->duplicates > 0) note("{}: {} lines are copies of earlier ones", file, read->duplicates);
  if (read->examples.empty()) return invalid("{}: no line can be used", file);
  return read;
}

std::string hash_of(const std::vector<train::ReadExample>& examples) {
  Sha256 hash;
  for (const auto& e : examples) {
    hash.update(e.hash);
    hash.update(std::as_bytes(std::span<const uint8_t>(e.example.scored)));
  }
  return hash.hex();
}
std::vector<train::Example> plain(std::vector<train::ReadExample> read) {
  std::vector<train::Example> list;
  for (auto& e : read) list.push_back(std::move(e.example));
  return list;
}

// The metrics of updates that a checkpoint has seen; later ones were lost with the process.
std::vector<Json> read_metrics(const fs::path& file, int64_t step) {
  std::vector<Json> list;
  const auto text = read_file(file);
  if (!text) return list;
  for (size_t at = 0; at < text->size();) {
    const size_t end = std::min(text->find('\n', at), text->size());
    const auto line = parse_json(std::string_view(*text).substr(at, end - at));
    if (line && line->is_object() && line->contains("step") && (*line)["step"].is_number_integer() && (*line)["step"].get<int64_t>() <= step) list.push_back(*line);
    at = end + 1;
  }
  return list;
}

std::string readme(const TrainCommand& command, const std::string& base, const Json& facts) {
  std::string text = fmt::format(
      "---\nbase_model: {}\nlibrary_name: peft\ntags:\n- lora\n- colony\n---\n\n# A LoRA adapter for {}\n\n"
      "Trained by `colony train`. Load it with PEFT (`PeftModel.from_pretrained(base, folder)`) or `colony generate FILE --adapter FOLDER`.\n"
      "Prompts go through the model's chat template{}.\n\n| | |\n|---|---|\n",
      base, base, command.raw ? " (not here: raw prompts)" : "");
  for (const auto& [key, value] : facts.items()) {
    text += fmt::format("| {} | {} |\n", key, value.is_string() ? value.get<std::string>() : to_line(value));
  }
  return text + "\nThe course of the loss: `metrics.jsonl`, `loss.svg`.\n";
}

// ", exact match 0.42 of 50", or nothing.
std::string match_text(const Json& metric) {
  if (!metric.contains("exact_match")) return "";
  return fmt::format(", exact match {:.2f} of {}", metric["exact_match"].get<double>(), metric["answered"].get<int64_t>());
}

const char* end_name(train::TrainEnd end) {
  switch (end) {
    case train::TrainEnd::kDone: return "all steps done";
    case train::TrainEnd::kEarly: return "stopped early: the validation loss no longer fell";
    case train::TrainEnd::kTime: return "the time was over";
    case train::TrainEnd::kStopped: return "interrupted";
  }
  return "";
}

}  // namespace

Result<int> run_train(const TrainCommand& command) {
  if (command.out.empty() == command.agent.empty()) return invalid("give --out DIR or --agent NAME");
  if (command.model.dtype != "auto" && command.model.dtype != "f32" && command.model.dtype != "bf16") {
    return invalid("--dtype is {}; training is in f32 or bf16", command.model.dtype);
  }
  if (!command.model.adapter.empty()) return invalid("--adapter: training goes on from an adapter with --from DIR");
  if (command.dora && command.loop.dropout > 0) return invalid("--dropout together with --dora is not supported");
  const std::string problem = tensor::isa_problem();
  if (!problem.empty()) return invalid("{}", problem);

  Pupil pupil;
  if (!command.agent.empty()) {
    ASSIGN_OR_RETURN(pupil, find_pupil(command));
  }
  const fs::path out = command.agent.empty() ? fs::path(command.out) : pupil.folder / "adapter";
  const fs::path checkpoint = out / "checkpoint.safetensors", metrics_file = out / "metrics.jsonl";
  std::error_code failed;
  const bool has_checkpoint = fs::exists(checkpoint, failed);
  if (command.resume && !has_checkpoint) return not_found("--resume: there is no {}", checkpoint.string());
  if (!command.resume && has_checkpoint) {
    return invalid("{} holds a run that did not end: go on with --resume, or remove {}", out.string(), checkpoint.string());
  }
  if (!command.resume && fs::exists(out / "adapter_config.json", failed)) return invalid("{} holds an adapter already: give another folder, or remove it", out.string());

  SystemClock clock;
  uint64_t memory = machine_memory_bytes() / 10 * 7;
  if (!command.model.memory.empty()) {
    ASSIGN_OR_RETURN(memory, parse_bytes(command.model.memory));
  }
  ByteLedger ledger(memory);
  tensor::ThreadPool pool(command.model.threads > 0 ? command.model.threads : machine_threads());
  ASSIGN_OR_RETURN(const auto path, find_model(command.model.model));
  const std::string base = command.model.model.empty() ? path.filename().string() : command.model.model;

  // The data first: they are quick to fail.
  engine::Snapshot snapshot;  // of the text alone
  snapshot.name = base;
  snapshot.path = path;
  ASSIGN_OR_RETURN(snapshot.text, engine::load_text_side(path));
  if (!snapshot.text.tokenizer) return invalid("{} has no tokenizer, which training needs", base);
  if (!command.raw && !snapshot.text.chat_template) return invalid("{} has no chat template; train on prompts as they are with --raw", base);
  const auto dtype = command.model.dtype == "f32" ? tensor::WeightType::kF32 : tensor::WeightType::kBf16;
  const double begun = clock.seconds();
  ASSIGN_OR_RETURN(const auto network, train::Network::load(path, {dtype}, ledger, pool));
  ASSIGN_OR_RETURN(snapshot.eos_ids, engine::find_eos_ids(path, network->config(), snapshot.text));
  if (snapshot.eos_ids.empty()) return invalid("{} names no end-of-sequence token, which every answer must end with", base);
  note("model {}: {}, {} of weights, {}, {} threads, loaded in {:.1f} s", base, tensor::weight_type_name(dtype), format_bytes(network->weight_bytes()),
       tensor::isa_name(), pool.threads(), clock.seconds() - begun);

  train::TextSide text;
  text.tokenizer = snapshot.text.tokenizer.get();
  text.eos_ids = snapshot.eos_ids;
  const int64_t now = clock.unix_ms();
  if (!command.raw) {
    text.render = [&](const Json& messages, bool add_generation_prompt) -> Result<std::string> {
      if (pupil.system.empty()) return snapshot.render(messages, Json(), add_generation_prompt, now);
      Json all = Json::array({{{"role", "system"}, {"content", pupil.system}}});
      size_t first = 0;
      if (!messages.empty() && messages[0].at("role") == "system") {
        all[0]["content"] = pupil.system + "\n\n" + messages[0].at("content").get<std::string>();
        first = 1;
      }
      for (size_t i = first; i < messages.size(); ++i) all.push_back(messages[i]);
      return snapshot.render(all, Json(), add_generation_prompt, now);
    };
  }
  train::ExampleOptions reading;
  reading.answer_only = command.loss_on == "answer";
  reading.max_length = std::min(command.max_length, network->config().context_length());
  reading.too_long = command.too_long == "drop" ? train::TooLong::kDrop : command.too_long == "cut" ? train::TooLong::kCut : train::TooLong::kRefuse;
  ASSIGN_OR_RETURN(auto data, read_data(command.file, reading, text));
  bool bad = !data.problems.empty();
  std::vector<train::ReadExample> examples, valid;
  if (!command.valid.empty()) {
    ASSIGN_OR_RETURN(auto other, read_data(command.valid, reading, text));
    bad = bad || !other.problems.empty();
    examples = std::move(data.examples);
    valid = std::move(other.examples);
    const auto pairs = train::shared_examples(examples, valid);
    if (!pairs.empty()) {
      return invalid("{} examples stand in both files, so the validation would not tell what is learnt by heart; the first: {}:{} and {}:{}. Remove them from one",
                     pairs.size(), command.file, pairs.front().first, command.valid, pairs.front().second);
    }
  } else {
    std::tie(examples, valid) = train::split_by_content(std::move(data.examples), command.valid_share);
    if (examples.empty()) std::swap(examples, valid);  // very few lines
  }
  if (static_cast<int64_t>(valid.size()) > command.valid_most) {
    note("validation looks at {} of {} examples", command.valid_most, valid.size());
    // Evenly chosen: a file may stand in the order of its labels.
    const size_t all = valid.size(), most = static_cast<size_t>(command.valid_most);
    for (size_t i = 1; i < most; ++i) valid[i] = std::move(valid[i * all / most]);
    valid.resize(most);
  }
  int64_t tokens = 0, targets = 0, longest = 0;
  for (const auto* part : {&examples, &valid}) {
    for (const auto& e : *part) longest = std::max(longest, static_cast<int64_t>(e.example.ids.size()));
  }
  for (const auto& e : examples) {
    tokens += static_cast<int64_t>(e.example.ids.size());
    targets += e.example.targets();
  }
  note("{} examples to learn from ({} tokens, {} of them targets), {} to validate", examples.size(), tokens, targets, valid.size());

  const bool fresh = command.from.empty();
  ASSIGN_OR_RETURN(const std::string original, original_model(path, base));
  ASSIGN_OR_RETURN(const Json config, fresh ? peft_config(command, original) : continued_config(command, original));
  auto spec = engine::parse_peft(config, fresh ? "the options" : (fs::path(command.from) / "adapter_config.json").string(), network->config());
  if (!spec) return std::move(spec).error();
  if (!spec->saved.empty()) return invalid("{}: \"modules_to_save\" holds {}, which cannot be trained", command.from, spec->saved.front());
  if (!spec->modules.empty() && spec->modules.front().dora && command.loop.dropout > 0) return invalid("--dropout together with DoRA is not supported");
  ASSIGN_OR_RETURN(auto lora, train::LoraWeights::create(network->config(), spec->modules, ledger));
  if (fresh) {
    lora.initialise(command.loop.seed);
    network->initialise_magnitudes(lora, pool);
  } else {
    auto read = lora.read(fs::path(command.from) / "adapter_model.safetensors", network->content_hash());
    if (!read) return std::move(read).error().in("--from");
  }
  Sha256 beginning;
  if (!fresh) beginning.update(std::as_bytes(std::span<const float>(lora.values())));
  ASSIGN_OR_RETURN(const auto trainer_lease, ledger.take("trainer", train::trainer_bytes(lora)));
  train::TrainOptions loop = command.loop;
  loop.schedule = command.schedule == "linear" ? train::Schedule::kLinear : command.schedule == "constant" ? train::Schedule::kConstant : train::Schedule::kCosine;
  // Fewer rows at once before activations are computed twice, down to the longest example alone.
  Status room;
  const int64_t most = std::max(loop.chunk_tokens, longest);
  for (const bool recompute : {false, true}) {
    if (command.recompute && !recompute) continue;
    for (int64_t rows = most;; rows = std::max(longest, rows / 2)) {
      room = network->reserve(rows, lora, recompute);
      loop.chunk_tokens = rows;
      if (room || rows == longest || (!recompute && rows <= most / 4)) break;
    }
    if (!room) continue;
    if (loop.chunk_tokens < most) note("{} rows at once instead of {}, since --memory has no room for more", loop.chunk_tokens, most);
    if (recompute && !command.recompute) note("activations are computed again in the backward direction, since --memory has no room to keep them");
    break;
  }
  if (!room) return std::move(room).error();
  note("{} adapted modules, {} numbers to learn", lora.modules().size(), lora.values().size());

  const Json fingerprint = {{"model", network->content_hash()}, {"dtype", tensor::weight_type_name(dtype)}, {"data", hash_of(examples)}, {"validation", hash_of(valid)},
                            {"adapter", sha256_hex(to_line(config))}, {"lr", loop.learning_rate}, {"schedule", command.schedule}, {"warmup", loop.warmup},
                            {"clip", loop.clip}, {"weight decay", loop.adam.weight_decay}, {"epochs", loop.epochs}, {"steps", loop.steps}, {"minutes", loop.minutes},
                            {"batch", loop.batch}, {"grad-accum", loop.accumulate}, {"dropout", loop.dropout}, {"seed", loop.seed}, {"eval-every", loop.eval_every},
                            {"patience", loop.patience}, {"rows at once", loop.chunk_tokens}, {"from", fresh ? "" : beginning.hex()}};
  fs::create_directories(out, failed);
  if (failed) return unavailable("{}: {}", out.string(), failed.message());
  const std::string data_hash = data.content_hash;
  const size_t example_count = examples.size(), valid_count = valid.size();
  train::Trainer trainer(*network, lora, plain(std::move(examples)), plain(std::move(valid)), loop, fingerprint, checkpoint, clock, pool);
  std::vector<Json> metrics;
  if (command.resume) {
    RETURN_IF_ERROR(trainer.resume());
    metrics = read_metrics(metrics_file, trainer.state().step);
    note("resumed after step {} of {}", trainer.state().step, trainer.state().total);
  }
  std::string lines;
  for (const Json& metric : metrics) lines += to_line(metric) + "\n";
  RETURN_IF_ERROR(write_file(metrics_file, lines));
  std::ofstream log(metrics_file, std::ios::app);

  catch_interrupts();
  Progress progress("train", clock);
  train::TrainEvents events;
  events.metric = [&](const Json& metric) {
    metrics.push_back(metric);
    log << to_line(metric) << "\n" << std::flush;
    if (command.json) print_line(to_line(metric));
    if (metric.contains("valid_loss")) {
      progress.clear();
      note("step {}: validation loss {:.4f}{}", metric["step"].get<int64_t>(), metric["valid_loss"].get<double>(), match_text(metric));
      return;
    }
    const auto step = metric["step"].get<int64_t>(), total = metric["total"].get<int64_t>();
    const double seconds = metric["seconds"].get<double>();
    progress.show(step, total, fmt::format("loss {:.4f}, {:.0f} tokens/s, {:.0f} s left", metric["loss"].get<double>(), metric["tokens_per_s"].get<double>(),
                                           seconds / static_cast<double>(step) * static_cast<double>(total - step)));
  };
  events.stop = [] { return interrupted(); };
  bool said = false;
  events.answer = [&](int64_t most_answers) -> std::optional<train::TaskScore> {
    const auto score = train::exact_match(*network, lora, trainer.valid(), most_answers, *text.tokenizer, text.eos_ids, pool);
    if (score) return *score;
    if (!std::exchange(said, true)) note("validation examples are not answered: {}", score.error().message);
    return std::nullopt;
  };
  auto end = trainer.run(events);
  progress.clear();
  if (!end) return std::move(end).error().in(has_checkpoint || fs::exists(checkpoint, failed) ? "training (its last checkpoint is kept)" : "training");
  if (!log) return unavailable("{}: cannot be written (disk full?)", metrics_file.string());
  const train::TrainState& state = trainer.state();
  if (*end == train::TrainEnd::kStopped) {
    note("interrupted after step {} of {}; go on with the same command and --resume", state.step, state.total);
    return kInterrupted;
  }
  trainer.take_best();
  double loss = 0;
  for (const double recent : state.recent) loss += recent / static_cast<double>(state.recent.size());
  train::LossCurve curve;
  for (const Json& metric : metrics) {
    auto& points = metric.contains("valid_loss") ? curve.evaluations : curve.updates;
    points.emplace_back(metric["step"].get<int64_t>(), metric.value(metric.contains("valid_loss") ? "valid_loss" : "loss", 0.0));
  }
  const bool evaluated = state.best_step >= 0;
  Json match;  // of the weights that are written
  for (const Json& metric : metrics) {
    if (metric.contains("exact_match") && metric["step"] == state.best_step) match = metric;
  }
  Json facts = {{"data", fmt::format("{} (SHA-256 `{}`)", command.file == "-" ? "standard input" : fs::path(command.file).filename().string(), data_hash)},
                {"examples", fmt::format("{} to learn from, {} to validate", example_count, valid_count)},
                {"base model hash", network->content_hash()},
                {"steps", fmt::format("{} of {} ({})", state.step, state.total, end_name(*end))},
                {"tokens", state.tokens},
                {"loss of the last updates", fmt::format("{:.4f}", loss)},
                {"validation loss", evaluated ? fmt::format("{:.4f} after step {}, whose weights these are", state.best_loss, state.best_step) : std::string("none")},
                {"exact match by generation", match.is_null() ? std::string("none") : match_text(match).substr(std::string_view(", exact match ").size()) + " validation examples"},
                {"learning rate, schedule, warm-up", fmt::format("{}, {}, {}", loop.learning_rate, command.schedule, loop.warmup)},
                {"batch", fmt::format("{} x {}", loop.batch, loop.accumulate)},
                {"loss on", command.loss_on}, {"weights", tensor::weight_type_name(dtype)}, {"seed", loop.seed},
                {"seconds", fmt::format("{:.1f}", state.seconds)}, {"made by", "colony 0.1.0, " + tensor::isa_name()}};
  if (!fresh) facts["begun from"] = command.from;
  RETURN_IF_ERROR(lora.write(out / "adapter_model.safetensors", network->content_hash()));
  RETURN_IF_ERROR(write_file(out / "README.md", readme(command, original, facts)));
  RETURN_IF_ERROR(write_file(out / "loss.svg", loss_svg(curve, "Loss of " + out.filename().string())));
  RETURN_IF_ERROR(write_file(out / "adapter_config.json", config.dump(2) + "\n"));  // last: with it the folder is an adapter
  fs::remove(checkpoint, failed);

  Json summary = {{"steps", state.step}, {"loss", loss}, {"valid_loss", nullptr}, {"best_step", nullptr}, {"tokens", state.tokens}, {"seconds", state.seconds},
                  {"tokens_per_s", static_cast<double>(state.tokens) / std::max(1e-9, state.seconds)}, {"peak_bytes", peak_resident_bytes()},
                  {"ledger_peak_bytes", ledger.peak()}, {"end", end_name(*end)}, {"out", out.string()}};
  if (evaluated) {
    summary["valid_loss"] = state.best_loss;
    summary["best_step"] = state.best_step;
    summary["exact_match"] = match.is_null() ? Json() : match["exact_match"];
  }
  if (command.json) {
    print_line(to_line(summary));
  } else {
    std::fputs(table({{"STEPS", "LOSS", "VALIDATION", "TOKENS", "SECONDS", "PEAK"},
                      {std::to_string(state.step), fmt::format("{:.4f}", loss), evaluated ? fmt::format("{:.4f}", state.best_loss) : "-", std::to_string(state.tokens),
                       fmt::format("{:.1f}", state.seconds), format_bytes(peak_resident_bytes())}})
                   .c_str(),
               stdout);
  }
  note("adapter in {}", out.string());
  if (!command.agent.empty()) note("a colony finds it sooner after a test on held-out tasks: colony eval TASKS --agent {} --against OTHER --keep", command.agent);
  return bad ? kSomeBad : kDone;
}

}  // namespace colony::app
