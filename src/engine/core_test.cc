#include "engine/core_test.h"

#include <cmath>

namespace colony::engine {
namespace {

EngineOptions options(int sequences, int tokens, bool prefix = true) {
  EngineOptions o;
  o.max_sequences = sequences;
  o.max_step_tokens = tokens;
  o.prefix_cache = prefix;
  o.speculate = Speculate::kOff;  // these tests count steps and rows
  return o;
}

TEST(Core, GeneratesWhatTheModelSays) {
  Bench bench(options(4, 16), 64);
  const auto prompt = prompt_of(50, 1);
  const auto id = bench.submit(generate(prompt, 40));
  const auto outputs = bench.finish_all();
  ASSERT_EQ(outputs.size(), 1U);
  const Output& output = outputs.at(id);
  EXPECT_EQ(output.ids, greedy_alone(prompt, 40, true, 4096));
  EXPECT_EQ(output.prompt_ids, prompt);
  EXPECT_EQ(output.finish, FinishReason::kLength);
  EXPECT_FALSE(output.error);
  EXPECT_EQ(output.first_step, 1U);
  EXPECT_EQ(output.last_step, 4U + 39U);  // 50 tokens in chunks of 16, then a token a step
  EXPECT_EQ(bench.core->blocks().held(), 0);
}

// A greedy sequence that runs in circles: the same tokens in far fewer steps.
TEST(Core, SpeculationGivesTheSameTokensInFewerSteps) {
  constexpr size_t kMemory = 1;
  const auto prompt = prompt_of(50, 1);
  const auto want = greedy_alone(prompt, 200, true, 4096, kMemory);
  for (const Speculate speculate : {Speculate::kOff, Speculate::kOn, Speculate::kAuto}) {
    EngineOptions o = options(4, 64);
    o.speculate = speculate;
    Bench bench(o, 64, 4096, {nullptr, {Bench::kEos}}, 1, 1 << 20, kMemory);
    const auto id = bench.submit(generate(prompt, 200));
    const auto outputs = bench.finish_all();
    EXPECT_EQ(outputs.at(id).ids, want);
    const double drafted = bench.metrics.get(metric::kDraftedTokens).value();
    const double accepted = bench.metrics.get(metric::kAcceptedTokens).value();
    EXPECT_EQ(static_cast<double>(outputs.at(id).last_step) + accepted, 200) << "a token a step, and the drafts that came true";
    if (speculate == Speculate::kOff) {
      EXPECT_EQ(drafted, 0);
    } else {
      EXPECT_GT(accepted, 140);
      EXPECT_GE(drafted, accepted);
    }
    EXPECT_EQ(bench.core->blocks().held(), 0);
  }
}

TEST(Core, DraftsNeverPassABudgetMaxTokensOrTheContext) {
  constexpr size_t kMemory = 1;
  const auto prompt = prompt_of(40, 1);
  const auto want = greedy_alone(prompt, 200, true, 4096, kMemory);
  for (int tokens = 1; tokens < 90; ++tokens) {
    const auto first = [&](size_t count) { return std::vector<int32_t>(want.begin(), want.begin() + static_cast<ptrdiff_t>(count)); };
    EngineOptions o = options(4, 64);
    o.speculate = Speculate::kOn;
    Bench bench(o, 64, 40 + 90, {nullptr, {Bench::kEos}}, 1, 1 << 20, kMemory);
    auto with_budget = generate(prompt, 200);
    with_budget.budget = std::make_shared<Budget>(static_cast<uint64_t>(40 + tokens));
    const auto a = bench.submit(with_budget), b = bench.submit(generate(prompt, tokens)), c = bench.submit(generate(prompt, 200));
    const auto outputs = bench.finish_all();
    EXPECT_EQ(outputs.at(a).ids, first(static_cast<size_t>(tokens)));
    EXPECT_EQ(outputs.at(a).finish, FinishReason::kCancelled);
    EXPECT_EQ(with_budget.budget->left(), 0U);
    EXPECT_EQ(with_budget.budget->spent(), static_cast<uint64_t>(40 + tokens));
    EXPECT_EQ(outputs.at(b).ids, first(static_cast<size_t>(tokens)));
    EXPECT_EQ(outputs.at(b).finish, FinishReason::kLength);
    EXPECT_EQ(outputs.at(c).ids, first(90));
    EXPECT_GT(bench.metrics.get(metric::kDraftedTokens).value(), tokens > 30 ? 20 : -1);
  }
}

TEST(Core, DraftsTakeNoPageFromAnybody) {
  constexpr size_t kMemory = 1;
  // Both fit exactly; a page taken for drafts and kept would preempt one of them.
  EngineOptions o = options(2, 64, false);
  o.speculate = Speculate::kOn;
  Bench bench(o, 8, 4096, {nullptr, {Bench::kEos}}, 1, 1 << 20, kMemory);
  const auto a = bench.submit(generate(prompt_of(28, 1), 100)), b = bench.submit(generate(prompt_of(28, 2), 100));
  const auto outputs = bench.finish_all();
  EXPECT_EQ(outputs.at(a).ids, greedy_alone(prompt_of(28, 1), 100, true, 4096, kMemory));
  EXPECT_EQ(outputs.at(b).ids, greedy_alone(prompt_of(28, 2), 100, true, 4096, kMemory));
  EXPECT_EQ(bench.metrics.get(metric::kPreemptions).value(), 0);
  EXPECT_GT(bench.metrics.get(metric::kAcceptedTokens).value(), 100);
}

TEST(Core, WideBatchesDraftNothing) {
  EngineOptions o = options(40, 512);
  o.speculate = Speculate::kAuto;
  Bench bench(o, 300, 4096, {nullptr, {Bench::kEos}}, 1, 1 << 20, 1);
  for (uint64_t i = 0; i < 20; ++i) bench.submit(generate(prompt_of(8, i), 150));
  for (int i = 0; i < 140; ++i) bench.core->step();
  EXPECT_EQ(bench.core->running(), 20U);
  EXPECT_EQ(bench.metrics.get(metric::kDraftedTokens).value(), 0);
  bench.finish_all();
}

TEST(Core, StopsAtEndOfSequenceUnlessToldNotTo) {
  // A prompt whose greedy continuation meets end-of-sequence early.
  std::vector<int32_t> prompt, expected;
  for (uint64_t seed = 0; expected.empty() || expected.back() != Bench::kEos || expected.size() < 4; ++seed) {
    prompt = prompt_of(9, seed);
    expected = greedy_alone(prompt, 50, false, 4096);
  }
  Bench bench(options(4, 16), 64);
  const auto stops = bench.submit(generate(prompt, 50, false));
  const auto goes_on = bench.submit(generate(prompt, 50, true));
  const auto outputs = bench.finish_all();
  EXPECT_EQ(outputs.at(stops).ids, expected);
  EXPECT_EQ(outputs.at(stops).finish, FinishReason::kStop);
  EXPECT_EQ(outputs.at(goes_on).ids.size(), 50U);
}

TEST(Core, EndsAtTheContextWithLength) {
  Bench bench(options(2, 8), 8, 20);
  const auto prompt = prompt_of(17, 3);
  const auto id = bench.submit(generate(prompt, 100));
  EXPECT_EQ(bench.finish_all().at(id).ids, greedy_alone(prompt, 100, true, 20));
  EXPECT_FALSE(bench.core->submit(generate(prompt_of(20, 1), 1)));
  EXPECT_TRUE(bench.core->submit(generate(prompt_of(19, 1), 1)));
}

TEST(Core, RefusesWhatCannotBe) {
  Bench bench(options(2, 8), 4, 4096);
  const auto code = [&](Request request) {
    const auto id = bench.core->submit(std::move(request));
    return id ? std::string("taken") : std::string(error_code_name(id.error().code));
  };
  EXPECT_EQ(code(generate({}, 5)), "invalid");
  EXPECT_EQ(code(generate({-1}, 5)), "invalid");
  EXPECT_EQ(code(generate({61}, 5)), "invalid");
  EXPECT_EQ(code(generate({1}, 0)), "invalid");
  EXPECT_EQ(code(generate(prompt_of(4096, 1), 1)), "invalid");
  EXPECT_EQ(code(generate(prompt_of(100, 1), 30)), "exhausted");  // 129 tokens, 128 have room
  EXPECT_EQ(code(generate(prompt_of(100, 1), 29)), "taken");
  auto request = generate({1}, 5);
  request.sampling.greedy = false;
  request.sampling.temperature = 0;
  EXPECT_EQ(code(request), "invalid");
  request.sampling.temperature = std::nan("");
  EXPECT_EQ(code(request), "invalid");
  request = generate({1}, 5);
  request.sampling.stop = {"x"};  // no tokenizer here
  EXPECT_EQ(code(request), "invalid");
  request = generate({1, 2}, 5);
  request.kind = Request::Kind::kScore;
  request.score_from = 0;
  EXPECT_EQ(code(request), "invalid");
  request.score_from = 3;
  EXPECT_EQ(code(request), "invalid");
}

TEST(Core, RefusesMoreThanTheQueueHolds) {
  EngineOptions o = options(1, 8);
  o.max_waiting = 3;
  Bench bench(o, 16);
  for (int i = 0; i < 3; ++i) bench.submit(generate(prompt_of(4, 1), 4));
  const auto refused = bench.core->submit(generate(prompt_of(4, 1), 4));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kExhausted);
  EXPECT_EQ(bench.finish_all().size(), 3U);
}

TEST(Core, SharesAPrefixThatIsBeingComputed) {
  Bench bench(options(8, 64), 64);
  const auto prefix = prompt_of(96, 5);
  std::vector<RequestId> ids;
  std::vector<std::vector<int32_t>> prompts;
  for (int i = 0; i < 6; ++i) {
    prompts.push_back(prefix);
    for (const int32_t token : prompt_of(10, 100 + static_cast<uint64_t>(i))) prompts.back().push_back(token);
    ids.push_back(bench.submit(generate(prompts.back(), 5)));
  }
  const auto outputs = bench.finish_all();
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(outputs.at(ids[i]).ids, greedy_alone(prompts[i], 5, true, 4096));
    EXPECT_EQ(outputs.at(ids[i]).prefix_hit_tokens, i == 0 ? 0 : 96);
  }
  EXPECT_EQ(bench.runner->rows(), 96 + 6 * 10 + 6 * 4);  // the prefix once
  EXPECT_EQ(bench.runner->bad_reads(), 0);
}

