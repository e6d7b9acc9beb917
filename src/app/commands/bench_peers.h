// The peers of a bench: other engines in processes of their own, asked over pipes in JSON lines.
//
// tools/bench_setup.py installs a peer and makes its model files, tools/bench_peers.py answers. A peer is
// stopped (SIGSTOP) while it is not asked, so that it takes nothing from whoever is measured.
#pragma once
#include <sys/types.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "app/child.h"
#include "app/commands/bench_table.h"
#include "base/json.h"
#include "base/result.h"

namespace colony::app {

// A program that only burns time, until it goes.
class BusyLoops {
 public:
  explicit BusyLoops(int count);
  ~BusyLoops();
  BusyLoops(const BusyLoops&) = delete;
  BusyLoops& operator=(const BusyLoops&) = delete;

 private:
  std::vector<pid_t> pids_;
};

// Where build and scripts are: beside the running program, or `tools` below the working directory.
struct BenchPlaces {
  std::filesystem::path program;  // this one
  std::filesystem::path build;    // venvs and model files go to folders in it
  std::filesystem::path tools;
};
Result<BenchPlaces> find_places();

// One engine with one file format, as a column of the table.
struct PeerKind {
  std::string peer;    // as bench_setup.py names it
  std::string format;
  std::string name;    // as printed
  int bits = 0;        // of its weights
};
const std::vector<PeerKind>& peer_kinds();

// An engine that answers, or the reason why there is none.
class Peer {
 public:
  // Installs when that is needed (which can take minutes), and loads. `adapters`: 0, or how many it must be
  // able to hold at once.
  Peer(const PeerKind& kind, const Result<BenchPlaces>& places, const std::filesystem::path& model, int threads, int adapters);

  const PeerKind& kind() const { return kind_; }
  const std::string& version() const { return version_; }
  const std::string& missing() const { return missing_; }  // "" while it answers
  const std::string& python() const { return python_; }

  uint64_t peak_resident_bytes() const { return child_.peak_resident_bytes(); }

  // Asks `question`; a peer that fails is missing from then on.
  Result<Sample> ask(const Json& question);
  struct First {
    double whole = 0, without_imports = 0;  // seconds from process start, from after the imports
    double cpu = 0;
  };
  // A new process that loads, reads the prompt and ends with the first token.
  Result<First> first_token(const std::vector<int32_t>& prompt);

 private:
  PeerKind kind_;
  std::filesystem::path script_;
  std::string python_, file_, version_, missing_;
  int threads_;
  Child child_;
};

}  // namespace colony::app
