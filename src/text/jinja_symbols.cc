// Scoping, as Jinja2's idtracking and compiler do it: which frame a name belongs to, and how the
// variable gets its first value there. The rules are odd in places (a variable set later in the same
// frame hides the outer one from inner frames before it is set), and templates may rely on them.
#include <algorithm>
#include <map>
#include <set>

#include "text/jinja_builtins.h"
#include "text/jinja_parser.h"

namespace colony::text::jinja {
namespace {

struct Load {
  LoadHow how = LoadHow::kUndefined;
  int level = 0;  // of the frame an alias points to; its name is the same
};

struct Symbols {
  int level = 0;
  const Symbols* parent = nullptr;
  std::vector<std::string> order;  // names in order of definition
  std::map<std::string, Load> loads;
  std::set<std::string> stores;

  const Symbols* find(const std::string& name) const {
    for (const Symbols* s = this; s != nullptr; s = s->parent) {
      if (s->loads.count(name) != 0) return s;
    }
    return nullptr;
  }
  void define(const std::string& name, Load load) {
    if (loads.insert_or_assign(name, load).second) order.push_back(name);
  }
  void store(const std::string& name) {
    stores.insert(name);
    if (loads.count(name) != 0) return;
    if (const Symbols* outer = parent != nullptr ? parent->find(name) : nullptr; outer != nullptr) {
      define(name, {LoadHow::kAlias, outer->level});
    } else {
      define(name, {LoadHow::kUndefined, 0});
    }
  }
  void parameter(const std::string& name) {
    stores.insert(name);
    define(name, {LoadHow::kParameter, 0});
  }
  void load(const std::string& name) {
    if (find(name) == nullptr) define(name, {LoadHow::kResolve, 0});
  }
  void branches(const std::vector<Symbols>& all) {
    std::set<std::string> stored;
    for (const auto& branch : all) {
      for (const auto& name : branch.stores) {
        if (stores.count(name) == 0) stored.insert(name);
      }
    }
    for (const auto& branch : all) {
      for (const auto& name : branch.order) define(name, branch.loads.at(name));
      stores.insert(branch.stores.begin(), branch.stores.end());
    }
    for (const auto& name : stored) {
      const Symbols* outer = parent != nullptr ? parent->find(name) : nullptr;
      define(name, outer != nullptr ? Load{LoadHow::kAlias, outer->level} : Load{LoadHow::kResolve, 0});
    }
  }
};

// Calls `f` for every child, in the order of the fields of Jinja2's nodes.
template <typename F>
void each_child(Node& node, F&& f) {
  const auto one = [&](NodePtr& child) {
    if (child != nullptr) f(*child);
  };
  const auto all = [&](Nodes& children) {
    for (auto& child : children) one(child);
  };
  if (node.op == Op::kFilterBlock || node.op == Op::kCallBlock) {
    if (node.op == Op::kCallBlock) one(node.a);
    all(node.targets);
    all(node.defaults);
    all(node.body);
    if (node.op == Op::kFilterBlock) one(node.a);
    return;
  }
  all(node.targets);
  all(node.defaults);
  one(node.a);
  one(node.b);
  if (node.op != Op::kFor) one(node.c);
  all(node.items);
  for (auto& [name, child] : node.named) one(child);
  one(node.more);
  one(node.more_named);
  all(node.body);
  all(node.elifs);
  all(node.otherwise);
  if (node.op == Op::kFor) one(node.c);
}

// FrameSymbolVisitor: what a frame's own code does to names; inner frames are not entered.
class Collector {
 public:
  explicit Collector(Symbols& symbols) : symbols_(&symbols) {}

  void visit_all(Nodes& nodes) {
    for (auto& node : nodes) visit(*node);
  }
  void visit_parameter(Node& target) {
    if (target.op == Op::kName) {
      symbols_->parameter(target.name);
    } else {
      for (auto& item : target.items) visit_parameter(*item);
    }
  }
  void visit(Node& node) {
    switch (node.op) {
      case Op::kName:
        if (node.use == NameUse::kParam) {
          symbols_->parameter(node.name);
        } else if (node.use == NameUse::kStore) {
          symbols_->store(node.name);
        } else {
          symbols_->load(node.name);
        }
        return;
      case Op::kNamespaceRef: symbols_->load(node.name); return;
      case Op::kIf: {
        visit(*node.a);
        Symbols* const original = symbols_;
        std::vector<Symbols> all;
        const auto inner = [&](Nodes& nodes) {
          Symbols copy = *original;
          symbols_ = &copy;
          visit_all(nodes);
          symbols_ = original;
          all.push_back(std::move(copy));
        };
        inner(node.body);
        inner(node.elifs);
        inner(node.otherwise);
        symbols_->branches(all);
        return;
      }
      case Op::kMacro: symbols_->store(node.name); return;
      case Op::kAssign:
        visit(*node.b);
        visit(*node.a);
        return;
      case Op::kFor: visit(*node.b); return;
      case Op::kCallBlock:
      case Op::kFilterBlock:
        if (node.a != nullptr) visit(*node.a);
        return;
      case Op::kWith: visit_all(node.items); return;
      case Op::kAssignBlock: visit(*node.a); return;
      default: each_child(node, [&](Node& child) { visit(child); });
    }
  }

