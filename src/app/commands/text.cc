#include "app/commands/text.h"

#include "app/console.h"
#include "app/input_lines.h"
#include "app/session.h"

namespace colony::app {
namespace {

Result<Json> tokenize_line(const Json& line, const text::Tokenizer& tokenizer) {
  ASSIGN_OR_RETURN(const auto text, get_string(line, "text", "line"));
  if (!text) return invalid("\"text\" is missing");
  ASSIGN_OR_RETURN(const auto add_special, get_bool(line, "add_special", "line"));
  ASSIGN_OR_RETURN(const auto ids, tokenizer.encode(*text, add_special.value_or(false)));
  Json tokens = Json::array();
  for (const int32_t id : ids) tokens.push_back(tokenizer.token(id).value_or(""));
  return Json{{"ids", ids}, {"tokens", tokens}, {"decoded", tokenizer.decode(ids, false)}};
}

Result<Json> render_line(const Json& line, const engine::Snapshot& snapshot, int64_t now_unix_ms) {
  if (!line.contains("messages") || !line["messages"].is_array()) {
    return invalid("\"messages\": found {}, expected a list", line.contains("messages") ? json_kind(line["messages"]) : "nothing");
  }
  if (line.contains("tools") && !line["tools"].is_null() && !line["tools"].is_array()) {
    return invalid("\"tools\": found {}, expected a list", json_kind(line["tools"]));
  }
  ASSIGN_OR_RETURN(const auto add, get_bool(line, "add_generation_prompt", "line"));
  ASSIGN_OR_RETURN(auto text, snapshot.render(line["messages"], line.contains("tools") ? line["tools"] : Json(),
                                              add.value_or(false), now_unix_ms));
  return Json{{"text", std::move(text)}};
}

template <typename Work>
Result<int> each(const TextOptions& options, const Work& work) {
  ASSIGN_OR_RETURN(const auto lines, read_lines(options.file));
  bool bad = false;
  for (size_t i = 0; i < lines.size(); ++i) {
    Result<Json> made = lines[i].value ? work(*lines[i].value) : Result<Json>(lines[i].value.error());
    if (!made) {
      bad = true;
      complain(lines[i].value ? at_line(options.file, lines[i].line, made.error()) : made.error());
      if (options.json) print_line(to_line({{"index", i}, {"error", made.error().message}}));
      continue;
    }
    if (options.json) {
      Json line = {{"index", i}};
      line.update(*made);
      print_line(to_line(line));
    } else {
      print_line(made->contains("text") ? (*made)["text"].template get<std::string>() : to_line((*made)["ids"]));
    }
  }
  return bad ? kSomeBad : kDone;
}

}  // namespace

Result<int> run_tokenize(const TextOptions& options) {
  ASSIGN_OR_RETURN(const auto path, find_model(options.model));
  ASSIGN_OR_RETURN(const auto side, engine::load_text_side(path));
  if (!side.tokenizer) return not_found("{}: the model has no tokenizer", path.string());
  return each(options, [&](const Json& line) { return tokenize_line(line, *side.tokenizer); });
}

Result<int> run_render(const TextOptions& options) {
  ASSIGN_OR_RETURN(const auto path, find_model(options.model));
  engine::Snapshot snapshot;
  snapshot.name = options.model.empty() ? path.filename().string() : options.model;
  ASSIGN_OR_RETURN(snapshot.text, engine::load_text_side(path));
  const int64_t now = SystemClock().unix_ms();
  return each(options, [&](const Json& line) { return render_line(line, snapshot, now); });
}

}  // namespace colony::app
