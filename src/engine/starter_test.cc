// The starter model against Hugging Face Transformers on the same file, in f32, and its own int8,
// bf16 and int4 against its f32. Goldens: tools/make_starter_goldens.py. Without the model: said, and left out.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "base/file.h"
#include "engine/engine.h"

namespace colony::engine {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

fs::path starter_path() {
  fs::path cache = environment("HF_HUB_CACHE");
  if (cache.empty() && !environment("HF_HOME").empty()) cache = fs::path(environment("HF_HOME")) / "hub";
  if (cache.empty()) cache = fs::path(environment("HOME")) / ".cache/huggingface/hub";
  return cache / "models--colony--SmolLM2-135M-Instruct-GGUF/snapshots/b179c9523d0e6a0f98a330c7562b682750a6f8c8/SmolLM2-135M-Instruct.Q4_1.gguf";
}

#define NEED_STARTER() \
  if (!fs::exists(starter_path())) GTEST_SKIP() << "the starter model is not in the cache (tools/fetch_starter.sh)"

Json golden(const char* name) {
  const auto text = read_file(fs::path("tests/goldens/starter") / name);
  EXPECT_TRUE(text);
  auto json = parse_json(text ? *text : "null");
  EXPECT_TRUE(json);
  return json ? *json : Json();
}

struct Loaded {
  ByteLedger ledger{8ULL << 30};
  tensor::ThreadPool pool{2};
  SystemClock clock;
  Metrics metrics;
  std::shared_ptr<const Snapshot> snapshot;
  std::unique_ptr<Engine> engine;

