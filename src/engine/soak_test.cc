// Random requests under a small ceiling, for a while: memory stays below it and every request ends.
//
// COLONY_SOAK_SECONDS says for how long (default 60), half of it on a tiny checkpoint and half on the
// starter model where that is present.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <map>

#include "base/clock.h"
#include "base/rng.h"
#include "engine/adapters.h"
#include "engine/engine.h"
#include "engine/sanitized.h"
#include "engine/tiny_checkpoint.h"

namespace colony::engine {
namespace {

double soak_seconds() {
  const char* set = std::getenv("COLONY_SOAK_SECONDS");
  return (set == nullptr ? 60.0 : std::atof(set)) / 2;
}

struct Asked {
  Request request;
  bool may_be_cut = false;  // cancelled, late or out of budget
};

class Soak {
 public:
  Soak(const std::filesystem::path& path, const std::string& dtype, uint64_t ceiling, int64_t longest, uint64_t seed)
      : ledger_(ceiling), longest_(longest), rng_(seed, 0x50a4, 0, 0), seed_(seed) {
    auto loaded = Snapshot::load(path, "soak", dtype, ledger_, pool_);
    CHECK(loaded.has_value(), loaded ? "" : loaded.error().message);
    snapshot_ = *loaded;
    EngineOptions options;
    options.max_sequences = 12;
    options.max_step_tokens = 128;
    options.max_waiting = 64;
    auto made = Engine::create(snapshot_, options, ledger_, pool_, clock_, metrics_);
    CHECK(made.has_value(), made ? "" : made.error().message);
    engine_ = std::move(*made);
    for (int i = 0; i < kAdapters; ++i) {
      write_tiny_adapter(adapter_folder(i), snapshot_->model->config(), 4, seed + static_cast<uint64_t>(i), 0.02);
      change_adapter(i, i);
    }
  }

  void run(double seconds) {
    // On a slow or busy machine longer, until there is something to judge.
    const double start = clock_.seconds();
    const auto enough = [&] { return metrics_.get(metric::kAdapterLoads).value() > kAdapters && whole_ > 10 && cut_ > 0 && !kept_.empty(); };
    while ((clock_.seconds() < start + seconds || (!enough() && clock_.seconds() < start + 30 * seconds)) && !::testing::Test::HasFailure()) {
      if (below(3) == 0) ask();
      if (!asked_.empty() && below(20) == 0) {
        // Any id so far, also of one that has ended.
        const RequestId id = 1 + below(last_);
        if (const auto found = asked_.find(id); found != asked_.end()) found->second.may_be_cut = true;
        engine_->cancel(id);
      }
      if (below(30) == 0) change_adapter(static_cast<int>(below(kAdapters)), static_cast<int>(below(kAdapters + 2)));
      step();
    }
    for (int64_t steps = 0; !engine_->idle() && steps < 1'000'000; ++steps) step();
    EXPECT_TRUE(engine_->idle());
    EXPECT_TRUE(asked_.empty()) << asked_.size() << " requests never ended";
    EXPECT_EQ(engine_->problem(), "");
    check_memory();
    const double loads = metrics_.get(metric::kAdapterLoads).value();
    std::cout << "  seed " << seed_ << ": " << ended_ << " requests (" << whole_ << " whole, " << cut_ << " cut, " << failed_ << " without room, " << refused_
              << " refused), " << engine_->steps() << " steps, ledger " << format_bytes(ledger_most_) << " of "
              << format_bytes(ledger_.ceiling()) << ", resident " << format_bytes(resident_most_) << ", preemptions "
              << metrics_.get(metric::kPreemptions).value() << ", drafts " << metrics_.get(metric::kAcceptedTokens).value()
              << " of " << metrics_.get(metric::kDraftedTokens).value() << ", adapters loaded " << loads << " times\n";
    EXPECT_GT(loads, kAdapters);
    EXPECT_LE(failed_, whole_ / 4);
    EXPECT_GT(whole_, 10U);
    EXPECT_GT(cut_, 0U);
    again();
  }

