// Token ids and texts against the Rust library's own: goldens beside the repository when they are
// there, and ours under tests/goldens/tokenizers (tools/make_tokenizer_goldens.py), always.
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "base/file.h"
#include "base/rng.h"
#include "text/bpe.h"
#include "text/pre_tokenizer.h"
#include "text/unicode.h"

namespace colony::text {
namespace {

namespace fs = std::filesystem;

Json read_json(const fs::path& path) {
  const auto text = read_file(path);
  EXPECT_TRUE(text) << path;
  auto json = parse_json(text ? *text : "null");
  EXPECT_TRUE(json) << path;
  return json ? *json : Json();
}

// How many of the golden's strings come out equal: ids with and without specials, both decodings.
void check(const fs::path& tokenizer_json, const fs::path& golden) {
  auto tokenizer = Tokenizer::from_json(read_json(tokenizer_json), Json());
  ASSERT_TRUE(tokenizer) << tokenizer_json << ": " << tokenizer.error().message;
  const Json cases = read_json(golden);
  ASSERT_GE(cases.size(), 100u) << golden;
  int wrong = 0;
  for (const auto& c : cases) {
    const auto text = c["s"].get<std::string>();
    const auto ids = c["ids"].get<std::vector<int32_t>>();
    const auto with = (*tokenizer)->encode(text, true), without = (*tokenizer)->encode(text, false);
    ASSERT_TRUE(with && without);
    const bool same = *with == ids && *without == c["ids_nospecial"].get<std::vector<int32_t>>() &&
                      (*tokenizer)->decode(ids, true) == c["dec_skip"].get<std::string>() &&
                      (*tokenizer)->decode(ids, false) == c["dec_full"].get<std::string>();
    if (!same && ++wrong <= 3) {
      ADD_FAILURE() << golden.filename() << " on " << Json(text).dump() << "\n want " << c["ids"].dump() << "\n got  "
                    << Json(*with).dump() << "\n decoded " << Json((*tokenizer)->decode(ids, true)).dump() << " want "
                    << c["dec_skip"].dump();
    }
  }
  EXPECT_EQ(wrong, 0) << golden;
  std::cout << "  " << tokenizer_json.filename().string() << ": " << cases.size() << " strings\n";
}

bool supported(const std::string& name) {
  return !name.starts_with("bert") && !name.starts_with("unigram");  // WordPiece and Unigram are refused
}

void check_folder(const fs::path& root) {
  int tried = 0;
  for (const auto& entry : fs::directory_iterator(root / "synthetic")) {
    const std::string file = entry.path().filename().string();
    const std::string name = file.substr(0, file.find('.'));
    if (!supported(name)) {
      auto refused = Tokenizer::from_json(read_json(entry.path()), Json());
      ASSERT_FALSE(refused) << name;
      EXPECT_NE(refused.error().message.find("not supported"), std::string::npos) << refused.error().message;
      continue;
    }
    check(entry.path(), root / ("synthetic_" + name + ".json"));
    ++tried;
  }
  EXPECT_GE(tried, 10);
}

TEST(SharedTokenizers, AreByteExact) {
  const char* given = std::getenv("COLONY_SHARED");  // NOLINT(concurrency-mt-unsafe)
  const fs::path root = fs::path(given != nullptr ? given : "../shared") / "golden/tokenizers";
  if (!fs::exists(root)) GTEST_SKIP() << "no golden tokenizers beside the repository; our own are always run";
  check_folder(root);
}

TEST(OwnTokenizers, AreByteExact) { check_folder("tests/goldens/tokenizers"); }

// The hand-written scanners against the regular expressions they stand for, on random Unicode.
TEST(Scanners, EqualTheirRegularExpressions) {
  struct Case {
    const char* pattern;
    size_t (*scan)(std::string_view, size_t);
  };
  const Case cases[] = {{kGpt2Pattern, scan_gpt2},
                        {kLlama3Pattern, [](std::string_view t, size_t i) { return scan_llama3(t, i, 3); }},
                        {kQwenPattern, [](std::string_view t, size_t i) { return scan_llama3(t, i, 1); }}};
  const char32_t alphabet[] = U"abzAZ's'tTmMdDlLrReEvV019 ²½ⅧÉéßſ\u0301\u094d日本\u3000\u00a0\t\n\r\n  '.,!-_😀\u200b\u0085١";
  const size_t letters = sizeof(alphabet) / sizeof(alphabet[0]) - 1;
  RngStream rng(5, 1, 0, 1);
  for (const auto& c : cases) {
    const auto regex = Regex::compile(c.pattern);
    ASSERT_TRUE(regex) << regex.error().message;
    for (int round = 0; round < 3000; ++round) {
      std::string text;
      const auto size = 1 + rng.below(12);
      if (round % 1000 == 0) rng = RngStream(5, static_cast<uint64_t>(round), 1, 1);
      for (uint64_t i = 0; i < size; ++i) append_utf8(static_cast<int32_t>(alphabet[rng.below(letters)]), text);
      for (size_t at = 0; at < text.size();) {
        const auto match = (*regex)->find(text, at);
        ASSERT_TRUE(match && *match);
        ASSERT_EQ((**match)[0].first, at) << Json(text).dump();
        const size_t end = c.scan(text, at);
        ASSERT_EQ(end, (**match)[0].second) << Json(text).dump() << " at " << at << " of " << c.pattern;
        at = end;
      }
    }
  }
}

std::shared_ptr<const Tokenizer> gpt2() {
  auto t = Tokenizer::from_json(read_json("tests/goldens/tokenizers/synthetic/gpt2.tokenizer.json"), Json());
  return t ? *t : nullptr;
}

TEST(Tokenizer, RoundTripsRandomUnicode) {
  const auto tokenizer = gpt2();
  ASSERT_TRUE(tokenizer);
  for (uint64_t round = 0; round < 500; ++round) {
    RngStream rng(6, round, 0, 1);
    std::string text;
    for (int i = 0; i < 30; ++i) {
      auto c = static_cast<int32_t>(rng.below(rng.below(2) == 0 ? 0x300 : 0x110000));
      if (c >= 0xd800 && c < 0xe000) c = ' ';
      append_utf8(c, text);
    }
    const auto ids = tokenizer->encode(text, false);
    ASSERT_TRUE(ids);
    EXPECT_EQ(tokenizer->decode(*ids, false), text);
  }
}

TEST(Tokenizer, RefusesTextThatIsNotUtf8) {
  const auto tokenizer = gpt2();
  for (const char* bad : {"\xff", "a\xc3", "\xed\xa0\x80", "\xc0\xaf"}) {
    EXPECT_EQ(tokenizer->encode(bad, false).error().code, ErrorCode::kInvalid);
  }
}

TEST(Tokenizer, LongWordsStayFast) {
  auto t = Tokenizer::from_json(read_json("tests/goldens/tokenizers/synthetic/gemma.tokenizer.json"), Json());
  ASSERT_TRUE(t);
  const auto ids = (*t)->encode(std::string(300'000, 'a'), false);
  ASSERT_TRUE(ids);
  EXPECT_EQ((*t)->decode(*ids, false), std::string(300'000, 'a'));
}

TEST(StreamDecoder, PiecesJoinToTheWholeText) {
  for (const char* name : {"gpt2", "gemma", "llama_legacy", "metaspace_always_split"}) {
    auto t = Tokenizer::from_json(
        read_json("tests/goldens/tokenizers/synthetic/" + std::string(name) + ".tokenizer.json"), Json());
    ASSERT_TRUE(t);
    for (uint64_t round = 0; round < 200; ++round) {
      RngStream rng(7, round, 0, 1);
      std::vector<int32_t> ids;
      std::string joined;
      StreamDecoder stream(*t, true);
      for (int i = 0; i < 20; ++i) {
        ids.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>((*t)->size()))));
        joined += stream.push(ids.back());
        ASSERT_TRUE(valid_utf8(joined));
      }
      joined += stream.finish();
      EXPECT_EQ(joined, (*t)->decode(ids, true)) << name << " " << round;
    }
  }
}

TEST(Tokenizer, HostileFilesAreErrors) {
  const Json good = read_json("tests/goldens/tokenizers/synthetic/gpt2.tokenizer.json");
  const auto broken = [&](auto change) {
    Json json = good;
    change(json);
    return Tokenizer::from_json(json, Json());
  };
  EXPECT_FALSE(Tokenizer::from_json(Json("x"), Json()));
  EXPECT_FALSE(broken([](Json& j) { j["model"]["vocab"]["a"] = -1; }));
  EXPECT_FALSE(broken([](Json& j) { j["model"]["vocab"]["a"] = 4000000000; }));
  EXPECT_FALSE(broken([](Json& j) { j["model"]["vocab"]["a"] = "x"; }));
  EXPECT_FALSE(broken([](Json& j) { j["model"]["merges"].push_back("no such"); }));
  EXPECT_FALSE(broken([](Json& j) { j["model"]["merges"].push_back(7); }));
  EXPECT_FALSE(broken([](Json& j) { j["model"]["type"] = "Unigram"; }));
  EXPECT_FALSE(broken([](Json& j) { j["pre_tokenizer"] = {{"type", "Nmt"}}; }));
  EXPECT_FALSE(broken([](Json& j) { j["normalizer"] = {{"type", "Precompiled"}}; }));
  EXPECT_FALSE(broken([](Json& j) { j["decoder"] = {{"type", "CTC"}}; }));
  EXPECT_FALSE(broken([](Json& j) { j["post_processor"] = {{"type", "Other"}}; }));
  EXPECT_FALSE(broken([](Json& j) { j["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"Regex", "("}}}, {"behavior", "Isolated"}}; }));
  Json deep = {{"type", "NFC"}};
  for (int i = 0; i < 50; ++i) deep = {{"type", "Sequence"}, {"normalizers", Json::array({deep})}};
  EXPECT_FALSE(broken([&](Json& j) { j["normalizer"] = deep; }));
}

}  // namespace
}  // namespace colony::text
