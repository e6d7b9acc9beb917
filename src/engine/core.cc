#include "engine/core.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/log.h"

namespace colony::engine {
namespace {

// Rows of logits made at once for kScore, so that a long prompt needs no [positions, vocab] buffer.
constexpr int64_t kScoreRows = 32;

// Sequences choose their tokens in that many parts, each with its own scratch.
constexpr int kScratchesAThread = 2;

SchedulerOptions scheduler_options(const EngineOptions& options) {
  return {options.max_sequences, static_cast<int>(Core::step_rows(options)), options.speculate};
}

// Tokens whose keys and values are needed before the first result.
int64_t first_goal(const Request& request) {
  const auto prompt = static_cast<int64_t>(request.prompt_ids.size());
  // The last token of a scored prompt predicts nothing that is asked for.
  return request.kind == Request::Kind::kScore ? std::max<int64_t>(1, prompt - 1) : prompt;
}

}  // namespace

std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop: return "stop";
    case FinishReason::kLength: return "length";
    case FinishReason::kCancelled: return "cancelled";
    case FinishReason::kError: return "error";
  }
  return "error";
}

int64_t Core::step_rows(const EngineOptions& options) {
  return std::max(options.max_step_tokens, options.max_sequences);
}

int64_t Core::head_rows(const EngineOptions& options) {
  const int64_t drafts = options.speculate == Speculate::kOff ? 0 : kDraftRows;
  return std::max<int64_t>(options.max_sequences + drafts, kScoreRows);
}

uint64_t Core::buffer_bytes(const EngineOptions& options, int64_t hidden, int64_t vocab, int threads) {
  const int64_t choosing = 3 * vocab * kScratchesAThread * threads;
  const int64_t floats = step_rows(options) * hidden + head_rows(options) * (hidden + vocab) + choosing;
  return static_cast<uint64_t>(floats) * sizeof(float);
}

Result<std::unique_ptr<Core>> Core::create(const EngineOptions& options,
                                           std::unique_ptr<Runner> runner, CoreText text,
                                           ByteLedger& ledger, tensor::ThreadPool& pool,
                                           const Clock& clock, Metrics& metrics,
                                           std::unique_ptr<Adapters> adapters) {
  if (options.max_sequences < 1) return invalid("max_sequences is {}, expected 1 or more", options.max_sequences);
  if (options.max_step_tokens < 1) return invalid("max_step_tokens is {}, expected 1 or more", options.max_step_tokens);
  auto buffers = ledger.take("scratch", buffer_bytes(options, runner->hidden_size(), runner->vocab_size(), pool.threads()));
  if (!buffers) return std::move(buffers).error().in("engine buffers");
  auto scratch = ledger.take("scratch", runner->scratch_bytes());
  if (!scratch) return std::move(scratch).error().in("model scratch");
  std::unique_ptr<Core> core(
      new Core(options, std::move(runner), std::move(text), ledger, pool, clock, metrics, std::move(adapters)));
  core->buffers_ = std::move(*buffers);
  core->scratch_ = std::move(*scratch);
  return core;
}

