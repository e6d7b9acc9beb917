// CSV as RFC 4180 has it: a header line, fields with commas, quotes and line ends inside quotes.
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

// A byte order mark and CRLF are accepted, empty lines are skipped. Fails kInvalid: no header, a name twice or
// empty, not UTF-8. A row with too many or too few fields, or with a stray quote, is an error of its row.
Result<std::vector<CsvRow>> parse_csv(std::string_view bytes);

}  // namespace colony::data
