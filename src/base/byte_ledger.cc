#include "base/byte_ledger.h"

#include <charconv>
#include <cmath>

#include "base/check.h"

namespace colony {

ByteLease::~ByteLease() {
  if (ledger_ != nullptr) {
    const auto given_back = ledger_->change(owner_, bytes_, 0);
    CHECK(given_back.has_value(), "giving bytes back cannot fail");
  }
}

Status ByteLease::resize(uint64_t bytes) {
  CHECK(ledger_ != nullptr, "an empty lease has no ledger");
  RETURN_IF_ERROR(ledger_->change(owner_, bytes_, bytes));
  bytes_ = bytes;
  return {};
}

Result<ByteLease> ByteLedger::take(const std::string& owner, uint64_t bytes) {
  RETURN_IF_ERROR(change(owner, 0, bytes));
  return ByteLease(this, owner, bytes);
}

Status ByteLedger::change(const std::string& owner, uint64_t from, uint64_t to) {
  Lock lock(mutex_);
  CHECK(used_ >= from && by_owner_[owner] >= from, "a lease gives back what was taken");
  if (to > from && to - from > ceiling_ - used_) {
    std::string held;
    for (const auto& [name, size] : by_owner_) {
      if (size > 0) held += fmt::format("{}{} {}", held.empty() ? "" : ", ", name, format_bytes(size));
    }
    return exhausted("{} more for {} would pass the memory ceiling of {} (held: {}); raise --memory",
                     format_bytes(to - from), owner, format_bytes(ceiling_),
                     held.empty() ? "nothing" : held);
  }
  used_ += to - from;
  by_owner_[owner] += to - from;
  if (used_ > peak_) peak_ = used_;
  return {};
}

uint64_t ByteLedger::used() const {
  Lock lock(mutex_);
  return used_;
}

uint64_t ByteLedger::peak() const {
  Lock lock(mutex_);
  return peak_;
}

std::vector<std::pair<std::string, uint64_t>> ByteLedger::owners() const {
  Lock lock(mutex_);
  return {by_owner_.begin(), by_owner_.end()};
}

Result<uint64_t> parse_bytes(std::string_view text) {
  double number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string unit(end, text.data() + text.size());
  std::erase(unit, ' ');
  for (char& c : unit) c = static_cast<char>(c | 0x20);
  static const std::map<std::string, double> kUnits = {
      {"", 1},           {"b", 1},          {"k", 0x1p10},   {"kb", 0x1p10},  {"kib", 0x1p10},
      {"m", 0x1p20},     {"mb", 0x1p20},    {"mib", 0x1p20}, {"g", 0x1p30},   {"gb", 0x1p30},
      {"gib", 0x1p30},   {"t", 0x1p40},     {"tb", 0x1p40},  {"tib", 0x1p40}};
  const auto at = kUnits.find(unit);
  if (problem != std::errc() || at == kUnits.end() || !(number >= 0) || number * at->second > 0x1p60) {
    return invalid("\"{}\" is no size; write it as 512MiB, 2GiB or a number of bytes", text);
  }
  return static_cast<uint64_t>(number * at->second);
}

std::string format_bytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto size = static_cast<double>(bytes);
  int unit = 0;
  while (size >= 1024 && unit < 4) size /= 1024, ++unit;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", size, kUnits[unit]);
}

}  // namespace colony
