#include "app/commands/report.h"

#include <algorithm>
#include <map>
#include <span>

#include "app/console.h"
#include "base/byte_ledger.h"
#include "base/stats.h"
#include "swarm/specialisation.h"

namespace colony::app {
namespace {

struct Tally {
  int64_t tasks = 0;
  std::vector<double> scores;
  uint64_t tokens = 0;
  double ms = 0;
};

void put_success(Json& line, const std::vector<double>& scores) {
  line["success"] = nullptr;
  line["ci95"] = nullptr;
  if (scores.empty()) return;
  const Interval interval = interval95(scores);
  line["success"] = mean(scores);
  line["ci95"] = ends(interval);
}

// The agent that did best at a kind: highest mean among those with at least five scored tasks there,
// else the one asked most.
std::string best_agent(const std::map<std::string, Tally>& agents) {
  std::string best;
  double most = -1;
  for (const auto& [name, tally] : agents) {
    if (!name.empty() && tally.scores.size() >= 5 && mean(tally.scores) > most) {
      most = mean(tally.scores);
      best = name;
    }
  }
  if (!best.empty()) return best;
  int64_t tasks = -1;
  for (const auto& [name, tally] : agents) {
    if (!name.empty() && tally.tasks > tasks) {  // "": nobody
      tasks = tally.tasks;
      best = name;
    }
  }
  return best;
}

uint64_t count_of(const Json& line, const char* key) {
  return line.contains(key) && line[key].is_number_unsigned() ? line[key].get<uint64_t>()
         : line.contains(key) && line[key].is_number_integer() && line[key].get<int64_t>() > 0 ? static_cast<uint64_t>(line[key].get<int64_t>()) : 0;
}
std::string text_of(const Json& line, const char* key) {
  return line.contains(key) && line[key].is_string() ? line[key].get<std::string>() : "";
}

std::string percent(const Json& value) { return value.is_number() ? fmt::format("{:.0f} %", 100 * value.get<double>()) : "-"; }
std::string success_of(const Json& line) {
  if (!line["success"].is_number()) return "-";
  return with_interval(line["success"].get<double>(), line["ci95"][0].get<double>(), line["ci95"][1].get<double>());
}

}  // namespace

Json make_summary(const RunTotals& totals, const std::vector<std::pair<int64_t, Json>>& results) {
  std::map<std::string, Tally> by_agent;
  std::map<std::string, std::map<std::string, Tally>> by_kind;  // kind, agent
  std::vector<std::string> kinds;                               // in order of appearance
  std::vector<double> scores;
  int64_t failed = 0;
  uint64_t prompt = 0, completion = 0;
  for (const auto& [index, line] : results) {
    const std::string agent = text_of(line, "agent"), kind = text_of(line, "kind");
    if (!by_kind.contains(kind)) kinds.push_back(kind);
    const uint64_t p = count_of(line, "prompt_tokens"), c = count_of(line, "completion_tokens");
    prompt += p;
    completion += c;
    for (Tally* tally : {&by_agent[agent], &by_kind[kind][agent]}) {
      ++tally->tasks;
      tally->tokens += p + c;
      if (line.contains("ms") && line["ms"].is_number()) tally->ms += line["ms"].get<double>();
      if (line.contains("success") && line["success"].is_number()) tally->scores.push_back(line["success"].get<double>());
    }
    if (line.contains("success") && line["success"].is_number()) scores.push_back(line["success"].get<double>());
    if (line.contains("error")) ++failed;
  }
  Json out = {{"run", totals.run}, {"tasks", totals.tasks}, {"final", results.size()}, {"failed", failed}};
  put_success(out, scores);
  out["first_tenth"] = out["last_tenth"] = nullptr;
  if (const size_t tenth = scores.size() / 10; tenth > 0) {
    out["first_tenth"] = mean(std::span(scores).first(tenth));
    out["last_tenth"] = mean(std::span(scores).last(tenth));
  }
  out["by_agent"] = Json::array();
  for (const auto& [name, tally] : by_agent) {
    Json line = {{"agent", name}, {"tasks", tally.tasks}};
    put_success(line, tally.scores);
    line["tokens"] = tally.tokens;
    line["ms"] = tally.ms;
    out["by_agent"].push_back(std::move(line));
  }
  out["by_kind"] = Json::array();
  std::map<std::string, std::string> best;
  for (const auto& kind : kinds) {
    Tally all;
    for (const auto& [agent, tally] : by_kind[kind]) {
      all.tasks += tally.tasks;
      all.tokens += tally.tokens;
      all.scores.insert(all.scores.end(), tally.scores.begin(), tally.scores.end());
    }
    best[kind] = best_agent(by_kind[kind]);
    Json line = {{"kind", kind}, {"tasks", all.tasks}};
    put_success(line, all.scores);
    line["tokens"] = all.tokens;
    line["best_agent"] = best[kind];
    line["best_agent_tasks"] = by_kind[kind][best[kind]].tasks;
    out["by_kind"].push_back(std::move(line));
  }
  // What was learned: how often a task went to the agent that did best at its kind.
  Json learned = {{"best_agent_first_tenth", nullptr}, {"best_agent_last_tenth", nullptr}};
  if (const size_t tenth = results.size() / 10; tenth > 0) {
    const auto share = [&](size_t from) {
      double hits = 0;
      for (size_t i = from; i < from + tenth; ++i) {
        if (text_of(results[i].second, "agent") == best[text_of(results[i].second, "kind")]) ++hits;
      }
      return hits / static_cast<double>(tenth);
    };
    learned = {{"best_agent_first_tenth", share(0)}, {"best_agent_last_tenth", share(results.size() - tenth)}};
  }
  out["learned"] = std::move(learned);
  std::map<std::string, uint32_t> number;
  std::vector<std::pair<uint32_t, uint32_t>> who;
  for (size_t i = results.size() > 1000 ? results.size() - 1000 : 0; i < results.size(); ++i) {
    const std::string kind = text_of(results[i].second, "kind"), agent = text_of(results[i].second, "agent");
    if (kind.empty() || agent.empty()) continue;
    const uint32_t k = number.try_emplace("kind " + kind, static_cast<uint32_t>(number.size())).first->second;
    who.emplace_back(k, number.try_emplace("agent " + agent, static_cast<uint32_t>(number.size())).first->second);
  }
  const auto division = swarm::division_of_labour(who);
  out["division_of_labour"] = {{"task", division.task}, {"individual", division.individual}};
  out["prompt_tokens"] = prompt;
  out["completion_tokens"] = completion;
  out["seconds"] = totals.seconds;
  out["tasks_per_s"] = totals.seconds > 0 ? static_cast<double>(totals.tasks_here) / totals.seconds : 0;
  out["tokens_per_s"] = totals.seconds > 0 ? static_cast<double>(totals.tokens_here) / totals.seconds : 0;
  out["peak_bytes"] = totals.peak_bytes;
  out["ledger"] = totals.ledger;
  return out;
}

std::string report(const Json& s) {
  std::string out;
  std::vector<std::vector<std::string>> agents{{"AGENT", "TASKS", "SUCCESS", "TOKENS", "SECONDS"}};
  for (const auto& a : s["by_agent"]) {
    const std::string name = a["agent"].get<std::string>();
    agents.push_back({name.empty() ? "(nobody)" : name, to_line(a["tasks"]), success_of(a), to_line(a["tokens"]),
                      fmt::format("{:.1f}", a["ms"].get<double>() / 1000)});
  }
  std::vector<std::vector<std::string>> kinds{{"KIND", "TASKS", "SUCCESS", "BEST AGENT"}};
  for (const auto& k : s["by_kind"]) {
    kinds.push_back({k["kind"].get<std::string>(), to_line(k["tasks"]), success_of(k),
                     k["best_agent"] == "" ? "-" : fmt::format("{} ({} of {})", k["best_agent"].get<std::string>(), to_line(k["best_agent_tasks"]), to_line(k["tasks"]))});
  }
  out += table(agents) + "\n" + table(kinds) + "\n";
  out += fmt::format("{} of {} tasks final{}, success {}\n", to_line(s["final"]), to_line(s["tasks"]),
                     s["failed"].get<int64_t>() > 0 ? fmt::format(" ({} failed)", to_line(s["failed"])) : "", success_of(s));
  if (s["learned"]["best_agent_first_tenth"].is_number()) out += fmt::format("learned: success {} in the first tenth, {} in the last; tasks going to the best agent of their kind {} and {}\n",
                     percent(s["first_tenth"]), percent(s["last_tenth"]), percent(s["learned"]["best_agent_first_tenth"]),
                     percent(s["learned"]["best_agent_last_tenth"]));
  if (s.contains("division_of_labour")) {
    out += fmt::format("division of labour: {:.2f} by task, {:.2f} by agent (1: each kind has its agent, 0: drawn by lot)\n",
                       s["division_of_labour"]["task"].get<double>(), s["division_of_labour"]["individual"].get<double>());
  }
  out += fmt::format("{:.1f} s, {:.1f} tasks/s, {:.0f} tokens/s, peak memory {}\n", s["seconds"].get<double>(),
                     s["tasks_per_s"].get<double>(), s["tokens_per_s"].get<double>(), format_bytes(s["peak_bytes"].get<uint64_t>()));
  return out;
}

}  // namespace colony::app
