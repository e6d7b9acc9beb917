// Jinja2's filters on collections, and the table of all. Source: jinja2 3.1.6 filters.py; tojson is HF's.
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

namespace {

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

const FilterTable& collection_filters() {
  static const FilterTable table = {
      {"attr", attribute}, {"batch", batch}, {"count", count}, {"d", default_value},
      {"default", default_value}, {"dictsort", dictsort}, {"first", first}, {"groupby", groupby},
      {"items", items}, {"join", join}, {"last", last}, {"length", count}, {"list", as_list},
      {"map", map}, {"max", largest}, {"min", smallest}, {"pprint", missing_filter},
      {"random", missing_filter}, {"reject", reject}, {"rejectattr", reject_attr}, {"reverse", reverse},
      {"select", select}, {"selectattr", select_attr}, {"slice", slices}, {"sort", sort},
      {"striptags", missing_filter}, {"sum", sum}, {"tojson", to_json}, {"unique", unique},
      {"urlize", missing_filter}, {"wordwrap", missing_filter}, {"xmlattr", missing_filter}};
  return table;
}
Filter find_filter(std::string_view name) {
  for (const FilterTable* table : {&collection_filters(), &text_filters()}) {
    if (const auto found = table->find(name); found != table->end()) return found->second;
  }
  return nullptr;
}

}  // namespace

bool is_filter(std::string_view name) { return find_filter(name) != nullptr; }
Value apply_filter(Interpreter& in, std::string_view name, Args& args) {
  if (!in.step()) return Value::undefined();
  Value result = find_filter(name)(in, args);
  return result.missing() ? Value::undefined() : result;
}

}  // namespace colony::text::jinja
