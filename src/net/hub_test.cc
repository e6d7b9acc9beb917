#include "net/hub.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <map>

#include "base/file.h"
#include "base/json.h"

namespace colony::net {
namespace {

namespace fs = std::filesystem;
constexpr char kCommit[] = "0123456789abcdef0123456789abcdef01234567";

// hub_test_server.py, for the life of this process.
class Hub {
 public:
  static Hub& instance() {
    static Hub hub;
    return hub;
  }
  int port() const { return port_; }

 private:
  Hub() {
    int in[2], out[2];
    if (::pipe(in) != 0 || ::pipe(out) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(in[0], STDIN_FILENO);
      ::dup2(out[1], STDOUT_FILENO);
      ::close(in[1]);
      ::close(out[0]);
      ::execlp("python3", "python3", "src/net/hub_test_server.py", nullptr);
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    to_ = in[1];
    std::FILE* from = ::fdopen(out[0], "r");
    if (std::fscanf(from, "%d", &port_) != 1) port_ = 0;
  }
  ~Hub() {
    ::close(to_);
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  pid_t pid_ = 0;
  int to_ = -1, port_ = 0;
};

class HubTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(Hub::instance().port(), 0) << "the test hub does not start (python3?)";
    static int count = 0;
    options_.cache = fs::temp_directory_path() / fmt::format("colony-hub-{}-{}", ::getpid(), count++);
    options_.endpoint = fmt::format("http://127.0.0.1:{}", Hub::instance().port());
    options_.metadata_seconds = 5;
    options_.stall_seconds = 5;
  }
  void TearDown() override { fs::remove_all(options_.cache); }

