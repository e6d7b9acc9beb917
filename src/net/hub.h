// The Hugging Face hub: models in the local cache, and fetched into it.
//
// The cache is huggingface_hub's own layout, shared with Python (hf_compat 5.2):
//   models--ORG--NAME/{blobs/<etag>, snapshots/<commit>/<path> -> ../../blobs/<etag>, refs/<revision>}
#pragma once
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace colony::net {

struct HubOptions {
  std::filesystem::path cache;       // HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE or HF_HOME/hub
  std::string endpoint;              // HF_ENDPOINT, without a last slash
  std::string token;                 // HF_TOKEN, or HF_TOKEN_PATH's or HF_HOME/token's text; "" = none
  bool offline = false;              // HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE
  int metadata_seconds = 10;         // HF_HUB_ETAG_TIMEOUT
  int stall_seconds = 10;            // HF_HUB_DOWNLOAD_TIMEOUT: a download that stands still so long
  int tries = 5;                     // of one file, with growing pauses

  static HubOptions from_environment();
};

struct CachedModel {
  std::string repo;                  // "org/name"
  std::string revision;              // a ref that points here; "" = none
  std::string commit;
  std::filesystem::path snapshot;
  uint64_t bytes = 0;
  int files = 0;
};
// Snapshots in the cache, ascending repo. An absent cache is an empty list.
Result<std::vector<CachedModel>> list_cached(const HubOptions& options);

// The folder or .gguf file that `model` means: "" the starter model, a path that exists, or a hub id
// org/name[@revision] in the cache (a snapshot that is one .gguf gives the file). No network. Fails
// kNotFound with all places tried, kInvalid (several .gguf files, neither folder nor model).
Result<std::filesystem::path> resolve_model(const std::string& model, const HubOptions& options);

struct PullProgress {
  std::string file;                  // the one under way
  uint64_t bytes_done = 0, bytes_total = 0;  // of the whole pull
};

// Fetches the files that matter here (safetensors, GGUF, JSON, tokenizer and template) of
// org/name[@revision] and gives the snapshot's folder. What is there already, whole, is not fetched
// again; what broke off goes on where it stopped. The token is sent to the endpoint's host only.
// Fails kInvalid (a name that is none), kNotFound (repository, revision), kUnavailable (network,
// disk, 401/403 with what to do), kCorrupt (content that is not what its hash says), kCancelled.
// Threads: calls `progress` on this one.
Result<std::filesystem::path> pull(const std::string& repo_at_revision, const HubOptions& options,
                                   const std::function<void(const PullProgress&)>& progress,
                                   const std::atomic<bool>* cancel);

// "org/name@rev" in its parts; revision "main" when not given. Fails kInvalid.
struct RepoName {
  std::string repo, revision;
  std::string folder() const;        // "models--org--name"
};
Result<RepoName> parse_repo(const std::string& text);

}  // namespace colony::net
