#include "net/hub.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>  // and evp.h
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/digest.h"
#include "net/http_client.h"

namespace colony::net {
namespace {

namespace fs = std::filesystem;
constexpr char kCommit[] = "0123456789abcdef0123456789abcdef01234567";
// Of the server's model.safetensors.
constexpr char kLargeHash[] = "6edf90530215a4eb6e9e91e32d961c38e962bb2e4226dd4d1370b0e20822fdb0";

// A certificate of our own for 127.0.0.1, with its key, as PEM; valid for an hour.
std::string make_certificate() {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const std::unique_ptr<X509, decltype(&X509_free)> cert(X509_new(), X509_free);
  X509_set_version(cert.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), 3600);
  X509_set_pubkey(cert.get(), key.get());
  X509_NAME* const name = X509_get_subject_name(cert.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
  X509_set_issuer_name(cert.get(), name);
  X509_EXTENSION* const where =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1");
  X509_add_ext(cert.get(), where, -1);
  X509_EXTENSION_free(where);
  X509_sign(cert.get(), key.get(), EVP_sha256());
  const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), BIO_free);
  PEM_write_bio_PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  PEM_write_bio_X509(out.get(), cert.get());
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<size_t>(size)};
}

// hub_test_server.py, for the life of this process.
class Hub {
 public:
  static Hub& instance() {
    static Hub hub;
    return hub;
  }
  int port() const { return port_; }
  int port_tls() const { return port_tls_; }
  const fs::path& certificate() const { return certificate_; }