Core::Core(const EngineOptions& options, std::unique_ptr<Runner> runner, CoreText text,
           ByteLedger& ledger, tensor::ThreadPool& pool, const Clock& clock, Metrics& metrics,
           std::unique_ptr<Adapters> adapters)
    : options_(options),
      runner_(std::move(runner)),
      text_(std::move(text)),
      adapters_(std::move(adapters)),
      ledger_(ledger),
      pool_(pool),
      clock_(clock),
      blocks_(runner_->pages()),
      scheduler_(scheduler_options(options), blocks_, adapters_.get()),
      prompt_tokens_(metrics.get(metric::kPromptTokens)),
      generated_tokens_(metrics.get(metric::kGeneratedTokens)),
      drafted_tokens_(metrics.get(metric::kDraftedTokens)),
      accepted_tokens_(metrics.get(metric::kAcceptedTokens)),
      hit_tokens_(metrics.get(metric::kPrefixHitTokens)),
      steps_metric_(metrics.get(metric::kEngineSteps)),
      preemptions_(metrics.get(metric::kPreemptions)),
      running_metric_(metrics.get(metric::kRunning)),
      waiting_metric_(metrics.get(metric::kWaiting)),
      pages_used_(metrics.get(metric::kKvPagesUsed)),
      pages_metric_(metrics.get(metric::kKvPages)) {
  const auto rows = static_cast<size_t>(step_rows(options));
  const auto width = static_cast<size_t>(runner_->hidden_size());
  ids_.reserve(rows);
  where_.reserve(rows);
  lengths_.reserve(rows);
  row_adapters_.reserve(rows);
  sampled_adapters_.reserve(static_cast<size_t>(head_rows(options)));
  hidden_.resize(rows * width);
  picked_.resize(static_cast<size_t>(head_rows(options)) * width);
  logits_.resize(static_cast<size_t>(head_rows(options) * runner_->vocab_size()));
  scratches_.resize(static_cast<size_t>(kScratchesAThread * pool.threads()));
  pages_metric_.set(static_cast<double>(blocks_.pages()));
}

bool Core::is_eos(int32_t id) const {
  return std::find(text_.eos_ids.begin(), text_.eos_ids.end(), id) != text_.eos_ids.end();
}

Status Core::check(const Request& request) const {
  const auto prompt = static_cast<int64_t>(request.prompt_ids.size());
  if (prompt == 0) return invalid("the prompt is empty");
  for (size_t i = 0; i < request.prompt_ids.size(); ++i) {
    const int32_t id = request.prompt_ids[i];
    if (id < 0 || id >= runner_->vocab_size()) {
      return invalid("prompt token {} is {}, expected 0 to {} (the vocabulary)", i, id,
                     runner_->vocab_size() - 1);
    }
  }
  if (request.adapter && !adapters_) return invalid("this engine takes no adapters; the request names {}", request.adapter->name);
  const bool generates = request.kind == Request::Kind::kGenerate;
  if (prompt + (generates ? 1 : 0) > runner_->context()) {
    return invalid("the prompt has {} tokens{}, the model's context is {}; nothing is cut", prompt,
                   generates ? " and needs room for one more" : "", runner_->context());
  }
  if (request.kind == Request::Kind::kScore && (request.score_from < 1 || request.score_from > prompt)) {
    return invalid("score_from is {}, expected 1 to {} (the prompt's tokens)", request.score_from, prompt);
  }
  int64_t tokens = prompt;
  if (generates) {
    const SamplingParams& p = request.sampling;
    if (p.max_tokens < 1) return invalid("max_tokens is {}, expected 1 or more", p.max_tokens);
    if (!p.greedy && !(p.temperature > 0 && std::isfinite(p.temperature))) {
      return invalid("temperature is {}, expected more than 0 (or greedy)", p.temperature);
    }
    if (p.top_k < 0) return invalid("top_k is {}, expected 0 (off) or more", p.top_k);
    if (!(p.top_p > 0 && p.top_p <= 1)) return invalid("top_p is {}, expected more than 0, up to 1", p.top_p);
    if (!(p.min_p >= 0 && p.min_p <= 1)) return invalid("min_p is {}, expected 0 to 1", p.min_p);
    if (!(p.repetition_penalty > 0 && std::isfinite(p.repetition_penalty))) {
      return invalid("repetition_penalty is {}, expected more than 0", p.repetition_penalty);
    }
    if (p.logprobs < -1 || p.logprobs > runner_->vocab_size()) {
      return invalid("logprobs is {}, expected -1 (none) to {}", p.logprobs, runner_->vocab_size());
    }
    if (!p.stop.empty() && !text_.tokenizer) return invalid("stop strings need a tokenizer; the model has none");
    for (const std::string& stop : p.stop) {
      if (stop.empty()) return invalid("a stop string is empty");
    }
    if (request.constraint && !text_.tokenizer) return invalid("a constraint needs a tokenizer; the model has none");
    // The last token is never an input.
    tokens = std::min(prompt + p.max_tokens, runner_->context()) - 1;
  }
  if (pages_for(tokens) > blocks_.pages()) {
    return exhausted(
        "the request may need {} key/value pages of {} tokens, the whole cache has {}; "
        "lower max_tokens or raise --memory",
        pages_for(tokens), tensor::kPageTokens, blocks_.pages());
  }
  return {};
}

