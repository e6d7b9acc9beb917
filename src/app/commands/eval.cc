#include "app/commands/eval.h"

#include <map>
#include <set>

#include "agent/agent.h"
#include "agent/agent_run.h"
#include "app/commands/agents.h"
#include "app/commands/tasks.h"
#include "app/console.h"
#include "app/session.h"
#include "base/stats.h"

namespace colony::app {
namespace {

struct Kind {
  std::vector<double> scores;
  uint64_t tasks = 0, completion_tokens = 0;
  double seconds = 0;
};

}  // namespace

Result<int> run_eval(const EvalOptions& options) {
  ASSIGN_OR_RETURN(const auto checked, read_checked_tasks(options.file));
  agent::AgentSpec base;
  base.name = "generalist";
  base.max_tokens = options.sampling.max_tokens;
  std::shared_ptr<const agent::AgentSpec> spec = std::make_shared<agent::AgentSpec>(base);
  if (!options.agent.empty()) {
    ASSIGN_OR_RETURN(const auto folder, find_agents(options.agents));
    ASSIGN_OR_RETURN(const auto directory, agent::AgentDirectory::open(folder, {options.agent}));
    spec = directory.agents().front();
  }
  ASSIGN_OR_RETURN(const auto session, Session::open(options.model));
  ASSIGN_OR_RETURN(const auto ready, agent::make_ready(spec, &session->engine->adapters()));
  catch_interrupts();
  const auto& tasks = checked.file.tasks;
  Progress progress("eval", session->clock);

  std::vector<std::string> order;
  std::map<std::string, Kind> kinds;
  std::map<size_t, std::string> script_answers;  // of tasks that need no model
  std::vector<size_t> asked;                     // engine request -> task
  int64_t ended = 0;
  bool bad = !checked.file.problems.empty();
  const auto finish = [&](size_t index, Result<std::string> answer, uint64_t tokens, double seconds) {
    const auto& task = tasks[index];
    if (!kinds.contains(task.kind)) order.push_back(task.kind);
    Kind& kind = kinds[task.kind];
    ++kind.tasks;
    kind.completion_tokens += tokens;
    kind.seconds += seconds;
    if (answer && checked.checks[index]) {
      auto score = checked.checks[index]->score(task, *answer);
      if (score) kind.scores.push_back(*score);
      else answer = std::move(score).error();
    } else if (checked.checks[index]) {
      kind.scores.push_back(0);
    }
    if (!answer) {
      bad = true;
      progress.clear();
      complain(answer.error().code == ErrorCode::kCancelled ? answer.error() : Error(answer.error()).in(fmt::format("{}:{}", options.file, task.line)));
    }
    progress.show(++ended, static_cast<int64_t>(tasks.size()), "");
  };
  agent::RunContext context;
  context.raw = options.raw;
  context.max_tokens = options.sampling.max_tokens;
  context.seed = options.sampling.seed;
  context.now_unix_ms = session->clock.unix_ms();
  context.now = session->clock.now();
  context.adapter = session->adapter;
  // run_all wants a request for every index; a script's answer is told as a cancelled one.
  const Error by_script = cancelled("answered by the script");
  const int status = run_all(
      *session->engine, tasks.size(),
      [&](size_t i) -> Asked {
        context.task_id = i;
        ASSIGN_OR_RETURN(auto prepared, agent::prepare(ready, tasks[i], session->engine->snapshot(), context));
        if (prepared.answer) {
          script_answers[i] = *prepared.answer;
          return Error(by_script);
        }
        if (options.agent.empty()) {
          prepared.request->sampling = options.sampling.params();
        } else {
          options.sampling.over(prepared.request->sampling);
        }
        return std::move(*prepared.request);
      },
      [&](size_t i, Result<engine::Output> output) {
        if (const auto at = script_answers.find(i); at != script_answers.end()) {
          finish(i, at->second, 0, 0);
          return;
        }
        if (!output) return finish(i, std::move(output).error(), 0, 0);
        const auto tokens = output->ids.size();
        if (output->finish == engine::FinishReason::kError || output->finish == engine::FinishReason::kCancelled) {
          return finish(i, output->error.value_or(cancelled("interrupted")), tokens, output->seconds);
        }
        finish(i, agent::finish_answer(*spec, tasks[i], std::move(output->text)), tokens, output->seconds);
      });
  progress.clear();
  std::vector<std::vector<std::string>> rows{{"KIND", "TASKS", "SUCCESS", "TOKENS", "SECONDS"}};
  std::vector<double> all;
  for (const auto& name : order) {
    const Kind& kind = kinds[name];
    const Interval interval = interval95(kind.scores);
    all.insert(all.end(), kind.scores.begin(), kind.scores.end());
    if (options.json) {
      Json line = {{"kind", name}, {"tasks", kind.tasks}, {"success", nullptr}, {"ci95", nullptr},
                   {"completion_tokens", kind.completion_tokens}, {"seconds", kind.seconds}};
      if (!kind.scores.empty()) {
        line["success"] = mean(kind.scores);
        line["ci95"] = {interval.low, interval.high};
      }
      print_line(to_line(line));
    } else {
      rows.push_back({name, std::to_string(kind.tasks), kind.scores.empty() ? "-" : with_interval(mean(kind.scores), interval.low, interval.high),
                      std::to_string(kind.completion_tokens), fmt::format("{:.1f}", kind.seconds)});
    }
  }
  if (!options.json) {
    const Interval interval = interval95(all);
    if (!all.empty()) rows.push_back({"all", std::to_string(tasks.size()), with_interval(mean(all), interval.low, interval.high), "", ""});
    std::fputs(table(rows).c_str(), stdout);
  }
  if (status == kInterrupted) return kInterrupted;
  return bad ? kSomeBad : kDone;
}

}  // namespace colony::app
