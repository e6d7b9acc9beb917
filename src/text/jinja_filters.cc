// Jinja2's filters and tests. Source: jinja2 3.1.6 filters.py, tests.py; tojson is HF's.
#include <algorithm>
#include <cmath>

#include "text/jinja_builtins.h"
#include "text/jinja_text.h"

namespace colony::text::jinja {

bool bind(Interpreter& in, std::string_view function, const Args& args,
          std::initializer_list<std::string_view> parameters, size_t required, Value* out) {
  if (in.failed()) return false;
  if (args.positional.size() > parameters.size()) {
    in.type_error(fmt::format("{}() takes at most {} arguments ({} given)", function, parameters.size(), args.positional.size()));
    return false;
  }
  for (size_t k = 0; k < args.positional.size(); ++k) out[k] = args.positional[k];
  for (const auto& [name, value] : args.named) {
    const auto at = std::find(parameters.begin(), parameters.end(), name);
    if (at == parameters.end()) {
      in.type_error(fmt::format("{}() got an unexpected keyword argument '{}'", function, name));
      return false;
    }
    Value& slot = out[at - parameters.begin()];
    if (!slot.missing()) {
      in.type_error(fmt::format("{}() got multiple values for argument '{}'", function, name));
      return false;
    }
    slot = value;
  }
  for (size_t k = 0; k < required; ++k) {
    if (out[k].missing()) {
      in.type_error(fmt::format("{}() missing a required argument: '{}'", function, *(parameters.begin() + k)));
      return false;
    }
  }
  return true;
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&#34;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string_view soft_text(Interpreter& in, const Value& value, std::string& keep) {
  if (value.is(Kind::kStr)) return value.text();
  keep = in.str(value);
  return keep;
}

bool read_float(std::string_view text, double& out) {
  std::string plain(strip(text, nullptr, true, true));
  for (size_t k = 0; k < plain.size(); ++k) {
    if (plain[k] != '_') continue;
    const auto digit = [&](size_t i) { return i < plain.size() && plain[i] >= '0' && plain[i] <= '9'; };
    if (k == 0 || !digit(k - 1) || !digit(k + 1)) return false;
  }
  plain.erase(std::remove(plain.begin(), plain.end(), '_'), plain.end());
  const std::string lower = to_lower(plain);
  const bool sign = !lower.empty() && (lower[0] == '-' || lower[0] == '+');
  const std::string_view body = std::string_view(lower).substr(sign ? 1 : 0);
  if (body == "inf" || body == "infinity") {
    out = lower[0] == '-' ? -HUGE_VAL : HUGE_VAL;
    return true;
  }
  if (body == "nan") {
    out = std::nan("");
    return true;
  }
  if (body.empty() || body.find_first_not_of("0123456789.e+-") != std::string_view::npos) return false;
  char* end = nullptr;
  out = std::strtod(plain.c_str(), &end);
  return end == plain.c_str() + plain.size();
}

bool read_int(std::string_view text, int base, Int& out) {
  std::string plain(strip(text, nullptr, true, true));
  std::string sign;
  if (!plain.empty() && (plain[0] == '-' || plain[0] == '+')) {
    sign = plain.substr(0, 1);
    plain.erase(0, 1);
  }
  bool prefixed = false;
  if (plain.size() > 2 && plain[0] == '0') {
    const char kind = static_cast<char>(plain[1] | 0x20);
    const int implied = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
    if (implied != 0 && (base == 0 || base == implied)) {
      base = implied;
      plain.erase(0, 2);
      prefixed = true;
    }
  }
  if (base == 0) {
    base = 10;
    if (plain.size() > 1 && plain[0] == '0' && plain.find_first_not_of("0_") != std::string::npos) return false;
  }
  std::string digits;
  for (size_t k = 0; k < plain.size(); ++k) {
    if (plain[k] != '_') {
      digits += plain[k];
      continue;
    }
    const bool before = k > 0 ? plain[k - 1] != '_' : prefixed;
    if (!before || k + 1 >= plain.size()) return false;
  }
  if (digits.empty() || digits[0] == '-' || digits[0] == '+') return false;
  return parse_int(sign + digits, base, out);
}

namespace {

using Filter = Value (*)(Interpreter&, Args&);
using Test = bool (*)(Interpreter&, Args&);

// --- helpers

Value lowered(Interpreter& in, const Value& value) {
  if (!value.is(Kind::kStr)) return value;
  in.step(value.text().size() / 64);
  return in.string(to_lower(value.text()), value.str().markup);
}

// make_attrgetter: a dotted path, its numbers as indices.
struct Path {
  std::vector<Value> parts;
  Value fallback;  // for undefined steps; kMissing or none: none
  bool fold_case = false;

