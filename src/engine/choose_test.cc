#include "engine/choose.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "base/rng.h"

namespace colony::engine {
namespace {

std::vector<float> random_logits(size_t size, uint64_t seed, double scale = 2.0) {
  std::vector<float> logits;
  RngStream rng(seed, 9, 9, 9);
  for (size_t i = 0; i < size; ++i) logits.push_back(static_cast<float>(rng.normal() * scale));
  return logits;
}

Request sampling(uint64_t seed = 3) {
  Request request;
  request.prompt_ids = {1};
  request.sampling.greedy = false;
  request.sampling.seed = seed;
  return request;
}

ChooseScratch scratch;  // kept from choice to choice, as in the engine

Choice choose_once(const Request& request, std::vector<float> logits, uint64_t task = 0) {
  Request asked = request;
  asked.task_id = task;
  Sequence sequence(1, asked);
  sequence.tokens = asked.prompt_ids;
  return choose(sequence, logits, {}, nullptr, scratch);
}

// The filters as HF writes them (hf_compat 1.10), with sorting and softmax over everything.
std::vector<double> hf_distribution(std::vector<double> scores, const SamplingParams& p) {
  const double minus = -std::numeric_limits<double>::infinity();
  const auto softmax = [](const std::vector<double>& x) {
    const double best = *std::max_element(x.begin(), x.end());
    std::vector<double> y;
    for (const double v : x) y.push_back(std::exp(v - best));
    const double sum = std::accumulate(y.begin(), y.end(), 0.0);
    for (double& v : y) v /= sum;
    return y;
  };
  for (double& score : scores) score /= p.temperature;
  if (p.top_k > 0) {
    auto sorted = scores;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    const double kth = sorted[std::min(sorted.size(), static_cast<size_t>(p.top_k)) - 1];
    for (double& score : scores) score = score < kth ? minus : score;
  }
  if (p.top_p < 1.0) {
    std::vector<size_t> order(scores.size());
    std::iota(order.begin(), order.end(), 0U);
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] != scores[b] ? scores[a] < scores[b] : a < b; });
    const auto probs = softmax(scores);
    double sum = 0;
    for (size_t i = 0; i + 1 < order.size(); ++i) {
      sum += probs[order[i]];
      if (sum <= 1 - p.top_p) scores[order[i]] = minus;
    }
  }
  if (p.min_p > 0) {
    const auto probs = softmax(scores);
    const double best = *std::max_element(probs.begin(), probs.end());
    for (size_t i = 0; i < scores.size(); ++i) {
      if (probs[i] < p.min_p * best) scores[i] = minus;
    }
  }
  return softmax(scores);
}

TEST(Choose, GreedyIsTheFirstOfTheBest) {
  Request request;
  request.prompt_ids = {1};
  std::vector<float> logits(1000, -1.0F);
  logits[700] = logits[333] = logits[999] = 5.0F;
  EXPECT_EQ(choose_once(request, logits).id, 333);
  for (size_t size = 1; size < 70; ++size) {
    for (size_t best = 0; best < size; ++best) {
      std::vector<float> row(size, -2.0F);
      row[best] = -1.0F;
      EXPECT_EQ(choose_once(request, row).id, static_cast<int32_t>(best));
    }
  }
}

TEST(Choose, LogitsThatAreNoNumbersAreAnError) {
  for (size_t at = 0; at < 50; ++at) {
    auto logits = random_logits(50, 1);
    logits[at] = std::nanf("");
    for (const bool greedy : {true, false}) {
      Request request = sampling();
      request.sampling.greedy = greedy;
      const Choice choice = choose_once(request, logits);
      ASSERT_TRUE(choice.error);
      EXPECT_EQ(choice.error->code, ErrorCode::kCorrupt);
    }
  }
}

TEST(Choose, DrawsFromHuggingFacesDistribution) {
  const auto logits = random_logits(200, 4);
  const std::vector<double> scores(logits.begin(), logits.end());
  std::vector<SamplingParams> all;
  for (const double temperature : {0.5, 1.0, 1.7}) {
    for (const int top_k : {0, 1, 7, 500}) {
      for (const double top_p : {1.0, 0.9, 0.3, 0.01}) {
        for (const double min_p : {0.0, 0.05, 0.5}) {
          SamplingParams p = sampling().sampling;
          p.temperature = temperature;
          p.top_k = top_k;
          p.top_p = top_p;
          p.min_p = min_p;
          all.push_back(p);
        }
      }
    }
  }
  for (const SamplingParams& p : all) {
    const auto want = hf_distribution(scores, p);
    Request request = sampling();
    request.sampling = p;
    constexpr int kDraws = 3000;
    std::vector<int> count(want.size(), 0);
    for (int i = 0; i < kDraws; ++i) ++count[static_cast<size_t>(choose_once(request, logits, static_cast<uint64_t>(i)).id)];
    for (size_t i = 0; i < want.size(); ++i) {
      if (want[i] == 0) {
        EXPECT_EQ(count[i], 0);
      } else {
        // Six standard deviations and one: 144 × 200 comparisons, none of them by luck.
        EXPECT_NEAR(count[i], kDraws * want[i], 6 * std::sqrt(kDraws * want[i]) + 1)
            << "temperature " << p.temperature << " top_k " << p.top_k << " top_p " << p.top_p << " min_p " << p.min_p;
      }
    }
  }
}

TEST(Choose, TopKKeepsTies) {
  std::vector<float> logits(10, 0.0F);
  logits[2] = 3.0F;
  logits[5] = logits[7] = 2.0F;
  Request request = sampling();
  request.sampling.top_k = 2;
  std::map<int32_t, int> seen;
  for (uint64_t i = 0; i < 500; ++i) ++seen[choose_once(request, logits, i).id];
  EXPECT_EQ(seen.size(), 3U);
  EXPECT_TRUE(seen.contains(5) && seen.contains(7));
}

TEST(Choose, RepetitionPenaltyTouchesEveryTokenOnce) {
  Request request;
  request.prompt_ids = {0, 0, 1, 2, 0};
  request.sampling.repetition_penalty = 2.0;
  Sequence sequence(1, request);
  sequence.tokens = request.prompt_ids;
  std::vector<float> logits{4.0F, -1.0F, 1.0F, 1.5F, -1.5F};
  EXPECT_EQ(choose(sequence, logits, {}, nullptr, scratch).id, 0);  // 2.0 is still the best
  EXPECT_EQ(logits, (std::vector<float>{2.0F, -2.0F, 0.5F, 1.5F, -1.5F}));
}

TEST(Choose, OneNumberAToken) {
  // The draw depends on seed, task, agent and the token's number, and on nothing else.
  const auto logits = random_logits(1000, 6, 0.5);
  Request request = sampling();
  Sequence sequence(1, request), other(77, request);
  sequence.tokens = other.tokens = {1};
  std::vector<int32_t> ids;
  for (int i = 0; i < 20; ++i) {
    auto a = logits, b = logits;
    const int32_t id = choose(sequence, a, {}, nullptr, scratch).id;
    EXPECT_EQ(choose(other, b, {}, nullptr, scratch).id, id);
    sequence.output.ids.push_back(id);
    other.output.ids.push_back(id);
    ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  EXPECT_GT(std::unique(ids.begin(), ids.end()) - ids.begin(), 15);
}

}  // namespace
}  // namespace colony::engine
