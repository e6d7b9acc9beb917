#include "data/task_line.h"

#include <algorithm>
#include <array>
#include <iostream>
#include <iterator>

#include "base/file.h"
#include "base/digest.h"
#include "data/check.h"

namespace colony::data {
namespace {

constexpr std::array<std::string_view, 8> kKnownFields{"id",     "kind",  "task",  "prompt",
                                                       "messages", "answer", "check", "labels"};

// What a task.json beside the file says for lines that do not.
struct Defaults {
  const std::string& check;
  const std::vector<std::string>& labels;
};

Error wrong(std::string_view field, const Json& found, std::string_view expected) {
  return invalid("\"{}\": found {}, expected {}", field, json_kind(found), expected);
}

const Json* member(const Json& object, const char* key) {
  const auto at = object.find(key);
  return at == object.end() || at->is_null() ? nullptr : &*at;
}

Result<std::string> text_member(const Json& object, const char* key) {
  const Json* value = member(object, key);
  if (value == nullptr) return std::string();
  if (!value->is_string()) return wrong(key, *value, "a string");
  if (value->get_ref<const std::string&>().empty()) {
    return invalid("\"{}\": found an empty string, expected text", key);
  }
  return value->get<std::string>();
}

Result<std::vector<std::string>> labels_member(const Json& object) {
  std::vector<std::string> labels;
  const Json* value = member(object, "labels");
  if (value == nullptr) return labels;
  if (!value->is_array()) return wrong("labels", *value, "a list of strings");
  for (size_t i = 0; i < value->size(); ++i) {
    const Json& label = (*value)[i];
    if (!label.is_string()) return wrong("labels[" + std::to_string(i) + "]", label, "a string");
    labels.push_back(label.get<std::string>());
  }
  return labels;
}

Status check_messages(const Json& messages) {
  if (!messages.is_array()) return wrong("messages", messages, "a list of messages");
  if (messages.empty()) return invalid("\"messages\": found an empty list, expected a message");
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string where = "messages[" + std::to_string(i) + "]";
    if (!messages[i].is_object()) return wrong(where, messages[i], "an object");
    for (const char* key : {"role", "content"}) {
      const Json* value = member(messages[i], key);
      if (value == nullptr) {
        return invalid("\"{}.{}\": found nothing, expected a string", where, key);
      }
      if (!value->is_string()) return wrong(where + "." + key, *value, "a string");
    }
  }
  return {};
}

Result<TaskLine> parse_line(std::string_view bytes, int64_t number, const Defaults& defaults) {
  ASSIGN_OR_RETURN(Json fields, parse_json(bytes));
  if (!fields.is_object()) return invalid("found {}, expected an object", json_kind(fields));

  TaskLine task;
  task.line = number;
  task.id = "line-" + std::to_string(number);
  if (const Json* id = member(fields, "id")) {
    if (id->is_string()) {
      if (!id->get_ref<const std::string&>().empty()) task.id = id->get<std::string>();
    } else if (id->is_number_integer()) {
      task.id = to_line(*id);
    } else {
      return wrong("id", *id, "a string or a whole number");
    }
  }
  ASSIGN_OR_RETURN(const std::string kind, text_member(fields, "kind"));
  ASSIGN_OR_RETURN(const std::string family, text_member(fields, "task"));
  task.kind = !kind.empty() ? kind : !family.empty() ? family : "task";

  ASSIGN_OR_RETURN(task.prompt, text_member(fields, "prompt"));
  if (const Json* messages = member(fields, "messages")) {
    if (!task.prompt.empty()) {
      return invalid("\"messages\": found beside \"prompt\", expected only one of them");
    }
    RETURN_IF_ERROR(check_messages(*messages));
    task.messages = *messages;
  } else if (task.prompt.empty()) {
    return invalid("\"prompt\": found nothing, expected \"prompt\" or \"messages\"");
  }
  if (const Json* answer = member(fields, "answer")) {
    task.answer = answer->is_string() ? answer->get<std::string>() : to_line(*answer);
  }
  ASSIGN_OR_RETURN(task.check, text_member(fields, "check"));
  if (task.check.empty()) task.check = defaults.check;
  if (task.check.empty() && task.answer) task.check = "exact";
  if (!task.check.empty() && !task.answer && check_needs_answer(task.check)) {
    return invalid("\"answer\": found nothing, expected one because the check is \"{}\"",
                   task.check);
  }
  ASSIGN_OR_RETURN(task.labels, labels_member(fields));
  if (task.labels.empty()) task.labels = defaults.labels;
  task.fields = std::move(fields);
  return task;
}

Result<std::pair<std::string, std::vector<std::string>>> read_defaults(const std::filesystem::path& folder) {
  std::pair<std::string, std::vector<std::string>> defaults;
  if (folder.empty()) return defaults;
  const auto path = folder / "task.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return defaults;
  ASSIGN_OR_RETURN(const std::string bytes, read_file(path, 16 << 20));
  auto object = parse_json(bytes);
  if (!object) return std::move(object).error().in(path.string());
  if (!object->is_object()) {
    return invalid("{}: found {}, expected an object", path.string(), json_kind(*object));
  }
  auto check = text_member(*object, "check");
  if (!check) return std::move(check).error().in(path.string());
  defaults.first = std::move(*check);
  if (!defaults.first.empty()) {
    auto made = Check::make(defaults.first, folder, nullptr);
    if (!made) return std::move(made).error().in(path.string());
  }
  auto labels = labels_member(*object);
  if (!labels) return std::move(labels).error().in(path.string());
  defaults.second = std::move(*labels);
  return defaults;
}

}  // namespace

