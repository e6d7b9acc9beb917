// What the verbs are asked, as plain values; cli.cc fills them from the command line.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/request.h"

namespace colony::app {

// Exit statuses, conventions 2b.
inline constexpr int kDone = 0, kSomeBad = 1, kUsage = 2, kInterrupted = 130;

struct ModelOptions {
  std::string model;          // "" = the starter model; a folder, a .gguf file or a hub id
  std::string dtype = "auto";
  std::string adapter;        // "" = none
  std::string memory;         // "2GiB"; "" = 70 % of the machine's
  int threads = 0;            // 0 = all
  int batch = 16;             // rows decoded at once
  std::string kv = "auto";         // keys and values as f32, bf16, int8
  std::string speculate = "auto";  // on, off
};

// What the user said; what is not said is left to SamplingParams' defaults.
struct SamplingOptions {
  bool greedy = false, ignore_eos = false;
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int> top_k;
  uint64_t seed = 0;
  int max_tokens = 256;
  std::vector<std::string> stop;
  int logprobs = -1;

  // Greedy unless one of temperature, top-k, top-p, min-p is given; temperature 0 is greedy too.
  engine::SamplingParams params() const;
  // What was said, put over an agent's own; seed and max_tokens are left to the caller.
  void over(engine::SamplingParams& own) const;
};

}  // namespace colony::app
