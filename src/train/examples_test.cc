// What lines become: ids, targets, splits, and which lines are refused with what words.
#include "train/examples.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace colony::train {
namespace {

constexpr int32_t kEnd = 1;

// A token a letter; "|" is the end-of-turn token.
std::shared_ptr<const text::Tokenizer> letters() {
  Json vocab = {{"<pad>", 0}, {"|", kEnd}};
  for (char c = 'a'; c <= 'z'; ++c) vocab[std::string(1, c)] = vocab.size();
  vocab[":"] = vocab.size();
  const Json added = Json::array({{{"id", kEnd}, {"content", "|"}, {"single_word", false}, {"lstrip", false}, {"rstrip", false}, {"normalized", false}, {"special", true}}});
  const auto made = text::Tokenizer::from_json({{"version", "1.0"}, {"added_tokens", added}, {"normalizer", nullptr}, {"pre_tokenizer", nullptr}, {"post_processor", nullptr},
                                                {"decoder", nullptr}, {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", Json::array()}}}},
                                               Json());
  EXPECT_TRUE(made) << made.error().message;
  return *made;
}

Result<std::string> render(const Json& messages, bool prompt) {
  std::string text;
  for (const Json& m : messages) text += m["role"].get<std::string>().substr(0, 1) + ":" + m["content"].get<std::string>() + "|z";
  return prompt ? text + "a:" : text;
}

struct Fixture {
  std::shared_ptr<const text::Tokenizer> tokenizer = letters();
  TextSide text{tokenizer.get(), render, {kEnd}};
  ExampleOptions options{.max_length = 100};

  ExampleFile read(const std::string& bytes) const {
    auto file = read_examples(bytes, options, text);
    EXPECT_TRUE(file) << file.error().message;
    return file ? std::move(*file) : ExampleFile{};
  }
  // The text with targets in capitals ("|" as "!").
  std::string show(const ReadExample& e) const {
    std::string out;
    for (size_t i = 0; i < e.example.ids.size(); ++i) {
      std::string t = *tokenizer->token(e.example.ids[i]);
      if (e.example.scored[i] != 0) t = t == "|" ? "!" : std::string(1, static_cast<char>(std::toupper(t[0])));
      out += t;
    }
    return out;
  }
};

TEST(Examples, TargetsAreTheAnswerAndTheEndOfTurn) {
  Fixture f;
  auto file = f.read(R"({"prompt":"hi","answer":"yes","other":[1]}
{"prompt":"hi","completion":"no"}

{"messages":[{"role":"system","content":"s"},{"role":"user","content":"q"},{"role":"assistant","content":"b"},{"role":"user","content":"r"},{"role":"assistant","content":"c"}]}
)");
  ASSERT_EQ(file.examples.size(), 3u);
  EXPECT_EQ(f.show(file.examples[0]), "u:hi|za:YES!");
  EXPECT_EQ(f.show(file.examples[1]), "u:hi|za:NO!");
  EXPECT_EQ(f.show(file.examples[2]), "s:s|zu:q|za:B!zu:r|za:C!");
  EXPECT_EQ(file.examples[2].line, 4);
  EXPECT_EQ(file.examples[0].prompt_hash, file.examples[1].prompt_hash);
  EXPECT_NE(file.examples[0].hash, file.examples[1].hash);
  f.options.answer_only = false;
  file = f.read(R"({"prompt":"hi","answer":"yes"})");
  EXPECT_EQ(f.show(file.examples[0]), "u:HI!ZA:YES!") << "every token but the first";
}

TEST(Examples, RawTextHasNoTemplate) {
  Fixture f;
  f.text.render = nullptr;
  const auto file = f.read("{\"prompt\":\"hi\",\"answer\":\"yes\"}\n{\"text\":\"abc\"}\n{\"messages\":[]}\n");
  ASSERT_EQ(file.examples.size(), 2u);
  EXPECT_EQ(f.show(file.examples[0]), "hiYES!");
  EXPECT_EQ(f.show(file.examples[1]), "aBC!");
  ASSERT_EQ(file.problems.size(), 1u);
  EXPECT_EQ(file.problems[0].line, 3);
}

TEST(Examples, CsvRowsAreLines) {
  Fixture f;
  f.options.format = DataFormat::kCsv;
  const auto file = f.read("answer,prompt\nyes,hi\n,hi\n\"no\",hi\n");
  ASSERT_EQ(file.examples.size(), 2u);
  EXPECT_EQ(f.show(file.examples[1]), "u:hi|za:NO!");
  EXPECT_EQ(file.examples[1].line, 4);
  ASSERT_EQ(file.problems.size(), 1u);
  EXPECT_EQ(file.problems[0].line, 3);
}

TEST(Examples, BadLinesAreNamed) {
  const Fixture f;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{", "parse"}, {"[]", "an object"}, {R"({"answer":"a"})", "\"prompt\""}, {R"({"prompt":"a"})", "\"answer\""}, {R"({"prompt":1,"answer":"a"})", "\"prompt\""},
      {R"({"prompt":"a","answer":[]})", "\"answer\""}, {R"({"prompt":"a","answer":""})", "\"answer\""}, {R"({"prompt":"a","answer":"b","completion":"c"})", "\"completion\""},
      {R"({"messages":"x"})", "\"messages\""}, {R"({"messages":[{"role":"assistant","content":"a"}]})", "\"messages[0]\""},
      {R"({"messages":[{"role":"user"}]})", "content"}, {R"({"messages":[{"role":"user","content":"a"}]})", "no assistant"},
      {R"({"prompt":"a","answer":"b|c"})", "end-of-turn"}, {R"({"text":"a"})", "--raw"}, {R"({"prompt":")" + std::string(200, 'a') + R"(","answer":"b"})", "--max-length"}};
  for (const auto& [line, word] : cases) {
    const auto file = f.read(line);
    ASSERT_EQ(file.problems.size(), 1u) << line;
    if (word != "parse") {
      EXPECT_NE(file.problems[0].reason.find(word), std::string::npos) << file.problems[0].reason;
    }
    EXPECT_TRUE(file.examples.empty());
  }
  EXPECT_FALSE(read_examples("\n\n", f.options, f.text));
}

TEST(Examples, TooLongByPolicyAndCounted) {
  Fixture f;
  f.options.max_length = 12;
  const std::string lines = "{\"prompt\":\"hi\",\"answer\":\"yes\"}\n{\"prompt\":\"hi\",\"answer\":\"yesyesyes\"}\n{\"prompt\":\"" + std::string(20, 'a') + "\",\"answer\":\"b\"}\n";
  f.options.too_long = TooLong::kDrop;
  auto file = f.read(lines);
  EXPECT_EQ(file.examples.size(), 1u);
  EXPECT_EQ(file.dropped, 2);
  f.options.too_long = TooLong::kCut;
  file = f.read(lines);
  EXPECT_EQ(file.examples.size(), 2u);
  EXPECT_EQ(f.show(file.examples[1]), "u:hi|za:YESY");
  EXPECT_EQ(file.cut, 1);
  EXPECT_EQ(file.dropped, 1) << "nothing of its answer was left";
}

TEST(Examples, SplitsGoByThePromptWhateverElseIsThere) {
  const Fixture f;
  std::string lines;
  for (int i = 0; i < 400; ++i) {
    const std::string name = {static_cast<char>('a' + i % 26), static_cast<char>('a' + i / 26)};
    for (const char* answer : {"x", "y"}) lines += "{\"prompt\":\"" + name + "\",\"answer\":\"" + answer + "\"}\n";
  }
  const auto [train, valid] = split_by_content(f.read(lines).examples, 0.25);
  EXPECT_EQ(train.size() + valid.size(), 800u);
  EXPECT_GT(valid.size(), 140u);
  EXPECT_LT(valid.size(), 260u);
  for (const auto& v : valid) {
    EXPECT_TRUE(std::none_of(train.begin(), train.end(), [&](const auto& t) { return t.prompt_hash == v.prompt_hash; })) << "both answers on one side";
  }
  EXPECT_TRUE(shared_examples(train, valid).empty());
  const auto again = f.read(lines + lines);
  EXPECT_EQ(again.duplicates, 800);
  EXPECT_EQ(shared_examples(train, train).size(), train.size());
}

TEST(Examples, PlainTextIsAnExampleALine) {
  Fixture f;
  f.text.render = nullptr;
  f.options.format = DataFormat::kText;
  const auto file = f.read("abc\r\n\n  \nde\n\xff\nabc");
  ASSERT_EQ(file.examples.size(), 3u);
  EXPECT_EQ(f.show(file.examples[0]), "aBC!");
  EXPECT_EQ(f.show(file.examples[1]), "dE!");
  EXPECT_EQ(file.examples[1].line, 4);
  EXPECT_EQ(file.duplicates, 1);
  ASSERT_EQ(file.problems.size(), 1u);
  EXPECT_EQ(file.problems[0].line, 5);
}

}  // namespace
}  // namespace colony::train