  static Path of(Interpreter& in, const Value& attribute) {
    Path path;
    if (attribute.missing() || attribute.is(Kind::kNone)) return path;
    if (!attribute.is(Kind::kStr)) {
      path.parts.push_back(attribute);
      return path;
    }
    std::string_view rest = attribute.text();
    while (true) {
      const size_t dot = rest.find('.');
      const std::string_view part = rest.substr(0, dot);
      Int number = 0;
      if (!part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos && parse_int(part, 10, number)) {
        path.parts.push_back(Value::integer(number));
      } else {
        path.parts.push_back(in.string(std::string(part)));
      }
      if (dot == std::string_view::npos) break;
      rest.remove_prefix(dot + 1);
    }
    return path;
  }
  Value get(Interpreter& in, Value item) const {
    for (const Value& part : parts) {
      item = in.get_item(item, part);
      if (in.failed()) return item;
      if (item.is(Kind::kUndefined) && !fallback.missing() && !fallback.is(Kind::kNone)) item = fallback;
    }
    return fold_case ? lowered(in, item) : item;
  }
};

Value hinted_undefined(Interpreter& in, const char* hint) {
  Value made = in.string(hint);
  made.kind = Kind::kUndefined;
  return made;
}
bool flag(Interpreter& in, const Value& value, bool otherwise) { return value.missing() ? otherwise : in.truthy(value); }

bool list_of(Interpreter& in, const Value& value, std::vector<Value>& out) { return in.to_list(value, out); }

// --- filters on text

template <std::string (*Change)(std::string_view)>
Value change_case(Interpreter& in, Args& args) {
  Value v[1];
  if (!bind(in, "filter", args, {"s"}, 1, v)) return {};
  std::string keep;
  const auto text = soft_text(in, v[0], keep);
  if (!in.step(text.size() / 32)) return {};
  return in.string(Change(text), v[0].is(Kind::kStr) && v[0].str().markup);
}

// The filter's own idea of words, not str.title's.
std::string title_words(std::string_view text) {
  std::string out, word;
  const auto flush = [&] {
    if (word.empty()) return;
    const size_t first = byte_offset(word, 1);
    out += to_upper(std::string_view(word).substr(0, first)) + to_lower(std::string_view(word).substr(first));
    word.clear();
  };
  for (size_t i = 0; i < text.size();) {
    const size_t from = i;
    const char32_t c = next_char(text, i);
    if (c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || is_space(c)) {
      flush();
      out += text.substr(from, i - from);
    } else {
      word += text.substr(from, i - from);
    }
  }
  flush();
  return out;
}

Value trim(Interpreter& in, Args& args) {
  Value v[2];
  if (!bind(in, "do_trim", args, {"value", "chars"}, 1, v)) return {};
  std::string keep;
  const auto text = soft_text(in, v[0], keep);
  const bool markup = v[0].is(Kind::kStr) && v[0].str().markup;
  if (v[1].missing() || v[1].is(Kind::kNone)) return in.string(std::string(strip(text, nullptr, true, true)), markup);
  if (!v[1].is(Kind::kStr)) return in.type_error("strip arg must be None or str");
  if (!in.step(text.size() * (1 + v[1].text().size()) / 32)) return {};
  const std::string_view chars = v[1].text();
  return in.string(std::string(strip(text, &chars, true, true)), markup);
}

Value replace(Interpreter& in, Args& args) {
  Value v[4];
  if (!bind(in, "do_replace", args, {"s", "old", "new", "count"}, 3, v)) return {};
  if (v[3].is(Kind::kNone)) v[3] = Value();
  Args call;
  Value self = in.string(in.str(v[0]));
  call.positional = {in.string(in.str(v[1])), in.string(in.str(v[2]))};
  if (!v[3].missing()) call.positional.push_back(v[3]);
  return in.failed() ? Value() : in.call(find_attribute(in, self, "replace"), call);
}

Value indent(Interpreter& in, Args& args) {
  Value v[4];
  if (!bind(in, "do_indent", args, {"s", "width", "first", "blank"}, 1, v)) return {};
  if (!v[0].is(Kind::kStr)) {
    return v[0].is(Kind::kUndefined) ? in.undefined_error(v[0]) : in.type_error("indent needs a string");
  }
  const bool markup = v[0].str().markup;
  std::string by(4, ' ');
  if (v[1].is(Kind::kStr)) {
    by = markup && !v[1].str().markup ? escape_html(v[1].text()) : std::string(v[1].text());
    if (markup) by = std::string(v[1].text());
  } else if (!v[1].missing()) {
    Int width = 0;
    if (!v[1].is_int()) return in.type_error(fmt::format("can't multiply sequence by non-int of type '{}'", type_name(v[1])));
    width = std::max(Int{0}, v[1].as_int());
    if (width > 1'000'000'000 || !in.room(static_cast<size_t>(width))) return in.exhaust("too much text or memory");
    by.assign(static_cast<size_t>(width), ' ');
  }
  const bool first = flag(in, v[2], false), blank = flag(in, v[3], false);
  const std::string text = std::string(v[0].text()) + "\n";
  std::string out;
  bool begin = true;
  for (const auto line : split_lines(text, false)) {
    if (!in.step(1)) return {};
    if (!begin) in.append(out, "\n");
    if (begin ? first : blank || !line.empty()) in.append(out, by);
    in.append(out, line);
    begin = false;
  }
  return in.string(std::move(out), markup);
}

Value join(Interpreter& in, Args& args) {
  Value v[3];
  if (!bind(in, "do_join", args, {"value", "d", "attribute"}, 1, v)) return {};
  const std::string separator = v[1].missing() ? "" : in.str(v[1]);
  const Path path = Path::of(in, v[2]);
  const Value source = in.iterate(v[0]);
  std::string out;
  Value item;
  bool first = true;
  while (!in.failed() && in.next(source, item)) {
    if (!first) in.append(out, separator);
    first = false;
    in.append_str(out, path.parts.empty() ? item : path.get(in, item));
  }
  return in.string(std::move(out));
}

Value center(Interpreter& in, Args& args) {
  Value v[2];
  if (!bind(in, "do_center", args, {"value", "width"}, 1, v)) return {};
  Args call;
  call.positional = {v[1].missing() ? Value::integer(80) : v[1]};
  const Value self = v[0].is(Kind::kStr) ? v[0] : in.string(in.str(v[0]));
  return in.failed() ? Value() : in.call(find_attribute(in, self, "center"), call);
}

Value truncate(Interpreter& in, Args& args) {
  Value v[5];
  if (!bind(in, "do_truncate", args, {"s", "length", "killwords", "end", "leeway"}, 1, v)) return {};
  if (v[1].missing()) v[1] = Value::integer(255);
  if (v[3].missing()) v[3] = in.string("...");
  if (v[4].missing() || v[4].is(Kind::kNone)) v[4] = Value::integer(5);
  Int size = 0, leeway = 0;
  if (!in.want_index(v[1], size) || !in.want_index(v[4], leeway)) return {};
  if (!v[3].is(Kind::kStr)) return in.type_error("end must be a string");
  const Int end = in.length(v[3]);
  if (size < end || leeway < 0) return in.fail("AssertionError", "expected length >= len(end) and leeway >= 0");
  const int64_t have = in.length(v[0]);
  if (in.failed() || have <= size + leeway) return v[0];
  const Value head = in.slice(v[0], Value::none(), Value::integer(size - end), Value::none());
  if (in.failed()) return {};
  if (flag(in, v[2], false)) return in.binary(Op::kAdd, head, v[3]);
  if (!head.is(Kind::kStr)) return in.fail("AttributeError", "object has no attribute 'rsplit'");
  const size_t space = head.text().rfind(' ');
  return in.binary(Op::kAdd, in.string(std::string(head.text().substr(0, space)), head.str().markup), v[3]);
}

Value wordcount(Interpreter& in, Args& args) {
  Value v[1];
  if (!bind(in, "do_wordcount", args, {"s"}, 1, v)) return {};
  std::string keep;
  const auto text = soft_text(in, v[0], keep);
  if (!in.step(text.size() / 32)) return {};
  Int count = 0;
  bool inside = false;
  for (size_t i = 0; i < text.size();) {
    const bool word = is_word(next_char(text, i));
    if (word && !inside) ++count;
    inside = word;
  }
  return Value::integer(count);
}

Value escape(Interpreter& in, Args& args) {
  Value v[1];
  if (!bind(in, "escape", args, {"s"}, 1, v)) return {};
  if (v[0].is(Kind::kStr) && v[0].str().markup) return v[0];
  std::string out;
  in.append(out, escape_html(in.str(v[0])));
  return in.string(std::move(out), true);
}
Value force_escape(Interpreter& in, Args& args) {
  Value v[1];
  if (!bind(in, "do_forceescape", args, {"value"}, 1, v)) return {};
  std::string out;
  in.append(out, escape_html(in.str(v[0])));
  return in.string(std::move(out), true);
}
Value safe(Interpreter& in, Args& args) {
  Value v[1];
  if (!bind(in, "do_mark_safe", args, {"value"}, 1, v)) return {};
  return in.string(in.str(v[0]), true);
}
Value string(Interpreter& in, Args& args) {
  Value v[1];
  if (!bind(in, "soft_str", args, {"s"}, 1, v)) return {};
  return v[0].is(Kind::kStr) ? v[0] : in.string(in.str(v[0]));
}
Value format(Interpreter& in, Args& args) {
  if (args.positional.empty()) return in.type_error("do_format() missing 'value'");
  Value value = args.positional[0].is(Kind::kStr) ? args.positional[0] : in.string(in.str(args.positional[0]));
  std::vector<Value> rest(args.positional.begin() + 1, args.positional.end());
  if (!rest.empty() && !args.named.empty()) return in.fail("FilterArgumentError", "can't handle positional and keyword arguments at the same time");
  if (args.named.empty()) return format_percent(in, value, in.tuple(std::move(rest)));
  auto dict = std::make_shared<Dict>();
  for (const auto& [name, held] : args.named) in.put(*dict, in.string(name), held);
  return format_percent(in, value, in.dict(std::move(dict)));
}

std::string quote_url(std::string_view text, bool query) {
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if ((std::isalnum(u) != 0 && u < 128) || c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !query)) {
      out += c;
    } else if (c == ' ' && query) {
      out += '+';
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned>(u));
    }
  }
  return out;
}
Value urlencode(Interpreter& in, Args& args) {
  Value v[1];
  if (!bind(in, "do_urlencode", args, {"value"}, 1, v)) return {};
  std::string out;
  if (v[0].is(Kind::kStr) || !in.iterable(v[0])) {
    in.append(out, quote_url(in.str(v[0]), false));
    return in.string(std::move(out));
  }
  std::vector<Value> pairs;
  if (v[0].is(Kind::kDict)) {
    for (const auto& [key, value] : v[0].dict().items) pairs.push_back(in.tuple({key, value}));
  } else if (!list_of(in, v[0], pairs)) {
    return {};
  }
  for (const Value& pair : pairs) {
    std::vector<Value> both;
    if (!list_of(in, pair, both)) return {};
    if (both.size() != 2) return in.value_error("wrong number of values to unpack (expected 2)");
    if (!out.empty()) in.append(out, "&");
    in.append(out, quote_url(in.str(both[0]), true) + "=" + quote_url(in.str(both[1]), true));
  }
  return in.string(std::move(out));
}

