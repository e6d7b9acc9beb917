#include "agent/agent_run.h"

#include <gtest/gtest.h>

#include "agent/tiny_colony_test.h"

namespace colony::agent {
namespace {

data::TaskLine task_of(const Json& fields) {
  auto file = data::parse_tasks(fields.dump(), "");
  CHECK(file.has_value() && file->tasks.size() == 1,
        file && !file->problems.empty() ? file->problems[0].reason : "one task");
  return file->tasks[0];
}

engine::Output said(const std::string& text) {
  engine::Output output;
  output.text = text;
  output.finish = engine::FinishReason::kStop;
  return output;
}

class AgentRun : public ::testing::Test {
 protected:
  ReadyAgent ready(const std::string& script, const std::string& toml = "",
                   const std::string& prompt = "", const std::string& examples = "") {
    const auto agents = tiny_.folder.path() / "agents";
    std::filesystem::remove_all(agents / "one");
    put_agent(agents, "one", script, toml);
    if (!prompt.empty()) put_file(agents / "one" / "PROMPT.md", prompt);
    if (!examples.empty()) put_file(agents / "one" / "examples.jsonl", examples);
    auto spec = load_agent(agents / "one");
    CHECK(spec.has_value(), spec ? "" : spec.error().message);
    auto made = make_ready(std::make_shared<AgentSpec>(std::move(*spec)), nullptr);
    CHECK(made.has_value(), made ? "" : made.error().message);
    return *made;
  }
  // What the model is shown; the tiny tokenizer has a token a letter and some longer ones.
  std::string shown(const engine::Request& request) {
    return tiny_.snapshot->text.tokenizer->decode(request.prompt_ids, false);
  }
  TinyEngine tiny_;
  RunContext context_;
};

TEST_F(AgentRun, PromptIsSystemThenExamplesThenTask) {
  const auto agent = ready("", "", "Be brief.", R"({"prompt":"1+1","answer":"2"})");
  auto prepared = prepare(agent, task_of({{"prompt", "2+2"}}), *tiny_.snapshot, context_);
  ASSERT_TRUE(prepared) << prepared.error().message;
  ASSERT_TRUE(prepared->request && !prepared->answer);
  EXPECT_EQ(shown(*prepared->request), "[system]Be brief.[user]1+1[assistant]2[user]2+2[assistant]");
  context_.raw = true;
  prepared = prepare(agent, task_of({{"prompt", "2+2"}}), *tiny_.snapshot, context_);
  ASSERT_TRUE(prepared);
  EXPECT_EQ(shown(*prepared->request), "Be brief.\n\n1+1\n\n2\n\n2+2");
}

TEST_F(AgentRun, MessagesOfATaskKeepTheirTurns) {
  const Json messages = Json::array({{{"role", "system"}, {"content", "S"}},
                                     {{"role", "user"}, {"content", "a"}},
                                     {{"role", "assistant"}, {"content", "b"}},
                                     {{"role", "user"}, {"content", "c"}}});
  const auto task = task_of({{"messages", messages}});
  auto bare = prepare(ready(""), task, *tiny_.snapshot, context_);
  ASSERT_TRUE(bare);
  EXPECT_EQ(shown(*bare->request), "[system]S[user]a[assistant]b[user]c[assistant]");
  auto own = prepare(ready("function before(task) return task.messages[4].content .. '!' end", "", "P",
                           R"({"prompt":"q","answer":"r"})"),
                     task, *tiny_.snapshot, context_);
  ASSERT_TRUE(own) << own.error().message;
  EXPECT_EQ(shown(*own->request), "[system]P\n\nS[user]q[assistant]r[user]a[assistant]b[user]c![assistant]");
}

TEST_F(AgentRun, ScriptAnswersRewritesOrLeavesThePrompt) {
  const auto task = task_of({{"prompt", "x"}, {"answer", "secret"}, {"check", "exact"}, {"color", "red"}});
  auto answered = prepare(ready("function before(task) return {answer = task.prompt .. task.color} end"),
                          task, *tiny_.snapshot, context_);
  ASSERT_TRUE(answered);
  EXPECT_EQ(answered->answer, "xred");
  EXPECT_FALSE(answered->request);
  auto left = prepare(ready("function before(task) end"), task, *tiny_.snapshot, context_);
  ASSERT_TRUE(left);
  EXPECT_EQ(shown(*left->request), "[user]x[assistant]");
  // Nothing that would give the answer away is in sight.
  auto blind = prepare(ready("function before(task) return {answer = tostring(task.answer) .. "
                             "tostring(task.check) .. tostring(task.labels)} end"),
                       task, *tiny_.snapshot, context_);
  ASSERT_TRUE(blind);
  EXPECT_EQ(blind->answer, "nilnilnil");
  auto broken = prepare(ready("function before(task) error('oh no') end"), task, *tiny_.snapshot, context_);
  ASSERT_FALSE(broken);
  EXPECT_NE(broken.error().message.find("oh no"), std::string::npos);
}

TEST_F(AgentRun, AfterTurnsTextIntoTheAnswer) {
  const auto task = task_of({{"prompt", "x"}});
  EXPECT_EQ(*finish_answer(*ready("function after(task, text) return task.prompt .. text:upper() end").spec,
                           task, said("abc")),
            "xABC");
  EXPECT_EQ(*finish_answer(*ready("").spec, task, said("abc")), "abc");
  EXPECT_FALSE(finish_answer(*ready("function after(task, text) return 7 .. nil end").spec, task, said("abc")));
  // A free answer cut at max_tokens is one; half a constrained one is not, whatever after() would make of it.
  auto cut = said("{\"a\": 1");
  cut.finish = engine::FinishReason::kLength;
  cut.ids = {1, 2, 3};
  EXPECT_EQ(*finish_answer(*ready("").spec, task, cut), "{\"a\": 1");
  cut.cut = true;
  const auto none = finish_answer(*ready("function after(task, text) return '{}' end").spec, task, cut);
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message.find("cut at max_tokens after 3 tokens"), std::string::npos) << none.error().message;
}

TEST_F(AgentRun, LimitsAndSeedsReachTheRequest) {
  const auto agent = ready("", "[sampling]\ntemperature = 0.5\nseed = 5\nstop = [\"\\n\"]\n"
                               "[limits]\nmax_tokens = 30\nseconds = 2.0\n");
  context_.seed = 3;
  context_.max_tokens = 100;
  context_.task_id = 77;
  context_.now = std::chrono::seconds(10);
  context_.budget = std::make_shared<Budget>(500);
  const auto task = task_of({{"prompt", "x"}, {"labels", {"a", "b"}}});
  auto prepared = prepare(agent, task, *tiny_.snapshot, context_);
  ASSERT_TRUE(prepared);
  EXPECT_EQ(prepared->request->sampling.max_tokens, 30);
  EXPECT_EQ(prepared->request->sampling.seed, 8U);
  EXPECT_EQ(prepared->request->sampling.stop, std::vector<std::string>{"\n"});
  EXPECT_FALSE(prepared->request->sampling.greedy);
  EXPECT_EQ(prepared->request->task_id, 77U);
  EXPECT_EQ(prepared->request->deadline, std::chrono::seconds(12));
  EXPECT_EQ(prepared->request->budget, context_.budget);
  EXPECT_EQ(prepared->request->constraint, nullptr) << "labels bind only agents that ask for them";
  context_.max_tokens = 9;
  context_.deadline = std::chrono::seconds(11);
  prepared = prepare(agent, task, *tiny_.snapshot, context_);
  ASSERT_TRUE(prepared);
  EXPECT_EQ(prepared->request->sampling.max_tokens, 9);
  EXPECT_EQ(prepared->request->deadline, std::chrono::seconds(11));
}

TEST_F(AgentRun, ItsMemoryIsTheScripts) {
  const auto task = task_of({{"prompt", "x"}});
  const std::string script = "function after(task, text) return #string.rep('x', 1000000) .. '' end";
  EXPECT_EQ(*finish_answer(*ready(script).spec, task, said("")), "1000000");
  EXPECT_FALSE(finish_answer(*ready(script, "[limits]\nmemory = \"500 KiB\"\n").spec, task, said("")));
}

TEST_F(AgentRun, AnswersKeepToTheirConstraint) {
  const auto run = [&](engine::Request request) {
    CHECK(tiny_.engine->submit(std::move(request)).has_value(), "submitted");
    while (true) {
      for (auto& output : tiny_.engine->step()) return std::move(output.text);
    }
  };
  const auto one_of = [&](const std::string& toml, const Json& task) {
    auto prepared = prepare(ready("", toml), task_of(task), *tiny_.snapshot, context_);
    CHECK(prepared && prepared->request, "prepared");
    return run(std::move(*prepared->request));
  };
  // A random model says one of these only because it must.
  const std::string choice = one_of("[answer]\nchoices = [\"gremlin\", \"blue no\"]\n", {{"prompt", "x"}});
  EXPECT_TRUE(choice == "gremlin" || choice == "blue no") << choice;
  const std::string label = one_of("[answer]\nlabels_from_task = true\n",
                                   {{"prompt", "x"}, {"labels", {"seven", "eleven"}}});
  EXPECT_TRUE(label == "seven" || label == "eleven") << label;
}

}  // namespace
}  // namespace colony::agent
