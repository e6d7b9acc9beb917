#include "engine/scheduler.h"

#include <algorithm>

#include "base/check.h"

namespace colony::engine {
namespace {

// Waiting requests looked at past one that waits for a prefix, a step. Keeps steps cheap.
constexpr int kLookAhead = 64;
// Times a request whose adapter finds no room lets others go first. After that nobody behind it is
// admitted until what runs has ended and its adapter fits.
constexpr int kPatience = 256;

bool before(const Sequence* a, const Sequence* b) { return a->before(*b); }

void insert_in_order(auto& list, Sequence& sequence) {
  list.insert(std::upper_bound(list.begin(), list.end(), &sequence, before), &sequence);
}

// Tokens that may come out of the prefix cache: those whose hidden states nobody asks for.
int64_t skippable(const Sequence& sequence) {
  switch (sequence.request.kind) {
    case Request::Kind::kGenerate: return sequence.goal - 1;
    case Request::Kind::kScore: return std::min(sequence.goal, sequence.request.score_from) - 1;
    case Request::Kind::kEmbed:
    case Request::Kind::kLogits: return 0;
  }
  return 0;
}

std::span<const int32_t> page_tokens(const Sequence& sequence, int64_t page) {
  return std::span(sequence.tokens)
      .subspan(static_cast<size_t>(page * tensor::kPageTokens), tensor::kPageTokens);
}

}  // namespace

int64_t pages_for(int64_t tokens) { return (tokens + tensor::kPageTokens - 1) / tensor::kPageTokens; }

void Plan::clear() {
  chunks.clear();
  broke.clear();
  failed.clear();
  copies.clear();
  rows = 0;
  preempted = 0;
}

Scheduler::Scheduler(const SchedulerOptions& options, BlockPool& pool, Adapters* adapters)
    : options_(options), pool_(pool), adapters_(adapters) {
  CHECK(options.max_sequences > 0 && options.max_step_tokens >= options.max_sequences,
        "a step has room for a row of every sequence");
}

void Scheduler::add(Sequence& sequence) {
  CHECK(sequence.goal > 0 && pages_for(sequence.goal) <= pool_.pages(), "fits into the cache");
  insert_in_order(queue_of(sequence), sequence);
}

void Scheduler::remove(Sequence& sequence) {
  give_back_pages(sequence);
  std::erase(running_, &sequence);
  std::erase(queue_of(sequence), &sequence);
}

void Scheduler::give_back_pages(Sequence& sequence) {
  // From the end on, so that children leave the tree, and are evicted, before their parents.
  for (size_t i = sequence.pages.size(); i-- > 0;) {
    const int32_t page = sequence.pages[i];
    if (static_cast<int64_t>(i) < sequence.published && !pool_.is_computed(page)) pool_.retract(page);
    pool_.release(page);
  }
  sequence.pages.clear();
  sequence.adapter.reset();
  sequence.published = 0;
  sequence.computed = 0;
  sequence.alone = false;
}

void Scheduler::preempt(Sequence& sequence, Plan& plan) {
  give_back_pages(sequence);
  std::erase(running_, &sequence);
  insert_in_order(queue_of(sequence), sequence);
  ++plan.preempted;
}

bool Scheduler::pay_sample(Sequence& sequence) {
  if (sequence.request.kind != Request::Kind::kGenerate || !sequence.request.budget) return true;
  return sequence.request.budget->debit(1);
}

// What is computed already of the sequence's start. The tree has full pages; a page that a running sequence has begun may go on
// longer than any of them.
BlockPool::Match Scheduler::match(const Sequence& sequence) const {
  const int64_t most = skippable(sequence);
  BlockPool::Match match = pool_.match(sequence.salt, sequence.tokens, most);
  if (match.pending) return match;
  const size_t page = match.pages.size();
  const auto first = static_cast<int64_t>(page) * tensor::kPageTokens;
  for (const Sequence* other : running_) {
    if (!other->share || other->salt != sequence.salt || other->pages.size() <= page || (page > 0 && other->pages[page - 1] != match.pages.back())) continue;
    // Not a whole page, which another that publishes no further may hold: commit() is to see ours become full.
    const int64_t end = std::min({most, other->computed, first + tensor::kPageTokens - 1});
    int64_t same = first;
    while (same < end && sequence.tokens[static_cast<size_t>(same)] == other->tokens[static_cast<size_t>(same)]) ++same;
    if (same - first > match.begun_tokens) match.begun = other->pages[page], match.begun_tokens = same - first;
  }
  return match;
}

Scheduler::Admission Scheduler::try_admit(Sequence& sequence, Plan& plan) {
  BlockPool::Match match;
  if (sequence.share) {
    match = this->match(sequence);
    // Somebody is computing what we could share: wait for it, but never for one behind us.
    if (match.pending && (match.pending_foreground || !sequence.foreground())) return Admission::kLater;
  }
  const auto fresh = pages_for(sequence.goal) - static_cast<int64_t>(match.pages.size());
  // The running ones may each want a page soon; without that reserve we would preempt at once.
  const auto reserve = static_cast<int64_t>(running_.size());
  if (static_cast<int>(running_.size()) >= options_.max_sequences ||
      (fresh + match.unreferenced + reserve > pool_.available())) {
    return Admission::kNoRoom;
  }
  if (sequence.request.adapter) {
    auto adapter = adapters_->acquire(sequence.request.adapter);
    if (!adapter) {
      // Others that run hold what is needed; if nobody does, it never fits.
      const bool fits_later = adapter.error().code == ErrorCode::kExhausted && !running_.empty();
      if (fits_later) return ++sequence.passed_over > kPatience ? Admission::kWait : Admission::kLater;
      plan.failed.emplace_back(&sequence, std::move(adapter).error());
      return Admission::kGone;
    }
    sequence.adapter = std::move(*adapter);
  }
  if (!sequence.prompt_paid) {
    if (sequence.request.budget &&
        !sequence.request.budget->debit(sequence.request.prompt_ids.size())) {
      sequence.adapter.reset();
      plan.broke.push_back(&sequence);
      return Admission::kGone;
    }
    sequence.prompt_paid = true;
  }
  for (const int32_t page : match.pages) {
    pool_.hold(page);
    sequence.pages.push_back(page);
  }
  sequence.computed = static_cast<int64_t>(match.pages.size()) * tensor::kPageTokens;
  sequence.published = static_cast<int64_t>(match.pages.size());
  for (int64_t i = 0; i < fresh; ++i) {
    const auto page = pool_.allocate();
    CHECK(page.has_value(), "counted above");
    sequence.pages.push_back(*page);
  }
  if (match.begun_tokens > 0) {
    // Whoever takes the page it comes from, now or later in this plan, writes to it after the copy.
    plan.copies.push_back({match.begun, sequence.pages[match.pages.size()]});
    sequence.computed += match.begun_tokens;
    pool_.touch(match.begun);
  }
  if (!sequence.admitted_once) sequence.prefix_hit_tokens = sequence.computed;
  sequence.admitted_once = true;
  // Announce what will be computed, so that others with the same start wait for it.
  if (sequence.share) {
    while (sequence.published < sequence.goal / tensor::kPageTokens) {
      const auto i = sequence.published;
      const int32_t page = sequence.pages[static_cast<size_t>(i)];
      const int32_t parent = i > 0 ? sequence.pages[static_cast<size_t>(i - 1)] : -1;
      if (pool_.publish(page, parent, sequence.salt, page_tokens(sequence, i),
                        BlockPool::State::kPending, sequence.foreground()) != page) {
        break;
      }
      ++sequence.published;
    }
  }
  insert_in_order(running_, sequence);
  return Admission::kAdmitted;
}

void Scheduler::admit(Plan& plan) {
  int passed_over = 0;
  for (auto* queue : {&foreground_, &background_}) {
    // Rows that the running ones can use; those of background do not keep foreground waiting.
    int64_t wanted = 0;
    for (const Sequence* sequence : running_) {
      if (queue == &background_ || sequence->foreground()) wanted += sequence->remaining();
    }
    for (size_t i = 0; i < queue->size() && wanted < options_.max_step_tokens;) {
      Sequence& sequence = *(*queue)[i];
      switch (try_admit(sequence, plan)) {
        case Admission::kAdmitted:
          wanted += sequence.remaining();
          queue->erase(queue->begin() + static_cast<ptrdiff_t>(i));
          break;
        case Admission::kGone:
          queue->erase(queue->begin() + static_cast<ptrdiff_t>(i));
          break;
        case Admission::kLater:
          if (++passed_over > kLookAhead) return;
          ++i;
          break;
        case Admission::kWait:
          return;
        case Admission::kNoRoom:
          // Background gives way to foreground; otherwise it is this one's turn and nobody's else.
          if (!sequence.foreground() || running_.empty() || running_.back()->foreground()) return;
          preempt(*running_.back(), plan);
          break;
      }
    }
  }
}

bool Scheduler::grow(Sequence& sequence, Plan& plan) {
  while (static_cast<int64_t>(sequence.pages.size()) * tensor::kPageTokens <= sequence.computed) {
    if (const auto page = pool_.allocate()) {
      sequence.pages.push_back(*page);
      continue;
    }
    Sequence& newest = *running_.back();
    preempt(newest, plan);
    if (&newest == &sequence) return false;
  }
  return true;
}

// Drafts take what is there and nothing from anybody: no preemption, no budget until they come true.
void Scheduler::add_drafts(Plan& plan, int64_t& left) {
  const int64_t decoding = plan.rows;  // of prompts too, when foreground went before background
  if (options_.speculate == Speculate::kOff || decoding == 0) return;
  const bool always = options_.speculate == Speculate::kOn;
  const int64_t most = always ? std::max<int64_t>(1, kDraftRows / decoding) : kDraftRows / decoding;
  if (most == 0) return;
  int64_t rows = std::min(left, kDraftRows);
  for (Chunk& chunk : plan.chunks) {
    Sequence& sequence = *chunk.sequence;
    if (sequence.request.kind != Request::Kind::kGenerate || sequence.remaining() != 1) continue;
    sequence.draft.look_up(sequence.tokens, std::min(most, sequence.tokens_max - sequence.goal - 1));
    const auto found = static_cast<int64_t>(sequence.draft.ids().size());
    int64_t count = std::min(rows, always ? found : sequence.draft.worth(decoding));
    if (sequence.request.budget && count > 0) {
      count = static_cast<int64_t>(std::min(static_cast<uint64_t>(count), sequence.request.budget->left()));
    }
    while (static_cast<int64_t>(sequence.pages.size()) < pages_for(sequence.goal + count)) {
      const auto page = pool_.allocate();
      if (!page) break;
      sequence.pages.push_back(*page);
    }
    count = std::min(count, static_cast<int64_t>(sequence.pages.size()) * tensor::kPageTokens - sequence.goal);
    chunk.drafted = count;
    chunk.count += count;
    plan.rows += count;
    left -= count;
    rows -= count;
  }
}

void Scheduler::plan(Plan& plan) {
  plan.clear();
  admit(plan);
  int64_t left = options_.max_step_tokens;

  const auto take = [&](Sequence& sequence, int64_t count) {
    plan.chunks.push_back({&sequence, sequence.computed, count, 0, count == sequence.remaining()});
    sequence.draft.clear();
    plan.rows += count;
    left -= count;
  };
  const auto drop = [&](size_t i) {
    Sequence& sequence = *running_[i];
    plan.broke.push_back(&sequence);
    give_back_pages(sequence);
    running_.erase(running_.begin() + static_cast<ptrdiff_t>(i));
  };

  // Whoever is preempted here stands behind the one served, so has no row in the plan yet.
  const auto decode = [&](bool foreground) {
    for (size_t i = 0; i < running_.size() && left > 0;) {
      Sequence& sequence = *running_[i];
      if (sequence.foreground() != foreground || sequence.remaining() != 1) {
        ++i;
        continue;
      }
      const bool has_left = sequence.request.kind != Request::Kind::kGenerate ||
                            !sequence.request.budget || sequence.request.budget->left() > 0;
      if (has_left && !grow(sequence, plan)) continue;  // preempted itself: it was the last
      if (!has_left || !pay_sample(sequence)) {
        drop(i);
        continue;
      }
      take(sequence, 1);
      ++i;
    }
  };
  const auto prefill = [&](bool foreground) {
    for (size_t i = 0; i < running_.size() && left > 0;) {
      Sequence& sequence = *running_[i];
      if (sequence.foreground() == foreground && sequence.remaining() > 1) {
        const auto count = std::min(sequence.remaining(), left);
        if (count == sequence.remaining() && !pay_sample(sequence)) {
          drop(i);
          continue;
        }
        take(sequence, count);
      }
      ++i;
    }
  };
  // A background row never keeps a foreground one out of the step.
  decode(true);
  const bool background = std::any_of(running_.begin(), running_.end(), [](const Sequence* s) { return !s->foreground(); });
  if (background) {
    prefill(true);
    decode(false);
    add_drafts(plan, left);
    prefill(false);
  } else {
    add_drafts(plan, left);
    prefill(true);
  }
}

void Scheduler::accept(Sequence& sequence) {
  CHECK(sequence.remaining() == 1 && sequence.goal <= static_cast<int64_t>(sequence.pages.size()) * tensor::kPageTokens,
        "a draft's row was computed");
  commit({&sequence, sequence.computed, 1, 0, true});
}

void Scheduler::settle(Sequence& sequence) {
  // Those were taken for drafts, are nobody else's and not in the tree.
  const auto needed = static_cast<size_t>(pages_for(sequence.goal));
  while (sequence.pages.size() > needed) {
    pool_.release(sequence.pages.back());
    sequence.pages.pop_back();
  }
}

void Scheduler::commit(const Chunk& chunk) {
  Sequence& sequence = *chunk.sequence;
  CHECK(chunk.from == sequence.computed, "rows are computed in order");
  const auto first_full = sequence.computed / tensor::kPageTokens;
  sequence.computed += chunk.count - chunk.drafted;
  if (!sequence.share || sequence.alone) return;
  for (auto i = first_full; i < sequence.computed / tensor::kPageTokens; ++i) {
    auto& page = sequence.pages[static_cast<size_t>(i)];
    if (i < sequence.published) {
      pool_.mark_computed(page);
      continue;
    }
    const int32_t parent = i > 0 ? sequence.pages[static_cast<size_t>(i - 1)] : -1;
    const int32_t node = pool_.publish(page, parent, sequence.salt,
                                       page_tokens(sequence, i), BlockPool::State::kComputed,
                                       sequence.foreground());
    if (node != page) {
      if (!pool_.is_computed(node)) {
        sequence.alone = true;
        return;
      }
      // The same tokens were computed before, to the same bits: use that page, free ours.
      pool_.hold(node);
      pool_.release(page);
      page = node;
    }
    ++sequence.published;
  }
}

}  // namespace colony::engine
