// For tests: a model whose every number is known, so that scheduling can be judged by its tokens.
//
// A row's logits are a hash of its sequence's tokens so far, read back through the row's pages: a
// page lost, shared wrongly or written twice changes the tokens. Reads of slots never written for
// this position are counted in bad_reads(). With a short `memory` only the last tokens count, so that
// greedy tokens soon run in circles and look-ups come true.
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "engine/runner.h"

namespace colony::engine {

class FakeRunner final : public Runner {
 public:
  static constexpr int64_t kVocab = 61, kHidden = 3;

  FakeRunner(int64_t pages, int64_t context, size_t memory = SIZE_MAX)
      : context_(context), memory_(memory), slots_(static_cast<size_t>(pages * tensor::kPageTokens)), pages_(pages) {}

  int64_t vocab_size() const override { return kVocab; }
  int64_t hidden_size() const override { return kHidden; }
  int64_t context() const override { return context_; }
  int64_t pages() const override { return pages_; }
  uint64_t scratch_bytes() const override { return 0; }

  void forward(const model::StepRows& rows, std::span<float> hidden) override {
    CHECK(hidden.size() == rows.ids.size() * kHidden && rows.ids.size() == rows.where.size(), "shapes");
    for (size_t i = 0; i < rows.ids.size(); ++i) {
      slot(rows.where[i], rows.where[i].position) = {rows.where[i].position, rows.ids[i]};
    }
    std::vector<int32_t> tokens;
    for (size_t i = 0; i < rows.ids.size(); ++i) {
      tokens.clear();
      for (int64_t p = 0; p <= rows.where[i].position; ++p) {
        const Slot& read = slot(rows.where[i], p);
        if (read.position != p) ++bad_reads_;
        tokens.push_back(read.token);
      }
      hidden_of(std::span(tokens).last(std::min(memory_, tokens.size())), hidden.subspan(i * kHidden, kHidden));
    }
    rows_ += static_cast<int64_t>(rows.ids.size());
  }
  void copy_page(int32_t from, int32_t to) override {
    if (from != to) std::copy_n(&slots_[static_cast<size_t>(from) * tensor::kPageTokens], tensor::kPageTokens, &slots_[static_cast<size_t>(to) * tensor::kPageTokens]);
    ++copies_;
  }
  void head(std::span<const float> hidden, int64_t rows, std::span<float> logits,
            std::span<const model::Adapter* const> /*adapters*/) override {
    CHECK(logits.size() == static_cast<size_t>(rows * kVocab), "shapes");
    for (size_t i = 0; i < static_cast<size_t>(rows); ++i) {
      logits_of(hidden.subspan(i * kHidden, kHidden), logits.subspan(i * kVocab, kVocab));
    }
  }

  // What forward() and head() say of a sequence's last row.
  static void hidden_of(std::span<const int32_t> tokens, std::span<float> hidden) {
    const uint64_t hash = fnv1a(reinterpret_cast<const char*>(tokens.data()), tokens.size_bytes());
    for (size_t i = 0; i < kHidden; ++i) hidden[i] = static_cast<float>((hash >> (i * 20)) & 0xfffff);
  }
  static void logits_of(std::span<const float> hidden, std::span<float> logits) {
    uint64_t state = fnv1a(reinterpret_cast<const char*>(hidden.data()), hidden.size_bytes());
    for (float& logit : logits) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      logit = static_cast<float>(state >> 44) / 65536.0F;  // 0 to 16
    }
  }

  int64_t bad_reads() const { return bad_reads_; }
  int64_t rows() const { return rows_; }
  int64_t copies() const { return copies_; }

 private:
  struct Slot {
    int64_t position = -1;
    int32_t token = -1;
  };
  Slot& slot(const tensor::AttentionRow& row, int64_t position) {
    const int32_t page = row.pages[static_cast<size_t>(position / tensor::kPageTokens)];
    return slots_[static_cast<size_t>(page * tensor::kPageTokens + position % tensor::kPageTokens)];
  }

  const int64_t context_;
  const size_t memory_;
  std::vector<Slot> slots_;
  const int64_t pages_;
  int64_t bad_reads_ = 0, rows_ = 0, copies_ = 0;
};

}  // namespace colony::engine
