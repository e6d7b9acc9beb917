#include "agent/agent.h"

#include <gtest/gtest.h>

#include <fstream>

#include "agent/front_matter.h"

namespace colony::agent {
namespace {

std::filesystem::path fresh_folder(const std::string& name) {
  const auto folder = std::filesystem::temp_directory_path() / "colony_agent_test" / name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}
void put(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::trunc) << text;
  // Times have a coarse grain on some file systems; sizes may be equal.
  static int tick = 0;
  std::filesystem::last_write_time(
      path, std::filesystem::file_time_type::clock::now() + std::chrono::seconds(++tick));
}

constexpr char kFull[] = R"(
name = "extract"
description = "fields to JSON"
role = "data"
model = "org/name"
skills = ["json"]
[sampling]
temperature = 0.5
top-k = 20
top_p = 0.9
min_p = 0.05
repetition_penalty = 1.1
seed = 7
stop = ["\n"]
[limits]
max_tokens = 32
seconds = 2.5
memory = "64 MiB"
[requires]
models = ["org/name@abc"]
lua = ["string"]
executables = ["sh"]
[answer]
labels_from_task = true
schema = "schema.json"
)";

TEST(Agent, ReadsEveryKey) {
  const auto folder = fresh_folder("full") / "extract";
  put(folder / "agent.toml", kFull);
  put(folder / "PROMPT.md", "\nBe brief.\n\n");
  put(folder / "schema.json", R"({"type":"object","properties":{"a":{"type":"string"}}})");
  put(folder / "examples.jsonl", "{\"prompt\":\"p\",\"answer\":\"a\"}\n\n");
  put(folder / "script.lua", "function before(task) return task.prompt end");
  auto agent = load_agent(folder);
  ASSERT_TRUE(agent) << agent.error().message;
  EXPECT_EQ(agent->name, "extract");
  EXPECT_EQ(agent->role, Role::kData);
  EXPECT_EQ(agent->model, "org/name");
  EXPECT_EQ(agent->skills, std::vector<std::string>{"json"});
  EXPECT_FALSE(agent->sampling.greedy);
  EXPECT_EQ(agent->sampling.temperature, 0.5);
  EXPECT_EQ(agent->sampling.top_k, 20);
  EXPECT_EQ(agent->sampling.top_p, 0.9);
  EXPECT_EQ(agent->sampling.min_p, 0.05);
  EXPECT_EQ(agent->sampling.repetition_penalty, 1.1);
  EXPECT_EQ(agent->sampling.seed, 7U);
  EXPECT_EQ(agent->sampling.stop, std::vector<std::string>{"\n"});
  EXPECT_EQ(agent->max_tokens, 32);
  EXPECT_EQ(agent->seconds_max, 2.5);
  EXPECT_EQ(agent->memory_max, 64U << 20);
  EXPECT_EQ(agent->requirements.executables, std::vector<std::string>{"sh"});
  EXPECT_TRUE(agent->labels_from_task);
  EXPECT_TRUE(agent->schema.is_object());
  EXPECT_EQ(agent->prompt, "Be brief.");
  ASSERT_EQ(agent->examples.size(), 1U);
  EXPECT_EQ(agent->examples[0].second, "a");
  ASSERT_NE(agent->program, nullptr);
  EXPECT_TRUE(agent->program->has_before());
  EXPECT_EQ(agent->generation.size(), 16U);
}

TEST(Agent, TheEmptyAgentIsTheModelAlone) {
  const auto folder = fresh_folder("empty") / "generalist";
  put(folder / "agent.toml", "");
  put(folder / "PROMPT.md", "");
  auto agent = load_agent(folder);
  ASSERT_TRUE(agent) << agent.error().message;
  EXPECT_EQ(agent->name, "generalist");
  EXPECT_EQ(agent->prompt, "");
  EXPECT_EQ(agent->program, nullptr);
  EXPECT_TRUE(agent->sampling.greedy);
  EXPECT_EQ(agent->max_tokens, 0);  // the caller's
}

