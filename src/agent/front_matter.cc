#include "agent/front_matter.h"

#include <vector>

namespace colony::agent {
namespace {

struct Lines {
  std::vector<std::string_view> lines;
  size_t at = 0;
};

std::string_view strip(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \r") - begin + 1);
}
size_t indent_of(std::string_view line) {
  const size_t at = line.find_first_not_of(' ');
  return at == std::string_view::npos ? line.size() : at;
}
bool blank(std::string_view line) { return strip(line).empty(); }

// A plain or quoted scalar that fills `text` up to a comment.
Result<std::string> scalar(std::string_view text, size_t line) {
  text = strip(text);
  if (text.empty()) return std::string();
  if (text[0] == '"' || text[0] == '\'') {
    const char quote = text[0];
    std::string out;
    size_t i = 1;
    for (; i < text.size(); ++i) {
      if (text[i] == quote) {
        if (quote == '\'' && i + 1 < text.size() && text[i + 1] == '\'') {
          out += text[i++];
          continue;
        }
        break;
      }
      if (quote == '"' && text[i] == '\\' && i + 1 < text.size()) {
        const char c = text[++i];
        if (c != 'n' && c != 't' && c != '"' && c != '\\' && c != '/') {
          return invalid("line {}: escape \\{} is not known", line, c);
        }
        out += c == 'n' ? '\n' : c == 't' ? '\t' : c;
        continue;
      }
      out += text[i];
    }
    if (i >= text.size()) return invalid("line {}: the quote is not closed", line);
    const std::string_view rest = strip(text.substr(i + 1));
    if (!rest.empty() && rest[0] != '#') {
      return invalid("line {}: found \"{}\" behind the closing quote", line, rest);
    }
    return out;
  }
  if (std::string_view("&*!%@`{").find(text[0]) != std::string_view::npos) {
    return invalid("line {}: a value that begins with '{}' must be quoted", line, text[0]);
  }
  if (const size_t comment = text.find(" #"); comment != std::string_view::npos) {
    text = strip(text.substr(0, comment));
  }
  return std::string(text);
}

Result<Json> inline_list(std::string_view text, size_t line) {
  Json list = Json::array();
  text.remove_prefix(1);
  if (!text.ends_with(']')) return invalid("line {}: the list is not closed with ]", line);
  text.remove_suffix(1);
  if (blank(text)) return list;
  size_t begin = 0;
  char quote = '\0';
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && quote == '\0' && (text[i] == '"' || text[i] == '\'')) {
      quote = text[i];
    } else if (i < text.size() && text[i] == quote) {
      quote = '\0';
    } else if (i == text.size() || (text[i] == ',' && quote == '\0')) {
      ASSIGN_OR_RETURN(std::string item, scalar(text.substr(begin, i - begin), line));
      list.push_back(std::move(item));
      begin = i + 1;
    }
  }
  return list;
}

// A | or > block: the lines that stand further in than the key.
std::string block(Lines& lines, bool folded, bool strip_end) {
  std::string out;
  size_t indent = 0;
  while (lines.at < lines.lines.size()) {
    const std::string_view line = lines.lines[lines.at];
    if (!blank(line)) {
      if (indent_of(line) == 0) break;
      if (indent == 0) indent = indent_of(line);
    }
    std::string_view text = line.substr(std::min(indent, indent_of(line)));
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (folded) {
      if (text.empty()) {
        out += '\n';
      } else {
        if (!out.empty() && out.back() != '\n') out += ' ';
        out += text;
      }
    } else {
      out += text;
      out += '\n';
    }
    ++lines.at;
  }
  while (out.ends_with('\n')) out.pop_back();
  if (!strip_end && !out.empty()) out += '\n';
  return out;
}

Result<Json> value_of(std::string_view text, Lines& lines, size_t line) {
  text = strip(text);
  if (text == "|" || text == ">" || text == "|-" || text == ">-") {
    return Json(block(lines, text[0] == '>', text.size() == 2));
  }
  if (text.starts_with('[')) return inline_list(text, line);
  if (!text.empty() && text[0] != '#') {
    ASSIGN_OR_RETURN(std::string value, scalar(text, line));
    return Json(std::move(value));
  }
  Json list = Json::array();
  while (lines.at < lines.lines.size()) {
    const std::string_view next = lines.lines[lines.at];
    const std::string_view item = strip(next);
    if (item.empty() || item[0] == '#') {
      ++lines.at;
      continue;
    }
    if (item != "-" && !item.starts_with("- ")) {
      if (indent_of(next) > 0) {
        return invalid("line {}: nested mappings are not read here", lines.at + 1);
      }
      break;
    }
    ASSIGN_OR_RETURN(std::string value, scalar(item.substr(1), lines.at + 1));
    list.push_back(std::move(value));
    ++lines.at;
  }
  return list.empty() ? Json("") : list;
}

}  // namespace

Result<FrontMatter> parse_front_matter(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  Lines lines;
  size_t offset = 0, body = std::string_view::npos;
  while (offset <= text.size()) {
    const size_t end = std::min(text.find('\n', offset), text.size());
    const std::string_view line = text.substr(offset, end - offset);
    const bool fence = line == "---" || line == "---\r";
    if (lines.lines.empty() && !fence) {
      return invalid("line 1: found no front matter, expected ---");
    }
    offset = end + 1;
    if (fence && !lines.lines.empty()) {
      body = std::min(offset, text.size());
      break;
    }
    lines.lines.push_back(line);
  }
  if (body == std::string_view::npos) return invalid("the front matter is not closed with ---");

  FrontMatter out;
  out.body = std::string(text.substr(body));
  lines.at = 1;
  while (lines.at < lines.lines.size()) {
    const size_t number = lines.at + 1;
    const std::string_view line = lines.lines[lines.at++];
    if (line.find('\t') < indent_of(line) + 1) {
      return invalid("line {}: indented with a tab, expected spaces", number);
    }
    const std::string_view content = strip(line);
    if (content.empty() || content[0] == '#') continue;
    if (indent_of(line) > 0) return invalid("line {}: nested mappings are not read here", number);
    const size_t colon = content.find(':');
    if (colon == 0 || colon == std::string_view::npos ||
        (colon + 1 < content.size() && content[colon + 1] != ' ')) {
      return invalid("line {}: found \"{}\", expected \"key: value\"", number, content);
    }
    std::string key(strip(content.substr(0, colon)));
    if (out.fields.contains(key)) return invalid("line {}: \"{}\" is given twice", number, key);
    ASSIGN_OR_RETURN(Json value, value_of(content.substr(colon + 1), lines, number));
    out.fields[key] = std::move(value);
  }
  return out;
}

}  // namespace colony::agent
