// Adapters in the engine: mixed batches, identity in the prefix key, hot add and remove, memory.
#include "engine/adapters.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "engine/engine.h"
#include "engine/tiny_checkpoint.h"

namespace colony::engine {
namespace {

namespace fs = std::filesystem;

class AdaptersTest : public testing::Test {
 protected:
  void SetUp() override { write_tiny_checkpoint(temp_.path() / "base", {}, 5); }

  // An engine over the tiny base in `dtype`, with `pages` key/value pages, under `ceiling` bytes.
  void open(const std::string& dtype, int sequences = 16, int64_t pages = 300, uint64_t ceiling = 1ULL << 30) {
    engine_.reset();
    snapshot_.reset();
    ledger_ = std::make_unique<ByteLedger>(ceiling);
    auto loaded = Snapshot::load(temp_.path() / "base", "tiny", dtype, *ledger_, pool_);
    ASSERT_TRUE(loaded) << loaded.error().message;
    snapshot_ = *loaded;
    EngineOptions options;
    options.max_sequences = sequences;
    options.max_step_tokens = 96;
    options.kv_pages = pages;
    auto engine = Engine::create(snapshot_, options, *ledger_, pool_, clock_, metrics_);
    ASSERT_TRUE(engine) << engine.error().message;
    engine_ = std::move(*engine);
  }
  fs::path folder(int i) { return temp_.path() / fmt::format("adapter{}", i); }
  void write(int i, uint64_t seed, const Json& options = Json::object()) {
    fs::remove_all(folder(i));
    write_tiny_adapter(folder(i), snapshot_->model->config(), 4 + i % 3, seed, 0.2, options);
  }
  std::shared_ptr<const AdapterInfo> add(int i) {
    auto info = engine_->adapters().add(fmt::format("a{}", i), folder(i));
    EXPECT_TRUE(info) << info.error().message;
    return info ? *info : nullptr;
  }
  Request request(std::shared_ptr<const AdapterInfo> adapter, int prompt = 40, int tokens = 12) {
    Request r;
    for (int t = 0; t < prompt; ++t) r.prompt_ids.push_back((t * 7 + prompt) % 290 + 3);
    r.sampling.max_tokens = tokens;
    r.sampling.ignore_eos = true;
    r.sampling.logprobs = 1;
    r.adapter = std::move(adapter);
    return r;
  }
  std::vector<Output> run(std::vector<Request> requests) {
    std::map<RequestId, size_t> index;
    for (size_t i = 0; i < requests.size(); ++i) {
      auto id = engine_->submit(std::move(requests[i]));
      EXPECT_TRUE(id) << id.error().message;
      if (id) index[*id] = i;
    }
    std::vector<Output> outputs(requests.size());
    while (!engine_->idle()) {
      for (Output& output : engine_->step()) outputs[index.at(output.id)] = std::move(output);
    }
    return outputs;
  }
  double metric(const char* name) { return metrics_.get(name).value(); }

