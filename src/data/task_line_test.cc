#include "data/task_line.h"

#include <gtest/gtest.h>

#include <fstream>

namespace colony::data {
namespace {

std::filesystem::path fresh_folder(const char* name) {
  const auto folder = std::filesystem::temp_directory_path() / "colony_task_line_test" / name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

TEST(TaskLine, ReadsEveryField) {
  auto file = parse_tasks(
      "\xEF\xBB\xBF"
      R"({"id":"a","kind":"k","task":"t","prompt":"p","answer":"x","check":"label","labels":["x","y"],"extra":1})"
      "\r\n\n"
      R"({"task":"t","messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}],"answer":true})"
      "\n"
      R"({"id":7,"prompt":"q","answer":2.50})"
      "\n"
      R"({"prompt":"q"})",
      "");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_TRUE(file->problems.empty());
  ASSERT_EQ(file->tasks.size(), 4U);
  const auto& a = file->tasks[0];
  EXPECT_EQ(a.line, 1);
  EXPECT_EQ(a.id, "a");
  EXPECT_EQ(a.kind, "k");
  EXPECT_EQ(a.check, "label");
  EXPECT_EQ(a.labels, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(to_line(unknown_fields(a)), R"({"extra":1})");
  EXPECT_EQ(to_line(task_messages(a)), R"([{"role":"user","content":"p"}])");
  const auto& b = file->tasks[1];
  EXPECT_EQ(b.line, 3);
  EXPECT_EQ(b.id, "line-3");
  EXPECT_EQ(b.kind, "t");
  EXPECT_EQ(b.answer, "true");
  EXPECT_EQ(b.check, "exact");
  EXPECT_EQ(task_text(b), "s\nu");
  EXPECT_EQ(task_messages(b).size(), 2U);
  EXPECT_EQ(file->tasks[2].id, "7");
  EXPECT_EQ(file->tasks[2].answer, "2.5");
  EXPECT_EQ(file->tasks[3].kind, "task");
  EXPECT_EQ(file->tasks[3].check, "");
  EXPECT_EQ(file->tasks[3].answer, std::nullopt);
  EXPECT_EQ(file->content_hash.size(), 64U);
}

TEST(TaskLine, BadLinesNameLineFieldFoundAndExpected) {
  auto file = parse_tasks(
      "{\"prompt\":\"ok\",\"id\":\"one\"}\n"
      "{\"prompt\":3}\n"
      "[1]\n"
      "{broken\n"
      "{\"id\":\"x\"}\n"
      "{\"prompt\":\"p\",\"messages\":[]}\n"
      "{\"messages\":[]}\n"
      "{\"messages\":[{\"role\":\"user\"}]}\n"
      "{\"prompt\":\"p\",\"check\":\"exakt\",\"answer\":\"x\"}\n"
      "{\"prompt\":\"p\",\"check\":\"numeric\"}\n"
      "{\"prompt\":\"p\",\"id\":\"one\"}\n"
      "{\"prompt\":\"p\",\"labels\":[\"a\",1]}\n"
      "{\"prompt\":\"\"}\n"
      "{\"prompt\":\"p\",\"id\":[]}\n"
      "{\"prompt\":\"p\",\"check\":\"regex:(\"}\n"
      "{\"prompt\":\"p\",\"kind\":false}\n",
      "");
  ASSERT_TRUE(file) << file.error().message;
  ASSERT_EQ(file->tasks.size(), 1U);
  const std::vector<std::pair<int64_t, std::string>> expected{
      {2, "\"prompt\": found a number, expected a string"},
      {3, "found an array, expected an object"},
      {4, "not JSON"},
      {5, "\"prompt\": found nothing"},
      {6, "\"messages\": found beside \"prompt\""},
      {7, "\"messages\": found an empty list"},
      {8, "\"messages[0].content\": found nothing"},
      {9, "did you mean \"exact\""},
      {10, "\"answer\": found nothing"},
      {11, "\"id\": found \"one\" as on line 1"},
      {12, "\"labels[1]\": found a number, expected a string"},
      {13, "\"prompt\": found an empty string"},
      {14, "\"id\": found an array"},
      {15, "\"check\""},
      {16, "\"kind\": found a boolean"}};
  ASSERT_EQ(file->problems.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(file->problems[i].line, expected[i].first);
    EXPECT_NE(file->problems[i].reason.find(expected[i].second), std::string::npos)
        << file->problems[i].line << ": " << file->problems[i].reason;
  }
}

TEST(TaskLine, TaskJsonGivesCheckAndLabelsToLinesThatLackThem) {
  const auto folder = fresh_folder("defaults");
  std::ofstream(folder / "task.json") << R"({"kind":"family","check":"numeric","labels":["1","2"]})";
  std::ofstream(folder / "t.jsonl") << R"({"prompt":"p","answer":1})" << "\n"
                                    << R"({"prompt":"p","answer":"x","check":"icase","labels":["z"]})";
  auto file = read_tasks(folder / "t.jsonl");
  ASSERT_TRUE(file) << file.error().message;
  ASSERT_EQ(file->tasks.size(), 2U);
  EXPECT_EQ(file->folder, folder);
  EXPECT_EQ(file->tasks[0].check, "numeric");
  EXPECT_EQ(file->tasks[0].kind, "task");  // a task.json's kind is a family name only
  EXPECT_EQ(file->tasks[0].labels.size(), 2U);
  EXPECT_EQ(file->tasks[1].check, "icase");
  EXPECT_EQ(file->tasks[1].labels, std::vector<std::string>{"z"});
}

TEST(TaskLine, BrokenTaskJsonIsNamed) {
  const auto folder = fresh_folder("broken");
  std::ofstream(folder / "t.jsonl") << R"({"prompt":"p"})";
  for (const char* text : {"{", "[]", R"({"check":3})", R"({"check":"nope"})"}) {
    std::ofstream(folder / "task.json", std::ios::trunc) << text;
    auto file = read_tasks(folder / "t.jsonl");
    ASSERT_FALSE(file) << text;
    EXPECT_NE(file.error().message.find("task.json"), std::string::npos) << file.error().message;
  }
}

TEST(TaskLine, NothingAtAllIsAnError) {
  EXPECT_FALSE(parse_tasks("", ""));
  EXPECT_FALSE(parse_tasks("\n \n", ""));
  EXPECT_EQ(read_tasks("/nonexistent/x.jsonl").error().code, ErrorCode::kNotFound);
  auto bad = parse_tasks("{}\n", "");
  ASSERT_TRUE(bad);
  EXPECT_TRUE(bad->tasks.empty());
  EXPECT_EQ(bad->problems.size(), 1U);
}

}  // namespace
}  // namespace colony::data
