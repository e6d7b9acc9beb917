// colony agents ls, show, check, new: the folders agents are made of.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "app/options.h"
#include "base/result.h"

namespace colony::app {

// --agents, else ./agents, else the folder of the source tree this program was built in.
Result<std::filesystem::path> find_agents(const std::string& folder);

Result<int> run_agents_ls(const std::string& folder, bool json);
Result<int> run_agents_show(const std::string& folder, const std::string& name, bool json);
// Whether `run` would host every agent (or `names`) over this model below this --memory, by the same judgement. Where no model was asked for and
// the default one is not there, all but model, adapter and memory is checked, and that is said. kSomeBad when one is broken.
Result<int> run_agents_check(const std::string& folder, const std::vector<std::string>& names, const ModelOptions& model, bool json);
Result<int> run_agents_new(const std::string& folder, const std::string& name);

}  // namespace colony::app
