#include "app/commands/run.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <numeric>
#include <set>

#include "agent/colony.h"
#include "app/commands/agents.h"
#include "app/commands/doctor.h"
#include "app/commands/eval.h"
#include "app/commands/report.h"
#include "app/commands/task_stream.h"
#include "app/commands/tasks.h"
#include "app/console.h"
#include "app/input_lines.h"
#include "app/session.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/rng.h"
#include "net/hub.h"
#include "store/ledger.h"

namespace colony::app {
namespace fs = std::filesystem;
namespace {

// What a run needs to go on, as the ledger keeps it. No prompt is in it.
Json to_json(const RunOptions& o, const CheckedTasks& tasks, const std::string& model_hash) {
  return {{"file", o.file},
          {"content_hash", tasks.file.content_hash},
          {"out", o.out},
          {"agents", o.agents},
          {"only", o.only},
          {"model", o.model.model},
          {"model_hash", model_hash},
          {"dtype", o.model.dtype},
          {"adapter", o.model.adapter},
          {"kv", o.model.kv},
          {"speculate", o.model.speculate},
          {"memory", o.model.memory},
          {"threads", o.model.threads},
          {"batch", o.model.batch},
          {"max_tokens", o.max_tokens},
          {"nodes", o.nodes},
          {"attempts", o.attempts},
          {"full", o.full},
          {"streamed", o.streamed},
          {"seed", o.seed},
          {"shuffle", o.shuffle},
          {"raw", o.raw},
          {"quorum", o.quorum},
          {"no_gossip", !o.gossip},
          {"no_tested", !o.tested},
          {"no_priors", !o.priors},
          {"route", o.route},
          {"half_life", o.half_life_days ? Json(*o.half_life_days) : Json()},
          {"budget_tokens", o.budget_tokens ? Json(*o.budget_tokens) : Json()},
          {"deadline", o.deadline_seconds ? Json(*o.deadline_seconds) : Json()}};
}

// The options of an earlier run; --home, --json, --threads, --deadline, and --out, --memory, --model if said stay this call's.
Result<RunOptions> from_json(const Json& j, const RunOptions& asked) {
  RunOptions o = asked;
  const auto text = [&](const char* key, std::string& into) -> Status {
    ASSIGN_OR_RETURN(const auto value, get_string(j, key, "the run's options"));
    into = value.value_or("");
    return {};
  };
  const auto number = [&](const char* key, auto& into) -> Status {
    ASSIGN_OR_RETURN(const auto value, get_int(j, key, "the run's options"));
    if (value) into = static_cast<std::remove_reference_t<decltype(into)>>(*value);
    return {};
  };
  RETURN_IF_ERROR(text("file", o.file));
  if (asked.out.empty()) RETURN_IF_ERROR(text("out", o.out));  // the deadline is each call's own
  RETURN_IF_ERROR(text("agents", o.agents));
  if (asked.model.model.empty()) RETURN_IF_ERROR(text("model", o.model.model));
  RETURN_IF_ERROR(text("dtype", o.model.dtype));
  RETURN_IF_ERROR(text("kv", o.model.kv));
  RETURN_IF_ERROR(text("speculate", o.model.speculate));
  if (asked.model.adapter.empty()) RETURN_IF_ERROR(text("adapter", o.model.adapter));
  if (asked.model.memory.empty()) RETURN_IF_ERROR(text("memory", o.model.memory));
  RETURN_IF_ERROR(number("batch", o.model.batch));
  RETURN_IF_ERROR(number("max_tokens", o.max_tokens));
  RETURN_IF_ERROR(number("nodes", o.nodes));
  RETURN_IF_ERROR(number("attempts", o.attempts));
  ASSIGN_OR_RETURN(const auto full, get_bool(j, "full", "the run's options"));
  ASSIGN_OR_RETURN(const auto streamed, get_bool(j, "streamed", "the run's options"));
  o.full = full.value_or(false);
  o.streamed = streamed.value_or(false);
  ASSIGN_OR_RETURN(const auto shuffle, get_bool(j, "shuffle", "the run's options"));
  ASSIGN_OR_RETURN(const auto raw, get_bool(j, "raw", "the run's options"));
  o.shuffle = shuffle.value_or(false);
  o.raw = raw.value_or(false);
  ASSIGN_OR_RETURN(const auto quorum, get_bool(j, "quorum", "the run's options"));
  ASSIGN_OR_RETURN(const auto no_gossip, get_bool(j, "no_gossip", "the run's options"));
  ASSIGN_OR_RETURN(const auto no_tested, get_bool(j, "no_tested", "the run's options"));
  o.quorum = quorum.value_or(false);
  o.gossip = !no_gossip.value_or(false);
  o.tested = !no_tested.value_or(false);
  ASSIGN_OR_RETURN(const auto no_priors, get_bool(j, "no_priors", "the run's options"));
  o.priors = !no_priors.value_or(false);
  ASSIGN_OR_RETURN(o.half_life_days, get_number(j, "half_life", "the run's options"));
  if (j.contains("seed") && j["seed"].is_number_unsigned()) o.seed = j["seed"].get<uint64_t>();
  else RETURN_IF_ERROR(number("seed", o.seed));
  if (j.contains("budget_tokens") && j["budget_tokens"].is_number_integer()) o.budget_tokens = j["budget_tokens"].get<uint64_t>();
  for (const auto& [key, into] : {std::pair("only", &o.only), std::pair("route", &o.route)}) {
    into->clear();
    if (!j.contains(key) || !j[key].is_array()) continue;
    for (const auto& name : j[key]) into->push_back(name.is_string() ? name.get<std::string>() : "");
  }
  return o;
}

// "kind=agent" apart, each agent one of the folder's.
Result<std::vector<std::pair<std::string, std::string>>> routes_of(const std::vector<std::string>& words, const agent::AgentDirectory& agents) {
  std::vector<std::pair<std::string, std::string>> routes;
  for (const auto& word : words) {
    const size_t at = word.rfind('=');
    if (at == std::string::npos || at == 0 || at + 1 == word.size()) return invalid("--route: found '{}', expected kind=agent", word);
    routes.emplace_back(word.substr(0, at), word.substr(at + 1));
    const auto& all = agents.agents();
    if (std::any_of(all.begin(), all.end(), [&](const auto& spec) { return spec->name == routes.back().second; })) continue;
    std::string names;
    for (const auto& spec : all) names += (names.empty() ? "" : ", ") + spec->name;
    return invalid("--route {}: found no agent '{}', expected one of: {}", word, routes.back().second, names);
  }
  return routes;
}

// The order in which tasks enter: as in the file, or drawn from the seed.
std::vector<size_t> order_of(size_t tasks, bool shuffle, uint64_t seed) {
  std::vector<size_t> order(tasks);
  std::iota(order.begin(), order.end(), size_t{0});
  if (!shuffle) return order;
  RngStream rng(seed, 0, 0, 100);
  for (size_t i = tasks; i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
  return order;
}

Status write_results(const fs::path& out, const std::vector<std::pair<int64_t, Json>>& results) {
  std::string bytes;
  for (const auto& [index, line] : results) bytes += to_line(line) + "\n";
  std::error_code ignored;
  if (out.has_parent_path()) fs::create_directories(out.parent_path(), ignored);
  return write_file(out, bytes);
}

// Asked before the first task, so that no run's work is lost to a wrong --out.
Status check_out(const fs::path& out, const fs::path& tasks) {
  if (out == "-") return {};
  std::error_code ignored;
  if (fs::equivalent(out, tasks, ignored)) return invalid("--out {}: the results would replace the tasks", out.string());
  if (out.has_parent_path()) fs::create_directories(out.parent_path(), ignored);
  auto status = check_writable(out);
  return status ? status : Status(std::move(status).error().in("--out"));
}

// What is said beside --resume must be what the run was started with; where its results go, the deadline, memory,
// threads and the paths of model and adapter (the contents are compared) may be said anew.
Status same_as_before(const RunOptions& asked, const Json& before) {
  const Json said = to_json(asked, {}, "");
  for (const auto& option : asked.given) {
    std::string key = option.substr(std::min<size_t>(option.size(), 2));
    std::replace(key.begin(), key.end(), '-', '_');
    if (!said.contains(key) || key == "out" || key == "memory" || key == "threads" || key == "model" || key == "adapter" || key == "deadline") continue;
    const Json then = before.value(key, said[key].is_boolean() ? Json(false) : Json());
    std::error_code ignored;
    if (key == "agents" && then.is_string() && fs::equivalent(asked.agents, then.get<std::string>(), ignored)) continue;
    if (said[key] != then) {
      return invalid("{} {}: the run was started with {}; without {} it goes on as it began", option, to_line(said[key]), to_line(then), option);
    }
  }
  return {};
}

constexpr std::chrono::milliseconds kWait{100};  // for the next line of a pipe

// What came through a pipe so far, as the ledger knows it.
Status keep_input(store::Ledger& ledger, const RunOptions& options, store::RunInfo& info, size_t count, const std::string& model_hash) {
  CheckedTasks tasks;
  ASSIGN_OR_RETURN(const std::string bytes, read_file_or_input(options.file));
  tasks.file.content_hash = sha256_hex(bytes);
  info.options = to_json(options, tasks, model_hash);
  info.tasks = static_cast<int64_t>(count);
  return ledger.set_input(info);
}

struct Opened {
  std::unique_ptr<store::Ledger> ledger;
  store::RunInfo info;
  CheckedTasks tasks;
  RunOptions options;
  std::vector<std::pair<int64_t, Json>> before;  // final already
  std::string model_hash;                        // as the ledger has it; "" for a new run
};

// An earlier run: its options, its tasks (the same bytes), what is final.
Result<Opened> reopen(const RunOptions& asked, std::unique_ptr<store::Ledger> ledger) {
  Opened o;
  ASSIGN_OR_RETURN(o.info, ledger->find_run(asked.resume));
  ASSIGN_OR_RETURN(o.options, from_json(o.info.options, asked));
  if (o.options.streamed) {
    ASSIGN_OR_RETURN(const std::string bytes, read_file_or_input(o.options.file));
    ASSIGN_OR_RETURN(o.tasks, checked_tasks_of(bytes, o.options.file));
    if (o.tasks.file.tasks.empty()) return invalid("{} was stopped before its first task came; there is nothing to go on with", o.info.run);
    o.info.tasks = static_cast<int64_t>(o.tasks.file.tasks.size());
  } else {
    ASSIGN_OR_RETURN(o.tasks, read_checked_tasks(o.options.file));
  }
  const std::string& hash = o.tasks.file.content_hash;
  // A stream has a hash from its end on; killed before, what was kept of it is all there is.
  const bool cut = o.options.streamed && o.info.options.value("content_hash", Json()) == "";
  if (!cut && (!o.info.options.contains("content_hash") || o.info.options["content_hash"] != hash)) {
    return invalid("{}: the file is not what {} was started with (SHA-256 {}, expected {}); start a new run", o.options.file,
                   o.info.run, hash.substr(0, 12), to_line(o.info.options.value("content_hash", Json())).substr(1, 12));
  }
  o.model_hash = o.info.options.value("model_hash", std::string());
  ASSIGN_OR_RETURN(o.before, ledger->results(o.info.run));
  o.ledger = std::move(ledger);
  return o;
}

// Result lines on standard output, in the order of the input.
class Printer {
 public:
  void add(int64_t index, std::string line) {
    held_.emplace(index, std::move(line));
    for (auto at = held_.find(next_); at != held_.end() && at->first == next_; at = held_.erase(at), ++next_) print_line(at->second);
  }
  // What is final behind tasks that are not.
  void rest() {
    for (const auto& [index, line] : held_) print_line(line);
    held_.clear();
  }

 private:
  std::map<int64_t, std::string> held_;
  int64_t next_ = 0;
};

std::string describe(const agent::ColonyProgress& p, double seconds) {
  std::string out;
  if (seconds > 0) {
    out = fmt::format("{:.1f} tasks/s  {:.0f} tok/s", static_cast<double>(p.final) / seconds, static_cast<double>(p.tokens) / seconds);
  }
  if (p.scored > 0) out += fmt::format("  success {:.0f} %", 100 * p.score_sum / static_cast<double>(p.scored));
  if (p.failed > 0) out += fmt::format("  {} failed", p.failed);
  return out;
}

}  // namespace

Result<int> run_run(RunOptions options) {
  const fs::path home = find_home(options.home);
  const SystemClock clock;
  const bool resumed = !options.resume.empty();
  if (options.nodes < 1 || options.nodes > 64) return invalid("--nodes is {}, expected 1 to 64", options.nodes);
  if (options.max_tokens < 1) return invalid("--max-tokens is {}, expected 1 or more", options.max_tokens);

  Opened opened;
  std::unique_ptr<TaskStream> stream;  // null: all tasks are there
  if (resumed) {
    ASSIGN_OR_RETURN(auto ledger, store::Ledger::open(home));
    ASSIGN_OR_RETURN(opened, reopen(options, std::move(ledger)));
    if (const auto same = same_as_before(options, opened.info.options); !same) {
      complain(same.error());
      return kUsage;
    }
    options = opened.options;
  } else {
    // Standard input and pipes cannot be read twice: they are kept, so that the run can go on.
    std::error_code problem;
    const auto kind = fs::status(options.file, problem).type();
    if (options.file == "-" || kind == fs::file_type::fifo || kind == fs::file_type::character) {
      const fs::path kept = home / "inputs" / fmt::format("{}-{}.jsonl", clock.unix_ms(), ::getpid());
      if (options.file == "-" && options.out.empty()) options.out = "-";
      ASSIGN_OR_RETURN(stream, TaskStream::open(options.file, kept));
      options.streamed = true;
      options.file = kept.string();
    } else {
      ASSIGN_OR_RETURN(opened.tasks, read_checked_tasks(options.file));
    }
    options.file = fs::absolute(options.file, problem).string();
    if (stream && options.shuffle) {  // an order of all of them
      while (!stream->ended() && !interrupted()) {
        ASSIGN_OR_RETURN(const auto task, stream->next(kWait));
        (void)task;
      }
      ASSIGN_OR_RETURN(const std::string bytes, read_file_or_input(options.file));
      ASSIGN_OR_RETURN(opened.tasks, checked_tasks_of(bytes, options.file));
    }
  }
  if (!options.out.empty()) {
    if (options.out != "-") options.out = fs::absolute(options.out).string();
    if (const auto good = check_out(options.out, options.file); !good) {
      complain(good.error());
      return good.error().code == ErrorCode::kInvalid ? kUsage : kSomeBad;
    }
  }
  ASSIGN_OR_RETURN(const auto agents_folder, find_agents(options.agents));
  ASSIGN_OR_RETURN(auto agents, agent::AgentDirectory::open(agents_folder, options.only));
  const auto routes = routes_of(options.route, agents);
  if (!routes) {
    complain(routes.error());
    return kUsage;
  }
  ASSIGN_OR_RETURN(const auto session, Session::open(options.model));
  const std::string model_hash = session->weights_hash();  // trails belong to what earned them
  if (resumed && opened.model_hash != model_hash) {
    return invalid("{} was run with another model or adapter ({}…, this one is {}…)", opened.info.run, opened.model_hash.substr(0, 12), model_hash.substr(0, 12));
  }
  catch_interrupts();  // from here on there is a run to go on with
  if (!resumed) {
    options.agents = fs::absolute(agents_folder).string();
    if (session->adapter) options.model.adapter = fs::absolute(session->adapter->folder).string();
    ASSIGN_OR_RETURN(opened.ledger, store::Ledger::open(home));
    if (!options.held_out.empty()) {  // before there is a run: what is tested stays tested
      EvalOptions test;
      test.file = options.held_out;
      test.home = options.home;
      test.each = test.keep = true;
      test.raw = options.raw;
      test.sampling.max_tokens = options.max_tokens;
      test.sampling.seed = options.seed;
      if (auto tested = test_new_agents(*session, *opened.ledger, agents.agents(), test); !tested) {
        if (tested.error().code != ErrorCode::kCancelled) return std::move(tested).error().in("--held-out");
        note("{}; what was tested is kept, the same command goes on", tested.error().message);
        return kInterrupted;
      }
    }
    ASSIGN_OR_RETURN(opened.info, opened.ledger->begin_run(to_json(options, opened.tasks, model_hash),
                                                           static_cast<int64_t>(opened.tasks.file.tasks.size()), clock.unix_ms()));
  }
  store::Ledger& ledger = *opened.ledger;
  const std::string& run = opened.info.run;
  const std::string go_on = fmt::format("go on with: colony run --resume {}{}", run, options.home.empty() ? "" : " --home " + options.home);
  const bool print = options.out == "-";
  const fs::path out = options.out.empty() || print ? home / "runs" / run / "results.jsonl" : fs::path(options.out);
  RETURN_IF_ERROR(ledger.remember_agents(agents.agents(), clock.unix_ms()));
  ASSIGN_OR_RETURN(const auto saved, ledger.trails(model_hash, options.nodes));

  size_t count = opened.tasks.file.tasks.size();
  size_t bad_lines = opened.tasks.file.problems.size();
  std::set<int64_t> final_before;
  uint64_t spent = 0;
  for (const auto& [index, line] : opened.before) {
    final_before.insert(index);
    for (const char* key : {"prompt_tokens", "completion_tokens"}) {
      if (line.contains(key) && line[key].is_number_integer()) spent += line[key].get<uint64_t>();
    }
  }
  agent::ColonyOptions colony_options;
  colony_options.find_model = find_model;
  colony_options.hub_cache = net::HubOptions::from_environment().cache;
  colony_options.attempts = options.attempts;
  colony_options.full = options.full;
  colony_options.nodes = options.nodes;
  colony_options.in_flight = options.model.batch;
  colony_options.seed = options.seed;
  colony_options.run_id = opened.info.run_id;
  colony_options.max_tokens = options.max_tokens;
  colony_options.home = home;
  colony_options.raw = options.raw;
  colony_options.adapter = session->adapter;
  colony_options.rules.gossip = options.gossip;
  colony_options.tested = options.tested;
  colony_options.own_test = [&ledger, &model_hash](const agent::AgentSpec& spec) { return ledger.own_test(spec, model_hash); };
  colony_options.rules.priors = options.priors;
  colony_options.routes = *routes;
  if (options.half_life_days) colony_options.rules.half_life_ms = std::max<uint64_t>(1, static_cast<uint64_t>(*options.half_life_days * 24 * 3600 * 1000));
  if (options.quorum) {
    colony_options.rules.quorum.emplace();
    colony_options.rules.quorum_by_spread = true;
  }
  colony_options.metrics = &session->metrics;
  if (options.budget_tokens) {
    colony_options.budget = std::make_shared<Budget>(*options.budget_tokens > spent ? *options.budget_tokens - spent : 0);
  }
  if (options.deadline_seconds) {
    colony_options.deadline = session->clock.now() + std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(*options.deadline_seconds));
  }
  ASSIGN_OR_RETURN(const auto log, ledger.run_log(opened.info));
  auto created = agent::Colony::create(colony_options, *session->engine, agents, *log, session->clock, saved);
  if (!created) {
    if (!resumed) RETURN_IF_ERROR(ledger.drop_run(run));  // it never began
    return std::move(created).error();
  }
  const auto colony = std::move(*created);
  RunTotals totals;
  totals.not_hosted = agents.problems();
  for (auto& [name, reason] : totals.not_hosted) name = fs::path(name).filename().string();
  totals.not_hosted.insert(totals.not_hosted.end(), colony->refused().begin(), colony->refused().end());
  for (const auto& [name, reason] : totals.not_hosted) note("agent {} is not hosted: {}", name, reason);
  const auto order = order_of(count, options.shuffle, options.seed);
  for (size_t i = 0; i < count; ++i) {
    if (final_before.contains(static_cast<int64_t>(i))) continue;
    colony->add(static_cast<int64_t>(i), opened.tasks.file.tasks[order[i]], opened.tasks.checks[order[i]]);
  }
  if (stream && options.shuffle) stream.reset();
  note("{} {}: {}{}, {} agent{}, {} node{}, seed {}", resumed ? "going on with" : "run", run, stream ? std::string("tasks as they come") : fmt::format("{} tasks", count),
       final_before.empty() ? "" : fmt::format(" ({} final already)", final_before.size()), colony->hosted(),
       colony->hosted() == 1 ? "" : "s", options.nodes, options.nodes == 1 ? "" : "s", options.seed);

