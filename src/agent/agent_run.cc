#include "agent/agent_run.h"

#include <algorithm>

namespace colony::agent {
namespace {

Json message(const char* role, std::string_view content) {
  return Json{{"role", role}, {"content", content}};
}

// Without a template: the same parts, apart by empty lines; a lone task is sent as it is.
std::string raw_text(const Json& messages) {
  std::string text;
  for (const auto& part : messages) {
    if (!text.empty()) text += "\n\n";
    text += part.at("content").get<std::string>();
  }
  return text;
}

}  // namespace

std::string adapter_name(const AgentSpec& spec) { return "agent:" + spec.name; }

Result<ReadyAgent> make_ready(std::shared_ptr<const AgentSpec> spec, engine::Adapters* adapters) {
  ReadyAgent agent{std::move(spec), nullptr, nullptr};
  if (!agent.spec->adapter.empty()) {
    if (adapters == nullptr) return invalid("agent {} has an adapter, here only the base model is at hand", agent.spec->name);
    ASSIGN_OR_RETURN(agent.adapter, adapters->add(adapter_name(*agent.spec), agent.spec->folder / agent.spec->adapter));
  }
  if (!agent.spec->choices.empty()) {
    ASSIGN_OR_RETURN(agent.constraint, text::make_choices(agent.spec->choices));
  } else if (!agent.spec->schema.is_null()) {
    ASSIGN_OR_RETURN(agent.constraint, text::make_json_schema(agent.spec->schema));
  }
  return agent;
}

Json script_view(const AgentSpec& agent, const data::TaskLine& task) {
  Json view = data::unknown_fields(task);
  view["id"] = task.id;
  view["kind"] = task.kind;
  if (task.messages.is_array()) {
    view["messages"] = task.messages;
  } else {
    view["prompt"] = task.prompt;
  }
  if (agent.labels_from_task && !task.labels.empty()) view["labels"] = task.labels;
  return view;
}

Json agent_messages(const AgentSpec& agent, const data::TaskLine& task,
                    const std::optional<std::string>& prompt) {
  Json own = data::task_messages(task);
  if (prompt) {
    // The last thing the user said is what a script rewrites.
    auto last = std::find_if(own.rbegin(), own.rend(), [](const Json& part) {
      return part.at("role") == "user";
    });
    if (last != own.rend()) {
      (*last)["content"] = *prompt;
    } else {
      own.push_back(message("user", *prompt));
    }
  }
  Json messages = Json::array();
  std::string system = agent.prompt;
  size_t first = 0;
  if (!system.empty() && own[0].at("role") == "system") {
    system += "\n\n" + own[0].at("content").get<std::string>();
    first = 1;
  }
  if (!system.empty()) messages.push_back(message("system", system));
  for (const auto& [question, answer] : agent.examples) {
    messages.push_back(message("user", question));
    messages.push_back(message("assistant", answer));
  }
  for (size_t i = first; i < own.size(); ++i) messages.push_back(own[i]);
  return messages;
}

Result<BeforeResult> run_before(const AgentSpec& agent, const data::TaskLine& task) {
  if (!agent.program || !agent.program->has_before()) return BeforeResult{};
  return agent.program->before(script_view(agent, task));
}

Result<Prepared> prepare(const ReadyAgent& agent, const data::TaskLine& task,
                         const engine::Snapshot& snapshot, const RunContext& context) {
  ASSIGN_OR_RETURN(BeforeResult before, run_before(*agent.spec, task));
  if (before.answer) return Prepared{std::move(before.answer), std::nullopt};
  ASSIGN_OR_RETURN(auto request, make_request(agent, task, before.prompt, snapshot, context));
  return Prepared{std::nullopt, std::move(request)};
}

Result<engine::Request> make_request(const ReadyAgent& agent, const data::TaskLine& task, const std::optional<std::string>& prompt,
                                     const engine::Snapshot& snapshot, const RunContext& context) {
  const AgentSpec& spec = *agent.spec;
  engine::Request request;
  const Json messages = agent_messages(spec, task, prompt);
  if (context.raw) {
    ASSIGN_OR_RETURN(request.prompt_ids, snapshot.raw_ids(raw_text(messages)));
  } else {
    ASSIGN_OR_RETURN(request.prompt_ids, snapshot.chat_ids(messages, context.now_unix_ms));
  }
  request.sampling = spec.sampling;
  request.sampling.seed += context.seed;
  request.sampling.max_tokens = spec.max_tokens > 0 ? std::min(spec.max_tokens, context.max_tokens) : context.max_tokens;
  request.task_id = context.task_id;
  request.agent_id = static_cast<uint32_t>(spec.id());
  request.budget = context.budget;
  request.deadline = context.deadline;
  if (spec.seconds_max > 0) {
    const auto own = context.now + std::chrono::duration_cast<std::chrono::nanoseconds>(
                                       std::chrono::duration<double>(spec.seconds_max));
    request.deadline = request.deadline ? std::min(*request.deadline, own) : own;
  }
  request.constraint = agent.constraint;
  request.adapter = agent.adapter ? agent.adapter : context.adapter;
  if (spec.labels_from_task && !task.labels.empty()) {
    ASSIGN_OR_RETURN(request.constraint, text::make_choices(task.labels));
  }
  return request;
}

Result<std::string> finish_answer(const AgentSpec& agent, const data::TaskLine& task,
                                  engine::Output output) {
  if (output.cut) {
    constexpr size_t kShown = 80;
    std::string_view end = output.text;
    if (end.size() > kShown) end.remove_prefix(end.size() - kShown);
    return invalid("the constrained answer was cut {} after {} tokens, before its end; it ends with {}",
                   output.finish == engine::FinishReason::kLength ? "at max_tokens" : "at a stop string", output.ids.size(), to_line(Json(end)));
  }
  if (!agent.program || !agent.program->has_after()) return std::move(output.text);
  return agent.program->after(script_view(agent, task), output.text);
}

}  // namespace colony::agent
