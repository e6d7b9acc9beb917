// Values to text: str %, str.format and json.dumps, as CPython 3.11 does them.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "text/jinja_builtins.h"
#include "text/jinja_text.h"

namespace colony::text::jinja {
namespace {

constexpr Int kWidthMax = 1'000'000'000;

// C's %e, %f, %g; `kind` as in printf. Infinity and NaN as Python writes them.
std::string real_text(double value, char kind, int precision, bool alternate) {
  const bool upper = kind == 'E' || kind == 'F' || kind == 'G';
  if (!std::isfinite(value)) {
    std::string word = std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf";
    return upper ? to_upper(word) : word;
  }
  const char format[] = {'%', alternate ? '#' : '.', alternate ? '.' : '*', alternate ? '*' : kind, alternate ? kind : '\0', '\0'};
  std::string out(static_cast<size_t>(std::snprintf(nullptr, 0, format, precision, value)) + 1, '\0');
  std::snprintf(out.data(), out.size(), format, precision, value);
  out.pop_back();
  return out;
}

std::string in_base(Int value, int base, bool upper) {
  auto rest = value < 0 ? -static_cast<unsigned __int128>(value) : static_cast<unsigned __int128>(value);
  std::string out;
  do {
    const int digit = static_cast<int>(rest % static_cast<unsigned>(base));
    out += static_cast<char>(digit < 10 ? '0' + digit : (upper ? 'A' : 'a') + digit - 10);
    rest /= static_cast<unsigned>(base);
  } while (rest != 0);
  if (value < 0) out += '-';
  std::reverse(out.begin(), out.end());
  return out;
}

std::string ascii_repr(Interpreter& in, const Value& value) {
  const std::string text = in.repr(value);
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_char(text, at);
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x100) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    } else if (c < 0x10000) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += fmt::format("\\U{:08x}", static_cast<unsigned>(c));
    }
  }
  return out;
}

// Pads to `width` code points. '=' puts the fill behind the sign and the base prefix.
std::string padded(Interpreter& in, std::string text, Int width, char align, const std::string& fill, size_t prefix) {
  const auto have = static_cast<Int>(utf8_length(text));
  if (width <= have) return text;
  const Int pad = width - have;
  if (pad > kWidthMax || !in.room(text.size() + static_cast<size_t>(pad) * fill.size())) {
    in.exhaust("too much text or memory");
    return text;
  }
  std::string fills;
  const auto fill_with = [&](Int n) {
    fills.clear();
    for (Int k = 0; k < n; ++k) fills += fill;
    return fills;
  };
  switch (align) {
    case '<': return text + fill_with(pad);
    case '^': return fill_with(pad / 2) + text + fill_with(pad - pad / 2);
    case '=': return text.insert(prefix, fill_with(pad));
    default: return fill_with(pad) + text;
  }
}

// --- str % arguments

class Percent {
 public:
  Percent(Interpreter& in, const Value& format, const Value& arguments)
      : in_(in), format_(format), text_(format.text()), arguments_(arguments) {
    mapping_ = arguments.is(Kind::kDict) || arguments.is(Kind::kList) || arguments.is(Kind::kUndefined) || arguments.is(Kind::kRange);
  }

  Value run() {
    std::string out;
    while (at_ < text_.size() && !in_.failed()) {
      const size_t sign = text_.find('%', at_);
      in_.append(out, text_.substr(at_, sign == std::string_view::npos ? sign : sign - at_));
      if (sign == std::string_view::npos) break;
      at_ = sign + 1;
      if (!in_.step()) break;
      one(out);
    }
    const bool left_over = arguments_.is(Kind::kTuple) ? used_ < arguments_.seq().items.size() : used_ == 0;
    if (!in_.failed() && left_over && !mapping_) return in_.type_error("not all arguments converted during string formatting");
    return in_.string(std::move(out), format_.str().markup);
  }

