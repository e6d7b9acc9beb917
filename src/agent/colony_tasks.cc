// From a waiting task to an agent's answer.
#include <algorithm>

#include "agent/colony_state.h"
#include "base/check.h"

namespace colony::agent {
namespace {

constexpr int kEmbedAhead = 8;       // places computed before they are needed
constexpr uint32_t kRoundsMax = 16;  // announcements of one task, restarts included

}  // namespace

void Colony::State::submit_places() {
  while (!waiting.empty() && embedding + static_cast<int>(placed.size()) < kEmbedAhead) {
    Job& job = jobs.at(waiting.front());
    waiting.pop_front();
    auto request = Placer::request(engine.snapshot(), data::task_text(job.task));
    if (request) {
      request->task_id = job.id;
      request->budget = options.budget;
      request->deadline = options.deadline;
      auto id = engine.submit(std::move(*request));
      if (id) {
        job.stage = Stage::kEmbedding;
        job.request = *id;
        requests.emplace(*id, job.index);
        ++embedding;
        continue;
      }
      end_without_agent(job, std::move(id).error().message, Fault::kTask);
    } else {
      end_without_agent(job, std::move(request).error().message, Fault::kTask);
    }
  }
}

void Colony::State::end_without_agent(Job& job, std::string error, Fault fault) {
  Ending ending(job.index, clock.now());
  ending.fault = fault;
  ending.error = std::move(error);
  endings.push_back(std::move(ending));
}

void Colony::State::announce_placed() {
  // What ended in this step still counts: its outcome is not deposited yet.
  while (!placed.empty() && working < options.in_flight) {
    Job& job = jobs.at(*placed.begin());
    placed.erase(placed.begin());
    job.stage = Stage::kWorking;
    ++working;
    if (!job.started) job.started = clock.now();
    const swarm::NodeId asker = living_from(static_cast<uint64_t>(job.index));
    if (asker != job.asker) job.votes.clear();  // they were counted there
    job.asker = asker;
    job.bids.clear();
    job.reason.clear();
    ++now.task_time;
    const swarm::TaskId id = job.id;
    const uint64_t tokens = options.budget ? options.budget->left() : Budget::kUnlimited;
    job.only = pinned(job.task.kind);
    std::erase_if(job.only, [&](swarm::AgentId agent) { return job.excluded.contains(agent) || job.silent.contains(agent); });
    tell(job.asker, swarm::TaskEntered{id, job.place, tokens, job.round, 0, job.only});
    pump();
    tell(job.asker, swarm::BidsClosed{id});
    pump();
    if (job.ended && !job.request && !job.spec) {  // nobody is left to ask: the votes decide
      Ending ending(job.index, clock.now());
      take_verdict(job, ending);
      endings.push_back(std::move(ending));
    }
  }
}

void Colony::State::nobody_bid(Job& job) {
  if (job.round < kRoundsMax && adopt_orphans()) {
    restart(job);
    return;
  }
  if (!job.only.empty() && job.round < kRoundsMax) {  // nobody it is pinned to is there: whoever is
    job.silent.insert(job.only.begin(), job.only.end());
    restart(job);
    return;
  }
  end_without_agent(job, "no agent bid for this task", Fault::kNone);
}

void Colony::State::start_work(const swarm::Work& work) {
  Job* job = find(work.task);
  const auto at = hosted.find(work.agent);
  if (job == nullptr || job->stage != Stage::kWorking || job->request || job->spec) return;
  if (at == hosted.end()) {
    nobody_bid(*job);
    return;
  }
  job->agent = work.agent;
  job->spec = at->second.agent.spec;
  job->began = clock.now();
  RunContext context;
  context.raw = options.raw;
  context.max_tokens = options.max_tokens;
  context.seed = options.seed;
  context.task_id = job->id;
  context.now_unix_ms = now_unix_ms;
  context.deadline = options.deadline;
  context.now = clock.now();
  context.budget = options.budget;
  context.adapter = options.adapter;
  Ending ending(job->index, clock.now());
  auto before = run_before(*job->spec, job->task);
  if (!before) {
    ending.error = std::move(before).error().message;
    ending.fault = Fault::kAgent;
  } else if (before->answer) {
    ending.answer = std::move(before->answer);
    ending.by = "script";
    ending.finish = engine::FinishReason::kStop;
  } else {
    auto id = [&]() -> Result<engine::RequestId> {
      ASSIGN_OR_RETURN(auto request, make_request(at->second.agent, job->task, before->prompt, engine.snapshot(), context));
      return engine.submit(std::move(request));
    }();
    if (id) {
      job->request = *id;
      requests.emplace(*id, job->index);
      return;
    }
    ending.error = std::move(id).error().message;
    ending.fault = Fault::kShared;
  }
  ending.at = clock.now();
  endings.push_back(std::move(ending));
}

void Colony::State::restart(Job& job) {
  if (job.request) {
    engine.cancel(*job.request);
    requests.erase(*job.request);
    job.request.reset();
  }
  std::erase_if(endings, [&](const Ending& ending) { return ending.index == job.index; });
  tell_living(swarm::TaskWithdrawn{job.id});
  job.spec.reset();
  job.agent = 0;
  ++job.round;
  if (job.stage == Stage::kWorking) --working;
  job.stage = Stage::kPlaced;
  placed.insert(job.index);
}

void Colony::State::take_output(engine::Output& output) {
  const auto at = requests.find(output.id);
  if (at == requests.end()) return;  // dropped by a restart
  Job& job = jobs.at(at->second);
  requests.erase(at);
  job.request.reset();
  // What never started has cost nothing.
  const uint64_t prompt_tokens = output.first_step > 0 ? output.prompt_ids.size() : 0;
  progress.tokens += prompt_tokens + output.ids.size();
  if (job.stage == Stage::kEmbedding) {
    --embedding;
    job.stage = Stage::kPlaced;
    if (output.error) {
      // The budget or the run's deadline, else the task's own.
      const bool cancelled = output.finish == engine::FinishReason::kCancelled;
      const Fault fault = !cancelled ? Fault::kTask : output.error->code == ErrorCode::kCancelled ? Fault::kCut : Fault::kNone;
      end_without_agent(job, std::move(output.error->message), fault);
      return;
    }
    auto place = placer.place(output.values);
    if (!place) {
      end_without_agent(job, std::move(place).error().message, Fault::kTask);
      return;
    }
    job.place = *place;
    placed.insert(job.index);
    return;
  }
  Ending ending(job.index, clock.now());
  ending.prompt_tokens = prompt_tokens;
  ending.completion_tokens = output.ids.size();
  ending.finish = output.finish;
  if (output.error) {
    // The engine cancels for a deadline (the run's, else the agent's own), and where the budget is used up. All else is an error of what
    // the agent brought: its adapter, its constraint.
    ending.error = std::move(output.error->message);
    ending.fault = Fault::kAgent;
    if (output.finish == engine::FinishReason::kCancelled) {
      if (output.error->code != ErrorCode::kCancelled) ending.fault = Fault::kNone;
      else if (options.deadline && clock.now() >= *options.deadline) ending.fault = Fault::kCut;
    }
  } else {
    if (options.full) ending.raw = output.text;
    auto answer = finish_answer(*job.spec, job.task, std::move(output));
    if (answer) {
      ending.answer = std::move(*answer);
    } else {
      ending.error = std::move(answer).error().message;
      ending.fault = Fault::kAgent;
    }
  }
  endings.push_back(std::move(ending));
}

}  // namespace colony::agent
