// The colony that the repository ships, against the examples that it ships.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "agent/answers_test.h"
#include "base/file.h"
#include "engine/tiny_checkpoint.h"
#include "text/fold.h"

namespace colony::agent {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kFiles{"examples/mixed.jsonl", "examples/thousand.jsonl"};
// kind -> its specialist
const std::map<std::string, std::string> kByScript{
    {"arithmetic", "arithmetic"}, {"dates", "dates"}, {"units", "units"}, {"sorting", "lists"},
    {"counting", "lists"}};
const std::map<std::string, std::string> kByModel{{"capital", "capitals"},
                                                  {"extract", "records"},
                                                  {"plural", "plurals"},
                                                  {"sentiment", "sentiment"},
                                                  {"topic", "topic"}};

// Words of letters and digits, folded, one space apart and around.
std::string normalised(std::string_view text) {
  std::string out = " ";
  for (const char c : colony::text::fold_case(text)) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || byte >= 0x80) {
      out += c;
    } else if (out.back() != ' ') {
      out += ' ';
    }
  }
  return out.back() == ' ' ? out : out + ' ';
}
std::set<std::string> words(const std::string& text) {
  std::set<std::string> all;
  for (const auto word : colony::text::split_space(text)) all.emplace(word);
  return all;
}
// Shared words over all words of both.
double likeness(const std::set<std::string>& a, const std::set<std::string>& b) {
  size_t both = 0;
  for (const auto& word : a) both += b.contains(word);
  const size_t all = a.size() + b.size() - both;
  return all == 0 ? 0 : static_cast<double>(both) / static_cast<double>(all);
}

std::vector<data::TaskLine> of_kind(const std::vector<data::TaskLine>& tasks,
                                    const std::string& kind, size_t most) {
  std::vector<data::TaskLine> some;
  for (const auto& task : tasks) {
    if (task.kind == kind && some.size() < most) some.push_back(task);
  }
  return some;
}
double mean_score(const std::vector<Answered>& answers) {
  double sum = 0;
  for (const auto& answer : answers) sum += answer.score;
  return sum / static_cast<double>(answers.size());
}

TEST(FirstColony, AgentsLoadAndNeedNothingElse) {
  auto directory = AgentDirectory::open("agents");
  ASSERT_TRUE(directory) << directory.error().message;
  EXPECT_TRUE(directory->problems().empty());
  EXPECT_GE(directory->agents().size(), 6U);
  size_t scripted = 0, prompted = 0;
  for (const auto& agent : directory->agents()) {
    EXPECT_FALSE(agent->description.empty()) << agent->name;
    EXPECT_TRUE(missing_requirements(*agent, "").empty()) << agent->name;
    scripted += agent->program != nullptr && agent->examples.empty();
    prompted += !agent->examples.empty();
  }
  EXPECT_GE(scripted, 3U);
  EXPECT_GE(prompted, 3U);
}

TEST(FirstColony, GeneralistIsTheBareModel) {
  auto agent = load_agent("agents/generalist");
  ASSERT_TRUE(agent) << agent.error().message;
  EXPECT_EQ(agent->prompt, "");
  EXPECT_TRUE(agent->script.empty() && agent->examples.empty() && agent->choices.empty());
  EXPECT_TRUE(agent->schema.is_null() && agent->model.empty() && agent->adapter.empty());
  EXPECT_FALSE(agent->labels_from_task);
  EXPECT_TRUE(fs::is_regular_file("agents/generalist/PROMPT.md"));
  data::TaskLine task;
  task.prompt = "Hello";
  task.fields = Json{{"prompt", "Hello"}};
  const Json messages = agent_messages(*agent, task, std::nullopt);
  EXPECT_EQ(messages, (Json::array({{{"role", "user"}, {"content", "Hello"}}})));
}