 private:
  char take() { return at_ < text_.size() ? text_[at_++] : '\0'; }
  Value next() {
    if (arguments_.is(Kind::kTuple)) {
      if (used_ < arguments_.seq().items.size()) return arguments_.seq().items[used_++];
    } else if (used_ == 0) {
      used_ = 1;
      return arguments_;
    }
    return in_.type_error("not enough arguments for format string");
  }
  bool number(Int& out) {
    if (at_ < text_.size() && text_[at_] == '*') {
      ++at_;
      const Value value = next();
      if (in_.failed()) return false;
      if (!value.is_int()) return in_.type_error("* wants int"), false;
      out = value.as_int();
      return true;
    }
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
      out = std::min(out * 10 + (text_[at_++] - '0'), kWidthMax * 2);
    }
    return true;
  }
  void one(std::string& out) {
    Value value;
    if (at_ < text_.size() && text_[at_] == '(') {
      int open = 1;
      size_t end = at_ + 1;
      while (end < text_.size() && open > 0) {
        open += text_[end] == '(' ? 1 : text_[end] == ')' ? -1 : 0;
        ++end;
      }
      if (open > 0) {
        in_.value_error("incomplete format key");
        return;
      }
      if (!mapping_ || !arguments_.is(Kind::kDict)) {
        in_.type_error("format requires a mapping");
        return;
      }
      const std::string_view key = text_.substr(at_ + 1, end - at_ - 2);
      const Value* found = arguments_.dict().find(key);
      if (found == nullptr) {
        in_.fail("KeyError", key);
        return;
      }
      value = *found;
      used_ = 1;
      at_ = end;
    }
    bool left = false, plus = false, blank = false, zero = false, alternate = false;
    for (bool flags = true; flags && at_ < text_.size();) {
      switch (text_[at_]) {
        case '-': left = true; break;
        case '+': plus = true; break;
        case ' ': blank = true; break;
        case '0': zero = true; break;
        case '#': alternate = true; break;
        default: flags = false; continue;
      }
      ++at_;
    }
    Int width = 0, precision = -1;
    if (!number(width)) return;
    if (width < 0) {
      left = true;
      width = -width;
    }
    if (at_ < text_.size() && text_[at_] == '.') {
      ++at_;
      precision = 0;
      if (!number(precision)) return;
      precision = std::max(Int{0}, precision);
    }
    while (at_ < text_.size() && (text_[at_] == 'h' || text_[at_] == 'l' || text_[at_] == 'L')) ++at_;
    if (at_ >= text_.size()) {
      in_.value_error("incomplete format");
      return;
    }
    const char kind = take();
    if (kind == '%') {
      in_.append(out, "%");
      return;
    }
    if (value.missing()) value = next();
    if (in_.failed()) return;
    std::string made;
    bool numeric = true;
    size_t prefix = 0;
    switch (kind) {
      case 's':
      case 'r':
      case 'a': {
        made = kind == 's' ? in_.str(value) : kind == 'r' ? in_.repr(value) : ascii_repr(in_, value);
        if (format_.str().markup && !(value.is(Kind::kStr) && value.str().markup && kind == 's')) made = escape_html(made);
        if (precision >= 0 && precision < static_cast<Int>(utf8_length(made))) made.resize(byte_offset(made, static_cast<size_t>(precision)));
        numeric = false;
        break;
      }
      case 'c':
        if (value.is(Kind::kStr) && value.str().length == 1) {
          made = value.text();
        } else if (value.is_int() && value.as_int() >= 0 && value.as_int() <= 0x10FFFF && (value.as_int() < 0xD800 || value.as_int() > 0xDFFF)) {
          append_char(made, static_cast<char32_t>(value.as_int()));
        } else {
          in_.type_error("%c requires int or char");
          return;
        }
        numeric = false;
        break;
      case 'd':
      case 'i':
      case 'u':
      case 'o':
      case 'x':
      case 'X': {
        const bool decimal = kind == 'd' || kind == 'i' || kind == 'u';
        if (!(value.is_int() || (decimal && value.is(Kind::kFloat)))) {
          if (value.is(Kind::kUndefined)) {
            in_.undefined_error(value);
          } else {
            in_.type_error(fmt::format("%{} format: a real number is required, not {}", kind, type_name(value)));
          }
          return;
        }
        Int whole = 0;
        if (value.is_int()) {
          whole = value.as_int();
        } else if (!std::isfinite(value.f)) {
          in_.fail(std::isnan(value.f) ? "ValueError" : "OverflowError", "cannot convert float to integer");
          return;
        } else if (std::abs(value.f) > 1.6e38) {
          in_.not_implemented("integers beyond 128 bits");
          return;
        } else {
          whole = static_cast<Int>(value.f);
        }
        made = in_base(whole, decimal ? 10 : kind == 'o' ? 8 : 16, kind == 'X');
        if (precision > 0) {
          const size_t sign = made[0] == '-' ? 1 : 0;
          const Int digits = static_cast<Int>(made.size() - sign);
          if (precision > kWidthMax || !in_.room(static_cast<size_t>(precision))) {
            in_.exhaust("too much text or memory");
            return;
          }
          if (digits < precision) made.insert(sign, std::string(static_cast<size_t>(precision - digits), '0'));
        }
        if (alternate && !decimal) {
          made.insert(made[0] == '-' ? 1 : 0, kind == 'o' ? "0o" : kind == 'x' ? "0x" : "0X");
          prefix = 2;
        }
        break;
      }
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        if (!value.is_number()) {
          if (value.is(Kind::kUndefined)) {
            in_.undefined_error(value);
          } else {
            in_.type_error(fmt::format("must be real number, not {}", type_name(value)));
          }
          return;
        }
        if (precision > 100000) {
          in_.exhaust("too much text or memory");
          return;
        }
        made = real_text(value.as_double(), kind, precision < 0 ? 6 : static_cast<int>(precision), alternate);
        break;
      default:
        in_.value_error(fmt::format("unsupported format character at index {}", at_ - 1));
        return;
    }
    if (numeric) {
      if (made[0] != '-' && (plus || blank)) made.insert(0, plus ? "+" : " ");
      const size_t sign = made[0] == '-' || made[0] == '+' || made[0] == ' ' ? 1 : 0;
      made = padded(in_, std::move(made), width, left ? '<' : zero ? '=' : '>', zero && !left ? "0" : " ", sign + prefix);
    } else {
      made = padded(in_, std::move(made), width, left ? '<' : '>', " ", 0);
    }
    in_.append(out, made);
  }

  Interpreter& in_;
  const Value format_;
  const std::string_view text_;
  const Value arguments_;
  bool mapping_ = false;
  size_t at_ = 0;
  size_t used_ = 0;
};