Value file_size(Interpreter& in, Args& args) {
  Value v[2];
  if (!bind(in, "do_filesizeformat", args, {"value", "binary"}, 1, v)) return {};
  double bytes = 0;
  if (v[0].is_number()) {
    bytes = v[0].as_double();
  } else if (v[0].is(Kind::kUndefined)) {
    return in.undefined_error(v[0]);
  } else if (!v[0].is(Kind::kStr)) {
    return in.type_error("float() argument must be a string or a real number");
  } else if (!read_float(v[0].text(), bytes)) {
    return in.value_error("could not convert string to float");
  }
  const bool binary = flag(in, v[1], false);
  const double base = binary ? 1024 : 1000;
  if (bytes == 1) return in.string("1 Byte");
  if (bytes < base) {
    if (!std::isfinite(bytes)) return in.fail("OverflowError", "cannot convert float infinity to integer");
    return in.string(int_text(static_cast<Int>(std::clamp(bytes, -1e30, 1e30))) + " Bytes");
  }
  static constexpr std::string_view kPrefixes = "kMGTPEZY";
  double unit = base;
  for (size_t k = 0; k < kPrefixes.size(); ++k) {
    unit *= base;
    if (bytes < unit || k + 1 == kPrefixes.size()) {
      const char letter = binary && k == 0 ? 'K' : kPrefixes[k];
      return in.string(fmt::format("{:.1f} {}{}B", base * bytes / unit, letter, binary ? "i" : ""));
    }
  }
  return {};
}

