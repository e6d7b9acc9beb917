// The reader of recorded outcomes, the baselines, the courses, and rule B over MMLU-Pro's recorded answers (28 models;
// the composed pool of 15), only the chosen agent's score revealed. That data is not part of the repository: absent,
// the slow tests say so and do not run.
#include "swarm/replay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "base/rng.h"
#include "base/stats.h"
#include "swarm/drift_bench.h"
#include "swarm/landmark.h"

namespace colony::swarm {
namespace {

namespace fs = std::filesystem;

// ---- the reader ----

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "colony-outcomes-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
    write("queries.jsonl", "{\"id\": 7, \"domain\": \"a\", \"text\": \"one\"}\n{\"id\": \"x\", \"domain\": \"b\"}\n{\"id\": 9, \"domain\": \"a\"}\n");
    write("scores.csv", "id,m1,m2,m3\n9,0,1,.25\r\n7,1,0,0\n\"x\",0,0,1\n");
    write("models.csv", "model,pool_small\nm1,1\nm2,0\nm3,1\n");
  }
  ~Folder() { fs::remove_all(path_); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path_ / name, std::ios::binary) << text; }
  // What reading says is wrong; "" when nothing is.
  std::string problem(const OutcomesOptions& options = {}) const {
    const auto read = read_outcomes(path_, options);
    return read ? "" : read.error().message;
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Questions that a set holds out are every agent's test and never in the stream; what agents say of themselves comes with them.
TEST(Outcomes, NameTheirOwnTestAndWhatAgentsSay) {
  const Folder folder;
  folder.write("queries.jsonl", "{\"id\": 7, \"held_out\": true}\n{\"id\": \"x\", \"held_out\": false}\n{\"id\": 9}\n");
  folder.write("about.jsonl", "{\"agent\": \"m3\", \"text\": \"sums\"}\n\n{\"agent\": \"nobody here\", \"text\": \"x\"}\n{\"agent\": \"m1\", \"text\": \"dates\"}\n");
  const auto read = read_outcomes(folder.path());
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->held_out, (std::vector<uint8_t>{1, 0, 0}));
  ASSERT_EQ(read->about.size(), 2U);
  EXPECT_EQ(read->about[0].agent, 2U);
  EXPECT_EQ(read->about[1].text, "dates");
  std::vector<Place> places(3);
  for (size_t i = 0; i < 3; ++i) places[i][i] = 1;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const RecordedCourse course(*read, places, {.seed = seed}, {places[2], places[1]});
    ASSERT_EQ(course.tasks(), 2U);
    for (size_t t = 0; t < 2; ++t) EXPECT_NE(course.question(t).place, places[0]);
    ASSERT_EQ(course.gate(0).size(), 1U);
    EXPECT_EQ(course.gate(0)[0].place, places[0]);
    EXPECT_EQ(course.gate(0)[0].score, 1);
    EXPECT_EQ(course.about(2), std::vector<Place>{places[2]});
    EXPECT_TRUE(course.about(1).empty());
  }
  folder.write("about.jsonl", "{\"agent\": \"m3\"}\n");
  EXPECT_NE(folder.problem().find("about.jsonl:1: found no 'text'"), std::string::npos) << folder.problem();
  folder.write("about.jsonl", "");
  folder.write("queries.jsonl", "{\"id\": 7, \"held_out\": 3}\n");
  EXPECT_NE(folder.problem().find("held_out"), std::string::npos) << folder.problem();
}

