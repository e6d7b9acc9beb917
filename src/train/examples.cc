#include "train/examples.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "base/digest.h"
#include "data/csv.h"
#include "text/unicode.h"

namespace colony::train {
namespace {

// A stretch of text and whether it is a target.
struct Piece {
  std::string text;
  bool target = false;
};

Error wrong(std::string_view field, const Json& found, std::string_view expected) {
  return invalid("\"{}\": found {}, expected {}", field, json_kind(found), expected);
}
const Json* member(const Json& object, const char* key) {
  const auto at = object.find(key);
  return at == object.end() || at->is_null() ? nullptr : &*at;
}

Status check_messages(const Json& messages, const std::string& field) {
  if (!messages.is_array()) return wrong(field, messages, "a list of messages");
  if (messages.empty()) return invalid("\"{}\": found an empty list, expected a message", field);
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string where = fmt::format("{}[{}]", field, i);
    if (!messages[i].is_object()) return wrong(where, messages[i], "an object");
    for (const char* key : {"role", "content"}) {
      const Json* value = member(messages[i], key);
      if (value == nullptr) return invalid("\"{}.{}\": found nothing, expected a string", where, key);
      if (!value->is_string()) return wrong(where + "." + key, *value, "a string");
    }
  }
  return {};
}

// The line as messages; raw: as prompt and answer.
struct Line {
  Json messages;
  std::string prompt, answer;
};
Result<Line> parse_line(const Json& fields, bool raw) {
  if (!fields.is_object()) return invalid("found {}, expected an object", json_kind(fields));
  Line line;
  const Json *messages = member(fields, "messages"), *prompt = member(fields, "prompt"), *text = member(fields, "text");
  const Json *answer = member(fields, "answer"), *completion = member(fields, "completion");
  if (messages != nullptr) {
    if (prompt != nullptr) return invalid("\"messages\": found beside \"prompt\", expected only one of them");
    if (raw) return invalid("\"messages\": these need a chat template; with --raw give \"prompt\" and \"answer\", or \"text\"");
    RETURN_IF_ERROR(check_messages(*messages, "messages"));
    line.messages = *messages;
    return line;
  }
  if (prompt == nullptr && text != nullptr) {
    if (!raw) return invalid("\"text\": plain text is for a model without a chat template: add --raw");
    if (!text->is_string()) return wrong("text", *text, "a string");
    line.answer = text->get<std::string>();
    if (line.answer.empty()) return invalid("\"text\": found an empty string, expected text");
    return line;
  }
  if (prompt == nullptr) return invalid("\"prompt\": found nothing, expected \"prompt\" with \"answer\" or \"completion\", or \"messages\"");
  if (answer != nullptr && completion != nullptr) return invalid("\"completion\": found beside \"answer\", expected only one of them");
  const char* name = answer != nullptr ? "answer" : "completion";
  const Json* target = answer != nullptr ? answer : completion;
  if (target == nullptr) return invalid("\"answer\": found nothing, expected \"answer\" or \"completion\"");
  if (prompt->is_array() && target->is_array() && !raw) {
    RETURN_IF_ERROR(check_messages(*prompt, "prompt"));
    RETURN_IF_ERROR(check_messages(*target, name));
    line.messages = *prompt;
    for (const Json& message : *target) line.messages.push_back(message);
    return line;
  }
  if (!prompt->is_string()) return wrong("prompt", *prompt, "a string");
  line.prompt = prompt->get<std::string>();
  if (line.prompt.empty()) return invalid("\"prompt\": found an empty string, expected text");
  if (target->is_array() || target->is_object()) return wrong(name, *target, "a string");
  line.answer = target->is_string() ? target->get<std::string>() : to_line(*target);
  if (line.answer.empty()) return invalid("\"{}\": found an empty string, expected text", name);
  if (!raw) line.messages = Json::array({{{"role", "user"}, {"content", line.prompt}}, {{"role", "assistant"}, {"content", line.answer}}});
  return line;
}

// The rendered conversation, cut where assistant turns begin and end.
Result<std::vector<Piece>> pieces_of(const Json& messages, const TextSide& text) {
  std::vector<Piece> pieces;
  ASSIGN_OR_RETURN(const std::string whole, text.render(messages, false));
  size_t at = 0;
  Json before = Json::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    const bool assistant = messages[i].at("role") == "assistant";
    if (!assistant) {
      before.push_back(messages[i]);
      continue;
    }
    if (i == 0) return invalid("\"messages[0]\": found an assistant's message, expected something it answers");
    ASSIGN_OR_RETURN(const std::string prompt, text.render(before, true));
    before.push_back(messages[i]);
    ASSIGN_OR_RETURN(const std::string answered, text.render(before, false));
    if (!whole.starts_with(prompt) || !whole.starts_with(answered) || prompt.size() < at || answered.size() <= prompt.size()) {
      return invalid("\"messages[{}]\": the chat template does not write this turn as it writes it alone, so where the answer begins is unknown", i);
    }
    pieces.push_back({whole.substr(at, prompt.size() - at), false});
    pieces.push_back({whole.substr(prompt.size(), answered.size() - prompt.size()), true});
    at = answered.size();
  }
  if (pieces.empty()) return invalid("\"messages\": found no assistant's message, expected one to learn");
  return pieces;
}

