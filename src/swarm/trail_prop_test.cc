// What holds for any trail, map and stream: properties 4 to 8 and 10 of swarm_algorithms 11, over seeded draws.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <numeric>

#include "base/rng.h"
#include "swarm/places_test.h"
#include "swarm/replay.h"
#include "swarm/trail.h"

namespace colony::swarm {
namespace {

LandmarkMap made_map(uint64_t seed) {
  LandmarkMap map(seed, 0);
  for (uint64_t t = 0; t < 300; ++t) {
    RngStream rng(seed, t, 0, 7);
    map.learn(random_place(rng));
  }
  return map;
}

TEST(TrailProperties, EvidenceAndPosteriorStayWhatTheyAre) {
  const Population population;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const LandmarkMap map = made_map(seed);
    Trail trail;
    for (uint64_t t = 0; t < 1000; ++t) {
      RngStream rng(seed, t, 1, 7);
      const Features features = map.features(random_place(rng));
      const double before = trail.mean(features), score = rng.uniform();
      trail.deposit(features, {}, -1, score, t, population);
      // 6: up when the score was above, down when below.
      EXPECT_GE((trail.mean(features) - before) * (score - before), 0);
    }
    EXPECT_EQ(trail.n(), 1000);
    EXPECT_NEAR(trail.evidence(0), trail.n(), 1e-9);
    for (size_t j = 0; j < kFeatures; ++j) {
      EXPECT_GT(trail.variance(j), 0);
      EXPECT_LE(trail.variance(j), population.tau(j) + 1e-12);
      EXPECT_GE(trail.evidence(j), 0);
      EXPECT_LE(trail.evidence(j), trail.n() + 1e-9);
    }
    Trail anew = trail;
    anew.refresh(population);
    for (size_t j = 0; j < kFeatures; ++j) {
      EXPECT_NEAR(trail.weights()[j], anew.weights()[j], 1e-4);
      EXPECT_NEAR(trail.variance(j), anew.variance(j), 1e-4);
    }
    // 5: reading changes nothing, and fading by a and then b is fading by a + b.
    RngStream rng(seed, 1000, 1, 7);
    const Features features = map.features(random_place(rng));
    EXPECT_EQ(trail.read(features, 1500).recent, trail.read(features, 1500).recent);
    EXPECT_LE(trail.read(features, 1000).deviation, trail.read(features, 100'000).deviation);
  }
}

TEST(TrailProperties, OptimismRisesWithTasksAnAgent) {
  EXPECT_EQ(optimism(0, 10), .5);
  EXPECT_EQ(optimism(500, 10), 1.25);
  EXPECT_EQ(optimism(500, 10), optimism(5000, 100));
  EXPECT_NEAR(optimism(1e9, 10), 2, 1e-5);
  EXPECT_TRUE(std::isfinite(optimism(0, 0)));
  for (double tasks = 1; tasks < 1e6; tasks *= 3) EXPECT_LT(optimism(tasks, 20), optimism(3 * tasks, 20));
}

TEST(TrailProperties, TenThousandDepositsAtOnePlaceAreRead) {
  const LandmarkMap map = made_map(1);
  RngStream rng(1, 0, 2, 7);
  const Features features = map.features(random_place(rng));
  Trail trail;
  for (uint64_t t = 0; t < 10'000; ++t) trail.deposit(features, {}, -1, 0.9, t, {});
  const Reading reading = trail.read(features, 10'000);
  EXPECT_NEAR(reading.mean + reading.recent, 0.9, 0.02);
  for (const uint64_t later : {0ULL, 1ULL << 20, 1ULL << 60}) EXPECT_TRUE(std::isfinite(trail.read(features, later).deviation));
}

// Deposits of one cell; how many alarms, and at which deposit from `changed` on the first.
struct Alarms {
  int count = 0;
  uint64_t first = 0;
};
Alarms alarms_of(uint64_t seed, uint64_t deposits, double before, double after, uint64_t changed) {
  static const LandmarkMap map = made_map(3);
  const Features features = map.features_at(0);
  std::array<double, kLandmarks> similarity{};
  for (size_t slot = 0; slot < kLandmarks; ++slot) similarity[slot] = slot == 0 ? 1 : 0;
  Trail trail;
  Alarms alarms;
  for (uint64_t t = 0; t < deposits; ++t) {
    const double score = RngStream(seed, t, 3, 7).uniform() < (t < changed ? before : after) ? 1 : 0;
    if (!trail.deposit(features, similarity, 0, score, t, {})) continue;
    ++alarms.count;
    if (t >= changed && alarms.first == 0) alarms.first = t - changed + 1;
  }
  return alarms;
}

TEST(TrailProperties, AlarmsAreRareWithoutChangeAndQuickAfterOne) {
  for (const double p : {.1, .5, .9}) {
    int count = 0;
    for (uint64_t seed = 0; seed < 20; ++seed) count += alarms_of(seed, 10'000, p, p, 10'000).count;
    std::cout << "  chance " << p << ": " << count / 20.0 << " alarms in 10,000 deposits\n";
    EXPECT_LT(count / 20.0, 1);
  }
  std::vector<uint64_t> delays;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const Alarms alarms = alarms_of(seed, 600, .9, .5, 300);
    delays.push_back(alarms.first == 0 ? 1000 : alarms.first);
  }
  std::sort(delays.begin(), delays.end());
  std::cout << "  .9 to .5: median " << delays[50] << ", 95 % " << delays[94] << " deposits\n";
  EXPECT_LE(delays[94], 80u);
}

TEST(MapProperties, CentresAreUnitApartAndTheSameAgain) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const LandmarkMap map = made_map(seed), again = made_map(seed);
    EXPECT_LE(map.count(), static_cast<size_t>(kLandmarks));
    LandmarkMap fresh(seed, 0);  // as a rebuild leaves it, before drift
    for (uint64_t t = 0; t < 256; ++t) {
      RngStream rng(seed, t, 0, 7);
      fresh.learn(random_place(rng));
    }
    for (size_t a = 0; a < kLandmarks; ++a) {
      EXPECT_EQ(map.there(a), again.there(a));
      EXPECT_EQ(map.centre(a), again.centre(a));
      if (!fresh.there(a)) continue;
      for (size_t b = 0; b <= a; ++b) {
        if (!fresh.there(b)) continue;
        double cosine = 0;
        for (size_t i = 0; i < kPlaceDim; ++i) cosine += static_cast<double>(fresh.centre(a)[i]) * static_cast<double>(fresh.centre(b)[i]);
        if (a == b) EXPECT_NEAR(cosine, 1, 1e-5);
        else EXPECT_LE(cosine, 0.75 + 1e-5);
      }
    }
  }
}

// Arms of fixed chances, all tasks at one place.
class OnePlace final : public Course {
 public:
  OnePlace(std::vector<double> chances, size_t tasks, uint64_t seed) : chances_(std::move(chances)), tasks_(tasks), seed_(seed) {}
  size_t tasks() const override { return tasks_; }
  size_t arms() const override { return chances_.size(); }
  Question question(size_t t) const override {
    Question question;
    question.number = t;
    question.place[0] = 1;
    return question;
  }
  bool there(size_t, size_t) const override { return true; }
  double score(size_t t, size_t arm) const override { return RngStream(seed_, t, static_cast<uint32_t>(arm), 7).uniform() < chances_[arm] ? 1 : 0; }
  double regret(size_t, size_t arm) const override { return *std::max_element(chances_.begin(), chances_.end()) - chances_[arm]; }

