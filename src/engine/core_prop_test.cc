// Random streams of requests against the fake model: what must hold whatever comes when.
#include <atomic>
#include <thread>

#include "engine/core_test.h"

namespace colony::engine {
namespace {

struct Arrival {
  int step = 0;
  Request request;
  int cancel_step = -1;  // -1: not cancelled
};
struct Trace {
  std::vector<std::string> steps;
  std::map<RequestId, Output> outputs;
};

struct World {
  EngineOptions options;
  int64_t pages = 0;
  static constexpr int64_t kContext = 400;
  size_t memory = SIZE_MAX;  // of the fake model
  std::vector<Arrival> arrivals;
  std::vector<std::shared_ptr<Budget>> budgets;
};

World make_world(uint64_t seed) {
  RngStream rng(seed, 1, 2, 3);
  const auto pick = [&](int64_t low, int64_t high) {
    return low + static_cast<int64_t>(rng.below(static_cast<uint64_t>(high - low + 1)));
  };
  World world;
  world.options.max_sequences = static_cast<int>(pick(1, 12));
  world.options.max_step_tokens = static_cast<int>(pick(1, 80));
  world.options.prefix_cache = pick(0, 3) > 0;
  world.options.speculate = static_cast<Speculate>(pick(0, 2));
  // Circles of greedy tokens make drafts right; sampling and a long memory make them wrong.
  if (pick(0, 2) > 0) world.memory = static_cast<size_t>(pick(1, 3));
  world.pages = pick(13, 26);  // 13 pages hold one whole context
  for (int i = 0; i < 2; ++i) world.budgets.push_back(std::make_shared<Budget>(static_cast<uint64_t>(pick(0, 900))));
  const auto count = pick(1, 30);
  for (int64_t i = 0; i < count; ++i) {
    Arrival arrival;
    arrival.step = static_cast<int>(pick(0, 60));
    Request& request = arrival.request;
    auto prompt = prompt_of(pick(0, 3) * 40, static_cast<uint64_t>(pick(0, 2)));  // shared starts
    for (const int32_t token : prompt_of(pick(1, 60), seed * 1000 + static_cast<uint64_t>(i))) prompt.push_back(token);
    request.prompt_ids = prompt;
    const auto kind = pick(0, 9);
    request.kind = kind < 7   ? Request::Kind::kGenerate
                   : kind < 8 ? Request::Kind::kEmbed
                   : kind < 9 ? Request::Kind::kLogits
                              : Request::Kind::kScore;
    request.score_from = pick(1, static_cast<int64_t>(prompt.size()));
    request.sampling.max_tokens = static_cast<int>(pick(1, 180));
    request.sampling.ignore_eos = pick(0, 1) > 0;
    request.sampling.logprobs = static_cast<int>(pick(-1, 2));
    if (pick(0, 2) == 0) {
      request.sampling.greedy = false;
      request.sampling.temperature = 2.0;
      request.sampling.top_k = static_cast<int>(pick(0, 10));
      request.sampling.top_p = 0.9;
      request.sampling.repetition_penalty = 1.1;
      request.sampling.seed = seed;
    }
    request.task_id = static_cast<uint64_t>(i);
    request.agent_id = static_cast<uint32_t>(pick(0, 3));
    if (pick(0, 2) == 0) request.request_class = RequestClass::kBackground;
    if (pick(0, 4) == 0) request.cache_salt = "salt";
    if (pick(0, 3) == 0) request.budget = world.budgets[static_cast<size_t>(pick(0, 1))];
    if (pick(0, 5) == 0) arrival.cancel_step = arrival.step + static_cast<int>(pick(0, 40));
    world.arrivals.push_back(std::move(arrival));
  }
  return world;
}

Trace run(const World& world, int threads) {
  Bench bench(world.options, world.pages, World::kContext, {nullptr, {Bench::kEos}}, threads, 1 << 20, world.memory);
  Trace trace;
  std::map<RequestId, const Arrival*> by_id;
  int64_t work = 0;  // rows that would do if nothing were ever computed twice
  for (const Arrival& arrival : world.arrivals) {
    work += static_cast<int64_t>(arrival.request.prompt_ids.size()) + arrival.request.sampling.max_tokens;
  }
  for (int step = 0; step <= 60 || !bench.core->idle(); ++step) {
    // Far above what any of these worlds needs, far below for ever.
    EXPECT_LT(step, 100 + 20 * work) << "the engine does not get on";
    if (step >= 100 + 20 * work) break;
    for (const Arrival& arrival : world.arrivals) {
      if (arrival.step == step) by_id[bench.submit(arrival.request)] = &arrival;
    }
    for (const auto& [id, arrival] : by_id) {
      if (arrival->cancel_step == step) bench.core->cancel(id);
    }
    const auto outputs = bench.core->step();
    std::string line;
    int64_t rows = 0;
    for (const Chunk& chunk : bench.core->last_plan().chunks) {
      line += fmt::format("{}+{} ", chunk.from, chunk.count);
      rows += chunk.count;
    }
    EXPECT_LE(rows, std::max(world.options.max_step_tokens, world.options.max_sequences));
    EXPECT_LE(bench.core->running(), static_cast<size_t>(world.options.max_sequences));
    RequestId last = 0;
    for (const Output& output : outputs) {
      EXPECT_GT(output.id, last);  // in order of submission
      last = output.id;
      EXPECT_FALSE(trace.outputs.contains(output.id)) << "ended twice";
      line += fmt::format("[{} {} {}]", output.id, finish_reason_name(output.finish), fmt::join(output.ids, ","));
      trace.outputs[output.id] = output;
      trace.outputs[output.id].values_bytes.reset();  // does not outlive the ledger
    }
    trace.steps.push_back(line);
    EXPECT_EQ(bench.core->blocks().problem(), "") << "step " << step;
    EXPECT_LE(bench.ledger.used(), bench.ledger.ceiling());
  }
  EXPECT_EQ(trace.outputs.size(), world.arrivals.size()) << "every request ends once";
  EXPECT_EQ(bench.core->blocks().held(), 0) << "no page is left behind";
  EXPECT_EQ(bench.runner->bad_reads(), 0) << "no row reads what is not its own";
  return trace;
}

Output run_alone(const Request& asked, size_t memory) {
  EngineOptions options;
  options.speculate = Speculate::kOff;
  options.max_sequences = 1;
  options.prefix_cache = false;
  Bench bench(options, 13, World::kContext, {nullptr, {Bench::kEos}}, 1, 1 << 20, memory);
  Request request = asked;
  request.budget = nullptr;
  const auto id = bench.submit(request);
  Output output = bench.finish_all().at(id);
  output.values_bytes.reset();
  return output;
}

void expect_prefix_of_alone(const Output& output, const Output& alone) {
  ASSERT_LE(output.ids.size(), alone.ids.size());
  EXPECT_TRUE(std::equal(output.ids.begin(), output.ids.end(), alone.ids.begin()));
  ASSERT_LE(output.logprobs.size(), alone.logprobs.size());
  for (size_t i = 0; i < output.logprobs.size(); ++i) {
    EXPECT_EQ(output.logprobs[i].id, alone.logprobs[i].id);
    EXPECT_EQ(output.logprobs[i].logprob, alone.logprobs[i].logprob);  // to the bit
    EXPECT_EQ(output.logprobs[i].top, alone.logprobs[i].top);
  }
}

void check_world(uint64_t seed) {
  SCOPED_TRACE(fmt::format("seed {}", seed));
  const World world = make_world(seed);
  const Trace trace = run(world, 1);
  if (::testing::Test::HasFailure()) return;
  for (const auto& budget : world.budgets) {
    EXPECT_LE(budget->spent(), budget->limit());
    EXPECT_EQ(budget->spent() + budget->left(), budget->limit());
  }

  // A budget pays for the prompts that were begun and the tokens that came, and nothing else.
  std::map<const Budget*, uint64_t> least, most;
  // Requests in the order of their ids.
  std::vector<const Arrival*> arrivals;
  for (int step = 0; step <= 60; ++step) {
    for (const Arrival& arrival : world.arrivals) {
      if (arrival.step == step) arrivals.push_back(&arrival);
    }
  }
  RequestId id = 0;
  for (const Arrival* arrival : arrivals) {
    const Output& output = trace.outputs.at(++id);
    const Output alone = run_alone(arrival->request, world.memory);
    EXPECT_EQ(output.prompt_ids, arrival->request.prompt_ids);
    if (arrival->request.budget) {
      const Budget* budget = arrival->request.budget.get();
      least[budget] += output.ids.size() + (output.first_step > 0 ? output.prompt_ids.size() : 0);
      most[budget] += output.ids.size() + output.prompt_ids.size();  // admitted and preempted before a row
    }
    if (output.finish == FinishReason::kCancelled) {
      EXPECT_TRUE(output.error);
      EXPECT_TRUE(arrival->cancel_step >= 0 || arrival->request.budget);
      if (arrival->request.kind == Request::Kind::kGenerate) expect_prefix_of_alone(output, alone);
      continue;
    }
    EXPECT_EQ(output.finish, alone.finish);
    EXPECT_EQ(output.ids.size(), alone.ids.size());
    expect_prefix_of_alone(output, alone);
    EXPECT_EQ(output.values, alone.values);
    EXPECT_EQ(output.logprobs.size(), alone.logprobs.size());
    if (arrival->request.kind == Request::Kind::kGenerate && arrival->request.sampling.greedy) {
      EXPECT_EQ(output.ids, greedy_alone(arrival->request.prompt_ids, arrival->request.sampling.max_tokens,
                                         arrival->request.sampling.ignore_eos, World::kContext, world.memory));
    }
  }
  for (const auto& budget : world.budgets) {
    EXPECT_GE(budget->spent(), least[budget.get()]);
    EXPECT_LE(budget->spent(), most[budget.get()]);
  }
}

TEST(CoreProperties, WhateverComesWhenEveryRequestGetsWhatItWouldAlone) {
  for (uint64_t seed = 0; seed < 60 && !HasFailure(); ++seed) check_world(seed);
  check_world(1478);  // a running sequence holds, outside the tree, the whole page that another wants
}
TEST(SlowCoreProperties, WhateverComesWhenEveryRequestGetsWhatItWouldAlone) {
  for (uint64_t seed = 1000; seed < 2500 && !HasFailure(); ++seed) check_world(seed);
}

TEST(CoreProperties, SameSubmissionsGiveTheSameSteps) {
  for (uint64_t seed = 200; seed < 230; ++seed) {
    const Trace first = run(make_world(seed), 1), second = run(make_world(seed), 3);
    EXPECT_EQ(first.steps, second.steps) << "seed " << seed;
    ASSERT_GT(first.steps.size(), 1U);
  }
}

TEST(CoreProperties, WorldsAreNotTrivial) {
  // The property tests above mean something only if preemption, hits and cut budgets do happen.
  double preemptions = 0, hits = 0, cut = 0, drafted = 0, accepted = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const World world = make_world(seed);
    Bench bench(world.options, world.pages, World::kContext, {nullptr, {Bench::kEos}}, 1, 1 << 20, world.memory);
    for (const Arrival& arrival : world.arrivals) bench.submit(arrival.request);
    for (const auto& [id, output] : bench.finish_all()) {
      if (output.error && output.error->code == ErrorCode::kExhausted) ++cut;
    }
    preemptions += bench.metrics.get(metric::kPreemptions).value();
    hits += bench.metrics.get(metric::kPrefixHitTokens).value();
    drafted += bench.metrics.get(metric::kDraftedTokens).value();
    accepted += bench.metrics.get(metric::kAcceptedTokens).value();
  }
  EXPECT_GT(accepted, 1000);
  EXPECT_GT(drafted - accepted, 500);
  EXPECT_GT(preemptions, 20);
  EXPECT_GT(hits, 1000);
  EXPECT_GT(cut, 20);
}

TEST(CoreProperties, WithinAClassRequestsStartInOrder) {
  for (uint64_t seed = 300; seed < 330; ++seed) {
    World world = make_world(seed);
    world.options.prefix_cache = false;  // waiting for a shared prefix may change the order
    std::map<RequestId, RequestClass> classes;
    Bench bench(world.options, world.pages, World::kContext);
    for (Arrival& arrival : world.arrivals) {
      arrival.request.budget = nullptr;
      classes[bench.submit(arrival.request)] = arrival.request.request_class;
    }
    uint64_t first[2] = {0, 0};
    uint64_t last_foreground = 0;
    const auto outputs = bench.finish_all();
    for (const auto& [id, output] : outputs) {
      auto& before = first[classes[id] == RequestClass::kForeground ? 0 : 1];
      EXPECT_GE(output.first_step, before) << "seed " << seed;
      before = output.first_step;
      if (classes[id] == RequestClass::kForeground) last_foreground = std::max(last_foreground, output.first_step);
    }
    for (const auto& [id, output] : outputs) {
      if (classes[id] == RequestClass::kForeground) continue;
      EXPECT_GE(output.first_step, last_foreground);
    }
  }
}

TEST(CoreProperties, CancelComesFromAnyThread) {
  EngineOptions options;
  options.max_sequences = 4;
  options.max_step_tokens = 32;
  Bench bench(options, 60, World::kContext, {nullptr, {}}, 2);
  constexpr RequestId kRequests = 200;
  std::atomic<RequestId> submitted{0};
  std::atomic<bool> stop{false};
  std::jthread canceller([&] {
    RngStream rng(1, 2, 3, 4);
    while (!stop) {
      if (const RequestId upto = submitted) bench.core->cancel(1 + rng.below(upto));
      std::this_thread::yield();
    }
  });
  size_t ended = 0;
  for (RequestId i = 0; i < kRequests || !bench.core->idle();) {
    if (i < kRequests) {
      submitted = bench.submit(generate(prompt_of(30, i), 20));
      ++i;
    }
    ended += bench.core->step().size();
  }
  stop = true;
  EXPECT_EQ(ended, kRequests);
  EXPECT_EQ(bench.core->blocks().held(), 0);
  EXPECT_EQ(bench.core->blocks().problem(), "");
}

}  // namespace
}  // namespace colony::engine