Result<RequestId> Core::submit(Request request) {
  RETURN_IF_ERROR(check(request));
  if (scheduler_.waiting() >= options_.max_waiting) {
    return exhausted("{} requests wait already, the queue holds no more", scheduler_.waiting());
  }
  const RequestId id = next_id_++;
  auto sequence = std::make_unique<Sequence>(id, std::move(request));
  const Request& asked = sequence->request;
  sequence->tokens = asked.prompt_ids;
  sequence->salt = asked.cache_salt;
  if (asked.adapter) sequence->salt += '\0' + asked.adapter->identity();
  sequence->goal = first_goal(asked);
  sequence->share = options_.prefix_cache && asked.kind != Request::Kind::kEmbed;
  sequence->submitted = clock_.now();
  sequence->output.id = id;
  if (asked.kind == Request::Kind::kGenerate) {
    sequence->tokens_max = std::min(sequence->goal + asked.sampling.max_tokens, runner_->context());
    const auto room = static_cast<size_t>(std::min<int64_t>(asked.sampling.max_tokens, 1024));
    sequence->tokens.reserve(sequence->tokens.size() + room);
    if (text_.tokenizer) sequence->text.emplace(text_.tokenizer, asked.sampling.stop);
    if (asked.constraint) {
      sequence->constraint = asked.constraint->start();
      token_bytes();
    }
  }
  scheduler_.add(*sequence);
  sequences_.emplace(id, std::move(sequence));
  waiting_metric_.set(static_cast<double>(scheduler_.waiting()));
  return id;
}

void Core::cancel(RequestId id) {
  Lock lock(cancel_mutex_);
  cancels_.push_back(id);
}

const TokenBytes* Core::token_bytes() {
  if (!token_bytes_ && text_.tokenizer) {
    token_bytes_ = std::make_unique<TokenBytes>(*text_.tokenizer, runner_->vocab_size(), text_.eos_ids);
  }
  return token_bytes_.get();
}

void Core::end_cancelled_and_late() {
  std::vector<RequestId> cancels;
  {
    Lock lock(cancel_mutex_);
    cancels.swap(cancels_);
  }
  for (const RequestId id : cancels) {
    const auto found = sequences_.find(id);
    if (found != sequences_.end()) finish(*found->second, FinishReason::kCancelled, cancelled("cancelled"));
  }
  std::vector<Sequence*> late;
  const auto now = clock_.now();
  for (const auto& [id, sequence] : sequences_) {
    if (sequence->request.deadline && now >= *sequence->request.deadline) late.push_back(sequence.get());
  }
  for (Sequence* sequence : late) {
    finish(*sequence, FinishReason::kCancelled,
           cancelled("the deadline passed after {} generated tokens", sequence->output.ids.size()));
  }
}

std::vector<Output> Core::step() {
  outputs_.clear();
  end_cancelled_and_late();
  bool foreground = false;
  if (!sequences_.empty()) {
    ++steps_;
    steps_metric_.add(1);
    scheduler_.plan(plan_);
    for (const PageCopy& copy : plan_.copies) runner_->copy_page(copy.from, copy.to);
    preemptions_.add(static_cast<double>(plan_.preempted));
    for (Sequence* sequence : plan_.broke) {
      const Budget& budget = *sequence->request.budget;
      finish(*sequence, FinishReason::kCancelled,
             exhausted("the token budget of {} is used up ({} spent)", budget.limit(), budget.spent()));
    }
    for (auto& [sequence, error] : plan_.failed) finish(*sequence, FinishReason::kError, std::move(error));
    for (const auto& [id, sequence] : sequences_) foreground = foreground || sequence->foreground();
    if (!plan_.chunks.empty()) run_rows();
  } else {
    plan_.clear();
  }
  if (adapters_) adapters_->sweep();
  running_metric_.set(static_cast<double>(scheduler_.running()));
  waiting_metric_.set(static_cast<double>(scheduler_.waiting()));
  pages_used_.set(static_cast<double>(blocks_.held()));
  if (background_ != nullptr && !foreground) background_->run_slice();
  std::sort(outputs_.begin(), outputs_.end(),
            [](const Output& a, const Output& b) { return a.id < b.id; });
  return std::move(outputs_);
}