TEST(Outcomes, AreReadByIdWhateverTheOrderOfRows) {
  const Folder folder;
  const auto read = read_outcomes(folder.path());
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->ids, (std::vector<std::string>{"7", "x", "9"}));
  EXPECT_EQ(read->agents, (std::vector<std::string>{"m1", "m2", "m3"}));
  EXPECT_EQ(read->domain, (std::vector<size_t>{0, 1, 0}));
  EXPECT_EQ(read->scores, (std::vector<float>{1, 0, 0, 0, 0, 1, 0, 1, .25F}));
  EXPECT_EQ(read->texts[0], "one");
  EXPECT_TRUE(read->embeddings.empty());
  const auto small = read_outcomes(folder.path(), {"scores.csv", true});
  ASSERT_TRUE(small);
  EXPECT_EQ(small->agents, (std::vector<std::string>{"m1", "m3"}));
  EXPECT_EQ(small->scores, (std::vector<float>{1, 0, 0, 1, 0, .25F}));
}

TEST(Outcomes, KnowWhatAnswersCostWhereAllAgentsAreInTheFile) {
  const Folder folder;
  EXPECT_TRUE(read_outcomes(folder.path())->tokens.empty());
  folder.write("outlen.csv", "id,m3,m1,other\nx,400,4,1\n7,3,1001,1\n9,0,8,1\n");
  EXPECT_TRUE(read_outcomes(folder.path())->tokens.empty()) << "m2 is not there";
  const auto small = read_outcomes(folder.path(), {"scores.csv", true});
  ASSERT_TRUE(small);
  EXPECT_EQ(small->tokens, (std::vector<uint32_t>{251, 1, 1, 100, 2, 0})) << "four characters a token, begun ones whole";
  const std::vector<Place> places(3);
  const RecordedCourse course(*small, places, {});
  uint64_t sum = 0;
  for (size_t t = 0; t < 3; ++t) sum += course.tokens(t, 0);
  EXPECT_EQ(sum, 254U);
}

TEST(Outcomes, SayWhatIsWrongWhere) {
  const auto expect = [](const std::string& file, const std::string& text, std::vector<std::string> said, const OutcomesOptions& options = {}) {
    const Folder folder;
    folder.write(file, text);
    const std::string problem = folder.problem(options);
    said.push_back(file);
    said.emplace_back("expected");
    for (const auto& word : said) EXPECT_NE(problem.find(word), std::string::npos) << "'" << word << "' in: " << problem;
  };
  expect("scores.csv", "key,m1\n7,1\nx,1\n9,1\n", {":1:", "no column 'id'"});
  expect("scores.csv", "id,m1,m2\n7,1,1\nx,1\n9,1,1\n", {":3:", "2 fields", "3", "'m2'"});
  for (const char* bad : {"nan", "NaN", "inf", "1.5", "-1", "", "1x", " 1"}) {
    expect("scores.csv", std::string("id,m1\n7,1\nx,") + bad + "\n9,1\n", {":3:", "'m1'", std::string("'") + bad + "'"});
  }
  expect("scores.csv", "id,m1\n7,1\n7,1\nx,1\n9,1\n", {":3:", "'7' a second time"});
  expect("scores.csv", "id,m1\n7,1\nx,1\n", {"no row with id '9'"});
  expect("scores.csv", "id,m1\n7,1\nx,1\n9,1\n10,1\n", {":5:", "'10'"});
  expect("scores.csv", "id,m1,m1\n7,1,1\n", {":1:", "'m1' a second time"});
  expect("scores.csv", "id\n7\nx\n9\n", {":1:", "0 agents"});
  expect("scores.csv", "", {"no line"});
  expect("scores.csv", "id,m1\n\"7,1\n", {":2:", "open quote"});
  expect("queries.jsonl", "{\"id\": 7}\n{\"id\": 7}\n", {":2:", "'id'", "'7' a second time"});
  expect("queries.jsonl", "{\"id\": 7}\n[1]\n", {":2:", "an array", "an object"});
  expect("queries.jsonl", "{\"id\": 1.5}\n", {":1:", "'id'", "a number"});
  expect("queries.jsonl", "{\"id\": 7, \"text\": 5}\n", {":1:", "'text'", "a number", "a string"});
  expect("queries.jsonl", "\n", {"no line"});
  expect("models.csv", "model,size\nm1,1\n", {":1:", "'pool_small'"}, {"scores.csv", true});
  expect("models.csv", "model,pool_small\nm1,maybe\n", {":2:", "'maybe'"}, {"scores.csv", true});
  expect("outlen.csv", "id,m1,m2,m3\n7,1,1,1\nx,1,-1,1\n9,1,1,1\n", {":3:", "'m2'", "'-1'", "characters"});
  expect("outlen.csv", "id,m1,m2,m3\n7,1,1,1\nx,1,1,1\n", {"no row with id '9'"});
  expect("embeddings.f16", std::string(10, 'a'), {"10 bytes", "3 rows"});
  // Two rows of three numbers where three rows of two are expected: no unit vectors.
  expect("embeddings.f16", std::string("\x00\x3c\x00\x00\x00\x00\x00\x3c\x00\x00\x00\x00", 12), {"row 3", "length 0.000"});
  expect("embeddings.f16", std::string("\x00\x7e\x00\x3c\x00\x3c", 6), {"row 1", "number 1", "nan"});
  {
    const Folder folder;
    folder.write("queries.jsonl", "{\"id\": 7}\nnot json\n");
    EXPECT_NE(folder.problem().find("queries.jsonl:2: "), std::string::npos) << folder.problem();
    folder.write("models.csv", "model,pool_small\nm1,1\nother,1\n");
    folder.write("queries.jsonl", "{\"id\": 7}\n{\"id\": \"x\"}\n{\"id\": 9}\n");
    EXPECT_NE(folder.problem({"scores.csv", true}).find("1 of the 2 agents"), std::string::npos) << folder.problem({"scores.csv", true});
    EXPECT_NE(folder.problem({"no.csv", false}), "");
  }
}

