// The tree a template is parsed into. Names as in Jinja2's nodes.py.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "text/jinja_value.h"

namespace colony::text::jinja {

enum class Op : uint8_t {
  // expressions
  kConst, kName, kNamespaceRef, kTuple, kList, kDict, kGetattr, kGetitem, kSlice, kCall, kFilter,
  kTest, kConditional, kAnd, kOr, kNot, kNeg, kPos, kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow,
  kConcat, kCompare,
  // statements
  kData, kOutput, kFor, kIf, kMacro, kCallBlock, kFilterBlock, kWith, kAssign, kAssignBlock, kBreak,
  kContinue,
};

enum class Compare : uint8_t { kEq, kNe, kGt, kGe, kLt, kLe, kIn, kNotIn };
enum class NameUse : uint8_t { kLoad, kStore, kParam };

// How a variable of a frame gets its first value (Jinja2's idtracking).
enum class LoadHow : uint8_t { kParameter, kResolve, kAlias, kUndefined };
struct SlotRef {
  int up = -1;   // frames outwards; -1: not resolved
  int slot = 0;
};
struct FrameSlot {
  std::string name;
  LoadHow how = LoadHow::kUndefined;
  SlotRef alias;
};
// The variables of one frame, in the order they are set on entry.
struct FrameLayout {
  std::vector<FrameSlot> slots;
};

struct Node;
using NodePtr = std::unique_ptr<Node>;
using Nodes = std::vector<NodePtr>;

struct Node {
  explicit Node(Op o, int l) : op(o), line(l) {}

  Op op;
  int line;
  int height = 1;
  bool negated = false;
  bool constant = false;  // Jinja2 folds it when it compiles: no names, no calls

  std::string name;      // Name, Getattr, Filter, Test, Macro, NamespaceRef (the variable)
  std::string attribute; // NamespaceRef
  Value value;           // Const, Data
  NameUse use = NameUse::kLoad;
  SlotRef ref;           // Name, NamespaceRef, Macro

  // Children. a, b, c: Getattr/Filter/Test/Call: a = the object (null in a filter block);
  // Getitem: a[b]; Slice: a:b:c; Conditional: a if b else c (c may be null); unary: a; binary: a, b.
  // For: a = target, b = iterable, c = test or null; Assign: a = b; AssignBlock: a = target, b = filter;
  // CallBlock: a = the call; FilterBlock: a = filter.
  NodePtr a, b, c;
  NodePtr test_target;   // For with a test: the target once more, for the frame of the test
  Nodes items;           // Tuple, List, Dict (key, value, key, …), Concat, Compare operands, Output, With
                         // values, call arguments
  std::vector<std::pair<std::string, NodePtr>> named;  // keyword arguments
  NodePtr more, more_named;                            // *args, **kwargs
  std::vector<Compare> compares;
  Nodes targets;         // With: names; Macro, CallBlock: parameters
  Nodes defaults;        // Macro, CallBlock: of the last parameters
  Nodes body, otherwise, elifs;
  bool recursive = false;
  bool needs_loop = false;                       // For: `loop` exists in the body
  bool takes_caller = false, takes_kwargs = false, takes_varargs = false;  // Macro, CallBlock
  bool generation = false;                       // CallBlock made of {% generation %}
  bool known = true;                             // Filter, Test: there is one of that name
  FrameLayout frame, test_frame, else_frame;
  int loop_slot = -1, caller_slot = -1, kwargs_slot = -1, varargs_slot = -1;
};

struct Template {
  Nodes body;
  FrameLayout frame;
};

}  // namespace colony::text::jinja
