#include "swarm/outcomes.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "base/check.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"

namespace colony::swarm {
namespace {

namespace fs = std::filesystem;

constexpr size_t kAgentsMax = 100'000, kWidthMax = 65'536;
constexpr uint16_t kStreamReduce = 40;

// A table with a header: cells by RFC 4180 (quotes, doubled quotes; no line break inside a cell).
struct Table {
  std::string name;  // of the file, for messages
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
  std::vector<size_t> lines;  // 1-based, of each row
};

Result<std::vector<std::string>> split(std::string_view line, const std::string& name, size_t number) {
  std::vector<std::string> cells(1);
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == ',') {
      cells.emplace_back();
    } else if (line[i] == '"' && cells.back().empty()) {
      for (++i;; ++i) {
        if (i >= line.size()) return corrupt("{}:{}: field {}: found an open quote, expected its end on the same line", name, number, cells.size());
        if (line[i] != '"') cells.back() += line[i];
        else if (i + 1 < line.size() && line[i + 1] == '"') cells.back() += line[i++];
        else break;
      }
    } else {
      cells.back() += line[i];
    }
  }
  return cells;
}

// Lines without their ends; a last empty one is none.
std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    lines.push_back(line);
  }
  return lines;
}

Result<Table> read_table(const fs::path& path) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path));
  Table table;
  table.name = path.string();
  const auto lines = lines_of(text);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].empty()) continue;
    ASSIGN_OR_RETURN(auto cells, split(lines[i], table.name, i + 1));
    if (table.header.empty()) {
      std::set<std::string> names;
      for (size_t c = 0; c < cells.size(); ++c) {
        if (cells[c].empty()) return corrupt("{}:{}: field {} of the header: found nothing, expected a name", table.name, i + 1, c + 1);
        if (!names.insert(cells[c]).second) return corrupt("{}:{}: field {}: found '{}' a second time, expected each column once", table.name, i + 1, c + 1, cells[c]);
      }
      table.header = std::move(cells);
      continue;
    }
    if (cells.size() != table.header.size()) {
      return corrupt("{}:{}: found {} fields, expected {} as in the header{}", table.name, i + 1, cells.size(), table.header.size(),
                     cells.size() < table.header.size() ? "; missing: '" + table.header[cells.size()] + "'" : "");
    }
    table.rows.push_back(std::move(cells));
    table.lines.push_back(i + 1);
  }
  if (table.header.empty()) return corrupt("{}: found no line, expected a header", table.name);
  return table;
}

Result<size_t> column(const Table& table, const std::string& name) {
  const auto at = std::find(table.header.begin(), table.header.end(), name);
  if (at == table.header.end()) {
    return corrupt("{}:1: found no column '{}', expected it in the header", table.name, name);
  }
  return static_cast<size_t>(at - table.header.begin());
}

Result<float> score_of(const std::string& cell, const Table& table, size_t row, size_t at) {
  double value = -1;
  const auto [end, problem] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (problem != std::errc() || end != cell.data() + cell.size() || !(value >= 0 && value <= 1)) {
    return corrupt("{}:{}: field '{}': found '{}', expected a score from 0 to 1", table.name, table.lines[row], table.header[at], cell);
  }
  return static_cast<float>(value);
}

Status read_queries(const fs::path& path, Outcomes& out) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path));
  const auto lines = lines_of(text);
  std::set<std::string> seen;
  std::map<std::string, size_t> domains;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].find_first_not_of(" \t") == std::string_view::npos) continue;
    const std::string where = fmt::format("{}:{}", path.string(), i + 1);
    auto parsed = parse_json(lines[i]);
    if (!parsed) return corrupt("{}: {}", where, parsed.error().message);
    if (!parsed->is_object()) return corrupt("{}: found {}, expected an object", where, json_kind(*parsed));
    const auto id = parsed->find("id");
    if (id == parsed->end() || !(id->is_string() || id->is_number_integer())) {
      return corrupt("{}: field 'id': found {}, expected a string or a whole number", where, id == parsed->end() ? "nothing" : json_kind(*id));
    }
    out.ids.push_back(id->is_string() ? id->get<std::string>() : id->dump());
    if (!seen.insert(out.ids.back()).second) return corrupt("{}: field 'id': found '{}' a second time, expected each id once", where, out.ids.back());
    ASSIGN_OR_RETURN(const auto held_out, get_bool(*parsed, "held_out", where));
    out.held_out.push_back(held_out.value_or(false));
    for (const char* key : {"domain", "text"}) {
      const auto at = parsed->find(key);
      if (at != parsed->end() && !at->is_null() && !at->is_string()) {
        return corrupt("{}: field '{}': found {}, expected a string", where, key, json_kind(*at));
      }
      std::string value = at != parsed->end() && at->is_string() ? at->get<std::string>() : "";
      if (key == std::string_view("text")) {
        out.texts.push_back(std::move(value));
      } else {
        const auto [known, fresh] = domains.try_emplace(value, out.domains.size());
        if (fresh) out.domains.push_back(value);
        out.domain.push_back(known->second);
      }
    }
  }
  if (out.ids.empty()) return corrupt("{}: found no line, expected one a task", path.string());
  return {};
}

