// The values a template computes with: Python's, as far as templates see them.
//
// Numbers: integers have 128 bits (Python's are unbounded; beyond that is an error, never a wrong
// number), floats are binary64. Text is UTF-8; lengths count code points. Lists and dicts never change
// once a template can see them (the sandbox forbids it); namespaces do.
// Every container knows its nesting depth, so that printing and destroying it recurse within bounds,
// and its weight (values in it, counted as often as they are reached), so that walking it can be paid
// for before it begins.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace colony::text::jinja {

class Interpreter;
struct Value;

using Int = __int128;

enum class Kind : uint8_t {
  kMissing,  // not a value: an argument not given, a variable not set
  kUndefined, kNone, kBool, kInt, kFloat, kStr, kList, kTuple, kDict,
  kView, kRange, kIterator, kNamespace, kFunction, kMacro, kLoop, kCycler, kJoiner,
};

// Bytes held by the values of one rendering.
struct Heap {
  size_t live = 0;
};

struct Object {
  Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() {
    if (heap != nullptr) heap->live -= bytes;
  }
  Heap* heap = nullptr;  // null: constants and input, which outlive a rendering's budget
  size_t bytes = 0;
  int depth = 0;  // how deep the values held inside nest; bounds recursion
};

struct Str;
struct Seq;
struct Dict;

struct Value {
  Kind kind = Kind::kMissing;
  union {
    bool b;
    Int i = 0;
    double f;
  };
  std::shared_ptr<Object> object;

  static Value undefined();
  static Value none();
  static Value boolean(bool value);
  static Value integer(Int value);
  static Value real(double value);

  bool is(Kind k) const { return kind == k; }
  bool missing() const { return kind == Kind::kMissing; }
  bool is_int() const { return kind == Kind::kInt || kind == Kind::kBool; }
  bool is_number() const { return is_int() || kind == Kind::kFloat; }
  bool is_seq() const { return kind == Kind::kList || kind == Kind::kTuple; }
  Int as_int() const { return kind == Kind::kBool ? Int{b} : i; }
  double as_double() const { return kind == Kind::kFloat ? f : static_cast<double>(as_int()); }
  const Str& str() const;
  std::string_view text() const;
  const Seq& seq() const;
  const Dict& dict() const;
  template <typename T>
  T& as() const {
    return static_cast<T&>(*object);
  }
};

// A Python call's arguments.
struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

struct Str : Object {
  std::string text;
  size_t length = 0;    // code points
  bool markup = false;  // markupsafe's Markup: marked as safe HTML
};

struct Seq : Object {  // list or tuple
  std::vector<Value> items;
  uint64_t weight = 1;
  bool group = false;  // groupby's tuple, with .grouper and .list
};

struct Dict : Object {
  std::vector<std::pair<Value, Value>> items;
  std::unordered_multimap<size_t, size_t> index;  // used from 16 entries on
  uint64_t weight = 1;

  const Value* find(const Value& key) const;     // key must be hashable
  const Value* find(std::string_view key) const;
  void set(const Value& key, Value value);       // key must be hashable
};

enum class ViewOf : uint8_t { kKeys, kValues, kItems };
struct View : Object {
  Value dict;
  ViewOf of = ViewOf::kKeys;
};

struct Range : Object {
  Int start = 0, stop = 0, step = 1;
  size_t length = 0;
  Int at(size_t index) const { return start + static_cast<Int>(index) * step; }
};

// Anything consumed once. next() gives false at the end or after an error.
struct Iterator : Object {
  std::function<bool(Interpreter&, Value&)> next;
  const char* type_name = "generator";
};

struct Namespace : Object {
  std::vector<std::pair<std::string, Value>> attributes;
};

struct Function : Object {
  std::string name;
  std::function<Value(Interpreter&, Args&)> call;
  bool method = false;
};

struct Cycler : Object {
  std::vector<Value> items;
  size_t position = 0;
};
struct Joiner : Object {
  Value separator;
  bool used = false;
};

constexpr uint64_t kWeightMax = uint64_t{1} << 40;
inline int depth_of(const Value& value) { return value.object != nullptr ? value.object->depth : 0; }
uint64_t weight_of(const Value& value);  // at least 1, saturating

// Python's name of the type ("str", "dict", "NoneType", …).
std::string_view type_name(const Value& value);

bool hashable(const Value& value);
size_t hash_of(const Value& value);
bool equal(const Value& a, const Value& b);
// -1, 0, 1; 2 when a NaN is compared.
int compare_numbers(const Value& a, const Value& b);

std::string int_text(Int value);
// False unless `text` (underscores taken out before) is an integer in `base` that fits.
bool parse_int(std::string_view digits, int base, Int& out);

}  // namespace colony::text::jinja