// --- filters on numbers

Value absolute(Interpreter& in, Args& args) {
  Value v[1];
  if (!bind(in, "abs", args, {"x"}, 1, v)) return {};
  if (v[0].is(Kind::kFloat)) return Value::real(std::abs(v[0].f));
  if (v[0].is_int()) return v[0].as_int() < 0 ? in.negate(v[0]) : Value::integer(v[0].as_int());
  return v[0].is(Kind::kUndefined) ? in.type_error("bad operand type for abs(): 'Undefined'")
                                   : in.type_error(fmt::format("bad operand type for abs(): '{}'", type_name(v[0])));
}
bool whole_of(double value, Int& out) {
  if (!std::isfinite(value) || std::abs(value) > 1.6e38) return false;
  out = static_cast<Int>(value);
  return true;
}
Value to_int(Interpreter& in, Args& args) {
  Value v[3];
  if (!bind(in, "do_int", args, {"value", "default", "base"}, 1, v)) return {};
  const Value otherwise = v[1].missing() ? Value::integer(0) : v[1];
  Int out = 0;
  if (v[0].is_int()) return Value::integer(v[0].as_int());
  if (v[0].is(Kind::kUndefined)) return in.undefined_error(v[0]);
  if (v[0].is(Kind::kFloat)) {
    if (std::isinf(v[0].f)) return in.fail("OverflowError", "cannot convert float infinity to integer");
    if (std::isnan(v[0].f)) return otherwise;
    return whole_of(v[0].f, out) ? Value::integer(out) : in.not_implemented("integers beyond 128 bits");
  }
  if (!v[0].is(Kind::kStr)) return otherwise;
  Int base = 10;
  if (!v[2].missing() && !v[2].is_int()) {
    base = -1;  // int(text, base) raises TypeError, which falls through to float()
  } else if (!v[2].missing()) {
    base = v[2].as_int();
  }
  const bool base_ok = base == 0 || (base >= 2 && base <= 36);
  if (base_ok && read_int(v[0].text(), static_cast<int>(base), out)) return Value::integer(out);
  double real = 0;
  if (!read_float(v[0].text(), real) || !std::isfinite(real)) return otherwise;
  return whole_of(real, out) ? Value::integer(out) : in.not_implemented("integers beyond 128 bits");
}
Value to_float(Interpreter& in, Args& args) {
  Value v[2];
  if (!bind(in, "do_float", args, {"value", "default"}, 1, v)) return {};
  if (v[0].is_number()) return Value::real(v[0].as_double());
  if (v[0].is(Kind::kUndefined)) return in.undefined_error(v[0]);
  double out = 0;
  if (v[0].is(Kind::kStr) && read_float(v[0].text(), out)) return Value::real(out);
  return v[1].missing() ? Value::real(0) : v[1];
}
// round(x, digits) of a float: exact decimal rounding, half to even on the exact value.
double round_float(double x, Int digits) {
  if (!std::isfinite(x) || x == 0) return x;
  if (digits > 323) return x;
  if (digits < -308) return std::copysign(0.0, x);
  if (digits >= 0) return std::strtod(fmt::format("{:.{}f}", x, static_cast<int>(digits)).c_str(), nullptr);
  const double scale = std::pow(10.0, static_cast<double>(-digits));
  const double scaled = x / scale;
  double whole = std::round(scaled);
  if (std::abs(scaled - whole) == 0.5) whole = 2.0 * std::round(scaled / 2.0);
  return whole * scale;
}
Value round_number(Interpreter& in, Args& args) {
  Value v[3];
  if (!bind(in, "do_round", args, {"value", "precision", "method"}, 1, v)) return {};
  const std::string method = v[2].missing() ? "common" : v[2].is(Kind::kStr) ? std::string(v[2].text()) : "?";
  if (method != "common" && method != "ceil" && method != "floor") {
    return in.fail("FilterArgumentError", "method must be common, ceil or floor");
  }
  Value precision = v[1].missing() ? Value::integer(0) : v[1];
  if (method == "common") {
    if (v[0].is(Kind::kUndefined) || !v[0].is_number()) return in.type_error(fmt::format("type {} doesn't define __round__ method", type_name(v[0])));
    if (precision.is(Kind::kNone)) {
      Int out = 0;
      if (v[0].is_int()) return Value::integer(v[0].as_int());
      if (!std::isfinite(v[0].f)) return in.value_error("cannot convert float NaN or infinity to integer");
      return whole_of(std::nearbyint(v[0].f), out) ? Value::integer(out) : in.not_implemented("integers beyond 128 bits");
    }
    Int digits = 0;
    if (!in.want_index(precision, digits)) return {};
    if (v[0].is(Kind::kFloat)) return Value::real(round_float(v[0].f, digits));
    Int x = v[0].as_int();
    if (digits >= 0) return Value::integer(x);
    if (digits < -37) return Value::integer(0);
    Int unit = 1;
    for (Int k = 0; k < -digits; ++k) unit *= 10;
    Int rest = x % unit;
    if (rest < 0) rest += unit;
    const Int low = x - rest;
    const Int down = low / unit;
    const bool up = rest * 2 > unit || (rest * 2 == unit && down % 2 != 0);
    return Value::integer(up ? low + unit : low);
  }
  const Value scale = in.binary(Op::kPow, Value::integer(10), precision);
  if (in.failed()) return {};
  const Value product = in.binary(Op::kMul, v[0], scale);
  if (in.failed()) return {};
  if (!product.is_number()) return in.type_error("must be real number");
  Value whole = product;
  if (product.is(Kind::kFloat)) {
    Int out = 0;
    if (!whole_of(method == "ceil" ? std::ceil(product.f) : std::floor(product.f), out)) return in.fail("OverflowError", "cannot convert float to integer");
    whole = Value::integer(out);
  }
  return in.binary(Op::kDiv, whole, scale);
}

