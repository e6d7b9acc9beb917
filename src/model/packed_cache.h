// Packed weights kept as files, so that the next start with the same model maps them instead of packing them again.
//
// A file holds the bytes of all matrices as Transformer lays them out, and a last page that says so. It is written beside its name and
// renamed, so there is never a part of one. Like the model's own files it is trusted: damage inside is not looked for.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "base/file.h"

namespace colony::model {

// Threads and processes: any; of two that keep the same, one is left.
class PackedCache {
 public:
  struct Limits {
    uint64_t most = 4ULL << 30;    // of all files together
    uint64_t least = 16ULL << 20;  // smaller ones are packed as fast as they are found
  };
  // `folder` is made when something is kept.
  explicit PackedCache(std::filesystem::path folder) : PackedCache(std::move(folder), Limits()) {}
  PackedCache(std::filesystem::path folder, const Limits& limits) : folder_(std::move(folder)), limits_(limits) {}

  const std::filesystem::path& folder() const { return folder_; }
  // What was kept under `key` (letters and digits), if that is `bytes` long, else null. It counts as used now.
  std::shared_ptr<const MappedFile> find(const std::string& key, uint64_t bytes) const;
  // What was used longest ago goes where there is no room. More than half of the room, or of what the disk has left,
  // is not kept. A cache is a convenience: what fails is a warning.
  void keep(const std::string& key, std::span<const std::byte> bytes) const;

 private:
  std::filesystem::path file_of(const std::string& key) const;
  Status try_keep(const std::string& key, std::span<const std::byte> bytes) const;

  const std::filesystem::path folder_;
  const Limits limits_;
};

}  // namespace colony::model
