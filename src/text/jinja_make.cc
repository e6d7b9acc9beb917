// The interpreter's part that makes values, and counts them against the rendering's memory.
#include <algorithm>

#include "text/jinja_interpreter.h"
#include "text/jinja_text.h"

namespace colony::text::jinja {
namespace {
constexpr int kValueDepthMax = 200;  // lists in lists, iterators over iterators
}

void Interpreter::account(Object& object, size_t bytes) {
  object.heap = &heap_;
  object.bytes = bytes;
  heap_.live += bytes;
  step(1 + bytes / 256);
  if (heap_.live > 4 * limits_.output_bytes_max) exhaust("too much memory");
}
bool Interpreter::too_deep_value(int depth) {
  if (depth <= kValueDepthMax) return false;
  exhaust("values nested too deep");
  return true;
}

template <typename T>
Value Interpreter::object(Kind kind, std::shared_ptr<T> made, const std::vector<Value>& holds, size_t bytes) {
  int depth = 0;
  for (const Value& value : holds) depth = std::max(depth, depth_of(value));
  made->depth = std::max(made->depth, depth + 1);
  account(*made, sizeof(T) + 32 + bytes);
  if (too_deep_value(made->depth)) return Value::undefined();
  Value value;
  value.kind = kind;
  value.object = std::move(made);
  return value;
}
template Value Interpreter::object(Kind, std::shared_ptr<Macro>, const std::vector<Value>&, size_t);
template Value Interpreter::object(Kind, std::shared_ptr<Loop>, const std::vector<Value>&, size_t);
template Value Interpreter::object(Kind, std::shared_ptr<View>, const std::vector<Value>&, size_t);
template Value Interpreter::object(Kind, std::shared_ptr<Cycler>, const std::vector<Value>&, size_t);
template Value Interpreter::object(Kind, std::shared_ptr<Joiner>, const std::vector<Value>&, size_t);

Value Interpreter::string(std::string text, bool markup) {
  auto made = std::make_shared<Str>();
  made->length = utf8_length(text);
  made->markup = markup;
  account(*made, sizeof(Str) + 16 + text.size());
  made->text = std::move(text);
  Value value;
  value.kind = Kind::kStr;
  value.object = std::move(made);
  return value;
}
Value Interpreter::seq(Kind kind, std::vector<Value> items) {
  auto made = std::make_shared<Seq>();
  int depth = 0;
  for (const Value& item : items) {
    depth = std::max(depth, depth_of(item));
    made->weight = std::min(kWeightMax, made->weight + weight_of(item));
  }
  made->depth = depth + 1;
  account(*made, sizeof(Seq) + 32 + items.capacity() * sizeof(Value));
  if (too_deep_value(made->depth)) return Value::undefined();
  made->items = std::move(items);
  Value value;
  value.kind = kind;
  value.object = std::move(made);
  return value;
}
Value Interpreter::dict(std::shared_ptr<Dict> made) {
  int depth = 0;
  for (const auto& [key, item] : made->items) {
    depth = std::max({depth, depth_of(item), depth_of(key)});
    made->weight = std::min(kWeightMax, made->weight + weight_of(item) + weight_of(key));
  }
  made->depth = depth + 1;
  account(*made, sizeof(Dict) + 32 + made->items.size() * (2 * sizeof(Value) + 40));
  if (too_deep_value(made->depth)) return Value::undefined();
  Value value;
  value.kind = Kind::kDict;
  value.object = std::move(made);
  return value;
}
bool Interpreter::put(Dict& dict, const Value& key, Value value) {
  if (!step(weight_of(key)) || !room(dict.items.size() * 2 * sizeof(Value))) return false;
  if (!hashable(key)) {
    type_error(fmt::format("unhashable type: '{}'", type_name(key)));
    return false;
  }
  dict.set(key, std::move(value));
  return true;
}
Value Interpreter::iterator(std::function<bool(Interpreter&, Value&)> next, std::vector<Value> holds, const char* type) {
  auto made = std::make_shared<Iterator>();
  made->next = std::move(next);
  made->type_name = type;
  return object(Kind::kIterator, std::move(made), holds, 128);
}
Value Interpreter::method(std::string name, const Value& self, std::function<Value(Interpreter&, Args&)> call) {
  auto made = std::make_shared<Function>();
  made->name = std::move(name);
  made->call = std::move(call);
  made->method = !self.missing();
  return object(Kind::kFunction, std::move(made), {self}, 128);
}
Value Interpreter::range(Int start, Int stop, Int stride) {
  auto made = std::make_shared<Range>();
  made->start = start, made->stop = stop, made->step = stride;
  // Ends are far below 2^127, so the differences fit.
  constexpr Int kFar = Int{1} << 100;
  if (start > kFar || start < -kFar || stop > kFar || stop < -kFar || stride > kFar || stride < -kFar) {
    return not_implemented("range() beyond 100 bits");
  }
  Int count = 0;
  if (stride > 0 && start < stop) count = (stop - start - 1) / stride + 1;
  if (stride < 0 && start > stop) count = (start - stop - 1) / -stride + 1;
  if (count > 100000) {
    return fail("OverflowError", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
  }
  made->length = static_cast<size_t>(count);
  return object(Kind::kRange, std::move(made), {}, 0);
}
Value Interpreter::namespace_of(Args& args) {
  if (args.positional.size() > 1) {
    return type_error(fmt::format("dict expected at most 1 argument, got {}", args.positional.size()));
  }
  Args copy = args;
  const Value attributes = call(global("dict"), copy);
  if (failed()) return attributes;
  auto made = std::make_shared<Namespace>();
  for (const auto& [key, value] : attributes.dict().items) {
    if (!key.is(Kind::kStr)) return not_implemented("a namespace with a name that is not a string");
    if (key.text().substr(0, 1) == "_") {
      return fail("SecurityError", fmt::format("cannot store underscore-prefixed attributes on a namespace, but got '{}'", key.text()));
    }
    made->attributes.emplace_back(std::string(key.text()), value);
  }
  namespaces_.push_back(made);
  return object(Kind::kNamespace, std::move(made), {}, attributes.dict().items.size() * 64);
}

Value Interpreter::from_json(const Json& json, int depth) {
  if (failed() || too_deep_value(depth)) return Value::undefined();
  Value value;
  switch (json.type()) {
    case Json::value_t::null: return Value::none();
    case Json::value_t::boolean: return Value::boolean(json.get<bool>());
    case Json::value_t::number_integer: return Value::integer(json.get<int64_t>());
    case Json::value_t::number_unsigned: return Value::integer(static_cast<Int>(json.get<uint64_t>()));
    case Json::value_t::number_float: return Value::real(json.get<double>());
    case Json::value_t::string: {
      auto made = std::make_shared<Str>();
      made->text = json.get_ref<const std::string&>();
      if (!valid_utf8(made->text)) return value_error("a variable's text is not UTF-8");
      made->length = utf8_length(made->text);
      value.kind = Kind::kStr;
      value.object = std::move(made);
      return value;
    }
    case Json::value_t::array: {
      auto made = std::make_shared<Seq>();
      made->items.reserve(json.size());
      made->depth = 1;
      for (const Json& item : json) {
        made->items.push_back(from_json(item, depth + 1));
        made->depth = std::max(made->depth, depth_of(made->items.back()) + 1);
        made->weight = std::min(kWeightMax, made->weight + weight_of(made->items.back()));
      }
      value.kind = Kind::kList;
      value.object = std::move(made);
      return value;
    }
    case Json::value_t::object: {
      auto made = std::make_shared<Dict>();
      made->depth = 1;
      for (const auto& [name, item] : json.items()) {
        if (!valid_utf8(name)) return value_error("a variable's key is not UTF-8");
        auto key = std::make_shared<Str>();
        key->text = name;
        key->length = utf8_length(name);
        Value key_value;
        key_value.kind = Kind::kStr;
        key_value.object = std::move(key);
        Value held = from_json(item, depth + 1);
        made->depth = std::max(made->depth, depth_of(held) + 1);
        made->weight = std::min(kWeightMax, made->weight + weight_of(held) + weight_of(key_value));
        made->set(key_value, std::move(held));
      }
      value.kind = Kind::kDict;
      value.object = std::move(made);
      return value;
    }
    default: return value_error("a variable that is not JSON");
  }
}

}  // namespace colony::text::jinja
