// The whole engine over real weights: above all, that a row's numbers are its own.
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "base/rng.h"
#include "engine/small_tokenizer.h"
#include "engine/tiny_checkpoint.h"

namespace colony::engine {
namespace {

struct Case {
  std::vector<int32_t> prompt;
  Request::Kind kind = Request::Kind::kGenerate;
  int max_tokens = 24;
  bool greedy = true;
  uint64_t task = 0;
};

Request request_of(const Case& c) {
  Request request;
  request.kind = c.kind;
  request.prompt_ids = c.prompt;
  request.sampling.max_tokens = c.max_tokens;
  request.sampling.ignore_eos = true;
  request.sampling.logprobs = 2;
  request.sampling.greedy = c.greedy;
  request.sampling.temperature = 0.9;
  request.sampling.top_k = 40;
  request.sampling.top_p = 0.95;
  request.sampling.seed = 11;
  request.task_id = c.task;
  return request;
}

// Some prompts begin alike, so that prefixes are shared; lengths cross page borders.
std::vector<Case> make_cases(int64_t vocab, size_t count, bool logits, int long_tokens) {
  RngStream rng(42, 0, 0, 0);
  const auto random_ids = [&](size_t size) {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < size; ++i) ids.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab))));
    return ids;
  };
  const auto shared = random_ids(70);
  std::vector<Case> cases;
  for (size_t i = 0; i < count; ++i) {
    Case c;
    if (i % 3 == 0) c.prompt = shared;
    const auto own = random_ids(1 + rng.below(90));
    c.prompt.insert(c.prompt.end(), own.begin(), own.end());
    if (i % 4 == 2) c.prompt.insert(c.prompt.end(), own.begin(), own.end());  // something to look up
    c.max_tokens = static_cast<int>(4 + rng.below(26));
    if (i < 2) c.max_tokens = long_tokens;  // these outgrow the pages they were admitted with
    c.greedy = i % 2 == 0;
    c.task = i;
    if (i % 5 == 3) c.kind = Request::Kind::kEmbed;
    if (i % 5 == 4) c.kind = logits ? Request::Kind::kLogits : Request::Kind::kScore;
    cases.push_back(std::move(c));
  }
  return cases;
}

struct World {
  int threads = 1;
  EngineOptions options;
  int rounds = 1;  // the cases run that often in one engine; the last round is kept
};

class Rig {
 public:
  Rig(const std::filesystem::path& path, const std::string& dtype, int threads)
      : ledger_(4ULL << 30), pool_(threads) {
    auto loaded = Snapshot::load(path, "test", dtype, ledger_, pool_);
    CHECK(loaded.has_value(), loaded ? "" : loaded.error().message);
    snapshot_ = *loaded;
  }
  std::unique_ptr<Engine> engine(const EngineOptions& options) {
    auto made = Engine::create(snapshot_, options, ledger_, pool_, clock_, metrics_);
    CHECK(made.has_value(), made ? "" : made.error().message);
    return std::move(*made);
  }
  const Snapshot& snapshot() const { return *snapshot_; }
  ByteLedger& ledger() { return ledger_; }
  Metrics& metrics() { return metrics_; }

 private:
  ByteLedger ledger_;
  tensor::ThreadPool pool_;
  SystemClock clock_;
  Metrics metrics_;
  std::shared_ptr<const Snapshot> snapshot_;
};

std::vector<Output> run(Engine& engine, const std::vector<Case>& cases) {
  std::map<RequestId, size_t> index;
  for (size_t i = 0; i < cases.size(); ++i) {
    auto id = engine.submit(request_of(cases[i]));
    CHECK(id.has_value(), id ? "" : id.error().message);
    index[*id] = i;
  }
  std::vector<Output> outputs(cases.size());
  while (!engine.idle()) {
    for (Output& output : engine.step()) {
      output.values_bytes.reset();
      outputs[index.at(output.id)] = std::move(output);
    }
  }
  return outputs;
}

EngineOptions options(int sequences, int tokens, bool prefix, int64_t pages = 0,
                      Speculate speculate = Speculate::kOff) {
  EngineOptions o;
  o.max_sequences = sequences;
  o.max_step_tokens = tokens;
  o.prefix_cache = prefix;
  o.kv_pages = pages;
  o.speculate = speculate;
  return o;
}

