// colony ls, show, pull: models on this machine and from the hub.
#pragma once
#include <string>

#include "base/result.h"

namespace colony::app {

Result<int> run_ls(bool json);
Result<int> run_show(const std::string& model, bool json);
Result<int> run_pull(const std::string& repo);

}  // namespace colony::app