// --- filters on collections

Value count(Interpreter& in, Args& args) {
  Value v[1];
  if (!args.named.empty()) return in.type_error("len() takes no keyword arguments");
  if (!bind(in, "len", args, {"obj"}, 1, v)) return {};
  const int64_t n = in.length(v[0]);
  return in.failed() ? Value() : Value::integer(n);
}
Value first(Interpreter& in, Args& args) {
  Value v[1];
  if (!bind(in, "do_first", args, {"seq"}, 1, v)) return {};
  const Value source = in.iterate(v[0]);
  Value item;
  if (!in.failed() && in.next(source, item)) return item;
  return hinted_undefined(in, "No first item, sequence was empty.");
}
bool reversible(const Value& v) {
  return v.is(Kind::kStr) || v.is_seq() || v.is(Kind::kDict) || v.is(Kind::kView) || v.is(Kind::kRange);
}
Value last(Interpreter& in, Args& args) {
  Value v[1];
  if (!bind(in, "do_last", args, {"seq"}, 1, v)) return {};
  // reversed(Undefined): it has __len__ and __getitem__, and the length is 0.
  if (!reversible(v[0]) && !v[0].is(Kind::kUndefined)) return in.type_error(fmt::format("'{}' object is not reversible", type_name(v[0])));
  std::vector<Value> items;
  if (!list_of(in, v[0], items)) return {};
  return items.empty() ? hinted_undefined(in, "No last item, sequence was empty.") : items.back();
}
Value as_list(Interpreter& in, Args& args) {
  Value v[1];
  if (!bind(in, "do_list", args, {"value"}, 1, v)) return {};
  std::vector<Value> items;
  return list_of(in, v[0], items) ? in.list(std::move(items)) : Value();
}
// An iterator over a list made the first time it is asked, so that errors come when it is used.
template <typename Make>
Value lazily(Interpreter& in, std::vector<Value> holds, Make make) {
  std::shared_ptr<std::vector<Value>> items;
  size_t at = 0;
  return in.iterator(
      [items, at, make](Interpreter& inner, Value& item) mutable {
        if (items == nullptr) {
          items = std::make_shared<std::vector<Value>>();
          if (!make(inner, *items)) return false;
        }
        if (at >= items->size()) return false;
        item = (*items)[at++];
        return true;
      },
      std::move(holds));
}
Value reverse(Interpreter& in, Args& args) {
  Value v[1];
  if (!bind(in, "do_reverse", args, {"value"}, 1, v)) return {};
  if (v[0].is(Kind::kStr)) return in.slice(v[0], Value::none(), Value::none(), Value::integer(-1));
  std::vector<Value> items;
  if (!list_of(in, v[0], items)) return {};
  std::reverse(items.begin(), items.end());
  if (!reversible(v[0]) && !v[0].is(Kind::kUndefined)) return in.list(std::move(items));
  return in.iterate(in.list(std::move(items)));
}
Value items(Interpreter& in, Args& args) {
  Value v[1];
  if (!bind(in, "do_items", args, {"value"}, 1, v)) return {};
  const Value value = v[0];
  return lazily(in, {value}, [value](Interpreter& inner, std::vector<Value>& out) {
    if (value.is(Kind::kUndefined)) return true;
    if (!value.is(Kind::kDict)) return inner.type_error("Can only get item pairs from a mapping."), false;
    for (const auto& [key, held] : value.dict().items) out.push_back(inner.tuple({key, held}));
    return !inner.failed();
  });
}
Value dictsort(Interpreter& in, Args& args) {
  Value v[4];
  if (!bind(in, "do_dictsort", args, {"value", "case_sensitive", "by", "reverse"}, 1, v)) return {};
  const std::string by = v[2].missing() ? "key" : v[2].is(Kind::kStr) ? std::string(v[2].text()) : "?";
  if (by != "key" && by != "value") return in.fail("FilterArgumentError", "You can only sort by either \"key\" or \"value\"");
  if (v[0].is(Kind::kUndefined)) return in.undefined_error(v[0]);
  if (!v[0].is(Kind::kDict)) return in.fail("AttributeError", fmt::format("'{}' object has no attribute 'items'", type_name(v[0])));
  std::vector<Value> pairs, keys;
  const bool fold = !flag(in, v[1], false);
  for (const auto& [key, value] : v[0].dict().items) {
    pairs.push_back(in.tuple({key, value}));
    const Value& sort_by = by == "key" ? key : value;
    keys.push_back(fold ? lowered(in, sort_by) : sort_by);
  }
  return in.sort(pairs, std::move(keys), flag(in, v[3], false)) ? in.list(std::move(pairs)) : Value();
}
Value sort(Interpreter& in, Args& args) {
  Value v[4];
  if (!bind(in, "do_sort", args, {"value", "reverse", "case_sensitive", "attribute"}, 1, v)) return {};
  std::vector<Path> paths;
  const bool fold = !flag(in, v[2], false);
  if (v[3].is(Kind::kStr)) {
    std::string_view rest = v[3].text();
    while (true) {
      const size_t comma = rest.find(',');
      paths.push_back(Path::of(in, in.string(std::string(rest.substr(0, comma)))));
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  } else {
    paths.push_back(Path::of(in, v[3]));
  }
  for (Path& path : paths) path.fold_case = fold;
  std::vector<Value> out, keys;
  if (!list_of(in, v[0], out)) return {};
  for (const Value& item : out) {
    std::vector<Value> key;
    for (const Path& path : paths) key.push_back(path.get(in, item));
    keys.push_back(in.list(std::move(key)));
    if (in.failed()) return {};
  }
  return in.sort(out, std::move(keys), flag(in, v[1], false)) ? in.list(std::move(out)) : Value();
}
Value unique(Interpreter& in, Args& args) {
  Value v[3];
  if (!bind(in, "do_unique", args, {"value", "case_sensitive", "attribute"}, 1, v)) return {};
  Path path = Path::of(in, v[2]);
  path.fold_case = !flag(in, v[1], false);
  const Value value = v[0];
  return lazily(in, {value}, [value, path](Interpreter& inner, std::vector<Value>& out) {
    Dict seen;
    const Value source = inner.iterate(value);
    Value item;
    while (!inner.failed() && inner.next(source, item)) {
      const Value key = path.get(inner, item);
      if (inner.failed() || !inner.step(weight_of(key))) return false;
      if (hashable(key) && seen.find(key) != nullptr) continue;
      if (!inner.put(seen, key, Value::none())) return false;
      out.push_back(item);
    }
    return !inner.failed();
  });
}
Value extreme(Interpreter& in, Args& args, bool largest) {
  Value v[3];
  if (!bind(in, "do_min_or_max", args, {"value", "case_sensitive", "attribute"}, 1, v)) return {};
  Path path = Path::of(in, v[2]);
  path.fold_case = !flag(in, v[1], false);
  const Value source = in.iterate(v[0]);
  Value best, best_key, item;
  while (!in.failed() && in.next(source, item)) {
    const Value key = path.get(in, item);
    if (in.failed()) return {};
    if (best.missing() || (largest ? in.less(best_key, key) : in.less(key, best_key))) {
      best = item;
      best_key = key;
    }
  }
  return best.missing() ? hinted_undefined(in, "No aggregated item, sequence was empty.") : best;
}
Value smallest(Interpreter& in, Args& args) { return extreme(in, args, false); }
Value largest(Interpreter& in, Args& args) { return extreme(in, args, true); }
Value sum(Interpreter& in, Args& args) {
  Value v[3];
  if (!bind(in, "do_sum", args, {"iterable", "attribute", "start"}, 1, v)) return {};
  const Path path = Path::of(in, v[1]);
  Value total = v[2].missing() ? Value::integer(0) : v[2];
  if (total.is(Kind::kStr)) return in.type_error("sum() can't sum strings [use ''.join(seq) instead]");
  const Value source = in.iterate(v[0]);
  Value item;
  while (!in.failed() && in.next(source, item)) total = in.binary(Op::kAdd, total, path.parts.empty() ? item : path.get(in, item));
  return total;
}
Value default_value(Interpreter& in, Args& args) {
  Value v[3];
  if (!bind(in, "do_default", args, {"value", "default_value", "boolean"}, 1, v)) return {};
  const bool use = v[0].is(Kind::kUndefined) || (flag(in, v[2], false) && !in.truthy(v[0]));
  if (!use) return v[0];
  return v[1].missing() ? in.string("") : v[1];
}
Value batch(Interpreter& in, Args& args) {
  Value v[3];
  if (!bind(in, "do_batch", args, {"value", "linecount", "fill_with"}, 2, v)) return {};
  const Value value = v[0], size = v[1], fill = v[2];
  return lazily(in, {value, fill}, [value, size, fill](Interpreter& inner, std::vector<Value>& out) {
    const Value source = inner.iterate(value);
    std::vector<Value> row;
    Value item;
    while (!inner.failed() && inner.next(source, item)) {
      if (inner.equals(Value::integer(static_cast<Int>(row.size())), size)) out.push_back(inner.list(std::exchange(row, {})));
      row.push_back(item);
    }
    if (inner.failed()) return false;
    if (!row.empty()) {
      if (!fill.missing() && !fill.is(Kind::kNone)) {
        if (!size.is_number()) return inner.type_error("'<' not supported between these types"), false;
        Int wanted = 0;
        if (inner.less(Value::integer(static_cast<Int>(row.size())), size)) {
          if (!inner.want_index(size, wanted)) return false;
          if (wanted > 10'000'000 || !inner.room(static_cast<size_t>(wanted) * sizeof(Value))) return inner.exhaust("too much memory"), false;
          row.resize(static_cast<size_t>(wanted), fill);
        }
      }
      out.push_back(inner.list(std::move(row)));
    }
    return !inner.failed();
  });
}
Value slices(Interpreter& in, Args& args) {
  Value v[3];
  if (!bind(in, "do_slice", args, {"value", "slices", "fill_with"}, 2, v)) return {};
  const Value value = v[0], wanted = v[1], fill = v[2];
  return lazily(in, {value, fill}, [value, wanted, fill](Interpreter& inner, std::vector<Value>& out) {
    std::vector<Value> all;
    Int n = 0;
    if (!inner.to_list(value, all)) return false;
    if (!wanted.is_int()) return inner.type_error("slices must be an integer"), false;
    n = wanted.as_int();
    if (n == 0) return inner.fail("ZeroDivisionError", "integer division or modulo by zero"), false;
    const Int total = static_cast<Int>(all.size());
    const Int each = n > 0 ? total / n : 0, extra = n > 0 ? total % n : 0;
    Int offset = 0;
    for (Int k = 0; k < n; ++k) {
      if (!inner.step()) return false;
      const Int start = offset + k * each;
      if (k < extra) ++offset;
      const Int end = offset + (k + 1) * each;
      std::vector<Value> part(all.begin() + static_cast<long>(start), all.begin() + static_cast<long>(end));
      if (!fill.missing() && !fill.is(Kind::kNone) && k >= extra) part.push_back(fill);
      out.push_back(inner.list(std::move(part)));
    }
    return !inner.failed();
  });
}
Value groupby(Interpreter& in, Args& args) {
  Value v[4];
  if (!bind(in, "do_groupby", args, {"value", "attribute", "default", "case_sensitive"}, 2, v)) return {};
  Path path = Path::of(in, v[1]);
  path.fallback = v[2];
  const Path real = path;
  path.fold_case = !flag(in, v[3], false);
  std::vector<Value> all, keys;
  if (!list_of(in, v[0], all)) return {};
  for (const Value& item : all) keys.push_back(path.get(in, item));
  if (in.failed() || !in.sort(all, keys, false)) return {};
  std::vector<Value> out;
  for (size_t from = 0; from < all.size();) {
    const Value key = path.get(in, all[from]);
    size_t to = from + 1;
    while (to < all.size() && in.equals(path.get(in, all[to]), key)) ++to;
    if (in.failed()) return {};
    const Value members = in.list({all.begin() + static_cast<long>(from), all.begin() + static_cast<long>(to)});
    const Value group = in.tuple({path.fold_case ? real.get(in, all[from]) : key, members});
    if (in.failed()) return {};
    group.as<Seq>().group = true;
    out.push_back(group);
    from = to;
  }
  return in.list(std::move(out));
}
Value attribute(Interpreter& in, Args& args) {
  Value v[2];
  if (!bind(in, "do_attr", args, {"obj", "name"}, 2, v)) return {};
  if (!v[1].is(Kind::kStr)) return in.type_error("attribute name must be string");
  if (v[0].is(Kind::kUndefined)) return in.undefined_error(v[0]);
  if (v[0].is(Kind::kNamespace)) return in.get_attribute(v[0], std::string(v[1].text()));
  const Value found = find_attribute(in, v[0], v[1].text());
  return found.missing() ? hinted_undefined(in, "no such attribute") : found;
}

Value map(Interpreter& in, Args& args) {
  if (args.positional.empty()) return in.type_error("map needs a value");
  const Value value = args.positional[0];
  Args rest = args;
  rest.positional.erase(rest.positional.begin());
  std::vector<Value> holds = {value};
  for (const Value& held : rest.positional) holds.push_back(held);
  for (const auto& [name, held] : rest.named) holds.push_back(held);
  std::shared_ptr<Path> path;
  std::string filter;
  Value source;
  return in.iterator(
      [value, rest, path, filter, source](Interpreter& inner, Value& item) mutable {
        if (source.missing()) {
          if (!inner.truthy(value)) return false;
          if (rest.positional.empty() && std::any_of(rest.named.begin(), rest.named.end(), [](const auto& n) { return n.first == "attribute"; })) {
            Value v[2];
            if (!bind(inner, "map", rest, {"attribute", "default"}, 1, v)) return false;
            path = std::make_shared<Path>(Path::of(inner, v[0]));
            path->fallback = v[1];
          } else {
            if (rest.positional.empty()) return inner.fail("FilterArgumentError", "map requires a filter argument"), false;
            const Value name = rest.positional[0];
            if (!name.is(Kind::kStr) || !is_filter(name.text())) {
              return inner.fail("TemplateRuntimeError", fmt::format("No filter named {}.", inner.repr(name))), false;
            }
            filter = name.text();
          }
          source = inner.iterate(value);
        }
        if (inner.failed() || !inner.next(source, item)) return false;
        if (path != nullptr) {
          item = path->get(inner, item);
        } else {
          Args call = rest;
          call.positional[0] = item;
          item = apply_filter(inner, filter, call);
        }
        return !inner.failed();
      },
      std::move(holds));
}

Value select_items(Interpreter& in, Args& args, bool wanted, bool by_attribute) {
  if (args.positional.empty()) return in.type_error("select needs a value");
  const Value value = args.positional[0];
  Args rest = args;
  rest.positional.erase(rest.positional.begin());
  std::vector<Value> holds = {value};
  for (const Value& held : rest.positional) holds.push_back(held);
  for (const auto& [name, held] : rest.named) holds.push_back(held);
  Path path;
  std::string test;
  Value source;
  return in.iterator(
      [value, rest, path, test, source, wanted, by_attribute](Interpreter& inner, Value& item) mutable {
        if (source.missing()) {
          if (!inner.truthy(value)) return false;
          if (by_attribute) {
            if (rest.positional.empty()) return inner.fail("FilterArgumentError", "Missing parameter for attribute name"), false;
            path = Path::of(inner, rest.positional[0]);
            rest.positional.erase(rest.positional.begin());
          }
          source = inner.iterate(value);
          if (inner.failed()) return false;
        }
        while (inner.step() && inner.next(source, item)) {
          Value subject = by_attribute ? path.get(inner, item) : item;
          if (inner.failed()) return false;
          bool yes = false;
          if (rest.positional.empty()) {
            yes = inner.truthy(subject);
          } else {
            const Value name = rest.positional[0];
            if (!name.is(Kind::kStr) || !is_test(name.text())) {
              return inner.fail("TemplateRuntimeError", fmt::format("No test named {}.", inner.repr(name))), false;
            }
            Args call = rest;
            call.positional[0] = std::move(subject);
            yes = apply_test(inner, name.text(), call);
          }
          if (inner.failed()) return false;
          if (yes == wanted) return true;
        }
        return false;
      },
      std::move(holds));
}
Value select(Interpreter& in, Args& args) { return select_items(in, args, true, false); }
Value reject(Interpreter& in, Args& args) { return select_items(in, args, false, false); }
Value select_attr(Interpreter& in, Args& args) { return select_items(in, args, true, true); }
Value reject_attr(Interpreter& in, Args& args) { return select_items(in, args, false, true); }
Value missing_filter(Interpreter& in, Args&) { return in.not_implemented("this filter"); }

const std::unordered_map<std::string_view, Filter>& filters() {
  static const std::unordered_map<std::string_view, Filter> table = {
      {"abs", absolute}, {"attr", attribute}, {"batch", batch},
      {"capitalize", change_case<to_capitalized>}, {"center", center}, {"count", count},
      {"d", default_value}, {"default", default_value}, {"dictsort", dictsort}, {"e", escape},
      {"escape", escape}, {"filesizeformat", file_size}, {"first", first}, {"float", to_float},
      {"forceescape", force_escape}, {"format", format}, {"groupby", groupby}, {"indent", indent},
      {"int", to_int}, {"items", items}, {"join", join}, {"last", last}, {"length", count},
      {"list", as_list}, {"lower", change_case<to_lower>}, {"map", map}, {"max", largest},
      {"min", smallest}, {"pprint", missing_filter}, {"random", missing_filter}, {"reject", reject},
      {"rejectattr", reject_attr}, {"replace", replace}, {"reverse", reverse}, {"round", round_number},
      {"safe", safe}, {"select", select}, {"selectattr", select_attr}, {"slice", slices},
      {"sort", sort}, {"string", string}, {"striptags", missing_filter}, {"sum", sum},
      {"title", change_case<title_words>}, {"tojson", to_json}, {"trim", trim},
      {"truncate", truncate}, {"unique", unique}, {"upper", change_case<to_upper>},
      {"urlencode", urlencode}, {"urlize", missing_filter}, {"wordcount", wordcount},
      {"wordwrap", missing_filter}, {"xmlattr", missing_filter}};
  return table;
}

// --- tests

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

bool is_filter(std::string_view name) { return filters().count(name) != 0; }
bool is_test(std::string_view name) { return tests().count(name) != 0; }
Value apply_filter(Interpreter& in, std::string_view name, Args& args) {
  if (!in.step()) return Value::undefined();
  Value result = filters().at(name)(in, args);
  return result.missing() ? Value::undefined() : result;
}
bool apply_test(Interpreter& in, std::string_view name, Args& args) { return in.step() && tests().at(name)(in, args); }

}  // namespace colony::text::jinja