 private:
  std::filesystem::path adapter_folder(int i) const { return adapters_.path() / fmt::format("{}", i); }
  // Name `i` means folder `j` from now on; a `j` beyond the folders removes the name.
  void change_adapter(int i, int j) {
    const std::string name = fmt::format("a{}", i);
    if (j >= kAdapters) {
      engine_->adapters().remove(name);
      return;
    }
    auto added = engine_->adapters().add(name, adapter_folder(j));
    EXPECT_TRUE(added) << added.error().message;
  }
  // rng_ names a stream of 65,536 blocks; long runs take the next stream.
  uint64_t below(uint64_t bound) {
    if (++draws_ % 30000 == 0) rng_ = RngStream(seed_, 0x50a4, static_cast<uint32_t>(draws_ / 30000), 0);
    return rng_.below(bound);
  }
  std::vector<int32_t> some_ids(uint64_t size) {
    std::vector<int32_t> ids;
    const auto vocab = static_cast<uint64_t>(snapshot_->model->config().vocab_size);
    for (uint64_t i = 0; i < size; ++i) ids.push_back(static_cast<int32_t>(below(vocab)));
    return ids;
  }
  void ask() {
    Asked asked;
    Request& request = asked.request;
    if (below(2) == 0) {  // begins like others did
      RngStream shared(9, below(4), 0, 0);
      for (int i = 0; i < 70; ++i) request.prompt_ids.push_back(static_cast<int32_t>(shared.below(300)));
    }
    const uint64_t size = below(4) == 0 ? 1 + below(static_cast<uint64_t>(longest_)) : 1 + below(60);
    const auto own = some_ids(size);
    for (uint64_t i = 0; i <= below(2); ++i) request.prompt_ids.insert(request.prompt_ids.end(), own.begin(), own.end());
    const uint64_t kind = below(20);
    request.kind = kind < 16 ? Request::Kind::kGenerate
                   : kind < 17 ? Request::Kind::kEmbed
                   : kind < 18 ? Request::Kind::kLogits
                               : Request::Kind::kScore;
    request.score_from = 1 + static_cast<int64_t>(below(request.prompt_ids.size()));
    request.sampling.max_tokens = static_cast<int>(1 + below(below(5) == 0 ? 150 : 30));
    request.sampling.greedy = below(2) == 0;
    request.sampling.top_k = static_cast<int>(below(50));
    request.sampling.repetition_penalty = below(4) == 0 ? 1.2 : 1.0;
    request.sampling.logprobs = static_cast<int>(below(4)) - 1;
    request.sampling.ignore_eos = true;
    request.sampling.seed = below(100);
    request.task_id = below(1000);
    if (below(3) == 0) request.request_class = RequestClass::kBackground;
    if (below(6) == 0) request.cache_salt = "salt";
    if (below(2) == 0) request.adapter = engine_->adapters().find(fmt::format("a{}", below(kAdapters)));
    if (below(8) == 0) {
      request.deadline = clock_.now() + std::chrono::microseconds(below(300'000));
      asked.may_be_cut = true;
    }
    if (below(8) == 0) {
      if (!budget_ || budget_->left() < 50) budget_ = std::make_shared<Budget>(100 + below(3000));
      request.budget = budget_;
      asked.may_be_cut = true;
    }
    auto id = engine_->submit(request);
    if (!id) {  // the queue is full, or more pages than there are
      EXPECT_TRUE(id.error().code == ErrorCode::kExhausted || id.error().code == ErrorCode::kInvalid) << id.error().message;
      ++refused_;
      return;
    }
    last_ = *id;
    asked_.emplace(*id, std::move(asked));
  }
  void step() {
    for (Output& output : engine_->step()) {
      const auto found = asked_.find(output.id);
      ASSERT_NE(found, asked_.end()) << "ended twice, or never asked";
      const Asked& asked = found->second;
      ++ended_;
      if (output.finish == FinishReason::kCancelled) {
        EXPECT_TRUE(asked.may_be_cut) << output.error->message;
        ++cut_;
      } else if (output.finish == FinishReason::kError) {
        // Logits of all positions, or an adapter beside such, may not fit; nothing else may fail.
        EXPECT_TRUE(asked.request.kind == Request::Kind::kLogits || asked.request.adapter) << output.error->message;
        ++failed_;
        EXPECT_EQ(output.error->code, ErrorCode::kExhausted) << output.error->message;
      } else {
        ++whole_;
        const bool generates = asked.request.kind == Request::Kind::kGenerate;
        if (generates && !asked.request.budget && kept_.size() < 24 && below(kept_.empty() ? 2 : 20) == 0) {
          Request same = asked.request;
          same.deadline.reset();
          kept_.emplace_back(std::move(same), output.ids);
        }
      }
      asked_.erase(found);
    }
    if (engine_->steps() % 16 == 0) {
      ASSERT_EQ(engine_->problem(), "") << "step " << engine_->steps();
      check_memory();
    }
  }
  void check_memory() {
    ledger_most_ = std::max(ledger_most_, ledger_.used());
    resident_most_ = std::max(resident_most_, resident_bytes());
    ASSERT_LE(ledger_.used(), ledger_.ceiling());
#ifndef COLONY_SANITIZED
    ASSERT_LE(resident_bytes(), ledger_.ceiling() + (64ULL << 20));
#endif
  }
  // What was answered in the crowd is answered alone, too.
  void again() {
    for (const auto& [request, ids] : kept_) {
      auto id = engine_->submit(request);
      ASSERT_TRUE(id) << id.error().message;
      while (!engine_->idle()) {
        for (const Output& output : engine_->step()) EXPECT_EQ(output.ids, ids);
      }
    }
    EXPECT_GT(kept_.size(), 0U);
  }

  static constexpr int kAdapters = 8;
  TempFolder adapters_;
  ByteLedger ledger_;
  tensor::ThreadPool pool_{2};
  SystemClock clock_;
  Metrics metrics_;
  std::shared_ptr<const Snapshot> snapshot_;
  std::unique_ptr<Engine> engine_;
  const int64_t longest_;
  RngStream rng_;
  const uint64_t seed_;
  uint64_t draws_ = 0;
  RequestId last_ = 0;
  std::map<RequestId, Asked> asked_;
  std::vector<std::pair<Request, std::vector<int32_t>>> kept_;
  std::shared_ptr<Budget> budget_;
  uint64_t ended_ = 0, whole_ = 0, cut_ = 0, refused_ = 0, failed_ = 0, ledger_most_ = 0, resident_most_ = 0;
};

TEST(SlowSoak, OfATinyCheckpointStaysBelowItsCeiling) {
  TempFolder folder;
  write_tiny_checkpoint(folder.path(), TinyShape{}, 7);
  const double part = soak_seconds() / 3;
  uint64_t seed = 1;
  for (const char* dtype : {"f32", "bf16", "int8"}) {
    Soak soak(folder.path(), dtype, 6ULL << 20, 250, ++seed);
    soak.run(part);
  }
}

TEST(SlowSoak, OfTheStarterModelStaysBelowItsCeiling) {
  const auto path = starter_model();
  if (path.empty()) GTEST_SKIP() << "the starter model is not in the Hugging Face cache";
  Soak soak(path, "int8", 240ULL << 20, 600, 5);
  soak.run(soak_seconds());
}

TEST(Soak, OfATinyCheckpointForAMoment) {
  TempFolder folder;
  write_tiny_checkpoint(folder.path(), TinyShape{}, 7);
  Soak soak(folder.path(), "int8", 6ULL << 20, 250, 1);
  soak.run(1.5);
}

}  // namespace
}  // namespace colony::engine
