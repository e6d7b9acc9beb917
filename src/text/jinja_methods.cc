// The methods and properties of Python's types that templates can reach, and the global functions.
#include <algorithm>
#include <cmath>
#include <ctime>

#include "text/jinja_builtins.h"
#include "text/jinja_text.h"

namespace colony::text::jinja {
namespace {

using Call = Value (*)(Interpreter&, const Value& self, Args&);
using Table = std::unordered_map<std::string_view, Call>;

bool positional_only(Interpreter& in, const Args& args) {
  if (!args.named.empty()) in.type_error("this method takes no keyword arguments");
  return args.named.empty() && !in.failed();
}
bool want_text(Interpreter& in, const Value& value) {
  if (!value.is(Kind::kStr)) in.type_error(fmt::format("must be str, not {}", type_name(value)));
  return value.is(Kind::kStr);
}
bool pays(Interpreter& in, const Value& self) { return in.step(self.text().size() / 64); }
// A text of the same class as `self`.
Value alike(Interpreter& in, const Value& self, std::string text) { return in.string(std::move(text), self.str().markup); }
// An argument that becomes part of a Markup is escaped first.
std::string part(const Value& self, const Value& value) {
  return self.str().markup && !value.str().markup ? escape_html(value.text()) : std::string(value.text());
}

template <std::string (*Change)(std::string_view)>
Value changed(Interpreter& in, const Value& self, Args& args) {
  if (!bind(in, "method", args, {}, 0, nullptr) || !pays(in, self)) return {};
  return alike(in, self, Change(self.text()));
}

template <bool Left, bool Right>
Value stripped(Interpreter& in, const Value& self, Args& args) {
  Value v[1];
  if (!self.str().markup && !positional_only(in, args)) return {};
  if (!bind(in, "strip", args, {"chars"}, 0, v) || !pays(in, self)) return {};
  if (v[0].missing() || v[0].is(Kind::kNone)) return alike(in, self, std::string(strip(self.text(), nullptr, Left, Right)));
  if (!want_text(in, v[0]) || !in.step(self.text().size() * v[0].text().size() / 64)) return {};
  const std::string_view chars = v[0].text();
  return alike(in, self, std::string(strip(self.text(), &chars, Left, Right)));
}

template <bool FromRight>
Value split(Interpreter& in, const Value& self, Args& args) {
  Value v[2];
  if (!bind(in, "split", args, {"sep", "maxsplit"}, 0, v) || !pays(in, self)) return {};
  Int max = -1;
  if (!v[1].missing() && !in.want_index(v[1], max)) return {};
  const long limit = max < 0 || max > 1'000'000'000 ? -1 : static_cast<long>(max);
  std::vector<Value> out;
  const auto push = [&](std::string_view piece) {
    if (in.step()) out.push_back(alike(in, self, std::string(piece)));
  };
  const std::string_view text = self.text();
  if (v[0].missing() || v[0].is(Kind::kNone)) {
    for (const auto piece : split_space(text, limit, FromRight)) push(piece);
    return in.list(std::move(out));
  }
  if (!want_text(in, v[0])) return {};
  const std::string_view separator = v[0].text();
  if (separator.empty()) return in.value_error("empty separator");
  if (FromRight) {
    size_t end = text.size();
    while (limit < 0 || out.size() < static_cast<size_t>(limit)) {
      const size_t at = end < separator.size() ? std::string_view::npos : text.rfind(separator, end - separator.size());
      if (at == std::string_view::npos || in.failed()) break;
      push(text.substr(at + separator.size(), end - at - separator.size()));
      end = at;
    }
    push(text.substr(0, end));
    std::reverse(out.begin(), out.end());
  } else {
    size_t from = 0;
    while (limit < 0 || out.size() < static_cast<size_t>(limit)) {
      const size_t at = text.find(separator, from);
      if (at == std::string_view::npos || in.failed()) break;
      push(text.substr(from, at - from));
      from = at + separator.size();
    }
    push(text.substr(from));
  }
  return in.list(std::move(out));
}

Value split_into_lines(Interpreter& in, const Value& self, Args& args) {
  Value v[1];
  if (!bind(in, "splitlines", args, {"keepends"}, 0, v) || !pays(in, self)) return {};
  std::vector<Value> out;
  for (const auto line : split_lines(self.text(), !v[0].missing() && in.truthy(v[0]))) out.push_back(alike(in, self, std::string(line)));
  return in.list(std::move(out));
}

template <bool FromRight>
Value partition(Interpreter& in, const Value& self, Args& args) {
  Value v[1];
  if (!bind(in, "partition", args, {"sep"}, 1, v) || !want_text(in, v[0]) || !pays(in, self)) return {};
  const std::string_view text = self.text(), separator = v[0].text();
  if (separator.empty()) return in.value_error("empty separator");
  const size_t at = FromRight ? text.rfind(separator) : text.find(separator);
  if (at == std::string_view::npos) {
    const Value whole = alike(in, self, std::string(text)), none = alike(in, self, "");
    return FromRight ? in.tuple({none, none, whole}) : in.tuple({whole, none, none});
  }
  return in.tuple({alike(in, self, std::string(text.substr(0, at))), alike(in, self, std::string(separator)),
                   alike(in, self, std::string(text.substr(at + separator.size())))});
}

Value replace(Interpreter& in, const Value& self, Args& args) {
  Value v[3];
  if (!self.str().markup && !positional_only(in, args)) return {};
  if (!bind(in, "replace", args, {"old", "new", "count"}, 2, v) || !want_text(in, v[0]) || !want_text(in, v[1])) return {};
  Int max = -1;
  if (!v[2].missing() && !in.want_index(v[2], max)) return {};
  const std::string_view text = self.text(), old = v[0].text();
  const std::string fresh = part(self, v[1]);
  if (!pays(in, self)) return {};
  std::string out;
  if (old.empty()) {
    for (size_t at = 0;; ) {
      if (!in.step()) return {};
      if (max != 0) {
        in.append(out, fresh);
        --max;
      }
      if (at >= text.size()) break;
      const size_t from = at;
      next_char(text, at);
      in.append(out, text.substr(from, at - from));
    }
    return alike(in, self, std::move(out));
  }
  size_t from = 0;
  while (max != 0) {
    const size_t at = text.find(old, from);
    if (at == std::string_view::npos || !in.step()) break;
    in.append(out, text.substr(from, at - from));
    in.append(out, fresh);
    from = at + old.size();
    --max;
  }
  in.append(out, text.substr(from));
  return alike(in, self, std::move(out));
}

// The part of the text that the optional start and end arguments select; begin in code points.
bool window(Interpreter& in, const Value& self, const Value& start, const Value& end, std::string_view& out, size_t& begin) {
  const auto count = static_cast<Int>(self.str().length);
  const auto bound = [&](const Value& v, Int otherwise) {
    Int at = otherwise;
    if (v.missing() || v.is(Kind::kNone) || !in.want_index(v, at)) return otherwise;
    if (at < 0) at = std::max(Int{0}, at + count);
    return at;
  };
  const Int from = bound(start, 0), to = std::min(bound(end, count), count);
  if (in.failed() || from > to || from > count) return false;
  const size_t a = byte_offset(self.text(), static_cast<size_t>(from));
  const size_t b = a + byte_offset(self.text().substr(a), static_cast<size_t>(to - from));
  out = self.text().substr(a, b - a);
  begin = static_cast<size_t>(from);
  return true;
}

template <bool Start>
Value affixed(Interpreter& in, const Value& self, Args& args) {
  Value v[3];
  if (!positional_only(in, args) || !bind(in, Start ? "startswith" : "endswith", args, {"prefix", "start", "end"}, 1, v) || !pays(in, self)) return {};
  std::string_view text;
  size_t begin = 0;
  const bool inside = window(in, self, v[1], v[2], text, begin);
  if (in.failed()) return {};
  const auto has = [&](const Value& affix) {
    const auto a = affix.text();
    if (!inside || a.size() > text.size()) return false;
    return (Start ? text.substr(0, a.size()) : text.substr(text.size() - a.size())) == a;
  };
  if (v[0].is(Kind::kTuple)) {
    bool any = false;
    for (const Value& item : v[0].seq().items) {
      if (!want_text(in, item)) return {};
      if (has(item)) {
        any = true;
        break;
      }
    }
    return Value::boolean(any);
  }
  if (!want_text(in, v[0])) return {};
  return Value::boolean(has(v[0]));
}

template <bool FromRight, bool Raises>
Value find(Interpreter& in, const Value& self, Args& args) {
  Value v[3];
  if (!positional_only(in, args) || !bind(in, "find", args, {"sub", "start", "end"}, 1, v) || !want_text(in, v[0]) || !pays(in, self)) return {};
  std::string_view text;
  size_t begin = 0, at = std::string_view::npos;
  if (window(in, self, v[1], v[2], text, begin)) at = FromRight ? text.rfind(v[0].text()) : text.find(v[0].text());
  if (in.failed()) return {};
  if (at != std::string_view::npos) return Value::integer(static_cast<Int>(begin + utf8_length(text.substr(0, at))));
  return Raises ? in.value_error("substring not found") : Value::integer(-1);
}
Value count_text(Interpreter& in, const Value& self, Args& args) {
  Value v[3];
  if (!positional_only(in, args) || !bind(in, "count", args, {"sub", "start", "end"}, 1, v) || !want_text(in, v[0]) || !pays(in, self)) return {};
  std::string_view text;
  size_t begin = 0;
  if (!window(in, self, v[1], v[2], text, begin)) return Value::integer(0);
  const std::string_view sub = v[0].text();
  if (sub.empty()) return Value::integer(static_cast<Int>(utf8_length(text) + 1));
  Int n = 0;
  for (size_t at = text.find(sub); at != std::string_view::npos; at = text.find(sub, at + sub.size())) ++n;
  return Value::integer(n);
}
Value join(Interpreter& in, const Value& self, Args& args) {
  Value v[1];
  if (!self.str().markup && !positional_only(in, args)) return {};
  if (!bind(in, "join", args, {"iterable"}, 1, v)) return {};
  const Value source = in.iterate(v[0]);
  std::string out;
  Value item;
  bool first = true;
  Int index = 0;
  while (!in.failed() && in.next(source, item)) {
    if (!first) in.append(out, self.text());
    first = false;
    if (!item.is(Kind::kStr)) {
      if (!self.str().markup) return in.type_error(fmt::format("sequence item {}: expected str instance, {} found", int_text(index), type_name(item)));
      item = in.string(in.str(item));
    }
    ++index;
    in.append(out, part(self, item));
  }
  return alike(in, self, std::move(out));
}

enum class Side { kLeft, kRight, kCentre };
template <Side Where>
Value justified(Interpreter& in, const Value& self, Args& args) {
  Value v[2];
  if (!self.str().markup && !positional_only(in, args)) return {};
  if (!bind(in, "ljust", args, {"width", "fillchar"}, 1, v)) return {};
  Int width = 0;
  if (!in.want_index(v[0], width)) return {};
  std::string fill = " ";
  if (!v[1].missing()) {
    if (!want_text(in, v[1])) return {};
    fill = part(self, v[1]);
    if (utf8_length(fill) != 1) return in.type_error("The fill character must be exactly one character long");
  }
  const auto have = static_cast<Int>(self.str().length);
  if (width <= have) return alike(in, self, std::string(self.text()));
  const Int pad = width - have;
  if (pad > 1'000'000'000 || !in.room(self.text().size() + static_cast<size_t>(pad) * fill.size())) return in.exhaust("too much text or memory");
  // str.center puts the odd one on the left only when the width is odd as well.
  const Int left = Where == Side::kLeft ? 0 : Where == Side::kRight ? pad : pad / 2 + (pad & width & 1);
  std::string out;
  for (Int k = 0; k < left; ++k) out += fill;
  out += self.text();
  for (Int k = left; k < pad; ++k) out += fill;
  return alike(in, self, std::move(out));
}
Value zfill(Interpreter& in, const Value& self, Args& args) {
  Value v[1];
  if (!bind(in, "zfill", args, {"width"}, 1, v)) return {};
  Int width = 0;
  if (!in.want_index(v[0], width)) return {};
  const auto have = static_cast<Int>(self.str().length);
  const Int pad = std::max(Int{0}, width - have);
  if (pad > 1'000'000'000 || !in.room(self.text().size() + static_cast<size_t>(pad))) return in.exhaust("too much text or memory");
  std::string out(self.text());
  const bool sign = !out.empty() && (out[0] == '-' || out[0] == '+');
  out.insert(sign ? 1 : 0, std::string(static_cast<size_t>(pad), '0'));
  return alike(in, self, std::move(out));
}
template <bool Prefix>
Value without(Interpreter& in, const Value& self, Args& args) {
  Value v[1];
  if (!bind(in, "removeprefix", args, {"prefix"}, 1, v) || !want_text(in, v[0])) return {};
  std::string_view text = self.text();
  const std::string_view affix = v[0].text();
  if (affix.size() <= text.size() && !affix.empty()) {
    if (Prefix && text.substr(0, affix.size()) == affix) {
      text.remove_prefix(affix.size());
    } else if (!Prefix && text.substr(text.size() - affix.size()) == affix) {
      text.remove_suffix(affix.size());
    }
  }
  return alike(in, self, std::string(text));
}
Value expand_tabs(Interpreter& in, const Value& self, Args& args) {
  Value v[1];
  if (!bind(in, "expandtabs", args, {"tabsize"}, 0, v)) return {};
  Int size = 8, column = 0;
  if (!v[0].missing() && !in.want_index(v[0], size)) return {};
  if (size > 1'000'000) return in.exhaust("too much text or memory");
  std::string out;
  for (size_t at = 0; at < self.text().size();) {
    const size_t from = at;
    const char32_t c = next_char(self.text(), at);
    if (c == '\t') {
      if (size > 0) {
        const Int pad = size - column % size;
        in.append(out, std::string(static_cast<size_t>(pad), ' '));
        column += pad;
      }
    } else {
      in.append(out, self.text().substr(from, at - from));
      column = c == '\n' || c == '\r' ? 0 : column + 1;
    }
    if (!in.step()) return {};
  }
  return alike(in, self, std::move(out));
}

template <bool (*Is)(char32_t)>
Value all_are(Interpreter& in, const Value& self, Args& args) {
  if (!bind(in, "is", args, {}, 0, nullptr) || !pays(in, self)) return {};
  const std::string_view text = self.text();
  for (size_t at = 0; at < text.size();) {
    if (!Is(next_char(text, at))) return Value::boolean(false);
  }
  return Value::boolean(!text.empty());
}
bool alnum(char32_t c) { return is_alpha(c) || is_numeric(c); }
bool ascii(char32_t c) { return c < 0x80; }
template <bool Upper>
Value cased(Interpreter& in, const Value& self, Args& args) {
  if (!bind(in, "islower", args, {}, 0, nullptr) || !pays(in, self)) return {};
  bool any = false;
  for (size_t at = 0; at < self.text().size();) {
    const char32_t c = next_char(self.text(), at);
    if ((Upper ? is_lower(c) : is_upper(c)) || is_title(c)) return Value::boolean(false);
    any = any || (Upper ? is_upper(c) : is_lower(c));
  }
  return Value::boolean(any);
}
Value is_titled(Interpreter& in, const Value& self, Args& args) {
  if (!bind(in, "istitle", args, {}, 0, nullptr) || !pays(in, self)) return {};
  bool any = false, in_word = false;
  for (size_t at = 0; at < self.text().size();) {
    const char32_t c = next_char(self.text(), at);
    if (is_upper(c) || is_title(c)) {
      if (in_word) return Value::boolean(false);
      any = in_word = true;
    } else if (is_lower(c)) {
      if (!in_word) return Value::boolean(false);
      any = true;
    } else {
      in_word = false;
    }
  }
  return Value::boolean(any);
}

const Table& text_methods() {
  static const Table table = {
      {"upper", changed<to_upper>}, {"lower", changed<to_lower>}, {"casefold", changed<to_casefold>},
      {"capitalize", changed<to_capitalized>}, {"title", changed<to_titled>}, {"swapcase", changed<swap_case>},
      {"strip", stripped<true, true>}, {"lstrip", stripped<true, false>}, {"rstrip", stripped<false, true>},
      {"split", split<false>}, {"rsplit", split<true>}, {"splitlines", split_into_lines},
      {"partition", partition<false>}, {"rpartition", partition<true>}, {"replace", replace},
      {"startswith", affixed<true>}, {"endswith", affixed<false>}, {"find", find<false, false>},
      {"rfind", find<true, false>}, {"index", find<false, true>}, {"rindex", find<true, true>},
      {"count", count_text}, {"join", join}, {"ljust", justified<Side::kLeft>},
      {"rjust", justified<Side::kRight>}, {"center", justified<Side::kCentre>}, {"zfill", zfill},
      {"removeprefix", without<true>}, {"removesuffix", without<false>}, {"expandtabs", expand_tabs},
      {"isalpha", all_are<is_alpha>}, {"isdigit", all_are<is_digit>}, {"isdecimal", all_are<is_decimal>},
      {"isnumeric", all_are<is_numeric>}, {"isalnum", all_are<alnum>}, {"isspace", all_are<is_space>},
      {"islower", cased<false>}, {"isupper", cased<true>}, {"istitle", is_titled},
      {"isascii", [](Interpreter& in, const Value& self, Args& args) -> Value {
         return self.text().empty() && args.positional.empty() ? Value::boolean(true) : all_are<ascii>(in, self, args);
       }},
      {"isprintable", [](Interpreter& in, const Value& self, Args& args) -> Value {
         return self.text().empty() && args.positional.empty() ? Value::boolean(true) : all_are<is_printable>(in, self, args);
       }},
      {"isidentifier", [](Interpreter&, const Value& self, Args&) { return Value::boolean(is_identifier(self.text())); }},
      {"format", [](Interpreter& in, const Value& self, Args& args) { return format_braces(in, self, args); }},
      {"encode", nullptr}, {"translate", nullptr}, {"maketrans", nullptr}, {"format_map", nullptr}};
  return table;
}

// --- lists, tuples, ranges

Value index_of(Interpreter& in, const Value& self, Args& args) {
  Value v[3];
  if (!positional_only(in, args) || !bind(in, "index", args, {"value", "start", "stop"}, 1, v)) return {};
  std::vector<Value> items;
  Int from = 0, to = in.length(self);
  const Int count = to;
  if (!v[1].missing() && !in.want_index(v[1], from)) return {};
  if (!v[2].missing() && !in.want_index(v[2], to)) return {};
  if (from < 0) from = std::max(Int{0}, from + count);
  if (to < 0) to = std::max(Int{0}, to + count);
  if (!in.to_list(self, items)) return {};
  for (Int k = from; k < std::min(to, count); ++k) {
    if (in.equals(items[static_cast<size_t>(k)], v[0])) return Value::integer(k);
    if (in.failed()) return {};
  }
  return in.value_error("the value is not in the list");
}
Value count_of(Interpreter& in, const Value& self, Args& args) {
  Value v[1];
  if (!positional_only(in, args) || !bind(in, "count", args, {"value"}, 1, v)) return {};
  std::vector<Value> items;
  if (!in.to_list(self, items)) return {};
  Int n = 0;
  for (const Value& item : items) n += in.equals(item, v[0]) ? 1 : 0;
  return in.failed() ? Value() : Value::integer(n);
}
Value copied(Interpreter& in, const Value& self, Args& args) {
  if (!bind(in, "copy", args, {}, 0, nullptr)) return {};
  if (!self.is(Kind::kDict)) return in.list(self.seq().items);
  auto made = std::make_shared<Dict>();
  for (const auto& [key, value] : self.dict().items) in.put(*made, key, value);
  return in.dict(std::move(made));
}
const Table& seq_methods() {
  static const Table table = {{"index", index_of}, {"count", count_of}};
  return table;
}

// --- dicts

template <ViewOf Of>
Value view(Interpreter& in, const Value& self, Args& args) {
  if (!bind(in, "items", args, {}, 0, nullptr)) return {};
  auto made = std::make_shared<View>();
  made->dict = self;
  made->of = Of;
  return in.object(Kind::kView, std::move(made), {self}, 0);
}
Value get(Interpreter& in, const Value& self, Args& args) {
  Value v[2];
  if (!positional_only(in, args) || !bind(in, "get", args, {"key", "default"}, 1, v)) return {};
  if (!in.step(weight_of(v[0]))) return {};
  if (!hashable(v[0])) return in.type_error(fmt::format("unhashable type: '{}'", type_name(v[0])));
  const Value* found = self.dict().find(v[0]);
  return found != nullptr ? *found : v[1].missing() ? Value::none() : v[1];
}
Value from_keys(Interpreter& in, const Value&, Args& args) {
  Value v[2];
  if (!positional_only(in, args) || !bind(in, "fromkeys", args, {"iterable", "value"}, 1, v)) return {};
  std::vector<Value> keys;
  if (!in.to_list(v[0], keys)) return {};
  auto made = std::make_shared<Dict>();
  for (const Value& key : keys) {
    if (!in.put(*made, key, v[1].missing() ? Value::none() : v[1])) return {};
  }
  return in.dict(std::move(made));
}
const Table& dict_methods() {
  static const Table table = {{"items", view<ViewOf::kItems>}, {"keys", view<ViewOf::kKeys>},
                              {"values", view<ViewOf::kValues>}, {"get", get}, {"copy", copied}, {"fromkeys", from_keys}};
  return table;
}

// --- numbers

const Table& number_methods() {
  static const Table table = {
      {"bit_length", [](Interpreter&, const Value& self, Args&) {
         Int n = 0;
         for (auto rest = static_cast<unsigned __int128>(self.as_int() < 0 ? -self.as_int() : self.as_int()); rest != 0; rest >>= 1) ++n;
         return Value::integer(n);
       }},
      {"conjugate", [](Interpreter&, const Value& self, Args&) { return self; }},
      {"bit_count", nullptr}, {"to_bytes", nullptr}, {"from_bytes", nullptr}, {"as_integer_ratio", nullptr}};
  return table;
}
const Table& float_methods() {
  static const Table table = {
      {"is_integer", [](Interpreter&, const Value& self, Args&) { return Value::boolean(std::isfinite(self.f) && self.f == std::floor(self.f)); }},
      {"conjugate", [](Interpreter&, const Value& self, Args&) { return self; }},
      {"hex", nullptr}, {"fromhex", nullptr}, {"as_integer_ratio", nullptr}};
  return table;
}

// Methods that change their list or dict: the immutable sandbox hides them.
bool forbidden(const Value& object, std::string_view name) {
  static constexpr std::string_view kList[] = {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"};
  static constexpr std::string_view kDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
  if (object.is(Kind::kList)) return std::find(std::begin(kList), std::end(kList), name) != std::end(kList);
  if (object.is(Kind::kDict)) return std::find(std::begin(kDict), std::end(kDict), name) != std::end(kDict);
  return false;
}
bool dunder_of_every_object(std::string_view name) {
  static constexpr std::string_view kNames[] = {
      "__class__", "__doc__", "__init__", "__new__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__",
      "__repr__", "__str__", "__dir__", "__format__", "__reduce__", "__reduce_ex__", "__sizeof__", "__getattribute__",
      "__setattr__", "__delattr__", "__subclasshook__", "__init_subclass__", "__len__", "__iter__", "__getitem__",
      "__contains__", "__setitem__", "__delitem__", "__or__", "__ior__", "__ror__", "__reversed__", "__class_getitem__", "__getstate__"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}
Value unsafe(Interpreter& in, const Value& object, std::string_view name) {
  Value hint = in.string(fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, type_name(object)));
  hint.kind = Kind::kUndefined;
  return hint;
}

// --- globals

Value strftime_now(Interpreter& in, std::string_view format) {
  const int64_t ms = in.now_unix_ms();
  const int64_t fraction_ms = ((ms % 1000) + 1000) % 1000;
  const auto seconds = static_cast<time_t>((ms - fraction_ms) / 1000);
  std::tm parts{};
  if (localtime_r(&seconds, &parts) == nullptr) return in.value_error("the time is out of range");
  // Python itself handles %f, and gives "" for the zone of a time without one.
  std::string plain;
  for (size_t k = 0; k < format.size(); ++k) {
    if (format[k] == '\0') return in.value_error("embedded null character");
    if (format[k] != '%' || k + 1 >= format.size()) {
      plain += format[k];
      continue;
    }
    const char c = format[++k];
    if (c == 'f') {
      plain += fmt::format("{:03}000", fraction_ms);
    } else if (c != 'z' && c != 'Z') {
      plain += '%';
      plain += c;
    }
  }
  if (plain.empty()) return in.string("");
  if (!in.room(plain.size() * 64 + 4096)) return {};
  std::string out(plain.size() * 64 + 4096, '\0');
  plain += 'x';  // so that an empty result is not mistaken for a full buffer
  const size_t n = std::strftime(out.data(), out.size(), plain.c_str(), &parts);
  if (n == 0) return in.value_error("the time's text is too long");
  out.resize(n - 1);
  return valid_utf8(out) ? in.string(std::move(out)) : in.value_error("the time's text is not UTF-8");
}

Value make_dict(Interpreter& in, Args& args) {
  if (args.positional.size() > 1) return in.type_error(fmt::format("dict expected at most 1 argument, got {}", args.positional.size()));
  auto made = std::make_shared<Dict>();
  if (!args.positional.empty()) {
    const Value& from = args.positional[0];
    if (from.is(Kind::kDict)) {
      for (const auto& [key, value] : from.dict().items) {
        if (!in.put(*made, key, value)) return {};
      }
    } else {
      std::vector<Value> pairs;
      if (!in.to_list(from, pairs)) return {};
      for (const Value& pair : pairs) {
        std::vector<Value> both;
        if (!in.iterable(pair)) return in.type_error("cannot convert dictionary update sequence element to a sequence");
        if (!in.to_list(pair, both)) return {};
        if (both.size() != 2) return in.value_error("dictionary update sequence element has the wrong length; 2 is required");
        if (!in.put(*made, both[0], both[1])) return {};
      }
    }
  }
  for (const auto& [name, value] : args.named) {
    if (!in.put(*made, in.string(name), value)) return {};
  }
  return in.dict(std::move(made));
}

Value make_range(Interpreter& in, Args& args) {
  if (!positional_only(in, args)) return {};
  Int v[3] = {0, 0, 1};
  const size_t n = args.positional.size();
  if (n == 0 || n > 3) return in.type_error(fmt::format("range expected 1 to 3 arguments, got {}", n));
  for (size_t k = 0; k < n; ++k) {
    if (!in.want_index(args.positional[k], v[k])) return {};
  }
  if (v[2] == 0) return in.value_error("range() arg 3 must not be zero");
  return n == 1 ? in.range(0, v[0], 1) : in.range(v[0], v[1], v[2]);
}

Value make_cycler(Interpreter& in, Args& args) {
  if (!args.named.empty()) return in.type_error("cycler() takes no keyword arguments");
  if (args.positional.empty()) return in.fail("RuntimeError", "at least one item has to be provided");
  auto made = std::make_shared<Cycler>();
  made->items = args.positional;
  return in.object(Kind::kCycler, std::move(made), args.positional, args.positional.size() * sizeof(Value));
}
Value make_joiner(Interpreter& in, Args& args) {
  Value v[1];
  if (!bind(in, "joiner", args, {"sep"}, 0, v)) return {};
  auto made = std::make_shared<Joiner>();
  made->separator = v[0].missing() ? in.string(", ") : v[0];
  return in.object(Kind::kJoiner, made, {made->separator}, 0);
}

Value bound(Interpreter& in, const Table& table, const Value& self, std::string_view name) {
  const auto found = table.find(name);
  if (found == table.end()) return {};
  const Call call = found->second;
  const std::string method(name);
  return in.method(method, self, [call, self, method](Interpreter& inner, Args& args) {
    if (call == nullptr) return inner.not_implemented("the method " + method);
    Value result = call(inner, self, args);
    return result.missing() ? Value::undefined() : result;
  });
}

}  // namespace

Value find_attribute(Interpreter& in, const Value& object, std::string_view name) {
  if (!name.empty() && name[0] == '_') {
    return dunder_of_every_object(name) ? unsafe(in, object, name) : Value();
  }
  if (forbidden(object, name)) return unsafe(in, object, name);
  switch (object.kind) {
    case Kind::kStr: return bound(in, text_methods(), object, name);
    case Kind::kList:
      return name == "copy" ? in.method("copy", object, [object](Interpreter& inner, Args& args) { return copied(inner, object, args); })
                            : bound(in, seq_methods(), object, name);
    case Kind::kTuple:
      if (object.seq().group && name == "grouper") return object.seq().items[0];
      if (object.seq().group && name == "list") return object.seq().items[1];
      return bound(in, seq_methods(), object, name);
    case Kind::kDict: return bound(in, dict_methods(), object, name);
    case Kind::kView:
      if (name == "mapping") return object.as<View>().dict;
      return {};
    case Kind::kRange:
      if (name == "start") return Value::integer(object.as<Range>().start);
      if (name == "stop") return Value::integer(object.as<Range>().stop);
      if (name == "step") return Value::integer(object.as<Range>().step);
      return bound(in, seq_methods(), object, name);
    case Kind::kBool:
    case Kind::kInt:
      if (name == "real" || name == "numerator") return Value::integer(object.as_int());
      if (name == "imag") return Value::integer(0);
      if (name == "denominator") return Value::integer(1);
      return bound(in, number_methods(), object, name);
    case Kind::kFloat:
      if (name == "real") return object;
      if (name == "imag") return Value::real(0);
      return bound(in, float_methods(), object, name);
    case Kind::kLoop: return in.loop_attribute(object, name);
    case Kind::kMacro: {
      const Node& node = *object.as<Macro>().node;
      if (name == "name") return node.op == Op::kMacro ? in.string(node.name) : Value::none();
      if (name == "catch_kwargs") return Value::boolean(node.takes_kwargs);
      if (name == "catch_varargs") return Value::boolean(node.takes_varargs);
      if (name == "caller") return Value::boolean(node.takes_caller);
      if (name == "arguments") {
        std::vector<Value> names;
        for (const auto& target : node.targets) names.push_back(in.string(target->name));
        return in.tuple(std::move(names));
      }
      return {};
    }
    case Kind::kCycler:
      if (name == "current") return object.as<Cycler>().items[object.as<Cycler>().position];
      if (name == "next") {
        return in.method("next", object, [object](Interpreter&, Args&) {
          auto& cycler = object.as<Cycler>();
          const Value now = cycler.items[cycler.position];
          cycler.position = (cycler.position + 1) % cycler.items.size();
          return now;
        });
      }
      if (name == "reset") {
        return in.method("reset", object, [object](Interpreter&, Args&) {
          object.as<Cycler>().position = 0;
          return Value::none();
        });
      }
      if (name == "items") return in.tuple(object.as<Cycler>().items);
      if (name == "pos") return Value::integer(static_cast<Int>(object.as<Cycler>().position));
      return {};
    case Kind::kJoiner:
      if (name == "sep") return object.as<Joiner>().separator;
      if (name == "used") return Value::boolean(object.as<Joiner>().used);
      return {};
    case Kind::kFunction:
      if (object.as<Function>().name == "dict" && name == "fromkeys") {
        return in.method("fromkeys", object, [](Interpreter& inner, Args& args) { return from_keys(inner, Value(), args); });
      }
      return {};
    default: return {};
  }
}

Value builtin_global(Interpreter& in, std::string_view name) {
  const auto function = [&](std::function<Value(Interpreter&, Args&)> call) {
    return in.method(std::string(name), Value(), [call](Interpreter& inner, Args& args) {
      Value result = call(inner, args);
      return result.missing() ? Value::undefined() : result;
    });
  };
  if (name == "range") return function(make_range);
  if (name == "dict") return function(make_dict);
  if (name == "namespace") return function([](Interpreter& inner, Args& args) { return inner.namespace_of(args); });
  if (name == "cycler") return function(make_cycler);
  if (name == "joiner") return function(make_joiner);
  if (name == "lipsum") return function([](Interpreter& inner, Args&) { return inner.not_implemented("lipsum()"); });
  if (name == "raise_exception") {
    return function([](Interpreter& inner, Args& args) -> Value {
      Value v[1];
      if (!bind(inner, "raise_exception", args, {"message"}, 1, v)) return {};
      const std::string message = inner.str(v[0]);
      return inner.failed() ? Value() : inner.raise(message);
    });
  }
  if (name == "strftime_now") {
    return function([](Interpreter& inner, Args& args) -> Value {
      Value v[1];
      if (!bind(inner, "strftime_now", args, {"format"}, 1, v) || !want_text(inner, v[0])) return {};
      return strftime_now(inner, v[0].text());
    });
  }
  return {};
}

}  // namespace colony::text::jinja