float half(uint16_t bits) {  // IEEE 754 binary16
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  double value = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  if (exponent == 31) value = fraction == 0 ? HUGE_VAL : NAN;
  return static_cast<float>(bits >> 15 != 0 ? -value : value);
}

Status read_embeddings(const fs::path& path, Outcomes& out) {
  ASSIGN_OR_RETURN(const std::string bytes, read_file(path, 1ULL << 32));
  const size_t rows = out.tasks();
  if (bytes.empty() || bytes.size() % (2 * rows) != 0 || bytes.size() / (2 * rows) > kWidthMax) {
    return corrupt("{}: found {} bytes, expected {} rows (one a line of queries.jsonl) of 2 bytes a number", path.string(), bytes.size(), rows);
  }
  out.width = bytes.size() / (2 * rows);
  out.embeddings.resize(rows * out.width);
  for (size_t row = 0; row < rows; ++row) {
    double norm = 0;
    for (size_t i = 0; i < out.width; ++i) {
      uint16_t bits = 0;
      std::memcpy(&bits, bytes.data() + 2 * (row * out.width + i), 2);
      const float value = half(bits);
      if (!std::isfinite(value)) return corrupt("{}: row {}, number {}: found {}, expected a finite number", path.string(), row + 1, i + 1, value);
      out.embeddings[row * out.width + i] = value;
      norm += static_cast<double>(value) * static_cast<double>(value);
    }
    // A file of too few or too many rows still divides by luck; its rows then are no unit vectors.
    if (std::abs(std::sqrt(norm) - 1) > 0.05) {
      return corrupt("{}: row {}: found length {:.3f} of {} numbers, expected 1 (is it of {} rows?)", path.string(), row + 1, std::sqrt(norm), out.width, rows);
    }
  }
  return {};
}

// Columns of the agents that take part.
Result<std::vector<size_t>> pool_of(const Table& scores, size_t id_column, const fs::path& folder, bool small) {
  std::set<std::string> wanted;
  if (small) {
    ASSIGN_OR_RETURN(const Table models, read_table(folder / "models.csv"));
    ASSIGN_OR_RETURN(const size_t model, column(models, "model"));
    ASSIGN_OR_RETURN(const size_t flag, column(models, "pool_small"));
    for (size_t row = 0; row < models.rows.size(); ++row) {
      const std::string& cell = models.rows[row][flag];
      if (cell != "0" && cell != "1") {
        return corrupt("{}:{}: field 'pool_small': found '{}', expected 0 or 1", models.name, models.lines[row], cell);
      }
      if (cell == "1") wanted.insert(models.rows[row][model]);
    }
  }
  std::vector<size_t> pool;
  for (size_t c = 0; c < scores.header.size(); ++c) {
    if (c != id_column && (!small || wanted.contains(scores.header[c]))) pool.push_back(c);
  }
  if (small && pool.size() < wanted.size()) {
    return invalid("{}: has {} of the {} agents with pool_small = 1 in {}; expected all of them", scores.name, pool.size(), wanted.size(), (folder / "models.csv").string());
  }
  if (pool.empty() || pool.size() > kAgentsMax) return corrupt("{}:1: found {} agents, expected 1 to {}", scores.name, pool.size(), kAgentsMax);
  return pool;
}

