// colony agents ls, show, check, new: the folders agents are made of.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace colony::app {

// --agents, else ./agents, else the folder of the source tree this program was built in.
Result<std::filesystem::path> find_agents(const std::string& folder);

Result<int> run_agents_ls(const std::string& folder, bool json);
Result<int> run_agents_show(const std::string& folder, const std::string& name, bool json);
// Loads every agent (or `names`) and verifies what it requires. kSomeBad when one is broken.
Result<int> run_agents_check(const std::string& folder, const std::vector<std::string>& names, bool json);
Result<int> run_agents_new(const std::string& folder, const std::string& name);

}  // namespace colony::app
