// The pool of key/value pages of one model: memory only; who holds which page is the engine's book.
#pragma once
#include <cstdint>
#include <memory>

#include "base/byte_ledger.h"
#include "base/result.h"
#include "model/config.h"
#include "tensor/attention.h"
#include "tensor/memory.h"

namespace colony::model {

class KvCache {
 public:
  // Takes `pages` * page_bytes from the ledger (owner "kv"). Memory is touched on first use.
  // Fails kExhausted.
  static Result<KvCache> create(const ModelConfig& config, tensor::KvType type, int64_t pages,
                                ByteLedger& ledger);
  // Bytes of one page over all layers.
  static uint64_t page_bytes(const ModelConfig& config, tensor::KvType type);

  int64_t pages() const { return pages_; }
  tensor::KvType type() const { return type_; }
  tensor::KvView layer(int64_t index) const;
  // Both in 0…pages()-1.
  void copy_page(int64_t from, int64_t to) const;

 private:
  KvCache() = default;
  int64_t pages_ = 0;
  tensor::KvType type_ = tensor::KvType::kF32;
  int kv_heads_ = 0, head_dim_ = 0;
  uint64_t layer_bytes_ = 0, page_stride_ = 0;
  tensor::Memory memory_;
  ByteLease lease_;
};

}  // namespace colony::model
