// colony doctor: whether this machine can run the colony, and how well.
#pragma once
#include <string>

#include "base/result.h"

namespace colony::app {

// kSomeBad when something would keep `run` from working.
Result<int> run_doctor(const std::string& home, const std::string& model, const std::string& agents, bool json);

// --home, else COLONY_HOME, else ~/.local/share/colony.
std::string find_home(const std::string& home);

}  // namespace colony::app
