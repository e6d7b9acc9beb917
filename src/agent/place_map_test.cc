// Whether places tell kinds of tasks apart: the map of a swarm node over the example tasks.
#include <gtest/gtest.h>

#include "agent/answers_test.h"
#include "agent/place.h"
#include "engine/tiny_checkpoint.h"
#include "swarm/node.h"

namespace colony::agent {
namespace {

TEST(SlowPlaces, OfTheExamplesFormLandmarksByKind) {
  const auto model = engine::starter_model();
  if (model.empty()) GTEST_SKIP() << "the starter model is not in the cache";
  LoadedEngine loaded(model, "auto", 2);
  auto placer = Placer::create(*loaded.engine, "");
  ASSERT_TRUE(placer) << placer.error().message;

  auto tasks = read_examples_file("examples/thousand.jsonl");
  ASSERT_GE(tasks.size(), 600U);
  tasks.resize(600);
  std::map<engine::RequestId, size_t> index;
  for (size_t i = 0; i < tasks.size(); ++i) {
    auto request = Placer::request(*loaded.snapshot, data::task_text(tasks[i]));
    ASSERT_TRUE(request);
    auto id = loaded.engine->submit(std::move(*request));
    ASSERT_TRUE(id);
    index.emplace(*id, i);
  }
  std::vector<swarm::Place> places(tasks.size());
  while (!loaded.engine->idle()) {
    for (auto& output : loaded.engine->step()) {
      auto place = placer->place(output.values);
      ASSERT_TRUE(place);
      places[index.at(output.id)] = *place;
    }
  }

  // The node learns its map from the first half; both halves are judged.
  swarm::Node node({.id = 0, .seed = 1});
  swarm::Now now;
  constexpr size_t kLearned = 300;
  for (size_t i = 0; i < kLearned; ++i) {
    ++now.task_time;
    const swarm::TaskId task = i + 1;
    std::vector<swarm::Effect> effects = node.step(swarm::TaskEntered{task, places[i], 1000}, now);
    for (auto& effect : effects) {
      if (auto* send = std::get_if<swarm::Send>(&effect)) {
        node.step(swarm::Received{std::move(send->message)}, now);
      }
    }
    node.step(swarm::BidsClosed{task}, now);
    node.step(swarm::TaskWithdrawn{task}, now);
  }
  EXPECT_GE(node.landmarks(), 6U);
  for (const auto& [name, begin, end] :
       {std::tuple{"learned", size_t{0}, kLearned}, std::tuple{"fresh", kLearned, tasks.size()}}) {
    std::map<size_t, std::map<std::string, size_t>> members;
    for (size_t i = begin; i < end; ++i) {
      const auto landmark = node.landmark_of(places[i]);
      ASSERT_TRUE(landmark);
      ++members[*landmark][tasks[i].kind];
    }
    size_t pure = 0;
    for (const auto& [landmark, kinds] : members) {
      size_t most = 0;
      for (const auto& [kind, count] : kinds) most = std::max(most, count);
      pure += most;
    }
    const double purity = static_cast<double>(pure) / static_cast<double>(end - begin);
    std::printf("%s: %zu landmarks, %zu used, purity %.3f\n", name, node.landmarks(), members.size(),
                purity);
    EXPECT_GE(members.size(), 6U) << name;
    EXPECT_GE(purity, 0.9) << name;
  }
}

}  // namespace
}  // namespace colony::agent
