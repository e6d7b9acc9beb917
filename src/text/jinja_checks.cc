// Jinja2's tests ({{ x is odd }}). Source: jinja2 3.1.6 tests.py.
#include <algorithm>
#include <cmath>

#include "text/jinja_builtins.h"
#include "text/jinja_text.h"

namespace colony::text::jinja {
namespace {

using Test = bool (*)(Interpreter&, Args&);

template <Compare How>
bool compares(Interpreter& in, Args& args) {
  Value v[2];
  return bind(in, "operator", args, {"a", "b"}, 2, v) && in.compare(How, v[0], v[1]);
}
template <typename Ask>
bool ask(Interpreter& in, Args& args, Ask&& yes) {
  Value v[1];
  return bind(in, "test", args, {"value"}, 1, v) && yes(v[0]);
}
bool remainder_is(Interpreter& in, const Value& value, const Value& by, Int want) {
  const Value rest = in.binary(Op::kMod, value, by);
  return !in.failed() && in.equals(rest, Value::integer(want));
}
bool same_as(const Value& a, const Value& b) {
  if (a.kind != b.kind) return false;
  if (a.is(Kind::kNone)) return true;
  if (a.is(Kind::kBool)) return a.b == b.b;
  if (a.is(Kind::kInt)) return a.i == b.i;
  if (a.is(Kind::kStr)) return a.object == b.object || (a.text() == b.text() && a.str().markup == b.str().markup);
  return a.object != nullptr && a.object == b.object;
}

const std::unordered_map<std::string_view, Test>& tests() {
  using I = Interpreter;
  static const std::unordered_map<std::string_view, Test> table = {
      {"odd", [](I& in, Args& a) { return ask(in, a, [&](const Value& v) { return remainder_is(in, v, Value::integer(2), 1); }); }},
      {"even", [](I& in, Args& a) { return ask(in, a, [&](const Value& v) { return remainder_is(in, v, Value::integer(2), 0); }); }},
      {"divisibleby", [](I& in, Args& a) {
         Value v[2];
         return bind(in, "divisibleby", a, {"value", "num"}, 2, v) && remainder_is(in, v[0], v[1], 0);
       }},
      {"defined", [](I& in, Args& a) { return ask(in, a, [](const Value& v) { return !v.is(Kind::kUndefined); }); }},
      {"undefined", [](I& in, Args& a) { return ask(in, a, [](const Value& v) { return v.is(Kind::kUndefined); }); }},
      {"filter", [](I& in, Args& a) {
         return ask(in, a, [&](const Value& v) {
           if (!hashable(v)) in.type_error("unhashable type");
           return v.is(Kind::kStr) && is_filter(v.text());
         });
       }},
      {"test", [](I& in, Args& a) {
         return ask(in, a, [&](const Value& v) {
           if (!hashable(v)) in.type_error("unhashable type");
           return v.is(Kind::kStr) && is_test(v.text());
         });
       }},
      {"none", [](I& in, Args& a) { return ask(in, a, [](const Value& v) { return v.is(Kind::kNone); }); }},
      {"boolean", [](I& in, Args& a) { return ask(in, a, [](const Value& v) { return v.is(Kind::kBool); }); }},
      {"false", [](I& in, Args& a) { return ask(in, a, [](const Value& v) { return v.is(Kind::kBool) && !v.b; }); }},
      {"true", [](I& in, Args& a) { return ask(in, a, [](const Value& v) { return v.is(Kind::kBool) && v.b; }); }},
      {"integer", [](I& in, Args& a) { return ask(in, a, [](const Value& v) { return v.is(Kind::kInt); }); }},
      {"float", [](I& in, Args& a) { return ask(in, a, [](const Value& v) { return v.is(Kind::kFloat); }); }},
      {"number", [](I& in, Args& a) { return ask(in, a, [](const Value& v) { return v.is_number(); }); }},
      {"string", [](I& in, Args& a) { return ask(in, a, [](const Value& v) { return v.is(Kind::kStr); }); }},
      {"mapping", [](I& in, Args& a) { return ask(in, a, [](const Value& v) { return v.is(Kind::kDict); }); }},
      {"sequence", [](I& in, Args& a) {
         return ask(in, a, [](const Value& v) {
           return v.is(Kind::kStr) || v.is_seq() || v.is(Kind::kDict) || v.is(Kind::kRange) || v.is(Kind::kUndefined);
         });
       }},
      {"iterable", [](I& in, Args& a) { return ask(in, a, [&](const Value& v) { return in.iterable(v); }); }},
      {"callable", [](I& in, Args& a) {
         return ask(in, a, [](const Value& v) {
           return v.is(Kind::kFunction) || v.is(Kind::kMacro) || v.is(Kind::kLoop) || v.is(Kind::kJoiner) || v.is(Kind::kUndefined);
         });
       }},
      {"escaped", [](I& in, Args& a) { return ask(in, a, [](const Value& v) { return v.is(Kind::kStr) && v.str().markup; }); }},
      {"lower", [](I& in, Args& a) {
         return ask(in, a, [&](const Value& v) {
           Args none;
           return in.truthy(in.call(find_attribute(in, in.string(in.str(v)), "islower"), none));
         });
       }},
      {"upper", [](I& in, Args& a) {
         return ask(in, a, [&](const Value& v) {
           Args none;
           return in.truthy(in.call(find_attribute(in, in.string(in.str(v)), "isupper"), none));
         });
       }},
      {"sameas", [](I& in, Args& a) {
         Value v[2];
         return bind(in, "sameas", a, {"value", "other"}, 2, v) && same_as(v[0], v[1]);
       }},
      {"in", [](I& in, Args& a) {
         Value v[2];
         return bind(in, "in", a, {"value", "seq"}, 2, v) && in.contains(v[1], v[0]);
       }},
      {"==", compares<Compare::kEq>}, {"eq", compares<Compare::kEq>}, {"equalto", compares<Compare::kEq>},
      {"!=", compares<Compare::kNe>}, {"ne", compares<Compare::kNe>},
      {">", compares<Compare::kGt>}, {"gt", compares<Compare::kGt>}, {"greaterthan", compares<Compare::kGt>},
      {">=", compares<Compare::kGe>}, {"ge", compares<Compare::kGe>},
      {"<", compares<Compare::kLt>}, {"lt", compares<Compare::kLt>}, {"lessthan", compares<Compare::kLt>},
      {"<=", compares<Compare::kLe>}, {"le", compares<Compare::kLe>}};
  return table;
}

}  // namespace

bool is_test(std::string_view name) { return tests().count(name) != 0; }
bool apply_test(Interpreter& in, std::string_view name, Args& args) { return in.step() && tests().at(name)(in, args); }

}  // namespace colony::text::jinja