// Every number equal to the bit.
void expect_same(const std::vector<Output>& got, const std::vector<Output>& want, const std::string& how) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    SCOPED_TRACE(fmt::format("{}, case {}", how, i));
    ASSERT_NE(got[i].finish, FinishReason::kError) << (got[i].error ? got[i].error->message : "");
    EXPECT_EQ(got[i].ids, want[i].ids);
    EXPECT_EQ(got[i].finish, want[i].finish);
    ASSERT_EQ(got[i].logprobs.size(), want[i].logprobs.size());
    for (size_t k = 0; k < got[i].logprobs.size(); ++k) {
      EXPECT_EQ(std::memcmp(&got[i].logprobs[k].logprob, &want[i].logprobs[k].logprob, sizeof(double)), 0);
      EXPECT_EQ(got[i].logprobs[k].top, want[i].logprobs[k].top);
    }
    ASSERT_EQ(got[i].values.size(), want[i].values.size());
    if (!want[i].values.empty()) {
      EXPECT_EQ(std::memcmp(got[i].values.data(), want[i].values.data(), want[i].values.size() * sizeof(float)), 0);
    }
  }
}

void expect_meaningful(const std::vector<Output>& outputs) {
  size_t tokens = 0, values = 0;
  for (const Output& output : outputs) {
    tokens += output.ids.size();
    for (const TokenLogprob& logprob : output.logprobs) {
      ASSERT_TRUE(std::isfinite(logprob.logprob));
      EXPECT_LE(logprob.logprob, 0.0);
    }
    double size = 0;
    for (const float value : output.values) {
      ASSERT_TRUE(std::isfinite(value));
      size += std::abs(static_cast<double>(value));
    }
    if (!output.values.empty()) {
      EXPECT_GT(size, 0);
      ++values;
    }
  }
  EXPECT_GT(tokens, 50U);
  EXPECT_GT(values, 0U);
}

void check_rows_are_their_own(const std::filesystem::path& path, const std::string& dtype,
                              const std::vector<Case>& cases, int64_t few_pages,
                              const std::vector<int>& thread_counts) {
  Rig one(path, dtype, 1);
  std::vector<Output> alone;
  for (const Case& c : cases) {
    auto engine = one.engine(options(1, 512, false, 64));
    alone.push_back(run(*engine, {c})[0]);
  }
  expect_meaningful(alone);
  for (const int threads : thread_counts) {
    Rig rig(path, dtype, threads);
    const auto with = [&](const char* what) { return fmt::format("{}, {} threads, {}", dtype, threads, what); };
    {
      auto engine = rig.engine(options(16, 512, false, 200));
      expect_same(run(*engine, cases), alone, with("16 mixed"));
    }
    {
      auto engine = rig.engine(options(5, 7, false, 200));
      expect_same(run(*engine, cases), alone, with("cut into chunks"));
    }
    {
      auto engine = rig.engine(options(16, 100, true, 200));
      run(*engine, cases);
      const auto again = run(*engine, cases);
      int64_t hits = 0;
      for (const Output& output : again) hits += output.prefix_hit_tokens;
      EXPECT_GT(hits, 0);
      expect_same(again, alone, with("prefix hits"));
    }
    {
      // Every draft, right or wrong, in a wide batch; some in a narrow one.
      const double accepted = rig.metrics().get(metric::kAcceptedTokens).value();
      const double drafted = rig.metrics().get(metric::kDraftedTokens).value();
      for (const int sequences : {16, 3}) {
        auto engine = rig.engine(options(sequences, 100, true, 200, sequences == 3 ? Speculate::kAuto : Speculate::kOn));
        expect_same(run(*engine, cases), alone, with("speculation"));
      }
      const double came_true = rig.metrics().get(metric::kAcceptedTokens).value() - accepted;
      EXPECT_GT(came_true, 10);
      EXPECT_GT(rig.metrics().get(metric::kDraftedTokens).value() - drafted, came_true);
    }
    {
      const double before = rig.metrics().get(metric::kPreemptions).value();
      auto engine = rig.engine(options(16, 64, threads == 2, few_pages, threads == 1 ? Speculate::kOff : Speculate::kOn));
      expect_same(run(*engine, cases), alone, with("few pages"));
      EXPECT_GT(rig.metrics().get(metric::kPreemptions).value(), before);
    }
  }
}

class EngineRows : public ::testing::TestWithParam<std::string> {};

TEST_P(EngineRows, AreTheirOwnToTheBit) {
  TempFolder folder;
  const TinyShape shape;
  write_tiny_checkpoint(folder.path(), shape, 7);
  check_rows_are_their_own(folder.path(), GetParam(), make_cases(shape.vocab, 20, true, 110), 9, {1, 2, 3});
}

