// The command line: verbs and options to calls of the commands, errors to exit statuses.
#pragma once

namespace colony::app {

// Returns the process's exit status (conventions 2b).
int run_cli(int argc, char** argv);

}  // namespace colony::app