TEST(Outcomes, PlacesKeepTheAnglesOfWhatIsSpannedByFewDirections) {
  constexpr size_t kRows = 90, kWidth = 100, kSpan = 10;
  std::vector<std::vector<double>> axes(kSpan, std::vector<double>(kWidth));
  RngStream rng(1, 0, 0, 7);
  for (auto& axis : axes) {
    for (double& a : axis) a = rng.normal();
  }
  std::vector<float> rows(kRows * kWidth);
  std::vector<std::vector<double>> centred(kRows, std::vector<double>(kWidth));
  std::vector<double> mean(kWidth);
  for (size_t r = 0; r < kRows; ++r) {
    RngStream row(2, r, 0, 7);
    for (const auto& axis : axes) {
      const double by = row.normal();
      for (size_t i = 0; i < kWidth; ++i) rows[r * kWidth + i] += static_cast<float>(by * axis[i] + .3);
    }
    for (size_t i = 0; i < kWidth; ++i) mean[i] += static_cast<double>(rows[r * kWidth + i]) / kRows;
  }
  for (size_t r = 0; r < kRows; ++r) {
    double norm = 0;
    for (size_t i = 0; i < kWidth; ++i) {
      centred[r][i] = static_cast<double>(rows[r * kWidth + i]) - mean[i];
      norm += centred[r][i] * centred[r][i];
    }
    for (double& c : centred[r]) c /= std::sqrt(norm);
  }
  const auto places = principal_places(rows, kWidth);
  for (size_t r = 1; r < kRows; ++r) {
    double want = 0, got = 0;
    for (size_t i = 0; i < kWidth; ++i) want += centred[r][i] * centred[r - 1][i];
    for (size_t i = 0; i < kPlaceDim; ++i) got += static_cast<double>(places[r][i]) * static_cast<double>(places[r - 1][i]);
    EXPECT_NEAR(got, want, 1e-4);
  }
}

// ---- policies ----

