#include "agent/lesson.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/file.h"
#include "base/digest.h"
#include "engine/peft.h"

namespace colony::agent {
namespace {

std::string hash_of(const std::vector<train::Example>& examples) {
  Sha256 hash;
  for (const train::Example& e : examples) {
    hash.update(std::as_bytes(std::span<const int32_t>(e.ids)));
    hash.update(std::as_bytes(std::span<const uint8_t>(e.scored)));
  }
  return hash.hex();
}

}  // namespace

Lesson::Lesson(LessonOptions options, ByteLedger& ledger, const Clock& clock, tensor::ThreadPool& pool)
    : options_(std::move(options)), ledger_(ledger), clock_(clock), pool_(pool) {
  CHECK(!options_.examples.empty() && !options_.out.empty(), "a lesson needs examples and a folder");
  slices_ = std::make_unique<Slices>([this](Slices& slices) { result_ = learn(slices); }, clock_);
}

Lesson::~Lesson() = default;

bool Lesson::run_slice() { return slices_->run(options_.slice); }

Result<train::TrainEnd> Lesson::learn(Slices& slices) {
  train::Network::Options how;
  how.dtype = options_.f32 ? tensor::WeightType::kF32 : tensor::WeightType::kBf16;
  how.breathe = [&slices] { return slices.breathe(); };
  ASSIGN_OR_RETURN(const auto network, train::Network::load(options_.model, how, ledger_, pool_));
  ASSIGN_OR_RETURN(const auto spec, engine::parse_peft(options_.peft, "the lesson's adapter", network->config()));
  if (!spec.saved.empty()) return invalid("the lesson's adapter: \"modules_to_save\" holds {}, which cannot be trained", spec.saved.front());
  ASSIGN_OR_RETURN(auto lora, train::LoraWeights::create(network->config(), spec.modules, ledger_));
  lora.initialise(options_.loop.seed);
  network->initialise_magnitudes(lora, pool_);
  ASSIGN_OR_RETURN(const auto lease, ledger_.take("trainer", train::trainer_bytes(lora)));
  train::TrainOptions loop = options_.loop;
  loop.chunk_tokens = options_.rows;
  for (const auto* part : {&options_.examples, &options_.valid}) {
    for (const train::Example& e : *part) loop.chunk_tokens = std::max(loop.chunk_tokens, static_cast<int64_t>(e.ids.size()));
  }
  if (!network->reserve(loop.chunk_tokens, lora, false)) RETURN_IF_ERROR(network->reserve(loop.chunk_tokens, lora, true));

  std::error_code problem;
  std::filesystem::create_directories(options_.out, problem);
  if (problem) return unavailable("{}: {}", options_.out.string(), problem.message());
  const auto checkpoint = options_.out / "checkpoint.safetensors";
  const Json fingerprint = {{"model", network->content_hash()}, {"adapter", sha256_hex(to_line(options_.peft))}, {"data", hash_of(options_.examples)},
                            {"validation", hash_of(options_.valid)}, {"f32", options_.f32}, {"lr", loop.learning_rate}, {"steps", loop.steps}, {"epochs", loop.epochs},
                            {"batch", loop.batch * loop.accumulate}, {"seed", loop.seed}, {"rows at once", loop.chunk_tokens}};
  train::Trainer trainer(*network, lora, options_.examples, options_.valid, loop, fingerprint, checkpoint, clock_, pool_);
  if (std::filesystem::exists(checkpoint, problem)) RETURN_IF_ERROR(trainer.resume());
  train::TrainEvents events;
  events.metric = [&](const Json& metric) {
    state_ = trainer.state();
    if (options_.metric) options_.metric(metric);
  };
  ASSIGN_OR_RETURN(const train::TrainEnd end, trainer.run(events));
  state_ = trainer.state();
  if (end == train::TrainEnd::kStopped) return end;
  trainer.take_best();
  RETURN_IF_ERROR(lora.write(options_.out / "adapter_model.safetensors", network->content_hash()));
  RETURN_IF_ERROR(write_file(options_.out / "adapter_config.json", options_.peft.dump(2) + "\n"));  // last: with it the folder is an adapter
  std::filesystem::remove(checkpoint, problem);
  return end;
}

}  // namespace colony::agent
