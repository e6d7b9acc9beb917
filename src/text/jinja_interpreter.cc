#include "text/jinja_interpreter.h"

#include <algorithm>

#include "text/jinja_builtins.h"
#include "text/jinja_text.h"

namespace colony::text::jinja {
// One level of C++ recursion.
struct Level {
  explicit Level(Interpreter& in) : interpreter(in) {
    if (++interpreter.level_ > 8 * interpreter.limits_.depth_max) interpreter.exhaust("nested too deep");
  }
  ~Level() { --interpreter.level_; }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;
  Interpreter& interpreter;
};

Interpreter::~Interpreter() {
  // Values may refer to each other in circles through namespaces and the scopes macros remember.
  for (auto& scope : captured_) leave(*scope);
  for (auto& space : namespaces_) space->attributes.clear();
}

// --- failures and limits

Value Interpreter::fail(std::string_view type, std::string_view message) {
  if (!error_) error_ = invalid("line {}: {}: {}", line_, type, message);
  return Value::undefined();
}
Value Interpreter::not_implemented(std::string_view what) {
  if (!error_) error_ = invalid("line {}: not implemented: {}", line_, what);
  return Value::undefined();
}
Value Interpreter::raise(std::string message) {
  if (!error_) error_ = Error{ErrorCode::kInvalid, std::move(message)};
  return Value::undefined();
}
Value Interpreter::exhaust(std::string_view what) {
  if (!error_) error_ = exhausted("line {}: chat template: {}", line_, what);
  return Value::undefined();
}
bool Interpreter::step(uint64_t n) {
  if (error_) return false;
  steps_ += n;
  if (steps_ <= limits_.steps_max) return true;
  exhaust("too many steps");
  return false;
}
bool Interpreter::room(size_t bytes) {
  if (error_) return false;
  if (bytes <= limits_.output_bytes_max && heap_.live + bytes <= 4 * limits_.output_bytes_max) return true;
  exhaust("too much text or memory");
  return false;
}
// --- frames

Value Interpreter::global(const std::string& name) {
  if (const auto found = globals_.find(name); found != globals_.end()) return found->second;
  Value made = builtin_global(*this, name);
  if (!made.missing()) globals_.emplace(name, made);
  return made;
}
std::shared_ptr<Scope> Interpreter::enter(const FrameLayout& layout, const std::shared_ptr<Scope>& parent) {
  auto scope = std::make_shared<Scope>();
  scope->layout = &layout;
  scope->slots.resize(layout.slots.size());
  scope->parent = parent;
  account(*scope, sizeof(Scope) + layout.slots.size() * sizeof(Value));
  return scope;
}
void Interpreter::load(Scope& scope) {
  for (size_t k = 0; k < scope.slots.size(); ++k) {
    const FrameSlot& slot = scope.layout->slots[k];
    switch (slot.how) {
      case LoadHow::kParameter: break;
      case LoadHow::kResolve: scope.slots[k] = global(slot.name); break;
      case LoadHow::kUndefined: scope.slots[k] = Value(); break;
      case LoadHow::kAlias: {
        const Scope* from = &scope;
        for (int up = 0; up < slot.alias.up; ++up) from = from->parent.get();
        scope.slots[k] = from->slots[static_cast<size_t>(slot.alias.slot)];
        break;
      }
    }
  }
}
void Interpreter::leave(Scope& scope) {
  for (Value& value : scope.slots) value = Value();
}
// Keeps a scope alive to the end, because a value may come to refer to it in a circle.
void Interpreter::capture(const std::shared_ptr<Scope>& scope) {
  for (auto s = scope; s != nullptr && !s->captured; s = s->parent) {
    s->captured = true;
    captured_.push_back(s);
  }
}

// --- statements

Result<std::string> Interpreter::render(const Json& variables) {
  if (!variables.is_object()) return invalid("chat template: the variables must be an object, found {}", json_kind(variables));
  std::string output;
  out_ = &output;
  for (const auto& [name, value] : variables.items()) globals_.insert_or_assign(name, from_json(value, 1));
  scope_ = enter(tree_.frame, nullptr);
  load(*scope_);
  run_block(tree_.body);
  leave(*scope_);
  if (error_) return *error_;
  return output;
}

Interpreter::Flow Interpreter::run_block(const Nodes& nodes) {
  for (const auto& node : nodes) {
    if (!step()) return Flow::kNext;
    const Flow flow = run(*node);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_captured(const Nodes& body, std::string& text) {
  std::string* const outer = out_;
  out_ = &text;
  const Flow flow = run_block(body);
  out_ = outer;
  return flow;
}

Interpreter::Flow Interpreter::run(const Node& node) {
  const Level level(*this);
  if (failed()) return Flow::kNext;
  line_ = node.line;
  switch (node.op) {
    case Op::kData:
      step(node.value.text().size() / 256);
      append(*out_, node.value.text());
      return Flow::kNext;
    case Op::kOutput:
      for (const auto& item : node.items) {
        const Value value = eval_output(*item);
        if (!failed()) append_str(*out_, value);
      }
      return Flow::kNext;
    case Op::kIf: {
      if (truthy(eval(*node.a))) return failed() ? Flow::kNext : run_block(node.body);
      for (const auto& elif : node.elifs) {
        if (failed()) return Flow::kNext;
        line_ = elif->line;
        if (truthy(eval(*elif->a))) return failed() ? Flow::kNext : run_block(elif->body);
      }
      return failed() ? Flow::kNext : run_block(node.otherwise);
    }
    case Op::kFor: return run_for(node);
    case Op::kAssign: {
      const Value value = eval(*node.b);
      if (!failed()) assign(*node.a, value);
      return Flow::kNext;
    }
    case Op::kAssignBlock: {
      const auto outer = scope_;
      scope_ = enter(node.frame, outer);
      load(*scope_);
      std::string text;
      const Flow flow = run_captured(node.body, text);
      Value value;
      if (flow == Flow::kNext && !failed()) value = node.b != nullptr ? eval_filter(*node.b, &text) : string(std::move(text));
      leave(*scope_);
      scope_ = outer;
      if (flow == Flow::kNext && !failed()) assign(*node.a, value);
      return flow;
    }
    case Op::kFilterBlock: {
      const auto outer = scope_;
      scope_ = enter(node.frame, outer);
      load(*scope_);
      std::string text;
      const Flow flow = run_captured(node.body, text);
      if (flow == Flow::kNext && !failed()) {
        append_text(eval_filter(*node.a, &text));
      }
      leave(*scope_);
      scope_ = outer;
      return flow;
    }
    case Op::kWith: {
      const auto outer = scope_;
      const auto inner = enter(node.frame, outer);
      load(*inner);
      for (size_t k = 0; k < node.targets.size() && !failed(); ++k) {
        const Value value = eval(*node.items[k]);
        scope_ = inner;
        if (!failed()) assign(*node.targets[k], value);
        scope_ = outer;
      }
      scope_ = inner;
      const Flow flow = failed() ? Flow::kNext : run_block(node.body);
      leave(*inner);
      scope_ = outer;
      return flow;
    }
    case Op::kMacro:
    case Op::kCallBlock: {
      auto macro = std::make_shared<Macro>();
      macro->node = &node;
      macro->scope = scope_;
      capture(scope_);
      const Value value = object(Kind::kMacro, std::move(macro), {}, 0);
      if (failed()) return Flow::kNext;
      if (node.op == Op::kMacro) {
        scope_->slots[static_cast<size_t>(node.ref.slot)] = value;
        return Flow::kNext;
      }
      Args none;
      append_text(node.a == nullptr ? call(value, none) : call_node(*node.a, &value));
      return Flow::kNext;
    }
    case Op::kBreak: return Flow::kBreak;
    case Op::kContinue: return Flow::kContinue;
    default: return Flow::kNext;
  }
}

// What a filter or call block makes joins the output as it is, so it must be text.
void Interpreter::append_text(const Value& value) {
  if (failed()) return;
  if (!value.is(Kind::kStr)) {
    type_error(fmt::format("expected str instance, {} found", type_name(value)));
    return;
  }
  append_str(*out_, value);
}

Interpreter::Flow Interpreter::run_for(const Node& node) {
  const Value iterable = eval(*node.b);
  if (failed()) return Flow::kNext;
  if (!node.recursive) return run_loop(node, iterable, 0);
  const Value text = recursive_loop(node, scope_, iterable, 0);
  if (!failed()) append_str(*out_, text);
  return Flow::kNext;
}

Value Interpreter::recursive_loop(const Node& node, const std::shared_ptr<Scope>& outer, const Value& iterable, int depth0) {
  if (++calls_ > limits_.depth_max) exhaust("loops call each other too deep");
  const Level level(*this);
  const auto saved = scope_;
  std::string* const saved_out = out_;
  std::string text;
  scope_ = outer;
  out_ = &text;
  if (!failed()) run_loop(node, iterable, depth0);
  scope_ = saved;
  out_ = saved_out;
  --calls_;
  return string(std::move(text));
}

Interpreter::Flow Interpreter::run_loop(const Node& node, const Value& iterable, int depth0) {
  const auto outer = scope_;
  Value source = iterable;
  if (node.c != nullptr) {
    const Value inner = iterate(iterable);
    if (failed()) return Flow::kNext;
    capture(outer);
    std::shared_ptr<Scope> scope;
    source = iterator(
        [&node, outer, inner, scope](Interpreter& in, Value& item) mutable {
          if (scope == nullptr) {
            scope = in.enter(node.test_frame, outer);
            in.load(*scope);
          }
          while (in.step() && in.next(inner, item)) {
            const auto saved = in.scope_;
            in.scope_ = scope;
            in.assign(*node.test_target, item);
            const bool keep = !in.failed() && in.truthy(in.eval(*node.c));
            in.scope_ = saved;
            if (in.failed()) return false;
            if (keep) return true;
          }
          return false;
        },
        {inner});
  }
  std::shared_ptr<Loop> loop;
  Value loop_value;
  Value items = iterate(source);
  if (failed()) return Flow::kNext;
  if (node.needs_loop) {
    loop = std::make_shared<Loop>();
    loop->iterable = source;
    loop->iterator = items;
    loop->depth0 = depth0;
    if (node.recursive) {
      loop->node = &node;
      loop->outer = outer;
      capture(outer);
    }
    loop_value = object(Kind::kLoop, loop, {source, items}, 0);
    if (failed()) return Flow::kNext;
  }
  const auto inner = enter(node.frame, outer);
  bool ended_normally = false;  // an iteration that breaks or continues leaves the else branch alive
  Value item;
  Flow flow = Flow::kNext;
  while (step() && (loop != nullptr ? loop_next(*loop, item) : next(items, item))) {
    scope_ = inner;
    assign(*node.a, item);
    if (loop != nullptr) inner->slots[static_cast<size_t>(node.loop_slot)] = loop_value;
    load(*inner);
    flow = failed() ? Flow::kNext : run_block(node.body);
    scope_ = outer;
    if (failed() || flow == Flow::kBreak) break;
    if (flow == Flow::kNext) ended_normally = true;
  }
  leave(*inner);
  flow = Flow::kNext;
  if (!failed() && !ended_normally && !node.otherwise.empty()) {
    scope_ = enter(node.else_frame, outer);
    load(*scope_);
    flow = run_block(node.otherwise);
    leave(*scope_);
  }
  scope_ = outer;
  return flow;
}

void Interpreter::assign(const Node& target, const Value& value) {
  const auto variable = [&]() -> Value& {
    Scope* scope = scope_.get();
    for (int up = 0; up < target.ref.up; ++up) scope = scope->parent.get();
    return scope->slots[static_cast<size_t>(target.ref.slot)];
  };
  if (target.op == Op::kName) {
    variable() = value;
  } else if (target.op == Op::kNamespaceRef) {
    Value& space = variable();
    if (!space.is(Kind::kNamespace)) {
      fail("TemplateRuntimeError", "cannot assign attribute on non-namespace object");
      return;
    }
    if (target.attribute[0] == '_') {
      fail("SecurityError", "cannot store underscore-prefixed attributes on a namespace");
      return;
    }
    auto& made = space.as<Namespace>();
    for (auto& [name, held] : made.attributes) {
      if (name == target.attribute) {
        held = value;
        return;
      }
    }
    made.attributes.emplace_back(target.attribute, value);
  } else {
    std::vector<Value> items;
    const Value source = iterate(value);
    Value item;
    // One more than wanted is enough to know that there are too many.
    while (!failed() && items.size() <= target.items.size() && next(source, item)) items.push_back(item);
    if (failed()) return;
    if (items.size() != target.items.size()) {
      value_error(items.size() > target.items.size()
                      ? fmt::format("too many values to unpack (expected {})", target.items.size())
                      : fmt::format("not enough values to unpack (expected {}, got {})", target.items.size(), items.size()));
      return;
    }
    for (size_t k = 0; k < items.size(); ++k) assign(*target.items[k], items[k]);
  }
}

// --- calls

Value Interpreter::call(const Value& callee, Args& args) {
  const Level level(*this);
  if (!step()) return Value::undefined();
  switch (callee.kind) {
    case Kind::kFunction: {
      const auto keep = callee.object;
      return static_cast<Function&>(*keep).call(*this, args);
    }
    case Kind::kMacro: {
      const auto keep = callee.object;
      return call_macro(static_cast<Macro&>(*keep), args);
    }
    case Kind::kLoop: {
      const auto keep = std::static_pointer_cast<Loop>(callee.object);
      Value iterable;
      if (!bind(*this, "loop", args, {"iterable"}, 1, &iterable)) return Value::undefined();
      if (keep->node == nullptr) return type_error("The loop must have the 'recursive' marker to be called recursively.");
      return recursive_loop(*keep->node, keep->outer, iterable, keep->depth0 + 1);
    }
    case Kind::kJoiner: {
      auto& joiner = callee.as<Joiner>();
      if (!args.positional.empty() || !args.named.empty()) return type_error("joiner takes no arguments");
      if (joiner.used) return joiner.separator;
      joiner.used = true;
      return string("");
    }
    case Kind::kUndefined: return undefined_error(callee);
    default: return type_error(fmt::format("'{}' object is not callable", type_name(callee)));
  }
}

Value Interpreter::call_macro(const Macro& macro, Args& args) {
  const Node& node = *macro.node;
  const std::string name = node.op == Op::kMacro ? fmt::format("'{}'", node.name) : "None";
  const size_t count = node.targets.size();
  auto scope = enter(node.frame, macro.scope);
  if (failed()) return Value::undefined();
  const auto take = [&](const std::string& key) {
    for (auto at = args.named.begin(); at != args.named.end(); ++at) {
      if (at->first == key) {
        Value value = std::move(at->second);
        args.named.erase(at);
        return value;
      }
    }
    return Value();
  };
  const auto slot = [&](const Node& parameter) -> Value& { return scope->slots[static_cast<size_t>(parameter.ref.slot)]; };
  bool found_caller = false;
  const size_t given = std::min(args.positional.size(), count);
  for (size_t k = 0; k < given; ++k) slot(*node.targets[k]) = args.positional[k];
  for (size_t k = given; k < count; ++k) {
    slot(*node.targets[k]) = take(node.targets[k]->name);
    if (node.targets[k]->name == "caller") found_caller = true;
  }
  if (given == count) {
    found_caller = std::any_of(node.targets.begin(), node.targets.end(), [](const NodePtr& t) { return t->name == "caller"; });
  }
  if (node.takes_caller && !found_caller) {
    Value caller = take("caller");
    if (caller.missing() || caller.is(Kind::kNone)) caller = Value::undefined();
    scope->slots[static_cast<size_t>(node.caller_slot)] = caller;
  }
  if (node.takes_kwargs) {
    auto rest = std::make_shared<Dict>();
    for (auto& [key, value] : args.named) put(*rest, string(key), value);
    scope->slots[static_cast<size_t>(node.kwargs_slot)] = dict(std::move(rest));
  } else if (!args.named.empty()) {
    return type_error(fmt::format("macro {} takes no keyword argument '{}'", name, args.named.front().first));
  }
  if (node.takes_varargs) {
    std::vector<Value> rest;
    if (args.positional.size() > count) rest.assign(args.positional.begin() + static_cast<long>(count), args.positional.end());
    scope->slots[static_cast<size_t>(node.varargs_slot)] = tuple(std::move(rest));
  } else if (args.positional.size() > count) {
    return type_error(fmt::format("macro {} takes not more than {} argument(s)", name, count));
  }
  if (++calls_ > limits_.depth_max) exhaust("macros call each other too deep");
  const auto saved = scope_;
  scope_ = scope;
  load(*scope);
  for (size_t k = 0; k < count && !failed(); ++k) {
    Value& value = slot(*node.targets[k]);
    if (!value.missing()) continue;
    if (k + node.defaults.size() >= count) {
      Value made = eval(*node.defaults[k + node.defaults.size() - count]);
      slot(*node.targets[k]) = std::move(made);
    } else {
      value = Value::undefined();
    }
  }
  std::string text;
  if (!failed()) run_captured(node.body, text);
  scope_ = saved;
  --calls_;
  return string(std::move(text));
}

bool Interpreter::eval_arguments(const Node& node, Args& args) {
  args.positional.reserve(args.positional.size() + node.items.size());
  for (const auto& item : node.items) {
    args.positional.push_back(eval(*item));
    if (failed()) return false;
  }
  if (node.more != nullptr) {
    const Value more = eval(*node.more);
    if (failed() || !to_list(more, args.positional)) return false;
  }
  for (const auto& [name, item] : node.named) {
    args.named.emplace_back(name, eval(*item));
    if (failed()) return false;
  }
  if (node.more_named != nullptr) {
    const Value more = eval(*node.more_named);
    if (failed()) return false;
    if (!more.is(Kind::kDict)) {
      type_error(fmt::format("argument after ** must be a mapping, not {}", type_name(more)));
      return false;
    }
    for (const auto& [key, value] : more.dict().items) {
      if (!key.is(Kind::kStr)) {
        type_error("keywords must be strings");
        return false;
      }
      for (const auto& [name, other] : args.named) {
        if (name == key.text()) type_error(fmt::format("got multiple values for keyword argument '{}'", name));
      }
      args.named.emplace_back(std::string(key.text()), value);
    }
  }
  return !failed();
}

Value Interpreter::call_node(const Node& node, const Value* caller) {
  const Value callee = eval(*node.a);
  Args args;
  if (failed() || !eval_arguments(node, args)) return Value::undefined();
  if (caller != nullptr) args.named.emplace_back("caller", *caller);
  line_ = node.line;
  return call(callee, args);
}

// --- expressions

Value Interpreter::eval(const Node& node) {
  const Level level(*this);
  if (!step()) return Value::undefined();
  switch (node.op) {
    case Op::kConst: return node.value;
    case Op::kName: return eval_name(node);
    case Op::kTuple:
    case Op::kList:
    case Op::kDict:
    case Op::kConcat: return eval_collection(node);
    case Op::kGetattr: {
      const Value object = eval(*node.a);
      line_ = node.line;
      return failed() ? object : get_attribute(object, node.name);
    }
    case Op::kGetitem: {
      const Value object = eval(*node.a);
      if (failed()) return object;
      if (node.b->op == Op::kSlice) {
        const auto part = [&](const NodePtr& p) { return p != nullptr ? eval(*p) : Value::none(); };
        const Value start = part(node.b->a), stop = part(node.b->b), stride = part(node.b->c);
        return failed() ? Value::undefined() : slice(object, start, stop, stride);
      }
      const Value key = eval(*node.b);
      line_ = node.line;
      return failed() ? key : get_item(object, key);
    }
    case Op::kSlice: return Value::none();  // x[1:2, 3] is never an element of anything
    case Op::kCall: return call_node(node, nullptr);
    case Op::kFilter: return eval_filter(node, nullptr);
    case Op::kTest: {
      Args args;
      args.positional.push_back(eval(*node.a));
      if (failed() || !eval_arguments(node, args)) return Value::undefined();
      line_ = node.line;
      if (!node.known) return fail("TemplateRuntimeError", fmt::format("No test named '{}' found.", node.name));
      const bool result = apply_test(*this, node.name, args);
      return Value::boolean(result != node.negated);
    }
    case Op::kConditional: {
      const bool yes = truthy(eval(*node.b));
      if (failed()) return Value::undefined();
      if (yes) return eval(*node.a);
      return node.c != nullptr ? eval(*node.c) : Value::undefined();
    }
    case Op::kAnd:
    case Op::kOr: {
      Value left = eval(*node.a);
      if (failed() || truthy(left) == (node.op == Op::kOr)) return left;
      return failed() ? left : eval(*node.b);
    }
    case Op::kNot: {
      const Value value = eval(*node.a);
      return Value::boolean(!truthy(value));
    }
    case Op::kNeg:
    case Op::kPos: {
      const Value value = eval(*node.a);
      if (failed()) return value;
      if (value.is(Kind::kUndefined)) return undefined_error(value);
      if (!value.is_number()) {
        return type_error(fmt::format("bad operand type for unary {}: '{}'", node.op == Op::kNeg ? '-' : '+', type_name(value)));
      }
      if (node.op == Op::kNeg) return negate(value);
      return value.is(Kind::kBool) ? Value::integer(value.as_int()) : value;
    }
    case Op::kCompare: return eval_compare(node);
    default: {
      const Value a = eval(*node.a);
      if (failed()) return a;
      const Value b = eval(*node.b);
      line_ = node.line;
      return failed() ? b : binary(node.op, a, b);
    }
  }
}

// A constant that is printed is computed when Jinja2 compiles, where a slice of what has none is
// undefined; only if that fails is it computed again as usual.
Value Interpreter::eval_output(const Node& node) {
  if (!node.constant || folding_) return eval(node);
  folding_ = true;
  const Value value = eval(node);
  folding_ = false;
  if (!failed() || error_->code != ErrorCode::kInvalid) return value;
  error_.reset();
  return eval(node);
}

Value Interpreter::eval_name(const Node& node) {
  const Scope* scope = scope_.get();
  for (int up = 0; up < node.ref.up; ++up) scope = scope->parent.get();
  const Value& value = scope->slots[static_cast<size_t>(node.ref.slot)];
  if (!value.missing()) return value;
  Value made = string(fmt::format("'{}' is undefined", node.name));
  made.kind = Kind::kUndefined;
  return made;
}

Value Interpreter::eval_collection(const Node& node) {
  if (node.op == Op::kConcat) {
    std::string text;
    std::vector<Value> parts;
    for (const auto& item : node.items) {
      parts.push_back(eval(*item));
      if (failed()) return Value::undefined();
    }
    for (const Value& part : parts) append_str(text, part);
    return string(std::move(text));
  }
  if (node.op == Op::kDict) {
    auto made = std::make_shared<Dict>();
    for (size_t k = 0; k + 1 < node.items.size(); k += 2) {
      const Value key = eval(*node.items[k]);
      if (failed()) return key;
      Value value = eval(*node.items[k + 1]);
      if (failed() || !put(*made, key, std::move(value))) return Value::undefined();
    }
    return dict(std::move(made));
  }
  std::vector<Value> items;
  items.reserve(node.items.size());
  for (const auto& item : node.items) {
    items.push_back(eval(*item));
    if (failed()) return Value::undefined();
  }
  return seq(node.op == Op::kTuple ? Kind::kTuple : Kind::kList, std::move(items));
}

Value Interpreter::eval_compare(const Node& node) {
  Value left = eval(*node.a);
  for (size_t k = 0; k < node.compares.size() && !failed(); ++k) {
    Value right = eval(*node.items[k]);
    if (failed()) return right;
    line_ = node.line;
    if (!compare(node.compares[k], left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Interpreter::eval_filter(const Node& node, const std::string* captured) {
  const Level level(*this);
  if (!step()) return Value::undefined();
  Args args;
  if (node.a == nullptr) {
    args.positional.push_back(string(captured != nullptr ? *captured : std::string()));
  } else if (node.a->op == Op::kFilter) {
    args.positional.push_back(eval_filter(*node.a, captured));
  } else {
    args.positional.push_back(eval(*node.a));
  }
  if (failed() || !eval_arguments(node, args)) return Value::undefined();
  line_ = node.line;
  if (!node.known) return fail("TemplateRuntimeError", fmt::format("No filter named '{}' found.", node.name));
  return apply_filter(*this, node.name, args);
}

}  // namespace colony::text::jinja