TEST(Core, OwnAnswerIsAPrefixOfTheNextTurn) {
  Bench bench(options(2, 64), 64);
  auto conversation = prompt_of(40, 6);
  const auto first = bench.submit(generate(conversation, 30));
  const auto answer = bench.finish_all().at(first).ids;
  conversation.insert(conversation.end(), answer.begin(), answer.end());
  for (const int32_t token : prompt_of(5, 7)) conversation.push_back(token);
  const auto second = bench.submit(generate(conversation, 5));
  const Output output = bench.finish_all().at(second);
  EXPECT_EQ(output.prefix_hit_tokens, 64);  // 69 tokens were computed: two full pages
  EXPECT_EQ(output.ids, greedy_alone(conversation, 5, true, 4096));
}

TEST(Core, AlwaysComputesTheLastPromptTokenItself) {
  Bench bench(options(2, 64), 64);
  const auto prompt = prompt_of(64, 8);
  bench.submit(generate(prompt, 3));
  bench.finish_all();
  const auto again = bench.submit(generate(prompt, 3));
  const Output output = bench.finish_all().at(again);
  EXPECT_EQ(output.prefix_hit_tokens, 63);  // one page shared, of the other a copy
  EXPECT_EQ(bench.runner->copies(), 1);
  EXPECT_EQ(output.ids, greedy_alone(prompt, 3, true, 4096));
}

