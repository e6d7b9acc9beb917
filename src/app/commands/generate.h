// colony generate, score, logits: JSON lines in, one answer a line out, in input order.
#pragma once
#include <string>

#include "app/options.h"
#include "base/result.h"

namespace colony::app {

struct LinesOptions {
  std::string file;       // JSON lines; "-" = standard input
  std::string out;        // logits: the raw file
  ModelOptions model;
  SamplingOptions sampling;
  bool chat = false;      // wrap `prompt` as one user message
  bool json = false;
};

// Exit status. An error is one of the whole verb: no file, no model.
Result<int> run_generate(const LinesOptions& options);
Result<int> run_score(const LinesOptions& options);
Result<int> run_logits(const LinesOptions& options);

}  // namespace colony::app
