#include <fcntl.h>
#include <fnmatch.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "base/byte_ledger.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "net/http_client.h"
#include "net/hub.h"

namespace colony::net {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kListMax = 64 << 20;  // bytes of the file list
constexpr size_t kFilesMax = 10'000;
constexpr int kRedirectsMax = 5;
constexpr double kPauseMax = 300;  // seconds; the hub counts requests in windows of five minutes

bool is_hex(const std::string& text, size_t size) {
  return text.size() == size && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

// Whether an etag is the content's SHA-256 or git's SHA-1 of it.
bool is_hash(const std::string& etag) { return is_hex(etag, 64) || is_hex(etag, 40); }

std::string plain_etag(std::string etag) {
  if (etag.starts_with("W/")) etag.erase(0, 2);
  std::erase(etag, '"');
  return etag;
}

std::string linked_etag(const HttpResponse& r) {
  return plain_etag(r.header(r.header("x-linked-etag").empty() ? "etag" : "x-linked-etag"));
}

bool is_redirect(const HttpResponse& r) {
  return r.status >= 300 && r.status < 400 && !r.header("location").empty();
}

bool worth_again(const HttpResponse& r) {
  return r.status == 429 || r.status == 408 || r.status >= 500;
}

// Seconds before the next try: what the server asks for (Retry-After, or t= of RateLimit), else
// doubling from a quarter to eight.
double pause_after(const HttpResponse& r, int attempt) {
  double asked = std::atof(r.header("retry-after").c_str());
  const std::string limit = r.header("ratelimit");
  if (const size_t t = limit.find("t="); asked <= 0 && r.status == 429 && t != std::string::npos) {
    asked = std::atof(limit.c_str() + t + 2);
  }
  return asked > 0 ? std::min(asked, kPauseMax) : std::min(8.0, 0.25 * (1 << std::min(attempt, 5)));
}

// The files this program reads, and the papers that belong to them.
bool wanted(const std::string& path) {
  for (const char* folder : {"onnx/", "openvino/", "original/", "."}) {
    if (path.starts_with(folder)) return false;
  }
  const std::string name = path.substr(path.rfind('/') + 1);
  if (name.starts_with("consolidated") && name.ends_with(".safetensors")) return false;
  for (const char* end : {".json", ".safetensors", ".gguf", ".jinja", ".model", ".txt", ".md"}) {
    if (name.ends_with(end)) return true;
  }
  return name.starts_with("tokenizer");
}

// As huggingface_hub's filter_repo_objects.
bool matches_any(const std::string& path, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return ::fnmatch((pattern.ends_with('/') ? pattern + "*" : pattern).c_str(), path.c_str(), FNM_NOESCAPE) == 0;
  });
}

bool is_weights(const std::string& path) {
  return path.ends_with(".safetensors") || path.ends_with(".gguf");
}
bool is_foreign_weights(const std::string& path) {
  for (const char* end : {".bin", ".h5", ".msgpack", ".pt", ".pth", ".ckpt", ".onnx"}) {
    if (path.ends_with(end)) return true;
  }
  return false;
}

// A path from outside that may stand below a folder of ours, and on a terminal.
bool is_safe(const std::string& path) {
  const auto bad = [](unsigned char c) { return c < 0x20 || c == 0x7f || c == '\\'; };
  if (path.empty() || path.size() > 1024 || path.front() == '/' || path.back() == '/' ||
      std::any_of(path.begin(), path.end(), bad)) {
    return false;
  }
  for (const auto& part : fs::path(path)) {
    if (part == ".." || part == "." || part.empty()) return false;
  }
  return true;
}

std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Whether Content-Range ("bytes 100-299/300") is the rest of a file of `size` from `first` on.
bool is_range(std::string_view text, uint64_t first, uint64_t size) {
  const size_t dash = text.find('-'), slash = text.find('/');
  if (!text.starts_with("bytes ") || dash == std::string_view::npos ||
      slash == std::string_view::npos) {
    return false;
  }
  const std::string_view all = text.substr(slash + 1);
  return number(text.substr(6, dash - 6)) == first && (all == "*" || number(all) == size);
}

std::string system_error() { return std::strerror(errno); }

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

