// For tests: what one agent alone answers to many tasks, through the real way of prompt, script,
// constraint and engine.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/agent_run.h"
#include "base/check.h"
#include "data/check.h"
#include "data/task_line.h"
#include "engine/engine.h"

namespace colony::agent {

struct Answered {
  std::string text, error;  // error: "" when answered
  bool by_script = false;
  double score = 0;
  size_t completion_tokens = 0;
};

// A model with its engine and everything that must outlive them.
struct LoadedEngine {
  LoadedEngine(const std::filesystem::path& model, const std::string& dtype, int threads,
               engine::EngineOptions options = {})
      : ledger(8ULL << 30), pool(threads) {
    auto loaded = engine::Snapshot::load(model, "test", dtype, ledger, pool);
    CHECK(loaded.has_value(), loaded ? "" : loaded.error().message);
    snapshot = *loaded;
    auto made = engine::Engine::create(snapshot, options, ledger, pool, clock, metrics);
    CHECK(made.has_value(), made ? "" : made.error().message);
    engine = std::move(*made);
  }
  ByteLedger ledger;
  tensor::ThreadPool pool;
  SystemClock clock;
  Metrics metrics;
  std::shared_ptr<const engine::Snapshot> snapshot;
  std::unique_ptr<engine::Engine> engine;
};

inline std::vector<data::TaskLine> read_examples_file(const std::filesystem::path& path) {
  auto file = data::read_tasks(path);
  CHECK(file.has_value(), file ? "" : file.error().message);
  CHECK(file->problems.empty(), file->problems.empty() ? "" : file->problems[0].reason);
  return std::move(file->tasks);
}

// `loaded` may be null when the agent's script answers everything.
inline std::vector<Answered> answers_of(const std::filesystem::path& folder,
                                        const std::vector<data::TaskLine>& tasks,
                                        LoadedEngine* loaded, int max_tokens = 256) {
  auto spec = load_agent(folder);
  CHECK(spec.has_value(), spec ? "" : spec.error().message);
  auto ready = make_ready(std::make_shared<AgentSpec>(std::move(*spec)), loaded != nullptr ? &loaded->engine->adapters() : nullptr);
  CHECK(ready.has_value(), ready ? "" : ready.error().message);
  const AgentSpec& agent = *ready->spec;

  std::vector<Answered> answers(tasks.size());
  std::map<engine::RequestId, size_t> open;
  const auto take = [&](engine::Output& output) {
    Answered& answer = answers[open.at(output.id)];
    answer.completion_tokens = output.ids.size();
    if (output.error) {
      answer.error = output.error->message;
      return;
    }
    auto text = finish_answer(agent, tasks[open.at(output.id)], std::move(output));
    if (text) answer.text = std::move(*text); else answer.error = text.error().message;
  };
  for (size_t i = 0; i < tasks.size(); ++i) {
    RunContext context;
    context.max_tokens = max_tokens;
    context.task_id = i + 1;
    if (loaded == nullptr) {
      CHECK(agent.program && agent.program->has_before(), "an agent without before() needs a model");
      auto said = agent.program->before(script_view(agent, tasks[i]));
      if (!said) {
        answers[i].error = said.error().message;
      } else if (said->answer) {
        answers[i].text = *said->answer, answers[i].by_script = true;
      } else {
        answers[i].error = "left to the model";
      }
      continue;
    }
    auto prepared = prepare(*ready, tasks[i], *loaded->snapshot, context);
    if (!prepared) {
      answers[i].error = prepared.error().message;
    } else if (prepared->answer) {
      answers[i].text = *prepared->answer, answers[i].by_script = true;
    } else {
      auto id = loaded->engine->submit(std::move(*prepared->request));
      CHECK(id.has_value(), id ? "" : id.error().message);
      open.emplace(*id, i);
    }
  }
  while (loaded != nullptr && !loaded->engine->idle()) {
    for (auto& output : loaded->engine->step()) take(output);
  }
  for (size_t i = 0; i < tasks.size(); ++i) {
    if (!answers[i].error.empty()) continue;
    auto check = data::Check::make(tasks[i].check, "examples", nullptr);
    CHECK(check.has_value(), check ? "" : check.error().message);
    auto score = (*check)->score(tasks[i], answers[i].text);
    CHECK(score.has_value(), score ? "" : score.error().message);
    answers[i].score = *score;
  }
  return answers;
}

}  // namespace colony::agent
