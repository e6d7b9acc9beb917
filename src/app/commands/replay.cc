#include "app/commands/replay.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>

#include "app/commands/doctor.h"
#include "app/commands/replay_parts.h"
#include "app/console.h"
#include "app/places.h"
#include "app/session.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/digest.h"
#include "base/stats.h"
#include "swarm/drift_bench.h"
#include "swarm/outcomes.h"
#include "swarm/replay.h"

namespace colony::app {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> words_of(const std::string& list) {
  std::vector<std::string> words;
  for (size_t begin = 0; begin <= list.size() && !list.empty();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    words.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

// ---- places when the folder has no embeddings, or others are asked for ----

// As a run makes them: the base model's hidden states. Kept under HOME/places by model and texts.
Result<std::vector<swarm::Place>> places_of_model(const std::vector<std::string>& texts, const std::function<std::string(size_t)>& name_of, const ReplayOptions& options) {
  const fs::path home = find_home(options.home);
  ASSIGN_OR_RETURN(const auto session, Session::open(options.model));
  Sha256 hash;
  for (const std::string& text : texts) {
    hash.update(text);
    hash.update(std::string_view("\0", 1));
  }
  const fs::path file = home / "places" / fmt::format("{}-{}.f32", session->snapshot->model->content_hash().substr(0, 32), hash.hex().substr(0, 32));
  const size_t bytes = texts.size() * sizeof(swarm::Place);
  std::vector<swarm::Place> places(texts.size());
  if (const auto kept = read_file(file, 1ULL << 32); kept && kept->size() == bytes) {
    std::memcpy(places.data(), kept->data(), bytes);
    bool finite = true;
    for (const auto& place : places) {
      for (const float x : place) finite = finite && std::isfinite(x);
    }
    if (finite) return places;
    note("replay-outcomes: {} holds numbers that are none; places are computed again", file.string());
  }
  catch_interrupts();
  ASSIGN_OR_RETURN(places, places_of(*session, home, texts, name_of));
  std::error_code ignored;
  fs::create_directories(file.parent_path(), ignored);
  if (const auto written = write_file(file, {reinterpret_cast<const char*>(places.data()), bytes}); !written) {
    note("replay-outcomes: places are not kept: {}", written.error().message);
  }
  return places;
}

// Counts of token ids through a Gaussian projection: what a place is worth that knows words only.
Result<std::vector<swarm::Place>> places_of_tokens(const swarm::Outcomes& outcomes, const ReplayOptions& options) {
  ASSIGN_OR_RETURN(const auto session, Session::open(options.model));
  constexpr uint16_t kStream = 41;
  std::vector<float> counts(outcomes.tasks() * swarm::kPlaceDim);
  std::vector<std::vector<float>> rows;  // of the projection, by token id, when first met
  for (size_t task = 0; task < outcomes.tasks(); ++task) {
    ASSIGN_OR_RETURN(const auto ids, session->snapshot->raw_ids(outcomes.texts[task]));
    float* out = counts.data() + task * swarm::kPlaceDim;
    for (const int32_t id : ids) {
      const auto row = static_cast<size_t>(id);
      if (rows.size() <= row) rows.resize(row + 1);
      if (rows[row].empty()) {
        RngStream rng(1, row, 0, kStream);
        for (int i = 0; i < swarm::kPlaceDim; ++i) rows[row].push_back(static_cast<float>(rng.normal()));
      }
      for (size_t i = 0; i < swarm::kPlaceDim; ++i) out[i] += rows[row][i] / static_cast<float>(ids.size());
    }
  }
  return swarm::principal_places(counts, swarm::kPlaceDim);
}

bool by_model(const swarm::Outcomes& outcomes, const ReplayOptions& options) {
  return options.places == "model" || (options.places == "auto" && outcomes.embeddings.empty());
}

Result<std::vector<swarm::Place>> find_places(const swarm::Outcomes& outcomes, const ReplayOptions& options) {
  if (options.places == "tokens") return places_of_tokens(outcomes, options);
  const bool file = !outcomes.embeddings.empty();
  if (by_model(outcomes, options)) return places_of_model(outcomes.texts, [&](size_t i) { return fmt::format("task '{}'", outcomes.ids[i]); }, options);
  if (!file) return not_found("{}: found no file, expected the embeddings that --places file asks for", (fs::path(options.folder) / "embeddings.f16").string());
  return swarm::principal_places(outcomes.embeddings, outcomes.width);
}

// ---- what is played, and its table ----

struct Row {
  swarm::PolicySpec spec;
  std::string name;               // as printed
  std::vector<std::string> off;   // of the colony
  double cost_weight = 0;         // likewise
  bool gate = false;              // likewise
  bool own_test = false;          // likewise
  std::vector<double> means, second_halves, regrets, tokens;  // a seed each
  double seconds = 0;
  size_t decisions = 0;
};

Json line_of(const Row& row, const Row& first, const ReplayOptions& options) {
  const Interval interval = student95(row.means);
  Json line = {{"policy", row.name}, {"seeds", row.means.size()}, {"mean", mean(row.means)}, {"ci95", ends(interval)},
               {"second_half", mean(row.second_halves)}, {"regret", mean(row.regrets)},
               {"decisions_per_s", static_cast<double>(row.decisions) / row.seconds}};
  line["second_half_ci95"] = ends(student95(row.second_halves));
  line["regret_ci95"] = ends(student95(row.regrets));
  if (mean(row.tokens) > 0) line["tokens_per_task"] = mean(row.tokens);
  line["first_seed"] = options.first_seed;
  line["by_seed"] = row.means;
  if (!row.off.empty()) line["without"] = row.off;
  if (row.cost_weight > 0) line["cost_weight"] = row.cost_weight;
  if (row.gate) line["gate"] = options.gate;
  if (&row != &first) {
    const auto apart = differences(row.means, first.means);
    line["against"] = {{"policy", first.name}, {"difference", mean(apart)}, {"ci95", ends(student95(apart))}};
  }
  return line;
}

void print_table(const std::vector<Row>& rows, bool synthetic) {
  const bool few = rows[0].means.size() < 10;  // then both kinds of intervals are shown
  std::vector<std::vector<std::string>> cells{{"POLICY", "MEAN", "SECOND HALF", "REGRET", "PAIRED WITH " + rows[0].name, "DECISIONS/S"}};
  if (few) cells[0].insert(cells[0].end() - 1, "BOOTSTRAP");
  const bool tokens = mean(rows[0].tokens) > 0;
  if (tokens) cells[0].insert(cells[0].end() - 1, "TOKENS A TASK");
  for (const Row& row : rows) {
    const auto& shown = synthetic ? row.regrets : row.means;
    const auto apart = differences(shown, synthetic ? rows[0].regrets : rows[0].means);
    const int digits = synthetic ? 0 : 4;
    std::vector<std::string> line{row.name, with_half(row.means, 4), with_half(row.second_halves, 4), with_half(row.regrets, 0),
                                  &row == rows.data() ? "" : with_half(apart, digits, true)};
    if (few) {
      const Interval resampled = bootstrap95(apart);
      line.push_back(&row == rows.data() ? "" : fmt::format("[{:.{}f}, {:.{}f}]", resampled.low, digits, resampled.high, digits));
    }
    if (tokens) line.push_back(fmt::format("{:.0f}", mean(row.tokens)));
    line.push_back(fmt::format("{:.0f}", static_cast<double>(row.decisions) / row.seconds));
    cells.push_back(std::move(line));
  }
  std::fputs(table(cells).c_str(), stdout);
}

// The policies that --policy names.
Result<std::vector<swarm::PolicySpec>> read_policies(const std::string& words, bool labels) {
  std::vector<swarm::PolicySpec> specs;
  const auto& kinds = swarm::policy_kinds();
  for (const std::string& word : words_of(words)) {
    if (word == "all") {
      for (const auto& kind : kinds) {
        if (labels || !kind.labels) specs.push_back({kind.name, {}});
      }
      continue;
    }
    ASSIGN_OR_RETURN(specs.emplace_back(), swarm::parse_policy(word));
    for (const auto& kind : kinds) {
      if (kind.name == specs.back().name && kind.labels && !labels) return invalid("policy {} looks at labels: give --labels", kind.name);
    }
  }
  if (specs.empty()) return invalid("--policy: found nothing, expected names of policies or all");
  return specs;
}

}  // namespace

Status check_usage(const ReplayOptions& options) {
  if (options.folder.empty() == options.synthetic.empty()) return invalid("give either DIR or --synthetic VARIANT");
  if (options.folder.empty() && (options.labels || options.drift || options.arrival || options.tasks > 0 || options.cost_weight > 0 || options.gate > 0)) {
    return invalid("--labels, --drift, --arrival, --tasks, --gate and --cost-weight go with DIR");
  }
  if (is_parts_bench(options.synthetic) && (options.policies != ReplayOptions().policies || !options.ablate.empty() || options.ablations || options.nodes != 1)) {
    return invalid("--synthetic {} has rows of its own: --policy, --ablate, --ablations and --nodes do not go with it", options.synthetic);
  }
  ASSIGN_OR_RETURN([[maybe_unused]] const auto specs, read_policies(options.policies, options.labels));
  for (const std::string& off : words_of(options.ablate)) {
    const auto known = swarm::switches(static_cast<swarm::NodeId>(options.nodes));
    if (std::find(known.begin(), known.end(), off) == known.end()) return invalid("--ablate: found '{}', expected one of: {}", off, fmt::join(known, ", "));
  }
  return {};
}

Result<int> run_replay_outcomes(const ReplayOptions& options) {
  if (is_parts_bench(options.synthetic)) return run_parts_bench(options.synthetic, options.seeds, options.first_seed, options.json);
  ASSIGN_OR_RETURN(const auto specs, read_policies(options.policies, options.labels));
  const auto off = words_of(options.ablate);
  std::vector<Row> rows;
  for (const auto& spec : specs) {
    Row& row = rows.emplace_back();
    row.spec = spec;
    row.name = spec.text();
    if (spec.name == "colony") row.off = off;
  }
  // The colony once more, paying for tokens, so that both stand in one table.
  if (options.cost_weight > 0) {
    Row& row = rows.emplace_back();
    row.spec = {"colony", {}};
    row.name = fmt::format("colony, {} for {} tokens", options.cost_weight, swarm::kCostReference);
    row.off = off;
    row.cost_weight = options.cost_weight;
  }
  if (options.gate > 0) {
    Row& row = rows.emplace_back();
    row.spec = {"colony", {}};
    row.name = fmt::format("colony, {} tested", options.gate);
    row.off = off;
    row.gate = true;
    row.own_test = options.own_test;
  }
  if (options.ablations) {
    for (const std::string& word : swarm::switches(static_cast<swarm::NodeId>(options.nodes))) {
      Row& row = rows.emplace_back();
      row.spec = {"colony", {}};
      row.name = "colony without " + word;
      row.off = {word};
    }
  }

  const bool synthetic = options.folder.empty();
  swarm::Outcomes outcomes;
  std::vector<swarm::Place> places, about;
  auto variant = swarm::DriftVariant::kMain;
  if (synthetic) {
    ASSIGN_OR_RETURN(variant, swarm::drift_variant(options.synthetic));
  } else {
    ASSIGN_OR_RETURN(outcomes, swarm::read_outcomes(options.folder, {options.scores, options.pool == "small"}));
    if (options.labels && outcomes.domains.size() < 2) {
      return invalid("{}: found {} distinct 'domain', expected at least 2 for --labels", (fs::path(options.folder) / "queries.jsonl").string(), outcomes.domains.size());
    }
    if (options.cost_weight > 0 && outcomes.tokens.empty()) {
      return invalid("--cost-weight: found no {} with a column for each of the {} agents, expected to know what answers cost",
                     (fs::path(options.folder) / "outlen.csv").string(), outcomes.agents.size());
    }
    if (options.gate >= outcomes.tasks()) return invalid("--gate: found {}, expected fewer than the {} questions", options.gate, outcomes.tasks());
    if (!options.labels) {
      ASSIGN_OR_RETURN(places, find_places(outcomes, options));
      if (by_model(outcomes, options) && !outcomes.about.empty()) {
        std::vector<std::string> texts;
        for (const auto& one : outcomes.about) texts.push_back(one.text);
        ASSIGN_OR_RETURN(about, places_of_model(texts, [&](size_t i) { return "what agent " + outcomes.agents[outcomes.about[i].agent] + " says of itself"; }, options));
      }
    }
  }

  catch_interrupts();
  const SystemClock clock;
  Progress progress("replay", clock);
  int64_t done = 0;
  for (uint64_t seed = options.first_seed; seed < options.first_seed + options.seeds; ++seed) {
    std::unique_ptr<swarm::Course> course;
    if (synthetic) course = std::make_unique<swarm::DriftCourse>(seed, variant);
    else course = std::make_unique<swarm::RecordedCourse>(outcomes, places, swarm::StreamOptions{seed, options.tasks, options.gate, options.drift, options.arrival, options.labels}, about);
    for (Row& row : rows) {
      if (interrupted()) return kInterrupted;
      ASSIGN_OR_RETURN(const auto policy, swarm::make_policy(row.spec, *course, {static_cast<swarm::NodeId>(options.nodes), row.off, row.cost_weight, row.gate, row.own_test}, seed));
      const auto played = swarm::play(*course, *policy, clock);
      row.means.push_back(played.mean);
      row.second_halves.push_back(played.second_half);
      row.regrets.push_back(played.regret);
      row.tokens.push_back(played.tokens);
      row.seconds += played.seconds;
      row.decisions += course->tasks();
      progress.show(++done, static_cast<int64_t>(rows.size() * options.seeds), row.name);
    }
  }
  progress.clear();
  if (!options.json) {
    print_table(rows, synthetic);
    return kDone;
  }
  for (const Row& row : rows) print_line(to_line(line_of(row, rows[0], options)));
  return kDone;
}

}  // namespace colony::app