 private:
  std::vector<double> chances_;
  size_t tasks_;
  uint64_t seed_;
};

Played played_by_colony(const Course& course, uint64_t seed, const ColonyOptions& options = {}) {
  auto colony = make_colony(course, options, seed);
  EXPECT_TRUE(colony);
  ManualClock clock;
  return play(course, **colony, clock);
}
std::vector<size_t> chosen_by_colony(const Course& course, uint64_t seed) { return played_by_colony(course, seed).chosen; }

TEST(StreamProperties, TheBestOfTenIsFoundOnNearlyEverySeed) {
  std::vector<double> chances(10, .5);
  chances[4] = .8;
  constexpr int kSeeds = 60;
  int found = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const auto chosen = chosen_by_colony(OnePlace(chances, 1500, seed), seed);
    found += std::count(chosen.begin() + 500, chosen.end(), 4) > 800;
  }
  std::cout << "  found on " << found << " of " << kSeeds << " seeds\n";
  EXPECT_GE(found, kSeeds * 95 / 100);
}

// A short stream pays for what it learns only as long as it lasts.
TEST(StreamProperties, AYoungColonyLosesLessThanOneAsOptimisticAsAnOldOne) {
  std::vector<double> chances;
  for (size_t arm = 0; arm < 28; ++arm) chances.push_back(.4 + .01 * static_cast<double>(arm));
  double rising = 0, always = 0;
  constexpr int kSeeds = 40;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const OnePlace course(chances, 768, seed);
    rising += played_by_colony(course, seed, {1, {"early-optimism"}}).regret / kSeeds;
    always += played_by_colony(course, seed).regret / kSeeds;
  }
  std::cout << "  regret of 768 tasks: " << rising << ", with two deviations from the start " << always << "\n";
  EXPECT_LT(rising, always - 5);
}

TEST(StreamProperties, OfTenEqualAgentsNobodyIsForgotten) {
  for (uint64_t seed = 0; seed < 3; ++seed) {
    const auto chosen = chosen_by_colony(OnePlace(std::vector<double>(10, .5), 10'000, seed), seed);
    for (size_t arm = 0; arm < 10; ++arm) EXPECT_GE(std::count(chosen.begin(), chosen.end(), arm), 5) << arm;
  }
}

}  // namespace
}  // namespace colony::swarm
