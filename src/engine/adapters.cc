#include "engine/adapters.h"

#include <algorithm>
#include <utility>

#include "base/file.h"
#include "base/digest.h"
#include "engine/peft.h"

namespace colony::engine {
namespace {

namespace fs = std::filesystem;

int64_t modified_at(const fs::path& file) {
  std::error_code problem;
  const auto at = fs::last_write_time(file, problem);
  return problem ? -1 : static_cast<int64_t>(at.time_since_epoch().count());
}

Result<std::string> content_hash(const fs::path& folder) {
  Sha256 hash;
  for (const char* name : {"adapter_config.json", "adapter_model.safetensors"}) {
    ASSIGN_OR_RETURN(const auto file, MappedFile::open(folder / name));
    hash.update(fmt::format("{} ", file->bytes().size()));
    hash.update(file->bytes());
  }
  return hash.hex();
}

}  // namespace

Adapters::Adapters(std::shared_ptr<const model::Transformer> base, ByteLedger& ledger, tensor::ThreadPool& pool, Metrics& metrics)
    : base_(std::move(base)),
      ledger_(ledger),
      pool_(pool),
      loads_(metrics.get(metric::kAdapterLoads)),
      evictions_(metrics.get(metric::kAdapterEvictions)),
      resident_metric_(metrics.get(metric::kAdaptersResident)) {}

Result<std::shared_ptr<const AdapterInfo>> Adapters::add(const std::string& name, const fs::path& folder) {
  auto info = std::make_shared<AdapterInfo>();
  info->name = name;
  info->folder = folder;
  ASSIGN_OR_RETURN(info->spec, read_peft(folder, base_->config()));
  info->modified = modified_at(info->spec.weights);
  ASSIGN_OR_RETURN(info->bytes, model::Adapter::bytes_needed(info->spec, *base_));
  ASSIGN_OR_RETURN(info->hash, content_hash(folder));
  const auto before = by_name_.find(name);
  if (before != by_name_.end()) {
    const AdapterInfo& old = *before->second;
    if (old.hash == info->hash && old.folder == folder && old.modified == info->modified) return before->second;
  }
  uint64_t& generation = generations_[name];
  const bool same = before != by_name_.end() && before->second->hash == info->hash;
  if (!same) ++generation;
  info->generation = generation;
  if (before != by_name_.end()) retire(before->second.get());
  std::shared_ptr<const AdapterInfo> kept = std::move(info);
  by_name_[name] = kept;
  return kept;
}

bool Adapters::remove(const std::string& name) {
  const auto at = by_name_.find(name);
  if (at == by_name_.end()) return false;
  retire(at->second.get());
  by_name_.erase(at);
  return true;
}

void Adapters::retire(const AdapterInfo* info) {
  const auto at = by_info_.find(info);
  if (at == by_info_.end()) return;
  at->second->removed = true;
  ++removed_;
  sweep();
}

void Adapters::sweep() {
  if (removed_ == 0) return;
  for (auto at = order_.begin(); at != order_.end();) {
    if (!at->removed || at->weights.use_count() > 1) {
      ++at;
      continue;
    }
    by_info_.erase(at->info.get());
    at = order_.erase(at);
    --removed_;
  }
  resident_metric_.set(static_cast<double>(by_info_.size()));
}

std::shared_ptr<const AdapterInfo> Adapters::find(const std::string& name) const {
  const auto at = by_name_.find(name);
  return at == by_name_.end() ? nullptr : at->second;
}

std::vector<std::shared_ptr<const AdapterInfo>> Adapters::list() const {
  std::vector<std::shared_ptr<const AdapterInfo>> all;
  for (const auto& [name, info] : by_name_) all.push_back(info);
  return all;
}

bool Adapters::evict_one() {
  for (auto at = order_.end(); at != order_.begin();) {
    --at;
    if (at->weights.use_count() > 1) continue;
    if (at->removed) --removed_;
    by_info_.erase(at->info.get());
    order_.erase(at);
    evictions_.add(1);
    return true;
  }
  return false;
}

Result<std::shared_ptr<const model::Adapter>> Adapters::acquire(const std::shared_ptr<const AdapterInfo>& info) {
  if (const auto at = by_info_.find(info.get()); at != by_info_.end()) {
    order_.splice(order_.begin(), order_, at->second);
    return at->second->weights;
  }
  // Room first, so that nothing is read that cannot stay.
  while (ledger_.used() + info->bytes > ledger_.ceiling()) {
    if (!evict_one()) {
      return exhausted("adapter {} needs {}, {} of {} are taken and no other adapter can make way", info->name,
                       format_bytes(info->bytes), format_bytes(ledger_.used()), format_bytes(ledger_.ceiling()));
    }
  }
  if (modified_at(info->spec.weights) != info->modified) {
    return corrupt("{} changed since adapter {} was registered; register it again", info->spec.weights.string(), info->name);
  }
  ASSIGN_OR_RETURN(auto weights, model::Adapter::load(info->spec, *base_, ledger_, pool_));
  order_.push_front({info, weights, find(info->name) != info});
  if (order_.front().removed) ++removed_;  // a request outlived its adapter's name
  by_info_[info.get()] = order_.begin();
  loads_.add(1);
  resident_metric_.set(static_cast<double>(by_info_.size()));
  return weights;
}

Status Adapters::fits(const AdapterInfo& info) const {
  const uint64_t used = ledger_.used(), ours = std::min(used, resident_bytes());
  if (used - ours + info.bytes <= ledger_.ceiling()) return {};
  return exhausted("its adapter needs {}, of the {} of --memory {} are left beside weights and caches", format_bytes(info.bytes),
                   format_bytes(ledger_.ceiling()), format_bytes(ledger_.ceiling() - std::min(ledger_.ceiling(), used - ours)));
}

uint64_t Adapters::resident_bytes() const {
  uint64_t bytes = 0;
  for (const Resident& resident : order_) bytes += resident.weights->bytes();
  return bytes;
}

}  // namespace colony::engine