void Core::run_rows() {
  ids_.clear();
  where_.clear();
  lengths_.clear();
  row_adapters_.clear();
  sampled_adapters_.clear();
  const bool adapted = std::any_of(plan_.chunks.begin(), plan_.chunks.end(), [](const Chunk& chunk) { return chunk.sequence->adapter != nullptr; });
  for (const Chunk& chunk : plan_.chunks) {
    Sequence& sequence = *chunk.sequence;
    if (!sequence.started) {
      sequence.started = true;
      sequence.output.first_step = steps_;
      prompt_tokens_.add(static_cast<double>(sequence.request.prompt_ids.size()));
      hit_tokens_.add(static_cast<double>(sequence.prefix_hit_tokens));
    }
    if (adapted) row_adapters_.insert(row_adapters_.end(), static_cast<size_t>(chunk.count), sequence.adapter.get());
    for (int64_t i = 0; i < chunk.count; ++i) {
      const auto at = static_cast<size_t>(chunk.from + i), known = sequence.tokens.size();
      ids_.push_back(at < known ? sequence.tokens[at] : sequence.draft.ids()[at - known]);
      where_.push_back({chunk.from + i, sequence.pages});
      // However the prompt is cut, and also when it is computed again: what HF's generate() sees.
      lengths_.push_back(std::max(chunk.from + i + 1, static_cast<int64_t>(sequence.request.prompt_ids.size())));
    }
  }
  const auto width = static_cast<size_t>(runner_->hidden_size());
  runner_->forward({ids_, where_, lengths_, row_adapters_}, std::span(hidden_).first(ids_.size() * width));

  sampled_.clear();
  size_t row = 0, picked = 0;
  for (const Chunk& chunk : plan_.chunks) {
    const auto count = static_cast<size_t>(chunk.count);
    const auto hidden = std::span<const float>(hidden_).subspan(row * width, count * width);
    row += count;
    scheduler_.commit(chunk);
    if (chunk.sequence->request.kind != Request::Kind::kGenerate) {
      take_result(chunk, hidden);
    } else if (chunk.last) {
      const auto drafted = static_cast<size_t>(chunk.drafted);
      const auto last = hidden.last((1 + drafted) * width);
      std::copy(last.begin(), last.end(), picked_.begin() + static_cast<ptrdiff_t>(picked * width));
      sampled_.push_back({chunk.sequence, picked, drafted});
      picked += 1 + drafted;
      drafted_tokens_.add(static_cast<double>(drafted));
      if (adapted) sampled_adapters_.insert(sampled_adapters_.end(), 1 + drafted, chunk.sequence->adapter.get());
    }
  }
  sample();
  // What the model's scratch grew to is booked as soon as it is known.
  if (runner_->scratch_bytes() > scratch_.bytes()) {
    const Status grown = scratch_.resize(runner_->scratch_bytes());
    if (!grown) log_warn("engine scratch: {}", grown.error().message);
  }
}

