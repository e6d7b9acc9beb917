#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>

#include "base/check.h"
#include "base/rng.h"
#include "model/safetensors.h"

namespace colony::train {
namespace {

constexpr uint16_t kOrderStream = 302;
constexpr double kSecondsBetweenSaves = 20;
constexpr int64_t kTimedSteps = 4;  // updates that tell how long one takes
constexpr double kForwardShare = 0.45;    // of a token's time in an update
constexpr double kEvaluationShare = 0.2;  // of the time, for all evaluations together
constexpr double kLeastValidShare = 0.05;
constexpr int64_t kTimedAnswers = 8;      // that tell how long one takes

// Consecutive examples whose tokens together are at most `most`, or one longer one.
template <typename Call>
void over_chunks(const std::vector<const Example*>& examples, int64_t most, const Call& call) {
  for (size_t from = 0; from < examples.size();) {
    size_t to = from;
    int64_t tokens = 0;
    while (to < examples.size() && (to == from || tokens + static_cast<int64_t>(examples[to]->ids.size()) <= most)) {
      tokens += static_cast<int64_t>(examples[to++]->ids.size());
    }
    call(from, std::span(examples).subspan(from, to - from));
    from = to;
  }
}

}  // namespace

uint64_t trainer_bytes(const LoraWeights& lora) { return lora.values().size() * sizeof(float) * 3; }

Trainer::Trainer(Network& network, LoraWeights& lora, std::vector<Example> examples, std::vector<Example> valid, const TrainOptions& options,
                 Json fingerprint, std::filesystem::path checkpoint, const Clock& clock, tensor::ThreadPool& pool)
    : network_(network), lora_(lora), examples_(std::move(examples)), valid_(std::move(valid)), options_(options),
      fingerprint_(std::move(fingerprint)), checkpoint_(std::move(checkpoint)), clock_(clock), pool_(pool),
      adam_(lora.values().size(), options.adam) {
  CHECK(!examples_.empty() && options_.batch > 0 && options_.accumulate > 0, "something to train on");
  state_.total = options_.steps > 0 ? options_.steps
                                    : std::max<int64_t>(1, std::llround(std::ceil(options_.epochs * static_cast<double>(updates_per_epoch()) - 1e-9)));
}

int64_t Trainer::updates_per_epoch() const {
  const int64_t size = options_.batch * options_.accumulate;
  return (static_cast<int64_t>(examples_.size()) + size - 1) / size;
}

std::vector<size_t> Trainer::order(int64_t epoch) const {
  std::vector<size_t> places(examples_.size());
  std::iota(places.begin(), places.end(), size_t{0});
  for (size_t i = places.size(); i > 1; --i) {
    RngStream rng(options_.seed, static_cast<uint64_t>(epoch) << 32 | i, 0, kOrderStream);
    std::swap(places[i - 1], places[rng.below(i)]);
  }
  return places;
}

std::optional<double> Trainer::evaluate() {
  std::vector<const Example*> all;
  const size_t count = state_.judged > 0 ? std::min(static_cast<size_t>(state_.judged), valid_.size()) : valid_.size();
  for (size_t i = 0; i < count; ++i) all.push_back(&valid_[i * valid_.size() / count]);
  double loss = 0;
  int64_t targets = 0;
  bool abandoned = false;
  over_chunks(all, options_.chunk_tokens, [&](size_t, std::span<const Example* const> chunk) {
    if (abandoned) return;
    const PassResult result = network_.pass(chunk, lora_, {}, pool_);
    abandoned = result.abandoned;
    loss += result.loss_sum;
    targets += result.targets;
  });
  if (abandoned) return std::nullopt;
  return loss / static_cast<double>(std::max<int64_t>(1, targets));
}

TimePlan plan_time(double left, double update_seconds, double evaluation_seconds, int64_t most_updates, double answer_seconds, int64_t most_answers) {
  TimePlan plan;
  const bool answers = answer_seconds > 0 && most_answers > 0;
  const double share = kEvaluationShare * std::max(left, 0.0) * (answers ? 0.5 : 1.0);
  if (2 * evaluation_seconds > share) {
    plan.valid_share = std::max(kLeastValidShare, share / (2 * evaluation_seconds));
    evaluation_seconds *= plan.valid_share;
  }
  plan.evaluations = evaluation_seconds > 0 ? std::clamp<int64_t>(static_cast<int64_t>(share / evaluation_seconds), 1, 10) : 10;
  if (answers) plan.answers = std::min(most_answers, static_cast<int64_t>(share / static_cast<double>(plan.evaluations) / answer_seconds));
  const double training = left - static_cast<double>(plan.evaluations) * (evaluation_seconds + static_cast<double>(plan.answers) * answer_seconds);
  plan.updates = std::clamp<int64_t>(static_cast<int64_t>(0.95 * std::max(training, 0.0) / update_seconds), 1, std::max<int64_t>(1, most_updates));
  return plan;
}

Result<TrainEnd> Trainer::run(const TrainEvents& events) {
  const int64_t size = options_.batch * options_.accumulate, per_epoch = updates_per_epoch();
  const double began = clock_.seconds() - state_.seconds;
  double last_save = clock_.seconds(), timed_from = clock_.seconds();
  int64_t ordered = -1, timed_steps = 0;
  double valid_tokens = 0;
  for (const Example& e : valid_) valid_tokens += static_cast<double>(e.ids.size());
  std::vector<size_t> places;
  if (options_.minutes <= 0) state_.answers = options_.answers;
  // The validation loss now; true, and the weights are kept, when it is the best so far. None: abandoned.
  const auto judge = [&]() -> std::optional<bool> {
    const auto loss = evaluate();
    if (!loss) return std::nullopt;
    state_.last_valid = *loss;
    Json metric = {{"step", state_.step}, {"valid_loss", *loss}};
    if (events.answer && state_.answers > 0) {
      const auto score = events.answer(state_.answers);
      if (score && score->asked > 0) {
        metric["exact_match"] = static_cast<double>(score->right) / static_cast<double>(score->asked);
        metric["answered"] = score->asked;
      }
    }
    metric["seconds"] = clock_.seconds() - began;
    events.metric(metric);
    if (state_.best_step >= 0 && !(state_.last_valid < state_.best_loss)) return false;
    state_.best_loss = state_.last_valid;
    state_.best_step = state_.step;
    best_.assign(lora_.values().begin(), lora_.values().end());
    return true;
  };
  // Judges, and says how the run ends if it does.
  const auto judge_and_end = [&]() -> Result<std::optional<TrainEnd>> {
    state_.due = true;
    const auto better = judge();
    state_.seconds = clock_.seconds() - began;
    if (!better) {
      RETURN_IF_ERROR(save());
      return std::optional(TrainEnd::kStopped);
    }
    state_.due = false;
    if (*better) {
      state_.worse = 0;
    } else if (++state_.worse >= options_.patience && options_.patience > 0) {
      RETURN_IF_ERROR(save());
      return std::optional(TrainEnd::kEarly);
    }
    return std::optional<TrainEnd>();
  };
  network_.refresh(lora_, pool_);
  if (state_.due) {
    ASSIGN_OR_RETURN(const auto end, judge_and_end());
    if (end) return *end;
  }
  if (options_.patience > 0 && state_.worse >= options_.patience) return TrainEnd::kEarly;  // resumed after its end
  while (state_.step < state_.total) {
    const int64_t epoch = state_.step / per_epoch, within = state_.step % per_epoch;
    if (epoch != ordered) places = order(ordered = epoch);
    std::vector<const Example*> group;
    int64_t targets = 0, tokens = 0;
    for (int64_t i = within * size; i < std::min(static_cast<int64_t>(examples_.size()), (within + 1) * size); ++i) {
      group.push_back(&examples_[places[static_cast<size_t>(i)]]);
      targets += group.back()->targets();
      tokens += static_cast<int64_t>(group.back()->ids.size());
    }
    const double start = clock_.seconds();
    std::ranges::fill(lora_.gradients(), 0.0f);
    double loss = 0;
    bool abandoned = false;
    over_chunks(group, options_.chunk_tokens, [&](size_t first, std::span<const Example* const> chunk) {
      if (abandoned) return;
      const PassResult result = network_.pass(chunk, lora_,
                                              {.gradients = true,
                                               .weight = 1.0f / static_cast<float>(targets),
                                               .dropout = options_.dropout,
                                               .seed = options_.seed,
                                               .first_draw = static_cast<uint64_t>(state_.step * size) + first},
                                              pool_);
      abandoned = result.abandoned;
      loss += result.loss_sum;
    });
    if (abandoned) {  // nothing has changed since the update before
      RETURN_IF_ERROR(save());
      return TrainEnd::kStopped;
    }
    loss /= static_cast<double>(targets);
    const double norm = gradient_norm(lora_.gradients());
    if (!std::isfinite(loss) || !std::isfinite(norm)) {
      return invalid("update {}: the loss is {} and the gradient's length {}; the learning rate {} may be too high: try a tenth of it", state_.step + 1, loss,
                     norm, options_.learning_rate);
    }
    const int64_t warmup = options_.warmup >= 1 ? std::llround(options_.warmup)
                                                : static_cast<int64_t>(std::ceil(options_.warmup * static_cast<double>(state_.total)));
    const double rate = options_.learning_rate * schedule_factor(options_.schedule, state_.step, warmup, state_.total);
    adam_.step(lora_.values(), lora_.gradients(), clip_factor(norm, options_.clip), rate);
    network_.refresh(lora_, pool_);
    ++state_.step;
    state_.tokens += tokens;
    state_.recent.push_back(loss);
    if (state_.recent.size() > 10) state_.recent.erase(state_.recent.begin());
    const double now = clock_.seconds();
    state_.seconds = now - began;
    events.metric({{"step", state_.step}, {"loss", loss}, {"lr", rate}, {"tokens_per_s", static_cast<double>(tokens) / std::max(1e-9, now - start)},
                   {"grad_norm", norm}, {"epoch", static_cast<double>(state_.step) / static_cast<double>(per_epoch)}, {"tokens", state_.tokens},
                   {"total", state_.total}, {"seconds", state_.seconds}});

    // How many updates fit is found out once, after a few of them or a tenth of the time.
    ++timed_steps;
    if (options_.minutes > 0 && state_.evaluations == 0 && (timed_steps == kTimedSteps || state_.seconds > 6 * options_.minutes)) {
      const double each = (now - timed_from) / static_cast<double>(timed_steps);
      const double evaluation = valid_tokens * each / (static_cast<double>(state_.tokens) / static_cast<double>(state_.step)) * kForwardShare;
      double answer = 0;
      if (events.answer && options_.answers > 0 && !valid_.empty()) {
        const double from = clock_.seconds();
        const auto score = events.answer(std::min(kTimedAnswers, options_.answers));
        if (score && score->asked > 0) answer = (clock_.seconds() - from) / static_cast<double>(score->asked);
      }
      const TimePlan plan = plan_time(options_.minutes * 60 - (clock_.seconds() - began), each, evaluation, state_.total - state_.step, answer, options_.answers);
      state_.answers = plan.answers;
      state_.judged = static_cast<int64_t>(std::ceil(plan.valid_share * static_cast<double>(valid_.size())));
      state_.total = state_.step + plan.updates;
      state_.evaluations = plan.evaluations;
    }

    const int64_t evaluations = options_.minutes > 0 ? state_.evaluations : 10;  // 0: not planned yet
    const int64_t every = options_.eval_every > 0 ? options_.eval_every
                          : evaluations > 0       ? std::max<int64_t>(1, (state_.total + evaluations - 1) / evaluations)
                                                  : state_.total;
    const bool last = state_.step == state_.total;
    if (!valid_.empty() && (last || state_.step % every == 0)) {
      ASSIGN_OR_RETURN(const auto end, judge_and_end());
      if (end) return *end;
    }
    const bool stopped = events.stop && events.stop() && !last;
    const bool due = options_.save_every > 0 ? state_.step % options_.save_every == 0 : clock_.seconds() - last_save >= kSecondsBetweenSaves;
    if (stopped || last || due) {
      RETURN_IF_ERROR(save());
      last_save = clock_.seconds();
    }
    if (stopped) return TrainEnd::kStopped;
    if (options_.minutes > 0 && state_.seconds > options_.minutes * 60 && !last) {
      if (!valid_.empty() && state_.step % every != 0) (void)judge();
      RETURN_IF_ERROR(save());
      return TrainEnd::kTime;
    }
  }
  return TrainEnd::kDone;
}

void Trainer::take_best() {
  if (!best_.empty()) std::ranges::copy(best_, lora_.values().begin());
}

Status Trainer::save() {
  const Json state = {{"format", 1}, {"step", state_.step}, {"total", state_.total}, {"tokens", state_.tokens}, {"seconds", state_.seconds},
                      {"best_loss", state_.best_loss}, {"best_step", state_.best_step}, {"worse", state_.worse}, {"evaluations", state_.evaluations}, {"answers", state_.answers}, {"judged", state_.judged}, {"due", state_.due}, {"recent", state_.recent},
                      {"last_valid", state_.last_valid}, {"optimizer_steps", adam_.steps()}, {"fingerprint", fingerprint_}};
  const std::vector<uint64_t> shape = {lora_.values().size()};
  const auto bytes = [](std::span<const float> x) { return std::as_bytes(x); };
  std::vector<model::TensorToWrite> tensors = {{"values", "F32", shape, bytes(lora_.values())}, {"m", "F32", shape, bytes(adam_.m())}, {"v", "F32", shape, bytes(adam_.v())}};
  if (!best_.empty()) tensors.push_back({"best", "F32", shape, bytes(best_)});
  return model::write_safetensors(checkpoint_, std::move(tensors), {{"state", to_line(state)}});
}

Status Trainer::resume() {
  ASSIGN_OR_RETURN(const auto file, model::SafetensorsFile::open(checkpoint_));
  const auto text = file->metadata().find("state");
  if (text == file->metadata().end()) return corrupt("{}: no checkpoint: the entry \"state\" is missing", file->name());
  ASSIGN_OR_RETURN(const Json state, parse_json(text->second));
  if (!state.is_object() || state.value("format", 0) != 1 || !state.contains("fingerprint")) return corrupt("{}: a checkpoint of another version", file->name());
  const Json& made = state["fingerprint"];
  for (const auto& [key, value] : fingerprint_.items()) {
    if (!made.contains(key) || made[key] != value) {
      return invalid("{}: made with {} = {}, this run has {}; resume with the same data and options", file->name(), key,
                     made.contains(key) ? to_line(made[key]).substr(0, 100) : "nothing", to_line(value).substr(0, 100));
    }
  }
  const auto take = [&](const char* name, std::span<float> out) -> Status {
    const auto at = file->tensors().find(name);
    if (at == file->tensors().end() || at->second.dtype != "F32" || at->second.data.size() != out.size() * 4) {
      return corrupt("{}: tensor {} is missing or has another size", file->name(), name);
    }
    std::memcpy(out.data(), at->second.data.data(), at->second.data.size());
    return {};
  };
  RETURN_IF_ERROR(take("values", lora_.values()));
  RETURN_IF_ERROR(take("m", adam_.m()));
  RETURN_IF_ERROR(take("v", adam_.v()));
  best_.clear();
  if (file->tensors().contains("best")) {
    best_.resize(lora_.values().size());
    RETURN_IF_ERROR(take("best", best_));
  }
  try {
    state_.step = state.at("step").get<int64_t>();
    state_.total = state.at("total").get<int64_t>();
    state_.tokens = state.at("tokens").get<int64_t>();
    state_.seconds = state.at("seconds").get<double>();
    state_.best_loss = state.at("best_loss").get<double>();
    state_.best_step = state.at("best_step").get<int64_t>();
    state_.worse = state.at("worse").get<int64_t>();
    state_.evaluations = state.at("evaluations").get<int64_t>();
    state_.answers = state.value("answers", int64_t{0});
    state_.judged = state.value("judged", int64_t{0});
    state_.due = state.value("due", false);
    state_.recent = state.at("recent").get<std::vector<double>>();
    state_.last_valid = state.at("last_valid").get<double>();
    adam_.set_steps(state.at("optimizer_steps").get<int64_t>());
  } catch (const nlohmann::json::exception& problem) {
    return corrupt("{}: \"state\": {}", file->name(), problem.what());
  }
  return {};
}

}  // namespace colony::train