  Progress progress(run, session->clock);
  Printer printer;
  if (print) {
    for (const auto& [index, line] : opened.before) printer.add(index, to_line(line));
  }
  const double start = session->clock.seconds();
  // Enough ahead that it does not matter to the run how fast they come, as long as they do not run out.
  const int64_t ahead = 2 * options.model.batch + 16;
  const auto waits = [&] { return colony->progress().total - colony->progress().final; };
  while ((!colony->done() || stream) && !interrupted()) {
    while (stream && waits() < ahead && !interrupted()) {
      ASSIGN_OR_RETURN(auto task, stream->next(colony->done() ? kWait : std::chrono::milliseconds(0)));
      if (task) {
        colony->add(static_cast<int64_t>(count++), std::move(task->line), std::move(task->check));
        continue;
      }
      if (stream->ended()) {
        bad_lines = stream->problems();
        stream.reset();
        RETURN_IF_ERROR(keep_input(ledger, options, opened.info, count, model_hash));
      } else if (!colony->done()) {
        break;
      } else if (colony_options.deadline && session->clock.now() >= *colony_options.deadline) {
        break;
      }
    }
    auto rows = colony->step();
    if (!rows) {
      progress.clear();
      note("{} stopped; {}", run, go_on);
      return std::move(rows).error();
    }
    for (const auto& line : colony->news()) {
      progress.clear();
      note("{}", line);
      totals.news.push_back(line);
    }
    if (print && !rows->empty()) {
      progress.clear();
      for (const auto& row : *rows) printer.add(row.index, to_line(row.line));
    }
    const auto& p = colony->progress();
    progress.show(p.final + static_cast<int64_t>(final_before.size()), static_cast<int64_t>(count), describe(p, session->clock.seconds() - start));
    if (p.cut_off > 0 || (colony_options.deadline && session->clock.now() >= *colony_options.deadline && colony->done())) break;
  }
  progress.clear();
  if (!colony->done()) RETURN_IF_ERROR(colony->stop());
  if (stream) {  // what was not read is not part of the run
    bad_lines = stream->problems();
    RETURN_IF_ERROR(keep_input(ledger, options, opened.info, count, model_hash));
  }
  const bool whole = !stream && colony->progress().cut_off == 0;
  if (print) printer.rest();

