// Python's operators and protocols, as the interpreter's part that needs no tree.
#include <algorithm>
#include <cmath>

#include "text/jinja_builtins.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_text.h"

namespace colony::text::jinja {

Value Interpreter::undefined_error(const Value& value) {
  return fail("UndefinedError", value.object != nullptr ? static_cast<const Str&>(*value.object).text : "a value is undefined");
}

bool Interpreter::truthy(const Value& value) {
  switch (value.kind) {
    case Kind::kMissing:
    case Kind::kUndefined:
    case Kind::kNone: return false;
    case Kind::kBool: return value.b;
    case Kind::kInt: return value.i != 0;
    case Kind::kFloat: return value.f != 0;
    case Kind::kIterator:
    case Kind::kNamespace:
    case Kind::kFunction:
    case Kind::kMacro:
    case Kind::kCycler:
    case Kind::kJoiner: return true;
    default: return length(value) > 0;
  }
}

bool Interpreter::has_length(const Value& value) const {
  switch (value.kind) {
    case Kind::kUndefined:
    case Kind::kStr:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kView:
    case Kind::kRange:
    case Kind::kLoop: return true;
    default: return false;
  }
}
int64_t Interpreter::length(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined: return 0;
    case Kind::kStr: return static_cast<int64_t>(value.str().length);
    case Kind::kList:
    case Kind::kTuple: return static_cast<int64_t>(value.seq().items.size());
    case Kind::kDict: return static_cast<int64_t>(value.dict().items.size());
    case Kind::kView: return static_cast<int64_t>(value.as<View>().dict.dict().items.size());
    case Kind::kRange: return static_cast<int64_t>(value.as<Range>().length);
    case Kind::kLoop: return loop_length(value.as<Loop>());
    default: type_error(fmt::format("object of type '{}' has no len()", type_name(value))); return -1;
  }
}
bool Interpreter::iterable(const Value& value) const { return has_length(value) || value.is(Kind::kIterator); }

Value Interpreter::iterate(const Value& value) {
  if (failed()) return Value::undefined();
  switch (value.kind) {
    case Kind::kIterator: return value;
    case Kind::kUndefined: return iterator([](Interpreter&, Value&) { return false; }, {});
    case Kind::kStr: {
      size_t at = 0;
      return iterator(
          [value, at](Interpreter& in, Value& item) mutable {
            const std::string_view text = value.text();
            if (at >= text.size()) return false;
            const size_t from = at;
            next_char(text, at);
            item = in.string(std::string(text.substr(from, at - from)));
            return true;
          },
          {}, "str_iterator");
    }
    case Kind::kLoop:
      return iterator(
          [value](Interpreter& in, Value& item) {
            if (!in.loop_next(value.as<Loop>(), item)) return false;
            item = in.tuple({item, value});
            return true;
          },
          {value});
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kView:
    case Kind::kRange: {
      size_t index = 0;
      return iterator(
          [value, index](Interpreter& in, Value& item) mutable {
            const size_t k = index++;
            if (value.is_seq()) {
              if (k >= value.seq().items.size()) return false;
              item = value.seq().items[k];
              return true;
            }
            if (value.is(Kind::kRange)) {
              if (k >= value.as<Range>().length) return false;
              item = Value::integer(value.as<Range>().at(k));
              return true;
            }
            const bool view = value.is(Kind::kView);
            const auto& items = (view ? value.as<View>().dict : value).dict().items;
            if (k >= items.size()) return false;
            const ViewOf of = view ? value.as<View>().of : ViewOf::kKeys;
            item = of == ViewOf::kKeys     ? items[k].first
                   : of == ViewOf::kValues ? items[k].second
                                           : in.tuple({items[k].first, items[k].second});
            return true;
          },
          {value}, "list_iterator");
    }
    default: return type_error(fmt::format("'{}' object is not iterable", type_name(value)));
  }
}
bool Interpreter::next(const Value& from, Value& item) {
  if (!step() || !from.is(Kind::kIterator)) return false;
  const auto keep = from.object;
  return static_cast<Iterator&>(*keep).next(*this, item) && !failed();
}
bool Interpreter::to_list(const Value& value, std::vector<Value>& items) {
  const Value source = iterate(value);
  Value item;
  while (!failed() && next(source, item)) {
    if (!room(items.size() * sizeof(Value))) return false;
    items.push_back(item);
  }
  return !failed();
}

