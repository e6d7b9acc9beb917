// colony bench NAME: what the engine does on this machine, beside its peers and beside the limit.
//
//   engine     prompts and decoding at 1 to 32 sequences, a shared prefix, beside busy loops, from process start
//   adapters   16 sequences with 16 adapters of rank 8, and without
//   memory     resident memory of 16 agents against the byte ledger
//   train      updates of a LoRA adapter of rank 8 on all linear modules, beside Python's PEFT and torch
//   swarm      decisions and deposits at 10 to 10,000 agents
//   all        all of these, each in a process of its own
//
// Rounds alternate cell by cell: ours, then each peer, at least three times; a number is the median, its
// spread (max - min) / median. The peers run in processes of their own, stopped while they are not asked.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace colony::app {

struct BenchOptions {
  std::string name = "engine";
  std::filesystem::path model;   // a folder or a .gguf file
  std::string dtype = "auto";
  std::string kv = "auto";       // keys and values: f32, bf16, int8
  int threads = 0;               // 0: all of the machine
  uint64_t memory_bytes = 0;     // the ledger's ceiling; 0: 70 % of the machine's
  int rounds = 3;                // at least 1; what is published has 3 or more
  bool json = false;
  std::vector<std::string> peers{"llama.cpp", "openvino", "vllm", "peft"};  // engines serve, peft trains
  std::vector<std::string> cells;  // these only; empty: all
};

const std::vector<std::string>& bench_names();

// Prints one line a cell and peer on standard output (conventions 2b). Fails kInvalid when a bench, peer or
// cell is unknown, and when the model cannot be loaded; a peer that cannot be had is named in the lines, with the
// reason, and is no failure.
Status run_bench(const BenchOptions& options);

}  // namespace colony::app