// The content's own hash, as its etag promises.
Result<std::string> hash_of(const fs::path& file, bool sha256, uint64_t size,
                            const HttpClient& client) {
  Digest digest = sha256 ? static_cast<Digest>(Sha256()) : Sha1();
  if (!sha256) {  // git's blob
    digest.update(fmt::format("blob {}", size));
    digest.update(std::string_view("\0", 1));
  }
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> in(std::fopen(file.c_str(), "rb"),
                                                           std::fclose);
  if (!in) return unavailable("{}: {}", file.string(), system_error());
  std::vector<char> buffer(1 << 20);
  for (size_t got = 0; (got = std::fread(buffer.data(), 1, buffer.size(), in.get())) > 0;) {
    if (client.is_cancelled()) return cancelled("interrupted");
    digest.update({buffer.data(), got});
  }
  if (std::ferror(in.get()) != 0) return unavailable("{}: cannot be read", file.string());
  return digest.hex();
}

// A file as the hub describes it.
struct Remote {
  std::string path, etag;
  std::string url;      // where the content is
  bool direct = false;  // the hub serves it itself, so the answer's ETag is this one
  uint64_t size = 0;
};

// What became of one request for content.
struct Attempt {
  enum What { kWhole, kAgain, kChanged, kStop } what;
  Error error = {};            // of kAgain and kStop
  HttpResponse response = {};  // of kAgain: may ask for a pause
};

class Puller {
 public:
  Puller(RepoName name, const HubOptions& options, const PullChoice& choice,
         const std::function<void(const PullProgress&)>& progress, const std::atomic<bool>* cancel)
      : name_(std::move(name)),
        options_(options),
        choice_(choice),
        client_({.token = options.token,
                 .token_origin = origin_of(options.endpoint),
                 .https_only = origin_of(options.endpoint).starts_with("https://"),
                 .ca_file = options.ca_file,
                 .connect_seconds = options.metadata_seconds},
                cancel),
        progress_(progress),
        repo_(options.cache / name_.folder()) {}

  Result<fs::path> run() {
    ASSIGN_OR_RETURN(const auto paths, list());
    seen_.files = static_cast<int>(paths.size());
    for (const char* folder : {"blobs", "snapshots", "refs"})
      RETURN_IF_ERROR(make_folder(repo_ / folder));
    RETURN_IF_ERROR(ask_judge(paths));
    std::vector<Remote> files;
    for (const auto& path : paths) {
      ASSIGN_OR_RETURN(auto remote, metadata(path));
      seen_.bytes_total += remote.size;
      files.push_back(std::move(remote));
    }
    std::error_code ignored;
    if (const fs::path tag = options_.cache / "CACHEDIR.TAG"; !fs::exists(tag, ignored)) {
      (void)write_file(tag,  // a courtesy to backups
                       "Signature: 8a477f597d28d172789f06886806bc55\n"
                       "# This file is a cache directory tag created by huggingface_hub.\n");
    }
    for (auto& file : files) RETURN_IF_ERROR(fetch(file));
    const fs::path snapshot = repo_ / "snapshots" / commit_;
    RETURN_IF_ERROR(make_folder(snapshot));
    RETURN_IF_ERROR(link_all(files));
    if (name_.revision != commit_) {
      const fs::path ref = repo_ / "refs" / name_.revision;
      RETURN_IF_ERROR(make_folder(ref.parent_path()));
      RETURN_IF_ERROR(write_file(ref, commit_));
    }
    return snapshot;
  }

 private:
  // Whether the weights among `paths` can be of use, before they are fetched.
  Status ask_judge(const std::vector<std::string>& paths) {
    if (!choice_.judge) return {};
    const auto has = [&](const char* path) { return std::find(paths.begin(), paths.end(), path) != paths.end(); };
    const bool adapter = has("adapter_config.json");
    const bool safetensors = std::any_of(paths.begin(), paths.end(), [](const std::string& path) { return path.ends_with(".safetensors"); });
    const bool gguf = std::any_of(paths.begin(), paths.end(), [](const std::string& path) { return path.ends_with(".gguf"); });
    std::string config;
    if (safetensors && !adapter && has("config.json")) {
      ASSIGN_OR_RETURN(auto remote, metadata("config.json"));
      seen_.bytes_total = remote.size;
      RETURN_IF_ERROR(fetch(remote));
      ASSIGN_OR_RETURN(config, read_file(place_of(remote), 16 << 20));
      seen_.bytes_done = seen_.bytes_total = 0;
    }
    if (config.empty() && !(gguf && !gguf_architecture_.empty())) return {};
    return choice_.judge(config, gguf ? gguf_architecture_ : "");
  }

