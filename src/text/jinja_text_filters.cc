// Jinja2's filters on text and numbers, and how Python reads numbers. Source: jinja2 3.1.6 filters.py.
#include <algorithm>
#include <cmath>

#include "text/jinja_builtins.h"
#include "text/jinja_text.h"

namespace colony::text::jinja {

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

bool flag(Interpreter& in, const Value& value, bool otherwise) { return value.missing() ? otherwise : in.truthy(value); }

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
  } else if (!in.to_list(v[0], pairs)) {
    return {};
  }
  for (const Value& pair : pairs) {
    std::vector<Value> both;
    if (!in.to_list(pair, both)) return {};
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

}  // namespace

const FilterTable& text_filters() {
  static const FilterTable table = {
      {"abs", absolute}, {"capitalize", change_case<to_capitalized>}, {"center", center}, {"e", escape},
      {"escape", escape}, {"filesizeformat", file_size}, {"float", to_float}, {"forceescape", force_escape},
      {"format", format}, {"indent", indent}, {"int", to_int},
      {"lower", change_case<to_lower>}, {"replace", replace}, {"round", round_number}, {"safe", safe},
      {"string", string}, {"title", change_case<title_words>}, {"trim", trim}, {"truncate", truncate},
      {"upper", change_case<to_upper>}, {"urlencode", urlencode}, {"wordcount", wordcount}};
  return table;
}

}  // namespace colony::text::jinja
