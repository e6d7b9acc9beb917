#include "app/commands/eval.h"

#include <algorithm>
#include <map>
#include <optional>

#include "agent/agent.h"
#include "agent/agent_run.h"
#include "agent/tested.h"
#include "app/commands/agents.h"
#include "app/commands/doctor.h"
#include "app/commands/tasks.h"
#include "app/console.h"
#include "app/places.h"
#include "app/session.h"
#include "base/stats.h"
#include "store/ledger.h"
#include "swarm/gate.h"

namespace colony::app {
namespace {

using Spec = std::shared_ptr<const agent::AgentSpec>;

struct Answer {
  std::optional<double> score;  // nothing: not scored
  uint64_t tokens = 0;
  double seconds = 0;
  engine::FinishReason finish = engine::FinishReason::kError;
};
struct Answers {
  std::vector<Answer> of;  // [tasks]
  bool bad = false;        // one had an error
  bool interrupted = false;
};

Result<Answers> answer_tasks(Session& session, const Spec& spec, const EvalOptions& options, const CheckedTasks& checked) {
  ASSIGN_OR_RETURN(const auto ready, agent::make_ready(spec, &session.engine->adapters()));
  const auto& tasks = checked.file.tasks;
  Progress progress(options.each ? "eval " + spec->name : "eval", session.clock);
  Answers answers;
  answers.of.resize(tasks.size());
  std::map<size_t, std::string> script_answers;  // of tasks that need no model
  int64_t ended = 0;
  const auto finish = [&](size_t index, Result<std::string> answer, uint64_t tokens, double seconds) {
    Answer& out = answers.of[index];
    out.tokens = tokens;
    out.seconds = seconds;
    if (answer && checked.checks[index]) {
      auto score = checked.checks[index]->score(tasks[index], *answer);
      if (score) out.score = *score;
      else answer = std::move(score).error();
    } else if (checked.checks[index]) {
      out.score = 0;
    }
    if (!answer) {
      answers.bad = true;
      progress.clear();
      complain(answer.error().code == ErrorCode::kCancelled ? answer.error() : Error(answer.error()).in(fmt::format("{}:{}", options.file, tasks[index].line)));
    }
    progress.show(++ended, static_cast<int64_t>(tasks.size()), "");
  };
  agent::RunContext context;
  context.raw = options.raw;
  context.max_tokens = options.sampling.max_tokens;
  context.seed = options.sampling.seed;
  context.now_unix_ms = session.clock.unix_ms();
  context.now = session.clock.now();
  context.adapter = session.adapter;
  const bool own = !options.agent.empty() || options.each;  // the agent has its own ways to sample
  // run_all wants a request for every index; a script's answer is told as a cancelled one.
  const Error by_script = cancelled("answered by the script");
  const int status = run_all(
      *session.engine, tasks.size(),
      [&](size_t i) -> Asked {
        context.task_id = i;
        ASSIGN_OR_RETURN(auto prepared, agent::prepare(ready, tasks[i], session.engine->snapshot(), context));
        if (prepared.answer) {
          script_answers[i] = *prepared.answer;
          return Error(by_script);
        }
        if (own) options.sampling.over(prepared.request->sampling);
        else prepared.request->sampling = options.sampling.params();
        return std::move(*prepared.request);
      },
      [&](size_t i, Result<engine::Output> output) {
        if (const auto at = script_answers.find(i); at != script_answers.end()) {
          answers.of[i].finish = engine::FinishReason::kStop;
          finish(i, at->second, 0, 0);
          return;
        }
        if (!output) return finish(i, std::move(output).error(), 0, 0);
        const auto tokens = output->ids.size();
        const double seconds = output->seconds;
        answers.of[i].finish = output->finish;
        if (output->finish == engine::FinishReason::kError || output->finish == engine::FinishReason::kCancelled) {
          return finish(i, output->error.value_or(cancelled("interrupted")), tokens, seconds);
        }
        finish(i, agent::finish_answer(*spec, tasks[i], std::move(*output)), tokens, seconds);
      });
  progress.clear();
  answers.interrupted = status == kInterrupted;
  return answers;
}

struct Kind {
  std::string name;
  std::vector<double> scores;
  uint64_t tasks = 0, completion_tokens = 0;
  uint64_t cut = 0;  // answers with finish "length"
  double seconds = 0;
};

// In order of appearance.
std::vector<Kind> kinds_of(const Answers& answers, const CheckedTasks& checked) {
  std::vector<Kind> kinds;
  for (size_t i = 0; i < answers.of.size(); ++i) {
    const std::string& name = checked.file.tasks[i].kind;
    auto at = std::find_if(kinds.begin(), kinds.end(), [&](const Kind& kind) { return kind.name == name; });
    if (at == kinds.end()) {
      at = kinds.insert(kinds.end(), Kind());
      at->name = name;
    }
    ++at->tasks;
    at->completion_tokens += answers.of[i].tokens;
    at->seconds += answers.of[i].seconds;
    at->cut += answers.of[i].finish == engine::FinishReason::kLength;
    if (answers.of[i].score) at->scores.push_back(*answers.of[i].score);
  }
  return kinds;
}

std::vector<double> scores_of(const Answers& answers) {
  std::vector<double> scores;
  for (const Answer& answer : answers.of) {
    if (answer.score) scores.push_back(*answer.score);
  }
  return scores;
}

std::string success(const std::vector<double>& scores) {
  const Interval interval = interval95(scores);
  return scores.empty() ? "-" : with_interval(mean(scores), interval.low, interval.high);
}

// The kinds it does well, best first: "dates 1.00, units 0.62".
std::string good_at(std::vector<Kind> kinds) {
  std::erase_if(kinds, [](const Kind& kind) { return mean(kind.scores) < .5; });
  std::sort(kinds.begin(), kinds.end(), [](const Kind& a, const Kind& b) {
    const double left = mean(a.scores), right = mean(b.scores);
    return left != right ? left > right : a.name < b.name;
  });
  std::string text;
  for (const Kind& kind : kinds) text += fmt::format("{}{} {:.2f}", text.empty() ? "" : ", ", kind.name, mean(kind.scores));
  return text;
}

void print_kinds(const std::vector<Kind>& kinds, const Spec& spec, const EvalOptions& options, const std::vector<double>& all) {
  std::vector<std::vector<std::string>> rows{{"KIND", "TASKS", "SUCCESS", "TOKENS", "SECONDS"}};
  uint64_t tasks = 0, cut = 0;
  for (const Kind& kind : kinds) {
    tasks += kind.tasks;
    cut += kind.cut;
    if (!options.json) {
      rows.push_back({kind.name, std::to_string(kind.tasks), success(kind.scores), std::to_string(kind.completion_tokens), fmt::format("{:.1f}", kind.seconds)});
      continue;
    }
    Json line = {{"kind", kind.name}, {"tasks", kind.tasks}, {"success", nullptr}, {"ci95", nullptr},
                 {"completion_tokens", kind.completion_tokens}, {"seconds", kind.seconds}, {"cut", kind.cut}};
    if (options.each) line["agent"] = spec->name;
    if (!kind.scores.empty()) {
      const Interval interval = interval95(kind.scores);
      line["success"] = mean(kind.scores);
      line["ci95"] = ends(interval);
    }
    print_line(to_line(line));
  }
  if (options.json) return;
  if (!all.empty()) rows.push_back({"all", std::to_string(tasks), success(all), "", ""});
  std::fputs(table(rows).c_str(), stdout);
  if (cut > 0) std::printf("%s cut at max_tokens (finish \"length\")\n", cut == 1 ? "1 answer was" : fmt::format("{} answers were", cut).c_str());
}

// The gate: both on the same tasks. True when the candidate passes. Says it as a line of JSON, or in `text`.
bool judge(const Answers& candidate, const Answers& incumbent, const Spec& spec, const EvalOptions& options, std::string& text) {
  std::vector<double> differences;
  uint64_t better = 0, worse = 0;
  bool whole = true;
  for (size_t i = 0; i < candidate.of.size(); ++i) {
    if (!candidate.of[i].score || !incumbent.of[i].score) continue;
    const double a = *candidate.of[i].score, b = *incumbent.of[i].score;
    for (const double score : {a, b}) whole = whole && (score == 0 || score == 1);
    differences.push_back(a - b);
    better += a > b;
    worse += a < b;
  }
  const auto verdict = whole ? swarm::judge_set(better, worse, differences.size()) : swarm::judge_scores(differences);
  const bool passes = verdict == swarm::Verdict::kPass;
  const Interval interval = whole ? Interval{} : student95(differences);
  text = fmt::format("{}: better on {}, worse on {} of {}, ", passes ? "passes" : "does not pass", better, worse, differences.size());
  text += whole ? fmt::format("p = {:.2g}", swarm::mcnemar(better, worse)) : fmt::format("{:+.3f} [{:+.3f}, {:+.3f}] an item", mean(differences), interval.low, interval.high);
  if (options.json) {
    Json line = {{"agent", spec->name}, {"against", options.against}, {"items", differences.size()}, {"better", better}, {"worse", worse},
                 {"difference", mean(differences)}, {"passes", passes}};
    if (whole) line["p"] = swarm::mcnemar(better, worse);
    else line["ci95"] = ends(interval);
    print_line(to_line(line));
  }
  return passes;
}

Result<std::vector<swarm::Place>> places_of_tasks(Session& session, const EvalOptions& options, const CheckedTasks& checked) {
  const auto& tasks = checked.file.tasks;
  std::vector<std::string> texts;
  for (const auto& task : tasks) texts.push_back(data::task_text(task));
  return places_of(session, find_home(options.home), texts, [&](size_t i) { return fmt::format("{}:{}", options.file, tasks[i].line); });
}

// In the ledger, which knows what this home ran itself, and beside the agent, where others find it; a folder that cannot be written is
// somebody else's, and only said: false.
Result<bool> keep(Session& session, store::Ledger& ledger, const agent::AgentSpec& spec, const Answers& answers, const std::vector<swarm::Place>& places, const CheckedTasks& checked) {
  std::vector<swarm::GateItem> items;
  for (size_t i = 0; i < places.size(); ++i) {
    if (answers.of[i].score) items.push_back({places[i], *answers.of[i].score});
  }
  RETURN_IF_ERROR(ledger.keep_test(spec, session.weights_hash(), checked.file.content_hash, items, session.clock.unix_ms()));
  if (const auto written = agent::keep_tested(spec, session.weights_hash(), items); !written) {
    note("{}; it is kept in this home's ledger alone", written.error().message);
    return false;
  }
  return true;
}

// Who is asked, and who they are measured against, if somebody.
struct Who {
  std::vector<Spec> agents;
  Spec against;
};
Result<Who> find_who(const EvalOptions& options) {
  Who who;
  if (options.agent.empty() && !options.each) {
    agent::AgentSpec base;
    base.name = "generalist";
    base.max_tokens = options.sampling.max_tokens;
    who.agents.push_back(std::make_shared<agent::AgentSpec>(std::move(base)));
    return who;
  }
  ASSIGN_OR_RETURN(const auto folder, find_agents(options.agents));
  std::vector<std::string> only;
  if (!options.each) {
    only.push_back(options.agent);
    if (!options.against.empty() && options.against != options.agent) only.push_back(options.against);
  }
  ASSIGN_OR_RETURN(const auto directory, agent::AgentDirectory::open(folder, only));
  for (const auto& [path, reason] : directory.problems()) note("{}: {}", path, reason);
  for (const auto& spec : directory.agents()) {
    if (spec->name == options.against) who.against = spec;
    if (options.each || spec->name == options.agent) who.agents.push_back(spec);
  }
  if (!options.against.empty() && !who.against) return not_found("--against: no agent '{}' in {}", options.against, folder.string());
  return who;
}

}  // namespace

Status check_usage(const EvalOptions& options) {
  if (options.each && !options.agent.empty()) return invalid("--each and --agent: give one of the two");
  const bool agents = options.each || !options.agent.empty();
  if ((options.keep || !options.against.empty()) && !agents) return invalid("--keep and --against go with --agent or --each");
  if (!options.agent.empty() && options.agent == options.against) return invalid("--against: found the same agent, expected another");
  return {};
}

Result<int> run_eval(const EvalOptions& options) {
  ASSIGN_OR_RETURN(const auto checked, read_checked_tasks(options.file));
  ASSIGN_OR_RETURN(const Who who, find_who(options));
  ASSIGN_OR_RETURN(const auto session, Session::open(options.model));
  catch_interrupts();
  const auto& tasks = checked.file.tasks;
  std::vector<swarm::Place> places;
  std::unique_ptr<store::Ledger> ledger;
  if (options.keep) {
    ASSIGN_OR_RETURN(ledger, store::Ledger::open(find_home(options.home)));
    ASSIGN_OR_RETURN(places, places_of_tasks(*session, options, checked));
  }
  std::optional<Answers> incumbent;
  if (who.against) {
    ASSIGN_OR_RETURN(incumbent, answer_tasks(*session, who.against, options, checked));
    if (incumbent->interrupted) return kInterrupted;
  }

  bool bad = !checked.file.problems.empty();
  std::vector<std::vector<std::string>> rows{{"AGENT", "TASKS", "SUCCESS", "GOOD AT"}};
  if (who.against) rows[0].push_back("AGAINST " + options.against);
  std::vector<std::string> kept;
  for (const Spec& spec : who.agents) {
    const bool itself = who.against && spec->name == options.against;
    auto answers = itself ? Result<Answers>(*incumbent) : answer_tasks(*session, spec, options, checked);
    if (!answers) {
      if (!options.each) return std::move(answers).error();
      complain(Error(answers.error()).in("agent " + spec->name));
      bad = true;
      continue;
    }
    if (answers->interrupted && options.each) return kInterrupted;
    bad = bad || answers->bad;
    const auto kinds = kinds_of(*answers, checked);
    const auto all = scores_of(*answers);
    if (!options.each || options.json) print_kinds(kinds, spec, options, all);
    std::string verdict;
    const bool passes = !who.against || itself || judge(*answers, *incumbent, spec, options, verdict);
    if (options.each) {
      rows.push_back({spec->name, std::to_string(tasks.size()), success(all), good_at(kinds)});
      if (who.against) rows.back().push_back(verdict);
    } else if (!options.json && !verdict.empty()) {
      std::printf("\n%s against %s %s\n", spec->name.c_str(), options.against.c_str(), verdict.c_str());
    }
    bad = bad || (!passes && !options.each);
    if (answers->interrupted) return kInterrupted;
    if (!options.keep || !passes) continue;
    ASSIGN_OR_RETURN(const bool beside, keep(*session, *ledger, *spec, *answers, places, checked));
    if (beside) kept.push_back(agent::tested_file(*spec).string());
  }
  if (options.each && !options.json) std::fputs(table(rows).c_str(), stdout);
  if (!kept.empty()) note("kept {}{}, and in this home's ledger: its colony begins with what was seen; elsewhere it is worth a quarter", kept.front(),
                          kept.size() > 1 ? fmt::format(" and {} more", kept.size() - 1) : "");
  return bad ? kSomeBad : kDone;
}

Status test_new_agents(Session& session, store::Ledger& ledger, const std::vector<std::shared_ptr<const agent::AgentSpec>>& agents, const EvalOptions& options) {
  std::vector<Spec> fresh;
  for (const Spec& spec : agents) {
    ASSIGN_OR_RETURN(const auto items, ledger.own_test(*spec, session.weights_hash()));
    if (items.empty()) fresh.push_back(spec);
  }
  if (fresh.empty()) {
    note("every agent has been tested here already");
    return {};
  }
  ASSIGN_OR_RETURN(const auto checked, read_checked_tasks(options.file));
  ASSIGN_OR_RETURN(const auto places, places_of_tasks(session, options, checked));
  note("testing {} new agent{} on the {} tasks of {}", fresh.size(), fresh.size() == 1 ? "" : "s", checked.file.tasks.size(), options.file);
  for (const Spec& spec : fresh) {
    const auto answers = answer_tasks(session, spec, options, checked);
    if (!answers) {
      complain(Error(answers.error()).in("agent " + spec->name));
      continue;
    }
    if (answers->interrupted) return cancelled("interrupted while agent {} was tested", spec->name);
    ASSIGN_OR_RETURN([[maybe_unused]] const bool beside, keep(session, ledger, *spec, *answers, places, checked));
    const std::string good = good_at(kinds_of(*answers, checked));
    note("agent {}: success {} on {} tasks{}", spec->name, success(scores_of(*answers)), checked.file.tasks.size(), good.empty() ? "" : "; good at " + good);
  }
  return {};
}

}  // namespace colony::app
