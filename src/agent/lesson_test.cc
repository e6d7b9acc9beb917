// Training behind serving: it learns the same bits, gives way, gives its memory back, and foreground requests hardly notice.
#include "agent/lesson.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <thread>

#include "agent/tiny_colony_test.h"
#include "base/rng.h"
#include "engine/adapters.h"
#include "engine/sanitized.h"

namespace colony::agent {
namespace {

namespace fs = std::filesystem;

// Sequences that repeat with a short period, which a model learns quickly.
std::vector<train::Example> repeating(size_t count, int64_t tokens, int64_t period, int32_t vocab, uint64_t seed) {
  std::vector<train::Example> list;
  for (size_t i = 0; i < count; ++i) {
    RngStream rng(seed, i, 0, 1);
    std::vector<int32_t> word;
    for (int64_t k = 0; k < period; ++k) word.push_back(static_cast<int32_t>(1 + rng.below(static_cast<uint64_t>(vocab) - 1)));
    train::Example e;
    for (int64_t t = 0; t < tokens; ++t) {
      e.ids.push_back(word[static_cast<size_t>(t % period)]);
      e.scored.push_back(t < period ? 0 : 1);
    }
    list.push_back(std::move(e));
  }
  return list;
}

Json peft() {
  return {{"peft_type", "LORA"}, {"r", 4}, {"lora_alpha", 8}, {"target_modules", Json::array({"q_proj", "v_proj", "down_proj"})}};
}

LessonOptions small_lesson(const fs::path& model, const fs::path& out) {
  LessonOptions options;
  options.model = model;
  options.peft = peft();
  options.examples = repeating(12, 40, 5, 12, 1);  // few words: what all have in common is learnt at once
  options.valid = repeating(3, 40, 5, 12, 2);
  options.loop.learning_rate = 0.01;
  options.loop.steps = 6;
  options.loop.batch = 6;
  options.out = out;
  return options;
}

engine::Request request_of(uint64_t seed, int prompt, int tokens, int32_t vocab) {
  engine::Request request;
  RngStream rng(seed, 0, 0, 2);
  for (int i = 0; i < prompt; ++i) request.prompt_ids.push_back(static_cast<int32_t>(1 + rng.below(static_cast<uint64_t>(vocab) - 1)));
  request.sampling.max_tokens = tokens;
  request.sampling.ignore_eos = true;
  request.task_id = seed;
  return request;
}

std::vector<int32_t> answer(engine::Engine& engine, engine::Request request) {
  EXPECT_TRUE(engine.submit(std::move(request)));
  std::vector<int32_t> ids;
  while (!engine.idle()) {
    for (auto& output : engine.step()) ids = output.ids;
  }
  return ids;
}

std::string bytes_of(const fs::path& file) {
  const auto text = read_file(file);
  EXPECT_TRUE(text) << file;
  return text ? *text : "";
}

TEST(Lesson, LearnsBetweenRequestsWhatItLearnsAlone) {
  TinyEngine rig;
  SystemClock clock;
  const fs::path model = rig.folder.path() / "model", out = rig.folder.path() / "lesson", alone = rig.folder.path() / "alone";
  std::vector<std::vector<int32_t>> before;
  for (uint64_t i = 0; i < 4; ++i) before.push_back(answer(*rig.engine, request_of(i, 40, 6, 300)));
  const uint64_t used = rig.ledger.used();

  std::vector<Json> metrics;
  LessonOptions options = small_lesson(model, out);
  options.slice = std::chrono::nanoseconds(0);  // one product a slice
  options.metric = [&](const Json& metric) { metrics.push_back(metric); };
  {
    Lesson lesson(options, rig.ledger, clock, rig.pool);
    rig.engine->set_background(&lesson);
    EXPECT_EQ(rig.ledger.used(), used) << "nothing before the first slice";
    uint64_t asked = 0, slices = 0, most = 0;
    while (!lesson.result()) {
      rig.engine->step();
      most = std::max(most, rig.ledger.used());
      if (++slices % 50 == 0 && asked < 4) {
        // While it is there the lesson stands still, and its tokens are what they are.
        const int64_t step = lesson.state().step;
        EXPECT_EQ(answer(*rig.engine, request_of(asked, 40, 6, 300)), before[asked]);
        EXPECT_LE(lesson.state().step, step + 1);
        ++asked;
      }
    }
    ASSERT_TRUE(*lesson.result()) << lesson.result()->error().message;
    EXPECT_EQ(**lesson.result(), train::TrainEnd::kDone);
    EXPECT_EQ(lesson.state().step, 6);
    EXPECT_EQ(asked, 4u);
    EXPECT_GT(slices, 200u);
    EXPECT_GT(most, used);
    EXPECT_EQ(rig.ledger.used(), used) << "all of it is given back";
    EXPECT_FALSE(lesson.run_slice());
    rig.engine->set_background(nullptr);
  }
  ASSERT_FALSE(metrics.empty());
  EXPECT_LT(metrics.back()["valid_loss"].get<double>(), metrics.front()["loss"].get<double>());
  EXPECT_FALSE(fs::exists(out / "checkpoint.safetensors"));
  EXPECT_TRUE(rig.engine->adapters().add("lesson", out)) << "it serves";

  options.out = alone;
  options.slice = std::chrono::hours(1);
  Lesson whole(options, rig.ledger, clock, rig.pool);
  EXPECT_FALSE(whole.run_slice());
  ASSERT_TRUE(whole.result() && *whole.result());
  EXPECT_EQ(bytes_of(out / "adapter_model.safetensors"), bytes_of(alone / "adapter_model.safetensors"));
}

TEST(Lesson, StopsInTheMiddleOfAnUpdateAndGoesOnLater) {
  TinyEngine rig;
  SystemClock clock;
  const fs::path model = rig.folder.path() / "model", out = rig.folder.path() / "lesson", alone = rig.folder.path() / "alone";
  const uint64_t used = rig.ledger.used();
  LessonOptions options = small_lesson(model, out);
  options.slice = std::chrono::nanoseconds(0);
  for (const int64_t until : {0, 1, 3}) {
    Lesson lesson(options, rig.ledger, clock, rig.pool);
    while (lesson.state().step <= until) ASSERT_TRUE(lesson.run_slice());
    for (int i = 0; i < 7; ++i) ASSERT_TRUE(lesson.run_slice());
  }
  EXPECT_EQ(rig.ledger.used(), used);
  EXPECT_TRUE(fs::exists(out / "checkpoint.safetensors"));
  EXPECT_FALSE(fs::exists(out / "adapter_config.json"));
  Lesson rest(options, rig.ledger, clock, rig.pool);
  while (rest.run_slice()) {
  }
  ASSERT_TRUE(rest.result() && *rest.result());
  options.out = alone;
  Lesson whole(options, rig.ledger, clock, rig.pool);
  while (whole.run_slice()) {
  }
  EXPECT_EQ(bytes_of(out / "adapter_model.safetensors"), bytes_of(alone / "adapter_model.safetensors"));
  // A checkpoint of other options is refused, and so is what there is no memory for.
  options.loop.steps = 9;
  options.out = rig.folder.path() / "third";
  {
    Lesson begun(options, rig.ledger, clock, rig.pool);
    while (begun.state().step < 1) ASSERT_TRUE(begun.run_slice());
  }
  options.loop.steps = 8;
  Lesson other(options, rig.ledger, clock, rig.pool);
  while (other.run_slice()) {
  }
  ASSERT_TRUE(other.result() && !*other.result());
  EXPECT_NE(other.result()->error().message.find("steps"), std::string::npos);
  ByteLedger little(1000);
  Lesson none(options, little, clock, rig.pool);
  EXPECT_FALSE(none.run_slice());
  ASSERT_TRUE(none.result() && !*none.result());
  EXPECT_EQ(none.result()->error().code, ErrorCode::kExhausted);
}

// A stream of foreground requests with gaps, in windows with the lesson and without, one after the other, so that what
// else the machine does falls on both alike.
TEST(SlowLesson, ForegroundLatencyRisesLittleAndTrainingGoesOn) {
#ifdef COLONY_SANITIZED
  GTEST_SKIP() << "times mean nothing under a sanitizer";
#endif
  const fs::path starter = engine::starter_model();
  if (starter.empty()) GTEST_SKIP() << "the starter model is not in the cache (tools/fetch_starter.sh)";
  ByteLedger ledger(8ULL << 30);
  tensor::ThreadPool pool(2);
  SystemClock clock;
  Metrics counters;
  const auto snapshot = engine::Snapshot::load(starter, "starter", "auto", ledger, pool);
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  auto engine = engine::Engine::create(*snapshot, {.max_sequences = 8}, ledger, pool, clock, counters);
  ASSERT_TRUE(engine) << engine.error().message;
  engine::TempFolder folder;
  LessonOptions options;
  options.model = starter;
  options.peft = {{"peft_type", "LORA"}, {"r", 8}, {"lora_alpha", 16}, {"target_modules", "all-linear"}};
  options.examples = repeating(40, 32, 8, 49152, 1);
  options.loop.steps = 100'000;
  options.loop.batch = 4;
  options.loop.schedule = train::Schedule::kConstant;
  options.out = folder.path() / "lesson";
  Lesson lesson(options, ledger, clock, pool);
  const uint64_t used = ledger.used();
  while (lesson.state().step < 1) ASSERT_TRUE(lesson.run_slice());  // loading is over
  std::printf("  %s of memory beside serving's %s\n", format_bytes(ledger.used() - used).c_str(), format_bytes(used).c_str());

  uint64_t seed = 0;
  const auto window = [&](bool training) {
    (*engine)->set_background(training ? &lesson : nullptr);
    std::vector<double> latencies;
    for (int i = 0; i < 12; ++i) {
      RngStream rng(5, seed, 0, 3);
      const double arrival = clock.seconds() + 0.05 + 0.4 * rng.uniform();
      while (clock.seconds() < arrival) {
        (*engine)->step();
        if (!training) std::this_thread::yield();
      }
      EXPECT_TRUE((*engine)->submit(request_of(++seed, 64, 16, 49152)));
      while (!(*engine)->idle()) (*engine)->step();
      latencies.push_back(clock.seconds() - arrival);
    }
    std::sort(latencies.begin(), latencies.end());
    return latencies;
  };
  const auto p95 = [](const std::vector<double>& sorted) { return sorted[static_cast<size_t>(0.95 * static_cast<double>(sorted.size() - 1) + 0.5)]; };
  window(false);  // warm
  const int64_t begun = lesson.state().step;
  std::vector<double> with, without, ratios;
  for (int pair = 0; pair < 6; ++pair) {
    // Which comes first changes, so that a machine that grows busier favours neither.
    const auto first = window(pair % 2 == 1), second = window(pair % 2 == 0);
    const auto& on = pair % 2 == 1 ? first : second;
    const auto& off = pair % 2 == 1 ? second : first;
    with.insert(with.end(), on.begin(), on.end());
    without.insert(without.end(), off.begin(), off.end());
    ratios.push_back(p95(on) / p95(off));
  }
  (*engine)->set_background(nullptr);
  std::sort(with.begin(), with.end());
  std::sort(without.begin(), without.end());
  std::sort(ratios.begin(), ratios.end());
  const double middle = (ratios[2] + ratios[3]) / 2;
  const int64_t updates = lesson.state().step - begun;
  std::printf("  p95 %.0f ms with training, %.0f ms without (medians %.0f and %.0f); median ratio of %zu pairs %.3f (%.3f to %.3f); %ld updates\n", 1e3 * p95(with),
              1e3 * p95(without), 1e3 * with[with.size() / 2], 1e3 * without[without.size() / 2], ratios.size(), middle, ratios.front(), ratios.back(), updates);
  EXPECT_LT(middle, 1.2);
  EXPECT_GE(updates, 3);
}

}  // namespace
}  // namespace colony::agent
