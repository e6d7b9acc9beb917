// The adapters an engine knows, and which of them are in memory.
//
// Registering reads the configuration and the tensors' names and shapes; the weights come when a request
// that names the adapter is admitted, and stay until the bytes are wanted: least recently used first,
// never one that a running request holds. So thousands can be registered under a small ceiling.
// An adapter is who its content says: SHA-256 over adapter_config.json and adapter_model.safetensors, and
// a generation that grows with each other content under one name; both are part of the prefix key, so
// keys and values of one are never taken for another's.
// Threads: one owner, the engine's.
#pragma once
#include <cstdint>
#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/byte_ledger.h"
#include "base/metrics.h"
#include "base/result.h"
#include "model/lora.h"
#include "model/transformer.h"
#include "tensor/thread_pool.h"

namespace colony::engine {

// A registered adapter. Requests hold it; it stays valid after it was removed or replaced.
struct AdapterInfo {
  std::string name;
  std::filesystem::path folder;
  std::string hash;         // 64 hex digits
  uint64_t generation = 1;  // 1, 2, …: how many contents this name has had
  uint64_t bytes = 0;       // when resident
  model::LoraSpec spec;
  int64_t modified = 0;     // of the weights' file when it was registered, as the file system counts

  // Who it is, for prefix keys and ledgers.
  std::string identity() const { return fmt::format("{}.{}", hash, generation); }
};

class Adapters {
 public:
  // ledger, pool and metrics are borrowed.
  Adapters(std::shared_ptr<const model::Transformer> base, ByteLedger& ledger, tensor::ThreadPool& pool, Metrics& metrics);

  // Registers the PEFT folder under `name`; the same content again is the same adapter, another one is
  // its next generation: requests made before keep the old one. Fails as read_peft() and
  // model::Adapter::bytes_needed(); then what was registered stays.
  Result<std::shared_ptr<const AdapterInfo>> add(const std::string& name, const std::filesystem::path& folder);
  // False when there is none. Requests that hold it are served to their end.
  bool remove(const std::string& name);
  std::shared_ptr<const AdapterInfo> find(const std::string& name) const;  // null: none
  std::vector<std::shared_ptr<const AdapterInfo>> list() const;           // by name

  // The weights, pinned while the result lives. Fails kExhausted when they do not fit beside what is
  // pinned and everything else in the ledger; kCorrupt when the file changed since it was registered.
  Result<std::shared_ptr<const model::Adapter>> acquire(const std::shared_ptr<const AdapterInfo>& info);
  // Whether it would fit if no other adapter were in memory. Fails kExhausted, as acquire() would of a machine that rests.
  Status fits(const AdapterInfo& info) const;
  // Drops weights of removed adapters that nobody holds any more. Cheap when there are none.
  void sweep();

  size_t resident() const { return by_info_.size(); }
  uint64_t resident_bytes() const;

 private:
  struct Resident {
    std::shared_ptr<const AdapterInfo> info;
    std::shared_ptr<const model::Adapter> weights;
    bool removed = false;
  };
  using Order = std::list<Resident>;  // most recently used first

  bool evict_one();
  void retire(const AdapterInfo* info);

  const std::shared_ptr<const model::Transformer> base_;
  ByteLedger& ledger_;
  tensor::ThreadPool& pool_;
  std::map<std::string, std::shared_ptr<const AdapterInfo>> by_name_;
  std::map<std::string, uint64_t> generations_;  // of names ever used
  Order order_;
  std::map<const AdapterInfo*, Order::iterator> by_info_;
  size_t removed_ = 0;  // residents that are removed and still held
  Metric &loads_, &evictions_, &resident_metric_;
};

}  // namespace colony::engine