  std::string what() const { return name_.repo + "@" + name_.revision; }
  std::string what(const Remote& file) const { return what() + ": " + file.path; }

  void report() const {
    if (progress_) progress_(seen_);
  }

  static Status make_folder(const fs::path& folder) {
    std::error_code problem;
    fs::create_directories(folder, problem);
    if (problem) return unavailable("{}: {}", folder.string(), problem.message());
    return {};
  }

  // What the hub means by a status, in the user's words.
  Error status_error(const HttpResponse& r, const std::string& asked) const {
    const std::string code = r.header("x-error-code");
    const bool has_token = !options_.token.empty();
    if (r.status == 401 || r.status == 403) {
      if (code == "GatedRepo") {
        return unavailable("{}: the repository is gated; accept its terms on its page, then {}",
                           asked, has_token ? "use a token of that account" : "set HF_TOKEN");
      }
      return unavailable("{}: not allowed (HTTP {}); {}", asked, r.status,
                         has_token ? "the token has no access, or it does not exist"
                                   : "it does not exist, or is private: set HF_TOKEN");
    }
    if (r.status == 404) {
      const char* why = code == "RevisionNotFound" ? "the repository has no such revision"
                        : code == "RepoNotFound"   ? "no such repository"
                        : code == "EntryNotFound"  ? "no such file"
                                                   : "HTTP 404";
      return not_found("{}: not found ({})", asked, why);
    }
    if (r.status == 429)
      return unavailable("{}: too many requests (HTTP 429); try again later", asked);
    return unavailable("{}: HTTP {}", asked, r.status);
  }

  // A GET or HEAD, tried again while that may help. Relative redirects (a renamed repository) are
  // followed; absolute ones (where the content lies) if `follow_all`. Gives the answer and its URL.
  Result<std::pair<HttpResponse, std::string>> ask(const std::string& first, bool head,
                                                   bool follow_all, const std::string& asked,
                                                   std::string* body) {
    for (int attempt = 0;; ++attempt) {
      bool too_long = false;
      std::string url = first;
      Result<HttpResponse> r = unavailable("no answer");
      for (int hops = 0;; ++hops) {
        if (body != nullptr) body->clear();
        r = client_.request({.url = url, .head = head, .stall_seconds = options_.metadata_seconds},
                            [&](const HttpResponse&, std::string_view part) {
                              if (body == nullptr) return false;
                              too_long = body->size() + part.size() > kListMax;
                              if (!too_long) body->append(part);
                              return !too_long;
                            });
        if (!r || !is_redirect(*r)) break;
        const std::string location = r->header("location");
        const bool relative = location.starts_with('/') && !location.starts_with("//");
        if (!relative && !follow_all) break;
        if (hops == kRedirectsMax)
          return unavailable("{}: more than {} redirects", asked, kRedirectsMax);
        url = resolve_location(url, location);
      }
      if (too_long)
        return exhausted("{}: the answer is longer than {}", asked, format_bytes(kListMax));
      if (r && !worth_again(*r)) return std::pair(std::move(*r), url);
      if (!r && r.error().code != ErrorCode::kUnavailable) return std::move(r).error().in(asked);
      if (attempt + 1 >= options_.tries) {
        return r ? status_error(*r, asked) : std::move(r).error().in(asked);
      }
      if (!client_.pause(pause_after(r ? *r : HttpResponse(), attempt)))
        return cancelled("interrupted");
    }
  }