// Prompts with the same 50 tokens leave the second page after 18 of them.
TEST(Core, GoesOnInTheMiddleOfAnothersPage) {
  std::vector<std::vector<int32_t>> prompts;
  for (int32_t i = 0; i < 4; ++i) {
    prompts.push_back(prompt_of(50, 9));
    prompts.back().push_back(i);  // differs for sure
    for (const int32_t token : prompt_of(20, 30 + static_cast<uint64_t>(i))) prompts.back().push_back(token);
  }
  const auto expect_shared = [&](const Bench& bench, const std::map<RequestId, Output>& outputs, const std::vector<RequestId>& ids) {
    for (size_t i = 0; i < ids.size(); ++i) {
      EXPECT_EQ(outputs.at(ids[i]).ids, greedy_alone(prompts[i], 5, true, 4096));
      EXPECT_EQ(outputs.at(ids[i]).prefix_hit_tokens, i == 0 ? 0 : 50);
    }
    EXPECT_EQ(bench.runner->copies(), 3);
    EXPECT_EQ(bench.runner->rows(), 50 + 4 * 21 + 4 * 4);
    EXPECT_EQ(bench.runner->bad_reads(), 0);
    EXPECT_EQ(bench.core->blocks().problem(), "");
  };
  {
    Bench bench(options(8, 64), 64);  // all at once: the first one's page is not full yet when the others begin
    std::vector<RequestId> ids;
    for (const auto& prompt : prompts) ids.push_back(bench.submit(generate(prompt, 5)));
    expect_shared(bench, bench.finish_all(), ids);
  }
  {
    Bench bench(options(8, 64), 64);  // one after the other: the page is in the tree
    std::vector<RequestId> ids;
    std::map<RequestId, Output> outputs;
    for (const auto& prompt : prompts) {
      ids.push_back(bench.submit(generate(prompt, 5)));
      outputs.merge(bench.finish_all());
    }
    expect_shared(bench, outputs, ids);
  }
  {
    Bench bench(options(1, 64), 3);  // no page is left: the one to be copied is the one to be filled
    bench.submit(generate(prompts[0], 5));
    bench.finish_all();
    const auto id = bench.submit(generate(prompts[1], 5));
    const Output output = bench.finish_all().at(id);
    EXPECT_EQ(output.ids, greedy_alone(prompts[1], 5, true, 4096));
    EXPECT_EQ(bench.runner->bad_reads(), 0);
  }
}

