#include "model/kv_cache.h"

#include <cstring>

#include "base/check.h"

namespace colony::model {

uint64_t KvCache::page_bytes(const ModelConfig& config, tensor::KvType type) {
  return static_cast<uint64_t>(config.num_hidden_layers) *
         tensor::kv_page_bytes(type, static_cast<int>(config.num_key_value_heads), static_cast<int>(config.head_dim));
}

Result<KvCache> KvCache::create(const ModelConfig& config, tensor::KvType type, int64_t pages, ByteLedger& ledger) {
  if (pages < 1) return invalid("a KV cache needs at least one page, asked for {}", pages);
  KvCache cache;
  cache.pages_ = pages;
  cache.type_ = type;
  cache.kv_heads_ = static_cast<int>(config.num_key_value_heads);
  cache.head_dim_ = static_cast<int>(config.head_dim);
  cache.layer_bytes_ = tensor::kv_page_bytes(type, cache.kv_heads_, cache.head_dim_);
  cache.page_stride_ = page_bytes(config, type);
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(cache.page_stride_, static_cast<uint64_t>(pages), &bytes)) {
    return exhausted("a KV cache of {} pages is too large", pages);
  }
  ASSIGN_OR_RETURN(cache.lease_, ledger.take("kv", bytes));
  cache.memory_ = tensor::Memory(bytes, false);
  return cache;
}

tensor::KvView KvCache::layer(int64_t index) const {
  return {memory_.data() + static_cast<uint64_t>(index) * layer_bytes_, page_stride_, type_, kv_heads_, head_dim_};
}

void KvCache::copy_page(int64_t from, int64_t to) const {
  CHECK(from >= 0 && from < pages_ && to >= 0 && to < pages_, "pages of the cache");
  if (from == to) return;
  std::memcpy(memory_.data() + static_cast<uint64_t>(to) * page_stride_, memory_.data() + static_cast<uint64_t>(from) * page_stride_, page_stride_);
}

}  // namespace colony::model
