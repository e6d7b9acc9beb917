// Parity with Hugging Face on tiny checkpoints: those beside the repository when they are there, and
// our own under tests/goldens/checkpoints (made by tools/make_checkpoint_goldens.py), always.
#include "model/transformer.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <iostream>

#include "model/golden_checkpoint.h"

namespace colony::model {
namespace {

namespace fs = std::filesystem;
using golden::compare;
using golden::Difference;
using golden::Expected;

std::vector<fs::path> folders(const fs::path& root) {
  std::vector<fs::path> list;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(root, ignored)) {
    const std::string name = entry.path().filename().string();
    const bool ours = name.starts_with("llama") || name.starts_with("qwen3") || name.starts_with("gemma3");
    if (ours && fs::exists(entry.path() / "expected.f32")) list.push_back(entry.path());
  }
  std::sort(list.begin(), list.end());
  return list;
}

struct Loaded {
  std::unique_ptr<ByteLedger> ledger = std::make_unique<ByteLedger>(1ULL << 30);
  std::unique_ptr<tensor::ThreadPool> pool = std::make_unique<tensor::ThreadPool>(2);
  std::shared_ptr<const Transformer> model;
};
Loaded load(const fs::path& folder, tensor::WeightType dtype) {
  Loaded loaded;
  auto model = Transformer::load(folder, {.dtype = dtype}, *loaded.ledger, *loaded.pool);
  EXPECT_TRUE(model) << model.error().message;
  if (model) loaded.model = *model;
  return loaded;
}

// Logits of all sequences, each fed in the given chunk (0: whole).
std::vector<float> logits_of(const Loaded& l, const Expected& e, size_t chunk) {
  std::vector<float> all;
  for (const auto& ids : e.ids) {
    golden::Runner runner(l.model, static_cast<int64_t>(ids.size()), *l.ledger, *l.pool);
    for (size_t at = 0; at < ids.size(); at += chunk == 0 ? ids.size() : chunk) {
      const size_t end = chunk == 0 ? ids.size() : std::min(ids.size(), at + chunk);
      const auto part = runner.feed({ids.begin() + static_cast<int64_t>(at), ids.begin() + static_cast<int64_t>(end)},
                                    static_cast<int64_t>(ids.size()));
      all.insert(all.end(), part.begin(), part.end());
    }
  }
  return all;
}

void check_f32(const fs::path& folder) {
  const auto expected = golden::read_expected(folder);
  ASSERT_TRUE(expected) << expected.error().message;
  const auto l = load(folder, tensor::WeightType::kF32);
  ASSERT_TRUE(l.model);
  const auto got = logits_of(l, *expected, 0);
  const Difference d = compare(got, expected->logits, expected->vocab);
  ASSERT_EQ(d.worthless, "");
  std::printf("  %-28s f32  NMSE %.1e  max/std %.1e  top-1 %.1f %% of %ld (%ld ties)\n", folder.filename().c_str(), d.nmse,
              d.max_over_std, 100 * d.top1, d.positions, d.ties);
  // The gate of all positions against the reference: 1e-10 and 1e-4 of the logits' spread.
  EXPECT_LE(d.nmse, 1e-10) << folder;
  EXPECT_LE(d.max_over_std, 1e-4) << folder;
  EXPECT_EQ(d.top1, 1.0) << folder;

  std::vector<int32_t> ids(expected->greedy.begin(), expected->greedy.begin() + 12);
  golden::Runner runner(l.model, static_cast<int64_t>(expected->greedy.size()), *l.ledger, *l.pool);
  auto step = runner.feed(ids, 12);
  while (ids.size() < expected->greedy.size()) {
    const std::span<const float> last(step.data() + step.size() - static_cast<size_t>(expected->vocab),
                                      static_cast<size_t>(expected->vocab));
    ids.push_back(static_cast<int32_t>(tensor::argmax(last)));
    if (ids.size() < expected->greedy.size()) step = runner.feed({ids.back()}, static_cast<int64_t>(ids.size()));
  }
  EXPECT_EQ(ids, expected->greedy) << folder;
}

// bf16 and int8 against f32 of the same file. Bounds: the noise floors measured for bf16-rounded and
// for 8-bit weights on these random models (NMSE 2e-4 for all-bf16, 4e-4 for 8-bit channels); ours keeps
// activations in f32, so it must stay below them.
void check_rounded(const fs::path& folder, tensor::WeightType dtype, double nmse_max, double kl_max, double top1_min) {
  const auto expected = golden::read_expected(folder);
  ASSERT_TRUE(expected);
  const auto l = load(folder, dtype);
  ASSERT_TRUE(l.model);
  // Flat random models: a position is decided only when its gap is above the noise of a difference of
  // two logits, three times sqrt(2 NMSE) of the spread.
  const Difference d = compare(logits_of(l, *expected, 0), expected->logits, expected->vocab, 3 * std::sqrt(2 * nmse_max));
  ASSERT_EQ(d.worthless, "");
  std::printf("  %-28s %-4s NMSE %.1e  KL %.1e  top-1 %.1f %% (%ld of %ld within the noise)\n",
              folder.filename().c_str(), std::string(tensor::weight_type_name(dtype)).c_str(), d.nmse, d.mean_kl,
              100 * d.top1, d.ties, d.positions);
  EXPECT_LE(d.nmse, nmse_max) << folder;
  EXPECT_LE(d.mean_kl, kl_max) << folder;
  EXPECT_GE(d.top1, top1_min) << folder;
}

void check_chunks(const fs::path& folder) {
  const auto expected = golden::read_expected(folder);
  ASSERT_TRUE(expected);
  for (const auto dtype : {tensor::WeightType::kF32, tensor::WeightType::kBf16, tensor::WeightType::kInt8}) {
    const auto l = load(folder, dtype);
    ASSERT_TRUE(l.model);
    const auto whole = logits_of(l, *expected, 0);
    for (const size_t chunk : {1u, 7u, 31u, 33u}) {
      const auto got = logits_of(l, *expected, chunk);
      ASSERT_EQ(got.size(), whole.size());
      EXPECT_EQ(std::memcmp(got.data(), whole.data(), got.size() * 4), 0)
          << folder << " in chunks of " << chunk << ", " << tensor::weight_type_name(dtype);
    }
  }
}

class SharedGolden : public testing::Test {
 protected:
  void SetUp() override {
    list_ = folders(golden::shared() / "golden/checkpoints");
    if (list_.empty()) GTEST_SKIP() << "no golden checkpoints beside the repository; our own are always run";
  }
  std::vector<fs::path> list_;
};
class OwnGolden : public testing::Test {
 protected:
  void SetUp() override {
    list_ = folders("tests/goldens/checkpoints");
    ASSERT_GE(list_.size(), 12u) << "tests/goldens/checkpoints must hold every variant of llama, qwen3 and gemma3";
  }
  std::vector<fs::path> list_;
};

TEST_F(SharedGolden, F32GatesAndGreedy) {
  for (const auto& folder : list_) check_f32(folder);
}
TEST_F(SharedGolden, Bf16WithinTheNoiseFloor) {
  for (const auto& folder : list_) check_rounded(folder, tensor::WeightType::kBf16, 2e-4, 7e-4, 0.975);
}
TEST_F(SharedGolden, Int8WithinTheNoiseFloor) {
  for (const auto& folder : list_) check_rounded(folder, tensor::WeightType::kInt8, 4e-4, 1e-3, 0.98);
}
TEST_F(SharedGolden, ChunksDoNotChangeABit) {
  for (const auto& folder : list_) check_chunks(folder);
}
TEST_F(OwnGolden, F32GatesAndGreedy) {
  for (const auto& folder : list_) check_f32(folder);
}
TEST_F(OwnGolden, Bf16WithinTheNoiseFloor) {
  for (const auto& folder : list_) check_rounded(folder, tensor::WeightType::kBf16, 2e-4, 7e-4, 0.975);
}
TEST_F(OwnGolden, Int8WithinTheNoiseFloor) {
  for (const auto& folder : list_) check_rounded(folder, tensor::WeightType::kInt8, 4e-4, 1e-3, 0.98);
}
TEST_F(OwnGolden, ChunksDoNotChangeABit) {
  for (const auto& folder : list_) check_chunks(folder);
}

// q and k come back unpermuted: the same checkpoint as Q8_0 GGUF gives the dequantised logits.
TEST(OwnGguf, GivesTheLogitsOfItsDequantisedWeights) {
  const auto expected = golden::read_expected("tests/goldens/checkpoints/gguf_expected");
  ASSERT_TRUE(expected) << expected.error().message;
  const auto l = load("tests/goldens/checkpoints/llama_gguf.gguf", tensor::WeightType::kF32);
  ASSERT_TRUE(l.model);
  const Difference d = compare(logits_of(l, *expected, 0), expected->logits, expected->vocab);
  ASSERT_EQ(d.worthless, "");
  EXPECT_LE(d.nmse, 1e-10);
  EXPECT_EQ(d.top1, 1.0);
}

}  // namespace
}  // namespace colony::model