// --- printing

void Interpreter::append_str(std::string& out, const Value& value) {
  switch (value.kind) {
    case Kind::kMissing:
    case Kind::kUndefined: return;
    case Kind::kStr:
      step(value.text().size() / 256);
      append(out, value.text());
      return;
    default: append_repr(out, value);
  }
}
void Interpreter::append_repr(std::string& out, const Value& value) {
  if (!step()) return;
  const auto items_of = [&](const std::vector<Value>& items) {
    for (size_t k = 0; k < items.size() && !failed(); ++k) {
      if (k > 0) append(out, ", ");
      append_repr(out, items[k]);
    }
  };
  switch (value.kind) {
    case Kind::kMissing: append(out, "missing"); return;
    case Kind::kUndefined: append(out, "Undefined"); return;
    case Kind::kNone: append(out, "None"); return;
    case Kind::kBool: append(out, value.b ? "True" : "False"); return;
    case Kind::kInt: append(out, int_text(value.i)); return;
    case Kind::kFloat: append(out, float_repr(value.f)); return;
    case Kind::kStr: {
      if (!step(value.text().size() / 16) || !room(out.size() + value.text().size())) return;
      if (value.str().markup) append(out, "Markup(");
      jinja::append_repr(out, value.text());
      if (value.str().markup) append(out, ")");
      room(out.size());
      return;
    }
    case Kind::kList:
      append(out, "[");
      items_of(value.seq().items);
      append(out, "]");
      return;
    case Kind::kTuple:
      append(out, "(");
      items_of(value.seq().items);
      append(out, value.seq().items.size() == 1 ? ",)" : ")");
      return;
    case Kind::kDict: {
      append(out, "{");
      bool first = true;
      for (const auto& [key, held] : value.dict().items) {
        if (failed()) return;
        if (!first) append(out, ", ");
        first = false;
        append_repr(out, key);
        append(out, ": ");
        append_repr(out, held);
      }
      append(out, "}");
      return;
    }
    case Kind::kView: {
      append(out, type_name(value));
      std::vector<Value> items;
      if (!to_list(value, items)) return;
      append(out, "([");
      items_of(items);
      append(out, "])");
      return;
    }
    case Kind::kRange: {
      const auto& range = value.as<Range>();
      append(out, fmt::format("range({}, {}", int_text(range.start), int_text(range.stop)));
      if (range.step != 1) append(out, ", " + int_text(range.step));
      append(out, ")");
      return;
    }
    case Kind::kNamespace: {
      if (++level_ > 8 * limits_.depth_max) exhaust("nested too deep");
      append(out, "<Namespace {");
      bool first = true;
      for (const auto& [name, held] : value.as<Namespace>().attributes) {
        if (failed()) break;
        if (!first) append(out, ", ");
        first = false;
        jinja::append_repr(out, name);
        append(out, ": ");
        append_repr(out, held);
      }
      append(out, "}>");
      --level_;
      return;
    }
    case Kind::kMacro: {
      const Node& node = *value.as<Macro>().node;
      append(out, "<Macro ");
      if (node.op == Op::kMacro) {
        jinja::append_repr(out, node.name);
      } else {
        append(out, "anonymous");
      }
      append(out, ">");
      return;
    }
    case Kind::kLoop: {
      auto& loop = value.as<Loop>();
      append(out, fmt::format("<LoopContext {}/{}>", int_text(loop.index0 + 1), loop_length(loop)));
      return;
    }
    default: append(out, fmt::format("<{} object>", type_name(value)));
  }
}
std::string Interpreter::str(const Value& value) {
  std::string out;
  append_str(out, value);
  return out;
}
std::string Interpreter::repr(const Value& value) {
  std::string out;
  append_repr(out, value);
  return out;
}