TEST(Core, CacheSaltKeepsPrefixesApart) {
  Bench bench(options(2, 64), 64);
  auto request = generate(prompt_of(64, 8), 3);
  request.cache_salt = "a";
  bench.submit(request);
  bench.finish_all();
  request.cache_salt = "b";
  const auto other = bench.submit(request);
  EXPECT_EQ(bench.finish_all().at(other).prefix_hit_tokens, 0);
}

TEST(Core, PreemptsTheNewestWhenPagesRunOutAndLosesNothing) {
  // Four sequences of up to 4 pages each in 8 pages.
  Bench bench(options(4, 32, false), 8);
  std::vector<RequestId> ids;
  std::vector<std::shared_ptr<Budget>> budgets;
  for (uint64_t i = 0; i < 4; ++i) {
    auto request = generate(prompt_of(20, i), 100);
    budgets.push_back(request.budget = std::make_shared<Budget>(120));
    ids.push_back(bench.submit(request));
  }
  const auto outputs = bench.finish_all();
  for (uint64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(outputs.at(ids[i]).ids, greedy_alone(prompt_of(20, i), 100, true, 4096));
    EXPECT_EQ(budgets[i]->spent(), 120U);  // computed again, not paid again
  }
  EXPECT_GT(bench.metrics.get(metric::kPreemptions).value(), 0);
  EXPECT_EQ(bench.runner->bad_reads(), 0);
  // The older never waits for the newer.
  for (size_t i = 1; i < 4; ++i) EXPECT_LE(outputs.at(ids[i - 1]).last_step, outputs.at(ids[i]).last_step);
}

TEST(Core, ForegroundGoesFirstAndBackgroundGivesWay) {
  Bench bench(options(2, 32), 64);
  std::vector<RequestId> background;
  for (uint64_t i = 0; i < 3; ++i) {
    auto request = generate(prompt_of(10, i), 60);
    request.request_class = RequestClass::kBackground;
    background.push_back(bench.submit(request));
  }
  for (int i = 0; i < 5; ++i) bench.core->step();
  EXPECT_EQ(bench.core->running(), 2U);
  const auto a = bench.submit(generate(prompt_of(10, 11), 20));
  const auto b = bench.submit(generate(prompt_of(10, 12), 20));
  const auto outputs = bench.finish_all();
  EXPECT_EQ(outputs.at(a).first_step, 6U);  // at once: both places were taken from background
  EXPECT_EQ(outputs.at(b).first_step, 6U);
  EXPECT_EQ(outputs.at(a).last_step, 25U);
  for (uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(outputs.at(background[i]).ids, greedy_alone(prompt_of(10, i), 60, true, 4096));
    EXPECT_GT(outputs.at(background[i]).last_step, 25U);
  }
}