// Arms of fixed chances at two opposite places.
class TwoPlaces final : public Course {
 public:
  TwoPlaces(std::vector<double> here, std::vector<double> there, size_t tasks) : chances_{std::move(here), std::move(there)}, tasks_(tasks) {}
  size_t tasks() const override { return tasks_; }
  size_t arms() const override { return chances_[0].size(); }
  size_t domains() const override { return 2; }
  Question question(size_t t) const override {
    Question q;
    q.number = t;
    q.domain = side(t);
    RngStream rng(5, t, 0, 7);
    std::array<double, kPlaceDim> v{};
    for (size_t i = 0; i < kPlaceDim; ++i) v[i] = rng.normal() / 16 + (i == q.domain ? 1.0 : 0.0);
    q.place = unit(v);
    return q;
  }
  bool there(size_t t, size_t arm) const override { return arm != hidden || t >= tasks_ / 2; }
  double score(size_t t, size_t arm) const override { return RngStream(6, t, static_cast<uint32_t>(arm), 7).uniform() < chances_[side(t)][arm] ? 1 : 0; }
  double regret(size_t t, size_t arm) const override { return *std::max_element(chances_[side(t)].begin(), chances_[side(t)].end()) - chances_[side(t)][arm]; }
  size_t hidden = 1000;

 private:
  static size_t side(size_t t) { return RngStream(4, t, 0, 7).uniform() < .5 ? 0 : 1; }
  std::vector<double> chances_[2];
  size_t tasks_;
};

Played played_by(const Course& course, const std::string& policy, const ColonyOptions& options = {}) {
  const auto spec = parse_policy(policy);
  EXPECT_TRUE(spec) << (spec ? "" : spec.error().message);
  auto made = make_policy(*spec, course, options, 3);
  EXPECT_TRUE(made) << (made ? "" : made.error().message);
  ManualClock clock;
  return play(course, **made, clock);
}

TEST(Policy, EveryOneFindsTheArmThatIsBestEverywhere) {
  TwoPlaces course({.2, .3, .8, .2}, {.2, .3, .8, .2}, 2000);
  for (const auto& kind : policy_kinds()) {
    if (kind.name == "random") continue;
    const Played played = played_by(course, kind.name);
    const auto best = std::count(played.chosen.begin() + 1000, played.chosen.end(), 2);
    EXPECT_GT(best, 900) << kind.name;
  }
  EXPECT_NEAR(played_by(course, "random").mean, .375, .04);
}

TEST(Policy, OnlyThoseThatSeePlacesOrLabelsFindSpecialists) {
  TwoPlaces course({.9, .1, .4}, {.1, .9, .4}, 3000);
  for (const char* name : {"colony", "linucb", "lints", "knn", "ucb1", "thompson", "per-domain-best"}) EXPECT_GT(played_by(course, name).second_half, .8) << name;
  EXPECT_LT(played_by(course, "best-single").second_half, .6);
  EXPECT_LT(played_by(course, "colony", {1, {"places"}}).second_half, .6);
}

TEST(Policy, FourNodesChooseAsWellAsOneAndTheSameSeedTheSame) {
  TwoPlaces course({.9, .1, .4, .3, .2}, {.1, .9, .4, .3, .2}, 3000);
  const Played four = played_by(course, "colony", {4, {}});
  EXPECT_GT(four.second_half, .8);
  EXPECT_EQ(four.chosen, played_by(course, "colony", {4, {}}).chosen);
}

TEST(Policy, WhatIsNotThereIsNotChosenAndIsFoundWhenItComes) {
  TwoPlaces course({.3, .9, .4}, {.3, .9, .4}, 3000);
  course.hidden = 1;
  for (const auto& kind : policy_kinds()) {
    const Played played = played_by(course, kind.name);  // play() itself holds it to what is there
    EXPECT_EQ(std::count(played.chosen.begin(), played.chosen.begin() + 1500, 1), 0) << kind.name;
    if (kind.name != "random") {
      EXPECT_GT(std::count(played.chosen.begin() + 2000, played.chosen.end(), 1), 700) << kind.name;
    }
  }
}

