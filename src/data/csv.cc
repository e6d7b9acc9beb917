#include "data/csv.h"

#include <algorithm>
#include <string>

#include "text/unicode.h"

namespace colony::data {
namespace {

struct Row {
  int64_t line = 0;
  std::vector<std::string> fields;
  std::string problem;
};

// The row that begins at `at`, which moves behind its line end; `line` counts the lines passed.
Row next_row(std::string_view bytes, size_t& at, int64_t& line) {
  Row row;
  row.line = line;
  std::string field;
  bool quoted = false, was_quoted = false;
  for (;; ++at) {
    const bool end = at >= bytes.size();
    if (end && quoted) row.problem = "a quoted field is not closed";
    const char c = end ? '\n' : bytes[at];
    if (quoted && !end) {
      if (c != '"') {
        line += c == '\n';
        field += c;
      } else if (at + 1 < bytes.size() && bytes[at + 1] == '"') {
        field += '"';
        ++at;
      } else {
        quoted = false;
      }
      continue;
    }
    if (c == '"' && field.empty() && !was_quoted) {
      quoted = was_quoted = true;
    } else if (c == ',' || c == '\n') {
      if (c == '\n' && !was_quoted && field.ends_with('\r')) field.pop_back();
      row.fields.push_back(std::move(field));
      field.clear();
      was_quoted = false;
      if (c == ',') continue;
      ++at;
      ++line;
      return row;
    } else if (was_quoted && c == '\r') {
      continue;
    } else if (was_quoted || c == '"') {
      row.problem = "a quote stands inside a field that is not quoted, or text behind one that is";
      field += c;
    } else {
      field += c;
    }
  }
}

}  // namespace

Result<std::vector<CsvRow>> parse_csv(std::string_view bytes) {
  if (bytes.starts_with("\xEF\xBB\xBF")) bytes.remove_prefix(3);
  size_t at = 0;
  int64_t line = 1;
  const Row header = next_row(bytes, at, line);
  if (!header.problem.empty()) return invalid("line 1: {}", header.problem);
  for (const auto& name : header.fields) {
    if (!text::valid_utf8(name)) return invalid("line 1: not UTF-8");
  }
  for (size_t i = 0; i < header.fields.size(); ++i) {
    if (header.fields[i].empty()) return invalid("line 1: the name of column {} is empty; the first line names the columns", i + 1);
    if (std::find(header.fields.begin(), header.fields.begin() + static_cast<std::ptrdiff_t>(i), header.fields[i]) != header.fields.begin() + static_cast<std::ptrdiff_t>(i)) {
      return invalid("line 1: two columns are named \"{}\"", header.fields[i]);
    }
  }
  std::vector<CsvRow> rows;
  while (at < bytes.size()) {
    Row row = next_row(bytes, at, line);
    if (row.fields.size() == 1 && row.fields[0].empty() && row.problem.empty()) continue;
    if (row.problem.empty() && row.fields.size() != header.fields.size()) {
      row.problem = fmt::format("found {} fields, the header names {}", row.fields.size(), header.fields.size());
    }
    Json fields = Json::object();
    for (size_t i = 0; row.problem.empty() && i < row.fields.size(); ++i) {
      if (!text::valid_utf8(row.fields[i])) row.problem = fmt::format("\"{}\": not UTF-8", header.fields[i]);
      else if (!row.fields[i].empty()) fields[header.fields[i]] = std::move(row.fields[i]);
    }
    if (row.problem.empty()) rows.push_back({row.line, std::move(fields)});
    else rows.push_back({row.line, invalid("{}", row.problem)});
  }
  return rows;
}

}  // namespace colony::data