TEST(Agent, MistakesNameKeyAndNeighbour) {
  const std::pair<const char*, const char*> cases[] = {
      {"skils = []", "did you mean \"skills\""},
      {"[answer]\nshema = 'x'", "did you mean \"schema\""},
      {"[sampling]\ntemprature = 1", "did you mean \"temperature\""},
      {"zzzzzzzzzz = 1", "known are name"},
      {"role = 'boss'", "found \"boss\""},
      {"name = 3", "must be a string"},
      {"name = 'a/b'", "expected 1 to 64"},
      {"skills = 'x'", "must be a list of strings"},
      {"[sampling]\ntop_p = 2.0", "\"top_p\": found 2"},
      {"[sampling]\ntemperature = -1", "\"temperature\""},
      {"[sampling]\ngreedy = true\ntemperature = 1.0", "give one of them"},
      {"[limits]\nmax_tokens = 0", "\"max_tokens\""},
      {"[limits]\nmemory = 'much'", "\"memory\""},
      {"limits = 3", "[limits] must be a table"},
      {"adapter = 'nowhere'", "\"adapter\": no folder"},
      {"[answer]\nschema = 'absent.json'", "absent.json"},
      {"[answer]\nchoices = ['a', 'a']", "\"choices\""},
      {"[answer]\nchoices = ['a']\nschema = 'x'", "give one of them"},
      {"a = ", "agent.toml:1"},
  };
  const auto folder = fresh_folder("wrong") / "a";
  for (const auto& [toml, expected] : cases) {
    put(folder / "agent.toml", toml);
    auto agent = load_agent(folder);
    ASSERT_FALSE(agent) << toml;
    EXPECT_NE(agent.error().message.find(expected), std::string::npos) << agent.error().message;
  }
  put(folder / "agent.toml", "");
  put(folder / "examples.jsonl", "{\"prompt\":\"p\"}");
  EXPECT_NE(load_agent(folder).error().message.find("examples.jsonl:1: \"answer\" is missing"),
            std::string::npos);
  std::filesystem::remove(folder / "examples.jsonl");
  put(folder / "script.lua", "function befor() end");
  EXPECT_NE(load_agent(folder).error().message.find("a/script.lua"), std::string::npos);
  EXPECT_EQ(load_agent(folder / "absent").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(load_agent(folder.parent_path()).error().code, ErrorCode::kNotFound);
}

TEST(Agent, GenerationChangesWithWhatChangesAnswers) {
  const auto folder = fresh_folder("generation") / "a";
  put(folder / "agent.toml", "description = 'x'");
  const auto first = load_agent(folder);
  ASSERT_TRUE(first);
  put(folder / "agent.toml", "description = 'y'");
  EXPECT_EQ(load_agent(folder)->generation, first->generation);
  put(folder / "PROMPT.md", "Be brief.");
  const auto second = load_agent(folder);
  EXPECT_NE(second->generation, first->generation);
  EXPECT_NE(second->id(), first->id());
  put(folder / "examples.jsonl", "{\"prompt\":\"p\",\"answer\":\"a\"}");
  EXPECT_NE(load_agent(folder)->generation, second->generation);
}

// What an agent serves changes no answer, so its trail stays; what it says of itself is there to be placed.
TEST(Agent, ServesKindsAndSaysWhatItIs) {
  const auto folder = fresh_folder("serves") / "dates";
  put(folder / "agent.toml", "description = \"Weekdays.\"\nskills = [\"dates\", \"days\"]\n");
  std::string examples;
  for (int i = 0; i < 20; ++i) examples += "{\"prompt\":\"p" + std::to_string(i) + "\",\"answer\":\"a\"}\n";
  put(folder / "examples.jsonl", examples);
  const auto before = load_agent(folder);
  ASSERT_TRUE(before) << before.error().message;
  EXPECT_TRUE(before->kinds.empty());
  const auto about = about_texts(*before);
  ASSERT_EQ(about.size(), 2 + kAboutExamples);
  EXPECT_EQ(about[0], "Weekdays.");
  EXPECT_EQ(about[1], "dates, days");
  EXPECT_EQ(about[2], "p0");
  EXPECT_EQ(about.back(), "p17") << "evenly chosen";
  EXPECT_TRUE(about_texts(AgentSpec()).empty());
  put(folder / "agent.toml", "description = \"Weekdays.\"\nskills = [\"dates\", \"days\"]\n[serves]\nkinds = [\"dates\", \"time\"]\n");
  const auto serves = load_agent(folder);
  ASSERT_TRUE(serves) << serves.error().message;
  EXPECT_EQ(serves->kinds, (std::vector<std::string>{"dates", "time"}));
  EXPECT_EQ(serves->generation, before->generation);
  put(folder / "agent.toml", "[serves]\nkind = [\"dates\"]\n");
  EXPECT_NE(load_agent(folder).error().message.find("did you mean \"kinds\"?"), std::string::npos) << load_agent(folder).error().message;
  put(folder / "agent.toml", "[serves]\nkinds = [\"\"]\n");
  EXPECT_NE(load_agent(folder).error().message.find("\"kinds\": found an empty string"), std::string::npos);
}

TEST(Agent, TinyAgentsFolderIsAccepted) {
  const auto folder = fresh_folder("tiny") / "helper";
  put(folder / "agent.json",
      R"({"model":"Qwen/Qwen3-0.6B","provider":"local","servers":[{"type":"stdio","command":"npx","args":["x"]}]})");
  put(folder / "AGENTS.md", "You help.");
  auto agent = load_agent(folder);
  ASSERT_TRUE(agent) << agent.error().message;
  EXPECT_EQ(agent->name, "helper");
  EXPECT_EQ(agent->model, "Qwen/Qwen3-0.6B");
  EXPECT_EQ(agent->prompt, "You help.");
  EXPECT_EQ(agent->requirements.mcp, std::vector<std::string>{"npx"});
  put(folder / "PROMPT.md", "First.");
  EXPECT_EQ(load_agent(folder)->prompt, "First.");
  put(folder / "agent.json", "{\"provider\":\"x\"}");
  EXPECT_FALSE(load_agent(folder));
}

TEST(Agent, MarkdownWithFrontMatterIsAccepted) {
  const auto path = fresh_folder("markdown") / "reviewer.md";
  put(path, "---\nname: code-reviewer\ndescription: >\n  Reads code\n  and comments.\n"
            "tools: Read, Grep\nmodel: inherit\ncolor: blue\n---\n\nYou review code.\n");
  auto agent = load_agent(path);
  ASSERT_TRUE(agent) << agent.error().message;
  EXPECT_EQ(agent->name, "code-reviewer");
  EXPECT_EQ(agent->description, "Reads code and comments.\n");
  EXPECT_EQ(agent->model, "");
  EXPECT_EQ(agent->prompt, "You review code.");
  put(path, "You review code.");
  EXPECT_NE(load_agent(path).error().message.find("expected ---"), std::string::npos);
}

TEST(FrontMatter, ReadsTheUsualForms) {
  auto matter = parse_front_matter(
      "---\r\na: plain # comment\r\nb: \"q\\n: x\" # c\nc: 'it''s'\nd: [x, \"y, z\", 'w']\n"
      "e:\n  - one\n  - \"two\"\nf: |\n  l1\n    l2\ng:\n# comment\nh: http://x#y\n---\nbody\n");
  ASSERT_TRUE(matter) << matter.error().message;
  EXPECT_EQ(to_line(matter->fields),
            R"({"a":"plain","b":"q\n: x","c":"it's","d":["x","y, z","w"],"e":["one","two"],)"
            R"("f":"l1\n  l2\n","g":"","h":"http://x#y"})");
  EXPECT_EQ(matter->body, "body\n");
}

TEST(FrontMatter, ErrorsNameTheLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "line 1"},
      {"---\na: b\n", "not closed"},
      {"---\nname\n---\n", "line 2: found \"name\""},
      {"---\na: b\na: c\n---\n", "line 3: \"a\" is given twice"},
      {"---\na: \"b\n---\n", "line 2: the quote is not closed"},
      {"---\na:\n  b: c\n---\n", "line 3: nested"},
      {"---\na: &x b\n---\n", "line 2"},
      {"---\na: [b\n---\n", "line 2: the list is not closed"},
      {"---\n\ta: b\n---\n", "line 2: indented with a tab"},
      {"---\na: \"b\\x\"\n---\n", "line 2: escape"},
  };
  for (const auto& [text, expected] : cases) {
    auto matter = parse_front_matter(text);
    ASSERT_FALSE(matter) << text;
    EXPECT_NE(matter.error().message.find(expected), std::string::npos) << matter.error().message;
  }
}

