// colony ls, show, pull: models on this machine and from the hub.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"

namespace colony::app {

Result<int> run_ls(bool json);
Result<int> run_show(const std::string& model, bool json);
struct PullCommand {
  std::string model;  // org/name[:quantisation][@revision]
  std::vector<std::string> include, exclude;  // patterns, as net::PullChoice
  bool force = false;  // also what cannot run here
};
Result<int> run_pull(const PullCommand& command);

}  // namespace colony::app