TEST(Policy, EachSwitchChangesWhatTheColonyDoes) {
  DriftCourse course(3);
  for (const auto& off : switches(4)) {
    if (off == "audit") continue;  // here nobody claims too much; GossipNodes.ALiarCostsLittle is its test
    if (off == "priors") continue;  // here agents say nothing of themselves; Evidence.WithoutPriorsNothingThatIsSaidCounts
    const NodeId nodes = off == "gossip" ? 4 : 1;
    EXPECT_NE(played_by(course, "colony", {nodes, {off}}).chosen, played_by(course, "colony", {nodes, {}}).chosen) << off;
  }
  EXPECT_NEAR(played_by(course, "colony", {1, {"trails"}}).mean, played_by(course, "random").mean, .03);
}

TEST(Policy, WordsAreReadWithTheirConstantsOrRefusedWithWhatThereIs) {
  const auto spec = parse_policy("ucb1:c=0.5:gamma=.999");
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->constants, (std::map<std::string, double>{{"c", .5}, {"gamma", .999}}));
  EXPECT_EQ(spec->text(), "ucb1:c=0.5:gamma=0.999");
  for (const auto& [text, said] : std::map<std::string, std::string>{
           {"", "thompson"}, {"ucb", "ucb1"}, {"ucb1:x=1", "gamma=1"}, {"ucb1:c", "c=0.3"}, {"ucb1:c=nan", "found 'nan'"}, {"ucb1:c=-1", "found '-1'"}, {"linucb:ridge=0", "above 0"}, {"ucb1:gamma=2", "at most 1"}}) {
    const auto wrong = parse_policy(text);
    ASSERT_FALSE(wrong) << text;
    EXPECT_NE(wrong.error().message.find(said), std::string::npos) << wrong.error().message;
  }
}

// ---- courses ----

Outcomes made_up(size_t tasks) {
  Outcomes outcomes;
  outcomes.agents = {"a", "b", "c"};
  outcomes.domains = {"d", "e"};
  for (size_t t = 0; t < tasks; ++t) {
    outcomes.ids.push_back(std::to_string(t));
    outcomes.domain.push_back(t % 2);
    for (const double chance : {.2, .8, .5}) outcomes.scores.push_back(RngStream(9, t, static_cast<uint32_t>(100 * chance), 7).uniform() < chance ? 1 : 0);
  }
  return outcomes;
}

TEST(RecordedCourse, IsOnePermutationWithWhatChangesAtHalfTime) {
  const Outcomes outcomes = made_up(1000);
  const std::vector<Place> places(1000);
  const RecordedCourse plain(outcomes, places, {4}), same(outcomes, places, {4}), other(outcomes, places, {5});
  double regret = 0, sum = 0, others = 0;
  bool differs = false;
  for (size_t t = 0; t < 1000; ++t) {
    for (size_t arm = 0; arm < 3; ++arm) EXPECT_EQ(plain.score(t, arm), same.score(t, arm));
    sum += plain.score(t, 1);
    others += other.score(t, 1);
    differs = differs || plain.score(t, 1) != other.score(t, 1);
    regret += plain.regret(t, 1);
  }
  EXPECT_TRUE(differs);
  EXPECT_EQ(sum, others);
  EXPECT_EQ(regret, 0);  // the best single agent
  StreamOptions options;
  options.seed = 4;
  options.drift = true;
  const RecordedCourse drift(outcomes, places, options);
  options.drift = false;
  options.arrival = true;
  const RecordedCourse arrival(outcomes, places, options);
  for (size_t t = 0; t < 1000; ++t) {
    const size_t was = t < 500 ? 0 : 1;  // the best and the worst of three exchange, the middle one stays
    EXPECT_EQ(drift.score(t, 0), plain.score(t, was == 0 ? 0 : 1));
    EXPECT_EQ(drift.score(t, 1), plain.score(t, was == 0 ? 1 : 0));
    EXPECT_EQ(drift.score(t, 2), plain.score(t, 2));
    EXPECT_EQ(arrival.there(t, 1), t >= 500);
    EXPECT_TRUE(arrival.there(t, 0) && arrival.there(t, 2));
    if (t < 500) {
      EXPECT_EQ(arrival.regret(t, 2), 0);
    }
  }
  options = {4};
  options.tasks = 100;
  EXPECT_EQ(RecordedCourse(outcomes, places, options).tasks(), 100u);
}