TEST(Agent, RequirementsThatAreMissingAreListed) {
  const auto folder = fresh_folder("requires") / "a";
  put(folder / "agent.toml",
      "[requires]\nmodels = ['nobody/nothing']\nadapters = ['adapter']\nlua = ['string', 'socket']\n"
      "executables = ['sh', 'surely-absent-program', 'sh@00000000ffff']\nmcp = ['https://x']\n");
  auto agent = load_agent(folder);
  ASSERT_TRUE(agent) << agent.error().message;
  const auto cache = folder.parent_path() / "cache";
  const auto missing = missing_requirements(*agent, cache);
  ASSERT_EQ(missing.size(), 5U);
  EXPECT_EQ(missing[0], "model nobody/nothing: not in " + (cache / "models--nobody--nothing").string());
  std::filesystem::create_directories(cache / "models--nobody--nothing" / "snapshots");
  EXPECT_EQ(missing_requirements(*agent, cache).size(), 4U);
  EXPECT_TRUE(missing[1].starts_with("adapter adapter: no file"));
  EXPECT_TRUE(missing[2].starts_with("lua socket"));
  EXPECT_TRUE(missing[3].starts_with("executable surely-absent-program: not found"));
  EXPECT_TRUE(missing[4].starts_with("executable sh@00000000ffff: found SHA-256"));
}

