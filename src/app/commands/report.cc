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
  int64_t tasks = 0, failed = 0;
  std::vector<double> scores;
  uint64_t tokens = 0;
  double ms = 0;
  int64_t cut = 0;  // answers with finish "length"
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
// else the one asked most. "": nobody, or nobody was ever right.
std::string best_agent(const std::map<std::string, Tally>& agents) {
  std::string best;
  double most = 0;
  for (const auto& [name, tally] : agents) {
    if (!name.empty() && tally.scores.size() >= 5 && mean(tally.scores) > most) {
      most = mean(tally.scores);
      best = name;
    }
  }
  if (!best.empty()) return best;
  int64_t tasks = -1;
  for (const auto& [name, tally] : agents) {
    const bool never = !tally.scores.empty() && mean(tally.scores) == 0;
    if (!name.empty() && !never && tally.tasks > tasks) {  // "": nobody
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
  std::map<std::string, Tally> kinds_all;
  std::vector<double> scores;
  std::map<uint64_t, Tally> by_node;
  double work_ms = 0;
  int64_t failed = 0;
  uint64_t prompt = 0, completion = 0;
  for (const auto& [index, line] : results) {
    const std::string agent = text_of(line, "agent"), kind = text_of(line, "kind");
    if (!by_kind.contains(kind)) kinds.push_back(kind);
    const uint64_t p = count_of(line, "prompt_tokens"), c = count_of(line, "completion_tokens");
    prompt += p;
    completion += c;
    const bool scored = line.contains("success") && line["success"].is_number();
    const bool answered = !line.contains("answer") || !line["answer"].is_null();
    // Whoever failed at it by its own fault, and then whose answer it is: of a task that failed so it is the last of them.
    uint64_t theirs = 0;
    double ms = 0;
    bool its_own = false;
    if (line.contains("attempts") && line["attempts"].is_array()) {
      for (const auto& attempt : line["attempts"]) {
        const std::string who = text_of(attempt, "agent");
        const double spent = attempt.contains("ms") && attempt["ms"].is_number() ? attempt["ms"].get<double>() : 0;
        ms += spent;
        by_agent[who].ms += spent;
        by_agent[who].cut += text_of(attempt, "finish") == "length";
        if (!attempt.contains("error") || (attempt.contains("blamed") && attempt["blamed"] == false)) continue;
        const uint64_t used = count_of(attempt, "tokens");
        theirs += used;
        its_own = its_own || (!answered && who == agent);
        for (Tally* tally : {&by_agent[who], &by_kind[kind][who]}) {
          ++tally->tasks;
          ++tally->failed;
          tally->tokens += used;
          if (scored) tally->scores.push_back(0);
        }
      }
    } else if (line.contains("ms") && line["ms"].is_number()) {  // of an earlier version
      ms = line["ms"].get<double>();
      by_agent[agent].ms += ms;
    }
    work_ms += ms;
    const uint64_t rest = p + c - std::min(p + c, theirs);
    for (Tally* tally : {&by_agent[agent], &by_kind[kind][agent]}) {
      tally->tokens += rest;
      if (its_own) continue;
      ++tally->tasks;
      if (scored && answered) tally->scores.push_back(line["success"].get<double>());
    }
    if (totals.nodes > 1 && line.contains("node") && line["node"].is_number_integer()) {
      Tally& tally = by_node[count_of(line, "node")];
      ++tally.tasks;
      if (scored) tally.scores.push_back(line["success"].get<double>());
    }
    Tally& all = kinds_all[kind];
    ++all.tasks;
    all.tokens += p + c;
    if (scored) {
      all.scores.push_back(line["success"].get<double>());
      scores.push_back(line["success"].get<double>());
    }
    if (line.contains("error")) ++failed;
  }
  Json out = {{"run", totals.run}, {"tasks", totals.tasks}, {"final", results.size()}, {"failed", failed}, {"unfinished", totals.tasks - static_cast<int64_t>(results.size())}};
  out["cut"] = 0;
  for (const auto& [name, tally] : by_agent) out["cut"] = out["cut"].get<int64_t>() + tally.cut;
  put_success(out, scores);
  out["first_tenth"] = out["last_tenth"] = nullptr;
  if (const size_t tenth = scores.size() / 10; tenth > 0) {
    out["first_tenth"] = mean(std::span(scores).first(tenth));
    out["last_tenth"] = mean(std::span(scores).last(tenth));
  }
  out["by_agent"] = Json::array();
  for (const auto& [name, tally] : by_agent) {
    Json line = {{"agent", name}, {"tasks", tally.tasks}, {"failed", tally.failed}};
    put_success(line, tally.scores);
    line["tokens"] = tally.tokens;
    line["ms"] = tally.ms;
    line["cut"] = tally.cut;
    out["by_agent"].push_back(std::move(line));
  }
  out["by_kind"] = Json::array();
  std::map<std::string, std::string> best;
  for (const auto& kind : kinds) {
    const Tally& all = kinds_all[kind];
    best[kind] = best_agent(by_kind[kind]);
    Json line = {{"kind", kind}, {"tasks", all.tasks}};
    put_success(line, all.scores);
    line["tokens"] = all.tokens;
    line["best_agent"] = best[kind];
    line["best_agent_tasks"] = best[kind].empty() ? 0 : by_kind[kind][best[kind]].tasks;
    out["by_kind"].push_back(std::move(line));
  }
  // What was learned: how often a task went to the agent that did best at its kind.
  Json learned = {{"best_agent_first_tenth", nullptr}, {"best_agent_last_tenth", nullptr}};
  if (const size_t tenth = results.size() / 10; tenth > 0) {
    const auto share = [&](size_t from) {
      double hits = 0;
      for (size_t i = from; i < from + tenth; ++i) {
        const std::string& who = best[text_of(results[i].second, "kind")];
        if (!who.empty() && text_of(results[i].second, "agent") == who) ++hits;
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
  if (!by_node.empty()) {
    out["by_node"] = Json::array();
    for (const auto& [node, tally] : by_node) {
      Json line = {{"node", node}, {"tasks", tally.tasks}};
      put_success(line, tally.scores);
      out["by_node"].push_back(std::move(line));
    }
    out["gossip"] = {{"messages", totals.gossip.messages}, {"records", totals.gossip.records}, {"bytes", totals.gossip.bytes}};
  }
  out["not_hosted"] = Json::array();
  for (const auto& [agent, reason] : totals.not_hosted) out["not_hosted"].push_back({{"agent", agent}, {"reason", reason}});
  out["news"] = totals.news;
  out["prompt_tokens"] = prompt;
  out["completion_tokens"] = completion;
  out["seconds"] = totals.seconds;
  out["work_seconds"] = work_ms / 1000;
  out["tasks_per_s"] = totals.seconds > 0 ? static_cast<double>(totals.tasks_here) / totals.seconds : 0;
  out["tokens_per_s"] = totals.seconds > 0 ? static_cast<double>(totals.tokens_here) / totals.seconds : 0;
  out["peak_bytes"] = totals.peak_bytes;
  out["ledger"] = totals.ledger;
  return out;
}

std::string report(const Json& s) {
  std::string out;
  std::vector<std::vector<std::string>> agents{{"AGENT", "TASKS", "FAILED", "SUCCESS", "TOKENS", "WORK S"}};
  for (const auto& a : s["by_agent"]) {
    const std::string name = a["agent"].get<std::string>();
    agents.push_back({name.empty() ? "(nobody)" : name, to_line(a["tasks"]), to_line(a["failed"]), success_of(a), to_line(a["tokens"]),
                      fmt::format("{:.1f}", a["ms"].get<double>() / 1000)});
  }
  std::vector<std::vector<std::string>> kinds{{"KIND", "TASKS", "SUCCESS", "BEST AGENT"}};
  for (const auto& k : s["by_kind"]) {
    kinds.push_back({k["kind"].get<std::string>(), to_line(k["tasks"]), success_of(k),
                     k["best_agent"] == "" ? "-" : fmt::format("{} ({} of {})", k["best_agent"].get<std::string>(), to_line(k["best_agent_tasks"]), to_line(k["tasks"]))});
  }
  out += table(agents) + "\n" + table(kinds) + "\n";
  if (s.contains("by_node")) {
    std::vector<std::vector<std::string>> nodes{{"NODE", "TASKS", "SUCCESS"}};
    for (const auto& n : s["by_node"]) nodes.push_back({to_line(n["node"]), to_line(n["tasks"]), success_of(n)});
    out += table(nodes) + fmt::format("gossip: {} messages between nodes, {} records, {}\n\n", to_line(s["gossip"]["messages"]),
                                      to_line(s["gossip"]["records"]), format_bytes(s["gossip"]["bytes"].get<uint64_t>()));
  }
  for (const auto& one : s["not_hosted"]) out += fmt::format("not hosted: {}: {}\n", one["agent"].get<std::string>(), one["reason"].get<std::string>());
  for (const auto& line : s["news"]) out += line.get<std::string>() + "\n";
  out += fmt::format("{} of {} tasks final{}{}, success {}\n", to_line(s["final"]), to_line(s["tasks"]),
                     s["failed"].get<int64_t>() > 0 ? fmt::format(" ({} failed)", to_line(s["failed"])) : "",
                     s["unfinished"].get<int64_t>() > 0 ? fmt::format(", {} unfinished", to_line(s["unfinished"])) : "", success_of(s));
  if (s.contains("cut") && s["cut"].get<int64_t>() > 0) {
    std::string who;
    for (const auto& a : s["by_agent"]) {
      if (a["cut"].get<int64_t>() > 0) who += fmt::format("{}{} {}", who.empty() ? "" : ", ", a["agent"] == "" ? "(nobody)" : a["agent"].get<std::string>(), to_line(a["cut"]));
    }
    out += fmt::format("{} answer{} cut at max_tokens (finish \"length\"): {}\n", to_line(s["cut"]), s["cut"] == 1 ? " was" : "s were", who);
  }
  if (s["learned"]["best_agent_first_tenth"].is_number()) out += fmt::format("learned: success {} in the first tenth, {} in the last; tasks going to the best agent of their kind {} and {}\n",
                     percent(s["first_tenth"]), percent(s["last_tenth"]), percent(s["learned"]["best_agent_first_tenth"]),
                     percent(s["learned"]["best_agent_last_tenth"]));
  if (s.contains("division_of_labour")) {
    out += fmt::format("division of labour: {:.2f} by task, {:.2f} by agent (1: each kind has its agent, 0: drawn by lot)\n",
                       s["division_of_labour"]["task"].get<double>(), s["division_of_labour"]["individual"].get<double>());
  }
  out += fmt::format("{:.1f} s by the clock, {:.1f} s of work in tasks that overlap; {:.1f} tasks/s, {:.0f} tokens/s, peak memory {}\n", s["seconds"].get<double>(),
                     s["work_seconds"].get<double>(), s["tasks_per_s"].get<double>(), s["tokens_per_s"].get<double>(), format_bytes(s["peak_bytes"].get<uint64_t>()));
  return out;
}

}  // namespace colony::app
