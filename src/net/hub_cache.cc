#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <tuple>

#include "base/file.h"
#include "net/hub.h"

namespace colony::net {
namespace fs = std::filesystem;
namespace {

const RepoName kStarter{"colony/SmolLM2-135M-Instruct-GGUF", "main"};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_on(const char* name) {
  std::string value = environment(name);
  std::transform(value.begin(), value.end(), value.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

int seconds(const char* name, int otherwise) {
  const int value = std::atoi(environment(name).c_str());
  return value > 0 ? value : otherwise;
}

bool is_commit(const std::string& text) {
  return text.size() == 40 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::string trimmed(std::string text) {
  std::erase(text, '\n');  // nowhere: a token goes into a header
  std::erase(text, '\r');
  while (text.ends_with(' ') || text.ends_with('\t')) text.pop_back();
  while (text.starts_with(' ') || text.starts_with('\t')) text.erase(0, 1);
  return text;
}

// The path in a variable.
fs::path path_variable(const char* name) {
  const std::string value = environment(name), home = environment("HOME");
  if (value.starts_with("~/") && !home.empty()) return fs::path(home) / value.substr(2);
  return value;
}

// What is in a folder, in ascending order; what cannot be read is left out.
template <typename Iterator>
std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code problem;
  Iterator at(folder, fs::directory_options::skip_permission_denied, problem);
  while (!problem && at != Iterator()) {
    out.push_back(at->path());
    at.increment(problem);
  }
  std::sort(out.begin(), out.end());
  return out;
}
std::vector<fs::path> in(const fs::path& folder) { return entries<fs::directory_iterator>(folder); }
std::vector<fs::path> below(const fs::path& folder) {
  return entries<fs::recursive_directory_iterator>(folder);
}

// A snapshot as what the loaders take: its folder, or its only .gguf file. Repositories of GGUF
// files often have a config.json beside them, so that alone does not make a folder.
Result<fs::path> model_in(const fs::path& folder) {
  std::error_code ignored;
  std::vector<std::string> gguf;
  for (const auto& path : in(folder)) {
    if (path.extension() == ".safetensors" && fs::exists(path, ignored)) return folder;
    if (path.extension() == ".gguf") gguf.push_back(path.string());
  }
  if (gguf.size() == 1) return fs::path(gguf[0]);
  if (gguf.size() > 1) {
    return invalid("{}: {} .gguf files in it; name one of them, such as --model {}",
                   folder.string(), gguf.size(), gguf[0]);
  }
  if (fs::exists(folder / "config.json", ignored)) return folder;
  return not_found("{}: no .safetensors, no config.json and no .gguf file in it", folder.string());
}

}  // namespace

HubOptions HubOptions::from_environment() {
  HubOptions o;
  const std::string user = environment("HOME"), xdg = environment("XDG_CACHE_HOME");
  fs::path home = path_variable("HF_HOME");
  if (home.empty())
    home = (xdg.empty() ? fs::path(user.empty() ? "." : user) / ".cache" : fs::path(xdg)) /
           "huggingface";
  o.cache = path_variable("HF_HUB_CACHE");
  if (o.cache.empty()) o.cache = path_variable("HUGGINGFACE_HUB_CACHE");
  if (o.cache.empty()) o.cache = home / "hub";
  o.endpoint = environment("HF_ENDPOINT");
  if (o.endpoint.empty()) o.endpoint = "https://huggingface.co";
  while (o.endpoint.ends_with('/')) o.endpoint.pop_back();
  if (!is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
    o.token = environment("HF_TOKEN");
    if (o.token.empty()) o.token = environment("HUGGING_FACE_HUB_TOKEN");
    if (o.token.empty()) {
      fs::path file = path_variable("HF_TOKEN_PATH");
      if (file.empty()) file = home / "token";
      if (const auto text = read_file(file, 4096)) o.token = *text;
    }
    o.token = trimmed(o.token);
  }
  o.offline =
      is_on(environment("HF_HUB_OFFLINE").empty() ? "TRANSFORMERS_OFFLINE" : "HF_HUB_OFFLINE");
  for (const char* name : {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    if (o.ca_file.empty()) o.ca_file = path_variable(name);
  }
  o.metadata_seconds = seconds("HF_HUB_ETAG_TIMEOUT", 10);
  o.stall_seconds = seconds("HF_HUB_DOWNLOAD_TIMEOUT", 10);
  return o;
}

std::string RepoName::folder() const {
  std::string out = "models--";
  for (const char c : repo) out += c == '/' ? std::string("--") : std::string(1, c);
  return out;
}

Result<RepoName> parse_repo(const std::string& text) {
  RepoName name;
  const size_t at = text.find('@');
  name.repo = text.substr(0, at);
  name.revision = at == std::string::npos ? "main" : text.substr(at + 1);
  const auto word = [](const std::string& s, const char* more) {
    return !s.empty() && s.size() <= 200 &&
           std::all_of(s.begin(), s.end(),
                       [&](unsigned char c) {
                         return std::isalnum(c) ||
                                std::string_view(more).find(static_cast<char>(c)) !=
                                    std::string_view::npos;
                       }) &&
           s.find("..") == std::string::npos && s.front() != '-' && s.front() != '.' &&
           s.front() != '/' && s.back() != '/';
  };
  const size_t slash = name.repo.find('/');
  const bool two =
      slash != std::string::npos && name.repo.find('/', slash + 1) == std::string::npos;
  if (!two || !word(name.repo, "-_./") || name.repo.find("--") != std::string::npos) {
    return invalid("'{}' is no hub id, expected org/name or org/name@revision", text);
  }
  if (!word(name.revision, "-_./"))
    return invalid("'{}': '{}' is no revision", text, name.revision);
  return name;
}

Result<std::vector<CachedModel>> list_cached(const HubOptions& options) {
  std::vector<CachedModel> out;
  std::error_code ignored;
  for (const auto& repo : in(options.cache)) {
    const std::string folder = repo.filename().string();
    if (!folder.starts_with("models--")) continue;
    std::string name = folder.substr(8);
    if (const size_t at = name.find("--"); at != std::string::npos) name.replace(at, 2, "/");
    for (const auto& snapshot : in(repo / "snapshots")) {
      if (!fs::is_directory(snapshot, ignored)) continue;
      CachedModel m;
      m.repo = name;
      m.commit = snapshot.filename().string();
      m.snapshot = snapshot;
      for (const auto& ref : below(repo / "refs")) {
        if (!fs::is_regular_file(ref, ignored)) continue;
        const auto text = read_file(ref, 256);
        if (!text || trimmed(*text) != m.commit) continue;
        const std::string revision = ref.lexically_relative(repo / "refs").string();
        if (m.revision.empty() || revision == "main") m.revision = revision;
      }
      for (const auto& file : below(snapshot)) {
        if (!fs::is_regular_file(file, ignored))
          continue;  // a folder, or a link to a blob that is gone
        const auto size = fs::file_size(file, ignored);
        if (ignored) continue;
        m.bytes += size;
        ++m.files;
      }
      out.push_back(std::move(m));
    }
  }
  std::sort(out.begin(), out.end(), [](const CachedModel& a, const CachedModel& b) {
    return std::tie(a.repo, a.commit) < std::tie(b.repo, b.commit);
  });
  return out;
}

std::optional<fs::path> cached_snapshot(const RepoName& name, const HubOptions& options) {
  const fs::path repo = options.cache / name.folder();
  std::string commit = name.revision;
  if (!is_commit(commit)) {
    const auto text = read_file(repo / "refs" / name.revision, 256);
    commit = text ? trimmed(*text) : "";
  }
  // What a ref file says is not believed to be a path.
  std::error_code ignored;
  if (!is_commit(commit) || !fs::is_directory(repo / "snapshots" / commit, ignored)) return std::nullopt;
  return repo / "snapshots" / commit;
}

Result<fs::path> resolve_model(const std::string& model, const HubOptions& options) {
  std::error_code ignored;
  if (!model.empty()) {
    const fs::path path(model);
    if (fs::is_directory(path, ignored)) return model_in(path);
    if (fs::is_regular_file(path, ignored)) {
      if (path.extension() == ".gguf") return path;
      return invalid("{}: a file that is no .gguf; a model is a folder, a .gguf file or a hub id",
                     model);
    }
  }
  RepoName name = kStarter;
  if (!model.empty()) {
    auto given = parse_repo(model);
    if (!given) return not_found("{}: no such folder or file, and {}", model, given.error().message);
    name = std::move(*given);
  }
  const auto snapshot = cached_snapshot(name, options);
  if (snapshot) return model_in(*snapshot);
  const fs::path repo = options.cache / name.folder();
  if (model.empty()) {
    return not_found(
        "the starter model is not in {}; ./quickstart fetches it (or tools/fetch_starter.sh), or "
        "name a model with --model",
        repo.string());
  }
  return not_found("{}: no such folder or file, and {} has no revision {}; fetch it with: colony pull {}", model,
                   repo.string(), name.revision, model);
}

}  // namespace colony::net