TEST(FirstColony, ExamplesAreManyMixedAndTheirOwn) {
  for (const auto& path : kFiles) {
    const auto tasks = read_examples_file(path);
    EXPECT_GE(tasks.size(), 120U);
    std::set<std::string> prompts;
    std::map<std::string, size_t> kinds;
    size_t changes = 0;
    for (size_t i = 0; i < tasks.size(); ++i) {
      prompts.insert(normalised(tasks[i].prompt) + tasks[i].prompt);
      ++kinds[tasks[i].kind];
      changes += i > 0 && tasks[i].kind != tasks[i - 1].kind;
      EXPECT_TRUE(tasks[i].answer) << tasks[i].id;
    }
    EXPECT_EQ(prompts.size(), tasks.size()) << path;
    EXPECT_EQ(kinds.size(), kByScript.size() + kByModel.size());
    for (const auto& [kind, count] : kinds) {
      EXPECT_TRUE(kByScript.contains(kind) || kByModel.contains(kind)) << kind;
      EXPECT_GE(count, tasks.size() / kinds.size() / 2) << kind;
    }
    EXPECT_GT(changes, tasks.size() / 2) << path << " is not mixed";
  }
}

// What an agent is told may look like a task, but must not be one, or nearly one.
TEST(FirstColony, NoExampleStandsInAnAgent) {
  std::vector<std::pair<std::string, std::string>> files;  // path, normalised text
  std::vector<std::pair<std::string, std::string>> shots;  // agent, normalised question
  for (const auto& entry : fs::recursive_directory_iterator("agents")) {
    if (!entry.is_regular_file()) continue;
    auto text = read_file(entry.path());
    ASSERT_TRUE(text);
    files.emplace_back(entry.path().string(), normalised(*text));
  }
  auto directory = AgentDirectory::open("agents");
  ASSERT_TRUE(directory);
  for (const auto& agent : directory->agents()) {
    for (const auto& [question, answer] : agent->examples) {
      shots.emplace_back(agent->name, normalised(question));
    }
  }
  ASSERT_GE(files.size(), 12U);
  ASSERT_GE(shots.size(), 12U);
  for (const auto& path : kFiles) {
    for (const auto& task : read_examples_file(path)) {
      const std::string prompt = normalised(task.prompt);
      const auto prompt_words = words(prompt);
      // The part that differs from task to task: lines without their question.
      std::vector<std::set<std::string>> parts{prompt_words};
      size_t begin = 0;
      while (begin < task.prompt.size()) {
        const size_t end = std::min(task.prompt.find('\n', begin), task.prompt.size());
        parts.push_back(words(normalised(task.prompt.substr(begin, end - begin))));
        begin = end + 1;
      }
      for (const auto& [file, text] : files) {
        ASSERT_EQ(text.find(prompt), std::string::npos) << task.id << " stands in " << file;
      }
      for (const auto& [agent, question] : shots) {
        ASSERT_EQ(prompt.find(question), std::string::npos)
            << task.id << " holds an example of " << agent << ":" << question;
        for (const auto& part : parts) {
          ASSERT_LT(likeness(part, words(question)), 0.8)
              << task.id << " is nearly an example of " << agent << ":" << question;
        }
      }
    }
  }
}

TEST(FirstColony, ScriptsAnswerTheirKinds) {
  for (const auto& path : kFiles) {
    const auto tasks = read_examples_file(path);
    for (const auto& [kind, agent] : kByScript) {
      const auto mine = of_kind(tasks, kind, tasks.size());
      ASSERT_GE(mine.size(), 10U);
      const auto answers = answers_of(fs::path("agents") / agent, mine, nullptr);
      EXPECT_GE(mean_score(answers), 0.98) << kind;
      for (size_t i = 0; i < mine.size(); ++i) {
        if (answers[i].score < 1) {
          ADD_FAILURE() << agent << ": " << mine[i].prompt << "\n  wanted " << *mine[i].answer << ", got "
                        << answers[i].text << answers[i].error;
        }
      }
    }
  }
}

