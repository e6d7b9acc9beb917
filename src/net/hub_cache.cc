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

// Which quantisation where none is named. The first two as llama.cpp and Ollama choose, then what keeps most of the
// model for its size among the types that are read here.
constexpr const char* kQuantOrder[] = {"Q4_K_M", "Q8_0", "Q4_K_S", "Q5_K_M", "Q5_K_S", "Q6_K", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "BF16", "F16", "FP16", "F32", "FP32"};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// "dir/M-Q4_K_M-00001-of-00002.gguf" without its number and ending: "dir/M-Q4_K_M".
std::string gguf_stem(const std::string& path) {
  const std::string stem = path.substr(0, path.size() - std::string_view(".gguf").size());
  constexpr size_t kTail = std::string_view("-00001-of-00002").size();
  if (stem.size() <= kTail) return stem;
  const std::string tail = stem.substr(stem.size() - kTail);
  for (size_t i = 0; i < kTail; ++i) {
    const char form = std::string_view("-00000-of-00000")[i];
    if (form == '0' ? std::isdigit(static_cast<unsigned char>(tail[i])) == 0 : tail[i] != form) return stem;
  }
  return stem.substr(0, stem.size() - kTail);
}

// "Q4_K" is in "m-Q4_K.gguf" and not in "m-Q4_K_M.gguf" nor "m-IQ4_K.gguf".
bool has_quant(const std::string& stem, const std::string& quant) {
  const std::string text = lower(stem), wanted = lower(quant);
  const auto word = [&](size_t at) { return std::isalnum(static_cast<unsigned char>(text[at])) != 0; };
  for (size_t at = text.find(wanted); at != std::string::npos; at = text.find(wanted, at + 1)) {
    const size_t end = at + wanted.size();
    if ((at == 0 || !word(at - 1)) && (end == text.size() || (!word(end) && text[end] != '_'))) return true;
  }
  return false;
}

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

// A folder as what the loaders take: itself, or its only .gguf model. Repositories of GGUF files often have a config.json
// beside them, so that alone does not make a folder.
Result<fs::path> model_in(const fs::path& folder) {
  std::error_code ignored;
  std::vector<std::string> files;
  for (const auto& path : in(folder)) {
    if (path.filename().string().starts_with('.')) continue;  // such as ._model.gguf, which macOS leaves on foreign disks
    if (path.extension() == ".safetensors" && fs::exists(path, ignored)) return folder;
    files.push_back(path.string());
  }
  const auto gguf = gguf_models(files);
  if (gguf.size() == 1) return fs::path(gguf[0]);
  if (gguf.size() > 1) {
    return invalid("{}: {} .gguf models in it; name one of them, such as --model {}",
                   folder.string(), gguf.size(), gguf[0]);
  }
  if (fs::exists(folder / "config.json", ignored)) return folder;
  return not_found("{}: no .safetensors, no config.json and no .gguf file in it", folder.string());
}

// The same of a snapshot in the cache, where a name says which of several .gguf models, wherever they lie.
Result<fs::path> model_in_snapshot(const fs::path& snapshot, const RepoName& name) {
  std::error_code ignored;
  std::vector<std::string> files;
  for (const auto& path : below(snapshot)) {
    if (path.parent_path() == snapshot && path.extension() == ".safetensors" && name.quant.empty() && fs::exists(path, ignored)) return snapshot;
    if (path.extension() == ".gguf" && fs::exists(path, ignored)) files.push_back(path.lexically_relative(snapshot).string());
  }
  const auto models = gguf_models(files);
  if (const auto chosen = choose_gguf(models, name.quant)) return snapshot / *chosen;
  if (name.quant.empty()) return model_in(snapshot);
  std::string there;
  for (const auto& model : models) there += (there.empty() ? "" : ", ") + model;
  return not_found("{}: no GGUF file for {} in it{}; fetch it with: colony pull {}:{}{}", snapshot.string(), name.quant,
                   there.empty() ? "" : " (there: " + there + ")", name.repo, name.quant, name.revision == "main" ? "" : "@" + name.revision);
}

}  // namespace

std::vector<std::string> gguf_models(const std::vector<std::string>& paths) {
  std::vector<std::string> out;
  for (const auto& path : paths) {
    const std::string file = lower(path.substr(path.rfind('/') + 1));
    if (!file.ends_with(".gguf") || file.find("mmproj") != std::string::npos || file.find("imatrix") != std::string::npos) continue;
    if (gguf_stem(path).size() + std::string_view(".gguf").size() == path.size() || path.find("-00001-of-", gguf_stem(path).size()) != std::string::npos) out.push_back(path);
  }
  std::sort(out.begin(), out.end());
  return out;
}

bool is_part_of_gguf(const std::string& path, const std::string& first) {
  return path.ends_with(".gguf") && (path == first || (gguf_stem(path) == gguf_stem(first) && path.size() == first.size()));
}

std::optional<std::string> choose_gguf(const std::vector<std::string>& models, const std::string& quant) {
  const auto find = [&](const std::string& wanted) -> std::optional<std::string> {
    std::optional<std::string> best;  // the shortest: one that says nothing more
    for (const auto& model : models) {
      const bool named = model == wanted || model.ends_with("/" + wanted);
      if ((named || has_quant(gguf_stem(model), wanted)) && (!best || model.size() < best->size())) best = model;
    }
    return best;
  };
  if (!quant.empty()) return find(quant);
  if (models.size() > 1) {
    for (const char* usual : kQuantOrder) {
      if (auto found = find(usual)) return found;
    }
  }
  return models.empty() ? std::nullopt : std::optional(models.front());
}

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
  name.repo = text;
  name.revision = "main";
  bool has_quant = false, has_revision = false;
  for (size_t at = name.repo.find_last_of("@:"); at != std::string::npos; at = name.repo.find_last_of("@:")) {
    bool& has = name.repo[at] == ':' ? has_quant : has_revision;
    if (has) return invalid("'{}' is no hub id: two {} in it", text, name.repo[at] == ':' ? "quantisations" : "revisions");
    has = true;
    (name.repo[at] == ':' ? name.quant : name.revision) = name.repo.substr(at + 1);
    name.repo.resize(at);
  }
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
    return invalid("'{}' is no hub id, expected org/name, org/name@revision or org/name:quantisation", text);
  }
  if (!word(name.revision, "-_./"))
    return invalid("'{}': '{}' is no revision", text, name.revision);
  if (has_quant && !word(name.quant, "-_./")) return invalid("'{}': '{}' is no quantisation, such as Q4_K_M", text, name.quant);
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
  if (snapshot) return model_in_snapshot(*snapshot, name);
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

Result<fs::path> resolve_adapter(const std::string& adapter, const HubOptions& options) {
  std::error_code ignored;
  if (fs::exists(adapter, ignored)) return fs::path(adapter);
  const auto name = parse_repo(adapter);
  if (!name) return not_found("adapter {}: no such folder, and {}", adapter, name.error().message);
  const auto snapshot = cached_snapshot(*name, options);
  if (!snapshot) {
    return not_found("adapter {}: no such folder, and {} has no revision {}; fetch it with: colony pull {}", adapter,
                     (options.cache / name->folder()).string(), name->revision, adapter);
  }
  if (!fs::exists(*snapshot / "adapter_config.json", ignored)) {
    return not_found("adapter {}: {} holds no adapter_config.json, so it is no adapter, or was fetched in part: colony pull {}", adapter, snapshot->string(), adapter);
  }
  return *snapshot;
}

}  // namespace colony::net