// --- str.format

struct Spec {
  std::string fill = " ";
  char align = '\0', sign = '-', kind = '\0', group = '\0';
  bool alternate = false, zero = false;
  Int width = 0, precision = -1;
};
bool read_spec(Interpreter& in, std::string_view text, Spec& spec) {
  size_t at = 0;
  const auto aligns = [](char c) { return c == '<' || c == '>' || c == '=' || c == '^'; };
  size_t second = 0;
  if (!text.empty()) next_char(text, second);
  if (second < text.size() && second > 0 && aligns(text[second])) {
    spec.fill = text.substr(0, second);
    spec.align = text[second];
    at = second + 1;
  } else if (!text.empty() && aligns(text[0])) {
    spec.align = text[0];
    at = 1;
  }
  const auto is = [&](std::string_view any) { return at < text.size() && any.find(text[at]) != std::string_view::npos; };
  if (is("+- ")) spec.sign = text[at++];
  if (is("z")) {
    in.not_implemented("the format flag z");
    return false;
  }
  if (is("#")) {
    spec.alternate = true;
    ++at;
  }
  if (is("0")) {
    spec.zero = true;
    ++at;
    if (spec.align == '\0') {
      spec.align = '=';
      spec.fill = "0";
    }
  }
  while (is("0123456789")) spec.width = std::min(spec.width * 10 + (text[at++] - '0'), kWidthMax * 2);
  if (is(",_")) spec.group = text[at++];
  if (is(".")) {
    ++at;
    if (!is("0123456789")) return in.value_error("Format specifier missing precision"), false;
    spec.precision = 0;
    while (is("0123456789")) spec.precision = std::min(spec.precision * 10 + (text[at++] - '0'), kWidthMax * 2);
  }
  if (at < text.size()) spec.kind = text[at++];
  if (at != text.size()) return in.value_error("Invalid format specifier"), false;
  return true;
}
std::string grouped(std::string digits, char separator, size_t size) {
  for (size_t at = digits.size(); at > size;) {
    at -= size;
    digits.insert(at, 1, separator);
  }
  return digits;
}
std::string formatted(Interpreter& in, const Value& value, std::string_view text) {
  if (text.empty()) return in.str(value);
  Spec spec;
  if (!value.is_number() && !value.is(Kind::kStr)) {
    in.type_error(fmt::format("unsupported format string passed to {}.__format__", type_name(value)));
    return {};
  }
  if (!read_spec(in, text, spec)) return {};
  const auto bad = [&](std::string_view why) {
    in.value_error(why);
    return std::string();
  };
  if (value.is(Kind::kStr)) {
    if (spec.kind != '\0' && spec.kind != 's') return bad("Unknown format code for object of type 'str'");
    if (spec.sign != '-' || spec.alternate || spec.group != '\0') return bad("not allowed in string format specifier");
    if (spec.align == '=' && !spec.zero) return bad("'=' alignment not allowed in string format specifier");
    if (spec.align == '=') spec.align = '<';
    std::string made(value.text());
    if (spec.precision >= 0 && spec.precision < static_cast<Int>(value.str().length)) made.resize(byte_offset(made, static_cast<size_t>(spec.precision)));
    return padded(in, std::move(made), spec.width, spec.align == '\0' ? '<' : spec.align, spec.fill, 0);
  }
  std::string digits, tail, prefix;
  bool negative = false;
  const bool whole = value.is_int() && std::string_view("eEfFgG%").find(spec.kind == '\0' ? '?' : spec.kind) == std::string_view::npos;
  if (whole) {
    if (value.is(Kind::kBool) && spec.kind == '\0') spec.kind = 'd';
    if (spec.precision >= 0) return bad("Precision not allowed in integer format specifier");
    const Int number = value.as_int();
    negative = number < 0;
    switch (spec.kind) {
      case '\0':
      case 'd':
      case 'n': digits = in_base(number, 10, false); break;
      case 'x':
      case 'X':
        digits = in_base(number, 16, spec.kind == 'X');
        prefix = spec.kind == 'x' ? "0x" : "0X";
        break;
      case 'o':
        digits = in_base(number, 8, false);
        prefix = "0o";
        break;
      case 'b':
        digits = in_base(number, 2, false);
        prefix = "0b";
        break;
      case 'c':
        if (number < 0 || number > 0x10FFFF || (number >= 0xD800 && number <= 0xDFFF)) return bad("%c arg not in range(0x110000)");
        append_char(digits, static_cast<char32_t>(number));
        negative = false;
        break;
      default: return bad("Unknown format code for object of type 'int'");
    }
    if (negative) digits.erase(0, 1);
    if (!spec.alternate) prefix.clear();
    if (spec.group == ',' && !prefix.empty()) return bad("Cannot specify ',' with this format code");
    if (spec.group != '\0') digits = grouped(std::move(digits), spec.group, spec.kind == 'x' || spec.kind == 'X' || spec.kind == 'o' || spec.kind == 'b' ? 4 : 3);
  } else {
    double number = value.as_double();
    if (spec.precision > 100000) {
      in.exhaust("too much text or memory");
      return {};
    }
    char kind = spec.kind;
    if (kind == '\0' || kind == 'n') {
      // Like repr, or %g with at least one digit behind the point.
      if (spec.precision < 0) {
        digits = float_repr(number);
      } else {
        int precision = std::max(1, static_cast<int>(spec.precision));
        digits = real_text(number, 'g', precision, false);
        if (kind == '\0' && std::isfinite(number)) {
          const auto e = digits.find('e');
          const std::string mantissa = digits.substr(0, e);
          if (mantissa.find('.') == std::string::npos && e == std::string::npos) {
            digits = real_text(number, 'g', precision, false) + ".0";
            if (static_cast<int>(mantissa.size()) - (number < 0 ? 1 : 0) >= precision) digits = real_text(number, 'e', precision - 1, false);
          }
        }
      }
    } else if (kind == '%') {
      digits = real_text(number * 100, 'f', spec.precision < 0 ? 6 : static_cast<int>(spec.precision), spec.alternate) + "%";
    } else if (std::string_view("eEfFgG").find(kind) != std::string_view::npos) {
      digits = real_text(number, kind, spec.precision < 0 ? 6 : static_cast<int>(spec.precision), spec.alternate);
    } else {
      return bad("Unknown format code for object of type 'float'");
    }
    negative = digits[0] == '-';
    if (negative) digits.erase(0, 1);
    if (spec.group != '\0') {
      const size_t end = std::min(digits.find_first_not_of("0123456789"), digits.size());
      tail = digits.substr(end);
      digits = grouped(digits.substr(0, end), spec.group, 3);
    }
  }
  const std::string sign = negative ? "-" : spec.sign == '+' ? "+" : spec.sign == ' ' ? " " : "";
  if (spec.align == '=' && spec.fill == "0" && spec.group != '\0' && spec.width > 0) {
    in.not_implemented("zero fill together with digit groups");
    return {};
  }
  return padded(in, sign + prefix + digits + tail, spec.width, spec.align == '\0' ? '>' : spec.align, spec.fill, sign.size() + prefix.size());
}