TEST(Core, NeverPassesABudget) {
  for (uint64_t tokens = 0; tokens <= 60; ++tokens) {
    Bench bench(options(4, 8), 64);
    auto budget = std::make_shared<Budget>(tokens);
    std::vector<RequestId> ids;
    for (uint64_t i = 0; i < 3; ++i) {
      auto request = generate(prompt_of(10, i), 10);
      request.budget = budget;
      ids.push_back(bench.submit(request));
    }
    const auto outputs = bench.finish_all();
    uint64_t generated = 0;
    for (const auto id : ids) generated += outputs.at(id).ids.size();
    EXPECT_LE(budget->spent(), tokens);
    EXPECT_EQ(budget->spent() + budget->left(), tokens);
    const bool enough = tokens >= 60;
    for (uint64_t i = 0; i < 3; ++i) {
      const Output& output = outputs.at(ids[i]);
      const auto alone = greedy_alone(prompt_of(10, i), 10, true, 4096);
      ASSERT_LE(output.ids.size(), alone.size());
      EXPECT_TRUE(std::equal(output.ids.begin(), output.ids.end(), alone.begin()));
      if (output.finish == FinishReason::kLength) continue;
      EXPECT_FALSE(enough);
      EXPECT_EQ(output.finish, FinishReason::kCancelled);
      ASSERT_TRUE(output.error);
      EXPECT_EQ(output.error->code, ErrorCode::kExhausted);
    }
    if (enough) {
      EXPECT_EQ(generated, 30U);
      EXPECT_EQ(budget->left(), 0U);
    }
    // All that was debited was used: prompts that were admitted, and one token a sample.
    EXPECT_EQ((budget->spent() - generated) % 10, 0U);
  }
}

TEST(Core, CancelsAndKeepsDeadlines) {
  Bench bench(options(1, 8), 64);
  auto late = generate(prompt_of(4, 1), 50);
  late.deadline = std::chrono::seconds(5);
  const auto a = bench.submit(late);
  const auto b = bench.submit(generate(prompt_of(4, 2), 50));  // waits
  const auto c = bench.submit(generate(prompt_of(4, 3), 5));
  bench.core->cancel(b);
  bench.core->cancel(12345);  // nobody
  auto outputs = bench.core->step();
  ASSERT_EQ(outputs.size(), 1U);
  EXPECT_EQ(outputs[0].id, b);
  EXPECT_EQ(outputs[0].finish, FinishReason::kCancelled);
  EXPECT_TRUE(outputs[0].ids.empty());
  EXPECT_TRUE(bench.core->step().empty());
  bench.clock.advance(std::chrono::seconds(5));
  outputs = bench.core->step();
  ASSERT_EQ(outputs.size(), 1U);
  EXPECT_EQ(outputs[0].id, a);
  EXPECT_EQ(outputs[0].finish, FinishReason::kCancelled);
  EXPECT_EQ(outputs[0].ids.size(), 2U);
  EXPECT_EQ(outputs[0].error->code, ErrorCode::kCancelled);
  EXPECT_DOUBLE_EQ(outputs[0].seconds, 5.0);
  EXPECT_EQ(bench.finish_all().at(c).ids.size(), 5U);
}

TEST(Core, EmbedIsTheMeanOfAllRowsHoweverCut) {
  const auto prompt = prompt_of(45, 9);
  std::vector<double> sum(FakeRunner::kHidden, 0.0);
  std::vector<float> hidden(FakeRunner::kHidden);
  for (size_t i = 1; i <= prompt.size(); ++i) {
    FakeRunner::hidden_of(std::span(prompt).first(i), hidden);
    for (size_t d = 0; d < hidden.size(); ++d) sum[d] += static_cast<double>(hidden[d]);
  }
  for (const int chunk : {1, 7, 45, 512}) {
    Bench bench(options(2, chunk + 1), 16);
    bench.submit(generate(prompt, 3));  // the same tokens in the cache change nothing
    Request request;
    request.kind = Request::Kind::kEmbed;
    request.prompt_ids = prompt;
    const auto id = bench.submit(request);
    const Output output = bench.finish_all().at(id);
    EXPECT_EQ(output.finish, FinishReason::kStop);
    ASSERT_EQ(output.values.size(), sum.size());
    for (size_t d = 0; d < sum.size(); ++d) EXPECT_EQ(output.values[d], static_cast<float>(sum[d] / 45.0));
  }
}