// --- comparing

bool Interpreter::equals(const Value& a, const Value& b) {
  if (!step(std::min(weight_of(a), weight_of(b)))) return false;
  return equal(a, b);
}
bool Interpreter::less(const Value& a, const Value& b) {
  if (!step(std::min(weight_of(a), weight_of(b)))) return false;
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == -1;
  if (a.is(Kind::kStr) && b.is(Kind::kStr)) return a.text() < b.text();  // UTF-8 orders as code points do
  if (a.is_seq() && a.kind == b.kind) {
    const auto &x = a.seq().items, &y = b.seq().items;
    for (size_t k = 0; k < x.size() && k < y.size(); ++k) {
      if (!equal(x[k], y[k])) return less(x[k], y[k]);
    }
    return x.size() < y.size();
  }
  if (a.is(Kind::kUndefined)) return undefined_error(a), false;
  if (b.is(Kind::kUndefined)) return undefined_error(b), false;
  if (a.is(Kind::kView) && b.is(Kind::kView)) return not_implemented("comparing dict views"), false;
  type_error(fmt::format("'<' not supported between instances of '{}' and '{}'", type_name(a), type_name(b)));
  return false;
}
bool Interpreter::compare(Compare how, const Value& a, const Value& b) {
  switch (how) {
    case Compare::kEq: return equals(a, b);
    case Compare::kNe: return !equals(a, b);
    case Compare::kIn: return contains(b, a);
    case Compare::kNotIn: return !contains(b, a);
    case Compare::kLt: return less(a, b);
    case Compare::kGt: return less(b, a);
    case Compare::kLe:
    case Compare::kGe: {
      if (a.is_number() && b.is_number()) {
        const int order = compare_numbers(a, b);
        return order != 2 && (how == Compare::kLe ? order <= 0 : order >= 0);
      }
      return how == Compare::kLe ? !less(b, a) : !less(a, b);
    }
  }
  return false;
}
bool Interpreter::contains(const Value& container, const Value& item) {
  if (failed()) return false;
  switch (container.kind) {
    case Kind::kStr:
      if (!item.is(Kind::kStr)) {
        type_error(fmt::format("'in <string>' requires string as left operand, not {}", type_name(item)));
        return false;
      }
      step(container.text().size() / 256);
      return container.text().find(item.text()) != std::string_view::npos;
    case Kind::kDict:
    case Kind::kView: {
      const bool view = container.is(Kind::kView);
      if (view && container.as<View>().of != ViewOf::kKeys) break;
      const Dict& dict = (view ? container.as<View>().dict : container).dict();
      if (!step(weight_of(item) + (dict.index.empty() ? dict.items.size() : 1))) return false;
      if (!hashable(item)) {
        type_error(fmt::format("unhashable type: '{}'", type_name(item)));
        return false;
      }
      return dict.find(item) != nullptr;
    }
    case Kind::kList:
    case Kind::kTuple:
      for (const Value& held : container.seq().items) {
        if ((held.object != nullptr && held.kind == item.kind && held.object == item.object) || equals(held, item)) return true;
        if (failed()) return false;
      }
      return false;
    default: break;
  }
  const Value source = iterate(container);
  Value held;
  while (!failed() && next(source, held)) {
    if (equals(held, item)) return true;
  }
  return false;
}
bool Interpreter::sort(std::vector<Value>& items, std::vector<Value> keys, bool reverse) {
  std::vector<size_t> order(items.size()), merged(items.size());
  for (size_t k = 0; k < order.size(); ++k) order[k] = k;
  if (reverse) std::reverse(order.begin(), order.end());
  for (size_t width = 1; width < order.size() && !failed(); width *= 2) {
    for (size_t from = 0; from < order.size(); from += 2 * width) {
      const size_t middle = std::min(from + width, order.size()), to = std::min(from + 2 * width, order.size());
      size_t a = from, b = middle;
      for (size_t k = from; k < to; ++k) {
        // Takes from the right only what is strictly smaller, so equal ones keep their order.
        const bool right = a == middle || (b < to && less(keys[order[b]], keys[order[a]]));
        merged[k] = right ? order[b++] : order[a++];
        if (failed()) return false;
      }
    }
    order.swap(merged);
  }
  if (reverse) std::reverse(order.begin(), order.end());
  std::vector<Value> sorted;
  sorted.reserve(items.size());
  for (const size_t k : order) sorted.push_back(items[k]);
  items = std::move(sorted);
  return !failed();
}