class Braces {
 public:
  Braces(Interpreter& in, const Args& args, bool markup) : in_(in), args_(args), markup_(markup) {}

  std::string run(std::string_view text, int depth) {
    std::string out;
    if (depth < 0) {
      in_.value_error("Max string recursion exceeded");
      return out;
    }
    for (size_t at = 0; at < text.size() && !in_.failed();) {
      const char c = text[at];
      if (c != '{' && c != '}') {
        const size_t end = std::min(text.find_first_of("{}", at), text.size());
        in_.append(out, text.substr(at, end - at));
        at = end;
        continue;
      }
      if (at + 1 < text.size() && text[at + 1] == c) {
        in_.append(out, std::string_view(&c, 1));
        at += 2;
        continue;
      }
      if (c == '}') {
        in_.value_error("Single '}' encountered in format string");
        return out;
      }
      size_t end = at + 1;
      int open = 1;
      bool in_index = false;
      for (; end < text.size(); ++end) {
        if (text[end] == '[' && open == 1) in_index = true;
        if (text[end] == ']') in_index = false;
        if (in_index) continue;
        if (text[end] == '{') ++open;
        if (text[end] == '}' && --open == 0) break;
      }
      if (end >= text.size()) {
        in_.value_error("expected '}' before end of string");
        return out;
      }
      field(out, text.substr(at + 1, end - at - 1), depth);
      at = end + 1;
      if (!in_.step()) break;
    }
    return out;
  }

