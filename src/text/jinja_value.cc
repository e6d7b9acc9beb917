#include "text/jinja_value.h"

#include <algorithm>
#include <cmath>

namespace colony::text::jinja {

Value Value::undefined() {
  Value v;
  v.kind = Kind::kUndefined;
  return v;
}
Value Value::none() {
  Value v;
  v.kind = Kind::kNone;
  return v;
}
Value Value::boolean(bool value) {
  Value v;
  v.kind = Kind::kBool;
  v.b = value;
  return v;
}
Value Value::integer(Int value) {
  Value v;
  v.kind = Kind::kInt;
  v.i = value;
  return v;
}
Value Value::real(double value) {
  Value v;
  v.kind = Kind::kFloat;
  v.f = value;
  return v;
}
const Str& Value::str() const { return as<Str>(); }
std::string_view Value::text() const { return as<Str>().text; }
const Seq& Value::seq() const { return as<Seq>(); }
const Dict& Value::dict() const { return as<Dict>(); }

std::string_view type_name(const Value& value) {
  switch (value.kind) {
    case Kind::kMissing:
    case Kind::kUndefined: return "Undefined";
    case Kind::kNone: return "NoneType";
    case Kind::kBool: return "bool";
    case Kind::kInt: return "int";
    case Kind::kFloat: return "float";
    case Kind::kStr: return value.str().markup ? "Markup" : "str";
    case Kind::kList: return "list";
    case Kind::kTuple: return "tuple";
    case Kind::kDict: return "dict";
    case Kind::kView:
      switch (value.as<View>().of) {
        case ViewOf::kKeys: return "dict_keys";
        case ViewOf::kValues: return "dict_values";
        case ViewOf::kItems: return "dict_items";
      }
      return "dict_keys";
    case Kind::kRange: return "range";
    case Kind::kIterator: return value.as<Iterator>().type_name;
    case Kind::kNamespace: return "Namespace";
    case Kind::kFunction: return value.as<Function>().method ? "builtin_function_or_method" : "function";
    case Kind::kMacro: return "Macro";
    case Kind::kLoop: return "LoopContext";
    case Kind::kCycler: return "Cycler";
    case Kind::kJoiner: return "Joiner";
  }
  return "object";
}

uint64_t weight_of(const Value& value) {
  switch (value.kind) {
    case Kind::kStr: return 1 + value.text().size() / 64;
    case Kind::kList:
    case Kind::kTuple: return value.seq().weight;
    case Kind::kDict: return value.dict().weight;
    case Kind::kView: return value.as<View>().dict.dict().weight;
    default: return 1;
  }
}

bool hashable(const Value& value) {
  switch (value.kind) {
    case Kind::kList:
    case Kind::kDict: return false;
    case Kind::kView: return value.as<View>().of == ViewOf::kValues;
    case Kind::kTuple:
      return std::all_of(value.seq().items.begin(), value.seq().items.end(), hashable);
    default: return true;
  }
}

size_t hash_of(const Value& value) {
  switch (value.kind) {
    case Kind::kBool:
    case Kind::kInt: {
      const Int i = value.as_int();
      return std::hash<uint64_t>{}(static_cast<uint64_t>(i) ^ static_cast<uint64_t>(i >> 64) * 31);
    }
    case Kind::kFloat:
      if (value.f == std::floor(value.f) && std::abs(value.f) < 1e30) {
        return hash_of(Value::integer(static_cast<Int>(value.f)));
      }
      return std::hash<double>{}(value.f);
    case Kind::kStr: return std::hash<std::string_view>{}(value.text());
    case Kind::kTuple: {
      size_t h = 7;
      for (const Value& item : value.seq().items) h = h * 1000003 ^ hash_of(item);
      return h;
    }
    default: return static_cast<size_t>(value.kind);
  }
}

int compare_numbers(const Value& a, const Value& b) {
  if (a.is_int() && b.is_int()) {
    const Int x = a.as_int(), y = b.as_int();
    return x < y ? -1 : x > y ? 1 : 0;
  }
  if (a.is(Kind::kFloat) && b.is(Kind::kFloat)) {
    return a.f < b.f ? -1 : a.f > b.f ? 1 : a.f == b.f ? 0 : 2;
  }
  if (a.is(Kind::kFloat)) {
    const int flipped = compare_numbers(b, a);
    return flipped == 2 ? 2 : -flipped;
  }
  // An integer against a float, exactly: compare whole parts as integers, then the fraction.
  const Int x = a.as_int();
  const double y = b.f;
  if (std::isnan(y)) return 2;
  if (y >= 0x1p126) return x >= (Int{1} << 126) && static_cast<double>(x) > y ? 1 : -1;
  if (y <= -0x1p126) return x <= -(Int{1} << 126) && static_cast<double>(x) < y ? -1 : 1;
  const double whole = std::floor(y);
  const Int w = static_cast<Int>(whole);
  if (x != w) return x < w ? -1 : 1;
  return y > whole ? -1 : 0;
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::kUndefined:
    case Kind::kNone: return true;
    case Kind::kStr: return a.text() == b.text();
    case Kind::kList:
    case Kind::kTuple: {
      if (a.object == b.object) return true;
      const auto &x = a.seq().items, &y = b.seq().items;
      return x.size() == y.size() && std::equal(x.begin(), x.end(), y.begin(), equal);
    }
    case Kind::kDict: {
      if (a.object == b.object) return true;
      const Dict &x = a.dict(), &y = b.dict();
      if (x.items.size() != y.items.size()) return false;
      return std::all_of(x.items.begin(), x.items.end(), [&](const auto& item) {
        const Value* other = y.find(item.first);
        return other != nullptr && equal(item.second, *other);
      });
    }
    case Kind::kView: {
      const View &x = a.as<View>(), &y = b.as<View>();
      if (a.object == b.object) return true;
      if (x.of != y.of || x.of == ViewOf::kValues) return false;
      const Dict &p = x.dict.dict(), &q = y.dict.dict();
      if (p.items.size() != q.items.size()) return false;
      return std::all_of(p.items.begin(), p.items.end(), [&](const auto& item) {
        const Value* other = q.find(item.first);
        return other != nullptr && (x.of == ViewOf::kKeys || equal(item.second, *other));
      });
    }
    case Kind::kRange: {
      const Range &x = a.as<Range>(), &y = b.as<Range>();
      return x.length == y.length && (x.length == 0 || x.start == y.start) &&
             (x.length <= 1 || x.step == y.step);
    }
    default: return a.object != nullptr && a.object == b.object;
  }
}