Result<Example> example_of(const Line& line, const TextSide& text, const ExampleOptions& options) {
  const bool raw = !text.render;
  const auto is_eos = [&](int32_t id) { return std::ranges::find(text.eos_ids, id) != text.eos_ids.end(); };
  Example e;
  const auto add = [&](std::span<const int32_t> ids, bool target) {
    e.ids.insert(e.ids.end(), ids.begin(), ids.end());
    e.scored.insert(e.scored.end(), ids.size(), target || !options.answer_only ? 1 : 0);
  };
  if (raw) {
    ASSIGN_OR_RETURN(auto prompt, text.tokenizer->encode(line.prompt, true));
    ASSIGN_OR_RETURN(auto answer, text.tokenizer->encode(line.answer, false));
    // Some tokenizers end every text with the end token.
    while (!prompt.empty() && is_eos(prompt.back()) && line.prompt.size() > 0) prompt.pop_back();
    answer.push_back(text.eos_ids.front());
    add(prompt, false);
    e.answer = line.prompt.empty() ? 0 : static_cast<int64_t>(e.ids.size());
    add(answer, true);
  } else {
    ASSIGN_OR_RETURN(const auto pieces, pieces_of(line.messages, text));
    for (size_t i = 0; i < pieces.size(); ++i) {
      ASSIGN_OR_RETURN(auto ids, text.tokenizer->encode(pieces[i].text, false));
      if (!pieces[i].target) {
        add(ids, false);
        continue;
      }
      e.answer = static_cast<int64_t>(e.ids.size());
      // The target ends with the end-of-turn token; what the template writes behind it belongs to the next turn.
      const auto end = std::ranges::find_if(ids, is_eos);
      const bool last = i + 1 == pieces.size();
      if (end == ids.end()) {
        add(ids, true);
        if (last) add(std::array{text.eos_ids.front()}, true);
        continue;
      }
      if (std::any_of(end + 1, ids.end(), is_eos)) {
        return invalid("an answer holds the end-of-turn token in its text; the model would learn to stop there");
      }
      const auto size = static_cast<size_t>(end - ids.begin()) + 1;
      add(std::span(ids).first(size), true);
      if (!last) add(std::span(ids).subspan(size), false);
    }
  }
  if (e.ids.empty()) return invalid("no token at all");
  e.scored[0] = 0;  // nothing stands before it
  if (e.targets() == 0) return invalid("no target behind the first token");
  return e;
}

std::string hash_of(std::span<const int32_t> ids) {
  Sha256 hash;
  hash.update(std::as_bytes(ids));
  return hash.hex();
}

}  // namespace

Result<ExampleFile> read_examples(std::string_view bytes, const ExampleOptions& options, const TextSide& text) {
  ExampleFile file;
  file.content_hash = sha256_hex(bytes);
  std::set<std::string> seen;
  std::vector<data::CsvRow> rows;
  if (options.format == DataFormat::kCsv) {
    ASSIGN_OR_RETURN(rows, data::parse_csv(bytes));
  } else {
    int64_t number = 0;
    for (size_t at = 0; at < bytes.size();) {
      const size_t end = std::min(bytes.find('\n', at), bytes.size());
      std::string_view line = bytes.substr(at, end - at);
      at = end + 1;
      ++number;
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      if (options.format == DataFormat::kJsonLines) {
        rows.push_back({number, parse_json(line)});
        continue;
      }
      if (line.ends_with('\r')) line.remove_suffix(1);
      rows.push_back({number, text::valid_utf8(line) ? Result<Json>(Json{{"text", line}}) : invalid("the line is no UTF-8")});
    }
  }
  if (rows.empty()) return invalid("there is no line");
  for (auto& [number, fields] : rows) {
    const auto make = [&, &row = fields]() -> Result<Example> {
      if (!row) return Error(row.error());
      ASSIGN_OR_RETURN(const Line parsed, parse_line(*row, !text.render));
      return example_of(parsed, text, options);
    };
    auto example = make();
    if (!example) {
      file.problems.push_back({number, example.error().message});
      continue;
    }
    const auto length = static_cast<int64_t>(example->ids.size());
    const auto first = static_cast<size_t>(std::ranges::find(example->scored, uint8_t{1}) - example->scored.begin());
    ReadExample read{number, {}, hash_of(std::span<const int32_t>(example->ids).first(options.answer_only ? first : example->ids.size())), hash_of(example->ids)};
    if (length > options.max_length) {
      if (options.too_long == TooLong::kRefuse) {
        file.problems.push_back({number, fmt::format("the example has {} tokens, --max-length is {}; --too-long drop or cut says what to do with it", length, options.max_length)});
        continue;
      }
      if (options.too_long == TooLong::kDrop) {
        ++file.dropped;
        continue;
      }
      example->ids.resize(static_cast<size_t>(options.max_length));
      example->scored.resize(static_cast<size_t>(options.max_length));
      example->answer = 0;
      if (example->targets() == 0) {
        ++file.dropped;
        continue;
      }
      ++file.cut;
    }
    if (!seen.insert(read.hash).second) ++file.duplicates;
    read.example = std::move(*example);
    file.examples.push_back(std::move(read));
  }
  return file;
}

std::pair<std::vector<ReadExample>, std::vector<ReadExample>> split_by_content(std::vector<ReadExample> examples, double share) {
  std::pair<std::vector<ReadExample>, std::vector<ReadExample>> parts;
  for (auto& example : examples) {
    uint32_t head = 0;
    std::from_chars(example.prompt_hash.data(), example.prompt_hash.data() + 8, head, 16);
    (static_cast<double>(head) / 4294967296.0 < share ? parts.second : parts.first).push_back(std::move(example));
  }
  return parts;
}

std::vector<std::pair<int64_t, int64_t>> shared_examples(const std::vector<ReadExample>& first, const std::vector<ReadExample>& second) {
  std::map<std::string_view, int64_t> lines;
  for (const auto& e : first) lines.emplace(e.hash, e.line);
  std::vector<std::pair<int64_t, int64_t>> pairs;
  for (const auto& e : second) {
    if (const auto at = lines.find(e.hash); at != lines.end()) pairs.emplace_back(at->second, e.line);
  }
  return pairs;
}

}  // namespace colony::train
