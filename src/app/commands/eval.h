// colony eval: a model, or one agent over it, on checked tasks, without a swarm.
#pragma once
#include <string>

#include "app/options.h"
#include "base/result.h"

namespace colony::app {

struct EvalOptions {
  std::string file;
  ModelOptions model;
  SamplingOptions sampling;
  bool raw = false;
  std::string agent;    // "" = the base model with the template's default
  std::string agents;   // folder
  bool json = false;
};

// One line a kind, in order of appearance.
Result<int> run_eval(const EvalOptions& options);

}  // namespace colony::app
