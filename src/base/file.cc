#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <system_error>

namespace colony {
namespace {

Error from_errno(const char* tried, const std::filesystem::path& path) {
  const int code = errno;
  return make_error(code == ENOENT || code == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kUnavailable,
                    "cannot {} {}: {}", tried, path.string(),
                    std::generic_category().message(code));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

Result<std::string> read_file(const std::filesystem::path& path, uint64_t bytes_max) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return from_errno("open", path);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return from_errno("stat", path);
  if (S_ISDIR(info.st_mode)) return invalid("cannot read {}: it is a folder", path.string());
  std::string bytes;
  if (S_ISREG(info.st_mode)) bytes.reserve(static_cast<size_t>(std::min<uint64_t>(
      static_cast<uint64_t>(info.st_size), bytes_max)));
  std::string chunk(1 << 16, '\0');
  for (;;) {
    const ssize_t n = ::read(file.get(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return from_errno("read", path);
    if (n == 0) return bytes;
    if (bytes.size() + static_cast<size_t>(n) > bytes_max) {
      return exhausted("{} is larger than {} bytes", path.string(), bytes_max);
    }
    bytes.append(chunk.data(), static_cast<size_t>(n));
  }
}

namespace {

Status write_all(int fd, std::string_view bytes, const std::filesystem::path& path) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return from_errno("write", path);
    done += static_cast<size_t>(n);
  }
  return {};
}

// Where a write of `path` goes: the end of its links, and whether that is a device, pipe or socket.
struct Target {
  std::filesystem::path path;
  bool special = false;
};
Result<Target> target_of(const std::filesystem::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return Target{path, false};
  if (S_ISDIR(info.st_mode)) return invalid("cannot write {}: it is a folder", path.string());
  if (!S_ISREG(info.st_mode)) return Target{path, true};
  std::error_code problem;
  auto real = std::filesystem::canonical(path, problem);
  if (problem) real = path;
  return Target{std::move(real), false};
}

std::filesystem::path part_of(const std::filesystem::path& path) {
  return path.string() + fmt::format(".{}.part", ::getpid());
}

}  // namespace

Status write_file(const std::filesystem::path& path, std::string_view bytes) { return write_file(path, {bytes}); }

Status write_file(const std::filesystem::path& path, std::initializer_list<std::string_view> parts) {
  ASSIGN_OR_RETURN(const Target target, target_of(path));
  if (target.special) {
    const Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (file.get() < 0) return from_errno("open", path);
    for (const std::string_view bytes : parts) RETURN_IF_ERROR(write_all(file.get(), bytes, path));
    return {};
  }
  const std::filesystem::path part = part_of(target.path);
  const auto written = [&]() -> Status {
    const Descriptor file(::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (file.get() < 0) return from_errno("create", part);
    for (const std::string_view bytes : parts) RETURN_IF_ERROR(write_all(file.get(), bytes, part));
    if (::fsync(file.get()) != 0) return from_errno("sync", part);
    return {};
  }();
  if (written && ::rename(part.c_str(), target.path.c_str()) == 0) return {};
  Status failed = written ? Status(from_errno("rename to", target.path)) : written;
  ::unlink(part.c_str());
  return failed;
}

Status check_writable(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const Target target, target_of(path));
  if (target.special) return {};
  const std::filesystem::path part = part_of(target.path);
  const Descriptor file(::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (file.get() < 0) return from_errno("create", part);
  ::unlink(part.c_str());
  return {};
}

std::string mistaken_for(std::string_view bytes) {
  constexpr const char* kFetch = "fetch the file itself";
  if (bytes.starts_with("version https://git-lfs.github.com/") || bytes.starts_with("version http://git-media.io/") ||
      bytes.starts_with("version https://hawser.github.com/")) {
    return fmt::format("this is a Git LFS pointer, not the file it stands for; {}: git lfs pull, or colony pull", kFetch);
  }
  if (bytes.substr(0, 200).find("/annex/objects/") != std::string_view::npos) {
    return fmt::format("this is a git-annex pointer, not the file it stands for; {}: git annex get", kFetch);
  }
  std::string start(bytes.substr(0, std::min<size_t>(bytes.size(), 512)));
  start.erase(0, start.starts_with("\xEF\xBB\xBF") ? 3 : 0);
  start.erase(0, std::min(start.find_first_not_of(" \t\r\n"), start.size()));
  std::transform(start.begin(), start.end(), start.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* tag : {"<!doctype html", "<html", "<head", "<?xml"}) {
    if (start.starts_with(tag)) return fmt::format("this is a web page (HTML or XML), saved in the file's place; {}, such as with colony pull", kFetch);
  }
  if (bytes.starts_with("PK\x03\x04")) {
    return "this is a zip archive, as torch.save writes it: pickles inside, which can run code and are not read; save the weights as safetensors";
  }
  if (bytes.size() > 2 && bytes[0] == '\x80' && bytes[1] >= 2 && bytes[1] <= 5 && std::string_view("c}(]X\x8a\x95").find(bytes[2]) != std::string_view::npos) {
    return "this is a pickle, which can run code and is not read; save the weights as safetensors";
  }
  if (bytes.starts_with("\x89HDF\r\n")) return "this is an HDF5 file (Keras, TensorFlow), which is not read; save the weights as safetensors";
  if (bytes.starts_with("\x1f\x8b")) return "this is a gzip archive; unpack it first";
  if (bytes.starts_with("\x28\xb5\x2f\xfd")) return "this is a zstd archive; unpack it first";
  if (bytes.starts_with("\xfd" "7zXZ")) return "this is an xz archive; unpack it first";
  for (const char* magic : {"lmgg", "fmgg", "tjgg", "algg"}) {
    if (bytes.starts_with(magic)) return "this is a file of llama.cpp's format before GGUF, which is not read; convert the model anew";
  }
  return "";
}

Status check_not_mistaken(std::string_view bytes, std::string_view name) {
  const std::string what = mistaken_for(bytes);
  if (what.empty()) return {};
  return corrupt("{}: {}", name, what);
}

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return from_errno("open", path);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return from_errno("stat", path);
  if (!S_ISREG(info.st_mode)) return invalid("cannot map {}: not a regular file", path.string());
  const auto size = static_cast<size_t>(info.st_size);
  void* data = nullptr;
  if (size > 0) {
    data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (data == MAP_FAILED) return from_errno("map", path);
  }
  return std::shared_ptr<const MappedFile>(
      new MappedFile(path, static_cast<const std::byte*>(data), size));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(std::span<const std::byte> part) const {
  if (part.empty()) return;
  // Only whole pages inside the part: its neighbours may be in use.
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto from = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const auto to = (reinterpret_cast<uintptr_t>(part.data()) + part.size()) / page * page;
  if (to > from) ::madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
}

}  // namespace colony
