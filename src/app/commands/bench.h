// colony bench engine: tokens a second of our engine and of llama.cpp, cell by cell, in one run.
//
// Rounds alternate: ours, then each peer, at least three times; a cell's number is the median, its
// spread (max - min) / median. Peers are measured by tools/bench_peers.py; the limits come from what
// this machine's memory and our own matrix product are measured to do.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/result.h"

namespace colony::app {

struct BenchOptions {
  std::string name = "engine";
  std::filesystem::path model;   // a folder or a .gguf file
  std::string dtype = "auto";
  int threads = 0;               // 0: all of the machine
  uint64_t memory_bytes = 0;     // the ledger's ceiling; 0: 70 % of the machine's
  int rounds = 3;                // at least 3
  bool json = false;
  bool peers = true;
};

// Prints one line a cell and peer on standard output. Fails when the model cannot be loaded or the
// name is unknown; a peer that cannot be had is named in the lines and is no failure.
Status run_bench(const BenchOptions& options);

}  // namespace colony::app