// The rows of a table in the order of `ids`; each is there once, and no other.
Result<std::vector<size_t>> rows_of(const Table& table, size_t id_column, const std::vector<std::string>& ids) {
  std::map<std::string, size_t> row_of;
  for (size_t row = 0; row < table.rows.size(); ++row) {
    const std::string& id = table.rows[row][id_column];
    if (!row_of.emplace(id, row).second) return corrupt("{}:{}: field 'id': found '{}' a second time, expected each id once", table.name, table.lines[row], id);
  }
  std::vector<size_t> rows;
  for (const std::string& id : ids) {
    const auto at = row_of.find(id);
    if (at == row_of.end()) return corrupt("{}: found no row with id '{}', expected one for each line of queries.jsonl", table.name, id);
    rows.push_back(at->second);
    row_of.erase(at);
  }
  if (!row_of.empty()) {
    const auto& [id, row] = *row_of.begin();
    return corrupt("{}:{}: field 'id': found '{}', expected an id of queries.jsonl", table.name, table.lines[row], id);
  }
  return rows;
}

// Of agents that take no part nothing is kept.
Status read_about(const fs::path& path, Outcomes& out) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path));
  const auto lines = lines_of(text);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].find_first_not_of(" \t") == std::string_view::npos) continue;
    const std::string where = fmt::format("{}:{}", path.string(), i + 1);
    auto parsed = parse_json(lines[i]);
    if (!parsed) return corrupt("{}: {}", where, parsed.error().message);
    if (!parsed->is_object()) return corrupt("{}: found {}, expected an object", where, json_kind(*parsed));
    ASSIGN_OR_RETURN(const auto agent, get_string(*parsed, "agent", where));
    ASSIGN_OR_RETURN(auto said, get_string(*parsed, "text", where));
    if (!agent || !said) return corrupt("{}: found no '{}', expected an agent and a text", where, agent ? "text" : "agent");
    const auto at = std::find(out.agents.begin(), out.agents.end(), *agent);
    if (at != out.agents.end()) out.about.push_back({static_cast<size_t>(at - out.agents.begin()), std::move(*said)});
  }
  return {};
}

// Tokens of each agent's answers, where the table has all agents.
Status read_lengths(const fs::path& path, Outcomes& out) {
  ASSIGN_OR_RETURN(const Table table, read_table(path));
  std::vector<size_t> columns;
  for (const std::string& agent : out.agents) {
    const auto at = std::find(table.header.begin(), table.header.end(), agent);
    if (at == table.header.end()) return {};
    columns.push_back(static_cast<size_t>(at - table.header.begin()));
  }
  ASSIGN_OR_RETURN(const size_t id_column, column(table, "id"));
  ASSIGN_OR_RETURN(const auto rows, rows_of(table, id_column, out.ids));
  out.tokens.reserve(rows.size() * columns.size());
  for (const size_t row : rows) {
    for (const size_t c : columns) {
      const std::string& cell = table.rows[row][c];
      double written = -1;  // also as 1.004e+04, as pandas writes floats
      const auto [end, problem] = std::from_chars(cell.data(), cell.data() + cell.size(), written);
      if (problem != std::errc() || end != cell.data() + cell.size() || !(written >= 0 && written <= UINT32_MAX)) {
        return corrupt("{}:{}: field '{}': found '{}', expected a number of characters", table.name, table.lines[row], table.header[c], cell);
      }
      const auto characters = static_cast<uint32_t>(written);
      out.tokens.push_back(characters / 4 + (characters % 4 != 0));
    }
  }
  return {};
}

}  // namespace

Result<Outcomes> read_outcomes(const fs::path& folder, const OutcomesOptions& options) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) return not_found("{}: found no folder, expected one with queries.jsonl and scores.csv", folder.string());
  Outcomes out;
  RETURN_IF_ERROR(read_queries(folder / "queries.jsonl", out));
  const fs::path in_folder = folder / options.scores;
  ASSIGN_OR_RETURN(const Table table, read_table(fs::exists(in_folder, ignored) ? in_folder : fs::path(options.scores)));
  ASSIGN_OR_RETURN(const size_t id_column, column(table, "id"));
  ASSIGN_OR_RETURN(const auto pool, pool_of(table, id_column, folder, options.small_pool));
  for (const size_t c : pool) out.agents.push_back(table.header[c]);
  ASSIGN_OR_RETURN(const auto rows, rows_of(table, id_column, out.ids));
  out.scores.reserve(out.tasks() * pool.size());
  for (const size_t row : rows) {
    for (const size_t c : pool) {
      ASSIGN_OR_RETURN(const float score, score_of(table.rows[row][c], table, row, c));
      out.scores.push_back(score);
    }
  }
  if (fs::exists(folder / "about.jsonl", ignored)) RETURN_IF_ERROR(read_about(folder / "about.jsonl", out));
  if (fs::exists(folder / "outlen.csv", ignored)) RETURN_IF_ERROR(read_lengths(folder / "outlen.csv", out));
  if (fs::exists(folder / "embeddings.f16", ignored)) RETURN_IF_ERROR(read_embeddings(folder / "embeddings.f16", out));
  return out;
}

