#include "engine/snapshot.h"

#include <algorithm>
#include <future>
#include <optional>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "engine/gguf_text.h"
#include "tensor/cpu.h"
#include "tensor/matmul.h"

namespace colony::engine {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kTextFileBytesMax = 256ULL << 20;

bool is_gguf(const fs::path& path) { return fs::is_regular_file(path); }

// nullopt when the file is not there.
Result<std::optional<std::string>> read_if_there(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return std::optional<std::string>();
  ASSIGN_OR_RETURN(std::string bytes, read_file(path, kTextFileBytesMax));
  RETURN_IF_ERROR(check_not_mistaken(bytes, path.string()));
  return std::optional<std::string>(std::move(bytes));
}

// null when the file is not there.
Result<Json> json_if_there(const fs::path& path) {
  ASSIGN_OR_RETURN(const auto bytes, read_if_there(path));
  if (!bytes) return Json();
  auto json = parse_json(*bytes);
  if (!json) return std::move(json).error().in(path.string());
  return json;
}

Result<std::shared_ptr<const text::ChatTemplate>> parse_template(std::string_view source,
                                                                 const std::string& where) {
  auto parsed = text::ChatTemplate::parse(source);
  if (!parsed) return std::move(parsed).error().in(where);
  return parsed;
}

// hf_compat 3.1: chat_template.jinja, then tokenizer_config's chat_template, a string or a list of
// {name, template} of which "default" is used, and "tool_use" when there are tools.
Status load_templates(const fs::path& folder, const Json& tokenizer_config, TextSide& side) {
  const auto file = folder / "chat_template.jinja";
  ASSIGN_OR_RETURN(const auto jinja, read_if_there(file));
  ASSIGN_OR_RETURN(const auto tool_use, read_if_there(folder / "additional_chat_templates" / "tool_use.jinja"));
  if (tool_use) {
    ASSIGN_OR_RETURN(side.tool_template, parse_template(*tool_use, "additional_chat_templates/tool_use.jinja"));
  }
  if (jinja) {
    ASSIGN_OR_RETURN(side.chat_template, parse_template(*jinja, file.string()));
    return {};
  }
  if (!tokenizer_config.is_object() || !tokenizer_config.contains("chat_template")) return {};
  const Json& value = tokenizer_config["chat_template"];
  const std::string where = (folder / "tokenizer_config.json").string() + ": chat_template";
  if (value.is_null()) return {};
  if (value.is_string()) {
    ASSIGN_OR_RETURN(side.chat_template, parse_template(value.get<std::string>(), where));
    return {};
  }
  if (!value.is_array()) return invalid("{} is {}, expected a string or an array", where, json_kind(value));
  for (const Json& entry : value) {
    if (!entry.is_object()) return invalid("{} holds {}, expected objects", where, json_kind(entry));
    ASSIGN_OR_RETURN(const auto name, get_string(entry, "name", where));
    ASSIGN_OR_RETURN(const auto source, get_string(entry, "template", where));
    if (!name || !source) return invalid("{}: an entry lacks name or template", where);
    if (*name == "default") {
      ASSIGN_OR_RETURN(side.chat_template, parse_template(*source, where + " 'default'"));
    } else if (*name == "tool_use") {
      ASSIGN_OR_RETURN(side.tool_template, parse_template(*source, where + " 'tool_use'"));
    }
  }
  if (!side.chat_template && !value.empty()) return invalid("{} has no entry named 'default'", where);
  return {};
}

void take_named_specials(TextSide& side) {
  if (!side.tokenizer) return;
  for (const auto& [name, content] : side.tokenizer->named_specials()) side.template_variables[name] = content;
}

Result<TextSide> load_folder(const fs::path& folder) {
  TextSide side;
  ASSIGN_OR_RETURN(const Json tokenizer, json_if_there(folder / "tokenizer.json"));
  ASSIGN_OR_RETURN(const Json config, json_if_there(folder / "tokenizer_config.json"));
  if (!tokenizer.is_null()) {
    auto made = text::Tokenizer::from_json(tokenizer, config);
    if (!made) return std::move(made).error().in((folder / "tokenizer.json").string());
    side.tokenizer = std::move(*made);
  }
  RETURN_IF_ERROR(load_templates(folder, config, side));
  take_named_specials(side);
  return side;
}

Result<TextSide> load_gguf(const model::GgufFile& gguf, const fs::path& path) {
  TextSide side;
  ASSIGN_OR_RETURN(auto found, gguf_text(gguf));
  if (found.tokenizer) {
    auto made = text::Tokenizer::from_gguf(*found.tokenizer);
    if (!made) return std::move(made).error().in(path.string());
    side.tokenizer = std::move(*made);
  }
  if (!found.chat_template.empty()) {
    ASSIGN_OR_RETURN(side.chat_template, parse_template(found.chat_template, path.string() + ": tokenizer.chat_template"));
  }
  if (!found.tool_template.empty()) {
    ASSIGN_OR_RETURN(side.tool_template, parse_template(found.tool_template, path.string() + ": tokenizer.chat_template.tool_use"));
  }
  take_named_specials(side);
  return side;
}

Result<tensor::WeightType> choose_dtype(const std::string& dtype) {
  using tensor::WeightType;
  for (const WeightType type : {WeightType::kF32, WeightType::kBf16, WeightType::kInt8, WeightType::kInt4}) {
    if (dtype == tensor::weight_type_name(type)) return type;
  }
  if (dtype != "auto") return invalid("dtype is '{}', expected auto, f32, bf16, int8 or int4", dtype);
  // The same at every start, or the same seed would not give the same run, and a run could not go
  // on: a measurement at load chose f32 once in eight starts beside a busy machine. int8 decodes
  // fastest on every kind of machine measured (AVX2 alone to AVX-512 VNNI), in a quarter of f32's memory.
  return WeightType::kInt8;
}

}  // namespace

