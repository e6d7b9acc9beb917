#include "app/commands/runs.h"

#include <algorithm>
#include <charconv>

#include "app/commands/doctor.h"
#include "app/commands/report.h"
#include "app/console.h"
#include "app/options.h"
#include "base/digest.h"
#include "base/file.h"
#include "data/task_line.h"
#include "store/ledger.h"

namespace colony::app {
namespace fs = std::filesystem;
namespace {

double number_of(const Json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_number() ? object[key].get<double>() : 0;
}

// The task as its file has it; nothing when the file is gone or another one.
std::optional<data::TaskLine> from_file(const store::RunInfo& info, const std::string& id) {
  const auto text = [&](const char* key) { return info.options.contains(key) && info.options[key].is_string() ? info.options[key].get<std::string>() : ""; };
  const std::string file = text("file");
  const auto bytes = read_file(file, 1ULL << 30);
  if (!bytes || sha256_hex(*bytes) != text("content_hash")) return std::nullopt;
  const bool streamed = info.options.contains("streamed") && info.options["streamed"] == true;
  auto tasks = data::parse_tasks(*bytes, streamed ? fs::path() : fs::path(file).parent_path());
  if (!tasks) return std::nullopt;
  const auto at = std::find_if(tasks->tasks.begin(), tasks->tasks.end(), [&](const auto& task) { return task.id == id; });
  if (at == tasks->tasks.end()) return std::nullopt;
  return std::move(*at);
}

std::string cell(const Json& object, const char* key) {
  if (!object.contains(key) || object[key].is_null()) return "-";
  if (object[key].is_number_float()) return fmt::format("{:.3f}", object[key].get<double>());
  return object[key].is_string() ? object[key].get<std::string>() : to_line(object[key]);
}

void print_story(const Json& s) {
  const auto show = [&](const char* what, const char* key) {
    if (s.contains(key) && !s[key].is_null()) fmt::print("{:<11}{}\n", what, s[key].is_string() ? s[key].get<std::string>() : to_line(s[key]));
  };
  fmt::print("{:<11}{} of {}, kind {}, {}\n", "task", s["id"].get<std::string>(), s["run"].get<std::string>(), s["kind"].get<std::string>(), s["state"].get<std::string>());
  show("prompt", "prompt");
  show("node", "node");
  fmt::print("\n");
  std::vector<std::vector<std::string>> bids{{"BID OF", "BID", "P", "TOKENS"}};
  for (const auto& bid : s["bids"]) bids.push_back({cell(bid, "agent"), cell(bid, "bid"), cell(bid, "p"), cell(bid, "tokens")});
  std::fputs(table(bids).c_str(), stdout);
  fmt::print("{:<11}{}\n\n", "reason", s["reason"].get<std::string>());
  std::vector<std::vector<std::string>> attempts{{"ATTEMPT", "TOKENS", "MS", "ENDED"}};
  for (const auto& one : s["attempts"]) {
    const bool fault = one.contains("error") && (!one.contains("blamed") || one["blamed"] == true);
    attempts.push_back({cell(one, "agent"), cell(one, "tokens"), cell(one, "ms"), !one.contains("error") ? "answered" : fmt::format("{}: {}", fault ? "failed" : "stopped", cell(one, "error"))});
  }
  std::fputs(table(attempts).c_str(), stdout);
  for (const auto& one : s["deposits"]) fmt::print("{:<11}{} {} ({})\n", "deposit", cell(one, "agent"), cell(one, "score"), cell(one, "generation"));
  fmt::print("\n");
  show("agent", "agent");
  show("generation", "generation");
  show("by", "by");
  show("answer", "answer");
  show("expected", "expected");
  show("check", "check");
  show("success", "success");
  show("error", "error");
  const Json& cost = s["cost"];
  fmt::print("{:<11}{} prompt tokens, {} completion tokens, {:.1f} ms\n", "cost", to_line(cost["prompt_tokens"]), to_line(cost["completion_tokens"]), cost["ms"].get<double>());
}

}  // namespace

Result<int> run_runs(const std::string& home, bool json) {
  ASSIGN_OR_RETURN(const auto ledger, store::Ledger::open(find_home(home)));
  ASSIGN_OR_RETURN(const auto runs, ledger->runs());
  std::vector<std::vector<std::string>> rows{{"RUN", "STARTED", "TASKS", "FINAL", "STATE"}};
  for (const auto& r : runs) {
    if (json) {
      print_line(to_line({{"run", r.run}, {"started", r.started}, {"tasks", r.tasks}, {"final", r.final}, {"state", r.state}}));
    } else {
      rows.push_back({r.run, r.started, std::to_string(r.tasks), std::to_string(r.final), r.state});
    }
  }
  if (!json) {
    if (runs.empty()) note("no run yet");
    else std::fputs(table(rows).c_str(), stdout);
  }
  return kDone;
}

Result<int> run_runs_show(const std::string& home, const std::string& run, bool json) {
  ASSIGN_OR_RETURN(const auto ledger, store::Ledger::open(find_home(home)));
  ASSIGN_OR_RETURN(const auto info, ledger->find_run(run));
  ASSIGN_OR_RETURN(const auto results, ledger->results(info.run));
  RunTotals totals;
  totals.run = info.run;
  totals.ledger = ledger->path().string();
  totals.tasks = info.tasks;
  totals.nodes = static_cast<int64_t>(number_of(info.options, "nodes"));
  Json summary = make_summary(totals, results);
  // What the result lines do not tell is the end's, where there was one.
  for (const char* key : {"seconds", "tasks_per_s", "tokens_per_s", "peak_bytes", "not_hosted", "news", "gossip"}) {
    if (info.summary.is_object() && info.summary.contains(key)) summary[key] = info.summary[key];
  }
  summary["state"] = info.state;
  summary["started"] = info.started;
  if (json) {
    print_line(to_line(summary));
    return kDone;
  }
  fmt::print("{}, started {}, {}\n\n", info.run, info.started, info.state);
  std::fputs(report(summary).c_str(), stdout);
  return kDone;
}

Result<int> run_why(const std::string& home, const std::string& run, const std::string& task, bool json) {
  ASSIGN_OR_RETURN(const auto ledger, store::Ledger::open(find_home(home)));
  ASSIGN_OR_RETURN(const auto info, ledger->find_run(run));
  ASSIGN_OR_RETURN(const auto results, ledger->results(info.run));
  auto at = std::find_if(results.begin(), results.end(), [&](const auto& one) { return one.second.contains("id") && one.second["id"] == task; });
  if (at == results.end()) {
    int64_t index = -1;
    const auto [end, problem] = std::from_chars(task.data(), task.data() + task.size(), index);
    if (problem == std::errc() && end == task.data() + task.size()) at = std::find_if(results.begin(), results.end(), [&](const auto& one) { return one.first == index; });
  }
  if (at == results.end()) {
    if (from_file(info, task)) return not_found("{}: task '{}' is not final; go on with: colony run --resume {}", info.run, task, info.run);
    std::vector<std::string> known;
    for (const auto& [index, line] : results) {
      if (line.contains("id") && line["id"].is_string()) known.push_back(line["id"].get<std::string>());
    }
    const std::string near = nearest(task, known);
    return not_found("{}: no final task '{}', neither by id nor by its place from 0 to {}{}", info.run, task, info.tasks - 1, near.empty() ? "" : "; did you mean " + near + "?");
  }
  const auto& [index, line] = *at;
  ASSIGN_OR_RETURN(const auto kept, ledger->story(info.run, index));
  Json story = {{"run", info.run}, {"index", index}};
  for (const char* key : {"id", "kind", "agent", "generation", "bids", "reason", "by", "answer", "success", "finish", "quorum", "error", "node"}) {
    if (line.contains(key)) story[key] = line[key];
  }
  if (!story.contains("bids")) story["bids"] = Json::array();
  const auto file = from_file(info, line.value("id", std::string()));
  story["prompt"] = nullptr;
  if (file) {
    story["prompt"] = file->messages.is_array() ? file->messages : Json(file->prompt);
    if (file->answer) story["expected"] = *file->answer;
    if (!file->check.empty()) story["check"] = file->check;
  }
  story["attempts"] = kept.attempts;
  story["deposits"] = kept.deposits;
  story["cost"] = {{"prompt_tokens", number_of(line, "prompt_tokens")}, {"completion_tokens", number_of(line, "completion_tokens")}, {"ms", number_of(line, "ms")}};
  for (const char* key : {"prompt_tokens", "completion_tokens"}) {
    if (line.contains(key)) story["cost"][key] = line[key];
  }
  story["state"] = line.contains("answer") && !line["answer"].is_null() ? "final" : "failed";
  if (json) print_line(to_line(story));
  else print_story(story);
  if (!file) note("the run's task file is not there any more as it was, so prompt, expected answer and check are not told");
  return kDone;
}

}  // namespace colony::app
