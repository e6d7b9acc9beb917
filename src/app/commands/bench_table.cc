#include "app/commands/bench_table.h"

#include <algorithm>
#include <cstdio>

#include "app/console.h"
#include "base/check.h"
#include "base/stats.h"

namespace colony::app {

std::string_view unit_name(Unit unit) {
  switch (unit) {
    case Unit::kTokensPerSecond: return "tok/s";
    case Unit::kSeconds: return "s";
    case Unit::kMilliseconds: return "ms";
    case Unit::kMicroseconds: return "us";
    case Unit::kShare: return "share";
    case Unit::kMebibytes: return "MiB";
  }
  CHECK(false, "every unit has a name");
  return "";
}

bool lower_is_better(Unit unit) {
  return unit == Unit::kSeconds || unit == Unit::kMilliseconds || unit == Unit::kMicroseconds || unit == Unit::kMebibytes;
}

Value value_of(const Sample& sample, Unit unit, double work) {
  switch (unit) {
    case Unit::kTokensPerSecond: return {work / sample.wall, sample.cpu > 0 ? work / sample.cpu : 0};
    case Unit::kMilliseconds: return {1000 * sample.wall, 1000 * sample.cpu};
    default: return {sample.wall, sample.cpu};
  }
}

namespace {

std::vector<double> walls(const Rounds& rounds) {
  std::vector<double> all;
  for (const Value& value : rounds) all.push_back(value.wall);
  return all;
}

// How many times better than `other`; over 1 is better, whichever way the unit goes.
double times_better(double value, double other, Unit unit) {
  return lower_is_better(unit) ? other / value : value / other;
}

std::string number(double value, Unit unit) {
  return unit == Unit::kShare || unit == Unit::kSeconds ? fmt::format("{:.2f}", value)
                                                         : fmt::format("{:.1f}", value);
}

Json head(const std::string& bench, const Cell& cell) {
  Json line = {{"bench", bench}, {"cell", cell.name}};
  return line;
}

void print_machine_line(const std::string& bench, const Cell& cell, const Rounds& ours,
                        const PeerSide* peer, const std::string& why) {
  const double value = middle(ours);
  Json line = head(bench, cell);
  line["ours"] = value;
  if (peer != nullptr && !peer->rounds.empty()) {
    line["peer"] = middle(peer->rounds);
    line["ratio"] = times_better(value, middle(peer->rounds), cell.unit);
  }
  if (cell.limit > 0) {
    line["limit"] = cell.limit;
    line["of_limit"] = times_better(value, cell.limit, cell.unit);
  }
  line["unit"] = unit_name(cell.unit);
  line["spread"] = spread(ours);
  line["better"] = lower_is_better(cell.unit) ? "lower" : "higher";
  line["dtype"] = cell.dtype;
  if (middle_cpu(ours) > 0) line["ours_cpu"] = middle_cpu(ours);
  if (peer != nullptr) {
    line["peer_name"] = peer->name;
    if (!peer->version.empty()) line["peer_version"] = peer->version;
    if (!peer->missing.empty()) line["peer_missing"] = peer->missing;
    if (!peer->rounds.empty()) {
      line["peer_spread"] = spread(peer->rounds);
      if (middle_cpu(peer->rounds) > 0) line["peer_cpu"] = middle_cpu(peer->rounds);
    }
    line.update(peer->more);
  }
  if (!cell.bound.empty()) line["bound"] = cell.bound;
  if (!why.empty()) line["in_the_way"] = why;
  line.update(cell.more);
  print_line(to_line(line));
}

}  // namespace

double middle(const Rounds& rounds) { return median(walls(rounds)); }

double middle_cpu(const Rounds& rounds) {
  std::vector<double> all;
  for (const Value& value : rounds) all.push_back(value.cpu);
  return median(std::move(all));
}

double spread(const Rounds& rounds) {
  const auto all = walls(rounds);
  if (all.empty()) return 0;
  const auto [low, high] = std::minmax_element(all.begin(), all.end());
  const double value = median(all);
  return value > 0 ? (*high - *low) / value : 0;
}

void print_cell(const std::string& bench, bool json, const Cell& cell, const Rounds& ours,
                const std::vector<PeerSide>& peers, const std::string& why) {
  if (json) {
    if (peers.empty()) print_machine_line(bench, cell, ours, nullptr, why);
    for (const PeerSide& peer : peers) print_machine_line(bench, cell, ours, &peer, why);
    return;
  }
  const double value = middle(ours);
  std::string text = fmt::format("{:<16} {:>9} {:<5} ±{:>2.0f} %", cell.name, number(value, cell.unit),
                                 unit_name(cell.unit), 50 * spread(ours));
  if (cell.limit > 0 && cell.bar_only) {
    text += fmt::format("  bar {} ({})", number(cell.limit, cell.unit), value <= cell.limit ? "kept" : "passed");
  } else if (cell.limit > 0) {
    text += fmt::format("  {:>3.0f} % of the limit {} ({})", 100 * times_better(value, cell.limit, cell.unit),
                        number(cell.limit, cell.unit), cell.bound);
  }
  if (cell.unit == Unit::kTokensPerSecond) text += fmt::format("  {:.1f} a core-second", middle_cpu(ours));
  print_line(text);
  for (const PeerSide& peer : peers) {
    if (peer.rounds.empty()) {
      print_line(fmt::format("    {:<28} missing: {}", peer.name, peer.missing));
      continue;
    }
    std::string line = fmt::format("    {:<28} {:>9} {:<5} ±{:>2.0f} %  ours × {:.2f}", peer.name,
                                   number(middle(peer.rounds), cell.unit), unit_name(cell.unit),
                                   50 * spread(peer.rounds), times_better(value, middle(peer.rounds), cell.unit));
    if (cell.unit == Unit::kTokensPerSecond) line += fmt::format("  {:.1f} a core-second", middle_cpu(peer.rounds));
    for (const auto& [key, more] : peer.more.items()) {
      if (more.is_number()) line += fmt::format("  {} {:.1f}", key, more.get<double>());
    }
    print_line(line);
  }
  if (!why.empty()) print_line("    in the way: " + why);
}

void print_absent(const std::string& bench, bool json, const Cell& cell, const std::string& why) {
  if (!json) {
    print_line(fmt::format("{:<16} not measured: {}", cell.name, why));
    return;
  }
  Json line = head(bench, cell);
  line["ours"] = nullptr;
  line["ours_missing"] = why;
  line["unit"] = unit_name(cell.unit);
  line["spread"] = 0;
  print_line(to_line(line));
}

}  // namespace colony::app
