#include "data/check.h"

#include <algorithm>
#include <array>

#include "base/file.h"
#include "data/compare.h"
#include "text/constraint.h"
#include "text/fold.h"
#include "text/regex.h"

namespace colony::data {
namespace {

constexpr uint64_t kSchemaBytesMax = 4 << 20;

Result<std::string_view> answer_of(const TaskLine& task, std::string_view check) {
  if (!task.answer) {
    return invalid("task {}: check \"{}\" needs an \"answer\"; the task has none", task.id, check);
  }
  return std::string_view(*task.answer);
}

double passed(bool yes) { return yes ? 1.0 : 0.0; }

double exact(std::string_view answer, std::string_view output) {
  return passed(text::trim(answer) == text::trim(output));
}
double icase(std::string_view answer, std::string_view output) {
  return passed(text::fold_case(text::trim(answer)) == text::fold_case(text::trim(output)));
}
std::string_view without_stop(std::string_view text) {
  text = text::trim(text);
  if (text.ends_with('.')) text.remove_suffix(1);
  return text;
}
double label(std::string_view answer, std::string_view output) {
  return passed(text::fold_case(without_stop(answer)) == text::fold_case(without_stop(output)));
}
std::string folded_sql(std::string_view text) {
  std::string out;
  for (const std::string_view word : text::split_space(text)) {
    if (!out.empty()) out += ' ';
    out += word;
  }
  return text::lower(out);
}
double sql(std::string_view answer, std::string_view output) {
  return passed(folded_sql(answer) == folded_sql(output));
}
double slots(std::string_view answer, std::string_view output) {
  return slots_f1(parse_slots(answer), parse_slots(output));
}

// Checks that compare the task's answer with the output and cannot fail.
class CompareCheck final : public Check {
 public:
  using Compare = double (*)(std::string_view answer, std::string_view output);
  CompareCheck(std::string name, Compare compare) : name_(std::move(name)), compare_(compare) {}
  Result<double> score(const TaskLine& task, std::string_view output) const override {
    ASSIGN_OR_RETURN(const auto answer, answer_of(task, name_));
    return compare_(answer, output);
  }

 private:
  const std::string name_;
  const Compare compare_;
};

class NumericCheck final : public Check {
 public:
  Result<double> score(const TaskLine& task, std::string_view output) const override {
    ASSIGN_OR_RETURN(const auto answer, answer_of(task, "numeric"));
    const auto expected = last_number(answer);
    if (!expected) {
      return invalid("task {}: check \"numeric\" needs a number in \"answer\"; found none", task.id);
    }
    const auto found = last_number(output);
    return passed(found && *found == *expected);
  }
};

// Every user message, or the prompt.
std::string asked(const TaskLine& task) {
  if (!task.messages.is_array()) return task.prompt;
  std::string text;
  for (const auto& message : task.messages) {
    if (message.is_object() && message.value("role", Json()) == "user" &&
        message.contains("content") && message["content"].is_string()) {
      text += message["content"].get<std::string>() + "\n";
    }
  }
  return text;
}

class HasSlotsCheck final : public Check {
 public:
  Result<double> score(const TaskLine& task, std::string_view output) const override {
    const auto values = bracket_values(asked(task));
    if (values.empty()) {
      return invalid("task {}: check \"has_slots\" needs slot[value] in the prompt; found none",
                     task.id);
    }
    const std::string folded = text::fold_case(output);
    size_t wanted = 0, present = 0;
    for (const auto& value : values) {
      const std::string needle = text::fold_case(value);
      if (needle.empty() || needle == "yes" || needle == "no") continue;
      ++wanted;
      present += folded.find(needle) != std::string::npos;
    }
    return wanted == 0 ? 1.0 : static_cast<double>(present) / static_cast<double>(wanted);
  }
};

class JsonCheck final : public Check {
 public:
  Result<double> score(const TaskLine& task, std::string_view output) const override {
    ASSIGN_OR_RETURN(const auto answer, answer_of(task, "json"));
    auto expected = parse_json(answer);
    if (!expected) {
      return invalid("task {}: check \"json\" needs JSON in \"answer\": {}", task.id,
                     expected.error().message);
    }
    const auto found = parse_json(output);
    return passed(found && json_equal(*expected, *found));
  }
};

class SchemaCheck final : public Check {
 public:
  explicit SchemaCheck(Json schema) : schema_(std::move(schema)) {}
  Result<double> score(const TaskLine&, std::string_view output) const override {
    const auto found = parse_json(output);
    return passed(found && text::schema_problem(schema_, *found).empty());
  }

