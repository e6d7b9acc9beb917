// What a step could take at most and what it does take, part by part.
//
// Limit of a step: the larger of (bytes of weights and of keys and values read) / measured bandwidth and
// (multiply-adds of the products) / (rate of the products' own instructions on registers, or of our product at
// 512 rows where that is higher) + (those of attention) / (the same rate in f32).
#pragma once
#include <string>

#include "base/byte_ledger.h"
#include "base/result.h"
#include "model/transformer.h"
#include "tensor/bench.h"
#include "tensor/thread_pool.h"

namespace colony::app {

// Rows of one step: `sequences` sequences with `rows` rows each, the last of which sees `keys` keys; all or
// the last rows only need logits.
struct StepShape {
  int64_t sequences = 1, rows = 1, keys = 1;
  bool all_logits = false;
  int64_t count() const { return sequences * rows; }
  int64_t head_rows() const { return all_logits ? count() : sequences; }
};

struct StepLimit {
  double read_seconds = 0, compute_seconds = 0;
  double seconds() const { return read_seconds > compute_seconds ? read_seconds : compute_seconds; }
  const char* bound() const { return read_seconds > compute_seconds ? "memory" : "products"; }
};

class Limits {
 public:
  // Measures; takes some seconds and, for that time, 1 GiB. model, ledger and pool are borrowed.
  Limits(const model::Transformer& model, const tensor::MachineLimits& machine, ByteLedger& ledger, tensor::ThreadPool& pool);

  // `more_bytes` and `more_operations`: read and done beside the base model's (adapters).
  StepLimit step(const StepShape& shape, double more_bytes = 0, double more_operations = 0) const;
  // Where the time of a step of `step_seconds` goes, in words; measures the parts alone.
  Result<std::string> parts(const StepShape& shape, double step_seconds) const;

  double product_gop_per_s() const { return operations_per_s_ / 1e9; }

 private:
  // Seconds of all layers' products at `rows` rows.
  double product_seconds(int64_t rows, ByteLedger& ledger) const;

  const model::Transformer& model_;
  const tensor::MachineLimits machine_;
  ByteLedger& ledger_;
  tensor::ThreadPool& pool_;
  double layer_parameters_ = 0, head_parameters_ = 0, weight_bytes_ = 0, operations_per_s_ = 0;
};

}  // namespace colony::app