TEST(AgentDirectory, KeepsTheLastGoodVersionOfABrokenAgent) {
  const auto folder = fresh_folder("directory");
  put(folder / "b/agent.toml", "");
  put(folder / "a/agent.toml", "");
  put(folder / "a/PROMPT.md", "one");
  put(folder / "README.md", "no agent");
  put(folder / "c.md", "---\nname: c\n---\nx");
  auto directory = AgentDirectory::open(folder);
  ASSERT_TRUE(directory) << directory.error().message;
  ASSERT_EQ(directory->agents().size(), 3U);
  EXPECT_EQ(directory->agents()[0]->name, "a");
  EXPECT_TRUE(directory->problems().empty());
  EXPECT_FALSE(directory->refresh());

  const auto kept = directory->agents()[1];
  put(folder / "a/PROMPT.md", "two");
  EXPECT_TRUE(directory->refresh());
  EXPECT_EQ(directory->agents()[0]->prompt, "two");
  EXPECT_EQ(directory->agents()[1], kept);  // the others are not loaded again

  put(folder / "a/agent.toml", "nmae = 'a'");
  EXPECT_TRUE(directory->refresh());
  ASSERT_EQ(directory->agents().size(), 3U);
  EXPECT_EQ(directory->agents()[0]->prompt, "two");
  ASSERT_EQ(directory->problems().size(), 1U);
  EXPECT_NE(directory->problems()[0].second.find("did you mean \"name\""), std::string::npos);

  put(folder / "a/agent.toml", "");
  std::filesystem::remove_all(folder / "b");
  EXPECT_TRUE(directory->refresh());
  EXPECT_TRUE(directory->problems().empty());
  ASSERT_EQ(directory->agents().size(), 2U);

  put(folder / "d/agent.toml", "name = 'a'");
  EXPECT_TRUE(directory->refresh());
  ASSERT_EQ(directory->problems().size(), 1U);
  EXPECT_NE(directory->problems()[0].second.find("is taken by"), std::string::npos);
}

TEST(AgentDirectory, OnlyNamesAreHeldToWhatIsThere) {
  const auto folder = fresh_folder("only");
  put(folder / "generalist/agent.toml", "");
  put(folder / "other/agent.toml", "");
  put(folder / "broken/agent.toml", "x = 1");
  auto one = AgentDirectory::open(folder, {"generalist"});
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->agents().size(), 1U);
  EXPECT_TRUE(one->problems().empty());
  EXPECT_EQ(AgentDirectory::open(folder)->problems().size(), 1U);
  auto typo = AgentDirectory::open(folder, {"genralist"});
  ASSERT_FALSE(typo);
  EXPECT_NE(typo.error().message.find("did you mean \"generalist\""), std::string::npos);
  auto broken = AgentDirectory::open(folder, {"broken"});
  ASSERT_FALSE(broken);
  EXPECT_NE(broken.error().message.find("key \"x\" is not known"), std::string::npos);
  EXPECT_FALSE(AgentDirectory::open(folder / "absent"));
  std::filesystem::create_directories(folder / "nothing");
  EXPECT_FALSE(AgentDirectory::open(folder / "nothing"));
}

}  // namespace
}  // namespace colony::agent