 private:
  Symbols* symbols_;
};

// find_undeclared: which of `names` are read before anything of that name is set, at any depth.
class Undeclared {
 public:
  explicit Undeclared(std::set<std::string> names) : names_(std::move(names)) {}
  void visit_all(Nodes& nodes) {
    for (auto& node : nodes) visit(*node);
  }
  std::set<std::string> found;

 private:
  void visit(Node& node) {
    if (node.op == Op::kName) {
      if (node.use == NameUse::kLoad && names_.count(node.name) != 0) {
        found.insert(node.name);
      } else {
        names_.erase(node.name);
      }
      return;
    }
    each_child(node, [&](Node& child) { visit(child); });
  }
  std::set<std::string> names_;
};

bool stores_loop(Node& node) {
  if (node.op == Op::kName && node.use == NameUse::kStore && node.name == "loop") return true;
  bool found = false;
  each_child(node, [&](Node& child) { found = found || stores_loop(child); });
  return found;
}

class Resolver {
 public:
  Status run(Template& tree) {
    Symbols root;
    Collector collector(root);
    collector.visit_all(tree.body);
    tree.frame = layout(root);
    block(tree.body, {&root, false, false});
    if (!error_.empty()) return invalid("{}", error_);
    return {};
  }

 private:
  struct Frame {
    const Symbols* symbols;
    bool soft;     // inside if or a conditional: unknown filters fail only when they run
    bool in_loop;  // break and continue are allowed
  };

  void fail(int line, std::string_view why) {
    if (error_.empty()) error_ = fmt::format("line {}: {}", line, why);
  }

  static FrameLayout layout(const Symbols& symbols) {
    FrameLayout out;
    for (const auto& name : symbols.order) {
      const Load& load = symbols.loads.at(name);
      FrameSlot slot;
      slot.name = name;
      slot.how = load.how;
      if (load.how == LoadHow::kAlias) slot.alias = ref_at(symbols, load.level, name);
      out.slots.push_back(std::move(slot));
    }
    return out;
  }
  static int slot_of(const Symbols& symbols, const std::string& name) {
    const auto at = std::find(symbols.order.begin(), symbols.order.end(), name);
    return at == symbols.order.end() ? -1 : static_cast<int>(at - symbols.order.begin());
  }
  static SlotRef ref_at(const Symbols& from, int level, const std::string& name) {
    const Symbols* s = &from;
    while (s->level > level) s = s->parent;
    return {from.level - level, slot_of(*s, name)};
  }
  static SlotRef ref(const Symbols& from, const std::string& name) {
    const Symbols* s = from.find(name);
    if (s == nullptr) return {};
    return {from.level - s->level, slot_of(*s, name)};
  }
  static Symbols inner(const Frame& frame) {
    Symbols symbols;
    symbols.level = frame.symbols->level + 1;
    symbols.parent = frame.symbols;
    return symbols;
  }

  void block(Nodes& nodes, const Frame& frame) {
    for (auto& node : nodes) visit(*node, frame);
  }
  void maybe(const NodePtr& node, const Frame& frame) {
    if (node != nullptr) visit(*node, frame);
  }
  void repeated_keywords(const Node& node, bool with_caller) {
    std::set<std::string> seen;
    if (with_caller) seen.insert("caller");
    for (const auto& [name, child] : node.named) {
      if (!seen.insert(name).second) fail(node.line, fmt::format("keyword argument repeated: {}", name));
    }
  }

