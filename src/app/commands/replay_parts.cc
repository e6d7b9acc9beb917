#include "app/commands/replay_parts.h"

#include <cstdio>
#include <functional>
#include <utility>
#include <vector>

#include "app/console.h"
#include "app/options.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/stats.h"
#include "swarm/drift_bench.h"
#include "swarm/parts_bench.h"

namespace colony::app {
namespace {

struct Measure {
  const char* key;     // in JSON
  const char* head;    // in the table
  int digits;
  bool paired = false;
};
struct Way {
  std::string name;
  std::function<std::vector<double>(uint64_t seed)> play;  // one value a measure
};

// Rows of ways over the same seeds.
Result<int> compare(const std::string& what, const std::vector<Measure>& measures, const std::vector<Way>& ways, uint64_t seeds, uint64_t first_seed, bool json) {
  const SystemClock clock;
  Progress progress(what, clock);
  std::vector<std::vector<std::vector<double>>> seen(ways.size(), std::vector<std::vector<double>>(measures.size()));  // [way][measure][seed]
  int64_t done = 0;
  for (uint64_t seed = first_seed; seed < first_seed + seeds; ++seed) {
    for (size_t way = 0; way < ways.size(); ++way) {
      if (interrupted()) return kInterrupted;
      const auto values = ways[way].play(seed);
      for (size_t m = 0; m < measures.size(); ++m) seen[way][m].push_back(values[m]);
      progress.show(++done, static_cast<int64_t>(ways.size() * seeds), ways[way].name);
    }
  }
  progress.clear();
  std::vector<std::vector<std::string>> cells(1);
  cells[0].push_back(what);
  for (const Measure& m : measures) {
    cells[0].emplace_back(m.head);
    if (m.paired) cells[0].emplace_back("PAIRED");
  }
  for (size_t way = 0; way < ways.size(); ++way) {
    Json line = {{"bench", what}, {"policy", ways[way].name}, {"seeds", seeds}, {"first_seed", first_seed}};
    std::vector<std::string> row{ways[way].name};
    Json against = {{"policy", ways[0].name}};
    for (size_t m = 0; m < measures.size(); ++m) {
      const auto& values = seen[way][m];
      line[measures[m].key] = mean(values);
      line[std::string(measures[m].key) + "_ci95"] = ends(student95(values));
      row.push_back(with_half(values, measures[m].digits));
      if (!measures[m].paired) continue;
      const auto apart = differences(values, seen[0][m]);
      against[measures[m].key] = mean(apart);
      against[std::string(measures[m].key) + "_ci95"] = ends(student95(apart));
      row.push_back(way == 0 ? "" : with_half(apart, measures[m].digits, true));
    }
    if (way > 0) line["against"] = std::move(against);
    if (json) print_line(to_line(line));
    cells.push_back(std::move(row));
  }
  if (!json) std::fputs((table(cells) + "\n").c_str(), stdout);
  return kDone;
}

Result<int> run_load(double load, swarm::NodeId nodes, uint64_t seeds, uint64_t first_seed, bool json) {
  const std::vector<Measure> measures{{"goodput", "GOODPUT", 4, true}, {"p95_seconds", "P95 SECONDS", 2, true}, {"right", "RIGHT, HOWEVER LATE", 4}, {"bids_per_task", "BIDS A TASK", 1}};
  std::vector<Way> ways;
  const auto add = [&](const std::string& name, const std::string& who, const swarm::NodeOptions& options) {
    ways.push_back({name, [load, nodes, who, options](uint64_t seed) {
                      const swarm::DriftCourse course(seed, swarm::DriftVariant::kNone);
                      swarm::LoadOptions at;
                      at.load = load;
                      at.nodes = nodes;
                      const auto loaded = swarm::play_loaded(course, at, who, options, seed);
                      return std::vector<double>{loaded.goodput, loaded.p95_s, loaded.right, loaded.bids};
                    }});
  };
  add("colony", "colony", {});
  add("colony with queues", "colony", {.queues = true});
  add("colony with prices", "colony", {.price = true});
  add("colony with queues, prices", "colony", {.price = true, .queues = true});
  add("colony with thresholds", "colony", {.thresholds = true});
  add("colony with queues, thresholds", "colony", {.thresholds = true, .queues = true});
  add("random", "random", {});
  add("shortest-queue", "shortest-queue", {});
  return compare(fmt::format("load {:.2f}, {} node{}", load, nodes, nodes == 1 ? "" : "s"), measures, ways, seeds, first_seed, json);
}

Result<int> run_newcomer(uint64_t seeds, uint64_t first_seed, bool json) {
  const std::vector<Measure> measures{{"success", "SUCCESS", 4, true}, {"tasks_to_half", "TASKS TO HALF", 0, true}, {"bids_per_task", "BIDS A TASK", 1}, {"switches", "SWITCHES", 1}};
  std::vector<Way> ways;
  const auto add = [&](const std::string& name, uint32_t ask_most, bool dances) {
    ways.push_back({name, [ask_most, dances](uint64_t seed) {
                      swarm::NodeOptions options;
                      options.ask_most = ask_most;
                      options.dances = dances;
                      options.gossip = false;
                      const auto found = swarm::play_newcomer(options, seed);
                      return std::vector<double>{found.success, found.tasks_to_half, found.bids, static_cast<double>(found.switches)};
                    }});
  };
  add("8 asked, with dances", 8, true);
  add("8 asked, without dances", 8, false);
  add("everybody asked", 0, false);
  return compare("newcomer", measures, ways, seeds, first_seed, json);
}

}  // namespace

bool is_parts_bench(const std::string& variant) { return variant == "load" || variant == "newcomer"; }

Result<int> run_parts_bench(const std::string& variant, uint64_t seeds, uint64_t first_seed, bool json) {
  catch_interrupts();
  if (variant == "newcomer") return run_newcomer(seeds, first_seed, json);
  for (const auto& [load, nodes] : {std::pair<double, swarm::NodeId>{.6, 4}, {.8, 4}, {.95, 4}, {.8, 1}}) {
    ASSIGN_OR_RETURN(const int status, run_load(load, nodes, seeds, first_seed, json));
    if (status != kDone) return status;
  }
  return kDone;
}

}  // namespace colony::app
