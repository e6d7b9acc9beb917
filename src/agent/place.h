// The place of a task: where its text lies in task space, as 64 numbers.
//
//   place = unit(P · (h − m) / s)   h: mean over positions of the base model's last hidden state for
//                                      the raw prompt, made unit length first
//                                   m, s: mean and standard deviation of each of its numbers over a
//                                      fixed list of calibration texts
//                                   P: [64, hidden], Gaussian, fixed seed (Johnson–Lindenstrauss)
//
// Hidden states lie in a narrow cone: without m every task is at the same place. A few of their
// numbers are far larger than all others: without s those decide alone, and which kinds of tasks the
// 64 numbers tell apart is the luck of P (purity by kind of landmarks on the examples, six draws of P:
// 0.83 to 0.93 without s, 0.93 to 0.95 with). m and s belong to the model and are kept under
// HOME/places/<first 32 digits of the content hash>.f32 (m, then s: 2 × hidden floats, little-endian).
#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "swarm/node.h"

namespace colony::agent {

// General sentences and neutral questions; never taken from the examples.
std::span<const std::string_view> calibration_texts();

// The mean-pooled hidden states of texts, [texts][hidden], by running them through `engine`, which must be idle. Fails as Placer::request
// does, and with an output's error.
Result<std::vector<std::vector<float>>> embed(engine::Engine& engine, std::span<const std::string> texts);

// Threads: any, once made.
class Placer {
 public:
  // Reads mean and deviation from `home`, or computes them by running the calibration texts through `engine`
  // (which must be idle) and writes them there; a home that cannot be written is reported in the log
  // only. An empty `home` keeps nothing.
  static Result<Placer> create(engine::Engine& engine, const std::filesystem::path& home);
  // From mean and deviation at hand, both [hidden]. Needs deviation > 0.
  Placer(std::vector<float> mean, std::vector<float> deviation);

  // The request whose output's values place() takes. Fails as raw_ids does.
  static Result<engine::Request> request(const engine::Snapshot& snapshot, std::string_view text);
  // `values`: [hidden]. Fails kCorrupt when the size is another, a value is not finite, or nothing
  // is left after subtraction.
  Result<swarm::Place> place(std::span<const float> values) const;

  const std::vector<float>& mean() const { return mean_; }
  const std::vector<float>& deviation() const { return deviation_; }

 private:
  std::vector<float> mean_, deviation_;  // [hidden]
  std::vector<float> projection_;        // [64, hidden]
};

}  // namespace colony::agent