// --- arithmetic

Value Interpreter::negate(const Value& a) {
  if (a.is(Kind::kFloat)) return Value::real(-a.f);
  Int out = 0;
  if (__builtin_sub_overflow(Int{0}, a.as_int(), &out)) return not_implemented("integers beyond 128 bits");
  return Value::integer(out);
}

namespace {

Value real_operation(Interpreter& in, Op op, double x, double y) {
  switch (op) {
    case Op::kAdd: return Value::real(x + y);
    case Op::kSub: return Value::real(x - y);
    case Op::kMul: return Value::real(x * y);
    case Op::kDiv:
      if (y == 0) return in.fail("ZeroDivisionError", "division by zero");
      return Value::real(x / y);
    case Op::kPow: {
      if (x == 0 && y < 0) return in.fail("ZeroDivisionError", "0.0 cannot be raised to a negative power");
      if (x < 0 && std::isfinite(x) && std::isfinite(y) && y != std::floor(y)) return in.not_implemented("complex numbers");
      const double result = std::pow(x, y);
      if (std::isinf(result) && std::isfinite(x) && std::isfinite(y)) return in.fail("OverflowError", "Numerical result out of range");
      return Value::real(result);
    }
    default: break;
  }
  if (y == 0) return in.fail("ZeroDivisionError", "float floor division or modulo by zero");
  double mod = std::fmod(x, y);
  double div = (x - mod) / y;
  if (mod != 0) {
    if ((y < 0) != (mod < 0)) {
      mod += y;
      div -= 1;
    }
  } else {
    mod = std::copysign(0.0, y);
  }
  if (op == Op::kMod) return Value::real(mod);
  double whole = std::copysign(0.0, x / y);
  if (div != 0) {
    whole = std::floor(div);
    if (div - whole > 0.5) whole += 1;
  }
  return Value::real(whole);
}

Value int_operation(Interpreter& in, Op op, Int x, Int y) {
  Int out = 0;
  const auto checked = [&](bool overflow) {
    return overflow ? in.not_implemented("integers beyond 128 bits") : Value::integer(out);
  };
  switch (op) {
    case Op::kAdd: return checked(__builtin_add_overflow(x, y, &out));
    case Op::kSub: return checked(__builtin_sub_overflow(x, y, &out));
    case Op::kMul: return checked(__builtin_mul_overflow(x, y, &out));
    case Op::kDiv:
      if (y == 0) return in.fail("ZeroDivisionError", "division by zero");
      return Value::real(static_cast<double>(x) / static_cast<double>(y));
    case Op::kFloorDiv:
    case Op::kMod: {
      if (y == 0) return in.fail("ZeroDivisionError", "integer division or modulo by zero");
      if (y == -1) return op == Op::kMod ? Value::integer(0) : in.negate(Value::integer(x));
      Int quotient = x / y, rest = x % y;
      if (rest != 0 && (rest < 0) != (y < 0)) {
        quotient -= 1;
        rest += y;
      }
      return Value::integer(op == Op::kMod ? rest : quotient);
    }
    default: break;
  }
  if (y < 0) return real_operation(in, op, static_cast<double>(x), static_cast<double>(y));
  Int result = 1, base = x;
  for (Int rest = y; rest != 0; rest >>= 1) {
    if ((rest & 1) != 0 && __builtin_mul_overflow(result, base, &result)) return in.not_implemented("integers beyond 128 bits");
    if (rest > 1 && __builtin_mul_overflow(base, base, &base)) {
      return in.not_implemented("integers beyond 128 bits");
    }
  }
  return Value::integer(result);
}

std::string_view symbol(Op op) {
  switch (op) {
    case Op::kAdd: return "+";
    case Op::kSub: return "-";
    case Op::kMul: return "*";
    case Op::kDiv: return "/";
    case Op::kFloorDiv: return "//";
    case Op::kMod: return "%";
    default: return "** or pow()";
  }
}

}  // namespace

