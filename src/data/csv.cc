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

// The row that begins at `at`, which moves behind its line end; `line` counts the lines passed. The states of CPython's
// _csv.c with its default dialect (not strict): a quote opens only at a field's beginning, and what follows the quote
// that closes belongs to the field as it stands.
Row next_row(std::string_view bytes, size_t& at, int64_t& line) {
  Row row;
  row.line = line;
  std::string field;
  enum { kStart, kPlain, kQuoted, kQuoteInQuoted } state = kStart;
  for (;; ++at) {
    const bool end = at >= bytes.size();
    if (end && state == kQuoted) row.problem = "a quoted field is not closed";
    const char c = end ? '\n' : bytes[at];
    const bool crlf = c == '\r' && at + 1 < bytes.size() && bytes[at + 1] == '\n';
    if (state == kQuoted && !end) {
      if (c == '"') {
        state = kQuoteInQuoted;
      } else {
        line += (c == '\n' || c == '\r') && !crlf;
        field += c;
      }
    } else if (c == ',' || c == '\n' || c == '\r') {
      row.fields.push_back(std::move(field));
      field.clear();
      state = kStart;
      if (c == ',') continue;
      at += crlf ? 2 : 1;
      ++line;
      return row;
    } else if (c == '"' && state == kStart) {
      state = kQuoted;
    } else if (c == '"' && state == kQuoteInQuoted) {
      field += '"';
      state = kQuoted;
    } else {
      field += c;
      state = kPlain;
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
  if (std::all_of(header.fields.begin(), header.fields.end(), [](const std::string& name) { return name.empty(); })) {
    return invalid("line 1: no column has a name; the first line names the columns");
  }
  for (size_t i = 0; i < header.fields.size(); ++i) {
    if (header.fields[i].empty()) continue;
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
      if (header.fields[i].empty()) continue;
      if (!text::valid_utf8(row.fields[i])) row.problem = fmt::format("\"{}\": not UTF-8", header.fields[i]);
      else if (!row.fields[i].empty()) fields[header.fields[i]] = std::move(row.fields[i]);
    }
    if (row.problem.empty()) rows.push_back({row.line, std::move(fields)});
    else rows.push_back({row.line, invalid("{}", row.problem)});
  }
  return rows;
}

}  // namespace colony::data