namespace {
constexpr size_t kIndexFrom = 16;
}

const Value* Dict::find(const Value& key) const {
  if (index.empty()) {
    for (const auto& item : items) {
      if (equal(item.first, key)) return &item.second;
    }
    return nullptr;
  }
  const auto [from, to] = index.equal_range(hash_of(key));
  for (auto at = from; at != to; ++at) {
    if (equal(items[at->second].first, key)) return &items[at->second].second;
  }
  return nullptr;
}

const Value* Dict::find(std::string_view key) const {
  const auto matches = [&](const Value& k) { return k.is(Kind::kStr) && k.text() == key; };
  if (index.empty()) {
    for (const auto& item : items) {
      if (matches(item.first)) return &item.second;
    }
    return nullptr;
  }
  const auto [from, to] = index.equal_range(std::hash<std::string_view>{}(key));
  for (auto at = from; at != to; ++at) {
    if (matches(items[at->second].first)) return &items[at->second].second;
  }
  return nullptr;
}

void Dict::set(const Value& key, Value value) {
  if (const Value* found = find(key); found != nullptr) {
    *const_cast<Value*>(found) = std::move(value);
    return;
  }
  items.emplace_back(key, std::move(value));
  if (items.size() == kIndexFrom) {
    for (size_t k = 0; k < items.size(); ++k) index.emplace(hash_of(items[k].first), k);
  } else if (items.size() > kIndexFrom) {
    index.emplace(hash_of(key), items.size() - 1);
  }
}

std::string int_text(Int value) {
  if (value == 0) return "0";
  const bool negative = value < 0;
  auto rest = negative ? -static_cast<unsigned __int128>(value) : static_cast<unsigned __int128>(value);
  std::string out;
  while (rest != 0) {
    out += static_cast<char>('0' + static_cast<int>(rest % 10));
    rest /= 10;
  }
  if (negative) out += '-';
  std::reverse(out.begin(), out.end());
  return out;
}

bool parse_int(std::string_view digits, int base, Int& out) {
  bool negative = false;
  if (!digits.empty() && (digits[0] == '-' || digits[0] == '+')) {
    negative = digits[0] == '-';
    digits.remove_prefix(1);
  }
  if (digits.empty()) return false;
  Int value = 0;
  for (const char c : digits) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 10
                      : c >= 'A' && c <= 'Z' ? c - 'A' + 10
                                             : 99;
    if (digit >= base) return false;
    if (__builtin_mul_overflow(value, Int{base}, &value) ||
        __builtin_sub_overflow(value, Int{digit}, &value)) {
      return false;
    }
  }
  // Built as a negative number, which has one more value than the positive ones.
  if (!negative && __builtin_sub_overflow(Int{0}, value, &value)) return false;
  out = value;
  return true;
}

}  // namespace colony::text::jinja
