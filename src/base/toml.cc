// parse_toml, in a file of its own: toml++ is the heaviest header of this room.
#include <sstream>
#include <toml++/toml.h>

#include "base/json.h"

namespace colony {
namespace {

Json convert(const toml::node& node) {
  if (const auto* table = node.as_table()) {
    Json object = Json::object();
    for (const auto& [key, value] : *table) object[std::string(key.str())] = convert(value);
    return object;
  }
  if (const auto* array = node.as_array()) {
    Json list = Json::array();
    for (const auto& value : *array) list.push_back(convert(value));
    return list;
  }
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return number->get();
  if (const auto* number = node.as_floating_point()) return number->get();
  if (const auto* flag = node.as_boolean()) return flag->get();
  std::ostringstream out;
  node.visit([&out](const auto& value) {
    using Node = std::decay_t<decltype(value)>;
    if constexpr (toml::is_date<Node> || toml::is_time<Node> || toml::is_date_time<Node>) {
      out << value.get();
    }
  });
  return out.str();
}

}  // namespace

Result<Json> parse_toml(std::string_view text, std::string_view name) {
  try {
    return convert(toml::parse(text, name));
  } catch (const toml::parse_error& e) {
    return invalid("{}:{}:{}: {}", name, e.source().begin.line, e.source().begin.column,
                   e.description());
  }
}

}  // namespace colony