Result<TaskReader> TaskReader::open(const std::filesystem::path& folder) {
  TaskReader reader;
  reader.folder_ = folder;
  ASSIGN_OR_RETURN(auto defaults, read_defaults(folder));
  reader.default_check_ = std::move(defaults.first);
  reader.default_labels_ = std::move(defaults.second);
  return reader;
}

Result<std::optional<TaskLine>> TaskReader::next(std::string_view line) {
  if (++number_ == 1 && line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) return std::optional<TaskLine>();
  ASSIGN_OR_RETURN(auto task, parse_line(line, number_, {default_check_, default_labels_}));
  if (!task.check.empty()) {
    auto known = problem_of_check_.find(task.check);
    if (known == problem_of_check_.end()) {
      auto made = Check::make(task.check, folder_, nullptr);
      known = problem_of_check_.emplace(task.check, made ? "" : std::move(made).error().message).first;
    }
    if (!known->second.empty()) return invalid("\"check\": {}", known->second);
  }
  const auto [first, fresh] = line_of_id_.emplace(task.id, number_);
  if (!fresh) return invalid("\"id\": found \"{}\" as on line {}, expected an id of its own", task.id, first->second);
  return std::optional(std::move(task));
}

Result<TaskFile> parse_tasks(std::string_view bytes, const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(TaskReader reader, TaskReader::open(folder));
  TaskFile file;
  file.folder = folder;
  file.content_hash = sha256_hex(bytes);
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    auto task = reader.next(bytes.substr(0, end));
    bytes.remove_prefix(end == std::string_view::npos ? bytes.size() : end + 1);
    if (!task) {
      file.problems.push_back({reader.lines(), std::move(task).error().message});
    } else if (*task) {
      file.tasks.push_back(std::move(**task));
    }
  }
  if (file.tasks.empty() && file.problems.empty()) return invalid("found no task line");
  return file;
}

Result<TaskFile> read_tasks(const std::filesystem::path& path) {
  if (path == "-") {
    const std::string bytes{std::istreambuf_iterator<char>(std::cin), {}};
    auto file = parse_tasks(bytes, "");
    if (!file) return std::move(file).error().in("standard input");
    return file;
  }
  ASSIGN_OR_RETURN(const std::string bytes, read_file(path));
  auto folder = path.parent_path();
  if (folder.empty()) folder = ".";
  auto file = parse_tasks(bytes, folder);
  if (!file) return std::move(file).error().in(path.string());
  return file;
}

Json task_messages(const TaskLine& task) {
  if (task.messages.is_array()) return task.messages;
  return Json::array({{{"role", "user"}, {"content", task.prompt}}});
}

std::string task_text(const TaskLine& task) {
  if (!task.messages.is_array()) return task.prompt;
  std::string text;
  for (const auto& message : task.messages) {
    if (!text.empty()) text += '\n';
    text += message.at("content").get<std::string>();
  }
  return text;
}

Json unknown_fields(const TaskLine& task) {
  Json unknown = Json::object();
  if (!task.fields.is_object()) return unknown;
  for (const auto& [key, value] : task.fields.items()) {
    if (std::find(kKnownFields.begin(), kKnownFields.end(), key) == kKnownFields.end()) {
      unknown[key] = value;
    }
  }
  return unknown;
}

}  // namespace colony::data
