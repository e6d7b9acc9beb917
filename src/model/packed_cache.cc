#include "model/packed_cache.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <system_error>
#include <vector>

#include "base/log.h"

namespace colony::model {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPage = 4096;
constexpr std::string_view kSuffix = ".packed";
constexpr std::chrono::hours kAbandoned{1};  // after that nobody writes a part any more

// What the last page begins with.
std::string last_page(const std::string& key, uint64_t bytes) {
  std::string page = fmt::format("colony packed weights\n{}\n{}\n", key, bytes);
  page.resize(kPage, '\0');
  return page;
}

}  // namespace

fs::path PackedCache::file_of(const std::string& key) const { return folder_ / (key + std::string(kSuffix)); }

std::shared_ptr<const MappedFile> PackedCache::find(const std::string& key, uint64_t bytes) const {
  const fs::path file = file_of(key);
  auto mapped = MappedFile::open(file);
  if (!mapped || (*mapped)->bytes().size() != bytes + kPage) return nullptr;
  const std::string expected = last_page(key, bytes);
  if (std::memcmp((*mapped)->bytes().data() + bytes, expected.data(), kPage) != 0) return nullptr;
  std::error_code ignored;  // one may read what one may not write
  fs::last_write_time(file, fs::file_time_type::clock::now(), ignored);
  return *mapped;
}

void PackedCache::keep(const std::string& key, std::span<const std::byte> bytes) const {
  if (bytes.size() < limits_.least || bytes.size() + kPage > limits_.most / 2) return;
  if (const auto kept = try_keep(key, bytes); !kept) log_warn("packed weights are not kept: {}", kept.error().message);
}

Status PackedCache::try_keep(const std::string& key, std::span<const std::byte> bytes) const {
  std::error_code problem;
  fs::create_directories(folder_, problem);
  if (problem) return unavailable("cannot make {}: {}", folder_.string(), problem.message());
  const uint64_t size = bytes.size() + kPage;
  struct Kept {
    fs::file_time_type used;
    uint64_t bytes = 0;
    fs::path file;
  };
  std::vector<Kept> all;
  uint64_t total = 0;
  for (fs::directory_iterator at(folder_, problem), end; !problem && at != end; at.increment(problem)) {
    std::error_code gone;  // by another process
    if (at->path().extension() == ".part" && at->path().stem().stem().extension() == kSuffix &&
        at->last_write_time(gone) < fs::file_time_type::clock::now() - kAbandoned && !gone) {
      fs::remove(at->path(), gone);  // its writer was killed
    }
    if (at->path().extension() != kSuffix || !at->is_regular_file(gone)) continue;
    Kept one{at->last_write_time(gone), at->file_size(gone), at->path()};
    if (gone) continue;
    total += one.bytes;
    all.push_back(std::move(one));
  }
  std::sort(all.begin(), all.end(), [](const Kept& a, const Kept& b) { return a.used < b.used; });
  for (const Kept& one : all) {
    if (total + size <= limits_.most) break;
    if (fs::remove(one.file, problem)) total -= one.bytes;
  }
  const fs::space_info disk = fs::space(folder_, problem);
  if (!problem && disk.available / 2 < size) return {};
  return write_file(file_of(key), {{reinterpret_cast<const char*>(bytes.data()), bytes.size()}, last_page(key, bytes.size())});
}

}  // namespace colony::model