 private:
  void field(std::string& out, std::string_view text, int depth) {
    size_t name_end = 0;
    bool in_index = false;
    for (; name_end < text.size(); ++name_end) {
      if (text[name_end] == '[') in_index = true;
      if (text[name_end] == ']') in_index = false;
      if (!in_index && (text[name_end] == '!' || text[name_end] == ':')) break;
    }
    const std::string_view name = text.substr(0, name_end);
    char conversion = '\0';
    size_t at = name_end;
    if (at < text.size() && text[at] == '!') {
      if (at + 1 >= text.size()) {
        in_.value_error("end of string while looking for conversion specifier");
        return;
      }
      conversion = text[at + 1];
      at += 2;
      if (at < text.size() && text[at] != ':') {
        in_.value_error("expected ':' after conversion specifier");
        return;
      }
    }
    const std::string_view spec = at < text.size() ? text.substr(at + 1) : std::string_view();
    Value value = lookup(name);
    if (in_.failed()) return;
    if (conversion == 'r') {
      value = in_.string(in_.repr(value));
    } else if (conversion == 's') {
      value = in_.string(in_.str(value));
    } else if (conversion == 'a') {
      value = in_.string(ascii_repr(in_, value));
    } else if (conversion != '\0') {
      in_.value_error("Unknown conversion specifier");
      return;
    }
    const std::string filled = run(spec, depth - 1);
    if (in_.failed()) return;
    if (markup_ && value.is(Kind::kStr) && value.str().markup) {
      if (!filled.empty()) {
        in_.value_error("Format specifier given, but Markup does not define __html_format__");
        return;
      }
      in_.append(out, value.text());
      return;
    }
    const std::string made = formatted(in_, value, filled);
    in_.append(out, markup_ ? escape_html(made) : made);
  }