  TempFolder temp_;
  tensor::ThreadPool pool_{2};
  SystemClock clock_;
  Metrics metrics_;
  std::unique_ptr<ByteLedger> ledger_;
  std::shared_ptr<const Snapshot> snapshot_;
  std::unique_ptr<Engine> engine_;
};

void expect_same(const Output& got, const Output& want) {
  ASSERT_FALSE(want.ids.empty());
  EXPECT_FALSE(got.error) << got.error->message;
  EXPECT_EQ(got.ids, want.ids);
  ASSERT_EQ(got.logprobs.size(), want.logprobs.size());
  for (size_t k = 0; k < got.logprobs.size(); ++k) {
    EXPECT_EQ(std::memcmp(&got.logprobs[k].logprob, &want.logprobs[k].logprob, sizeof(double)), 0);
  }
}

TEST_F(AdaptersTest, AMixedBatchGivesWhatSingleRunsGiveToTheBit) {
  for (const char* dtype : {"f32", "bf16", "int8", "int4"}) {
    SCOPED_TRACE(dtype);
    open(dtype);
    std::vector<std::shared_ptr<const AdapterInfo>> infos = {nullptr};
    for (int i = 0; i < 7; ++i) {
      write(i, 100 + static_cast<uint64_t>(i), i % 4 == 3 ? Json{{"use_dora", true}} : Json::object());
      infos.push_back(add(i));
    }
    std::vector<Request> all;
    for (int i = 0; i < 24; ++i) all.push_back(request(infos[static_cast<size_t>(i) % infos.size()], 20 + i % 5 * 9, 10 + i % 3));
    std::vector<Output> alone;
    for (const Request& one : all) alone.push_back(run({one})[0]);
    open(dtype);  // nothing in the prefix cache
    for (int i = 0; i < 7; ++i) infos[static_cast<size_t>(i) + 1] = add(i);
    for (size_t i = 0; i < all.size(); ++i) all[i].adapter = infos[i % infos.size()];
    const auto mixed = run(all);
    for (size_t i = 0; i < all.size(); ++i) expect_same(mixed[i], alone[i]);
    // Same prompt, other adapter, other numbers.
    EXPECT_NE(mixed[0].logprobs[0].logprob, mixed[1].logprobs[0].logprob);
    const auto twin = run({request(infos[1], 33), request(infos[2], 33), request(nullptr, 33)});
    EXPECT_NE(twin[0].logprobs[0].logprob, twin[1].logprobs[0].logprob);
    EXPECT_NE(twin[0].logprobs[0].logprob, twin[2].logprobs[0].logprob);
  }
}

TEST_F(AdaptersTest, KeysAndValuesAreNeverTakenForAnothersOrForAnotherGenerations) {
  open("f32");
  write(0, 1);
  const auto first = add(0);
  EXPECT_EQ(first->generation, 1u);
  EXPECT_EQ(first->hash.size(), 64u);
  EXPECT_EQ(add(0), first) << "the same content is the same adapter";
  const auto a = run({request(first, 70)})[0];
  const auto again = run({request(first, 70)})[0];
  expect_same(again, a);
  EXPECT_EQ(again.prefix_hit_tokens, 64);  // of the last, begun page nothing is kept
  EXPECT_EQ(run({request(nullptr, 70)})[0].prefix_hit_tokens, 0);
  // The folder gets other weights: the next generation; what holds the old one still gets the old one.
  write(0, 2);
  const auto second = add(0);
  EXPECT_EQ(second->generation, 2u);
  EXPECT_NE(second->hash, first->hash);
  const auto b = run({request(second, 70)})[0];
  EXPECT_EQ(b.prefix_hit_tokens, 0);
  EXPECT_NE(b.logprobs[0].logprob, a.logprobs[0].logprob);
  EXPECT_EQ(engine_->adapters().find("a0"), second);
  EXPECT_EQ(engine_->adapters().list().size(), 1u);
}

TEST_F(AdaptersTest, AddedAndRemovedWhileRequestsRun) {
  open("int8", 4);
  write(0, 1);
  const auto info = add(0);
  const auto want = run({request(info, 40, 30)})[0];
  auto id = engine_->submit(request(info, 40, 30));
  ASSERT_TRUE(id);
  for (int i = 0; i < 5; ++i) engine_->step();
  EXPECT_TRUE(engine_->adapters().remove("a0"));
  EXPECT_FALSE(engine_->adapters().remove("a0"));
  EXPECT_EQ(engine_->adapters().find("a0"), nullptr);
  EXPECT_EQ(engine_->adapters().resident(), 1u) << "it is still held";
  write(1, 9);
  const auto other = add(1);
  ASSERT_TRUE(engine_->submit(request(other, 40, 30)));
  std::map<RequestId, Output> outputs;
  while (!engine_->idle()) {
    for (Output& output : engine_->step()) outputs[output.id] = std::move(output);
  }
  ASSERT_EQ(outputs.size(), 2u);
  expect_same(outputs[*id], want);
  EXPECT_EQ(engine_->adapters().resident(), 1u) << "the removed one left when its request ended";
  EXPECT_EQ(engine_->adapters().resident_bytes(), other->bytes);
}

TEST_F(AdaptersTest, ThousandsAreRegisteredAndAFewAreResidentUnderTheCeiling) {
  open("int8", 4, 60);
  write(0, 1);
  const uint64_t bytes = add(0)->bytes, base = ledger_->used();
  open("int8", 4, 60, base + 3 * bytes + bytes / 2);  // room for three
  constexpr int kAdapters = 2000, kDistinct = 12;
  for (int i = 1; i < kDistinct; ++i) write(i * 3, static_cast<uint64_t>(i));  // ranks alike
  std::vector<std::shared_ptr<const AdapterInfo>> infos;
  for (int i = 0; i < kAdapters; ++i) {
    auto info = engine_->adapters().add(fmt::format("many{}", i), folder(i % kDistinct * 3));
    ASSERT_TRUE(info) << info.error().message;
    infos.push_back(*info);
  }
  EXPECT_EQ(engine_->adapters().list().size(), static_cast<size_t>(kAdapters));
  EXPECT_EQ(engine_->adapters().resident(), 0u);
  const double loads = metric(metric::kAdapterLoads), evictions = metric(metric::kAdapterEvictions);
  std::vector<Request> requests;
  for (int i = 0; i < 60; ++i) requests.push_back(request(infos[static_cast<size_t>(i * 37 % kAdapters)], 20 + i % 3, 5));
  std::map<RequestId, size_t> index;
  size_t ended = 0;
  for (auto& r : requests) ASSERT_TRUE(engine_->submit(std::move(r)));
  while (!engine_->idle()) {
    for (const Output& output : engine_->step()) {
      EXPECT_FALSE(output.error) << output.error->message;
      ++ended;
    }
    EXPECT_LE(engine_->adapters().resident(), 3u);
    EXPECT_LE(ledger_->used(), ledger_->ceiling());
  }
  EXPECT_EQ(ended, 60u);
  EXPECT_GE(metric(metric::kAdapterLoads) - loads, 50);
  EXPECT_GE(metric(metric::kAdapterEvictions) - evictions, 40);
  EXPECT_LE(ledger_->peak(), ledger_->ceiling());
}

TEST_F(AdaptersTest, WhatNeverFitsOrIsGoneFailsAlone) {
  open("int8", 4, 60);
  write(0, 1);
  const uint64_t bytes = add(0)->bytes, base = ledger_->used();
  open("int8", 4, 60, base + bytes / 2);
  const auto info = add(0);
  const auto outputs = run({request(nullptr), request(info), request(nullptr, 30)});
  EXPECT_FALSE(outputs[0].error);
  EXPECT_FALSE(outputs[2].error);
  ASSERT_TRUE(outputs[1].error);
  EXPECT_EQ(outputs[1].error->code, ErrorCode::kExhausted);
  EXPECT_NE(outputs[1].error->message.find("a0"), std::string::npos);
  // Its files are gone, or changed, before the weights were wanted.
  open("int8", 4, 60);
  const auto gone = add(0);
  fs::remove(folder(0) / "adapter_model.safetensors");
  ASSERT_TRUE(run({request(gone)})[0].error);
  write(0, 2);
  const auto changed = run({request(gone)})[0];
  ASSERT_TRUE(changed.error);
  EXPECT_NE(changed.error->message.find("register it again"), std::string::npos) << changed.error->message;
  EXPECT_FALSE(engine_->adapters().add("nothing", temp_.path() / "nowhere"));
  EXPECT_EQ(engine_->adapters().find("nothing"), nullptr);
}

}  // namespace
}  // namespace colony::engine
