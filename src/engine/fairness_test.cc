// Nobody waits for another's work: agents with equal work end together, foreground goes first.
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/rng.h"
#include "engine/adapters.h"
#include "engine/tiny_checkpoint.h"

namespace colony::engine {
namespace {

constexpr int kAgents = 16;

struct Rig {
  explicit Rig(int threads = 2) : pool(threads) {
    write_tiny_checkpoint(folder.path(), TinyShape{}, 7);
    auto loaded = Snapshot::load(folder.path(), "test", "f32", ledger, pool);
    CHECK(loaded.has_value(), loaded ? "" : loaded.error().message);
    snapshot = *loaded;
    for (int agent = 0; agent < kAgents; ++agent) {
      write_tiny_adapter(adapter_folder(agent), snapshot->model->config(), 8, static_cast<uint64_t>(100 + agent));
    }
  }
  std::filesystem::path adapter_folder(int agent) const { return folder.path() / fmt::format("adapter{}", agent); }
  std::unique_ptr<Engine> engine(const EngineOptions& options) {
    auto made = Engine::create(snapshot, options, ledger, pool, clock, metrics);
    CHECK(made.has_value(), made ? "" : made.error().message);
    return std::move(*made);
  }
  TempFolder folder;
  ByteLedger ledger{1ULL << 30};
  tensor::ThreadPool pool;
  SystemClock clock;
  Metrics metrics;
  std::shared_ptr<const Snapshot> snapshot;
};

Request work_of(int agent, int task, int prompt_tokens, int new_tokens) {
  Request request;
  RngStream rng(3, static_cast<uint64_t>(agent), static_cast<uint32_t>(task), 0);
  for (int i = 0; i < prompt_tokens; ++i) request.prompt_ids.push_back(static_cast<int32_t>(rng.below(300)));
  request.agent_id = static_cast<uint32_t>(agent);
  request.task_id = static_cast<uint64_t>(task);
  request.sampling.max_tokens = new_tokens;
  request.sampling.ignore_eos = true;
  return request;
}

struct Ended {
  uint64_t step = 0;
  double seconds = 0;
};

// Every agent has `tasks` pieces of the same work, asks for the next when one has ended, and is done
// with the last. Returns when each was done.
// With `adapters` each agent has its own.
std::vector<Ended> run_agents(Rig& rig, const EngineOptions& options, int tasks, bool adapters) {
  const auto engine = rig.engine(options);
  std::vector<std::shared_ptr<const AdapterInfo>> own(kAgents);
  for (int agent = 0; adapters && agent < kAgents; ++agent) {
    auto added = engine->adapters().add(fmt::format("agent{}", agent), rig.adapter_folder(agent));
    CHECK(added.has_value(), added ? "" : added.error().message);
    own[static_cast<size_t>(agent)] = *added;
  }
  std::map<RequestId, int> agent_of;
  std::vector<int> done(kAgents, 0);
  std::vector<Ended> ended(kAgents);
  const auto ask = [&](int agent) {
    auto request = work_of(agent, done[static_cast<size_t>(agent)], 90, 48);
    request.adapter = own[static_cast<size_t>(agent)];
    auto id = engine->submit(std::move(request));
    CHECK(id.has_value(), id ? "" : id.error().message);
    agent_of[*id] = agent;
  };
  const double start = rig.clock.seconds();
  for (int agent = 0; agent < kAgents; ++agent) ask(agent);
  while (!engine->idle()) {
    for (const Output& output : engine->step()) {
      EXPECT_EQ(output.finish, FinishReason::kLength);
      const int agent = agent_of.at(output.id);
      ended[static_cast<size_t>(agent)] = {output.last_step, rig.clock.seconds() - start};
      if (++done[static_cast<size_t>(agent)] < tasks) ask(agent);
    }
  }
  return ended;
}

void expect_together(const std::vector<Ended>& ended, const std::string& how) {
  const auto [first, last] = std::minmax_element(ended.begin(), ended.end(), [](const Ended& a, const Ended& b) { return a.step < b.step; });
  EXPECT_GT(first->step, 0U) << how;
  EXPECT_GE(static_cast<double>(first->step), 0.8 * static_cast<double>(last->step)) << how;
}
bool together_in_time(const std::vector<Ended>& ended) {
  const auto [first, last] = std::minmax_element(ended.begin(), ended.end(), [](const Ended& a, const Ended& b) { return a.step < b.step; });
  return first->seconds >= 0.8 * last->seconds;
}

TEST(Fairness, SixteenAgentsWithEqualWorkEndTogether) {
  Rig rig;
  for (const auto& [places, adapters] : {std::pair{16, true}, {8, true}, {5, true}, {16, false}, {5, false}}) {  // also when not all run at once
    EngineOptions options;
    options.max_sequences = places;
    options.max_step_tokens = 256;
    options.kv_pages = 16 * 5;
    options.speculate = Speculate::kOff;  // equal work: what repeats itself would be less
    const std::string how = fmt::format("{} places, adapters: {}", places, adapters);
    // Steps are the same each time. In time a stall of a shared machine may fall between the first and the last
    // of a quarter of a second, so of three tries one must do.
    bool in_time = false;
    for (int attempt = 0; attempt < 3 && !in_time; ++attempt) {
      const auto ended = run_agents(rig, options, 6, adapters);
      expect_together(ended, how);
      in_time = together_in_time(ended);
    }
    EXPECT_TRUE(in_time) << how;
  }
}

// Who repeats himself gets on faster by speculation, and nobody slower for it.
TEST(Fairness, SpeculationMakesNobodyLater) {
  Rig rig;
  EngineOptions options;
  options.max_sequences = kAgents;
  options.kv_pages = 16 * 5;
  options.speculate = Speculate::kOff;
  const auto plain = run_agents(rig, options, 3, true);
  options.speculate = Speculate::kAuto;
  const auto drafting = run_agents(rig, options, 3, true);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_LE(drafting[i].step, plain[i].step);
}

// Sixteen places and all pages are taken by background work; one foreground request gets its rows in the very next
// step, all of them, and ends as early as alone; then the background work is finished as it would have been.
TEST(Fairness, ForegroundGoesFirstFromTheNextStepOn) {
  Rig rig;
  EngineOptions options;
  options.max_sequences = kAgents;
  options.max_step_tokens = 64;
  options.kv_pages = kAgents * 5;
  options.speculate = Speculate::kOff;  // steps are compared
  const auto urgent = work_of(99, 0, 60, 20);
  uint64_t alone = 0;
  std::map<int, std::vector<int32_t>> want;
  {
    const auto engine = rig.engine(options);
    CHECK(engine->submit(urgent).has_value(), "urgent");
    while (!engine->idle()) {
      for (const Output& output : engine->step()) alone = output.last_step;
    }
  }
  for (const bool interrupted : {false, true}) {
    const auto engine = rig.engine(options);
    std::map<RequestId, int> agent_of;
    for (int agent = 0; agent < 2 * kAgents; ++agent) {
      auto request = work_of(agent, 0, 90, 60);
      request.request_class = RequestClass::kBackground;
      auto id = engine->submit(std::move(request));
      CHECK(id.has_value(), id ? "" : id.error().message);
      agent_of[*id] = agent;
    }
    std::optional<RequestId> foreground;
    uint64_t asked_at = 0;
    size_t ended = 0;
    while (!engine->idle()) {
      if (interrupted && !foreground && engine->running() == kAgents && engine->steps() > 40) {
        auto id = engine->submit(urgent);
        CHECK(id.has_value(), id ? "" : id.error().message);
        foreground = *id;
        asked_at = engine->steps();
      }
      for (const Output& output : engine->step()) {
        if (foreground && output.id == *foreground) {
          EXPECT_EQ(output.first_step, asked_at + 1);
          EXPECT_EQ(output.last_step - asked_at, alone);
          continue;
        }
        ++ended;
        EXPECT_EQ(output.finish, FinishReason::kLength);
        auto& ids = want[agent_of.at(output.id)];
        if (interrupted) {
          EXPECT_EQ(output.ids, ids);
        } else {
          ids = output.ids;
        }
      }
    }
    EXPECT_EQ(ended, 2U * kAgents);
    EXPECT_EQ(foreground.has_value(), interrupted);
  }
}

}  // namespace
}  // namespace colony::engine
