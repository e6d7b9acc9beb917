// Recorded outcomes: what each of some agents scored on each of some tasks, read from a folder.
//
//   queries.jsonl      one task a line: {"id", "domain"?, "text"?, "held_out"?: bool, …}
//   scores.csv         header "id,<agent>,…"; one row a task, scores in [0, 1]; any order of rows
//   outlen.csv         (optional) as scores.csv: characters of each answer, of which four are taken for a token
//   models.csv         (for the small pool) columns "model" and "pool_small" (0 or 1)
//   about.jsonl        (optional) what agents say of themselves, a text a line: {"agent", "text"}
//   embeddings.f16     (optional) [tasks, width] little-endian binary16, rows as in queries.jsonl, unit length
//
// Files come from outside: every error names file, line, field, what was found and what was expected.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "swarm/node.h"

namespace colony::swarm {

struct Outcomes {
  std::vector<std::string> ids, texts;  // [tasks]; a text is "" where there is none
  std::vector<std::string> agents, domains;
  std::vector<size_t> domain;           // [tasks], into domains
  std::vector<uint8_t> held_out;        // [tasks]; 1: a question of the agents' test, never of the stream
  struct About {
    size_t agent = 0;  // into agents
    std::string text;
  };
  std::vector<About> about;
  std::vector<float> scores;            // [tasks, agents]
  std::vector<uint32_t> tokens;         // [tasks, agents]; empty where some agent's are not known
  std::vector<float> embeddings;        // [tasks, width]; empty when there is no file of them
  size_t width = 0;

  size_t tasks() const { return ids.size(); }
  float score(size_t task, size_t agent) const { return scores[task * agents.size() + agent]; }
};

struct OutcomesOptions {
  std::string scores = "scores.csv";  // in the folder, else a path
  bool small_pool = false;            // only the agents with pool_small = 1
};

// Fails kNotFound, kCorrupt (what a file holds), kInvalid (the small pool of a set that has none).
Result<Outcomes> read_outcomes(const std::filesystem::path& folder, const OutcomesOptions& options = {});

// `embeddings`: [rows, width], finite. Their `kPlaceDim` principal components (all texts, no scores), centred
// and of unit length; a wider set is reduced, a narrower one filled with zeros.
std::vector<Place> principal_places(const std::vector<float>& embeddings, size_t width);

}  // namespace colony::swarm
