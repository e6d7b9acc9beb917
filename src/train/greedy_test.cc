// Greedy generation by the network that trains: Hugging Face's own continuations, whatever runs together; and the task's measure.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "base/file.h"
#include "base/json.h"
#include "model/kv_cache.h"
#include "train/task_metric.h"

namespace colony::train {
namespace {

namespace fs = std::filesystem;

struct Rig {
  explicit Rig(const fs::path& folder, int64_t rows = 256, uint64_t memory = 1ULL << 30) : ledger(memory) {
    auto made = Network::load(folder, {}, ledger, pool);
    EXPECT_TRUE(made) << made.error().message;
    network = std::move(*made);
    const std::vector<model::LoraModule> modules = {{"model.layers.0.mlp.down_proj", 2, 1.0, false}};
    lora = *LoraWeights::create(network->config(), modules, ledger);
    lora->initialise(1);  // B is zero: the base alone
    EXPECT_TRUE(network->reserve(rows, *lora));
    network->refresh(*lora, pool);
    const Json expected = *parse_json(*read_file(folder / "expected.json"));
    ids = expected["greedy_from_first12"].get<std::vector<int32_t>>();
  }
  ByteLedger ledger;
  tensor::ThreadPool pool{2};
  std::unique_ptr<Network> network;
  std::optional<LoraWeights> lora;
  std::vector<int32_t> ids;  // 12, and what follows them
};

TEST(Greedy, IsHuggingFaces) {
  int seen = 0;
  for (const auto& entry : fs::directory_iterator("tests/goldens/checkpoints")) {
    if (!fs::exists(entry.path() / "config.json")) continue;
    SCOPED_TRACE(entry.path().string());
    ++seen;
    Rig rig(entry.path());
    const std::vector<int32_t> want(rig.ids.begin() + 12, rig.ids.end());
    const auto prompt = std::span<const int32_t>(rig.ids).first(12);
    // Alone, and among others that end at other times; a prompt longer than a pass.
    const auto alone = rig.network->greedy(std::vector<GreedyPrompt>{{prompt, 24}}, *rig.lora, {}, rig.pool);
    ASSERT_TRUE(alone) << alone.error().message;
    EXPECT_EQ((*alone)[0], want);
    std::vector<GreedyPrompt> many;
    for (int64_t i = 0; i < 40; ++i) many.push_back({prompt.first(static_cast<size_t>(i % 3 == 0 ? 12 : 1 + i % 11)), i % 3 == 0 ? 24 - i / 3 : i % 5});
    const uint64_t used = rig.ledger.used();
    const auto together = rig.network->greedy(many, *rig.lora, {}, rig.pool);
    ASSERT_TRUE(together);
    EXPECT_EQ(rig.ledger.used(), used);
    for (size_t i = 0; i < many.size(); ++i) {
      ASSERT_EQ(static_cast<int64_t>((*together)[i].size()), many[i].max_tokens);
      if (i % 3 != 0) continue;
      EXPECT_TRUE(std::equal((*together)[i].begin(), (*together)[i].end(), want.begin()));
    }
    Rig narrow(entry.path(), 5);
    const auto in_parts = narrow.network->greedy(std::vector<GreedyPrompt>{{prompt, 24}, {prompt, 3}}, *narrow.lora, {}, narrow.pool);
    ASSERT_TRUE(in_parts);
    EXPECT_EQ((*in_parts)[0], want);
    // Up to an end token.
    const int32_t eos = want[5];
    const auto ended = rig.network->greedy(std::vector<GreedyPrompt>{{prompt, 24}}, *rig.lora, std::vector<int32_t>{eos}, rig.pool);
    ASSERT_TRUE(ended);
    EXPECT_EQ((*ended)[0], std::vector<int32_t>(want.begin(), std::find(want.begin(), want.end(), eos)));
  }
  EXPECT_GE(seen, 12);
}

TEST(Greedy, TakesFewerAtOnceWhereMemoryIsShort) {
  const fs::path folder = "tests/goldens/checkpoints/llama_default";
  Rig rig(folder);
  const std::vector<int32_t> want(rig.ids.begin() + 12, rig.ids.end());
  const std::vector<GreedyPrompt> many(9, GreedyPrompt{std::span<const int32_t>(rig.ids).first(12), 24});
  const auto page = model::KvCache::page_bytes(rig.network->config(), tensor::KvType::kF32);
  const auto rest = rig.ledger.take("others", rig.ledger.ceiling() - rig.ledger.used() - 5 * page);  // two sequences of two pages
  ASSERT_TRUE(rest);
  const auto given = rig.network->greedy(many, *rig.lora, {}, rig.pool);
  ASSERT_TRUE(given) << given.error().message;
  for (const auto& ids : *given) EXPECT_EQ(ids, want);
  const auto more = rig.ledger.take("others", 4 * page);
  ASSERT_TRUE(more);
  const auto none = rig.network->greedy(many, *rig.lora, {}, rig.pool);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kExhausted);
}

TEST(Greedy, EndsWhenABreathSaysSo) {
  Rig rig("tests/goldens/checkpoints/llama_default");
  int breaths = 0;
  rig.network->on_breath([&] { return ++breaths < 10; });
  const auto given = rig.network->greedy(std::vector<GreedyPrompt>{{std::span<const int32_t>(rig.ids).first(12), 24}}, *rig.lora, {}, rig.pool);
  ASSERT_FALSE(given);
  EXPECT_EQ(given.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(breaths, 10);
}

// A token a letter; id 2 ends.
TEST(ExactMatch, CountsAnswersWordForWord) {
  Json vocab = {{"</s>", 2}};
  for (int32_t id = 0; id < 96; ++id) {
    if (id != 2) vocab[id < 40 ? fmt::format("x{}", id) : fmt::format(" {}", static_cast<char>(id))] = id;
  }
  const auto tokenizer = text::Tokenizer::from_json({{"version", "1.0"}, {"added_tokens", Json::array()}, {"normalizer", nullptr}, {"pre_tokenizer", nullptr},
                                                     {"post_processor", nullptr}, {"decoder", {{"type", "Fuse"}}},
                                                     {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", Json::array()}}}},
                                                    Json());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  Rig rig("tests/goldens/checkpoints/llama_default");
  const std::vector<int32_t> eos = {rig.ids[15]};  // three tokens, then this
  const auto example = [&](std::vector<int32_t> answer, int64_t at = 12) {
    Example e{std::vector<int32_t>(rig.ids.begin(), rig.ids.begin() + 12), {}, at};
    e.ids.insert(e.ids.end(), answer.begin(), answer.end());
    e.scored.assign(e.ids.size(), 1);
    return e;
  };
  const std::vector<int32_t> right(rig.ids.begin() + 12, rig.ids.begin() + 16);
  std::vector<int32_t> wrong = right, shorter(right.begin(), right.begin() + 2);
  wrong[1] = wrong[1] == 50 ? 51 : 50;
  const std::vector<Example> examples = {example(right), example(wrong), example(right, 0), example(shorter), example(right)};
  const auto score = exact_match(*rig.network, *rig.lora, examples, 3, **tokenizer, eos, rig.pool);
  ASSERT_TRUE(score) << score.error().message;
  EXPECT_EQ(score->asked, 3);  // the third has no answer
  EXPECT_EQ(score->right, 1);
  EXPECT_EQ(exact_match(*rig.network, *rig.lora, examples, 100, **tokenizer, eos, rig.pool)->right, 2);
  EXPECT_EQ(exact_match(*rig.network, *rig.lora, {}, 100, **tokenizer, eos, rig.pool)->asked, 0);
}

}  // namespace
}  // namespace colony::train
