// From an agent's answer to a vote, a deposit, a final row or another round.
#include <algorithm>
#include <utility>

#include "agent/colony_state.h"
#include "base/check.h"
#include "base/rng.h"

namespace colony::agent {

void Colony::State::deposit(Job& job, swarm::AgentId agent, std::optional<double> score, uint64_t tokens, double ms, bool final) {
  const auto at = hosted.find(agent);
  if (at == hosted.end()) {  // retired meanwhile: its trail is gone
    if (final) tell_living(swarm::TaskWithdrawn{job.id});
    return;
  }
  if (score) job.deposits.push_back({at->second.agent.spec->name, at->second.agent.spec->generation, *score});
  tell(job.asker, swarm::Checked{job.id, agent, score.value_or(0), tokens, final, ms, score.has_value()});
  pump();
}

void Colony::State::note_attempt(Job& job, const Ending& ending) {
  const auto at = hosted.find(job.agent);
  Attempt attempt;
  attempt.agent = job.agent;
  attempt.fault = ending.answer ? Fault::kNone : ending.fault;
  attempt.row.agent = job.spec->name;
  attempt.row.generation = job.spec->generation;
  if (at != hosted.end()) attempt.row.node = at->second.host;
  attempt.row.error = ending.error;
  attempt.row.blamed = attempt.fault == Fault::kAgent;
  attempt.row.tokens = ending.prompt_tokens + ending.completion_tokens;
  attempt.row.ms = work_ms(job, ending);
  attempt.row.finish = engine::finish_reason_name(ending.finish);
  job.attempts.push_back(std::move(attempt));
  if (!ending.answer && ending.fault == Fault::kAgent && options.metrics != nullptr) options.metrics->get(metric::kAgentFailures).add(1);
}

bool Colony::State::give_way(Job& job, Ending& ending) {
  const Attempt& attempt = job.attempts.back();
  job.excluded.insert(job.agent);
  job.prompt_tokens += std::exchange(ending.prompt_tokens, 0);
  job.completion_tokens += std::exchange(ending.completion_tokens, 0);
  // What may be the task's fault is left open until it is known whether anybody can do it.
  if (attempt.fault == Fault::kAgent) deposit(job, job.agent, 0, attempt.row.tokens, attempt.row.ms, false);
  if (std::cmp_greater_equal(job.excluded.size(), options.attempts)) return false;
  restart(job);
  return true;
}

FinalRow Colony::State::final_row(Job& job, Ending& ending, std::optional<double> success, std::string error) {
  FinalRow row;
  row.index = job.index;
  row.task = job.id;
  row.id = job.task.id;
  row.kind = job.task.kind;
  row.node = job.asker;
  if (job.spec) {
    row.agent = job.spec->name;
    row.generation = job.spec->generation;
  } else if (!job.attempts.empty()) {  // the last that tried
    row.agent = job.attempts.back().row.agent;
    row.generation = job.attempts.back().row.generation;
  }
  std::string finish(engine::finish_reason_name(ending.finish));
  if (!ending.answer && !job.excluded.empty() && ending.fault != Fault::kTask) {
    // Also where nobody was left to bid: what the agents said themselves.
    const auto last = std::find_if(job.attempts.rbegin(), job.attempts.rend(), [](const Attempt& one) { return one.fault == Fault::kAgent || one.fault == Fault::kShared; });
    const bool own = job.spec && ending.fault == Fault::kNone;  // the budget ended it
    if (!own) finish = last->row.finish, error = job.excluded.size() == 1 ? last->row.error : fmt::format("{} agents failed, the last, {}: {}", job.excluded.size(), last->row.agent, last->row.error);
  }
  row.reason = job.reason;
  row.by = ending.by;
  row.success = success;
  row.failed = !ending.answer;
  row.prompt_tokens = job.prompt_tokens + ending.prompt_tokens;
  row.completion_tokens = job.completion_tokens + ending.completion_tokens;
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
  row.line["finish"] = finish;
  row.line["attempts"] = Json::array();
  for (const Attempt& attempt : job.attempts) {
    Json one = {{"agent", attempt.row.agent}};
    if (!attempt.row.error.empty()) one["error"] = attempt.row.error;
    one["ms"] = attempt.row.ms;
    one["finish"] = attempt.row.finish;
    if (!attempt.row.error.empty() && !attempt.row.blamed) one["blamed"] = false;
    if (!attempt.row.error.empty() && attempt.row.tokens > 0) one["tokens"] = attempt.row.tokens;
    if (nodes.size() > 1) one["node"] = attempt.row.node;
    row.line["attempts"].push_back(std::move(one));
    row.attempts.push_back(attempt.row);
  }
  row.deposits = job.deposits;
  if (nodes.size() > 1) row.line["node"] = row.node;
  if (options.full) {
    row.line["prompt"] = job.task.messages.is_array() ? job.task.messages : Json(job.task.prompt);
    row.line["expected"] = job.task.answer ? Json(*job.task.answer) : Json();
    row.line["raw"] = ending.answer && std::string_view(ending.by) == "model" ? Json(ending.raw) : Json();
  }
  if (!error.empty()) row.line["error"] = std::move(error);
  const Json unknown = data::unknown_fields(job.task);
  for (const auto& [key, value] : unknown.items()) {
    if (key != "error" && !row.line.contains(key)) row.line[key] = value;  // ours are ours
  }
  return row;
}

bool Colony::State::recruit(Job& job, Ending& ending) {
  const bool failed = !ending.answer;
  if (failed && job.votes.empty()) return false;
  uint64_t said = 0;
  if (!failed) {
    std::string_view text = *ending.answer;
    const auto space = " \t\r\n";
    text.remove_prefix(std::min(text.find_first_not_of(space), text.size()));
    text = text.substr(0, text.find_last_not_of(space) + 1);
    said = std::max<uint64_t>(1, fnv1a(text.data(), text.size()));
    job.votes.push_back({job.agent, job.spec, *ending.answer, ending.raw, ending.by, ending.finish, ending.prompt_tokens, ending.completion_tokens, work_ms(job, ending)});
    if (options.metrics != nullptr) options.metrics->get(metric::kQuorumVotes).add(1);
  }
  const swarm::AgentId agent = job.agent;
  job.spec.reset();
  job.agent = 0;
  // What nobody is to blame for (the budget), and that nobody is left to ask, ends the voting.
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
  ending.fault = Fault::kNone;
  ending.raw = winner->raw;
  ending.by = winner->by;
  ending.finish = winner->finish;
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
  if (ending.fault == Fault::kCut) return;  // the next step drops it, with all the others
  const bool failed = !ending.answer;
  if (job.spec && !job.ended) note_attempt(job, ending);
  if (failed && job.spec && (ending.fault == Fault::kAgent || ending.fault == Fault::kShared) && give_way(job, ending)) return;
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
  for (const Vote& vote : job.votes) {
    const uint64_t spent = vote.prompt_tokens + vote.completion_tokens;
    if (job.ended && vote.agent == job.agent) {  // the ending has what all votes cost
      tokens = spent;
      ms = vote.ms;
      continue;
    }
    std::optional<double> scored;
    if (success && job.ended) {
      if (const auto score = job.check->score(job.task, vote.answer)) scored = *score;
    }
    deposit(job, vote.agent, scored, spent, vote.ms, false);
  }
  for (Attempt& attempt : job.attempts) {
    if (attempt.fault != Fault::kShared || !ending.answer) continue;
    attempt.row.blamed = true;  // another could do it
    deposit(job, attempt.agent, 0, attempt.row.tokens, attempt.row.ms, false);
  }
  if (success) {
    deposit(job, job.agent, *success, tokens, ms, true);
  } else {
    // Nothing checks it, or it was stopped.
    if (job.agent != 0 && tokens > 0) deposit(job, job.agent, std::nullopt, tokens, ms, false);
    tell_living(swarm::TaskWithdrawn{job.id});
    if (!ending.answer && job.check) success = 0;
  }
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
