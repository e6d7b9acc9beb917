#include "agent/place.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "agent/tiny_colony_test.h"

namespace colony::agent {
namespace {

namespace fs = std::filesystem;

std::vector<swarm::Place> places_of(TinyEngine& tiny, const Placer& placer,
                                    const std::vector<std::string>& texts) {
  std::map<engine::RequestId, size_t> index;
  for (size_t i = 0; i < texts.size(); ++i) {
    auto request = Placer::request(*tiny.snapshot, texts[i]);
    CHECK(request.has_value(), "made");
    auto id = tiny.engine->submit(std::move(*request));
    CHECK(id.has_value(), id ? "" : id.error().message);
    index.emplace(*id, i);
  }
  std::vector<swarm::Place> places(texts.size());
  while (!tiny.engine->idle()) {
    for (auto& output : tiny.engine->step()) {
      auto place = placer.place(output.values);
      CHECK(place.has_value(), place ? "" : place.error().message);
      places[index.at(output.id)] = *place;
    }
  }
  return places;
}

double dot(const swarm::Place& a, const swarm::Place& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

const std::vector<std::string> kTexts{"one", "Sort these words: b a", "What is 3 + 4?", "gre gre red"};

TEST(Placer, PlacesAreUnitVectorsThatDoNotDependOnTheBatch) {
  TinyEngine tiny;
  auto placer = Placer::create(*tiny.engine, "");
  ASSERT_TRUE(placer) << placer.error().message;
  const auto together = places_of(tiny, *placer, kTexts);
  for (size_t i = 0; i < kTexts.size(); ++i) {
    EXPECT_NEAR(dot(together[i], together[i]), 1.0, 1e-5);
    EXPECT_EQ(places_of(tiny, *placer, {kTexts[i]})[0], together[i]);
    for (size_t k = 0; k < i; ++k) EXPECT_LT(dot(together[i], together[k]), 0.99);
  }
}

TEST(Placer, SubtractsTheMeanThenProjectsByTheFormula) {
  TinyEngine tiny;
  auto placer = Placer::create(*tiny.engine, "");
  ASSERT_TRUE(placer);
  const auto hidden = placer->mean().size();
  ASSERT_EQ(hidden, 96U);
  // Projection keeps angles: of two directions and their image.
  std::vector<float> a(hidden), b(hidden);
  RngStream rng(1, 2, 3, 99);
  for (size_t i = 0; i < hidden; ++i) {
    a[i] = static_cast<float>(rng.normal());
    b[i] = static_cast<float>(0.8 * static_cast<double>(a[i]) + 0.6 * rng.normal());
  }
  const std::vector<float> ones(hidden, 1);
  const Placer centred(std::vector<float>(hidden, 0), ones);
  EXPECT_NEAR(dot(*centred.place(a), *centred.place(b)), 0.8, 0.15);
  // Length does not count, the mean does.
  std::vector<float> longer = a;
  for (float& v : longer) v *= 7;
  EXPECT_NEAR(dot(*placer->place(a), *placer->place(longer)), 1.0, 1e-5);
  EXPECT_LT(dot(*placer->place(a), *centred.place(a)), 0.999);
  // What lies at the mean has no direction.
  double size = 0;
  for (const float v : a) size += static_cast<double>(v) * v;
  std::vector<float> unit = a;
  for (float& v : unit) v = static_cast<float>(static_cast<double>(v) / std::sqrt(size));
  EXPECT_FALSE(Placer(unit, ones).place(unit));
  // A number of great deviation counts for little.
  std::vector<float> wide = ones;
  for (size_t i = 0; i < hidden / 2; ++i) wide[i] = 1e6F;
  const Placer scaled(std::vector<float>(hidden, 0), wide);
  std::vector<float> other = a;
  for (size_t i = 0; i < hidden / 2; ++i) other[i] = b[i];
  EXPECT_GT(dot(*scaled.place(a), *scaled.place(other)), 0.999);
  EXPECT_LT(dot(*centred.place(a), *centred.place(other)), 0.99);
}

TEST(Placer, RefusesWhatIsNoEmbedding) {
  const Placer placer(std::vector<float>(8, 0.1F), std::vector<float>(8, 1.0F));
  EXPECT_EQ(placer.place(std::vector<float>(7, 1.0F)).error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(placer.place(std::vector<float>(8, 0.0F)).error().code, ErrorCode::kCorrupt);
  std::vector<float> broken(8, 1.0F);
  broken[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(placer.place(broken).error().code, ErrorCode::kCorrupt);
}

TEST(Placer, KeepsTheMeanOfAModel) {
  TinyEngine tiny;
  const auto home = tiny.folder.path() / "home";
  auto first = Placer::create(*tiny.engine, home);
  ASSERT_TRUE(first) << first.error().message;
  const auto file = home / "places" / (tiny.snapshot->model->content_hash().substr(0, 32) + ".f32");
  ASSERT_TRUE(fs::exists(file));
  EXPECT_EQ(fs::file_size(file), 2 * 96U * 4);
  const auto steps = tiny.engine->steps();
  auto second = Placer::create(*tiny.engine, home);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->mean(), first->mean());
  EXPECT_EQ(second->deviation(), first->deviation());
  EXPECT_EQ(tiny.engine->steps(), steps) << "it was computed again";
  for (const std::string& broken : {std::string("abc"), std::string(), std::string(2 * 96 * 4, '\xff'),
                                    std::string(2 * 96 * 4, '\0'), std::string(96 * 4, 'x')}) {
    put_file(file, broken);
    auto again = Placer::create(*tiny.engine, home);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->mean(), first->mean());
  }
  // A home that cannot be written is no failure.
  put_file(tiny.folder.path() / "file", "x");
  EXPECT_TRUE(Placer::create(*tiny.engine, tiny.folder.path() / "file"));
}

}  // namespace
}  // namespace colony::agent