  void visit(Node& node, const Frame& frame) {
    if (!error_.empty()) return;
    switch (node.op) {
      case Op::kName:
      case Op::kNamespaceRef: node.ref = ref(*frame.symbols, node.name); return;
      case Op::kFor: for_loop(node, frame); return;
      case Op::kIf: {
        const Frame soft{frame.symbols, true, frame.in_loop};
        visit(*node.a, soft);
        block(node.body, soft);
        block(node.elifs, soft);
        block(node.otherwise, soft);
        return;
      }
      case Op::kConditional: {
        const Frame soft{frame.symbols, true, frame.in_loop};
        each_child(node, [&](Node& child) { visit(child, soft); });
        return;
      }
      case Op::kMacro:
        node.ref = ref(*frame.symbols, node.name);
        macro(node, frame);
        return;
      case Op::kCallBlock:
        macro(node, frame);
        if (node.a != nullptr) {
          repeated_keywords(*node.a, true);
          visit(*node.a, frame);
        }
        return;
      case Op::kFilterBlock: {
        Symbols symbols = inner(frame);
        Collector collector(symbols);
        collector.visit_all(node.body);
        collector.visit(*node.a);
        node.frame = layout(symbols);
        const Frame in{&symbols, false, frame.in_loop};
        block(node.body, in);
        visit(*node.a, in);
        return;
      }
      case Op::kWith: {
        Symbols symbols = inner(frame);
        Collector collector(symbols);
        collector.visit_all(node.targets);
        collector.visit_all(node.body);
        node.frame = layout(symbols);
        const Frame in{&symbols, false, frame.in_loop};
        block(node.targets, in);
        block(node.items, frame);
        block(node.body, in);
        return;
      }
      case Op::kAssignBlock: {
        Symbols symbols = inner(frame);
        Collector collector(symbols);
        collector.visit_all(node.body);
        node.frame = layout(symbols);
        const Frame in{&symbols, false, frame.in_loop};
        block(node.body, in);
        visit(*node.a, frame);
        maybe(node.b, in);
        return;
      }
      case Op::kBreak:
      case Op::kContinue:
        if (!frame.in_loop) fail(node.line, "break or continue outside a loop");
        return;
      case Op::kFilter:
      case Op::kTest:
        node.known = node.op == Op::kFilter ? is_filter(node.name) : is_test(node.name);
        if (!node.known && !frame.soft) {
          fail(node.line, fmt::format("No {} named '{}'.", node.op == Op::kFilter ? "filter" : "test", node.name));
        }
        repeated_keywords(node, false);
        break;
      case Op::kCall: repeated_keywords(node, false); break;
      default: break;
    }
    each_child(node, [&](Node& child) { visit(child, frame); });
  }

  void for_loop(Node& node, const Frame& frame) {
    Undeclared undeclared({"loop"});
    undeclared.visit_all(node.body);
    node.needs_loop = node.recursive || undeclared.found.count("loop") != 0;

    Symbols body = inner(frame);
    if (node.needs_loop) body.parameter("loop");
    Collector collect_body(body);
    collect_body.visit_parameter(*node.a);
    collect_body.visit_all(node.body);
    node.frame = layout(body);
    node.loop_slot = node.needs_loop ? slot_of(body, "loop") : -1;

    Symbols otherwise = inner(frame);
    Collector(otherwise).visit_all(node.otherwise);
    node.else_frame = layout(otherwise);

    if (stores_loop(node)) fail(node.line, "Can't assign to special loop variable in for-loop target");
    const Frame in{&body, false, true};
    visit(*node.a, in);
    if (node.c != nullptr) {
      Symbols test = inner(frame);
      Collector collect_test(test);
      collect_test.visit_parameter(*node.test_target);
      collect_test.visit(*node.c);
      node.test_frame = layout(test);
      const Frame in_test{&test, false, false};
      visit(*node.test_target, in_test);
      visit(*node.c, in_test);
    }
    visit(*node.b, frame);
    block(node.body, in);
    block(node.otherwise, {&otherwise, false, frame.in_loop && !node.recursive});
  }

  void macro(Node& node, const Frame& frame) {
    Symbols symbols = inner(frame);
    const auto collect = [&] {
      Collector collector(symbols);
      collector.visit_all(node.targets);
      collector.visit_all(node.defaults);
      collector.visit_all(node.body);
    };
    collect();
    std::set<std::string> special = {"caller", "kwargs", "varargs"};
    Undeclared undeclared(special);
    undeclared.visit_all(node.body);
    bool explicit_caller = false;
    std::set<std::string> names;
    for (size_t k = 0; k < node.targets.size(); ++k) {
      const auto& name = node.targets[k]->name;
      if (!names.insert(name).second) fail(node.line, fmt::format("duplicate argument '{}' in macro", name));
      if (name == "caller") {
        explicit_caller = true;
        if (undeclared.found.count("caller") != 0 && k + node.defaults.size() < node.targets.size()) {
          fail(node.line, "the special \"caller\" argument must be omitted or be given a default");
        }
      }
    }
    if (undeclared.found.count("caller") != 0) {
      node.takes_caller = true;
      if (!explicit_caller) symbols.parameter("caller");
    }
    if (undeclared.found.count("kwargs") != 0 && names.count("kwargs") == 0) {
      node.takes_kwargs = true;
      symbols.parameter("kwargs");
    }
    if (undeclared.found.count("varargs") != 0 && names.count("varargs") == 0) {
      node.takes_varargs = true;
      symbols.parameter("varargs");
    }
    collect();
    node.frame = layout(symbols);
    if (node.takes_caller) node.caller_slot = slot_of(symbols, "caller");
    if (node.takes_kwargs) node.kwargs_slot = slot_of(symbols, "kwargs");
    if (node.takes_varargs) node.varargs_slot = slot_of(symbols, "varargs");
    const Frame in{&symbols, false, false};
    block(node.targets, in);
    block(node.defaults, in);
    block(node.body, in);
  }

  std::string error_;
};

}  // namespace

Status resolve_names(Template& tree) { return Resolver().run(tree); }

}  // namespace colony::text::jinja
