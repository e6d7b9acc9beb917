// Runs that Python's PEFT and torch made, step by step: losses, gradient norms, learning rates, final adapter.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "base/json.h"
#include "model/safetensors.h"
#include "train/network.h"
#include "train/optimizer.h"

namespace colony::train {
namespace {
namespace fs = std::filesystem;

struct Golden {
  fs::path run, base;
};
std::vector<Golden> goldens(const fs::path& root) {
  std::vector<Golden> list;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(root / "train", ignored)) {
    const auto text = read_file(entry.path() / "run.json");
    if (!text) continue;
    const auto base = (*parse_json(*text))["base"].get<std::string>();
    list.push_back({entry.path(), root / "checkpoints" / base});
  }
  return list;
}
fs::path shared_root() {
  const char* given = std::getenv("COLONY_SHARED");  // NOLINT(concurrency-mt-unsafe)
  return fs::path(given != nullptr ? given : "../shared") / "golden";
}

// The modules of a PEFT folder whose targets are names.
std::vector<model::LoraModule> modules_of(const Json& config, const model::ModelConfig& base) {
  std::set<std::string> names;
  for (const auto& name : config["target_modules"]) names.insert(name.get<std::string>());
  std::vector<model::LoraModule> list;
  for (const auto& module : model::base_modules(base)) {
    if (module.kind != model::BaseModule::Kind::kLinear || !names.contains(module.path.substr(module.path.rfind('.') + 1))) continue;
    const auto rank = config["r"].get<int64_t>();
    const auto alpha = config["lora_alpha"].get<double>();
    const bool rs = config.value("use_rslora", false);
    list.push_back({module.path, rank, alpha / (rs ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank)), config.value("use_dora", false)});
  }
  return list;
}

void check(const Golden& golden, bool recompute) {
  SCOPED_TRACE(golden.run.string());
  const Json run = *parse_json(*read_file(golden.run / "run.json"));
  const Json peft = *parse_json(*read_file(golden.run / "init" / "adapter_config.json"));
  ByteLedger ledger(1ULL << 30);
  tensor::ThreadPool pool(2);
  auto network = Network::load(golden.base, {tensor::WeightType::kF32}, ledger, pool);
  ASSERT_TRUE(network) << network.error().message;
  auto lora = LoraWeights::create((*network)->config(), modules_of(peft, (*network)->config()), ledger);
  ASSERT_TRUE(lora) << lora.error().message;
  const auto read = lora->read(golden.run / "init" / "adapter_model.safetensors");
  ASSERT_TRUE(read) << read.error().message;

  AdamW adam(lora->values().size(), {run["betas"][0].get<double>(), run["betas"][1].get<double>(), run["eps"].get<double>(), run["weight_decay"].get<double>()});
  const auto accum = run["accum"].get<size_t>();
  const auto steps = run["steps"].get<int64_t>();
  const Json& masks = run["label_mask_first"];
  ASSERT_TRUE((*network)->reserve(4096, *lora, recompute));
  (*network)->refresh(*lora, pool);
  for (int64_t step = 0; step < steps; ++step) {
    std::vector<std::vector<Example>> micros(accum);
    int64_t targets = 0;
    for (size_t m = 0; m < accum; ++m) {
      const Json& rows = run["data"][static_cast<size_t>(step) * accum + m];
      for (size_t r = 0; r < rows.size(); ++r) {
        Example e{rows[r].get<std::vector<int32_t>>(), {}};
        const auto masked = std::max<size_t>(1, masks[m][r].get<size_t>());
        e.scored.assign(e.ids.size(), 1);
        std::fill_n(e.scored.begin(), masked, uint8_t{0});
        targets += e.targets();
        micros[m].push_back(std::move(e));
      }
    }
    const Json& want = run["log"][static_cast<size_t>(step)];
    EXPECT_EQ(targets, want["num_items"].get<int64_t>());
    double loss = 0;
    std::ranges::fill(lora->gradients(), 0.0f);
    for (const auto& micro : micros) {
      std::vector<const Example*> examples;
      for (const auto& e : micro) examples.push_back(&e);
      loss += (*network)->pass(examples, *lora, {.gradients = true, .weight = 1.0f / static_cast<float>(targets)}, pool).loss_sum;
    }
    loss /= static_cast<double>(targets);
    const double norm = gradient_norm(lora->gradients());
    const double lr = run["lr"].get<double>() * schedule_factor(Schedule::kCosine, step, run["warmup"].get<int64_t>(), steps);
    EXPECT_NEAR(loss, want["loss"].get<double>(), 1e-5 * want["loss"].get<double>()) << "step " << step;
    EXPECT_NEAR(norm, want["grad_norm"].get<double>(), 1e-4 * want["grad_norm"].get<double>()) << "step " << step;
    EXPECT_NEAR(lr, want["lr"].get<double>(), 1e-15) << "step " << step;
    adam.step(lora->values(), lora->gradients(), clip_factor(norm, run["clip"].get<double>()), lr);
    (*network)->refresh(*lora, pool);
  }
  auto final_weights = LoraWeights::create((*network)->config(), modules_of(peft, (*network)->config()), ledger);
  ASSERT_TRUE(final_weights->read(golden.run / "final" / "adapter_model.safetensors"));
  double most = 0, moved = 0;
  auto begin = LoraWeights::create((*network)->config(), modules_of(peft, (*network)->config()), ledger);
  ASSERT_TRUE(begin->read(golden.run / "init" / "adapter_model.safetensors"));
  for (size_t i = 0; i < lora->values().size(); ++i) {
    most = std::max(most, std::abs(static_cast<double>(lora->values()[i]) - static_cast<double>(final_weights->values()[i])));
    moved = std::max(moved, std::abs(static_cast<double>(begin->values()[i]) - static_cast<double>(final_weights->values()[i])));
  }
  EXPECT_LE(most, 1e-4);
  EXPECT_GT(moved, 1e-2) << "the golden run learns something";
}

TEST(GoldenTrain, Own) {
  const auto list = goldens(fs::path("tests") / "goldens");
  ASSERT_EQ(list.size(), 6u);
  for (const Golden& g : list) check(g, false);
}
TEST(GoldenTrain, OwnWithActivationsRecomputed) {
  for (const Golden& g : goldens(fs::path("tests") / "goldens")) check(g, true);
}
TEST(GoldenTrain, Shared) {
  auto list = goldens(shared_root());
  if (list.empty()) GTEST_SKIP() << "no golden runs beside the repository; our own are always run";
  EXPECT_EQ(list.size(), 4u);
  for (const Golden& g : list) check(g, false);
}

}  // namespace
}  // namespace colony::train
