// Jinja2's filters, tests and globals, Python's methods, as HF's environment offers them.
#pragma once
#include <string_view>

#include "text/jinja_interpreter.h"

namespace colony::text::jinja {

using Filter = Value (*)(Interpreter&, Args&);
using FilterTable = std::unordered_map<std::string_view, Filter>;
const FilterTable& text_filters();  // those on text and numbers

bool is_filter(std::string_view name);
bool is_test(std::string_view name);
// args.positional[0] is the filtered value. The name must be known.
Value apply_filter(Interpreter& in, std::string_view name, Args& args);
bool apply_test(Interpreter& in, std::string_view name, Args& args);

// range, dict, namespace, raise_exception, …; kMissing when there is none of that name.
Value builtin_global(Interpreter& in, std::string_view name);

// The attribute `name` of a value that Python's type has: methods, properties. kMissing when there is
// none; kUndefined when the sandbox forbids it.
Value find_attribute(Interpreter& in, const Value& object, std::string_view name);

// Binds arguments to parameters. Those beyond the first `required` may be absent and stay kMissing.
// False after a TypeError.
bool bind(Interpreter& in, std::string_view function, const Args& args,
          std::initializer_list<std::string_view> parameters, size_t required, Value* out);

// str % value.
Value format_percent(Interpreter& in, const Value& format, const Value& arguments);
// str.format(*args, **kwargs); field access goes through the sandbox.
Value format_braces(Interpreter& in, const Value& format, const Args& args);
// json.dumps as HF's tojson filter calls it.
Value to_json(Interpreter& in, Args& args);
// float(text) and int(text, base) as Python reads them.
bool read_float(std::string_view text, double& out);
bool read_int(std::string_view text, int base, Int& out);
std::string escape_html(std::string_view text);
// Text with class: Markup is kept, everything else is str()-ed.
std::string_view soft_text(Interpreter& in, const Value& value, std::string& keep);

}  // namespace colony::text::jinja