  // The paths to fetch; sets the commit.
  Result<std::vector<std::string>> list() {
    std::string body;
    const std::string url =
        fmt::format("{}/api/models/{}/revision/{}", options_.endpoint,
                    percent_encoded(name_.repo, "-_./"), percent_encoded(name_.revision, "-_."));
    ASSIGN_OR_RETURN(const auto answer, ask(url, false, true, what(), &body));
    if (answer.first.status != 200) return status_error(answer.first, what());
    auto json = parse_json(body);
    if (!json) return corrupt("{}: the hub's answer is no JSON: {}", what(), json.error().message);
    if (!json->is_object()) return corrupt("{}: the hub's answer is {}", what(), json_kind(*json));
    ASSIGN_OR_RETURN(const auto sha, get_string(*json, "sha", "the hub's answer"));
    if (!sha || !is_hex(*sha, 40)) return corrupt("{}: the hub's answer names no commit", what());
    if (is_hex(name_.revision, 40) && *sha != name_.revision) {
      return corrupt("{}: the hub answers with another commit, {}", what(), *sha);
    }
    commit_ = *sha;
    if (!json->contains("siblings") || !(*json)["siblings"].is_array()) {
      return corrupt("{}: the hub's answer lists no files", what());
    }
    if (json->contains("gguf") && (*json)["gguf"].is_object()) {
      const auto architecture = get_string((*json)["gguf"], "architecture", "the hub's answer");
      if (architecture && *architecture) gguf_architecture_ = **architecture;
    }
    std::vector<std::string> paths;
    bool weights = false;
    std::string foreign;
    for (const auto& sibling : (*json)["siblings"]) {
      if (!sibling.is_object()) return corrupt("{}: the hub's file list is broken", what());
      ASSIGN_OR_RETURN(const auto path, get_string(sibling, "rfilename", "the hub's file list"));
      if (!path || !is_safe(*path)) {
        return corrupt("{}: the hub lists a file named {}, which is refused", what(),
                       to_line(path.value_or("")));
      }
      if ((choice_.include.empty() ? wanted(*path) : matches_any(*path, choice_.include)) && !matches_any(*path, choice_.exclude)) {
        paths.push_back(*path);
        weights |= is_weights(*path);
      } else {
        ++seen_.files_skipped;
        if (is_foreign_weights(*path)) foreign = *path;
      }
      if (paths.size() > kFilesMax) return exhausted("{}: more than {} files", what(), kFilesMax);
    }
    if (!choice_.include.empty() || !choice_.exclude.empty()) {
      if (paths.empty()) return not_found("{}: no file in it that --include and --exclude leave", what());
    } else if (!weights && !foreign.empty()) {
      return not_found(
          "{}: no .safetensors and no .gguf file in it, and {} is a format not read here; "
          "look for a conversion (for some, the revision refs/pr/N)",
          what(), foreign);
    }
    if (paths.empty())
      return not_found("{}: no safetensors, GGUF, JSON or tokenizer file in it", what());
    std::sort(paths.begin(), paths.end());
    paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
    RETURN_IF_ERROR(choose_weights(paths));
    return paths;
  }

  // Of safetensors and several GGUF models, those that were asked for.
  Status choose_weights(std::vector<std::string>& paths) {
    const auto drop = [&](const std::function<bool(const std::string&)>& which) { seen_.files_skipped += static_cast<int>(std::erase_if(paths, which)); };
    const auto models = gguf_models(paths);
    if (name_.quant.empty()) {
      if (!choice_.include.empty() || models.empty()) return {};
      const bool folder = std::any_of(paths.begin(), paths.end(), [](const std::string& path) {
        return path.ends_with(".safetensors") && path.find('/') == std::string::npos && path != "adapter_model.safetensors";
      });
      if (folder) {
        drop([](const std::string& path) { return path.ends_with(".gguf"); });
        return {};
      }
    }
    const auto chosen = choose_gguf(models, name_.quant);
    if (!chosen) {
      std::string there;
      for (size_t i = 0; i < std::min<size_t>(models.size(), 40); ++i) there += (i == 0 ? "" : ", ") + models[i];
      return not_found("{}: no GGUF file for {} in it{}", what(), name_.quant, there.empty() ? "" : "; there are " + there);
    }
    drop([&](const std::string& path) { return path.ends_with(".gguf") ? !is_part_of_gguf(path, *chosen) : path.ends_with(".safetensors"); });
    if (models.size() > 1) seen_.gguf = *chosen;
    seen_.gguf_models = static_cast<int>(models.size());
    return {};
  }