  Value lookup(std::string_view name) {
    size_t end = std::min(name.find_first_of(".["), name.size());
    const std::string_view first = name.substr(0, end);
    Value value;
    Int index = 0;
    const bool number = !first.empty() && first.find_first_not_of("0123456789") == std::string_view::npos;
    if (first.empty() || number) {
      if (first.empty()) {
        if (numbering_ == 2) return in_.value_error("cannot switch from manual field specification to automatic field numbering");
        numbering_ = 1;
        index = automatic_++;
      } else {
        if (numbering_ == 1) return in_.value_error("cannot switch from automatic field numbering to manual field specification");
        numbering_ = 2;
        if (!parse_int(first, 10, index)) return in_.value_error("Too many decimal digits in format string");
      }
      if (index >= static_cast<Int>(args_.positional.size())) return in_.fail("IndexError", "Replacement index out of range for positional args tuple");
      value = args_.positional[static_cast<size_t>(index)];
    } else {
      const auto found = std::find_if(args_.named.begin(), args_.named.end(), [&](const auto& n) { return n.first == first; });
      if (found == args_.named.end()) return in_.fail("KeyError", first);
      value = found->second;
    }
    while (end < name.size() && !in_.failed()) {
      if (name[end] == '.') {
        const size_t next = std::min(name.find_first_of(".[", end + 1), name.size());
        if (next == end + 1) return in_.value_error("Empty attribute in format string");
        value = in_.get_attribute(value, std::string(name.substr(end + 1, next - end - 1)));
        end = next;
      } else if (name[end] == '[') {
        const size_t close = name.find(']', end);
        if (close == std::string_view::npos) return in_.value_error("Missing ']' in format string");
        const std::string_view key = name.substr(end + 1, close - end - 1);
        if (key.empty()) return in_.value_error("Empty attribute in format string");
        Int k = 0;
        const bool is_number = key.find_first_not_of("0123456789") == std::string_view::npos && parse_int(key, 10, k);
        value = in_.get_item(value, is_number ? Value::integer(k) : in_.string(std::string(key)));
        end = close + 1;
      } else {
        return in_.value_error("Only '.' or '[' may follow ']' in format field specifier");
      }
    }
    return value;
  }

  Interpreter& in_;
  const Args& args_;
  const bool markup_;
  int numbering_ = 0;  // 1 automatic, 2 manual
  Int automatic_ = 0;
};

// --- json.dumps

class JsonText {
 public:
  JsonText(Interpreter& in, bool ascii, bool indented, std::string indent, std::string item, std::string key, bool sorted)
      : in_(in), ascii_(ascii), indented_(indented), indent_(std::move(indent)), item_(std::move(item)), key_(std::move(key)), sorted_(sorted) {}

  void write(std::string& out, const Value& value, int level) {
    if (!in_.step()) return;
    switch (value.kind) {
      case Kind::kNone: in_.append(out, "null"); return;
      case Kind::kBool: in_.append(out, value.b ? "true" : "false"); return;
      case Kind::kInt: in_.append(out, int_text(value.i)); return;
      case Kind::kFloat: in_.append(out, real(value.f)); return;
      case Kind::kStr: text(out, value.text()); return;
      case Kind::kList:
      case Kind::kTuple: {
        const auto& items = value.seq().items;
        if (items.empty()) {
          in_.append(out, "[]");
          return;
        }
        in_.append(out, "[");
        for (size_t k = 0; k < items.size() && !in_.failed(); ++k) {
          if (k > 0) in_.append(out, item_);
          newline(out, level + 1);
          write(out, items[k], level + 1);
        }
        newline(out, level);
        in_.append(out, "]");
        return;
      }
      case Kind::kDict: {
        std::vector<std::pair<Value, Value>> items = value.dict().items;
        if (items.empty()) {
          in_.append(out, "{}");
          return;
        }
        if (sorted_) {
          std::vector<Value> pairs, keys;
          for (const auto& [key, held] : items) {
            pairs.push_back(in_.tuple({key, held}));
            keys.push_back(key);
          }
          if (!in_.sort(pairs, std::move(keys), false)) return;
          for (size_t k = 0; k < pairs.size(); ++k) items[k] = {pairs[k].seq().items[0], pairs[k].seq().items[1]};
        }
        in_.append(out, "{");
        bool first = true;
        for (const auto& [key, held] : items) {
          if (in_.failed()) return;
          if (!first) in_.append(out, item_);
          first = false;
          newline(out, level + 1);
          if (key.is(Kind::kStr)) {
            text(out, key.text());
          } else if (key.is(Kind::kNone) || key.is_number()) {
            std::string plain;
            write(plain, key, level);
            in_.append(out, "\"" + plain + "\"");
          } else {
            in_.type_error(fmt::format("keys must be str, int, float, bool or None, not {}", type_name(key)));
            return;
          }
          in_.append(out, key_);
          write(out, held, level + 1);
        }
        newline(out, level);
        in_.append(out, "}");
        return;
      }
      default: in_.type_error(fmt::format("Object of type {} is not JSON serializable", type_name(value)));
    }
  }

