// Runs a parsed template over variables, within limits.
//
// No C++ exception is thrown. The first failure is kept; from then on every operation returns at once
// with an undefined value, and render() reports it. Source: Jinja2 3.1's compiler, runtime, sandbox.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/chat_template.h"
#include "text/jinja_ast.h"

namespace colony::text::jinja {

// The variables of one frame while it runs.
struct Scope : Object {
  const FrameLayout* layout = nullptr;
  std::vector<Value> slots;
  std::shared_ptr<Scope> parent;
  bool captured = false;
};

struct Macro : Object {
  const Node* node = nullptr;
  std::shared_ptr<Scope> scope;
};

struct Loop : Object {
  const Node* node = nullptr;       // set when it may be called: {% for … recursive %}
  std::shared_ptr<Scope> outer;
  Value iterable, iterator;
  Value after, current, before, last_changed;  // kMissing when there is none
  Int index0 = -1;
  int64_t known_length = -1;
  int depth0 = 0;
};

class Interpreter {
 public:
  Interpreter(const Template& tree, const TemplateLimits& limits, int64_t now_unix_ms)
      : tree_(tree), limits_(limits), now_unix_ms_(now_unix_ms) {}
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  Result<std::string> render(const Json& variables);

  // --- failures and limits
  bool failed() const { return error_.has_value(); }
  // Keeps "line N: <type>: <message>"; gives undefined.
  Value fail(std::string_view type, std::string_view message);
  Value type_error(std::string_view message) { return fail("TypeError", message); }
  Value value_error(std::string_view message) { return fail("ValueError", message); }
  Value not_implemented(std::string_view what);
  Value raise(std::string message);  // raise_exception: the message as it is
  Value exhaust(std::string_view what);
  // Pays for `n` units of work; false after a failure.
  bool step(uint64_t n = 1);
  // True when a text of `bytes` may be made.
  bool room(size_t bytes);
  void append(std::string& out, std::string_view text) {
    if (room(out.size() + text.size())) out += text;
  }

  // --- making values
  Value string(std::string text, bool markup = false);
  Value list(std::vector<Value> items) { return seq(Kind::kList, std::move(items)); }
  Value tuple(std::vector<Value> items) { return seq(Kind::kTuple, std::move(items)); }
  Value seq(Kind kind, std::vector<Value> items);
  Value dict(std::shared_ptr<Dict> built);  // counts and closes it
  bool put(Dict& dict, const Value& key, Value value);  // fails when the key cannot be hashed
  Value iterator(std::function<bool(Interpreter&, Value&)> next, std::vector<Value> holds,
                 const char* type = "generator");
  Value method(std::string name, const Value& self, std::function<Value(Interpreter&, Args&)> call);
  Value range(Int start, Int stop, Int step);
  Value namespace_of(Args& args);
  template <typename T>
  Value object(Kind kind, std::shared_ptr<T> made, const std::vector<Value>& holds, size_t bytes);

  // --- Python's operations
  bool truthy(const Value& value);
  bool equals(const Value& a, const Value& b);
  bool less(const Value& a, const Value& b);
  bool compare(Compare how, const Value& a, const Value& b);
  bool contains(const Value& container, const Value& item);
  // -1 after a failure.
  int64_t length(const Value& value);
  bool has_length(const Value& value) const;
  bool iterable(const Value& value) const;
  Value iterate(const Value& value);  // a kIterator; TypeError when not iterable
  bool next(const Value& iterator, Value& item);
  bool to_list(const Value& value, std::vector<Value>& items);
  void append_str(std::string& out, const Value& value);
  void append_repr(std::string& out, const Value& value);
  std::string str(const Value& value);
  std::string repr(const Value& value);
  Value binary(Op op, const Value& a, const Value& b);
  Value negate(const Value& a);
  Value get_attribute(const Value& object, const std::string& name);
  Value get_item(const Value& object, const Value& key);
  Value slice(const Value& object, const Value& start, const Value& stop, const Value& step);
  Value call(const Value& callee, Args& args);
  // A stable sort by `keys` (same size as items), smallest first.
  bool sort(std::vector<Value>& items, std::vector<Value> keys, bool reverse);
  Value undefined_error(const Value& value);
  bool want_index(const Value& value, Int& out);  // __index__: int or bool, else TypeError

  // LoopContext
  int64_t loop_length(Loop& loop);
  const Value& loop_peek(Loop& loop);
  bool loop_next(Loop& loop, Value& item);
  Value loop_attribute(const Value& loop, std::string_view name);

  int64_t now_unix_ms() const { return now_unix_ms_; }
  int depth_max() const { return limits_.depth_max; }

 private:
  enum class Flow { kNext, kBreak, kContinue };
  using Saved = std::shared_ptr<Scope>;

  Value from_json(const Json& json, int depth);
  Value global(const std::string& name);

  Flow run_block(const Nodes& nodes);
  Flow run(const Node& node);
  Flow run_for(const Node& node);
  Flow run_loop(const Node& node, const Value& iterable, int depth0);
  Value recursive_loop(const Node& node, const std::shared_ptr<Scope>& outer, const Value& iterable, int depth0);
  Flow run_captured(const Nodes& body, std::string& out);
  void append_text(const Value& value);
  Value call_macro(const Macro& macro, Args& args);
  Value call_node(const Node& node, const Value* caller);

  Value eval(const Node& node);
  Value eval_output(const Node& node);
  Value eval_name(const Node& node);
  Value eval_filter(const Node& node, const std::string* captured);
  Value eval_compare(const Node& node);
  Value eval_collection(const Node& node);
  bool eval_arguments(const Node& node, Args& args);
  void assign(const Node& target, const Value& value);

  std::shared_ptr<Scope> enter(const FrameLayout& layout, const std::shared_ptr<Scope>& parent);
  void load(Scope& scope);
  static void leave(Scope& scope);
  void capture(const std::shared_ptr<Scope>& scope);
  void account(Object& object, size_t bytes);
  bool too_deep_value(int depth);

  Heap heap_;  // first: outlives every value below
  const Template& tree_;
  const TemplateLimits limits_;
  const int64_t now_unix_ms_;
  std::optional<Error> error_;
  uint64_t steps_ = 0;
  int level_ = 0;  // C++ recursion
  int calls_ = 0;  // template calls inside each other
  int line_ = 1;
  bool folding_ = false;
  std::string* out_ = nullptr;
  std::shared_ptr<Scope> scope_;
  std::unordered_map<std::string, Value> globals_;
  std::vector<std::shared_ptr<Scope>> captured_;
  std::vector<std::shared_ptr<Namespace>> namespaces_;

  friend struct Level;
};

}  // namespace colony::text::jinja
