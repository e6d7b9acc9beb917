#include <curl/curl.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <thread>

#include "base/byte_ledger.h"
#include "base/file.h"
#include "base/json.h"
#include "net/hub.h"

namespace colony::net {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kListMax = 64 << 20;  // bytes of the file list
constexpr size_t kFilesMax = 10'000;
constexpr int kRedirectsMax = 5;

struct Response {
  long status = 0;
  std::map<std::string, std::string> headers;  // names in lower case; of the last response
  std::string header(const std::string& name) const {
    const auto at = headers.find(name);
    return at == headers.end() ? "" : at->second;
  }
};

struct Sink {
  std::function<bool(std::string_view)> take;  // false: stop
  std::function<bool()> go_on;                 // false: cancelled
  Response response;
  curl_off_t moved = 0;
};

size_t on_body(char* data, size_t size, size_t count, void* user) {
  auto& sink = *static_cast<Sink*>(user);
  return sink.take(std::string_view(data, size * count)) ? size * count : 0;
}
size_t on_header(char* data, size_t size, size_t count, void* user) {
  auto& sink = *static_cast<Sink*>(user);
  std::string_view line(data, size * count);
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
  if (line.starts_with("HTTP/")) sink.response.headers.clear();
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return size * count;
  std::string name(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::string_view value = line.substr(colon + 1);
  while (value.starts_with(' ')) value.remove_prefix(1);
  if (sink.response.headers.size() < 200) sink.response.headers[name] = std::string(value);
  return size * count;
}
int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Sink*>(user)->go_on() ? 0 : 1;
}

// scheme://host:port of a URL, lower case; "" when it has none.
std::string origin_of(const std::string& url) {
  const size_t scheme = url.find("://");
  if (scheme == std::string::npos) return "";
  std::string out = url.substr(0, url.find_first_of("/?#", scheme + 3));
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string quoted(const std::string& path, const char* keep) {
  std::string out;
  for (const unsigned char c : path) {
    if (std::isalnum(c) || std::strchr(keep, c) != nullptr) out += static_cast<char>(c);
    else out += fmt::format("%{:02X}", c);
  }
  return out;
}

class Client {
 public:
  Client(const HubOptions& options, const std::atomic<bool>* cancel) : options_(options), cancel_(cancel) {}

  bool cancelled_now() const { return cancel_ != nullptr && cancel_->load(); }

  // One request without following redirects. `from` > 0 asks for the rest from there on.
  Result<Response> request(const std::string& url, bool head, uint64_t from, const std::function<bool(std::string_view)>& take, int seconds) {
    const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
    if (!curl) return unavailable("libcurl does not start");
    Sink sink;
    sink.take = take;
    sink.go_on = [this] { return !cancelled_now(); };
    curl_slist* list = curl_slist_append(nullptr, "Accept-Encoding: identity");
    // The token goes to the endpoint and to nobody else.
    if (!options_.token.empty() && origin_of(url) == origin_of(options_.endpoint)) {
      list = curl_slist_append(list, ("Authorization: Bearer " + options_.token).c_str());
    }
    const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(list, curl_slist_free_all);
    CURL* c = curl.get();
    curl_easy_setopt(c, CURLOPT_URL, url.c_str());
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "colony/0.1");
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &sink);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, &sink);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, &sink);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, static_cast<long>(options_.metadata_seconds));
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, static_cast<long>(seconds));
    if (head) {
      curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
      curl_easy_setopt(c, CURLOPT_TIMEOUT, static_cast<long>(seconds));
    }
    if (from > 0) curl_easy_setopt(c, CURLOPT_RANGE, fmt::format("{}-", from).c_str());
    const CURLcode code = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &sink.response.status);
    if (cancelled_now()) return cancelled("interrupted");
    // A body refused by `take` is the caller's business.
    if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR)) {
      return unavailable("{}: {}", origin_of(url) + "/…", curl_easy_strerror(code));
    }
    return std::move(sink.response);
  }

  const HubOptions& options() const { return options_; }

 private:
  const HubOptions& options_;
  const std::atomic<bool>* cancel_;
};

// A URL out of a Location header, as seen from `base`.
std::string resolve_location(const std::string& base, const std::string& location) {
  if (location.starts_with("http://") || location.starts_with("https://")) return location;
  if (location.starts_with("//")) return base.substr(0, base.find(':') + 1) + location;
  if (location.starts_with('/')) return origin_of(base) + location;
  return base.substr(0, base.rfind('/') + 1) + location;
}