void Core::take_result(const Chunk& chunk, std::span<const float> hidden) {
  Sequence& sequence = *chunk.sequence;
  const auto width = static_cast<size_t>(runner_->hidden_size());
  switch (sequence.request.kind) {
    case Request::Kind::kEmbed:
      // From the first row again after a preemption; always in ascending order of rows.
      if (chunk.from == 0) sequence.hidden_sum.assign(width, 0.0);
      for (size_t i = 0; i < hidden.size(); ++i) sequence.hidden_sum[i % width] += static_cast<double>(hidden[i]);
      if (!chunk.last) return;
      sequence.output.values.resize(width);
      for (size_t i = 0; i < width; ++i) {
        sequence.output.values[i] = static_cast<float>(sequence.hidden_sum[i] / static_cast<double>(sequence.goal));
      }
      break;
    case Request::Kind::kLogits:
      take_logits(sequence, chunk, hidden);
      break;
    case Request::Kind::kScore:
      take_scores(sequence, chunk, hidden);
      break;
    case Request::Kind::kGenerate:
      CHECK(false, "generating rows are sampled");
  }
  if (chunk.last && sequences_.contains(sequence.id)) finish(sequence, FinishReason::kStop);
}

void Core::take_logits(Sequence& sequence, const Chunk& chunk, std::span<const float> hidden) {
  const auto vocab = static_cast<size_t>(runner_->vocab_size());
  std::vector<float>& values = sequence.output.values;
  if (values.empty()) {
    const size_t size = static_cast<size_t>(sequence.goal) * vocab;
    auto lease = ledger_.take("scratch", size * sizeof(float));
    if (!lease) {
      finish(sequence, FinishReason::kError, std::move(lease).error().in("logits of all positions"));
      return;
    }
    sequence.output.values_bytes = std::make_shared<ByteLease>(std::move(*lease));
    values.resize(size);
  }
  const std::vector<const model::Adapter*> adapters(sequence.adapter ? static_cast<size_t>(chunk.count) : 0, sequence.adapter.get());
  runner_->head(hidden, chunk.count,
                std::span(values).subspan(static_cast<size_t>(chunk.from) * vocab,
                                          static_cast<size_t>(chunk.count) * vocab),
                adapters);
}

void Core::take_scores(Sequence& sequence, const Chunk& chunk, std::span<const float> hidden) {
  const auto width = static_cast<size_t>(runner_->hidden_size());
  const auto vocab = static_cast<size_t>(runner_->vocab_size());
  const auto& prompt = sequence.request.prompt_ids;
  const int64_t first = sequence.request.score_from;  // the row before it predicts it
  sequence.output.logprobs.resize(prompt.size() - static_cast<size_t>(first));
  const int64_t end = std::min(chunk.from + chunk.count, static_cast<int64_t>(prompt.size()) - 1);
  for (int64_t position = std::max(chunk.from, first - 1); position < end;) {
    const int64_t rows = std::min(end - position, kScoreRows);
    const auto part = hidden.subspan(static_cast<size_t>(position - chunk.from) * width,
                                     static_cast<size_t>(rows) * width);
    const auto logits = std::span(logits_).first(static_cast<size_t>(rows) * vocab);
    const std::vector<const model::Adapter*> adapters(sequence.adapter ? static_cast<size_t>(rows) : 0, sequence.adapter.get());
    runner_->head(part, rows, logits, adapters);
    pool_.run(static_cast<int>(rows), [&](int row) {
      const auto token = static_cast<size_t>(position + row + 1);
      sequence.output.logprobs[token - static_cast<size_t>(first)] =
          logprob_of(logits.subspan(static_cast<size_t>(row) * vocab, vocab), prompt[token],
                     std::max(0, sequence.request.sampling.logprobs));
    });
    position += rows;
  }
}