  Result<fs::path> pull_it(const std::string& repo) {
    return pull(repo, options_, [&](const PullProgress& p) {
      EXPECT_LE(p.bytes_done, p.bytes_total);
      done_ = p.bytes_done;
    }, nullptr);
  }
  std::vector<Json> server_log() {
    const std::string command = fmt::format("python3 -c \"import urllib.request;print(urllib.request.urlopen('{}/log').read().decode())\"", options_.endpoint);
    std::FILE* pipe = ::popen(command.c_str(), "r");
    std::string text;
    char buffer[4096];
    for (size_t n = 0; (n = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) text.append(buffer, n);
    ::pclose(pipe);
    std::vector<Json> out;
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      if (const auto line = parse_json(std::string_view(text).substr(at, end - at)); line && line->is_object()) out.push_back(*line);
      at = end + 1;
    }
    return out;
  }
  static void expect_whole(const fs::path& snapshot) {
    EXPECT_EQ(fs::file_size(snapshot / "model.safetensors"), 300'000u);
    EXPECT_EQ(*read_file(snapshot / "config.json"), R"({"model_type": "llama"})");
  }

  HubOptions options_;
  uint64_t done_ = 0;
};

TEST_F(HubTest, PullsIntoTheCacheLayoutThatPythonHas) {
  const auto snapshot = pull_it("ok/model");
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  const fs::path repo = options_.cache / "models--ok--model";
  EXPECT_EQ(*snapshot, repo / "snapshots" / kCommit);
  expect_whole(*snapshot);
  EXPECT_EQ(*read_file(repo / "refs/main"), kCommit);  // no newline
  EXPECT_FALSE(fs::exists(*snapshot / "pytorch_model.bin"));
  EXPECT_FALSE(fs::exists(*snapshot / "onnx"));
  const auto link = fs::read_symlink(*snapshot / "sub/tokenizer.json");
  EXPECT_TRUE(link.string().starts_with("../../../blobs/")) << link;
  EXPECT_EQ(link.filename().string().size(), 40u);
  EXPECT_EQ(fs::read_symlink(*snapshot / "model.safetensors").filename().string().size(), 64u);
  EXPECT_TRUE(fs::exists(options_.cache / "CACHEDIR.TAG"));
  for (const auto& blob : fs::directory_iterator(repo / "blobs")) EXPECT_FALSE(blob.path().string().ends_with(".incomplete"));
  EXPECT_EQ(done_, 300'000u + 23 + 18);

  const auto models = list_cached(options_);
  ASSERT_EQ(models->size(), 1u);
  EXPECT_EQ((*models)[0].repo, "ok/model");
  EXPECT_EQ((*models)[0].revision, "main");
  EXPECT_EQ((*models)[0].files, 3);
  EXPECT_EQ((*models)[0].bytes, 300'041u);
  EXPECT_EQ(*resolve_model("ok/model", options_), *snapshot);
  EXPECT_EQ(*resolve_model(std::string("ok/model@") + kCommit, options_), *snapshot);
  EXPECT_EQ(resolve_model("ok/model@dev", options_).error().code, ErrorCode::kNotFound);

  // Again: nothing is downloaded that is there.
  const size_t before = server_log().size();
  ASSERT_TRUE(pull_it("ok/model"));
  const auto log = server_log();
  for (size_t i = before; i < log.size(); ++i) EXPECT_FALSE(log[i]["path"].get<std::string>().starts_with("/cdn/"));
  ASSERT_TRUE(pull_it("ok/model@refs/pr/3"));
  EXPECT_EQ(*read_file(repo / "refs/refs/pr/3"), kCommit);
}

TEST_F(HubTest, GoesOnWhereItBrokeOff) {
  options_.token = "secret";
  const size_t before = server_log().size();
  const auto snapshot = pull_it("ok/drop");
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  expect_whole(*snapshot);
  std::vector<std::string> ranges;
  const auto log = server_log();
  for (size_t i = before; i < log.size(); ++i) {
    if (log[i]["path"].get<std::string>().starts_with("/cdn/drop") && log[i]["method"] == "GET") ranges.push_back(log[i]["range"].is_string() ? log[i]["range"].get<std::string>() : "");
  }
  ASSERT_EQ(ranges.size(), 3u);
  EXPECT_EQ(ranges[0], "");
  EXPECT_EQ(ranges[1], "bytes=100000-");
  EXPECT_EQ(ranges[2], "bytes=200000-");
}

TEST_F(HubTest, StartsAnewWhereRangesAreNotServed) {
  const auto snapshot = pull_it("ok/norange");
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  expect_whole(*snapshot);
}

TEST_F(HubTest, TriesAgainWhenTheServerIsBusy) {
  const auto snapshot = pull_it("ok/flaky");
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  expect_whole(*snapshot);
}

TEST_F(HubTest, FollowsARenamedRepository) {
  const auto snapshot = pull_it("ok/moved");
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  expect_whole(*snapshot);
}

TEST_F(HubTest, TheTokenGoesToTheHubOnly) {
  options_.token = "secret";
  const size_t before = server_log().size();
  ASSERT_TRUE(pull_it("ok/elsewhere"));
  const auto log = server_log();
  int here = 0, there = 0;
  for (size_t i = before; i < log.size(); ++i) {
    if (log[i]["port"] == Hub::instance().port()) {
      ++here;
      EXPECT_EQ(log[i]["token"], "Bearer secret");
    } else {
      ++there;
      EXPECT_TRUE(log[i]["token"].is_null());
    }
  }
  EXPECT_GT(here, 3);
  EXPECT_EQ(there, 1);
}

TEST_F(HubTest, PrivateAndGatedSayWhatToDo) {
  auto refused = pull_it("ok/private");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_NE(refused.error().message.find("HF_TOKEN"), std::string::npos);
  options_.token = "wrong-one";
  refused = pull_it("ok/private");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message.find("wrong-one"), std::string::npos) << "the token is in a message";
  options_.token = "secret";
  EXPECT_TRUE(pull_it("ok/private"));
  EXPECT_NE(pull_it("ok/gated").error().message.find("accept its terms"), std::string::npos);
}

TEST_F(HubTest, ContentThatIsNotItsHashIsRefusedAndNotKept) {
  const auto refused = pull_it("ok/wrong");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(refused.error().message.find("model.safetensors"), std::string::npos);
  for (const auto& blob : fs::directory_iterator(options_.cache / "models--ok--wrong/blobs")) {
    EXPECT_NE(blob.path().filename().string().substr(0, 64).size(), 64u) << blob.path();
  }
  EXPECT_FALSE(fs::exists(options_.cache / "models--ok--wrong/refs/main"));
  EXPECT_EQ(pull_it("ok/longer").error().code, ErrorCode::kCorrupt);
}

TEST_F(HubTest, NamesFromOutsideDoNotLeaveTheCache) {
  const auto refused = pull_it("ok/evil");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt);
  for (const char* bad : {"", "x", "a/b/c", "../b", "a/..", "/a/b", "a/b@", "a/b@../c", "a b/c", "a--b/c", "a/b@x\ny", "-a/b"}) {
    EXPECT_FALSE(parse_repo(bad)) << bad;
    EXPECT_EQ(pull_it(bad).error().code, ErrorCode::kInvalid) << bad;
  }
  // A ref that was tampered with is no path.
  fs::create_directories(options_.cache / "models--a--b/refs");
  ASSERT_TRUE(write_file(options_.cache / "models--a--b/refs/main", "../../../../etc"));
  EXPECT_EQ(resolve_model("a/b", options_).error().code, ErrorCode::kNotFound);
}

TEST_F(HubTest, WhatIsNotThereIsNamed) {
  EXPECT_EQ(pull_it("no/such").error().code, ErrorCode::kNotFound);
  EXPECT_NE(pull_it("ok/model@v9").error().message.find("no such revision"), std::string::npos);
  options_.offline = true;
  EXPECT_NE(pull_it("ok/model").error().message.find("HF_HUB_OFFLINE"), std::string::npos);
  options_.offline = false;
  options_.tries = 2;
  options_.endpoint = "http://127.0.0.1:1";
  EXPECT_EQ(pull_it("ok/model").error().code, ErrorCode::kUnavailable);
}

TEST_F(HubTest, CanBeInterruptedAndGoesOnLater) {
  std::atomic<bool> cancel{false};
  const auto stopped = pull("ok/model", options_, [&](const PullProgress& p) {
    if (p.bytes_done > 50'000) cancel.store(true);
  }, &cancel);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled);
  EXPECT_FALSE(fs::exists(options_.cache / "models--ok--model/refs/main"));
  const auto snapshot = pull_it("ok/model");
  ASSERT_TRUE(snapshot);
  expect_whole(*snapshot);
}

TEST_F(HubTest, OptionsComeFromTheEnvironment) {
  const std::map<std::string, std::string> set{{"HF_HOME", "/x/hf"}, {"HF_ENDPOINT", "http://h:1/"}, {"HF_TOKEN", " t\n"}, {"HF_HUB_OFFLINE", "yes"}};
  for (const auto& [name, value] : set) ::setenv(name.c_str(), value.c_str(), 1);
  ::unsetenv("HF_HUB_CACHE");
  auto o = HubOptions::from_environment();
  EXPECT_EQ(o.cache, "/x/hf/hub");
  EXPECT_EQ(o.endpoint, "http://h:1");
  EXPECT_EQ(o.token, " t");
  EXPECT_TRUE(o.offline);
  ::setenv("HF_HUB_CACHE", "/y", 1);
  EXPECT_EQ(HubOptions::from_environment().cache, "/y");
  for (const auto& [name, value] : set) ::unsetenv(name.c_str());
  ::unsetenv("HF_HUB_CACHE");
  o = HubOptions::from_environment();
  EXPECT_EQ(o.endpoint, "https://huggingface.co");
  EXPECT_FALSE(o.offline);
}

TEST_F(HubTest, AFolderAFileOrAName) {
  const fs::path folder = options_.cache / "some";
  fs::create_directories(folder);
  EXPECT_EQ(resolve_model(folder.string(), options_).error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(write_file(folder / "a.gguf", "x"));
  EXPECT_EQ(*resolve_model(folder.string(), options_), folder / "a.gguf");
  EXPECT_EQ(*resolve_model((folder / "a.gguf").string(), options_), folder / "a.gguf");
  ASSERT_TRUE(write_file(folder / "b.gguf", "x"));
  EXPECT_EQ(resolve_model(folder.string(), options_).error().code, ErrorCode::kInvalid);
  ASSERT_TRUE(write_file(folder / "config.json", "{}"));
  EXPECT_EQ(*resolve_model(folder.string(), options_), folder);
  EXPECT_EQ(resolve_model("", options_).error().code, ErrorCode::kNotFound);
  EXPECT_NE(resolve_model("", options_).error().message.find("quickstart"), std::string::npos);
}

}  // namespace
}  // namespace colony::net