// What the hub means by a status, in the user's words. 0 of `code`: try again later.
Error status_error(const Response& r, const std::string& what, const HubOptions& options) {
  const std::string code = r.header("x-error-code");
  if (r.status == 401 || r.status == 403) {
    if (code == "GatedRepo") return unavailable("{}: the repository is gated; accept its terms on its page, then set HF_TOKEN", what);
    return unavailable("{}: not allowed (HTTP {}); {}", what, r.status,
                       options.token.empty() ? "it does not exist, or is private: set HF_TOKEN" : "the token has no access, or it does not exist");
  }
  if (r.status == 404) {
    return not_found("{}: not found ({})", what,
                     code == "RevisionNotFound" ? "the repository has no such revision" : code == "RepoNotFound" ? "no such repository" : code == "EntryNotFound" ? "no such file" : "HTTP 404");
  }
  return unavailable("{}: HTTP {}", what, r.status);
}

bool worth_again(const Response& r) { return r.status == 429 || r.status == 408 || r.status >= 500; }

// Sleeps in small pieces; false when cancelled.
bool pause_for(double seconds, const Client& client) {
  for (double slept = 0; slept < seconds; slept += 0.05) {
    if (client.cancelled_now()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return !client.cancelled_now();
}

double pause_after(const Response& r, int attempt) {
  const double asked = std::atof(r.header("retry-after").c_str());
  return asked > 0 ? std::min(asked, 60.0) : std::min(8.0, 0.25 * (1 << attempt));
}

// The files this program reads, and the papers that belong to them.
bool wanted(const std::string& path) {
  const auto ends = [&](const char* with) { return path.ends_with(with); };
  if (path.starts_with("onnx/") || path.starts_with("openvino/") || path.starts_with("original/") || path.starts_with(".")) return false;
  const std::string name = path.substr(path.rfind('/') + 1);
  if (name.starts_with("consolidated") && ends(".safetensors")) return false;
  return ends(".json") || ends(".safetensors") || ends(".gguf") || ends(".jinja") || ends(".model") || ends(".txt") || ends(".md") || name.starts_with("tokenizer");
}

// A path from outside that may stand below a folder of ours.
bool safe(const std::string& path) {
  if (path.empty() || path.size() > 1024 || path.front() == '/' || path.find('\\') != std::string::npos || path.find('\0') != std::string::npos) return false;
  for (const auto& part : fs::path(path)) {
    if (part == ".." || part == "." || part.empty()) return false;
  }
  return true;
}

bool is_hex(const std::string& text, size_t size) {
  return text.size() == size && std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string plain_etag(std::string etag) {
  if (etag.starts_with("W/")) etag.erase(0, 2);
  std::erase(etag, '"');
  return etag;
}

// The content's own hash, as its etag promises: SHA-256 (64 digits) or git's blob SHA-1 (40).
Result<std::string> hash_of(const fs::path& file, bool sha256, uint64_t size) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> ctx(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (!ctx || EVP_DigestInit_ex(ctx.get(), sha256 ? EVP_sha256() : EVP_sha1(), nullptr) != 1) return unavailable("OpenSSL gives no digest");
  if (!sha256) {
    const std::string prefix = fmt::format("blob {}", size);
    EVP_DigestUpdate(ctx.get(), prefix.c_str(), prefix.size() + 1);
  }
  std::FILE* in = std::fopen(file.c_str(), "rb");
  if (in == nullptr) return unavailable("{}: {}", file.string(), std::strerror(errno));
  std::vector<char> buffer(1 << 20);
  for (size_t got = 0; (got = std::fread(buffer.data(), 1, buffer.size(), in)) > 0;) EVP_DigestUpdate(ctx.get(), buffer.data(), got);
  const bool bad = std::ferror(in) != 0;
  std::fclose(in);
  if (bad) return unavailable("{}: cannot be read", file.string());
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  EVP_DigestFinal_ex(ctx.get(), digest, &length);
  std::string out;
  for (unsigned int i = 0; i < length; ++i) out += fmt::format("{:02x}", digest[i]);
  return out;
}

struct Remote {
  std::string path, etag, location, commit;
  uint64_t size = 0;
};

class Puller {
 public:
  Puller(RepoName name, const HubOptions& options, const std::function<void(const PullProgress&)>& progress, const std::atomic<bool>* cancel)
      : name_(std::move(name)), client_(options, cancel), progress_(progress), repo_(options.cache / name_.folder()) {}

  Result<fs::path> run() {
    ASSIGN_OR_RETURN(const auto paths, list());
    std::error_code problem;
    for (const char* folder : {"blobs", "snapshots", "refs"}) {
      fs::create_directories(repo_ / folder, problem);
      if (problem) return unavailable("{}: {}", (repo_ / folder).string(), problem.message());
    }
    const fs::path tag = client_.options().cache / "CACHEDIR.TAG";
    if (!fs::exists(tag, problem)) {
      (void)write_file(tag, "Signature: 8a477f597d28d172789f06886806bc55\n# This file is a cache directory tag created by huggingface_hub.\n");
    }
    std::vector<Remote> files;
    for (const auto& path : paths) {
      ASSIGN_OR_RETURN(auto remote, metadata(path));
      seen_.bytes_total += remote.size;
      files.push_back(std::move(remote));
    }
    for (const auto& file : files) RETURN_IF_ERROR(fetch(file));
    const fs::path snapshot = repo_ / "snapshots" / commit_;
    for (const auto& file : files) RETURN_IF_ERROR(link(snapshot, file));
    if (name_.revision != commit_) {
      const fs::path ref = repo_ / "refs" / name_.revision;
      fs::create_directories(ref.parent_path(), problem);
      RETURN_IF_ERROR(write_file(ref, commit_));
    }
    return snapshot;
  }

 private:
  std::string what() const { return name_.repo + "@" + name_.revision; }

  // A GET or HEAD with relative redirects followed, tried again while that may help.
  Result<std::pair<Response, std::string>> ask(std::string url, bool head, const std::string& what_for, std::string* body) {
    const std::string first = url;
    for (int attempt = 0;; ++attempt) {
      bool too_long = false;
      if (body != nullptr) body->clear();
      url = first;
      Result<Response> r = unavailable("no answer");
      for (int hops = 0; hops <= kRedirectsMax; ++hops) {
        r = client_.request(url, head, 0, [&](std::string_view part) {
          if (body == nullptr) return true;
          if (body->size() + part.size() > kListMax) {
            too_long = true;
            return false;
          }
          body->append(part);
          return true;
        }, client_.options().metadata_seconds);
        if (!r || r->status < 300 || r->status >= 400 || r->header("location").empty()) break;
        const std::string location = r->header("location");
        // A relative one is a renamed repository; an absolute one is where the content lies, and the
        // caller's business.
        if (!location.starts_with('/') || location.starts_with("//")) break;
        url = resolve_location(url, location);
        if (body != nullptr) body->clear();
      }
      if (too_long) return exhausted("{}: the answer is longer than {}", what_for, format_bytes(kListMax));
      if (r && !worth_again(*r)) return std::pair(std::move(*r), url);
      if (!r && r.error().code == ErrorCode::kCancelled) return std::move(r).error();
      if (attempt + 1 >= client_.options().tries) return r ? status_error(*r, what_for, client_.options()) : std::move(r).error().in(what_for);
      if (!pause_for(pause_after(r ? *r : Response(), attempt), client_)) return cancelled("interrupted");
    }
  }

  Result<std::vector<std::string>> list() {
    std::string body;
    ASSIGN_OR_RETURN(const auto answer, ask(fmt::format("{}/api/models/{}/revision/{}", client_.options().endpoint, quoted(name_.repo, "-_./"), quoted(name_.revision, "-_.")), false, what(), &body));
    if (answer.first.status != 200) return status_error(answer.first, what(), client_.options());
    auto json = parse_json(body);
    if (!json) return corrupt("{}: the hub's answer is no JSON: {}", what(), json.error().message);
    ASSIGN_OR_RETURN(const auto sha, get_string(*json, "sha", "the hub's answer"));
    if (!sha || !is_hex(*sha, 40)) return corrupt("{}: the hub's answer names no commit", what());
    commit_ = *sha;
    if (!json->contains("siblings") || !(*json)["siblings"].is_array()) return corrupt("{}: the hub's answer lists no files", what());
    std::vector<std::string> paths;
    for (const auto& sibling : (*json)["siblings"]) {
      if (!sibling.is_object()) return corrupt("{}: the hub's file list is broken", what());
      ASSIGN_OR_RETURN(const auto path, get_string(sibling, "rfilename", "the hub's file list"));
      if (!path || !safe(*path)) return corrupt("{}: the hub lists a file named {}, which is refused", what(), to_line(path.value_or("")));
      if (wanted(*path)) paths.push_back(*path);
      if (paths.size() > kFilesMax) return exhausted("{}: more than {} files", what(), kFilesMax);
    }
    if (paths.empty()) return not_found("{}: no safetensors, GGUF, JSON or tokenizer file in it", what());
    return paths;
  }

  Result<Remote> metadata(const std::string& path) {
    const std::string url = fmt::format("{}/{}/resolve/{}/{}", client_.options().endpoint, quoted(name_.repo, "-_./"), commit_, quoted(path, "-_./"));
    ASSIGN_OR_RETURN(const auto answer, ask(url, true, what() + ": " + path, nullptr));
    const Response& r = answer.first;
    const bool redirected = r.status >= 300 && r.status < 400 && !r.header("location").empty();
    if (r.status != 200 && !redirected) return status_error(r, what() + ": " + path, client_.options());
    Remote remote;
    remote.path = path;
    remote.commit = r.header("x-repo-commit");
    if (remote.commit != commit_) return corrupt("{}: {}: the server says commit '{}', expected {}", what(), path, remote.commit, commit_);
    remote.etag = plain_etag(r.header("x-linked-etag").empty() ? r.header("etag") : r.header("x-linked-etag"));
    if (remote.etag.empty() || remote.etag.size() > 128 || !std::all_of(remote.etag.begin(), remote.etag.end(), [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_'; })) {
      return corrupt("{}: {}: the server gives no usable ETag", what(), path);
    }
    const std::string size = !r.header("x-linked-size").empty() ? r.header("x-linked-size") : redirected ? "" : r.header("content-length");
    char* end = nullptr;
    remote.size = std::strtoull(size.c_str(), &end, 10);
    if (size.empty() || *end != '\0') return corrupt("{}: {}: the server gives no size", what(), path);
    remote.location = redirected ? resolve_location(answer.second, r.header("location")) : answer.second;
    return remote;
  }

  Status fetch(const Remote& file) {
    const fs::path blob = repo_ / "blobs" / file.etag, part = repo_ / "blobs" / (file.etag + ".incomplete");
    seen_.file = file.path;
    std::error_code ignored;
    const uint64_t before = seen_.bytes_done;
    if (fs::exists(blob, ignored) && fs::file_size(blob, ignored) == file.size) {
      seen_.bytes_done += file.size;
      progress_(seen_);
      return {};
    }
    // One process at a time fetches a blob; the other one then finds it there.
    const fs::path locks = client_.options().cache / ".locks" / name_.folder();
    fs::create_directories(locks, ignored);
    const int lock = ::open((locks / (file.etag + ".lock")).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    const std::unique_ptr<const int, void (*)(const int*)> unlock(&lock, [](const int* fd) { if (*fd >= 0) ::close(*fd); });
    while (lock >= 0 && ::flock(lock, LOCK_EX | LOCK_NB) != 0) {
      if (!pause_for(0.2, client_)) return cancelled("interrupted");
    }
    if (fs::exists(blob, ignored) && fs::file_size(blob, ignored) == file.size) {
      seen_.bytes_done += file.size;
      return {};
    }
    std::string location = file.location;
    for (int attempt = 0;; ++attempt) {
      Response last;
      auto moved = attempt_fetch(file, location, part, before, last);
      if (moved && *moved) break;
      if (!moved && (moved.error().code == ErrorCode::kCancelled || moved.error().code == ErrorCode::kCorrupt || moved.error().code == ErrorCode::kInvalid)) return std::move(moved).error();
      if (attempt + 1 >= client_.options().tries) return moved ? Error(status_error(last, what() + ": " + file.path, client_.options())) : std::move(moved).error();
      if (!pause_for(pause_after(last, attempt), client_)) return cancelled("interrupted");
      // A signed address may have run out.
      if (auto again = metadata(file.path); again && again->etag == file.etag) location = again->location;
    }
    // Content as promised? What is not goes away, so that the next pull starts anew.
    if (const bool sha256 = is_hex(file.etag, 64); sha256 || is_hex(file.etag, 40)) {
      ASSIGN_OR_RETURN(const auto hash, hash_of(part, sha256, file.size));
      if (hash != file.etag) {
        fs::remove(part, ignored);
        return corrupt("{}: {}: the content's hash is {}…, expected {}…", what(), file.path, hash.substr(0, 12), file.etag.substr(0, 12));
      }
    }
    fs::rename(part, blob, ignored);
    if (ignored) return unavailable("{}: {}", blob.string(), ignored.message());
    seen_.bytes_done = before + file.size;
    progress_(seen_);
    return {};
  }

  // One try, going on where `part` ends. True when the file is whole; false when the server's answer
  // (in `last`) makes another try worth it.
  Result<bool> attempt_fetch(const Remote& file, std::string url, const fs::path& part, uint64_t before, Response& last) {
    std::error_code ignored;
    uint64_t have = fs::exists(part, ignored) ? fs::file_size(part, ignored) : 0;
    if (have > file.size) have = 0;
    if (have == file.size && file.size > 0) return true;
    const int fd = ::open(part.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return unavailable("{}: {}", part.string(), std::strerror(errno));
    const std::unique_ptr<const int, void (*)(const int*)> closer(&fd, [](const int* f) { ::close(*f); });
    if (::ftruncate(fd, static_cast<off_t>(have)) != 0 || ::lseek(fd, 0, SEEK_END) < 0) return unavailable("{}: {}", part.string(), std::strerror(errno));
    std::optional<Error> disk;
    for (int hops = 0; hops <= kRedirectsMax; ++hops) {
      bool begun = false, refused = false;
      uint64_t at = have;
      Result<Response> r = client_.request(url, false, have, [&](std::string_view bytes) {
        (void)begun;
        if (at + bytes.size() > file.size) {
          refused = true;  // more than was promised
          return false;
        }
        for (size_t done = 0; done < bytes.size();) {
          const ssize_t n = ::write(fd, bytes.data() + done, bytes.size() - done);
          if (n < 0 && errno == EINTR) continue;
          if (n <= 0) {
            disk = unavailable("{}: {}", part.string(), std::strerror(errno));
            return false;
          }
          done += static_cast<size_t>(n);
        }
        at += bytes.size();
        seen_.bytes_done = before + at;
        progress_(seen_);
        return true;
      }, client_.options().stall_seconds);
      if (disk) return *disk;
      const auto forget = [&] { (void)!::ftruncate(fd, static_cast<off_t>(have)); ::lseek(fd, 0, SEEK_END); };
      if (!r) return std::move(r).error().in(what() + ": " + file.path);
      last = *r;
      if (r->status >= 300 && r->status < 400 && !r->header("location").empty()) {
        forget();  // the redirect's own body
        url = resolve_location(url, r->header("location"));
        continue;
      }
      if (have > 0 && r->status == 200) {  // no ranges here: from the start
        if (::ftruncate(fd, 0) != 0) return unavailable("{}: {}", part.string(), std::strerror(errno));
        return false;
      }
      if (r->status != 200 && r->status != 206) {
        forget();
        if (r->status == 416) {
          if (::ftruncate(fd, 0) != 0) return unavailable("{}: {}", part.string(), std::strerror(errno));
          return false;
        }
        if (worth_again(*r)) return false;
        return status_error(*r, what() + ": " + file.path, client_.options());
      }
      if (refused) {
        if (::ftruncate(fd, 0) != 0) return unavailable("{}: {}", part.string(), std::strerror(errno));
        return corrupt("{}: {}: the server sends more than the {} bytes it promised", what(), file.path, file.size);
      }
      if (::fsync(fd) != 0) return unavailable("{}: {}", part.string(), std::strerror(errno));
      return at == file.size;
    }
    return unavailable("{}: {}: more than {} redirects", what(), file.path, kRedirectsMax);
  }

  Status link(const fs::path& snapshot, const Remote& file) {
    const fs::path at = snapshot / file.path;
    std::error_code problem;
    fs::create_directories(at.parent_path(), problem);
    if (problem) return unavailable("{}: {}", at.parent_path().string(), problem.message());
    fs::path target = "../..";
    for (const auto& part : fs::path(file.path).parent_path()) target /= part.empty() ? "" : "..";
    target /= fs::path("blobs") / file.etag;
    if (fs::is_symlink(at, problem) && fs::read_symlink(at, problem) == target) return {};
    const fs::path beside = at.string() + fmt::format(".{}.tmp", ::getpid());
    fs::remove(beside, problem);
    fs::create_symlink(target, beside, problem);
    if (!problem) fs::rename(beside, at, problem);
    if (problem) return unavailable("{}: {}", at.string(), problem.message());
    return {};
  }

  const RepoName name_;
  Client client_;
  const std::function<void(const PullProgress&)>& progress_;
  const fs::path repo_;
  std::string commit_;
  PullProgress seen_;
};

}  // namespace

Result<fs::path> pull(const std::string& repo_at_revision, const HubOptions& options,
                      const std::function<void(const PullProgress&)>& progress, const std::atomic<bool>* cancel) {
  ASSIGN_OR_RETURN(auto name, parse_repo(repo_at_revision));
  if (options.offline) return unavailable("{}: HF_HUB_OFFLINE is set, nothing is fetched", repo_at_revision);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  return Puller(std::move(name), options, progress, cancel).run();
}

}  // namespace colony::net
