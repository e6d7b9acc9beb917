// The parts of Lua's string library that could run long in C, rebuilt on the counted matcher.
#pragma once
#include <lua.hpp>

#include <cstdint>

namespace colony::agent {

// Takes `steps` from what the script may still do; raises the limit's error when they are not left.
using ChargeSteps = void (*)(lua_State* lua, uint64_t steps);
// What is left, for a matcher to count down from.
using StepsLeft = uint64_t (*)(lua_State* lua);

// Replaces find, match, gmatch, gsub and rep in the table on top of the stack.
void install_string_functions(lua_State* lua, ChargeSteps charge, StepsLeft left);

}  // namespace colony::agent