Result<std::vector<int32_t>> find_eos_ids(const fs::path& path, const model::ModelConfig& config,
                                          const TextSide& side) {
  std::vector<int32_t> ids;
  if (!is_gguf(path)) {
    ASSIGN_OR_RETURN(const Json generation, json_if_there(path / "generation_config.json"));
    ASSIGN_OR_RETURN(ids, model::read_token_ids(generation, "eos_token_id", (path / "generation_config.json").string()));
  }
  if (ids.empty()) ids = config.eos_token_ids;
  if (ids.empty() && side.tokenizer && side.template_variables.contains("eos_token")) {
    if (const auto id = side.tokenizer->id_of(side.template_variables["eos_token"].get<std::string>())) ids.push_back(*id);
  }
  // No token of the model has such an id, so none ends at it.
  std::erase_if(ids, [&](int32_t id) {
    if (id < config.vocab_size) return false;
    log_warn("{}: eos_token_id {} is none of the {} ids and left out", path.string(), id, config.vocab_size);
    return true;
  });
  return ids;
}

Result<TextSide> load_text_side(const fs::path& path) {
  if (!is_gguf(path)) {
    std::error_code ignored;
    if (!fs::is_directory(path, ignored)) return not_found("{}: no such folder or file", path.string());
    return load_folder(path);
  }
  ASSIGN_OR_RETURN(const auto gguf, model::GgufFile::open(path));
  return load_gguf(*gguf, path);
}

Result<std::shared_ptr<const Snapshot>> Snapshot::load(const fs::path& path, const std::string& name,
                                                       const std::string& dtype, ByteLedger& ledger,
                                                       tensor::ThreadPool& pool, const model::PackedCache* packed) {
  const std::string problem = tensor::isa_problem();
  if (!problem.empty()) return invalid("{}", problem);
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->name = name;
  snapshot->path = path;
  model::Transformer::Options options{.packed = packed};
  ASSIGN_OR_RETURN(options.dtype, choose_dtype(dtype));
  // A tokenizer takes one thread about as long as a small model's weights take all of them.
  auto text = std::async(std::launch::async, [&path] { return load_text_side(path); });
  auto model = model::Transformer::load(path, options, ledger, pool);
  ASSIGN_OR_RETURN(snapshot->text, text.get());
  ASSIGN_OR_RETURN(snapshot->model, std::move(model));
  ASSIGN_OR_RETURN(snapshot->eos_ids, find_eos_ids(path, snapshot->model->config(), snapshot->text));
  return std::shared_ptr<const Snapshot>(std::move(snapshot));
}

Result<std::string> Snapshot::render(const Json& messages, const Json& tools,
                                     bool add_generation_prompt, int64_t now_unix_ms) const {
  const bool has_tools = tools.is_array() && !tools.empty();
  const auto& chosen = has_tools && text.tool_template ? text.tool_template : text.chat_template;
  if (!chosen) {
    return invalid("{} has no chat template; send the prompt as it is with --raw", name);
  }
  Json variables = Json::object();
  variables["messages"] = messages;
  variables["tools"] = tools;
  variables["documents"] = nullptr;
  variables["add_generation_prompt"] = add_generation_prompt;
  for (const auto& [key, value] : text.template_variables.items()) variables[key] = value;
  return chosen->render(variables, now_unix_ms);
}

Result<std::vector<int32_t>> Snapshot::chat_ids(const Json& messages, int64_t now_unix_ms) const {
  if (!text.tokenizer) return invalid("{} has no tokenizer; give token ids", name);
  ASSIGN_OR_RETURN(const std::string rendered, render(messages, Json(), true, now_unix_ms));
  // The template wrote the specials that belong there.
  return text.tokenizer->encode(rendered, false);
}

Result<std::vector<int32_t>> Snapshot::raw_ids(std::string_view prompt) const {
  if (!text.tokenizer) return invalid("{} has no tokenizer; give token ids", name);
  return text.tokenizer->encode(prompt, true);
}

}  // namespace colony::engine