 private:
  Hub() : certificate_(fs::temp_directory_path() / fmt::format("colony-hub-{}.pem", ::getpid())) {
    int in[2], out[2];
    if (!write_file(certificate_, make_certificate()) || ::pipe2(in, O_CLOEXEC) != 0 ||
        ::pipe2(out, O_CLOEXEC) != 0)
      return;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(in[0], STDIN_FILENO);
      ::dup2(out[1], STDOUT_FILENO);
      ::execlp("python3", "python3", "src/net/hub_test_server.py", certificate_.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    to_ = in[1];
    std::FILE* from = ::fdopen(out[0], "r");
    int other = 0;
    if (std::fscanf(from, "%d %d %d", &port_, &other, &port_tls_) != 3) port_ = 0;
    std::fclose(from);
  }
  ~Hub() {
    ::close(to_);
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
    std::error_code ignored;
    fs::remove(certificate_, ignored);
  }
  const fs::path certificate_;
  pid_t pid_ = 0;
  int to_ = -1, port_ = 0, port_tls_ = 0;
};

class HubTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(Hub::instance().port(), 0) << "the test hub does not start (python3?)";
    static int count = 0;
    options_.cache =
        fs::temp_directory_path() / fmt::format("colony-hub-{}-{}", ::getpid(), count++);
    options_.endpoint = fmt::format("http://127.0.0.1:{}", Hub::instance().port());
    options_.metadata_seconds = 5;
    options_.stall_seconds = 5;
  }
  void TearDown() override { fs::remove_all(options_.cache); }

  Result<fs::path> pull_it(const std::string& repo) {
    return pull(
        repo, options_, choice_,
        [&](const PullProgress& p) {
          EXPECT_LE(p.bytes_done, p.bytes_total);
          done_ = p.bytes_done;
          last_ = p;
        },
        nullptr);
  }
  std::vector<Json> server_log() {
    std::string text;
    HttpClient client({}, nullptr);
    const std::string url = fmt::format("http://127.0.0.1:{}/log", Hub::instance().port());
    EXPECT_TRUE(client.request({.url = url}, [&](const HttpResponse&, std::string_view part) {
      text += part;
      return true;
    }));
    std::vector<Json> out;
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      if (const auto line = parse_json(std::string_view(text).substr(at, end - at));
          line && line->is_object())
        out.push_back(*line);
      at = end + 1;
    }
    return out;
  }
  // The Range headers of the requests for content of ok/<fault> so far, "" = none.
  std::vector<std::string> ranges_of(const std::string& fault) {
    std::vector<std::string> out;
    for (const auto& line : server_log()) {
      if (line["method"] != "GET" ||
          !line["path"].get<std::string>().starts_with("/cdn/" + fault + "/"))
        continue;
      out.push_back(line["range"].is_string() ? line["range"].get<std::string>() : "");
    }
    return out;
  }
  fs::path incomplete(const std::string& fault) const {
    return options_.cache / ("models--ok--" + fault) / "blobs" /
           (kLargeHash + std::string(".incomplete"));
  }
  static void expect_whole(const fs::path& snapshot) {
    EXPECT_EQ(sha256_hex(*read_file(snapshot / "model.safetensors")), kLargeHash);
    EXPECT_EQ(*read_file(snapshot / "config.json"), R"({"model_type": "llama"})");
  }

  HubOptions options_;
  PullChoice choice_;
  uint64_t done_ = 0;
  PullProgress last_;
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
  for (const auto& blob : fs::directory_iterator(repo / "blobs"))
    EXPECT_FALSE(blob.path().string().ends_with(".incomplete"));
  EXPECT_EQ(done_, 300'000u + 23 + 18);
  EXPECT_EQ(last_.files, 3);
  EXPECT_EQ(last_.files_skipped, 2);

  const auto models = list_cached(options_);
  ASSERT_EQ(models->size(), 1u);
  EXPECT_EQ((*models)[0].repo, "ok/model");
  EXPECT_EQ((*models)[0].revision, "main");
  EXPECT_EQ((*models)[0].files, 3);
  EXPECT_EQ((*models)[0].bytes, 300'041u);
  EXPECT_EQ(*resolve_model("ok/model", options_), *snapshot);
  EXPECT_EQ(*resolve_model(std::string("ok/model@") + kCommit, options_), *snapshot);
  EXPECT_EQ(resolve_model("ok/model@dev", options_).error().code, ErrorCode::kNotFound);

  EXPECT_EQ(fs::status(repo / "blobs" / kLargeHash).permissions() & fs::perms::others_read,
            fs::perms::others_read);

  // Again: nothing is downloaded that is there.
  const size_t before = server_log().size();
  ASSERT_TRUE(pull_it("ok/model"));
  const auto log = server_log();
  for (size_t i = before; i < log.size(); ++i)
    EXPECT_FALSE(log[i]["path"].get<std::string>().starts_with("/cdn/"));
  ASSERT_TRUE(pull_it("ok/model@refs/pr/3"));
  EXPECT_EQ(*read_file(repo / "refs/refs/pr/3"), kCommit);
}

TEST_F(HubTest, GoesOnWhereItBrokeOff) {
  const auto snapshot = pull_it("ok/drop");
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  expect_whole(*snapshot);
  const auto ranges = ranges_of("drop");
  ASSERT_EQ(ranges.size(), 3u);
  EXPECT_EQ(ranges[0], "");
  EXPECT_EQ(ranges[1], "bytes=100000-");
  EXPECT_EQ(ranges[2], "bytes=200000-");
}

TEST_F(HubTest, StartsAnewWhereRangesAreNotServed) {
  for (const char* fault : {"norange", "norangedrop"}) {
    const auto snapshot = pull_it(fmt::format("ok/{}", fault));
    ASSERT_TRUE(snapshot) << snapshot.error().message;
    expect_whole(*snapshot);
  }
  // The whole file in answer to a range is taken as it comes, not asked for once more.
  EXPECT_EQ(ranges_of("norange"), (std::vector<std::string>{"", "bytes=100000-"}));
  EXPECT_EQ(ranges_of("norangedrop"),
            (std::vector<std::string>{"", "bytes=100000-", "bytes=50000-"}));
}

TEST_F(HubTest, NothingButContentGetsIntoTheFile) {
  auto snapshot = pull_it("ok/halferror");  // a page of an error, broken off
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  expect_whole(*snapshot);
  EXPECT_EQ(ranges_of("halferror"),
            (std::vector<std::string>{"", "bytes=100000-", "bytes=100000-"}));
  snapshot = pull_it("ok/badrange");  // another part than the one asked for
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  expect_whole(*snapshot);
  EXPECT_EQ(ranges_of("badrange"), (std::vector<std::string>{"", "bytes=100000-", ""}));
}

TEST_F(HubTest, AChangedFileIsNotJoinedToItsOldPart) {
  const auto snapshot = pull_it("ok/newetag");
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  const auto blob = fs::read_symlink(*snapshot / "model.safetensors").filename().string();
  EXPECT_NE(blob, kLargeHash);
  EXPECT_EQ(sha256_hex(*read_file(*snapshot / "model.safetensors")), blob);
  EXPECT_EQ(ranges_of("newetag"), (std::vector<std::string>{"", ""}));
  EXPECT_FALSE(fs::exists(incomplete("newetag")));
}

TEST_F(HubTest, WhatCannotBeCheckedIsNotResumed) {
  const auto snapshot = pull_it("ok/nohash");
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  expect_whole(*snapshot);
  EXPECT_EQ(fs::read_symlink(*snapshot / "model.safetensors").filename(), "abc-2");
  EXPECT_EQ(ranges_of("nohash"), (std::vector<std::string>{"", ""}));
}

TEST_F(HubTest, AWrongPartOfAnEarlierPullIsFetchedOnceMore) {
  fs::create_directories(incomplete("model").parent_path());
  const size_t before = ranges_of("model").size();
  for (const size_t size : {1'000u, 300'000u, 400'000u}) {
    ASSERT_TRUE(write_file(incomplete("model"), std::string(size, 'x')));
    const auto snapshot = pull_it("ok/model");
    ASSERT_TRUE(snapshot) << snapshot.error().message;
    expect_whole(*snapshot);
    fs::remove(options_.cache / "models--ok--model/blobs" / kLargeHash);
  }
  auto ranges = ranges_of("model");
  ranges.erase(ranges.begin(), ranges.begin() + static_cast<std::ptrdiff_t>(before));
  EXPECT_EQ(ranges, (std::vector<std::string>{"bytes=1000-", "", "", ""}));
}

TEST_F(HubTest, AStandstillIsEndedAndResumed) {
  options_.stall_seconds = 1;
  const SystemClock clock;
  const double start = clock.seconds();
  const auto snapshot = pull_it("ok/stall");
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  expect_whole(*snapshot);
  EXPECT_LT(clock.seconds() - start, 5);
  EXPECT_EQ(ranges_of("stall"), (std::vector<std::string>{"", "bytes=100000-"}));
}

TEST_F(HubTest, AnAddressThatRanOutIsAskedForAgain) {
  const auto snapshot = pull_it("ok/expired");
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  expect_whole(*snapshot);
}

TEST_F(HubTest, AFullDiskSaysSoAndKeepsWhatIsThere) {
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{.rlim_cur = 150'000, .rlim_max = old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const size_t before = ranges_of("model").size();
  const auto full = pull_it("ok/model");
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  ::signal(SIGXFSZ, handler);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::kExhausted);
  EXPECT_NE(full.error().message.find("no room"), std::string::npos) << full.error().message;
  EXPECT_EQ(ranges_of("model").size(), before + 1) << "tried again on a full disk";
  EXPECT_EQ(fs::file_size(incomplete("model")), 150'000u);
  EXPECT_FALSE(fs::exists(options_.cache / "models--ok--model/refs/main"));
  const auto snapshot = pull_it("ok/model");
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  expect_whole(*snapshot);
  EXPECT_EQ(ranges_of("model").back(), "bytes=150000-");
}

TEST_F(HubTest, ProcessesAtOnceFetchABlobOnce) {
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(pull("ok/slow", options_, {}, nullptr, nullptr) ? 0 : 1);
    children.push_back(pid);
  }
  for (const pid_t pid : children) {
    int status = -1;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  EXPECT_EQ(ranges_of("slow").size(), 1u);
  expect_whole(*resolve_model("ok/slow", options_));
}

TEST_F(HubTest, WaitingForALockCanBeInterrupted) {
  const fs::path locks = options_.cache / ".locks/models--ok--model";
  fs::create_directories(locks);
  const int fd = ::open((locks / (std::string(kLargeHash) + ".lock")).c_str(),
                        O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  ASSERT_EQ(::flock(fd, LOCK_EX), 0);
  std::atomic<bool> cancel{false};
  // The file before it in the list is done: the next one is the locked one.
  const auto stopped = pull(
      "ok/model", options_, {}, [&](const PullProgress& p) { cancel = p.bytes_done == 23; }, &cancel);
  ::close(fd);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled);
}

// The paths below a snapshot, ascending.
std::vector<std::string> paths_in(const fs::path& snapshot) {
  std::vector<std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(snapshot)) {
    if (!entry.is_directory()) out.push_back(entry.path().lexically_relative(snapshot).string());
  }
  std::sort(out.begin(), out.end());
  return out;
}
using Paths = std::vector<std::string>;

TEST_F(HubTest, OneQuantisationOfSeveral) {
  const auto by_default = pull_it("ok/quants");
  ASSERT_TRUE(by_default) << by_default.error().message;
  EXPECT_EQ(paths_in(*by_default), (Paths{"README.md", "config.json", "m-Q4_K_M.gguf"}));
  EXPECT_EQ(last_.gguf, "m-Q4_K_M.gguf");
  EXPECT_EQ(last_.gguf_models, 6);  // without the projector
  EXPECT_EQ(*resolve_model("ok/quants", options_), *by_default / "m-Q4_K_M.gguf");
  EXPECT_EQ(resolve_model("ok/quants:Q8_0", options_).error().code, ErrorCode::kNotFound);
  for (const auto& [name, file] : std::map<std::string, std::string>{{"ok/quants:q8_0", "m-Q8_0.gguf"}, {"ok/quants:Q4_K", "m-Q4_K.gguf"},
                                                                     {"ok/quants:IQ4_K_M@main", "m-IQ4_K_M.gguf"}, {"ok/quants@main:m-F16.gguf", "m-F16.gguf"}}) {
    const auto snapshot = pull_it(name);
    ASSERT_TRUE(snapshot) << snapshot.error().message;
    EXPECT_EQ(*resolve_model(name, options_), *snapshot / file) << name;
    EXPECT_EQ(*resolve_model("ok/quants", options_), *snapshot / "m-Q4_K_M.gguf") << "the default stays";
  }
  const auto none = pull_it("ok/quants:Q6_K");
  EXPECT_EQ(none.error().code, ErrorCode::kNotFound);
  EXPECT_NE(none.error().message.find("m-Q2_K.gguf"), std::string::npos) << none.error().message;
  const auto next = pull_it("ok/noquant4");
  ASSERT_TRUE(next) << next.error().message;
  EXPECT_EQ(paths_in(*next), (Paths{"README.md", "m-Q8_0.gguf"}));
  // All parts of a split one, wherever they lie; the first part stands for it.
  const auto split = pull_it("ok/split:Q5_K_M");
  ASSERT_TRUE(split) << split.error().message;
  EXPECT_EQ(paths_in(*split), (Paths{"Q5_K_M/m-Q5_K_M-00001-of-00002.gguf", "Q5_K_M/m-Q5_K_M-00002-of-00002.gguf"}));
  EXPECT_EQ(*resolve_model("ok/split", options_), *split / "Q5_K_M/m-Q5_K_M-00001-of-00002.gguf");
  // A folder of safetensors needs no GGUF, unless one is named.
  const auto both = pull_it("ok/both");
  ASSERT_TRUE(both) << both.error().message;
  EXPECT_EQ(paths_in(*both), (Paths{"config.json", "model.safetensors"}));
  EXPECT_EQ(*resolve_model("ok/both", options_), *both);
  ASSERT_TRUE(pull_it("ok/both:Q8_0"));
  EXPECT_EQ(*resolve_model("ok/both:Q8_0", options_), *both / "m-Q8_0.gguf");
  for (const char* bad : {"ok/m:", "ok/m:a:b", "ok/m@a@b", "ok/m:../x", "ok/m:a b"}) EXPECT_FALSE(parse_repo(bad)) << bad;
}

TEST_F(HubTest, IncludeAndExcludeAsFnmatch) {
  choice_.include = {"*.json", "pytorch*"};
  choice_.exclude = {"onnx/"};
  const auto some = pull_it("ok/model");
  ASSERT_TRUE(some) << some.error().message;
  EXPECT_EQ(paths_in(*some), (Paths{"config.json", "pytorch_model.bin", "sub/tokenizer.json"}));
  choice_ = {.include = {}, .exclude = {"*.safetensors"}, .judge = nullptr};
  options_.cache += "-2";
  const auto light = pull_it("ok/model");
  ASSERT_TRUE(light) << light.error().message;
  EXPECT_EQ(paths_in(*light), (Paths{"config.json", "sub/tokenizer.json"}));
  choice_ = {.include = {"*.xyz"}, .exclude = {}, .judge = nullptr};
  EXPECT_EQ(pull_it("ok/model").error().code, ErrorCode::kNotFound);
}

TEST_F(HubTest, TheFamilyIsJudgedBeforeWeightsAreFetched) {
  std::string config, architecture;
  int asked = 0;
  choice_.judge = [&](const std::string& text, const std::string& gguf) -> Status {
    ++asked;
    config = text;
    architecture = gguf;
    return invalid("no such family");
  };
  const size_t before = server_log().size();
  EXPECT_NE(pull_it("ok/bert").error().message.find("no such family"), std::string::npos);
  EXPECT_EQ(config, R"({"model_type": "bert"})");
  const auto log = server_log();
  for (size_t i = before; i < log.size(); ++i) EXPECT_EQ(log[i]["path"].get<std::string>().find("model.safetensors"), std::string::npos) << "weights were asked for";
  EXPECT_FALSE(fs::exists(options_.cache / "models--ok--bert/refs/main"));
  EXPECT_FALSE(pull_it("ok/falcongguf"));
  EXPECT_EQ(architecture, "falcon");
  EXPECT_EQ(asked, 2);
  // Not asked about what needs no config.json here: adapters, GGUF files of no known architecture, a tokenizer alone.
  EXPECT_TRUE(pull_it("ok/adapter"));
  EXPECT_TRUE(pull_it("ok/quants"));
  choice_.include = {"tokenizer*"};
  EXPECT_TRUE(pull_it("ok/bert"));
  EXPECT_EQ(asked, 2);
  const auto adapter = resolve_adapter("ok/adapter", options_);
  ASSERT_TRUE(adapter) << adapter.error().message;
  EXPECT_TRUE(fs::exists(*adapter / "adapter_model.safetensors"));
  EXPECT_EQ(resolve_adapter("ok/quants", options_).error().code, ErrorCode::kNotFound);
  EXPECT_NE(resolve_adapter("ok/nothing", options_).error().message.find("colony pull ok/nothing"), std::string::npos);
  EXPECT_EQ(*resolve_adapter(options_.cache.string(), options_), options_.cache);
}

// A cache as a pull leaves it where symlink() fails: the files themselves in snapshots/, nothing in blobs/. This test
// moves them so; tests/e2e/hub_links_test.py takes symlink() away from the program.
TEST_F(HubTest, ACacheWithoutLinksIsUsedAsItIs) {
  const auto linked = pull_it("ok/same");
  ASSERT_TRUE(linked) << linked.error().message;
  for (const auto& path : paths_in(*linked)) {
    const fs::path file = *linked / path, blob = fs::canonical(file);
    fs::remove(file);
    fs::copy_file(blob, file);
  }
  fs::remove_all(options_.cache / "models--ok--same/blobs");
  const auto gets = [&] {
    int count = 0;
    for (const auto& line : server_log()) count += line["method"] == "GET" && line["path"].get<std::string>().find("/same/") != std::string::npos && line["path"].get<std::string>().find("/api/") == std::string::npos;
    return count;
  };
  const int before = gets();
  const auto again = pull_it("ok/same");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(gets(), before) << "what is there is not fetched again";
  EXPECT_EQ(paths_in(*again), (Paths{"config.json", "model.safetensors", "sub/config.json"}));
  EXPECT_EQ(list_cached(options_)->at(0).files, 3);
  // A file of another length is none of this commit's.
  ASSERT_TRUE(write_file(*again / "config.json", "{"));
  ASSERT_TRUE(pull_it("ok/same"));
  EXPECT_EQ(*read_file(*again / "config.json"), R"({"model_type": "llama"})");
}

TEST_F(HubTest, TriesAgainWhenTheServerIsBusy) {
  const auto snapshot = pull_it("ok/flaky");
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  expect_whole(*snapshot);
}

TEST_F(HubTest, FollowsRedirects) {
  for (const char* repo :
       {"ok/moved", "ok/api", "ok/plain"}) {  // renamed, list elsewhere, none at all
    const auto snapshot = pull_it(repo);
    ASSERT_TRUE(snapshot) << snapshot.error().message;
    expect_whole(*snapshot);
  }
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
  // Nor when the file list is elsewhere.
  ASSERT_TRUE(pull_it("ok/api"));
  for (const auto& line : server_log()) {
    EXPECT_TRUE(line["port"] == Hub::instance().port() || line["token"].is_null());
  }
  EXPECT_EQ(origin_of("HTTPS://Hub.co:443/a@b?c"), "https://hub.co:443");
  EXPECT_NE(origin_of("https://hub.co@evil.org/"), origin_of("https://hub.co/"));
  EXPECT_NE(origin_of("https://hub.co.evil.org/"), origin_of("https://hub.co/"));
  EXPECT_EQ(resolve_location("https://hub.co/a/b?c", "/d"), "https://hub.co/d");
  EXPECT_EQ(origin_of(resolve_location("https://hub.co/a", "//evil.org/d")), "https://evil.org");
}

TEST_F(HubTest, CertificatesAreChecked) {
  ASSERT_NE(Hub::instance().port_tls(), 0);
  options_.endpoint = fmt::format("https://127.0.0.1:{}", Hub::instance().port_tls());
  options_.tries = 1;
  const auto refused = pull_it("ok/model");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
  EXPECT_NE(refused.error().message.find("certificate"), std::string::npos)
      << refused.error().message;
  options_.ca_file = Hub::instance().certificate();
  const auto snapshot = pull_it("ok/model");
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  expect_whole(*snapshot);
  // The name counts too: this certificate is for 127.0.0.1.
  options_.endpoint = fmt::format("https://localhost:{}", Hub::instance().port_tls());
  EXPECT_EQ(pull_it("ok/model").error().code, ErrorCode::kInvalid);
  // No way from TLS to plain HTTP.
  options_.endpoint = fmt::format("https://127.0.0.1:{}", Hub::instance().port_tls());
  const auto down = pull_it("ok/downgrade");
  ASSERT_FALSE(down);
  EXPECT_EQ(down.error().code, ErrorCode::kInvalid);
  EXPECT_NE(down.error().message.find("https is wanted"), std::string::npos)
      << down.error().message;
  EXPECT_TRUE(ranges_of("downgrade").empty());
}

TEST_F(HubTest, PrivateAndGatedSayWhatToDo) {
  auto refused = pull_it("ok/private");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_NE(refused.error().message.find("HF_TOKEN"), std::string::npos);
  options_.token = "wrong-one";
  refused = pull_it("ok/private");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message.find("wrong-one"), std::string::npos)
      << "the token is in a message";
  options_.token = "secret";
  EXPECT_TRUE(pull_it("ok/private"));
  EXPECT_NE(pull_it("ok/gated").error().message.find("accept its terms"), std::string::npos);
}

TEST_F(HubTest, ContentThatIsNotItsHashIsRefusedAndNotKept) {
  const auto refused = pull_it("ok/wrong");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(refused.error().message.find("model.safetensors"), std::string::npos);
  EXPECT_EQ(ranges_of("wrong").size(), 1u);
  EXPECT_TRUE(fs::exists(options_.cache / "models--ok--wrong/blobs")) << "nothing was tried";
  EXPECT_FALSE(fs::exists(options_.cache / "models--ok--wrong/blobs" / kLargeHash));
  EXPECT_FALSE(fs::exists(incomplete("wrong")));
  EXPECT_FALSE(fs::exists(options_.cache / "models--ok--wrong/refs/main"));
  EXPECT_EQ(pull_it("ok/longer").error().code, ErrorCode::kCorrupt);
}

TEST_F(HubTest, NamesFromOutsideDoNotLeaveTheCache) {
  for (const char* repo : {"ok/evil", "ok/escape"}) {
    const auto refused = pull_it(repo);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(refused.error().message.find('\x1b'), std::string::npos);
  }
  for (const char* bad : {"", "x", "a/b/c", "../b", "a/..", "/a/b", "a/b@", "a/b@../c", "a b/c",
                          "a--b/c", "a/b@x\ny", "-a/b"}) {
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
  const auto pickle = pull_it("ok/pickle");
  ASSERT_FALSE(pickle);
  EXPECT_EQ(pickle.error().code, ErrorCode::kNotFound);
  EXPECT_NE(pickle.error().message.find("pytorch_model.bin"), std::string::npos);
  EXPECT_EQ(pull_it(std::string("ok/other@") + kCommit).error().code, ErrorCode::kCorrupt);
  EXPECT_NE(pull_it("ok/loop").error().message.find("redirects"), std::string::npos);
  options_.offline = true;
  EXPECT_NE(pull_it("ok/model").error().message.find("HF_HUB_OFFLINE"), std::string::npos);
  options_.offline = false;
  const auto fetched = pull_it("ok/model");
  ASSERT_TRUE(fetched) << fetched.error().message;
  options_.offline = true;  // what is in the cache is enough
  const auto there = pull_it("ok/model");
  ASSERT_TRUE(there) << there.error().message;
  EXPECT_EQ(*there, *fetched);
  EXPECT_EQ(pull_it("ok/model@v9").error().code, ErrorCode::kUnavailable);
  options_.offline = false;
  options_.tries = 2;
  options_.endpoint = "http://127.0.0.1:1";
  EXPECT_EQ(pull_it("ok/model").error().code, ErrorCode::kUnavailable);
}

TEST_F(HubTest, CanBeInterruptedAndGoesOnLater) {
  std::atomic<bool> cancel{false};
  const auto stopped = pull(
      "ok/model", options_, {},
      [&](const PullProgress& p) {
        if (p.bytes_done > 50'000) cancel.store(true);
      },
      &cancel);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled);
  EXPECT_FALSE(fs::exists(options_.cache / "models--ok--model/refs/main"));
  const auto snapshot = pull_it("ok/model");
  ASSERT_TRUE(snapshot);
  expect_whole(*snapshot);
}

TEST_F(HubTest, OptionsComeFromTheEnvironment) {
  const std::map<std::string, std::string> set{{"HF_HOME", "/x/hf"},
                                               {"HF_ENDPOINT", "http://h:1/"},
                                               {"HF_TOKEN", " t\n"},
                                               {"HF_HUB_OFFLINE", "yes"}};
  for (const auto& [name, value] : set) ::setenv(name.c_str(), value.c_str(), 1);
  ::unsetenv("HF_HUB_CACHE");
  auto o = HubOptions::from_environment();
  EXPECT_EQ(o.cache, "/x/hf/hub");
  EXPECT_EQ(o.endpoint, "http://h:1");
  EXPECT_EQ(o.token, "t");
  EXPECT_TRUE(o.offline);
  ::setenv("HF_HUB_CACHE", "/y", 1);
  EXPECT_EQ(HubOptions::from_environment().cache, "/y");
  ::setenv("HF_HUB_CACHE", "~/z", 1);
  EXPECT_EQ(HubOptions::from_environment().cache, fs::path(std::getenv("HOME")) / "z");
  ::setenv("HF_HUB_OFFLINE", "0", 1);
  ::setenv("TRANSFORMERS_OFFLINE", "1", 1);
  EXPECT_FALSE(HubOptions::from_environment().offline);
  ::unsetenv("HF_HUB_OFFLINE");
  EXPECT_TRUE(HubOptions::from_environment().offline);
  ::unsetenv("TRANSFORMERS_OFFLINE");
  ::setenv("REQUESTS_CA_BUNDLE", "/ca.pem", 1);
  EXPECT_EQ(HubOptions::from_environment().ca_file, "/ca.pem");
  ::unsetenv("REQUESTS_CA_BUNDLE");
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
  ASSERT_TRUE(write_file(folder / "config.json", "{}"));  // as many GGUF repositories have
  EXPECT_EQ(*resolve_model(folder.string(), options_), folder / "a.gguf");
  ASSERT_TRUE(write_file(folder / "b.gguf", "x"));
  EXPECT_EQ(resolve_model(folder.string(), options_).error().code, ErrorCode::kInvalid);
  ASSERT_TRUE(write_file(folder / "model.safetensors", "x"));
  EXPECT_EQ(*resolve_model(folder.string(), options_), folder);
  EXPECT_EQ(resolve_model("", options_).error().code, ErrorCode::kNotFound);
  EXPECT_NE(resolve_model("", options_).error().message.find("quickstart"), std::string::npos);
}

TEST_F(HubTest, TheListLeavesOutWhatIsBroken) {
  EXPECT_TRUE(list_cached(options_)->empty());  // no cache at all
  ASSERT_TRUE(pull_it("ok/model"));
  ASSERT_TRUE(pull_it("ok/model@refs/pr/3"));
  const fs::path repo = options_.cache / "models--ok--model";
  ASSERT_TRUE(write_file(repo / "snapshots/.DS_Store", "x"));
  ASSERT_TRUE(write_file(options_.cache / "models--no--folder", "x"));
  fs::create_directories(options_.cache / "datasets--a--b/snapshots/x");
  fs::remove(repo / "blobs" / kLargeHash);  // its link dangles now
  const auto models = list_cached(options_);
  ASSERT_EQ(models->size(), 1u);
  EXPECT_EQ((*models)[0].revision, "main");
  EXPECT_EQ((*models)[0].files, 2);
  EXPECT_EQ((*models)[0].bytes, 41u);
}

}  // namespace
}  // namespace colony::net