  explicit Loaded(const std::string& dtype, int sequences = 8) : Loaded(dtype, {.max_sequences = sequences}) {}
  Loaded(const std::string& dtype, const EngineOptions& options) {
    auto made = Snapshot::load(starter_path(), "starter", dtype, ledger, pool);
    EXPECT_TRUE(made) << made.error().message;
    snapshot = *made;
    open(options);
  }
  void open(const EngineOptions& options) {
    engine.reset();
    auto opened = Engine::create(snapshot, options, ledger, pool, clock, metrics);
    EXPECT_TRUE(opened) << opened.error().message;
    engine = std::move(*opened);
  }
  std::vector<Output> run(std::vector<Request> requests) {
    std::vector<RequestId> ids;
    for (auto& request : requests) {
      auto id = engine->submit(std::move(request));
      EXPECT_TRUE(id) << id.error().message;
      ids.push_back(*id);
    }
    std::vector<Output> outputs;
    while (!engine->idle()) {
      for (auto& output : engine->step()) outputs.push_back(std::move(output));
    }
    std::sort(outputs.begin(), outputs.end(), [](const Output& a, const Output& b) { return a.id < b.id; });
    return outputs;
  }
};

// Greedy tokens of the cases from `from` on, up to each one's first near tie.
void expect_greedy(size_t from, size_t to, size_t least_tokens) {
  const Json all = golden("greedy.json");
  const double near = all["near"].get<double>();
  const Json& cases = all["cases"];
  ASSERT_GE(cases.size(), to);
  Loaded starter("f32");
  std::vector<Request> requests;
  for (size_t i = from; i < to; ++i) {
    Request request;
    request.prompt_ids = cases[i]["prompt_ids"].get<std::vector<int32_t>>();
    request.sampling.max_tokens = static_cast<int>(cases[i]["greedy"].size());
    requests.push_back(std::move(request));
  }
  const auto outputs = starter.run(std::move(requests));
  ASSERT_EQ(outputs.size(), to - from);
  size_t compared = 0, ties = 0;
  for (size_t i = from; i < to; ++i) {
    const auto want = cases[i]["greedy"].get<std::vector<int32_t>>();
    const auto gaps = cases[i]["gaps"].get<std::vector<double>>();
    const auto& got = outputs[i - from].ids;
    ASSERT_FALSE(outputs[i - from].error) << outputs[i - from].error->message;
    for (size_t t = 0; t < want.size(); ++t) {
      if (gaps[t] < near) {
        ++ties;
        break;
      }
      ASSERT_LT(t, got.size()) << "case " << i;
      ASSERT_EQ(got[t], want[t]) << "case " << i << " (" << cases[i]["prompt_ids"].size() << " tokens), step " << t;
      ++compared;
    }
  }
  EXPECT_GE(compared, least_tokens);
  std::cout << "  " << compared << " tokens equal in " << to - from << " prompts, " << ties << " ended at a near tie\n";
}

TEST(Starter, GreedyTokensOfFiftyPromptsAreTransformersOwn) {
  NEED_STARTER();
  expect_greedy(0, 50, 800);
}

TEST(SlowStarter, GreedyTokensAfterLongPromptsAreTransformersOwn) {
  NEED_STARTER();
  expect_greedy(50, 56, 60);
}

TEST(Starter, TokensAreLlamaCppsOwn) {
  NEED_STARTER();
  const auto side = load_text_side(starter_path());
  ASSERT_TRUE(side) << side.error().message;
  const Json cases = golden("tokenizer.json");
  ASSERT_GE(cases.size(), 60u);
  for (const auto& c : cases) {
    const auto ids = side->tokenizer->encode(c["text"].get<std::string>(), false);
    ASSERT_TRUE(ids);
    EXPECT_EQ(Json(*ids), c["ids"]) << c["text"];
    EXPECT_EQ(side->tokenizer->decode(*ids, false), c["text"].get<std::string>());
  }
}

// How far q's tokens are from p's, both rows of logits one after the other.
struct Distance {
  double kl = 0, same = 0, positions = 0;  // mean KL(p, q), share with the same best token
};
Distance distance(std::span<const float> p_rows, std::span<const float> q_rows, size_t vocab) {
  Distance d;
  EXPECT_EQ(p_rows.size(), q_rows.size());
  for (size_t at = 0; at + vocab <= p_rows.size(); at += vocab) {
    const float *p = p_rows.data() + at, *q = q_rows.data() + at;
    const auto best_p = std::max_element(p, p + vocab) - p, best_q = std::max_element(q, q + vocab) - q;
    double zp = 0, zq = 0;
    for (size_t v = 0; v < vocab; ++v) {
      zp += std::exp(static_cast<double>(p[v] - p[best_p]));
      zq += std::exp(static_cast<double>(q[v] - q[best_q]));
    }
    for (size_t v = 0; v < vocab; ++v) {
      const double lp = static_cast<double>(p[v] - p[best_p]) - std::log(zp), lq = static_cast<double>(q[v] - q[best_q]) - std::log(zq);
      d.kl += std::exp(lp) * (lp - lq);
    }
    d.same += best_p == best_q;
    d.positions += 1;
  }
  return d;
}

// hf_compat 6.3, gate 3: int8 against f32 over our own prompts. The file's 4-bit weights are int4's own, so
// that only its activations and its head differ from f32.
TEST(SlowStarter, OtherDtypesStayNearF32) {
  NEED_STARTER();
  const Json cases = golden("greedy.json")["cases"];
  const auto logits = [&](const std::string& dtype) {
    Loaded starter(dtype, 4);
    std::vector<std::vector<float>> out;
    for (size_t i = 0; i < 50; i += 2) {
      Request request;
      request.kind = Request::Kind::kLogits;
      request.prompt_ids = cases[i]["prompt_ids"].get<std::vector<int32_t>>();
      const auto& answer = cases[i]["greedy"];
      for (const auto& id : answer) request.prompt_ids.push_back(id.get<int32_t>());
      std::vector<Request> one;
      one.push_back(std::move(request));
      auto outputs = starter.run(std::move(one));
      EXPECT_EQ(outputs.size(), 1u);
      out.push_back(std::move(outputs[0].values));
    }
    return out;
  };
  const auto exact = logits("f32");
  const size_t vocab = 49152;
  for (const auto& [dtype, kl_max, same_min] : {std::tuple{"int8", 0.002, 0.975}, std::tuple{"bf16", 0.002, 0.975},
                                                std::tuple{"int4", 0.002, 0.975}}) {
    const auto other = logits(dtype);
    double kl = 0, same = 0, positions = 0;
    for (size_t c = 0; c < exact.size(); ++c) {
      ASSERT_EQ(exact[c].size(), other[c].size());
      ASSERT_NE(exact[c].data(), other[c].data());
      const Distance d = distance(exact[c], other[c], vocab);
      kl += d.kl;
      same += d.same;
      positions += d.positions;
    }
    std::cout << "  " << dtype << ": mean KL " << kl / positions << ", same top " << same / positions << ", " << positions << " positions\n";
    ASSERT_GT(positions, 1000);
    EXPECT_TRUE(std::isfinite(kl));
    EXPECT_GT(kl, 0);
    EXPECT_LE(kl / positions, kl_max) << dtype;
    EXPECT_GE(same / positions, same_min) << dtype;
  }
}

// Keys and values in int8 against bf16, weights in f32 so that nothing else rounds: the last 256 positions of
// long prompts.
TEST(SlowStarter, Int8KeysAndValuesStayNearBf16) {
  NEED_STARTER();
  const Json cases = golden("greedy.json")["cases"];
  const size_t vocab = 49152, last = 256;
  std::vector<std::vector<int32_t>> prompts;
  for (size_t i = 50; i < 54; ++i) {
    prompts.push_back(cases[i]["prompt_ids"].get<std::vector<int32_t>>());
    if (prompts.back().size() > 2000) prompts.back().resize(2000);
  }
  Loaded starter("f32", {.max_sequences = 1});
  const auto logits = [&](tensor::KvType kv, const std::vector<int32_t>& prompt) {
    starter.open({.max_sequences = 1, .kv_pages = 80, .kv = kv});
    Request request;
    request.kind = Request::Kind::kLogits;
    request.prompt_ids = prompt;
    std::vector<Request> one;
    one.push_back(std::move(request));
    const auto outputs = starter.run(std::move(one));
    const auto& values = outputs.at(0).values;
    return std::vector<float>(values.end() - static_cast<ptrdiff_t>(vocab * std::min(last, prompt.size())), values.end());
  };
  Distance bf16, int8;
  const auto add = [](Distance& sum, const Distance& one) {
    sum.kl += one.kl;
    sum.same += one.same;
    sum.positions += one.positions;
  };
  for (const auto& prompt : prompts) {
    const auto exact = logits(tensor::KvType::kF32, prompt), half = logits(tensor::KvType::kBf16, prompt),
               quarter = logits(tensor::KvType::kInt8, prompt);
    const Distance of_half = distance(exact, half, vocab), of_quarter = distance(half, quarter, vocab);
    std::cout << "  " << prompt.size() << " tokens: KL of bf16 from f32 " << of_half.kl / of_half.positions << ", of int8 from bf16 "
              << of_quarter.kl / of_quarter.positions << ", same top " << of_quarter.same / of_quarter.positions << "\n";
    add(bf16, of_half);
    add(int8, of_quarter);
  }
  ASSERT_GT(int8.positions, 800);
  EXPECT_GT(int8.kl, 0);
  EXPECT_LE(int8.kl / int8.positions, 0.002);  // the gate of int8 weights
  EXPECT_GE(int8.same / int8.positions, 0.975);
}

struct Ask {
  const char* kind;
  std::string prompt;
};

std::vector<Ask> speculation_asks() {
  const std::string mail =
      "From: Maria Lindqvist <maria.lindqvist@nordwind-logistics.example>\nTo: Support <support@acme.example>\nDate: 14 March 2025\n"
      "Order number: 88-201-7734\nDelivery address: 17 Harbour Street, 4th floor, Gothenburg, 41104, Sweden\nPhone: +46 31 555 0182\n"
      "The second pallet of the shipment arrived with a broken seal on Tuesday.";
  const std::string code =
      "def total_price(items, tax_rate):\n    total = 0\n    for item in items:\n        total += item.price * item.quantity\n"
      "    total = total * (1 + tax_rate)\n    return round(total, 2)\n\n\ndef average_price(items):\n    total = 0\n    for item in items:\n"
      "        total += item.price\n    return total / len(items)\n";
  return {
      {"copy", "Repeat this text word for word:\n\n" + mail},
      {"copy", "Repeat this text exactly:\n\nThe harbour was quiet that morning. Two fishing boats had come back early, and the gulls "
               "followed them along the pier. Nobody spoke of the storm that everyone had seen on the horizon the night before."},
      {"extract", "Copy the fields order number, delivery address, phone and date from this mail, one a line:\n\n" + mail},
      {"extract", "Write the sender, the date and the order number of this mail as JSON with the keys from, date, order_number:\n\n" + mail},
      {"edit", "Rename the variable total to sum_of_prices in this code. Give the whole code:\n\n```python\n" + code + "```"},
      {"edit", "Add a docstring to each function and give the whole code back:\n\n```python\n" + code + "```"},
      {"chat", "How can I improve my time management skills?"},
      {"chat", "What are the main differences between Python and JavaScript programming languages?"},
      {"chat", "Compose an engaging travel blog post about a recent trip to Hawaii, highlighting cultural experiences and must-see attractions."},
      {"chat", "Explain to a child why the sky is blue."},
  };
}

// The same answers in less time; prints how much less, of decoding alone (prompts are read before).
TEST(SlowStarter, SpeculationGivesTheSameAnswersSooner) {
  NEED_STARTER();
  Loaded starter("int8", {.max_sequences = 4});
  for (const bool greedy : {true, false}) {
    for (const std::string kind : {"copy", "extract", "edit", "chat"}) {
      std::vector<Request> requests;
      for (const Ask& ask : speculation_asks()) {
        if (ask.kind != kind) continue;
        auto ids = starter.snapshot->chat_ids(Json::array({{{"role", "user"}, {"content", ask.prompt}}}), 0);
        ASSERT_TRUE(ids) << ids.error().message;
        Request request;
        request.prompt_ids = std::move(*ids);
        request.sampling.max_tokens = 160;
        request.sampling.greedy = greedy;
        request.sampling.temperature = 0.7;
        request.sampling.top_p = 0.95;
        requests.push_back(std::move(request));
      }
      for (const int sequences : {1, 4}) {
        std::vector<Request> all = requests;
        while (sequences == 4 && all.size() < 4) all.insert(all.end(), requests.begin(), requests.end());
        for (size_t i = 0; i < all.size(); ++i) all[i].task_id = i;
        std::vector<std::vector<int32_t>> answers[2];
        double rate[2] = {0, 0}, drafted = 0, accepted = 0;
        for (const int with : {0, 1}) {
          starter.open({.max_sequences = sequences, .kv_pages = 200, .speculate = with == 1 ? Speculate::kAuto : Speculate::kOff});
          std::vector<Request> prompts = all;
          for (Request& prompt : prompts) prompt.sampling.max_tokens = 1;
          starter.run(std::move(prompts));
          drafted = -starter.metrics.get(metric::kDraftedTokens).value();
          accepted = -starter.metrics.get(metric::kAcceptedTokens).value();
          double tokens = 0;
          const double start = starter.clock.seconds();
          for (const Output& output : starter.run(all)) {
            answers[with].push_back(output.ids);
            tokens += static_cast<double>(output.ids.size());
          }
          rate[with] = tokens / (starter.clock.seconds() - start);
          drafted += starter.metrics.get(metric::kDraftedTokens).value();
          accepted += starter.metrics.get(metric::kAcceptedTokens).value();
        }
        EXPECT_EQ(answers[0], answers[1]) << kind;
        std::cout << "  " << kind << (greedy ? ", greedy" : ", sampled") << ", x" << sequences << ": " << rate[0] << " tok/s without, "
                  << rate[1] << " with (" << rate[1] / rate[0] << " times), " << accepted << " of " << drafted << " drafts came true\n";
        if (kind == "copy" && greedy) {
          EXPECT_GT(accepted, 50);
        }
      }
    }
  }
}

// Two busy threads on a machine of two cores leave half of it: decoding must get about that.
TEST(SlowStarter, DecodingBesideBusyLoopsLosesItsShareAndNoMore) {
  NEED_STARTER();
  Loaded starter("int8", {.max_sequences = 4, .kv_pages = 100, .speculate = Speculate::kOff});
  const auto cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  for (const int sequences : {1, 4}) {
    const auto rate = [&] {
      std::vector<Request> requests;
      for (int i = 0; i < sequences; ++i) {
        Request request;
        request.prompt_ids = {static_cast<int32_t>(100 + i), 200, 300};
        request.sampling.max_tokens = 200;
        request.sampling.ignore_eos = true;
        requests.push_back(std::move(request));
      }
      const double start = starter.clock.seconds();
      starter.run(std::move(requests));
      return 200.0 * sequences / (starter.clock.seconds() - start);
    };
    rate();
    std::vector<double> shares;
    for (int round = 0; round < 3; ++round) {
      const double alone = rate();
      std::vector<std::jthread> busy;
      for (int i = 0; i < cores; ++i) {
        busy.emplace_back([](const std::stop_token& stop) {
          while (!stop.stop_requested()) {
          }
        });
      }
      const double beside = rate();
      shares.push_back(beside / alone);
      std::cout << "  x" << sequences << ": " << alone << " tok/s alone, " << beside << " beside " << cores << " busy loops\n";
    }
    std::sort(shares.begin(), shares.end());
    // As many busy threads as ours: half is our share. A spinning barrier gets a tenth.
    EXPECT_GT(shares[1], 0.3);
  }
}

}  // namespace
}  // namespace colony::engine
