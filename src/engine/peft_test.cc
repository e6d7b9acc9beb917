// Adapters written by PEFT give PEFT's logits: those beside the repository when they are there, and our own
// under tests/goldens/peft (made by tools/make_peft_goldens.py), always. And what is refused, by name.
#include "engine/peft.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <functional>

#include "engine/tiny_checkpoint.h"
#include "model/golden_checkpoint.h"

namespace colony::engine {
namespace {

namespace fs = std::filesystem;
namespace golden = model::golden;

struct Golden {
  fs::path adapter, base;
};

// Folders with expected.f32; `base_of` gives the checkpoint a folder's adapter was made over.
std::vector<Golden> find_goldens(const fs::path& root, const std::function<fs::path(const fs::path&)>& base_of) {
  std::vector<Golden> list;
  std::error_code ignored;
  for (const auto& entry : fs::recursive_directory_iterator(root, ignored)) {
    if (entry.path().filename() != "expected.f32") continue;
    const fs::path folder = entry.path().parent_path();
    if (const fs::path base = base_of(folder); !base.empty()) list.push_back({folder, base});
  }
  std::sort(list.begin(), list.end(), [](const Golden& a, const Golden& b) { return a.adapter < b.adapter; });
  return list;
}
std::vector<Golden> own_goldens() {
  return find_goldens("tests/goldens/peft", [](const fs::path& folder) {
    const auto name = read_file(folder / "base.txt");
    return name ? fs::path("tests/goldens/checkpoints") / name->substr(0, name->find('\n')) : fs::path();
  });
}
std::vector<Golden> shared_goldens() {
  return find_goldens(golden::shared() / "golden/peft", [](const fs::path& folder) {
    return folder.filename() == "gpt2" ? fs::path() : golden::shared() / "golden/checkpoints/llama_default";  // gpt2: another family
  });
}

// Logits of the base's input_ids, with and without the adapter.
void check_golden(const Golden& g, tensor::WeightType dtype, double nmse_max) {
  SCOPED_TRACE(g.adapter.string());
  const auto expected = golden::read_expected(g.base);
  ASSERT_TRUE(expected) << expected.error().message;
  const auto bytes = read_file(g.adapter / "expected.f32");
  ASSERT_TRUE(bytes);
  std::vector<float> want(bytes->size() / 4);
  std::memcpy(want.data(), bytes->data(), bytes->size());
  ByteLedger ledger(1ULL << 30);
  tensor::ThreadPool pool(2);
  const auto base = model::Transformer::load(g.base, {.dtype = dtype}, ledger, pool);
  ASSERT_TRUE(base) << base.error().message;
  const auto spec = read_peft(g.adapter, (*base)->config());
  ASSERT_TRUE(spec) << spec.error().message;
  const uint64_t before = ledger.used();
  const auto adapter = model::Adapter::load(*spec, **base, ledger, pool);
  ASSERT_TRUE(adapter) << adapter.error().message;
  const auto needed = model::Adapter::bytes_needed(*spec, **base);
  ASSERT_TRUE(needed);
  EXPECT_EQ(ledger.used() - before, *needed);
  EXPECT_GT(*needed, 0u);

  std::vector<float> got, plain;
  for (const auto& ids : expected->ids) {
    for (const auto& [with, into] : {std::pair{adapter->get(), &got}, std::pair{static_cast<const model::Adapter*>(nullptr), &plain}}) {
      golden::Runner runner(*base, static_cast<int64_t>(ids.size()), ledger, pool, with);
      const auto logits = runner.feed(ids, static_cast<int64_t>(ids.size()));
      into->insert(into->end(), logits.begin(), logits.end());
    }
  }
  const auto d = golden::compare(got, want, expected->vocab, 3 * std::sqrt(2 * nmse_max));
  ASSERT_EQ(d.worthless, "");
  const auto base_differs = golden::compare(plain, want, expected->vocab);
  ASSERT_EQ(base_differs.worthless, "");
  std::printf("  %-40s %-4s NMSE %.1e  max/std %.1e  top-1 %.1f %% (%ld ties); the base alone %.1e\n", g.adapter.c_str(),
              std::string(tensor::weight_type_name(dtype)).c_str(), d.nmse, d.max_over_std, 100 * d.top1, d.ties, base_differs.nmse);
  EXPECT_LE(d.nmse, nmse_max);
  if (dtype == tensor::WeightType::kF32) {
    EXPECT_LE(d.max_over_std, 1e-4);
    EXPECT_EQ(d.top1, 1.0);
  }
  EXPECT_GT(base_differs.nmse, 100 * nmse_max) << "the adapter must show";
}

TEST(Peft, OwnGoldensAtTheF32Gate) {
  const auto list = own_goldens();
  ASSERT_GE(list.size(), 11u);
  for (const Golden& g : list) check_golden(g, tensor::WeightType::kF32, 1e-10);
}
// The adapter's own rounding adds little to the base's: the bounds are those of the base alone, doubled. Not
// so all_linear_rslora, whose scale of 16 on a k_proj drives the attention into its corners: already f32's
// noise is ten times the others', and int8's rounding of a delta larger than the weights shows.
TEST(Peft, OwnGoldensWithinTheNoiseFloorInBf16AndInt8) {
  for (const Golden& g : own_goldens()) {
    check_golden(g, tensor::WeightType::kBf16, 4e-4);
    check_golden(g, tensor::WeightType::kInt8, g.adapter.filename() == "all_linear_rslora" ? 1.5e-2 : 8e-4);
  }
}
TEST(Peft, SharedGoldensAtTheF32Gate) {
  const auto list = shared_goldens();
  if (list.empty()) GTEST_SKIP() << "no golden adapters beside the repository; our own are always run";
  EXPECT_GE(list.size(), 10u);
  for (const Golden& g : list) check_golden(g, tensor::WeightType::kF32, 1e-10);
}

model::ModelConfig tiny_config() {
  model::ModelConfig c;
  c.hidden_size = 32, c.intermediate_size = 48, c.num_hidden_layers = 12, c.num_attention_heads = 4, c.num_key_value_heads = 2;
  c.head_dim = 8, c.vocab_size = 50;
  return c;
}
Json config_with(const Json& options) {
  Json config = {{"peft_type", "LORA"}, {"r", 8}, {"lora_alpha", 16}, {"target_modules", {"q_proj"}}};
  for (const auto& [key, value] : options.items()) config[key] = value;
  return config;
}
std::vector<std::string> paths(const model::LoraSpec& spec) {
  std::vector<std::string> list;
  for (const auto& module : spec.modules) list.push_back(module.path);
  return list;
}

TEST(PeftConfig, TargetsAsPeftMatchesThem) {
  const auto base = tiny_config();
  const auto modules = [&](const Json& options) {
    const auto spec = parse_peft(config_with(options), "c", base);
    EXPECT_TRUE(spec) << spec.error().message;
    return spec ? paths(*spec) : std::vector<std::string>{};
  };
  EXPECT_EQ(modules({{"target_modules", "all-linear"}}).size(), 7u * 12u);
  EXPECT_EQ(modules({{"target_modules", "ALL-Linear"}}).size(), 7u * 12u);
  EXPECT_EQ(modules({{"target_modules", nullptr}}).size(), 2u * 12u);  // q_proj and v_proj
  // A suffix only behind a dot.
  EXPECT_EQ(modules({{"target_modules", {"self_attn.q_proj"}}}).size(), 12u);
  EXPECT_FALSE(parse_peft(config_with({{"target_modules", {"_proj"}}}), "c", base));
  EXPECT_EQ(modules({{"target_modules", {"1.self_attn.q_proj"}}}), (std::vector<std::string>{"model.layers.1.self_attn.q_proj"}));
  // A pattern must match the whole path.
  EXPECT_EQ(modules({{"target_modules", "model\\.layers\\.[12]\\.mlp\\.up_proj"}}).size(), 2u);
  EXPECT_FALSE(parse_peft(config_with({{"target_modules", "up_proj"}}), "c", base));
  // Layers count for suffixes, not for whole paths.
  EXPECT_EQ(modules({{"layers_to_transform", {1, 11}}}), (std::vector<std::string>{"model.layers.1.self_attn.q_proj", "model.layers.11.self_attn.q_proj"}));
  EXPECT_EQ(modules({{"layers_to_transform", 3}, {"layers_pattern", "layers"}}).size(), 1u);
  EXPECT_EQ(modules({{"target_modules", {"model.layers.0.self_attn.q_proj"}}, {"layers_to_transform", {5}}}).size(), 1u);
  EXPECT_EQ(modules({{"exclude_modules", {"layers.0.self_attn.q_proj"}}}).size(), 11u);
  EXPECT_EQ(modules({{"exclude_modules", ".*layers\\.1\\d?\\..*"}}).size(), 9u);
  EXPECT_EQ(modules({{"target_modules", {"lm_head", "embed_tokens"}}}), (std::vector<std::string>{"model.embed_tokens", "lm_head"}));
}

TEST(PeftConfig, ScalesByPatterns) {
  const auto base = tiny_config();
  const auto spec = parse_peft(config_with({{"target_modules", {"q_proj", "k_proj"}},
                                            {"rank_pattern", {{"layers\\.1\\..*q_proj", 4}, {"q_proj", 2}}},
                                            {"alpha_pattern", {{"k_proj", 32}}},
                                            {"use_rslora", true}}),
                               "c", base);
  ASSERT_TRUE(spec) << spec.error().message;
  for (const auto& module : spec->modules) {
    const bool q = module.path.ends_with("q_proj"), one = module.path.find("layers.1.") != std::string::npos;
    EXPECT_EQ(module.rank, !q ? 8 : one ? 4 : 2) << module.path;  // the first pattern in the file's order
    EXPECT_DOUBLE_EQ(module.scale, (q ? 16 : 32) / std::sqrt(static_cast<double>(module.rank))) << module.path;
  }
}

TEST(PeftConfig, RefusesByName) {
  const auto base = tiny_config();
  const std::vector<std::pair<Json, const char*>> cases = {
      {{{"peft_type", "IA3"}}, "peft_type"},
      {{{"peft_type", nullptr}}, "peft_type"},
      {{{"bias", "all"}}, "bias"},
      {{{"r", 0}}, "\"r\""},
      {{{"r", "eight"}}, "r"},
      {{{"init_lora_weights", "pissa_niter_4"}}, "pissa"},
      {{{"layer_replication", Json::array({Json::array({0, 4})})}}, "layer_replication"},
      {{{"trainable_token_indices", {1, 2}}}, "trainable_token_indices"},
      {{{"use_qalora", true}}, "use_qalora"},
      {{{"target_parameters", {"feed_forward.experts.gate_up_proj"}}}, "target_parameters"},
      {{{"alora_invocation_tokens", {5, 6}}}, "alora_invocation_tokens"},
      {{{"use_bdlora", {{"nblocks", 2}}}}, "use_bdlora"},
      {{{"arrow_config", {{"top_k", 3}}}}, "arrow_config"},
      {{{"target_modules", {"nowhere"}}}, "target_modules"},
      {{{"target_modules", "(["}}, "target_modules"},
      {{{"target_modules", 7}}, "target_modules"},
      {{{"target_modules", {1}}}, "target_modules"},
      {{{"rank_pattern", {{"q_proj", 0}}}}, "rank_pattern"},
      {{{"rank_pattern", {{"q_proj", 1.5}}}}, "rank_pattern"},
      {{{"alpha_pattern", {{"q_proj", "x"}}}}, "alpha_pattern"},
      {{{"layers_to_transform", {-1}}}, "layers_to_transform"},
      {{{"modules_to_save", "lm_head"}}, "modules_to_save"}};
  for (const auto& [options, word] : cases) {
    const auto spec = parse_peft(config_with(options), "c.json", base);
    ASSERT_FALSE(spec) << options.dump();
    EXPECT_NE(spec.error().message.find(word), std::string::npos) << spec.error().message;
    EXPECT_NE(spec.error().message.find("c.json"), std::string::npos) << spec.error().message;
  }
  EXPECT_TRUE(parse_peft(config_with({{"peft_version", "9.9"}, {"eva_config", nullptr}, {"loftq_config", {{"loftq_bits", 4}}}}), "c", base));
  EXPECT_FALSE(parse_peft(Json::array(), "c", base));
}

// PEFT from 0.14 on drops keys that are none of its LoraConfig's, whatever stands in them, and warns.
TEST(PeftConfig, KeysThatPeftDoesNotKnowAreLeftOut) {
  const auto base = tiny_config();
  const auto plain = parse_peft(config_with({}), "c", base);
  const auto more = parse_peft(config_with({{"unsloth_fixed", true}, {"enable_lora", {true, false}}, {"some_future_thing", {{"x", 1}}}, {"scaling", 3}}), "c", base);
  ASSERT_TRUE(plain && more) << more.error().message;
  ASSERT_EQ(more->modules.size(), plain->modules.size());
  for (size_t i = 0; i < plain->modules.size(); ++i) {
    EXPECT_EQ(more->modules[i].path, plain->modules[i].path);
    EXPECT_EQ(more->modules[i].scale, plain->modules[i].scale);
  }
}

// What PEFT gives with missing keys: B stays zero. So an adapter that names more modules than it has weights for is the
// one that names just those.
TEST(Peft, ModulesWithoutWeightsStayAsTheBase) {
  const TempFolder temp;
  write_tiny_checkpoint(temp.path() / "base", {}, 3);
  ByteLedger ledger(1ULL << 30);
  tensor::ThreadPool pool(1);
  const auto base = *model::Transformer::load(temp.path() / "base", {}, ledger, pool);
  const fs::path folder = temp.path() / "adapter";
  const auto load = [&](const std::vector<std::string>& targets, const std::function<bool(const std::string&)>& keep, bool dora = false) {
    fs::remove_all(folder);
    write_tiny_adapter(folder, base->config(), 4, 7, 0.2, {{"use_dora", dora}, {"target_modules", targets}});
    const auto file = *model::SafetensorsFile::open(folder / "adapter_model.safetensors");
    std::vector<model::TensorToWrite> tensors;
    for (const auto& [name, tensor] : file->tensors()) {
      if (keep(name)) tensors.push_back({name, tensor.dtype, tensor.shape, tensor.data});
    }
    EXPECT_TRUE(model::write_safetensors(temp.path() / "part", std::move(tensors), {}));
    fs::rename(temp.path() / "part", folder / "adapter_model.safetensors");
    const auto spec = read_peft(folder, base->config());
    return spec ? model::Adapter::load(*spec, *base, ledger, pool) : Result<std::shared_ptr<const model::Adapter>>(spec.error());
  };
  const auto is_q = [](const std::string& name) { return name.find(".q_proj.") != std::string::npos; };
  const auto one = load({"q_proj"}, is_q);
  ASSERT_TRUE(one) << one.error().message;
  for (const bool dora : {false, true}) {
    const auto more = load({"q_proj", "o_proj", "down_proj"}, is_q, dora);
    ASSERT_TRUE(more) << more.error().message;
    if (!dora) {
      EXPECT_EQ((*more)->bytes(), (*one)->bytes());
    }
    EXPECT_TRUE((*more)->layer(0).o.empty() && (*more)->layer(0).down.empty());
    EXPECT_FALSE((*more)->layer(0).qkv.empty());
  }
  // A alone does nothing; B alone would work on random numbers.
  const auto a_alone = load({"q_proj", "o_proj"}, [&](const std::string& name) { return is_q(name) || name.find("o_proj.lora_A") != std::string::npos; });
  ASSERT_TRUE(a_alone) << a_alone.error().message;
  EXPECT_TRUE((*a_alone)->layer(0).o.empty());
  const auto b_alone = load({"q_proj", "o_proj"}, [&](const std::string& name) { return is_q(name) || name.find("o_proj.lora_B") != std::string::npos; });
  ASSERT_FALSE(b_alone);
  EXPECT_NE(b_alone.error().message.find("o_proj.lora_A.weight is missing"), std::string::npos) << b_alone.error().message;
  const auto none = load({"o_proj"}, [](const std::string&) { return false; });
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message.find("changes nothing"), std::string::npos) << none.error().message;
}

// What a folder can get wrong, each named.
TEST(Peft, BrokenFoldersAreNamed) {
  const TempFolder temp;
  write_tiny_checkpoint(temp.path() / "base", {}, 3);
  ByteLedger ledger(1ULL << 30);
  tensor::ThreadPool pool(1);
  const auto base = *model::Transformer::load(temp.path() / "base", {}, ledger, pool);
  const fs::path folder = temp.path() / "adapter", weights = folder / "adapter_model.safetensors";
  const auto error_of = [&]() -> std::string {
    const auto spec = read_peft(folder, base->config());
    if (!spec) return spec.error().message;
    const auto loaded = model::Adapter::load(*spec, *base, ledger, pool);
    return loaded ? "" : loaded.error().message;
  };
  const auto fresh = [&](const Json& options = Json::object()) {
    fs::remove_all(folder);
    write_tiny_adapter(folder, base->config(), 4, 7, 0.2, options);
  };
  fs::create_directories(folder);
  EXPECT_NE(error_of().find("adapter_config.json"), std::string::npos);
  fresh();
  EXPECT_EQ(error_of(), "");
  fresh({{"r", 5}});
  EXPECT_NE(error_of().find("expected [5, 96]"), std::string::npos) << error_of();
  fresh({{"modules_to_save", {"norm"}}});
  EXPECT_NE(error_of().find("modules_to_save"), std::string::npos) << error_of();
  fresh({{"modules_to_save", {"lm_head"}}});
  EXPECT_NE(error_of().find("lm_head.weight is missing"), std::string::npos) << error_of();
  fresh({{"target_modules", {"q_proj"}}});
  EXPECT_NE(error_of().find("belongs to no module"), std::string::npos) << error_of();
  fresh();
  fs::remove(weights);
  EXPECT_NE(error_of().find("adapter_model.safetensors"), std::string::npos);
  ASSERT_TRUE(write_file(folder / "adapter_model.bin", "x"));
  EXPECT_NE(error_of().find("pickle"), std::string::npos);
  fresh();
  ASSERT_TRUE(write_file(folder / "adapter_config.json", "{"));
  EXPECT_NE(error_of().find("adapter_config.json"), std::string::npos);
  // A number that is none, and a file cut at every kind of place.
  fresh();
  auto bytes = *read_file(weights);
  const float nan = std::nanf("");
  std::memcpy(bytes.data() + bytes.size() - 4, &nan, 4);
  ASSERT_TRUE(write_file(weights, bytes));
  EXPECT_NE(error_of().find("finite"), std::string::npos) << error_of();
  EXPECT_EQ(ledger.used(), base->weight_bytes()) << "what failed holds nothing";
  for (const size_t size : {size_t{0}, size_t{7}, size_t{100}, bytes.size() / 2, bytes.size() - 1}) {
    ASSERT_TRUE(write_file(weights, bytes.substr(0, size)));
    EXPECT_NE(error_of().find("adapter_model.safetensors"), std::string::npos) << size << error_of();
  }
  // Of another base.
  write_tiny_checkpoint(temp.path() / "other", {.hidden = 64}, 4);
  const auto other = *model::Transformer::load(temp.path() / "other", {}, ledger, pool);
  fs::remove_all(folder);
  write_tiny_adapter(folder, other->config(), 4, 7);
  EXPECT_NE(error_of().find("another base"), std::string::npos) << error_of();
}

}  // namespace
}  // namespace colony::engine
