// colony tokenize, render: the text side alone, no weights.
#pragma once
#include <string>

#include "base/result.h"

namespace colony::app {

struct TextOptions {
  std::string file;   // JSON lines; "-" = standard input
  std::string model;
  bool json = false;
};

Result<int> run_tokenize(const TextOptions& options);
Result<int> run_render(const TextOptions& options);

}  // namespace colony::app