TEST(EngineStarter, RowsAreTheirOwnToTheBit) {
  const auto path = starter_model();
  if (path.empty()) GTEST_SKIP() << "the starter model is not in the Hugging Face cache";
  check_rows_are_their_own(path, "int8", make_cases(49152, 7, false, 110), 9, {2});
}

class SlowEngineRows : public ::testing::TestWithParam<std::string> {};

TEST_P(SlowEngineRows, OfTheStarterModelAreTheirOwnToTheBit) {
  const auto path = starter_model();
  if (path.empty()) GTEST_SKIP() << "the starter model is not in the Hugging Face cache";
  check_rows_are_their_own(path, GetParam(), make_cases(49152, 7, false, 110), 9, {2});
}

INSTANTIATE_TEST_SUITE_P(Slow, SlowEngineRows, ::testing::Values("f32", "bf16", "int8", "int4"),
                         [](const auto& one) { return one.param; });
INSTANTIATE_TEST_SUITE_P(Dtypes, EngineRows, ::testing::Values("f32", "bf16", "int8", "int4"),
                         [](const auto& one) { return one.param; });

// A constraint: one of some words, and nothing after it.
class Words final : public text::Acceptor {
 public:
  explicit Words(std::vector<std::string> words) : words_(std::move(words)) {}
  struct At final : State {
    explicit At(const std::vector<std::string>& of) : words(&of) {}
    std::unique_ptr<State> clone() const override { return std::make_unique<At>(*this); }
    bool advance(std::string_view bytes) override {
      read += bytes;
      for (const auto& word : *words) {
        if (word.starts_with(read)) return true;
      }
      return false;
    }
    bool complete() const override { return std::find(words->begin(), words->end(), read) != words->end(); }
    bool exhausted() const override {
      size_t going_on = 0;
      for (const auto& word : *words) going_on += word.starts_with(read) ? 1 : 0;
      return complete() && going_on == 1;
    }
    const std::vector<std::string>* words;
    std::string read;
  };
  std::unique_ptr<State> start() const override { return std::make_unique<At>(words_); }

 private:
  std::vector<std::string> words_;
};

// The tiny checkpoint with the small tokenizer beside it.
struct TextRig {
  explicit TextRig(Speculate speculate = Speculate::kAuto) {
    TinyShape shape;
    write_tiny_checkpoint(folder.path(), shape, 9);
    rig = std::make_unique<Rig>(folder.path(), "f32", 2);
    auto with_text = std::make_shared<Snapshot>(rig->snapshot());
    with_text->text.tokenizer = small_tokenizer({"re", "red", "gr", "gre", "bl", "blu", "blue", "no"});
    with_text->eos_ids = {0};
    snapshot = with_text;
    auto made = Engine::create(snapshot, options(16, 64, true, 100, speculate), rig->ledger(), pool, clock, rig->metrics());
    CHECK(made.has_value(), made ? "" : made.error().message);
    engine = std::move(*made);
  }
  Output run(Request request) {
    auto id = engine->submit(std::move(request));
    CHECK(id.has_value(), id ? "" : id.error().message);
    while (true) {
      for (Output& output : engine->step()) {
        if (output.id == *id) return std::move(output);
      }
    }
  }
  TempFolder folder;
  std::unique_ptr<Rig> rig;
  std::shared_ptr<const Snapshot> snapshot;
  tensor::ThreadPool pool{2};
  SystemClock clock;
  std::unique_ptr<Engine> engine;
};

Request ask(const std::string& prompt, int max_tokens) {
  Request request;
  for (const char letter : prompt) request.prompt_ids.push_back(1 + static_cast<uint8_t>(letter));
  request.sampling.max_tokens = max_tokens;
  return request;
}

TEST(EngineText, ConstraintGivesOneOfTheWordsAndStops) {
  TextRig rig;
  const std::vector<std::string> words{"red", "green", "blue", "blueish", "no"};
  const auto constraint = std::make_shared<Words>(words);
  std::map<std::string, int> seen;
  for (int i = 0; i < 60; ++i) {
    Request request = ask(fmt::format("question {}", i), 20);
    request.constraint = constraint;
    request.sampling.greedy = i % 2 == 0;
    request.sampling.temperature = 3.0;
    request.sampling.seed = 5;
    request.task_id = static_cast<uint64_t>(i);
    request.sampling.logprobs = 0;
    const Output output = rig.run(request);
    EXPECT_EQ(output.finish, FinishReason::kStop) << (output.error ? output.error->message : "");
    EXPECT_EQ(output.logprobs.size(), output.ids.size());
    ++seen[output.text];
  }
  for (const auto& [text, count] : seen) {
    EXPECT_NE(std::find(words.begin(), words.end(), text), words.end()) << text;
  }
  EXPECT_GT(seen.size(), 2U);
}