  if (count == 0 && !interrupted() && !resumed) {
    RETURN_IF_ERROR(ledger.drop_run(run));
    return invalid("no task came that can be run ({} bad lines)", bad_lines);
  }
  ASSIGN_OR_RETURN(const auto results, ledger.results(run));
  totals.run = run;
  totals.ledger = ledger.path().string();
  totals.tasks = static_cast<int64_t>(count);
  totals.nodes = options.nodes;
  totals.seconds = session->clock.seconds() - start;
  totals.tasks_here = colony->progress().final;
  totals.tokens_here = colony->progress().tokens;
  totals.peak_bytes = peak_resident_bytes();
  totals.gossip = {static_cast<uint64_t>(session->metrics.get(metric::kGossip).value()), static_cast<uint64_t>(session->metrics.get(metric::kGossipRecords).value()),
                   static_cast<uint64_t>(session->metrics.get(metric::kGossipBytes).value())};
  const Json summary = make_summary(totals, results);
  for (const auto& [key, name] : {std::pair("task", metric::kDivisionTask), std::pair("individual", metric::kDivisionIndividual)}) {
    session->metrics.get(name).set(summary["division_of_labour"][key].get<double>());
  }
  if (auto written = write_results(out, results); !written) {
    note("{}'s results are in the ledger; {} --out FILE", run, go_on);
    return std::move(written).error();
  }
  if (whole) {
    RETURN_IF_ERROR(ledger.finish_run(run, summary));
    RETURN_IF_ERROR(ledger.add_metrics(run, session->metrics.all()));
  }
  if (pipe_closed()) return kInterrupted;  // nobody reads any more
  if (options.json) {
    print_line(to_line(summary));
  } else {
    std::FILE* to = print ? stderr : stdout;  // standard output has the results
    std::fputs(report(summary).c_str(), to);
    fmt::print(to, "results {}\nledger  {}\n", out.string(), totals.ledger);
    std::fflush(to);
  }
  if (!whole && interrupted()) {
    note("interrupted; {} of {} tasks are unfinished; {}", to_line(summary["unfinished"]), count, go_on);
    return kInterrupted;
  }
  if (!whole) note("the deadline passed; {} of {} tasks are unfinished; {}", to_line(summary["unfinished"]), count, go_on);
  const size_t bad = bad_lines;
  const auto failed = summary["failed"].get<int64_t>();
  if (bad > 0) note("{} line{} of the task file {} left out (named above)", bad, bad == 1 ? "" : "s", bad == 1 ? "was" : "were");
  if (failed > 0) note("{} task{} ended without an answer (\"error\" in the results)", failed, failed == 1 ? "" : "s");
  return bad > 0 || failed > 0 || !whole ? kSomeBad : kDone;
}

}  // namespace colony::app