TEST(Core, LogitsAndScoresAreThoseOfEveryPosition) {
  const auto prompt = prompt_of(70, 10);
  std::vector<float> hidden(FakeRunner::kHidden), all;
  for (size_t i = 1; i <= prompt.size(); ++i) {
    std::vector<float> logits(FakeRunner::kVocab);
    FakeRunner::hidden_of(std::span(prompt).first(i), hidden);
    FakeRunner::logits_of(hidden, logits);
    all.insert(all.end(), logits.begin(), logits.end());
  }
  for (const int chunk : {2, 33, 512}) {
    Bench bench(options(2, chunk), 16);
    Request request;
    request.prompt_ids = prompt;
    request.kind = Request::Kind::kLogits;
    const auto logits = bench.submit(request);
    request.kind = Request::Kind::kScore;
    request.score_from = 40;
    const auto score = bench.submit(request);
    {
      const auto outputs = bench.finish_all();
      EXPECT_EQ(outputs.at(logits).values, all);
      ASSERT_EQ(outputs.at(score).logprobs.size(), 30U);
      for (size_t i = 40; i < 70; ++i) {
        const TokenLogprob& got = outputs.at(score).logprobs[i - 40];
        double total = 0;
        for (size_t v = 0; v < FakeRunner::kVocab; ++v) total += std::exp(static_cast<double>(all[(i - 1) * FakeRunner::kVocab + v]));
        const double want = static_cast<double>(all[(i - 1) * FakeRunner::kVocab + static_cast<size_t>(prompt[i])]) - std::log(total);
        EXPECT_EQ(got.id, prompt[i]);
        EXPECT_NEAR(got.logprob, want, 1e-6);
      }
      EXPECT_GT(bench.ledger.used(), all.size() * sizeof(float));
    }
    EXPECT_LT(bench.ledger.used(), all.size() * sizeof(float) + Core::buffer_bytes(options(2, chunk), 3, 61, 1));
  }
}

TEST(Core, LogitsBeyondTheLedgerAreAnErrorOfThatRequestAlone) {
  Bench bench(options(2, 64), 16, 4096, {nullptr, {}}, 1, 20000);
  Request request;
  request.prompt_ids = prompt_of(300, 1);
  request.kind = Request::Kind::kLogits;
  const auto big = bench.submit(request);
  const auto fine = bench.submit(generate(prompt_of(5, 1), 3));
  const auto outputs = bench.finish_all();
  EXPECT_EQ(outputs.at(big).finish, FinishReason::kError);
  EXPECT_EQ(outputs.at(big).error->code, ErrorCode::kExhausted);
  EXPECT_EQ(outputs.at(fine).finish, FinishReason::kLength);
  EXPECT_EQ(bench.core->blocks().held(), 0);
}

TEST(Core, LogprobsAreOfTheRawLogits) {
  Bench bench(options(2, 64), 16);
  auto request = generate(prompt_of(5, 1), 4);
  request.sampling.logprobs = 3;
  request.sampling.repetition_penalty = 1.3;
  const auto id = bench.submit(request);
  const Output output = bench.finish_all().at(id);
  ASSERT_EQ(output.logprobs.size(), 4U);
  auto tokens = request.prompt_ids;
  std::vector<float> hidden(FakeRunner::kHidden), logits(FakeRunner::kVocab);
  for (size_t i = 0; i < 4; ++i) {
    FakeRunner::hidden_of(tokens, hidden);
    FakeRunner::logits_of(hidden, logits);
    double total = 0;
    for (const float logit : logits) total += std::exp(static_cast<double>(logit));
    const auto want = [&](int32_t token) { return static_cast<double>(logits[static_cast<size_t>(token)]) - std::log(total); };
    EXPECT_EQ(output.logprobs[i].id, output.ids[i]);
    EXPECT_NEAR(output.logprobs[i].logprob, want(output.ids[i]), 1e-6);
    ASSERT_EQ(output.logprobs[i].top.size(), 3U);
    std::sort(logits.begin(), logits.end(), std::greater<>());
    for (size_t k = 0; k < 3; ++k) {
      EXPECT_NEAR(output.logprobs[i].top[k].second, static_cast<double>(logits[k]) - std::log(total), 1e-6);
    }
    tokens.push_back(output.ids[i]);
  }
}

TEST(Core, BackgroundPortRunsWhenNoForegroundIsThere) {
  struct Port final : Background {
    bool run_slice() override { return ++slices > 0; }
    int slices = 0;
  } port;
  Bench bench(options(2, 64), 16);
  bench.core->set_background(&port);
  bench.core->step();
  EXPECT_EQ(port.slices, 1);
  bench.submit(generate(prompt_of(5, 1), 3));
  for (int i = 0; i < 3; ++i) bench.core->step();
  EXPECT_EQ(port.slices, 1);
  EXPECT_TRUE(bench.core->idle());
  bench.core->step();
  EXPECT_EQ(port.slices, 2);
}

}  // namespace
}  // namespace colony::engine