 private:
  static std::string real(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return float_repr(value);
  }
  void newline(std::string& out, int level) {
    if (!indented_) return;
    in_.append(out, "\n");
    for (int k = 0; k < level && !in_.failed(); ++k) in_.append(out, indent_);
  }
  void text(std::string& out, std::string_view value) {
    if (!in_.step(value.size() / 64)) return;
    std::string made = "\"";
    for (size_t at = 0; at < value.size();) {
      const size_t from = at;
      const char32_t c = next_char(value, at);
      switch (c) {
        case '"': made += "\\\""; break;
        case '\\': made += "\\\\"; break;
        case '\n': made += "\\n"; break;
        case '\r': made += "\\r"; break;
        case '\t': made += "\\t"; break;
        case '\f': made += "\\f"; break;
        case '\b': made += "\\b"; break;
        default:
          if (c < 0x20 || (ascii_ && c > 0x7E && c < 0x10000)) {
            made += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
          } else if (ascii_ && c >= 0x10000) {
            const auto v = static_cast<unsigned>(c - 0x10000);
            made += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (v >> 10), 0xDC00 + (v & 0x3FF));
          } else {
            made += value.substr(from, at - from);
          }
      }
    }
    made += '"';
    in_.append(out, made);
  }

  Interpreter& in_;
  bool ascii_, indented_;
  std::string indent_, item_, key_;
  bool sorted_;
};

}  // namespace

Value format_percent(Interpreter& in, const Value& format, const Value& arguments) { return Percent(in, format, arguments).run(); }

Value format_braces(Interpreter& in, const Value& format, const Args& args) {
  std::string out = Braces(in, args, format.str().markup).run(format.text(), 2);
  return in.string(std::move(out), format.str().markup);
}

Value to_json(Interpreter& in, Args& args) {
  Value v[5];
  if (!bind(in, "tojson", args, {"x", "ensure_ascii", "indent", "separators", "sort_keys"}, 1, v)) return {};
  const bool ascii = !v[1].missing() && in.truthy(v[1]);
  const bool indented = !v[2].missing() && !v[2].is(Kind::kNone);
  std::string indent;
  if (indented) {
    Int width = 0;
    if (v[2].is(Kind::kStr)) {
      indent = v[2].text();
    } else {
      if (!in.want_index(v[2], width)) return {};
      if (width > 1000) return in.exhaust("too much text or memory");
      indent.assign(static_cast<size_t>(std::max(Int{0}, width)), ' ');
    }
  }
  std::string item = indented ? "," : ", ", key = ": ";
  if (!v[3].missing() && !v[3].is(Kind::kNone)) {
    std::vector<Value> both;
    if (!in.to_list(v[3], both)) return {};
    if (both.size() != 2) return in.value_error("wrong number of values to unpack (expected 2)");
    if (!both[0].is(Kind::kStr) || !both[1].is(Kind::kStr)) return in.type_error("separators must be strings");
    item = both[0].text();
    key = both[1].text();
  }
  std::string out;
  JsonText(in, ascii, indented, indent, item, key, !v[4].missing() && in.truthy(v[4])).write(out, v[0], 0);
  return in.string(std::move(out));
}

}  // namespace colony::text::jinja