// Stop strings, constraints, penalties, log-probabilities, sampling, end of sequence: drafts change nothing.
TEST(EngineText, SpeculationChangesNoText) {
  TextRig plain(Speculate::kOff), drafting(Speculate::kOn);
  const auto constraint = std::make_shared<Words>(std::vector<std::string>{"red red red blue", "red red red green", "no no no no"});
  size_t stopped = 0;
  for (int i = 0; i < 120; ++i) {
    Request request = ask(i % 3 == 0 ? "red red red blue, red red red blue. " : "ab ab ab ab ab ", 60);
    if (i % 4 == 0) request.constraint = constraint;
    request.sampling.greedy = i % 2 == 0;
    request.sampling.temperature = 0.5 + 0.02 * i;
    request.sampling.repetition_penalty = i % 5 == 0 ? 1.3 : 1.0;
    request.sampling.logprobs = i % 3 - 1;
    request.sampling.seed = static_cast<uint64_t>(i);
    request.sampling.ignore_eos = i % 7 == 0;
    if (i % 6 == 5) request.sampling.stop = {"a", "re", "q"};
    const Output a = plain.run(request), b = drafting.run(request);
    SCOPED_TRACE(fmt::format("request {}", i));
    EXPECT_EQ(a.ids, b.ids);
    EXPECT_EQ(a.text, b.text);
    EXPECT_EQ(a.finish, b.finish);
    ASSERT_EQ(a.logprobs.size(), b.logprobs.size());
    for (size_t k = 0; k < a.logprobs.size(); ++k) {
      EXPECT_EQ(a.logprobs[k].logprob, b.logprobs[k].logprob);
      EXPECT_EQ(a.logprobs[k].top, b.logprobs[k].top);
    }
    stopped += a.finish == FinishReason::kStop ? 1 : 0;
  }
  EXPECT_GT(stopped, 20U);
  EXPECT_GT(drafting.rig->metrics().get(metric::kAcceptedTokens).value(), 200);
  EXPECT_EQ(plain.rig->metrics().get(metric::kDraftedTokens).value(), 0);
}

TEST(EngineText, GreedyUnderAConstraintTakesTheBestThatFits) {
  TextRig rig;
  Request request = ask("which letter", 1);
  request.sampling.logprobs = 300;
  const Output free = rig.run(request);
  // Of all tokens in order of probability, the first that begins one of the words.
  const std::vector<std::string> words{"red", "green", "zzz"};
  int32_t want = -1;
  for (const auto& [id, logprob] : free.logprobs[0].top) {
    const std::string bytes = rig.snapshot->text.tokenizer->bytes_of(id);
    if (want < 0 && !bytes.empty() && id != 0) {
      for (const auto& word : words) {
        if (word.starts_with(bytes)) want = id;
      }
    }
  }
  request.constraint = std::make_shared<Words>(words);
  EXPECT_EQ(rig.run(request).ids, std::vector<int32_t>{want});
}

TEST(EngineText, ACutConstrainedAnswerSaysSo) {
  TextRig rig;
  Request request = ask("tell me", 3);
  request.constraint = std::make_shared<Words>(std::vector<std::string>{"zzzzzzzz"});
  Output output = rig.run(request);
  EXPECT_EQ(output.finish, FinishReason::kLength);
  EXPECT_TRUE(output.cut);
  request.sampling.max_tokens = 8;
  output = rig.run(request);
  EXPECT_EQ(output.finish, FinishReason::kStop);
  EXPECT_FALSE(output.cut);
  request.sampling.stop = {"zzz"};  // a stop string cuts as well
  output = rig.run(request);
  EXPECT_EQ(output.finish, FinishReason::kStop);
  EXPECT_TRUE(output.cut);
  request.constraint = nullptr;
  request.sampling.max_tokens = 2;
  EXPECT_FALSE(rig.run(request).cut);
}

TEST(EngineText, ConstraintThatNothingFitsIsAnError) {
  TextRig rig;
  struct Nothing final : text::Acceptor {
    struct At final : State {
      std::unique_ptr<State> clone() const override { return std::make_unique<At>(); }
      bool advance(std::string_view) override { return false; }
      bool complete() const override { return false; }
      bool exhausted() const override { return false; }
    };
    std::unique_ptr<State> start() const override { return std::make_unique<At>(); }
  };
  for (const bool greedy : {true, false}) {
    Request request = ask("x", 5);
    request.constraint = std::make_shared<Nothing>();
    request.sampling.greedy = greedy;
    const Output output = rig.run(request);
    EXPECT_EQ(output.finish, FinishReason::kError);
    ASSERT_TRUE(output.error);
    EXPECT_EQ(output.error->code, ErrorCode::kInvalid);
  }
}

