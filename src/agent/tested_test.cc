// What an agent showed in a test: written, read, refused when it is not this agent's, and known to the colony at its first bid.
#include "agent/tested.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <functional>

#include "base/file.h"
#include "base/json.h"
#include "swarm/places_test.h"

namespace colony::agent {
namespace {

namespace fs = std::filesystem;

class Tested : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("tested-" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "solo");
    ASSERT_TRUE(write_file(folder_ / "solo" / "agent.toml", "name = \"solo\"\ndescription = \"d\"\n"));
    ASSERT_TRUE(write_file(folder_ / "mark.md", "---\nname: mark\ndescription: d\n---\nYou answer.\n"));
  }
  void TearDown() override { fs::remove_all(folder_); }

  static std::vector<swarm::GateItem> items(size_t count) {
    std::vector<swarm::GateItem> list;
    for (size_t i = 0; i < count; ++i) list.push_back({swarm::place_of(i, 5), static_cast<double>(i % 4) / 3});
    return list;
  }
  AgentSpec load(const char* name) {
    auto spec = load_agent(folder_ / name);
    EXPECT_TRUE(spec) << spec.error().message;
    return *spec;
  }

  fs::path folder_;
};

TEST_F(Tested, IsReadAsItWasKept) {
  for (const char* name : {"solo", "mark.md"}) {
    const AgentSpec spec = load(name);
    EXPECT_TRUE(read_tested(spec, "base")->empty()) << "never tested";
    EXPECT_EQ(tested_text(spec), "none");
    const auto given = items(30);
    ASSERT_TRUE(keep_tested(spec, "base", given));
    EXPECT_EQ(tested_file(spec), std::string(name) == "solo" ? folder_ / "solo" / "tested.json" : folder_ / "mark.tested.json");
    const auto read = read_tested(spec, "base");
    ASSERT_TRUE(read) << read.error().message;
    ASSERT_EQ(read->size(), 30U);
    EXPECT_EQ(tested_text(spec), "0.48 over 30 tasks");
    for (size_t i = 0; i < 30; ++i) {
      EXPECT_EQ((*read)[i].score, given[i].score);
      for (size_t d = 0; d < swarm::kPlaceDim; ++d) EXPECT_NEAR((*read)[i].place[d], given[i].place[d], 2e-5);
    }
    EXPECT_EQ(load(name).generation, spec.generation) << "a test does not change who the agent is";
    EXPECT_EQ(AgentDirectory::open(folder_)->problems().size(), 0U);
  }
  // Of more items as many as a node takes, from all over the list.
  const AgentSpec spec = load("solo");
  ASSERT_TRUE(keep_tested(spec, "base", items(400)));
  const auto read = read_tested(spec, "base");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->size(), swarm::kGateItems);
  EXPECT_NEAR(read->back().place[0], swarm::place_of(395, 5)[0], 2e-5);
}

TEST_F(Tested, AnothersTestSaysNothing) {
  const AgentSpec spec = load("solo");
  ASSERT_TRUE(keep_tested(spec, "base", items(5)));
  const auto model = read_tested(spec, "other");
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kInvalid);
  EXPECT_NE(model.error().message.find("another model"), std::string::npos);
  ASSERT_TRUE(write_file(folder_ / "solo" / "PROMPT.md", "Another agent now."));
  const auto generation = read_tested(load("solo"), "base");
  ASSERT_FALSE(generation);
  EXPECT_NE(generation.error().message.find("another generation"), std::string::npos);
  EXPECT_EQ(tested_text(load("solo")), "of another generation");
}

TEST_F(Tested, DamageIsRefusedByName) {
  const AgentSpec spec = load("solo");
  ASSERT_TRUE(keep_tested(spec, "base", items(3)));
  const auto text = read_file(tested_file(spec));
  ASSERT_TRUE(text);
  const Json good = *parse_json(*text);
  std::vector<std::string> bad{"", "[]", "{", "null", text->substr(0, text->size() / 2)};
  const auto with = [&](const std::function<void(Json&)>& change) {
    Json changed = good;
    change(changed);
    bad.push_back(to_line(changed));
  };
  with([](Json& j) { j["format"] = 2; });
  with([](Json& j) { j.erase("items"); });
  with([](Json& j) { j["items"] = 7; });
  with([](Json& j) { j["items"][0] = "x"; });
  with([](Json& j) { j["items"][0]["score"] = 1.5; });
  with([](Json& j) { j["items"][0]["score"] = "1"; });
  with([](Json& j) { j["items"][0]["place"].erase(0); });
  with([](Json& j) { j["items"][0]["place"][5] = 1e9; });
  with([](Json& j) { j["items"][0]["place"][5] = nullptr; });
  with([](Json& j) {
    for (int i = 0; i < 200; ++i) j["items"].push_back(j["items"][0]);
  });
  for (const auto& one : bad) {
    ASSERT_TRUE(write_file(tested_file(spec), one));
    const auto read = read_tested(spec, "base");
    ASSERT_FALSE(read) << one.substr(0, 60);
    EXPECT_EQ(read.error().code, ErrorCode::kCorrupt) << one.substr(0, 60);
    EXPECT_NE(tested_text(spec), "none");
  }
}

}  // namespace
}  // namespace colony::agent
