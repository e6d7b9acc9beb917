#include "agent/place.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>

#include "base/check.h"
#include "base/file.h"
#include "base/log.h"
#include "base/rng.h"

namespace colony::agent {
namespace {

constexpr uint64_t kProjectionSeed = 0x706c616365ULL;  // "place"
constexpr uint16_t kProjectionStream = 32;             // streams below 32 belong to the swarm

constexpr std::array<std::string_view, 64> kTexts{
    "The old bridge crosses the water near the mill.",
    "She opened the letter and read it twice before she answered.",
    "Most people in the village know each other by name.",
    "The train to the north leaves from the second platform.",
    "He has worked in the same office for more than ten years.",
    "Please describe how this machine works.",
    "What should I know before I begin?",
    "Could you explain the difference between the two plans?",
    "The committee will meet again in spring to decide.",
    "Children under twelve may enter without a ticket.",
    "A small group of students waited outside the library.",
    "I would like to change my address and my phone contract.",
    "Tell me a short story about a lonely lighthouse.",
    "Why do leaves change their color in autumn?",
    "The report describes three causes of the accident.",
    "Nobody had expected so many visitors on the first day.",
    "Write a polite letter to my landlord about the broken heater.",
    "Explain in simple words what electricity is.",
    "The museum is closed for repairs until further notice.",
    "Water boils faster when the lid is on the pot.",
    "Who invented the printing press, and why did it matter?",
    "They painted the fence white and planted roses along it.",
    "Give me some advice for my first day at a new job.",
    "The law was changed after a long debate in parliament.",
    "Rewrite this sentence so that it sounds more friendly.",
    "My neighbor repairs clocks and sells them at the market.",
    "How do I reset the password of my account?",
    "The results of the experiment were published last month.",
    "Summarize the main idea of the following paragraph.",
    "Some birds travel thousands of miles without a rest.",
    "Please answer the question as briefly as you can.",
    "The engine started after the third attempt.",
    "What does this error message mean?",
    "A good dictionary gives examples for every word.",
    "The farmer sold his land and moved to the coast.",
    "Make a list of things to pack for a journey.",
    "In the beginning the company had only four employees.",
    "Is it better to rent or to buy a house?",
    "The doctor advised him to sleep more and to worry less.",
    "Translate the following sentence into English.",
    "We followed the path until we reached an empty hut.",
    "Choose the best answer and give a reason.",
    "The software is free, but the support must be paid.",
    "How can I learn to play chess well?",
    "Her brother studies law at a university abroad.",
    "Correct the mistakes in this text.",
    "The shop sells paper, pens and other things for the office.",
    "What is the purpose of this function?",
    "Two men carried the piano up the narrow stairs.",
    "Compare the advantages of both methods.",
    "The river rose slowly and flooded the lower fields.",
    "Which of these statements is true?",
    "He wrote the book in a single winter.",
    "Complete the sentence with a suitable word.",
    "The meeting was moved to another building.",
    "Plants need light, air and water to grow.",
    "Give an example of a renewable source of energy.",
    "The judge asked the witness to speak louder.",
    "I forgot my keys, so I waited on the steps.",
    "What happened after the war ended?",
    "The artist uses only natural colors and old wood.",
    "Describe the steps in the right order.",
    "An honest answer is worth more than a clever one.",
    "Where can I find more information about this?",
};

bool finite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

// values / |values|; false when there is no direction.
template <typename Values>
bool to_unit(Values& values) {
  double sum = 0;
  for (const float v : values) sum += static_cast<double>(v) * v;
  if (!(sum > 1e-24) || !std::isfinite(sum)) return false;
  const double scale = 1 / std::sqrt(sum);
  for (float& v : values) v = static_cast<float>(v * scale);
  return true;
}

// What all embeddings of a model are compared with, both [hidden].
struct Spread {
  std::vector<float> mean, deviation;
};

Result<Spread> read_spread(const std::filesystem::path& path, size_t hidden) {
  ASSIGN_OR_RETURN(const std::string bytes, read_file(path, 1 << 24));
  const size_t half = hidden * sizeof(float);
  if (bytes.size() != 2 * half) {
    return corrupt("{}: found {} bytes, expected {}", path.string(), bytes.size(), 2 * half);
  }
  Spread spread{std::vector<float>(hidden), std::vector<float>(hidden)};
  std::memcpy(spread.mean.data(), bytes.data(), half);
  std::memcpy(spread.deviation.data(), bytes.data() + half, half);
  if (!finite(spread.mean) || !finite(spread.deviation)) {
    return corrupt("{}: found a value that is not finite", path.string());
  }
  if (*std::min_element(spread.deviation.begin(), spread.deviation.end()) <= 0) {
    return corrupt("{}: found a deviation of 0 or less", path.string());
  }
  return spread;
}

Status write_spread(const std::filesystem::path& path, const Spread& spread) {
  std::error_code code;
  std::filesystem::create_directories(path.parent_path(), code);
  std::string bytes;
  for (const auto* part : {&spread.mean, &spread.deviation}) {
    bytes.append(reinterpret_cast<const char*>(part->data()), part->size() * sizeof(float));
  }
  return write_file(path, bytes);
}

// Runs the calibration texts; the engine is ours meanwhile.
Result<Spread> compute_spread(engine::Engine& engine) {
  const auto texts = calibration_texts();
  auto embedded = embed(engine, std::vector<std::string>(texts.begin(), texts.end()));
  if (!embedded) return std::move(embedded).error().in("calibration of places");
  std::vector<double> sum(embedded->front().size()), squares(sum.size());
  for (auto& values : *embedded) {
    if (values.size() != sum.size() || !to_unit(values)) {
      return corrupt("calibration of places: an embedding has no direction");
    }
    for (size_t i = 0; i < sum.size(); ++i) {
      const auto value = static_cast<double>(values[i]);
      sum[i] += value;
      squares[i] += value * value;
    }
  }
  const auto count = static_cast<double>(calibration_texts().size());
  std::vector<double> deviation(sum.size());
  double typical = 0;
  for (size_t i = 0; i < sum.size(); ++i) {
    const double mean = sum[i] / count;
    deviation[i] = std::sqrt(std::max(0.0, squares[i] / count - mean * mean));
    typical += deviation[i] / static_cast<double>(sum.size());
  }
  if (!(typical > 0) || !std::isfinite(typical)) {
    return corrupt("calibration of places: all texts have one embedding");
  }
  Spread spread;
  for (size_t i = 0; i < sum.size(); ++i) {
    spread.mean.push_back(static_cast<float>(sum[i] / count));
    // A number that hardly moves must not count for more than the others.
    spread.deviation.push_back(static_cast<float>(std::max(deviation[i], typical / 100)));
  }
  return spread;
}

}  // namespace

std::span<const std::string_view> calibration_texts() { return kTexts; }

Result<std::vector<std::vector<float>>> embed(engine::Engine& engine, std::span<const std::string> texts) {
  std::map<engine::RequestId, size_t> open;
  for (size_t i = 0; i < texts.size(); ++i) {
    ASSIGN_OR_RETURN(auto request, Placer::request(engine.snapshot(), texts[i]));
    ASSIGN_OR_RETURN(const auto id, engine.submit(std::move(request)));
    open.emplace(id, i);
  }
  std::vector<std::vector<float>> embedded(texts.size());
  while (!open.empty()) {
    for (auto& output : engine.step()) {
      const auto at = open.find(output.id);
      if (at == open.end()) continue;  // cancelled by an earlier owner
      if (output.error) return std::move(*output.error);
      embedded[at->second] = std::move(output.values);
      open.erase(at);
    }
  }
  return embedded;
}

Placer::Placer(std::vector<float> mean, std::vector<float> deviation)
    : mean_(std::move(mean)), deviation_(std::move(deviation)) {
  CHECK(mean_.size() == deviation_.size(), "a deviation for each number");
  CHECK(std::all_of(deviation_.begin(), deviation_.end(), [](float s) { return s > 0; }), "s > 0");
  // One stream a row: a row's numbers do not depend on the hidden size of another model.
  projection_.resize(static_cast<size_t>(swarm::kPlaceDim) * mean_.size());
  for (size_t row = 0; row < static_cast<size_t>(swarm::kPlaceDim); ++row) {
    RngStream rng(kProjectionSeed, row, 0, kProjectionStream);
    for (size_t i = 0; i < mean_.size(); ++i) {
      projection_[row * mean_.size() + i] = static_cast<float>(rng.normal());
    }
  }
}

Result<Placer> Placer::create(engine::Engine& engine, const std::filesystem::path& home) {
  std::filesystem::path file;
  if (!home.empty()) {
    file = home / "places" / (engine.snapshot().model->content_hash().substr(0, 32) + ".f32");
    std::error_code code;
    if (std::filesystem::exists(file, code)) {
      auto kept = read_spread(
          file, static_cast<size_t>(engine.snapshot().model->config().hidden_size));
      if (kept) return Placer(std::move(kept->mean), std::move(kept->deviation));
      log_warn("places: {}; it is computed again", kept.error().message);
    }
  }
  ASSIGN_OR_RETURN(auto spread, compute_spread(engine));
  if (!file.empty()) {
    if (const auto written = write_spread(file, spread); !written) {
      log_warn("places: {}", written.error().message);
    }
  }
  return Placer(std::move(spread.mean), std::move(spread.deviation));
}

Result<engine::Request> Placer::request(const engine::Snapshot& snapshot, std::string_view text) {
  engine::Request request;
  request.kind = engine::Request::Kind::kEmbed;
  ASSIGN_OR_RETURN(request.prompt_ids, snapshot.raw_ids(text));
  return request;
}

Result<swarm::Place> Placer::place(std::span<const float> values) const {
  if (values.size() != mean_.size()) {
    return corrupt("place: found {} values, expected {}", values.size(), mean_.size());
  }
  std::vector<float> centred(values.begin(), values.end());
  if (!to_unit(centred)) return corrupt("place: the embedding has no direction");
  for (size_t i = 0; i < centred.size(); ++i) centred[i] = (centred[i] - mean_[i]) / deviation_[i];
  swarm::Place place{};
  for (size_t row = 0; row < place.size(); ++row) {
    double sum = 0;
    const float* weights = projection_.data() + row * centred.size();
    for (size_t i = 0; i < centred.size(); ++i) sum += static_cast<double>(weights[i]) * centred[i];
    place[row] = static_cast<float>(sum);
  }
  if (!to_unit(place)) return corrupt("place: the embedding has no direction");
  return place;
}

}  // namespace colony::agent
