// The Hugging Face hub: models in the local cache, and fetched into it.
//
// The cache is huggingface_hub's own layout, shared with Python:
//   models--ORG--NAME/blobs/<etag>                the bytes
//   models--ORG--NAME/snapshots/<commit>/<path>   -> ../../blobs/<etag>
//   models--ORG--NAME/refs/<revision>             the commit, no newline
// Where the file system has no symbolic links the file itself lies in snapshots/ and none in blobs/, as
// huggingface_hub does it; a file that is there whole is not fetched again.
//   .locks/models--ORG--NAME/<etag>.lock          flock, the same that Python takes
//
// **What is resumed.** A file under way is blobs/<etag>.incomplete. It is kept when a pull ends early
// (connection, full disk, Ctrl-C), and the next try or the next pull asks for the rest (Range). The
// rest is taken only from an answer that says so (206 with the Content-Range that was asked for); an
// answer of the whole file (200) starts it anew; error pages are never written. The ETag is in the
// name, so a file that changed at the hub is another part: the old one is removed. Content is
// believed by its hash alone: ETags of the hub are the content's SHA-256 (large files) or git's SHA-1
// of it, checked before the file gets its name. A mirror's ETag that is neither cannot be checked, so
// such a file is never resumed. If a part of an earlier pull turns out wrong, it is fetched once more
// from the start. Links come after all files, the ref last: a snapshot that a ref names is whole.
//
// **Who waits.** One process fetches a blob, others wait for its lock and find it done. Where locks do
// not work (some network file systems), each takes a part of its own name instead.
#pragma once
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace colony::net {

// Variables as huggingface_hub reads them; "~/" in front of a path is the home folder.
struct HubOptions {
  std::filesystem::path cache;    // HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE or HF_HOME/hub
  std::string endpoint;           // HF_ENDPOINT, without a last slash
  std::string token;              // HF_TOKEN, or HF_TOKEN_PATH's or HF_HOME/token's text; "" = none
  bool offline = false;           // HF_HUB_OFFLINE, or else TRANSFORMERS_OFFLINE
  int metadata_seconds = 10;      // HF_HUB_ETAG_TIMEOUT
  int stall_seconds = 10;         // HF_HUB_DOWNLOAD_TIMEOUT: a download that stands still so long
  int tries = 5;                  // in a row without progress, with growing pauses
  std::filesystem::path ca_file;  // REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE; "" = system

  static HubOptions from_environment();
};

// "org/name:Q4_K_M@rev" in its parts; revision "main" when not given, quant "" then (it may also follow the revision).
// `quant` chooses among the GGUF files of a repository: what stands in their names, or a whole name. Fails kInvalid.
struct RepoName {
  std::string repo, revision;
  std::string quant = "";
  std::string folder() const;  // "models--org--name"
};
Result<RepoName> parse_repo(const std::string& text);

struct CachedModel {
  std::string repo;      // "org/name"
  std::string revision;  // a ref that points here, "main" if that does; "" = none
  std::string commit;
  std::filesystem::path snapshot;
  uint64_t bytes = 0;
  int files = 0;
};
// Snapshots in the cache, ascending repo. An absent cache is an empty list; what cannot be read is
// left out.
Result<std::vector<CachedModel>> list_cached(const HubOptions& options);

// One of the GGUF models among these paths, as gguf_models() gives them: the one whose name has `quant` in it, or the
// default where that is "" (Q4_K_M, else Q8_0, …: kQuantOrder in hub_cache.cc; else the first). nullopt: none has it.
std::optional<std::string> choose_gguf(const std::vector<std::string>& models, const std::string& quant);
// The GGUF models among the paths, ascending: of a split one its first part; no projectors (mmproj) and no imatrix.
std::vector<std::string> gguf_models(const std::vector<std::string>& paths);
// Whether `path` is the GGUF model `first` or another part of it.
bool is_part_of_gguf(const std::string& path, const std::string& first);

// The folder or .gguf file that `model` means: "" the starter model, a path that exists, or a hub id
// org/name[:quant][@revision] in the cache. A folder that has .safetensors is itself the model, one with a
// single .gguf (or the parts of one) means that file; of several in the cache choose_gguf(). No network.
// Fails kNotFound with all places tried, kInvalid (a folder with several .gguf files, neither folder nor model).
Result<std::filesystem::path> resolve_model(const std::string& model, const HubOptions& options);
// The PEFT folder that `adapter` means: a folder that exists, or a hub id org/name[@revision] in the cache. No network.
// Fails kNotFound.
Result<std::filesystem::path> resolve_adapter(const std::string& adapter, const HubOptions& options);

// What to fetch, and whether at all.
struct PullChoice {
  // Patterns of Python's fnmatch ("*" also matches "/", "dir/" is all below it), as hf download has them. Given `include`,
  // files that match one, whatever they are; else those that matter here. Never those that match one of `exclude`.
  std::vector<std::string> include, exclude;
  // Asked before any weights are fetched, with config.json's text ("" where the weights need none) and the
  // general.architecture of GGUF files where the hub knows it (else ""). An error ends the pull. May be null.
  std::function<Status(const std::string& config, const std::string& gguf_architecture)> judge;
};

struct PullProgress {
  std::string file;  // the one under way
  uint64_t bytes_done = 0, bytes_total = 0;  // of the whole pull
  int files = 0;          // of the whole pull
  int files_skipped = 0;  // that the repository has and nobody needs here
  std::string gguf;       // the one chosen of several GGUF models; "" when there was no choice
  int gguf_models = 0;    // among which
};

// The snapshot's folder of org/name at that revision, where the cache has it. No network.
std::optional<std::filesystem::path> cached_snapshot(const RepoName& name, const HubOptions& options);

// Fetches the files that matter here (safetensors, or else one GGUF model; JSON, tokenizer, template and README) of
// org/name[:quant][@revision] and gives the snapshot's folder; without `include` never .bin, .h5, .msgpack, onnx/,
// openvino/, original/. What is there already, whole, is not fetched again; what broke off goes on where it
// stopped (above). The token is sent to the endpoint's origin only; from an https endpoint no step
// leads to plain http. Fails kInvalid (a name that is none, a certificate not trusted), kNotFound
// (repository, revision, quantisation, no weights in a format read here), kUnavailable (network, disk, 401/403 with
// what to do), kExhausted (disk full), kCorrupt (content that is not what its hash says), kCancelled.
// Threads: calls `progress`, which may be null, on this one.
Result<std::filesystem::path> pull(const std::string& repo_at_revision, const HubOptions& options,
                                   const PullChoice& choice,
                                   const std::function<void(const PullProgress&)>& progress,
                                   const std::atomic<bool>* cancel);

}  // namespace colony::net
