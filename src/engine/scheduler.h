// Which rows the next step has: decode rows first, then drafts beside them where speculation pays,
// then chunks of prefill, under a token budget. With both classes at work: foreground's decode rows and
// prefill, then background's.
//
// Order everywhere: foreground before background, then by submission. The first in that order always
// gets on: when pages run out the last one gives up its pages and is computed again later; a
// foreground request that waits makes background ones give way. Decisions depend on counts only.
// Within a class nobody starves; background waits for as long as foreground fills every place. Who waits
// for room for its adapter lets others pass, but not without end.
// Source: vLLM V1's scheduler (hf_compat 7.1). Threads: one owner.
#pragma once
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "engine/adapters.h"
#include "engine/block_pool.h"
#include "engine/draft.h"
#include "engine/sequence.h"

namespace colony::engine {

struct SchedulerOptions {
  int max_sequences = 16;
  int max_step_tokens = 512;  // >= max_sequences
  Speculate speculate = Speculate::kOff;
};

// Rows of one sequence in one step: positions [from, from + count). The last `drafted` of them are of
// tokens that are only guessed (Sequence::draft).
struct Chunk {
  Sequence* sequence = nullptr;
  int64_t from = 0, count = 0, drafted = 0;
  bool last = false;  // reaches the goal: a token is sampled, or the result is whole
};

struct PageCopy {
  int32_t from = 0, to = 0;
};

struct Plan {
  std::vector<Chunk> chunks;       // rows in this order
  std::vector<Sequence*> broke;    // their budget has too little left; already removed
  std::vector<std::pair<Sequence*, Error>> failed;  // their adapter cannot be had; already removed
  // Pages to be copied before anything is computed, in this order: a prompt that leaves a page of another's in its middle goes on there.
  std::vector<PageCopy> copies;
  int64_t rows = 0;
  int64_t preempted = 0;
  void clear();
};

class Scheduler {
 public:
  // `pool` and `adapters` (null: no request names one) are borrowed and outlive this.
  Scheduler(const SchedulerOptions& options, BlockPool& pool, Adapters* adapters);

  // `sequence` is borrowed until remove() or until plan() calls it broke.
  void add(Sequence& sequence);
  // Gives back its pages and forgets it, wherever it stands.
  void remove(Sequence& sequence);

  // Decides the next step, takes pages and debits budgets for it.
  void plan(Plan& plan);
  // The rows of `chunk` were computed. Those of drafts count only once accept() says so.
  void commit(const Chunk& chunk);
  // The next drafted row's token came true: it is the last of `tokens`.
  void accept(Sequence& sequence);
  // No more drafted rows count: gives back pages that held only them.
  void settle(Sequence& sequence);

  size_t running() const { return running_.size(); }
  size_t waiting() const { return foreground_.size() + background_.size(); }
  const std::vector<Sequence*>& running_sequences() const { return running_; }

 private:
  void admit(Plan& plan);
  enum class Admission { kAdmitted, kLater, kWait, kNoRoom, kGone };
  Admission try_admit(Sequence& sequence, Plan& plan);
  BlockPool::Match match(const Sequence& sequence) const;
  void preempt(Sequence& sequence, Plan& plan);
  void give_back_pages(Sequence& sequence);
  bool grow(Sequence& sequence, Plan& plan);
  void add_drafts(Plan& plan, int64_t& left);
  bool pay_sample(Sequence& sequence);
  std::deque<Sequence*>& queue_of(const Sequence& sequence) {
    return sequence.foreground() ? foreground_ : background_;
  }

  const SchedulerOptions options_;
  BlockPool& pool_;
  Adapters* const adapters_;
  std::deque<Sequence*> foreground_, background_;  // waiting, by id
  std::vector<Sequence*> running_;                 // by before()
};

// Pages that `tokens` tokens need.
int64_t pages_for(int64_t tokens);

}  // namespace colony::engine