TEST(EngineText, TextEndsBeforeAStopStringAndPiecesAreTheText) {
  TextRig rig;
  Request request = ask("tell me", 60);
  request.sampling.ignore_eos = true;
  const Output whole = rig.run(request);
  ASSERT_EQ(whole.ids.size(), 60U);
  EXPECT_EQ(whole.text, rig.snapshot->text.tokenizer->decode(whole.ids, true));
  // Two characters from somewhere in the middle, which straddle tokens more often than not.
  size_t tried = 0;
  for (size_t at = 4; at + 3 < whole.text.size(); ++at) {
    const std::string stop = whole.text.substr(at, 3);
    if ((static_cast<uint8_t>(stop[0]) | static_cast<uint8_t>(stop[1]) | static_cast<uint8_t>(stop[2])) >= 0x80) continue;
    request.sampling.stop = {stop};
    std::string pieces;
    rig.engine->on_text([&](RequestId, std::string_view piece) { pieces += piece; });
    const Output output = rig.run(request);
    EXPECT_EQ(output.finish, FinishReason::kStop);
    EXPECT_EQ(output.text, whole.text.substr(0, whole.text.find(stop)));
    EXPECT_EQ(pieces, output.text);
    EXPECT_LE(output.ids.size(), whole.ids.size());
    ++tried;
  }
  EXPECT_GT(tried, 0U);
}

TEST(EngineText, SeedAndTaskDecideTheTokens) {
  TextRig rig;
  Request request = ask("tell me", 30);
  request.sampling.ignore_eos = true;
  request.sampling.greedy = false;
  request.sampling.temperature = 1.5;
  const auto first = rig.run(request).ids;
  EXPECT_EQ(rig.run(request).ids, first);
  request.task_id = 1;
  EXPECT_NE(rig.run(request).ids, first);
  request.task_id = 0;
  request.agent_id = 1;
  EXPECT_NE(rig.run(request).ids, first);
  request.agent_id = 0;
  request.sampling.seed = 1;
  EXPECT_NE(rig.run(request).ids, first);
}

// Else the same seed would not give the same run.
TEST(Engine, ChoosesTheSameWeightTypeAtEveryStart) {
  TempFolder folder;
  write_tiny_checkpoint(folder.path(), TinyShape{}, 7);
  for (int start = 0; start < 20; ++start) {
    Rig rig(folder.path(), "auto", 2);
    EXPECT_EQ(rig.snapshot().model->dtype(), tensor::WeightType::kInt8);
  }
}

TEST(Engine, TakesItsPagesFromTheLedgerAndGivesThemBack) {
  TempFolder folder;
  write_tiny_checkpoint(folder.path(), TinyShape{}, 7);
  Rig rig(folder.path(), "f32", 1);
  const uint64_t weights = rig.ledger().used();
  EXPECT_EQ(weights, rig.snapshot().model->weight_bytes());
  {
    auto engine = rig.engine(options(4, 64, true));
    // All four contexts of 600 tokens.
    const uint64_t kv = 4 * 19 * model::KvCache::page_bytes(rig.snapshot().model->config(), rig.snapshot().model->default_kv_type());
    uint64_t booked = 0;
    for (const auto& [owner, bytes] : rig.ledger().owners()) {
      if (owner == "kv") booked = bytes;
    }
    EXPECT_EQ(booked, kv);
  }
  EXPECT_EQ(rig.ledger().used(), weights);
}

TEST(Engine, RefusesMemoryThatHoldsNoPage) {
  TempFolder folder;
  write_tiny_checkpoint(folder.path(), TinyShape{}, 7);
  tensor::ThreadPool pool(1);
  ByteLedger small(100);
  const auto refused = Snapshot::load(folder.path(), "tiny", "f32", small, pool);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kExhausted);
  ByteLedger ledger(64 << 20);
  auto snapshot = Snapshot::load(folder.path(), "tiny", "f32", ledger, pool);
  ASSERT_TRUE(snapshot);
  auto rest = ledger.take("trainer", ledger.ceiling() - ledger.used() - 1000);
  ASSERT_TRUE(rest);
  SystemClock clock;
  Metrics metrics;
  const auto engine = Engine::create(*snapshot, EngineOptions{}, ledger, pool, clock, metrics);
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, ErrorCode::kExhausted);
}

}  // namespace
}  // namespace colony::engine
