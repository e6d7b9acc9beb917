// Files: read whole with a limit, mapped read-only, written atomically.
#pragma once
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace colony {

// Fails kNotFound, kUnavailable (cannot be read), kExhausted (larger than bytes_max).
Result<std::string> read_file(const std::filesystem::path& path, uint64_t bytes_max = 1ULL << 30);

// Writes beside the target, fsyncs and renames: readers see the old file or the new, never a part.
// A link is followed; what is no regular file (/dev/null, a pipe) is written to, never replaced.
// Nothing of a write that failed stays behind.
Status write_file(const std::filesystem::path& path, std::string_view bytes);
Status write_file(const std::filesystem::path& path, std::initializer_list<std::string_view> parts);  // one after the other
// Whether write_file(path) can begin: asked before work whose result will go there.
Status check_writable(const std::filesystem::path& path);

// What these first bytes of a file say it is, where a model's file was expected and is not there: a Git LFS pointer, a web
// page, an archive, a pickle, a weights file of another format; with what to do. "" when they say nothing of that.
std::string mistaken_for(std::string_view bytes);
// kCorrupt in the words of mistaken_for(), if it finds any.
Status check_not_mistaken(std::string_view bytes, std::string_view name);

// A file mapped read-only for as long as this lives. Threads: any may read.
class MappedFile {
 public:
  static Result<std::shared_ptr<const MappedFile>> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }
  // Tells the kernel that the pages of this part will not be read again soon (they leave our
  // resident memory and come back from the file when touched).
  void release(std::span<const std::byte> part) const;

 private:
  MappedFile(std::filesystem::path path, const std::byte* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}

  const std::filesystem::path path_;
  const std::byte* const data_;
  const size_t size_;
};

}  // namespace colony