// Questions in words that no generator knows, with answers worked out by hand.
TEST(FirstColony, ScriptsReadOtherWordings) {
  struct Case {
    const char *agent, *prompt, *answer, *check;
  };
  const Case cases[] = {
      {"arithmetic", "Please compute (12 + 8) * 3 - 7 / 2", "56.5", "numeric"},
      {"arithmetic", "Add 1,200 and 34!", "1234", "numeric"},
      {"arithmetic", "If I subtract 19 from 12, what is left?", "-7", "numeric"},
      {"arithmetic", "What do you get when 6 is multiplied by 7?", "42", "numeric"},
      {"arithmetic", "2 - -3 = ?", "5", "numeric"},
      {"dates", "29 February 2024 was which weekday?", "Thursday", "label"},
      {"dates", "Tell me the day of the week of 1970-01-01.", "Thursday", "label"},
      {"dates", "Which date comes 2 weeks before 2024-03-01?", "2024-02-16", "exact"},
      {"dates", "What is 1 day after Dec 31, 1999?", "2000-01-01", "exact"},
      {"dates", "How many days are there from 1 March 1900 to 1900-02-28?", "1", "numeric"},
      {"units", "Please turn 2.5 km into meters", "2500", "numeric"},
      {"units", "What is 68 degrees Fahrenheit in Celsius?", "20", "numeric"},
      {"units", "How many centimetres are in 1 inch?", "2.54", "numeric"},
      {"units", "A bottle of 1,500 ml: how many litres?", "1.5", "numeric"},
      {"lists", "Please sort in descending order: 3, 10, -2", "10, 3, -2", "exact"},
      {"lists", "Arrange alphabetically: pear, Fig, date", "date, Fig, pear", "exact"},
      {"lists", "How many numbers are here: 4 5 6 7 8", "5", "numeric"},
      {"lists", "How many times does the letter 'e' occur in the word \"elephant\"?", "2", "numeric"},
  };
  for (const auto& c : cases) {
    data::TaskLine task;
    task.id = c.prompt;
    task.prompt = c.prompt;
    task.answer = c.answer;
    task.check = c.check;
    task.fields = Json{{"prompt", c.prompt}};
    const auto answers = answers_of(fs::path("agents") / c.agent, {task}, nullptr);
    EXPECT_EQ(answers[0].score, 1.0) << c.prompt << " -> " << answers[0].text << answers[0].error;
  }
}

TEST(FirstColony, ScriptsLeaveTheRestToTheModel) {
  for (const char* agent : {"arithmetic", "dates", "units", "lists"}) {
    for (const char* prompt :
         {"", "Who wrote Hamlet?", "In 1990 the 3 of us moved.", "What is the capital of Spain?",
          "1 / 0 = ?", "Which weekday was 2023-02-30?", "Convert 3 meters to hours.",
          "Sort these words:", "((((1 + 2", "How many letters?"}) {
      auto spec = load_agent(fs::path("agents") / agent);
      ASSERT_TRUE(spec);
      auto said = spec->program->before(Json{{"prompt", prompt}});
      ASSERT_TRUE(said) << agent << " on \"" << prompt << "\": " << said.error().message;
      EXPECT_FALSE(said->answer) << agent << " on \"" << prompt << "\" said " << *said->answer;
    }
  }
}

// Greedy, so the numbers below are the same every time on one kind of machine.
TEST(SlowFirstColony, PromptedSpecialistsBeatTheGeneralist) {
  const auto model = engine::starter_model();
  if (model.empty()) GTEST_SKIP() << "the starter model is not in the cache";
  LoadedEngine loaded(model, "auto", 2);
  const auto tasks = read_examples_file("examples/thousand.jsonl");
  for (const auto& [kind, agent] : kByModel) {
    const auto mine = of_kind(tasks, kind, 60);
    ASSERT_EQ(mine.size(), 60U);
    const auto special = answers_of(fs::path("agents") / agent, mine, &loaded);
    const auto general = answers_of("agents/generalist", mine, &loaded);
    size_t by_script = 0, errors = 0;
    for (size_t i = 0; i < mine.size(); ++i) {
      by_script += special[i].by_script;
      errors += !special[i].error.empty() || !general[i].error.empty();
    }
    std::printf("%-10s %-10s %.3f  generalist %.3f\n", kind.c_str(), agent.c_str(),
                mean_score(special), mean_score(general));
    EXPECT_EQ(by_script, 0U) << kind;
    EXPECT_EQ(errors, 0U) << kind;
    EXPECT_GE(mean_score(special), mean_score(general) + 0.4) << kind;
  }
}

}  // namespace
}  // namespace colony::agent