 private:
  const Json schema_;
};

class RegexCheck final : public Check {
 public:
  explicit RegexCheck(std::shared_ptr<const text::Regex> regex) : regex_(std::move(regex)) {}
  Result<double> score(const TaskLine& task, std::string_view output) const override {
    auto found = regex_->find(output);
    if (!found) return std::move(found).error().in("task " + task.id);
    return passed(found->has_value());
  }

 private:
  const std::shared_ptr<const text::Regex> regex_;
};

class LuaCheck final : public Check {
 public:
  LuaCheck(std::filesystem::path path, ScriptCheck script)
      : path_(std::move(path)), script_(std::move(script)) {}
  Result<double> score(const TaskLine& task, std::string_view output) const override {
    if (!script_) return invalid("{}: script checks are not available here", path_.string());
    auto score = script_(path_, task.fields, output);
    if (!score) return std::move(score).error().in("task " + task.id);
    if (!(*score >= 0 && *score <= 1)) {
      return invalid("{}: task {}: found score {}, expected a number in 0…1", path_.string(),
                     task.id, *score);
    }
    return *score;
  }

 private:
  const std::filesystem::path path_;
  const ScriptCheck script_;
};

struct Named {
  std::string_view name;
  CompareCheck::Compare compare;
};
constexpr std::array<Named, 6> kCompares{{{"exact", exact},
                                          {"icase", icase},
                                          {"label", label},
                                          {"sql", sql},
                                          {"slots", slots},
                                          {"token_f1", token_f1}}};

}  // namespace

Result<std::shared_ptr<const Check>> Check::make(const std::string& spec,
                                                 const std::filesystem::path& folder,
                                                 ScriptCheck script) {
  using Made = std::shared_ptr<const Check>;
  for (const auto& [name, compare] : kCompares) {
    if (spec == name) return Made(std::make_shared<CompareCheck>(std::string(name), compare));
  }
  if (spec == "numeric") return Made(std::make_shared<NumericCheck>());
  if (spec == "has_slots") return Made(std::make_shared<HasSlotsCheck>());
  if (spec == "json") return Made(std::make_shared<JsonCheck>());

  const size_t colon = spec.find(':');
  const std::string kind = spec.substr(0, colon);
  const std::string rest = colon == std::string::npos ? "" : spec.substr(colon + 1);
  if (kind == "regex" && colon != std::string::npos) {
    auto regex = text::Regex::compile(rest, {.syntax = text::RegexSyntax::kPython});
    if (!regex) return std::move(regex).error().in("check \"" + spec + "\"");
    return Made(std::make_shared<RegexCheck>(std::move(*regex)));
  }
  if (kind == "schema" && colon != std::string::npos) {
    const auto path = folder / rest;
    std::error_code ignored;
    if (rest.empty() || !std::filesystem::is_regular_file(path, ignored)) {
      return not_found("check \"{}\": no file {}", spec, path.string());
    }
    ASSIGN_OR_RETURN(const std::string bytes, read_file(path, kSchemaBytesMax));
    auto schema = parse_json(bytes);
    if (!schema) return std::move(schema).error().in(path.string());
    if (!schema->is_object() && !schema->is_boolean()) {
      return invalid("{}: found {}, expected a schema", path.string(), json_kind(*schema));
    }
    if (auto judged = text::schema_is_judged(*schema); !judged) return std::move(judged).error().in(path.string());
    return Made(std::make_shared<SchemaCheck>(std::move(*schema)));
  }
  if (kind == "script" && colon != std::string::npos) {
    const bool plain = !rest.empty() && std::all_of(rest.begin(), rest.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '_' || c == '-';
    });
    if (!plain) {
      return invalid("check \"{}\": found name \"{}\", expected letters, digits, _ and -", spec,
                     rest);
    }
    const auto path = folder / "checks" / (rest + ".lua");
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(path, ignored)) {
      return not_found("check \"{}\": no file {}", spec, path.string());
    }
    return Made(std::make_shared<LuaCheck>(path, std::move(script)));
  }
  const std::string near =
      nearest(kind, {"exact", "icase", "label", "numeric", "sql", "slots", "has_slots", "token_f1",
                     "json", "schema:FILE", "regex:RE", "script:NAME"});
  return invalid("check \"{}\" is not known{}", spec,
                 near.empty() ? "" : "; did you mean \"" + near + "\"?");
}

bool check_needs_answer(const std::string& spec) {
  return spec != "has_slots" && !spec.starts_with("schema:") && !spec.starts_with("regex:") &&
         !spec.starts_with("script:");
}

}  // namespace colony::data
