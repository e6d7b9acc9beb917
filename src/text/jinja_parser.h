// Template text → tree, with every variable resolved to a frame and a slot.
//
// Grammar and scoping are Jinja2 3.1's, with the extensions loopcontrols and generation. include,
// import, extends, block and autoescape are refused.
#pragma once
#include <memory>
#include <string_view>

#include "base/result.h"
#include "text/jinja_ast.h"

namespace colony::text::jinja {

// depth_max: nesting of brackets, operators and blocks. Fails kInvalid with "line N: …", kExhausted
// when nested too deep.
Result<std::unique_ptr<Template>> parse_template(std::string_view source, int depth_max);

// The second half of the above: scoping, and what Jinja2 refuses when it compiles.
Status resolve_names(Template& tree);

}  // namespace colony::text::jinja
