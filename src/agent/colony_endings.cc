// From an agent's answer to a vote, a deposit, a final row or another round.
#include <algorithm>

#include "agent/colony_state.h"
#include "base/check.h"
#include "base/rng.h"

namespace colony::agent {

void Colony::State::deposit(const Job& job, swarm::AgentId agent, std::optional<double> score, uint64_t tokens, double ms, bool final) {
  if (!hosted.contains(agent)) {  // retired meanwhile: its trail is gone
    tell_living(swarm::TaskWithdrawn{job.id});
    return;
  }
  tell(job.asker, swarm::Checked{job.id, agent, score.value_or(0), tokens, final, ms, score.has_value()});
  pump();
}

FinalRow Colony::State::final_row(Job& job, Ending& ending, std::optional<double> success, std::string error) {
  FinalRow row;
  row.index = job.index;
  row.task = job.id;
  row.id = job.task.id;
  row.kind = job.task.kind;
  if (job.spec) {
    row.agent = job.spec->name;
    row.generation = job.spec->generation;
  }
  row.reason = job.reason;
  row.by = ending.by;
  row.success = success;
  row.failed = !ending.answer;
  row.prompt_tokens = ending.prompt_tokens;
  row.completion_tokens = ending.completion_tokens;
  if (job.started) {
    row.ms = std::chrono::duration<double, std::milli>(ending.at - *job.started).count();
  }
  row.place = job.place;
  row.bids = job.bids;
  Json bids = Json::array();
  for (const auto& bid : row.bids) {
    bids.push_back(Json{{"agent", bid.agent}, {"bid", bid.bid}, {"p", bid.p}, {"tokens", bid.tokens}});
  }
  row.line = Json{{"id", row.id}, {"kind", row.kind}, {"agent", row.agent},
                  {"generation", row.generation}};
  row.line["answer"] = ending.answer ? Json(*ending.answer) : Json();
  row.line["success"] = success ? Json(*success) : Json();
  row.line["prompt_tokens"] = row.prompt_tokens;
  row.line["completion_tokens"] = row.completion_tokens;
  row.line["ms"] = row.ms;
  row.line["bids"] = std::move(bids);
  row.line["reason"] = row.reason;
  row.line["by"] = row.by;
  if (!error.empty()) row.line["error"] = std::move(error);
  const Json unknown = data::unknown_fields(job.task);
  for (const auto& [key, value] : unknown.items()) {
    if (key != "error" && !row.line.contains(key)) row.line[key] = value;  // ours are ours
  }
  return row;
}

bool Colony::State::recruit(Job& job, Ending& ending) {
  const bool failed = !ending.answer;
  if (failed && (ending.agent_failed || job.votes.empty())) return false;
  uint64_t said = 0;
  if (!failed) {
    std::string_view text = *ending.answer;
    const auto space = " \t\r\n";
    text.remove_prefix(std::min(text.find_first_not_of(space), text.size()));
    text = text.substr(0, text.find_last_not_of(space) + 1);
    said = std::max<uint64_t>(1, fnv1a(text.data(), text.size()));
    job.votes.push_back({job.agent, job.spec, *ending.answer, ending.by, ending.prompt_tokens, ending.completion_tokens, work_ms(job, ending)});
    if (options.metrics != nullptr) options.metrics->get(metric::kQuorumVotes).add(1);
  }
  const swarm::AgentId agent = job.agent;
  job.spec.reset();
  job.agent = 0;
  // What nobody is to blame for (budget, deadline) ends the voting.
  tell(job.asker, swarm::Voted{job.id, agent, said, ending.prompt_tokens + ending.completion_tokens, failed});
  pump();
  if (!job.ended) {
    CHECK(!failed, "a last vote ends the task");
    // The next one's node died or gave it away since it bid: it is announced anew, voters left out.
    if (!job.spec) restart(job);
    return true;
  }
  take_verdict(job, ending);
  return false;
}

void Colony::State::take_verdict(Job& job, Ending& ending) {
  const auto winner = std::find_if(job.votes.begin(), job.votes.end(), [&](const Vote& v) { return v.agent == job.ended->agent; });
  CHECK(winner != job.votes.end(), "the winner voted");
  job.agent = winner->agent;
  job.spec = winner->spec;
  ending.answer = winner->answer;
  ending.error.clear();
  ending.agent_failed = false;
  ending.by = winner->by;
  ending.prompt_tokens = ending.completion_tokens = 0;
  for (const Vote& vote : job.votes) {
    ending.prompt_tokens += vote.prompt_tokens;
    ending.completion_tokens += vote.completion_tokens;
  }
}

Json Colony::State::quorum_row(const Job& job) const {
  Json answers = Json::array();
  for (const Vote& vote : job.votes) answers.push_back({{"agent", vote.spec->name}, {"answer", vote.answer}});
  return {{"votes", job.ended->votes}, {"p", job.ended->probability}, {"undecided", job.ended->reason == "undecided"}, {"answers", std::move(answers)}};
}

void Colony::State::conclude(Ending& ending, std::vector<FinalRow>& rows) {
  Job& job = jobs.at(ending.index);
  if (options.rules.quorum && !job.ended && recruit(job, ending)) return;
  uint64_t tokens = ending.prompt_tokens + ending.completion_tokens;
  double ms = work_ms(job, ending);
  std::optional<double> success;
  std::string error = ending.error;
  if (ending.answer && job.check) {
    auto score = job.check->score(job.task, *ending.answer);
    if (score) {
      success = *score;
    } else {
      error = std::move(score).error().message;
    }
  }
  const bool blame = !ending.answer && ending.agent_failed && job.check != nullptr;
  const bool another = !ending.answer && ending.agent_failed && (job.failure.empty() || !job.votes.empty());
  for (const Vote& vote : job.votes) {
    const uint64_t spent = vote.prompt_tokens + vote.completion_tokens;
    if (job.ended && vote.agent == job.agent) {  // the ending has what all votes cost
      tokens = spent;
      ms = vote.ms;
      continue;
    }
    if (another) continue;  // the vote still stands
    std::optional<double> scored;
    if (success && job.ended) {
      if (const auto score = job.check->score(job.task, vote.answer)) scored = *score;
    }
    deposit(job, vote.agent, scored, spent, vote.ms, false);
  }
  if (success) {
    deposit(job, job.agent, *success, tokens, ms, true);
  } else if (blame) {
    deposit(job, job.agent, 0, tokens, ms, !another);
  } else if (job.agent != 0 && tokens > 0) {  // nothing checks it, or it was stopped
    deposit(job, job.agent, std::nullopt, tokens, ms, false);
  }
  if (another) {
    if (job.failure.empty()) job.failure = ending.error;
    job.excluded.insert(job.agent);
    restart(job);
    return;
  }
  if (!success && !blame) tell_living(swarm::TaskWithdrawn{job.id});
  rows.push_back(final_row(job, ending, success, std::move(error)));
  if (job.ended) rows.back().line["quorum"] = quorum_row(job);
  ++progress.final;
  progress.failed += rows.back().failed;
  if (success) {
    progress.score_sum += *success;
    ++progress.scored;
  }
  if (options.metrics != nullptr) options.metrics->get(metric::kTasksFinal).add(1);
  forget(job);
}

void Colony::State::forget(Job& job) {
  if (job.stage == Stage::kWorking) --working;
  index_of.erase(job.id);
  jobs.erase(job.index);
}

}  // namespace colony::agent
