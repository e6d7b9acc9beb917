// colony chat: a conversation on the terminal; standard input's lines are the user's turns.
#pragma once
#include <string>

#include "app/options.h"
#include "base/result.h"

namespace colony::app {

struct ChatOptions {
  ModelOptions model;
  SamplingOptions sampling;
  std::string system;   // system message; "" = the template's default
};

Result<int> run_chat(const ChatOptions& options);

}  // namespace colony::app