TEST(DriftCourse, HasTheRegretsOfThePublishedBench) {
  // Published over 20 seeds: random 5943 ±119, best single 4312 ±173. Two seeds here.
  double random = 0, single = 0, colony = 0;
  for (uint64_t seed = 30; seed < 32; ++seed) {
    const DriftCourse course(seed);
    random += played_by(course, "random").regret / 2;
    single += played_by(course, "best-single").regret / 2;
    colony += played_by(course, "colony").regret / 2;
  }
  EXPECT_NEAR(random, 5900, 600);
  EXPECT_NEAR(single, 4300, 900);
  EXPECT_LT(colony, 1100);
}

// ---- MMLU-Pro ----

fs::path recorded() {
  const char* shared = std::getenv("COLONY_SHARED");
  return fs::path(shared != nullptr ? shared : "../shared") / "replay" / "mmlupro";
}

class SlowReplay : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(recorded() / "embeddings.f16")) GTEST_SKIP() << "not run: no " << recorded() << "; Policy.* are its twins on made-up tasks";
  }
  static Outcomes read(const OutcomesOptions& options) {
    auto outcomes = read_outcomes(recorded(), options);
    EXPECT_TRUE(outcomes) << (outcomes ? "" : outcomes.error().message);
    return outcomes ? std::move(*outcomes) : Outcomes{};
  }
  // Mean scores over three orders.
  static double mean_of(const Outcomes& outcomes, const std::vector<Place>& places, const std::string& policy, NodeId nodes = 1) {
    std::vector<double> means;
    for (uint64_t seed = 51; seed < 54; ++seed) {
      const RecordedCourse course(outcomes, places, {seed});
      means.push_back(played_by(course, policy, {nodes, {}}).mean);
    }
    std::cout << "  " << policy << ", " << nodes << " node(s): " << mean(means) << "\n";
    return mean(means);
  }
};

// Published for these data, ten orders: uniform choice .3205, a context-free UCB1 .4291, rule B .4352, four nodes .4283,
// the best single agent in hindsight .4366.
TEST_F(SlowReplay, SmallPoolOfMmluPro) {
  const Outcomes outcomes = read({"scores.csv", true});
  ASSERT_EQ(outcomes.tasks(), 11954u);
  ASSERT_EQ(outcomes.agents.size(), 14u);
  ASSERT_EQ(outcomes.width, 384u);
  const auto places = principal_places(outcomes.embeddings, outcomes.width);
  EXPECT_NEAR(mean_of(outcomes, places, "random"), .3205, .01);
  EXPECT_NEAR(mean_of(outcomes, places, "best-single"), .4366, .0002);
  EXPECT_NEAR(mean_of(outcomes, places, "ucb1"), .4291, .01);
  EXPECT_GT(mean_of(outcomes, places, "colony"), .43);
  EXPECT_GT(mean_of(outcomes, places, "colony", 4), .42);
}

// Uniform choice .3844, UCB1 .4177, rule B .4525, four nodes .4487; .4366 the best single.
TEST_F(SlowReplay, ComposedPoolOfMmluPro) {
  const Outcomes outcomes = read({"scores_composed15.csv", false});
  ASSERT_EQ(outcomes.agents.size(), 15u);
  const auto places = principal_places(outcomes.embeddings, outcomes.width);
  EXPECT_NEAR(mean_of(outcomes, places, "ucb1"), .4177, .015);
  EXPECT_GT(mean_of(outcomes, places, "colony"), .445);
  EXPECT_GT(mean_of(outcomes, places, "colony", 4), .44);
}

}  // namespace
}  // namespace colony::swarm