void Core::sample() {
  if (sampled_.empty()) return;
  const auto width = static_cast<size_t>(runner_->hidden_size());
  const auto vocab = static_cast<size_t>(runner_->vocab_size());
  const size_t rows = sampled_.back().row + 1 + sampled_.back().drafted;
  const auto logits = std::span(logits_).first(rows * vocab);
  runner_->head(std::span<const float>(picked_).first(rows * width), static_cast<int64_t>(rows), logits, sampled_adapters_);
  // First everybody's next token; then, of those whose draft came true, the one after it; and so on.
  for (size_t depth = 0; !sampled_.empty(); ++depth) {
    const size_t count = sampled_.size();
    choices_.assign(count, Choice{});
    // A row's choice depends on its sequence alone, so it does not matter who makes it.
    const size_t parts = std::min(count, scratches_.size());
    pool_.run(static_cast<int>(parts), [&](int item) {
      const auto part = static_cast<size_t>(item);
      for (size_t i = count * part / parts; i < count * (part + 1) / parts; ++i) {
        choices_[i] = choose(*sampled_[i].sequence, logits.subspan((sampled_[i].row + depth) * vocab, vocab),
                             text_.eos_ids, token_bytes_.get(), scratches_[part]);
      }
    });
    size_t going_on = 0;
    for (size_t i = 0; i < sampled_.size(); ++i) {
      const int32_t chosen = choices_[i].id;
      if (!take_token(*sampled_[i].sequence, std::move(choices_[i]))) continue;
      if (accept(sampled_[i], depth, chosen)) sampled_[going_on++] = sampled_[i];
    }
    sampled_.resize(going_on);
  }
}

bool Core::accept(const Sampled& sampled, size_t depth, int32_t chosen) {
  Sequence& sequence = *sampled.sequence;
  // What was found is judged also where it was not worth a row.
  const auto ids = sequence.draft.ids();
  const bool hit = depth < ids.size() && ids[depth] == chosen;
  if (depth < ids.size()) sequence.draft.saw(hit);
  if (hit && depth < sampled.drafted && (!sequence.request.budget || sequence.request.budget->debit(1))) {
    scheduler_.accept(sequence);
    accepted_tokens_.add(1);
    return true;
  }
  scheduler_.settle(sequence);
  return false;
}

bool Core::take_token(Sequence& sequence, Choice choice) {
  if (choice.error) {
    finish(sequence, FinishReason::kError, std::move(choice.error));
    return false;
  }
  Output& output = sequence.output;
  const SamplingParams& params = sequence.request.sampling;
  generated_tokens_.add(1);
  output.ids.push_back(choice.id);
  if (choice.logprob) output.logprobs.push_back(std::move(*choice.logprob));
  sequence.tokens.push_back(choice.id);
  sequence.goal = static_cast<int64_t>(sequence.tokens.size());

  if (!params.ignore_eos && is_eos(choice.id)) {
    finish(sequence, FinishReason::kStop);
    return false;
  }
  if (sequence.text && sequence.text->push(choice.id)) {
    finish(sequence, FinishReason::kStop);
  } else if (choice.constraint_exhausted) {
    finish(sequence, FinishReason::kStop);
  } else if (static_cast<int64_t>(output.ids.size()) >= params.max_tokens ||
             sequence.goal >= runner_->context()) {
    finish(sequence, FinishReason::kLength);
  } else {
    say(sequence);
    return true;
  }
  return false;
}

void Core::say(Sequence& sequence) {
  if (!on_text_ || !sequence.text) return;
  const std::string piece = sequence.text->take_piece();
  if (!piece.empty()) on_text_(sequence.id, piece);
}

void Core::finish(Sequence& sequence, FinishReason reason, std::optional<Error> error) {
  Output& output = sequence.output;
  if (sequence.text) {
    // What the decoder still held may complete a stop string.
    if (sequence.text->finish() && reason == FinishReason::kLength) reason = FinishReason::kStop;
    say(sequence);
    output.text = sequence.text->text();
  }
  if (error) {
    output.values.clear();
    output.values_bytes.reset();
    if (sequence.request.kind == Request::Kind::kScore) output.logprobs.clear();
  }
  // An end of sequence comes only where the constraint is whole; one that could go on may have been about to.
  output.cut = sequence.constraint && (reason == FinishReason::kLength || (reason == FinishReason::kStop && !sequence.constraint->complete()));
  output.finish = reason;
  output.error = std::move(error);
  output.prompt_ids = sequence.request.prompt_ids;
  output.prefix_hit_tokens = sequence.prefix_hit_tokens;
  output.last_step = steps_;
  output.seconds = std::chrono::duration<double>(clock_.now() - sequence.submitted).count();
  scheduler_.remove(sequence);
  outputs_.push_back(std::move(output));
  sequences_.erase(sequence.id);
}

}  // namespace colony::engine