  Result<Remote> metadata(const std::string& path) {
    const std::string asked = what() + ": " + path;
    const std::string url =
        fmt::format("{}/{}/resolve/{}/{}", options_.endpoint, percent_encoded(name_.repo, "-_./"),
                    commit_, percent_encoded(path, "-_./"));
    ASSIGN_OR_RETURN(const auto answer, ask(url, true, false, asked, nullptr));
    const HttpResponse& r = answer.first;
    if (r.status != 200 && !is_redirect(r)) return status_error(r, asked);
    if (r.header("x-repo-commit") != commit_) {
      return corrupt("{}: the server says commit '{}', expected {}", asked,
                     r.header("x-repo-commit"), commit_);
    }
    Remote remote;
    remote.path = path;
    remote.etag = linked_etag(r);
    const auto plain = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; };
    if (remote.etag.empty() || remote.etag.size() > 128 ||
        !std::all_of(remote.etag.begin(), remote.etag.end(), plain)) {
      return corrupt("{}: the server gives no usable ETag", asked);
    }
    const auto linked = number(r.header("x-linked-size"));
    const auto size = linked || is_redirect(r) ? linked : number(r.header("content-length"));
    if (!size) return corrupt("{}: the server gives no size", asked);
    remote.size = *size;
    remote.direct = !is_redirect(r);
    remote.url =
        remote.direct ? answer.second : resolve_location(answer.second, r.header("location"));
    return remote;
  }

  fs::path blob_of(const Remote& file) const { return repo_ / "blobs" / file.etag; }

  fs::path in_snapshot(const Remote& file) const { return repo_ / "snapshots" / commit_ / file.path; }

  // Where the content lies: its blob, or the snapshot where there are no links. A commit's file never changes, and it
  // came there whole.
  fs::path place_of(const Remote& file) const {
    std::error_code ignored;
    const fs::path at = in_snapshot(file);
    const bool own = fs::is_regular_file(fs::symlink_status(at, ignored)) && fs::file_size(at, ignored) == file.size;
    return own ? at : blob_of(file);
  }

  bool is_there(const Remote& file) const {
    std::error_code ignored;
    const fs::path at = place_of(file);
    return fs::exists(at, ignored) && fs::file_size(at, ignored) == file.size;
  }

  // The lock of a blob, waited for; without descriptor where locks do not work. Fails kCancelled.
  Result<Descriptor> lock(const Remote& file) {
    const fs::path folder = options_.cache / ".locks" / name_.folder();
    std::error_code ignored;
    fs::create_directories(folder, ignored);
    Descriptor fd(
        ::open((folder / (file.etag + ".lock")).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    bool said = false;
    while (fd.get() >= 0) {
      if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return Result<Descriptor>(std::move(fd));
      if (errno == EINTR) continue;
      if (errno != EWOULDBLOCK) break;
      if (!said) log_info("{}: waiting for another process that fetches it", what(file));
      said = true;
      if (!client_.pause(0.1)) return cancelled("interrupted");
    }
    return Descriptor(-1);
  }

  // `file` becomes what the hub has now, if that changed meanwhile.
  Status fetch(Remote& file) {
    seen_.file = file.path;
    const uint64_t before = seen_.bytes_done;
    for (int round = 0;; ++round) {
      if (!is_there(file)) {
        ASSIGN_OR_RETURN(const auto lock_file, lock(file));
        const bool held = lock_file.get() >= 0;
        if (!is_there(file)) {  // nobody fetched it while we waited
          const std::string mine = held ? "" : fmt::format(".{:08x}", ::getpid());
          const fs::path part = repo_ / "blobs" / (file.etag + mine + ".incomplete");
          const auto whole = fetch_locked(file, part);
          if (!held && !whole) {  // a part of this process alone: nobody would go on with it
            std::error_code ignored;
            fs::remove(part, ignored);
          }
          if (!whole) return whole.error();
          if (!*whole) {
            if (round + 1 >= options_.tries)
              return unavailable("{}: changes while it is fetched", what(file));
            ASSIGN_OR_RETURN(auto now, metadata(file.path));
            seen_.bytes_total += now.size - file.size;
            seen_.bytes_done = before;
            file = std::move(now);
            continue;
          }
        }
      }
      seen_.bytes_done = before + file.size;
      report();
      return {};
    }
  }

  // True: the blob is there. False: the hub has other content by now, and the part is gone.
  Result<bool> fetch_locked(Remote& file, const fs::path& part) {
    std::error_code ignored;
    // Size of the part; content that cannot be checked does not count.
    const auto kept = [&]() -> uint64_t {
      const auto size = fs::file_size(part, ignored);
      return ignored || !is_hash(file.etag) || size > file.size ? 0 : size;
    };
    const uint64_t before = seen_.bytes_done;
    uint64_t best = kept();
    bool inherited = best > 0;
    for (int attempt = 0;; ++attempt) {
      Attempt got = kept() == file.size && file.size > 0 ? Attempt{Attempt::kWhole}
                                                         : request_rest(file, part, kept(), before);
      if (got.what == Attempt::kWhole) {
        ASSIGN_OR_RETURN(const bool right, check(file, part, inherited));
        if (right) break;
        inherited = false;
        best = 0;
        continue;
      }
      if (got.what == Attempt::kStop) return std::move(got.error);
      if (got.what == Attempt::kChanged) {
        fs::remove(part, ignored);
        return false;
      }
      if (kept() > best) {  // every step forward gives new patience
        best = kept();
        attempt = 0;
      }
      if (attempt + 1 >= options_.tries) return std::move(got.error);
      if (!client_.pause(pause_after(got.response, attempt))) return cancelled("interrupted");
      // A signed address may have run out, and the file may be another by now.
      auto now = metadata(file.path);
      if (!now) continue;
      if (now->etag != file.etag || now->size != file.size) {
        fs::remove(part, ignored);
        return false;
      }
      file = std::move(*now);
    }
    fs::rename(part, blob_of(file), ignored);
    if (ignored) return unavailable("{}: {}", blob_of(file).string(), ignored.message());
    return true;
  }

  // Whether the part is what its etag promises. What is not goes away; false: it began in an
  // earlier pull, so it is worth another start. Fails kCorrupt.
  Result<bool> check(const Remote& file, const fs::path& part, bool inherited) {
    if (!is_hash(file.etag)) return true;
    ASSIGN_OR_RETURN(const auto hash, hash_of(part, is_hex(file.etag, 64), file.size, client_));
    if (hash == file.etag) return true;
    std::error_code ignored;
    fs::remove(part, ignored);
    if (inherited) return false;
    return corrupt("{}: the content's hash is {}…, expected {}…", what(file), hash.substr(0, 12),
                   file.etag.substr(0, 12));
  }

  // One request for what follows the first `have` bytes of the part, redirects followed.
  Attempt request_rest(const Remote& file, const fs::path& part, uint64_t have, uint64_t before) {
    int code = 0;  // errno of the disk
    const auto disk = [&]() -> Attempt {
      if (code == 0) code = errno;
      if (code == ENOSPC || code == EDQUOT || code == EFBIG) {
        return {
            Attempt::kStop,
            exhausted("{}: no room for it in {} ({}); what is there is kept, free some space and "
                      "pull again",
                      what(file), part.parent_path().string(), std::strerror(code))};
      }
      return {Attempt::kStop, unavailable("{}: {}", part.string(), std::strerror(code))};
    };
    const Descriptor fd(::open(part.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (fd.get() < 0) return disk();
    uint64_t at = have;
    const auto cut_to = [&](uint64_t size) {
      at = size;
      return ::ftruncate(fd.get(), static_cast<off_t>(size)) == 0 &&
             ::lseek(fd.get(), static_cast<off_t>(size), SEEK_SET) >= 0;
    };
    if (!cut_to(have)) return disk();
    std::string url = file.url;
    for (int hops = 0; hops <= kRedirectsMax; ++hops) {
      enum { kBefore, kWriting, kChanged, kOtherRange, kTooLong, kDisk } state = kBefore;
      const auto begin = [&](const HttpResponse& r) {
        const std::string etag = linked_etag(r);
        state = kWriting;
        if (file.direct && hops == 0 && !etag.empty() && etag != file.etag) {
          state = kChanged;
        } else if (r.status == 206 && !is_range(r.header("content-range"), have, file.size)) {
          state = kOtherRange;
        } else if (r.status == 200 && have > 0 && !cut_to(0)) {
          code = errno;
          state = kDisk;
        }
      };
      const auto take = [&](const HttpResponse& response, std::string_view bytes) {
        // No page of an error or a redirect.
        if (response.status != 200 && response.status != 206) return false;
        if (state == kBefore) begin(response);
        if (state == kWriting && at + bytes.size() > file.size) state = kTooLong;
        if (state != kWriting) return false;
        while (!bytes.empty()) {
          const ssize_t n = ::write(fd.get(), bytes.data(), bytes.size());
          if (n < 0 && errno == EINTR) continue;
          if (n <= 0) {
            code = n < 0 ? errno : EIO;
            state = kDisk;
            return false;
          }
          bytes.remove_prefix(static_cast<size_t>(n));
          at += static_cast<uint64_t>(n);
        }
        seen_.bytes_done = before + at;
        report();
        return true;
      };
      const auto r = client_.request(
          {.url = url, .from = have, .stall_seconds = options_.stall_seconds}, take);
      if (state == kDisk) return disk();
      if (state == kChanged) return {Attempt::kChanged};
      if (state == kOtherRange || (r && r->status == 416)) {
        if (!cut_to(0)) return disk();
        return {
            Attempt::kAgain,
            unavailable("{}: the server answers with another range than asked for", what(file))};
      }
      if (state == kTooLong) {
        if (!cut_to(0)) return disk();
        return {Attempt::kStop, corrupt("{}: the server sends more than the {} bytes it promised",
                                        what(file), file.size)};
      }
      if (!r) {
        const bool again = r.error().code == ErrorCode::kUnavailable;
        return {again ? Attempt::kAgain : Attempt::kStop, Error(r.error()).in(what(file))};
      }
      if (is_redirect(*r)) {
        url = resolve_location(url, r->header("location"));
        continue;
      }
      if (r->status != 200 && r->status != 206) {
        // A 403 from where the content lies is a signed address that ran out.
        const bool again = worth_again(*r) || (r->status == 403 && !file.direct);
        return {again ? Attempt::kAgain : Attempt::kStop, status_error(*r, what(file)), *r};
      }
      if (::fsync(fd.get()) != 0) return disk();
      if (at == file.size) return {Attempt::kWhole};
      return {Attempt::kAgain,
              unavailable("{}: ends after {} of {} bytes", what(file), at, file.size)};
    }
    return {Attempt::kStop, unavailable("{}: more than {} redirects", what(file), kRedirectsMax)};
  }

  // Puts the files into the snapshot: links to the blobs, or the blobs themselves where there are no links. A blob that
  // several files share is copied for all but the last.
  Status link_all(const std::vector<Remote>& files) {
    for (size_t i = 0; i < files.size(); ++i) {
      const Remote& file = files[i];
      const fs::path at = in_snapshot(file);
      if (place_of(file) == at) continue;
      RETURN_IF_ERROR(make_folder(at.parent_path()));
      fs::path target = "../..";
      for ([[maybe_unused]] const auto& part : fs::path(file.path).parent_path()) target /= "..";
      target /= fs::path("blobs") / file.etag;
      std::error_code problem;
      if (fs::is_symlink(at, problem) && fs::read_symlink(at, problem) == target) continue;
      const fs::path beside = at.string() + fmt::format(".{}.tmp", ::getpid());
      fs::remove(beside, problem);
      fs::create_symlink(target, beside, problem);
      if (problem) {  // as on FAT, exFAT and some network file systems
        if (!said_no_links_) log_info("{}: no symbolic links here ({}); the files themselves go into snapshots/", repo_.string(), problem.message());
        said_no_links_ = true;
        const bool shared = std::any_of(files.begin() + static_cast<std::ptrdiff_t>(i) + 1, files.end(), [&](const Remote& other) { return other.etag == file.etag; });
        problem.clear();
        if (shared) fs::copy_file(blob_of(file), beside, fs::copy_options::overwrite_existing, problem);
        else fs::rename(blob_of(file), beside, problem);
      }
      if (!problem) fs::rename(beside, at, problem);
      if (problem) return unavailable("{}: {}", at.string(), problem.message());
    }
    return {};
  }

  const RepoName name_;
  const HubOptions& options_;
  const PullChoice& choice_;
  HttpClient client_;
  const std::function<void(const PullProgress&)>& progress_;
  const fs::path repo_;
  std::string commit_, gguf_architecture_;
  bool said_no_links_ = false;
  PullProgress seen_;
};

}  // namespace

Result<fs::path> pull(const std::string& repo_at_revision, const HubOptions& options,
                      const PullChoice& choice,
                      const std::function<void(const PullProgress&)>& progress,
                      const std::atomic<bool>* cancel) {
  ASSIGN_OR_RETURN(auto name, parse_repo(repo_at_revision));
  if (options.offline) {
    if (const auto there = cached_snapshot(name, options)) return *there;
    return unavailable("{}: not in {}, and HF_HUB_OFFLINE is set, nothing is fetched", repo_at_revision, options.cache.string());
  }
  return Puller(std::move(name), options, choice, progress, cancel).run();
}

}  // namespace colony::net