std::vector<Place> principal_places(const std::vector<float>& embeddings, size_t width) {
  CHECK(width > 0 && embeddings.size() % width == 0, "embeddings are rows of one width");
  const size_t rows = embeddings.size() / width;
  std::vector<double> mean(width);
  for (size_t row = 0; row < rows; ++row) {
    for (size_t i = 0; i < width; ++i) mean[i] += static_cast<double>(embeddings[row * width + i]);
  }
  for (double& m : mean) m /= static_cast<double>(std::max<size_t>(rows, 1));
  const auto centred = [&](size_t row) {
    std::vector<double> x(width);
    for (size_t i = 0; i < width; ++i) x[i] = static_cast<double>(embeddings[row * width + i]) - mean[i];
    return x;
  };
  // Orthogonal iteration on the covariance. Places are only ever compared by cosines, so the span is all that
  // counts, and the last components need not be exact.
  constexpr size_t kKept = kPlaceDim, kIterations = 40;
  std::vector<std::vector<double>> axes;  // rows of the projection
  if (width > kKept) {
    std::vector<double> covariance(width * width);
    for (size_t row = 0; row < rows; ++row) {
      const auto x = centred(row);
      for (size_t i = 0; i < width; ++i) {
        for (size_t j = 0; j <= i; ++j) covariance[i * width + j] += x[i] * x[j];
      }
    }
    for (size_t i = 0; i < width; ++i) {
      for (size_t j = 0; j < i; ++j) covariance[j * width + i] = covariance[i * width + j];
    }
    for (size_t k = 0; k < kKept; ++k) {
      RngStream rng(1, k, 0, kStreamReduce);
      axes.emplace_back(width);
      for (double& a : axes.back()) a = rng.normal();
    }
    for (size_t iteration = 0; iteration <= kIterations; ++iteration) {
      if (iteration > 0) {
        for (auto& axis : axes) {
          std::vector<double> moved(width);
          for (size_t i = 0; i < width; ++i) {
            for (size_t j = 0; j < width; ++j) moved[j] += axis[i] * covariance[i * width + j];
          }
          axis = std::move(moved);
        }
      }
      for (size_t k = 0; k < axes.size(); ++k) {
        double before = 0, after = 0;
        for (const double a : axes[k]) before += a * a;
        for (size_t other = 0; other < k; ++other) {
          double along = 0;
          for (size_t i = 0; i < width; ++i) along += axes[k][i] * axes[other][i];
          for (size_t i = 0; i < width; ++i) axes[k][i] -= along * axes[other][i];
        }
        for (const double a : axes[k]) after += a * a;
        const double scale = after > 1e-20 * before && after > 0 ? 1 / std::sqrt(after) : 0;  // fewer directions than kept
        for (double& a : axes[k]) a *= scale;
      }
    }
  }
  std::vector<Place> places(rows);
  for (size_t row = 0; row < rows; ++row) {
    const auto x = centred(row);
    std::array<double, kKept> y{};
    for (size_t k = 0; k < kKept; ++k) {
      if (axes.empty()) {
        y[k] = k < width ? x[k] : 0;
      } else {
        for (size_t i = 0; i < width; ++i) y[k] += axes[k][i] * x[i];
      }
    }
    double norm = 0;
    for (const double v : y) norm += v * v;
    const double scale = norm > 1e-24 ? 1 / std::sqrt(norm) : 0;
    for (size_t k = 0; k < kKept; ++k) places[row][k] = static_cast<float>(y[k] * scale);
  }
  return places;
}

}  // namespace colony::swarm
