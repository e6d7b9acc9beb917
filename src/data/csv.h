// CSV as Python's csv module and pandas read it: a header line, fields with commas, quotes and line ends inside quotes
// (RFC 4180); a quote inside a field that does not begin with one is a letter like others.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace colony::data {

struct CsvRow {
  int64_t line = 0;     // 1-based line of the file on which the row begins
  Result<Json> fields;  // an object of strings by the header's names, empty fields left out; or what is wrong
};

// A byte order mark and any line end (LF, CRLF, CR) are accepted, empty lines are skipped; so are columns without a name,
// such as the index that pandas' to_csv writes. Fails kInvalid: no header, a name twice, not UTF-8. A row with too many or
// too few fields, or a quoted field that is not closed, is an error of its row.
Result<std::vector<CsvRow>> parse_csv(std::string_view bytes);

}  // namespace colony::data
