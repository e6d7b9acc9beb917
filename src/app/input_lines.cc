#include "app/input_lines.h"

#include <cstdio>
#include <filesystem>

#include "app/child.h"
#include "base/file.h"

namespace colony::app {

namespace {
constexpr uint64_t kMax = 1ULL << 30;  // bytes of a file
}

Result<std::string> read_file_or_input(const std::string& file) {
  if (file != "-") return read_file(file, kMax);
  std::string bytes;
  char buffer[1 << 16];
  for (size_t got = 0; (got = std::fread(buffer, 1, sizeof(buffer), stdin)) > 0;) {
    bytes.append(buffer, got);
    if (bytes.size() > kMax) return exhausted("standard input is longer than {} bytes", kMax);
  }
  return bytes;
}

Result<std::string> read_parquet(const std::string& file, const std::vector<std::string>& columns) {
  std::error_code failed;
  if (!std::filesystem::is_regular_file(file, failed)) return not_found("{}: no such file", file);
  const auto reader = program_path().parent_path() / "colony-parquet";
  if (!std::filesystem::exists(reader, failed)) {
    return not_found("{}: reading Parquet takes an optional part that this build does not have: "
                     "tools/install_arrow.sh, then configure and build again (target colony-parquet)", file);
  }
  std::vector<std::string> words{reader.string(), file};
  words.insert(words.end(), columns.begin(), columns.end());
  ASSIGN_OR_RETURN(Child child, Child::start(words));
  auto lines = child.read_all(kMax);
  if (lines) return lines;
  return lines.error().code == ErrorCode::kExhausted ? Error(lines.error()).in(file) : invalid("{}: cannot be read as Parquet", file);
}

Result<std::vector<InputLine>> read_lines(const std::string& file) {
  ASSIGN_OR_RETURN(const std::string bytes, read_file_or_input(file));
  std::vector<InputLine> lines;
  int64_t number = 0;
  for (size_t begin = 0; begin < bytes.size();) {
    const size_t end = std::min(bytes.find('\n', begin), bytes.size());
    std::string_view text(bytes.data() + begin, end - begin);
    begin = end + 1;
    ++number;
    if (number == 1 && text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    auto value = parse_json(text);
    if (value && !value->is_object()) value = invalid("found {}, expected an object", json_kind(*value));
    if (!value) value = at_line(file, number, value.error());
    lines.push_back({number, std::move(value)});
  }
  if (lines.empty()) return invalid("{}: no line in it, expected JSON lines", file);
  return lines;
}

Error at_line(const std::string& file, int64_t line, const Error& error) {
  return Error{error.code, fmt::format("{}:{}: {}", file == "-" ? "standard input" : file, line, error.message)};
}

Result<std::optional<std::vector<int32_t>>> read_ids(const Json& object, int64_t vocab) {
  if (!object.contains("ids")) return std::optional<std::vector<int32_t>>();
  const Json& list = object["ids"];
  if (!list.is_array() || list.empty()) {
    return invalid("\"ids\": found {}, expected a list of token ids that is not empty",
                   list.is_array() ? "an empty list" : json_kind(list));
  }
  std::vector<int32_t> ids;
  ids.reserve(list.size());
  for (const Json& id : list) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= vocab) {
      return invalid("\"ids\": found {}, expected ids from 0 to {}", to_line(id), vocab - 1);
    }
    ids.push_back(id.get<int32_t>());
  }
  return std::optional(std::move(ids));
}

}  // namespace colony::app
