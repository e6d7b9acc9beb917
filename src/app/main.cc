#include "app/cli.h"

int main(int argc, char** argv) { return colony::app::run_cli(argc, argv); }