Value Interpreter::binary(Op op, const Value& a, const Value& b) {
  if (op == Op::kMod && a.is(Kind::kStr)) return format_percent(*this, a, b);
  if (a.is(Kind::kUndefined)) return undefined_error(a);
  if (b.is(Kind::kUndefined)) return undefined_error(b);
  if (a.is_int() && b.is_int()) return int_operation(*this, op, a.as_int(), b.as_int());
  if (a.is_number() && b.is_number()) return real_operation(*this, op, a.as_double(), b.as_double());
  if (op == Op::kAdd && a.is(Kind::kStr) && b.is(Kind::kStr)) {
    const bool markup = a.str().markup || b.str().markup;
    std::string text;
    const auto add = [&](const Value& v) { append(text, markup && !v.str().markup ? escape_html(v.text()) : std::string(v.text())); };
    add(a);
    add(b);
    return string(std::move(text), markup);
  }
  if (op == Op::kAdd && a.is_seq() && a.kind == b.kind) {
    const size_t count = a.seq().items.size() + b.seq().items.size();
    if (!room(count * sizeof(Value))) return Value::undefined();
    std::vector<Value> items = a.seq().items;
    items.insert(items.end(), b.seq().items.begin(), b.seq().items.end());
    return seq(a.kind, std::move(items));
  }
  const auto repeated = [](const Value& v) { return v.is(Kind::kStr) || v.is_seq(); };
  if (op == Op::kMul && ((repeated(a) && b.is_int()) || (a.is_int() && repeated(b)))) {
    const Value& what = repeated(a) ? a : b;
    const Int times = std::max(Int{0}, (repeated(a) ? b : a).as_int());
    const size_t one = what.is(Kind::kStr) ? what.text().size() : what.seq().items.size() * sizeof(Value);
    if (times == 0 || one == 0) return what.is(Kind::kStr) ? string("", what.str().markup) : seq(what.kind, {});
    if (times > Int{limits_.output_bytes_max} || !room(one * static_cast<size_t>(times))) return exhaust("too much text or memory");
    if (what.is(Kind::kStr)) {
      std::string text;
      text.reserve(one * static_cast<size_t>(times));
      for (Int k = 0; k < times; ++k) text += what.text();
      return string(std::move(text), what.str().markup);
    }
    std::vector<Value> items;
    for (Int k = 0; k < times; ++k) items.insert(items.end(), what.seq().items.begin(), what.seq().items.end());
    return seq(what.kind, std::move(items));
  }
  return type_error(fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", symbol(op), type_name(a), type_name(b)));
}

// --- subscripts

namespace {
Value no_such(Interpreter& in, const Value& object, std::string_view what) {
  Value hint = in.string(fmt::format("'{} object' has no attribute {}", type_name(object), what));
  hint.kind = Kind::kUndefined;
  return hint;
}
const Value* attribute_of(const Namespace& space, std::string_view name) {
  for (const auto& [key, value] : space.attributes) {
    if (key == name) return &value;
  }
  return nullptr;
}
}  // namespace

Value Interpreter::get_attribute(const Value& object, const std::string& name) {
  if (failed()) return Value::undefined();
  if (object.is(Kind::kUndefined)) {
    // What every Python object has exists on an undefined value too, and is unsafe.
    const Value found = name.substr(0, 2) == "__" ? find_attribute(*this, object, name) : Value();
    return found.missing() ? undefined_error(object) : found;
  }
  if (object.is(Kind::kNamespace)) {
    const Value* found = name[0] == '_' ? nullptr : attribute_of(object.as<Namespace>(), name);
    return found != nullptr ? *found : no_such(*this, object, name);
  }
  Value found = find_attribute(*this, object, name);
  if (!found.missing()) return found;
  if (object.is(Kind::kDict)) {
    if (const Value* held = object.dict().find(name); held != nullptr) return *held;
  }
  return no_such(*this, object, name);
}

Value Interpreter::get_item(const Value& object, const Value& key) {
  if (failed()) return Value::undefined();
  if (object.is(Kind::kUndefined)) return undefined_error(object);
  if (object.is(Kind::kDict)) {
    if (!step(weight_of(key))) return Value::undefined();
    if (hashable(key)) {
      if (const Value* held = object.dict().find(key); held != nullptr) return *held;
    }
  } else if (key.is_int() && (object.is(Kind::kStr) || object.is_seq() || object.is(Kind::kRange))) {
    const int64_t count = length(object);
    Int index = key.as_int();
    if (index < 0) index += count;
    if (index >= 0 && index < count) {
      const auto k = static_cast<size_t>(index);
      if (object.is_seq()) return object.seq().items[k];
      if (object.is(Kind::kRange)) return Value::integer(object.as<Range>().at(k));
      const std::string_view text = object.text();
      size_t at = k;
      if (object.str().length != text.size()) {
        step(text.size() / 64);
        at = byte_offset(text, k);
      }
      size_t end = at;
      next_char(text, end);
      return string(std::string(text.substr(at, end - at)), object.str().markup);
    }
  }
  if (key.is(Kind::kStr)) {
    const std::string name(key.text());
    if (object.is(Kind::kNamespace)) return get_attribute(object, name);
    Value found = find_attribute(*this, object, name);
    if (!found.missing()) return found;
  }
  return no_such(*this, object, repr(key));
}

bool Interpreter::want_index(const Value& value, Int& out) {
  if (!value.is_int()) {
    if (value.is(Kind::kUndefined)) {
      undefined_error(value);
    } else {
      type_error(fmt::format("'{}' object cannot be interpreted as an integer", type_name(value)));
    }
    return false;
  }
  out = value.as_int();
  return true;
}

Value Interpreter::slice(const Value& object, const Value& start, const Value& stop, const Value& step_by) {
  if (object.is(Kind::kUndefined)) return undefined_error(object);
  if (!object.is(Kind::kStr) && !object.is_seq() && !object.is(Kind::kRange)) {
    if (folding_) return Value::undefined();
    return type_error(fmt::format("'{}' object is not subscriptable by a slice", type_name(object)));
  }
  const Int count = length(object);
  Int stride = 1;
  if (!step_by.is(Kind::kNone) && !want_index(step_by, stride)) return Value::undefined();
  if (stride == 0) return value_error("slice step cannot be zero");
  stride = std::clamp(stride, -(Int{1} << 90), Int{1} << 90);
  const auto bound = [&](const Value& v, Int fallback) {
    Int at = fallback;
    if (v.is(Kind::kNone)) return at;
    if (!want_index(v, at)) return fallback;
    if (at < 0) at += count;
    return stride > 0 ? std::clamp(at, Int{0}, count) : std::clamp(at, Int{-1}, count - 1);
  };
  const Int from = bound(start, stride > 0 ? 0 : count - 1);
  const Int to = bound(stop, stride > 0 ? count : -1);
  if (failed()) return Value::undefined();
  if (object.is(Kind::kRange)) {
    const auto& r = object.as<Range>();
    return range(r.start + from * r.step, r.start + to * r.step, r.step * std::clamp(stride, Int{-1000000}, Int{1000000}));
  }
  if (object.is(Kind::kStr)) {
    const std::string_view text = object.text();
    const bool markup = object.str().markup;
    step(text.size() / 128);
    if (stride == 1) {
      if (from >= to) return string("", markup);
      const bool ascii = object.str().length == text.size();
      const size_t a = ascii ? static_cast<size_t>(from) : byte_offset(text, static_cast<size_t>(from));
      const size_t b = ascii ? static_cast<size_t>(to) : a + byte_offset(text.substr(a), static_cast<size_t>(to - from));
      return string(std::string(text.substr(a, b - a)), markup);
    }
    std::vector<size_t> starts;
    if (!room(text.size() * sizeof(size_t))) return Value::undefined();
    for (size_t at = 0; at < text.size();) {
      starts.push_back(at);
      next_char(text, at);
    }
    std::string out;
    for (Int k = from; stride > 0 ? k < to : k > to; k += stride) {
      size_t end = starts[static_cast<size_t>(k)];
      next_char(text, end);
      out += text.substr(starts[static_cast<size_t>(k)], end - starts[static_cast<size_t>(k)]);
    }
    return string(std::move(out), markup);
  }
  std::vector<Value> items;
  for (Int k = from; stride > 0 ? k < to : k > to; k += stride) items.push_back(object.seq().items[static_cast<size_t>(k)]);
  return seq(object.kind, std::move(items));
}

// --- the loop variable

bool Interpreter::loop_next(Loop& loop, Value& item) {
  if (!loop.after.missing()) {
    item = loop.after;
    loop.after = Value();
  } else if (!next(loop.iterator, item)) {
    return false;
  }
  loop.index0 += 1;
  loop.before = loop.current;
  loop.current = item;
  return true;
}
const Value& Interpreter::loop_peek(Loop& loop) {
  if (loop.after.missing()) {
    Value item;
    if (next(loop.iterator, item)) loop.after = item;
  }
  return loop.after;
}
int64_t Interpreter::loop_length(Loop& loop) {
  if (loop.known_length >= 0) return loop.known_length;
  if (has_length(loop.iterable)) {
    loop.known_length = length(loop.iterable);
  } else {
    std::vector<Value> rest;
    if (!to_list(loop.iterator, rest)) return 0;
    loop.known_length = static_cast<int64_t>(rest.size()) + static_cast<int64_t>(loop.index0 + 1) + (loop.after.missing() ? 0 : 1);
    loop.iterator = iterate(list(std::move(rest)));
  }
  return loop.known_length;
}
Value Interpreter::loop_attribute(const Value& self, std::string_view name) {
  auto& loop = self.as<Loop>();
  if (name == "index0") return Value::integer(loop.index0);
  if (name == "index") return Value::integer(loop.index0 + 1);
  if (name == "first") return Value::boolean(loop.index0 == 0);
  if (name == "last") return Value::boolean(loop_peek(loop).missing());
  if (name == "length") return Value::integer(loop_length(loop));
  if (name == "revindex") return Value::integer(loop_length(loop) - loop.index0);
  if (name == "revindex0") return Value::integer(loop_length(loop) - loop.index0 - 1);
  if (name == "depth") return Value::integer(loop.depth0 + 1);
  if (name == "depth0") return Value::integer(loop.depth0);
  if (name == "previtem") return loop.index0 == 0 || loop.before.missing() ? Value::undefined() : loop.before;
  if (name == "nextitem") {
    const Value& after = loop_peek(loop);
    return after.missing() ? Value::undefined() : after;
  }
  if (name == "cycle") {
    return method("cycle", self, [self](Interpreter& in, Args& args) {
      if (!args.named.empty()) return in.type_error("cycle() takes no keyword arguments");
      if (args.positional.empty()) return in.type_error("no items for cycling given");
      const auto k = static_cast<size_t>(self.as<Loop>().index0) % args.positional.size();
      return args.positional[k];
    });
  }
  if (name == "changed") {
    return method("changed", self, [self](Interpreter& in, Args& args) {
      if (!args.named.empty()) return in.type_error("changed() takes no keyword arguments");
      auto& held = self.as<Loop>();
      const Value now = in.tuple(args.positional);
      if (in.failed()) return now;
      if (!held.last_changed.missing() && in.equals(held.last_changed, now)) return Value::boolean(false);
      held.last_changed = now;
      held.depth = std::max(held.depth, depth_of(now) + 1);
      if (in.too_deep_value(held.depth)) return Value::undefined();
      return Value::boolean(true);
    });
  }
  return Value();
}

}  // namespace colony::text::jinja
