#include "text/constraint.h"

#include <algorithm>
#include <limits>
#include <tuple>

namespace colony::text {
namespace {

// Of the sorted texts [from, to), which share their first `position` bytes, those that go on with `c`.
std::pair<size_t, size_t> narrowed(const std::vector<std::string>& texts, size_t from, size_t to, size_t position, unsigned char c) {
  const auto byte_at = [&](const std::string& s) {  // one that ends here sorts first
    return s.size() <= position ? -1 : static_cast<int>(static_cast<unsigned char>(s[position]));
  };
  const auto begin = texts.begin() + static_cast<std::ptrdiff_t>(from), end = texts.begin() + static_cast<std::ptrdiff_t>(to);
  const auto low = std::partition_point(begin, end, [&](const std::string& s) { return byte_at(s) < c; });
  const auto high = std::partition_point(low, end, [&](const std::string& s) { return byte_at(s) <= c; });
  return {static_cast<size_t>(low - texts.begin()), static_cast<size_t>(high - texts.begin())};
}

// --- choices: a sorted list narrowed byte by byte

class Choices final : public Acceptor {
 public:
  explicit Choices(std::vector<std::string> sorted) : choices_(std::make_shared<const std::vector<std::string>>(std::move(sorted))) {}
  std::unique_ptr<Acceptor::State> start() const override { return std::make_unique<At>(choices_); }

 private:
  using List = std::shared_ptr<const std::vector<std::string>>;
  class At final : public Acceptor::State {
   public:
    explicit At(List list) : list_(std::move(list)), to_(list_->size()) {}
    std::unique_ptr<Acceptor::State> clone() const override { return std::make_unique<At>(*this); }
    bool advance(std::string_view bytes) override {
      for (const char c : bytes) {
        std::tie(from_, to_) = narrowed(*list_, from_, to_, position_, static_cast<unsigned char>(c));
        if (from_ == to_) return false;
        ++position_;
      }
      return true;
    }
    bool complete() const override { return from_ < to_ && (*list_)[from_].size() == position_; }
    bool exhausted() const override { return complete() && to_ - from_ == 1; }

   private:
    List list_;
    size_t from_ = 0, to_ = 0, position_ = 0;
  };
  List choices_;
};

// --- schemas: compiled to shapes, read by a set of stacks

constexpr int kSchemaDepthMax = 64;
constexpr size_t kShapesMax = 20'000;
constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();
constexpr uint32_t kIntegerDigitsMax = 19, kFractionDigitsMax = 24;

struct Shape;
using ShapePtr = std::shared_ptr<const Shape>;
struct Property {
  std::string key;  // as JSON text, with the colon: "\"name\":"
  ShapePtr shape;
  bool required = false;
};
struct Shape {
  enum class Kind : uint8_t { kTexts, kString, kInteger, kNumber, kObject, kArray, kAny } kind = Kind::kTexts;
  std::vector<std::string> texts;  // kTexts: one of these JSON texts, sorted
  uint64_t min = 0, max = kNoLimit;
  std::vector<Property> properties;
  ShapePtr items;
  std::vector<ShapePtr> any;
};

// One thing still to be read, on top of what comes after it. Frames never change, so stacks share them.
struct Frame;
using FramePtr = std::shared_ptr<const Frame>;
struct Frame {
  enum class Kind : uint8_t { kText, kChoice, kSpace, kShape, kString, kNumber, kProperties, kElements } kind = Kind::kText;
  uint8_t phase = 0;
  const Shape* shape = nullptr;
  const char* text = nullptr;  // kText: what is left of it, inside a Shape or a constant
  size_t size = 0;             // kChoice: the first of the sorted texts that is still possible
  uint64_t count = 0;   // kChoice: bytes read; kString: characters; kNumber: digits of the whole part; kProperties: next one; kElements: read
  uint32_t extra = 0;   // kChoice: one past the last text possible; kString: bits; kNumber: digits of the part being read; kProperties: 1 when one was read
  FramePtr next;

  bool operator==(const Frame& o) const {
    return kind == o.kind && phase == o.phase && shape == o.shape && text == o.text && size == o.size && count == o.count &&
           extra == o.extra && next == o.next;
  }
};

FramePtr push(Frame frame, FramePtr next) {
  frame.next = std::move(next);
  return std::make_shared<const Frame>(std::move(frame));
}
FramePtr text_frame(std::string_view text, FramePtr next) {
  Frame frame;
  frame.text = text.data();
  frame.size = text.size();
  return push(frame, std::move(next));
}
FramePtr shape_frame(const Shape* shape, FramePtr next) {
  Frame frame;
  frame.kind = Frame::Kind::kShape;
  frame.shape = shape;
  return push(frame, std::move(next));
}
FramePtr space_frame(FramePtr next) {
  Frame frame;
  frame.kind = Frame::Kind::kSpace;
  return push(frame, std::move(next));
}

enum StringPhase : uint8_t { kOpen, kInside, kEscape, kHex1, kHex2, kHex3, kHex4, kLowSlash, kLowU, kLow1, kLow2, kLow3, kLow4, kMore1, kMore2, kMore3 };
enum NumberPhase : uint8_t { kSign, kFirst, kZero, kWhole, kPoint, kFraction, kExponent, kExponentFirst, kExponentDigits };

int hex(unsigned char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

class SchemaState final : public Acceptor::State {
 public:
  explicit SchemaState(ShapePtr root) : root_(std::move(root)) {
    Set fresh;
    add(fresh, shape_frame(root_.get(), nullptr));
    settle(std::move(fresh));
  }
  std::unique_ptr<Acceptor::State> clone() const override { return std::make_unique<SchemaState>(*this); }
  bool complete() const override { return complete_; }
  bool exhausted() const override { return complete_ && live_.empty(); }

  bool advance(std::string_view bytes) override {
    for (const char c : bytes) {
      Set fresh;
      bool any = false;
      complete_ = false;
      for (const FramePtr& frame : live_) any = step(*frame, static_cast<unsigned char>(c), fresh) || any;
      settle(std::move(fresh));
      if (!any) return false;
    }
    return true;
  }

 private:
  // Stacks, none twice; a null pointer is the empty stack, a finished text.
  using Set = std::vector<FramePtr>;
  static void add(Set& set, FramePtr frame) {
    for (const FramePtr& other : set) {
      if (other == frame || (other != nullptr && frame != nullptr && *other == *frame)) return;
    }
    set.push_back(std::move(frame));
  }

  // Opens every stack until its top reads a byte.
  void settle(Set todo) {
    live_.clear();
    for (size_t k = 0; k < todo.size(); ++k) {
      const FramePtr frame = todo[k];  // expand() may grow todo
      if (frame == nullptr) {
        complete_ = true;
      } else {
        expand(frame, todo);
      }
    }
  }

  void expand(const FramePtr& frame, Set& todo) {
    const Frame& f = *frame;
    switch (f.kind) {
      case Frame::Kind::kText:
        if (f.size == 0) {
          add(todo, f.next);
        } else {
          add(live_, frame);
        }
        return;
      case Frame::Kind::kChoice: {
        // Sorted: a text that ends here comes first.
        const bool ends = f.shape->texts[f.size].size() == f.count;
        if (ends) add(todo, f.next);
        if (!ends || f.extra - f.size > 1) add(live_, frame);
        return;
      }
      case Frame::Kind::kSpace:
        add(live_, frame);
        add(todo, f.next);
        return;
      case Frame::Kind::kString: add(live_, frame); return;
      case Frame::Kind::kNumber:
        if (goes_on(f)) add(live_, frame);
        if (f.phase == kZero || f.phase == kWhole || f.phase == kFraction || f.phase == kExponentDigits) add(todo, f.next);
        return;
      case Frame::Kind::kShape: open(*f.shape, f.next, todo); return;
      case Frame::Kind::kProperties: {
        const auto& properties = f.shape->properties;
        size_t k = static_cast<size_t>(f.count);
        for (; k < properties.size(); ++k) {
          Frame after;
          after.kind = Frame::Kind::kProperties;
          after.shape = f.shape;
          after.count = k + 1;
          after.extra = 1;
          auto value = space_frame(shape_frame(properties[k].shape.get(), push(after, f.next)));
          auto name = text_frame(properties[k].key, std::move(value));
          add(todo, f.extra == 0 ? std::move(name) : text_frame(",", space_frame(std::move(name))));
          if (properties[k].required) return;
        }
        add(todo, text_frame("}", f.next));
        return;
      }
      case Frame::Kind::kElements: {
        if (f.count >= f.shape->min) add(todo, text_frame("]", f.next));
        if (f.count >= f.shape->max) return;
        Frame after = f;
        after.count = f.count + 1;
        auto element = shape_frame(f.shape->items.get(), push(after, f.next));
        add(todo, f.count == 0 ? std::move(element) : text_frame(",", space_frame(std::move(element))));
        return;
      }
    }
  }

  // False for a number that no byte can follow: "0" as an integer, or a part at its bound.
  static bool goes_on(const Frame& f) {
    const bool real = f.shape->kind == Shape::Kind::kNumber;
    if (f.phase == kZero) return real;
    if (f.phase == kWhole) return real || f.count < kIntegerDigitsMax;
    if (f.phase == kExponentDigits) return (f.extra & 63) < ((f.extra & 128) != 0 ? 3u : 2u);
    return true;
  }

  void open(const Shape& shape, const FramePtr& next, Set& todo) {
    Frame frame;
    frame.shape = &shape;
    switch (shape.kind) {
      case Shape::Kind::kTexts:
        frame.kind = Frame::Kind::kChoice;
        frame.extra = static_cast<uint32_t>(shape.texts.size());
        add(todo, push(frame, next));
        return;
      case Shape::Kind::kString:
        frame.kind = Frame::Kind::kString;
        add(todo, push(frame, next));
        return;
      case Shape::Kind::kInteger:
      case Shape::Kind::kNumber:
        frame.kind = Frame::Kind::kNumber;
        add(todo, push(frame, next));
        return;
      case Shape::Kind::kObject:
        frame.kind = Frame::Kind::kProperties;
        add(todo, text_frame("{", push(frame, next)));
        return;
      case Shape::Kind::kArray:
        frame.kind = Frame::Kind::kElements;
        add(todo, text_frame("[", push(frame, next)));
        return;
      case Shape::Kind::kAny:
        for (const ShapePtr& one : shape.any) add(todo, shape_frame(one.get(), next));
        return;
    }
  }

  bool step(const Frame& f, unsigned char c, Set& fresh) {
    switch (f.kind) {
      case Frame::Kind::kText: {
        if (static_cast<unsigned char>(f.text[0]) != c) return false;
        if (f.size == 1) {
          add(fresh, f.next);
        } else {
          Frame rest = f;
          ++rest.text;
          --rest.size;
          add(fresh, std::make_shared<const Frame>(std::move(rest)));
        }
        return true;
      }
      case Frame::Kind::kSpace:
        if (c != ' ') return false;
        add(fresh, f.next);
        return true;
      case Frame::Kind::kChoice: {
        Frame rest = f;
        const auto [from, to] = narrowed(f.shape->texts, f.size, f.extra, static_cast<size_t>(f.count), c);
        if (from == to) return false;
        rest.size = from;
        rest.extra = static_cast<uint32_t>(to);
        ++rest.count;
        add(fresh, std::make_shared<const Frame>(std::move(rest)));
        return true;
      }
      case Frame::Kind::kString: return step_string(f, c, fresh);
      case Frame::Kind::kNumber: return step_number(f, c, fresh);
      default: return false;
    }
  }

  bool step_string(const Frame& f, unsigned char c, Set& fresh) {
    Frame n = f;
    const auto go = [&](uint8_t phase) {
      n.phase = phase;
      add(fresh, std::make_shared<const Frame>(std::move(n)));
      return true;
    };
    const auto character = [&] {
      ++n.count;
      n.extra = 0;
      return go(kInside);
    };
    // The bytes a continuation may have: low in bits 0-7, high in bits 8-15.
    const auto more = [&](uint8_t phase, uint32_t low, uint32_t high) {
      n.extra = low | high << 8;
      return go(phase);
    };
    switch (f.phase) {
      case kOpen: return c == '"' && go(kInside);
      case kInside:
        if (c == '"') {
          if (f.count < f.shape->min) return false;
          add(fresh, f.next);
          return true;
        }
        if (f.count >= f.shape->max) return false;
        if (c == '\\') return go(kEscape);
        if (c < 0x20) return false;
        if (c < 0x80) return character();
        if (c >= 0xC2 && c <= 0xDF) return more(kMore1, 0x80, 0xBF);
        if (c >= 0xE0 && c <= 0xEF) return more(kMore2, c == 0xE0 ? 0xA0 : 0x80, c == 0xED ? 0x9F : 0xBF);
        if (c >= 0xF0 && c <= 0xF4) return more(kMore3, c == 0xF0 ? 0x90 : 0x80, c == 0xF4 ? 0x8F : 0xBF);
        return false;
      case kMore1:
      case kMore2:
      case kMore3:
        if (c < (f.extra & 0xFF) || c > (f.extra >> 8)) return false;
        if (f.phase == kMore1) return character();
        return more(static_cast<uint8_t>(f.phase - 1), 0x80, 0xBF);
      case kEscape:
        if (c == 'u') {
          n.extra = 0;
          return go(kHex1);
        }
        return std::string_view("\"\\/bfnrt").find(static_cast<char>(c)) != std::string_view::npos && character();
      case kLowSlash: return c == '\\' && go(kLowU);
      case kLowU:
        n.extra = 0;
        return c == 'u' && go(kLow1);
      default: break;
    }
    const int digit = hex(c);
    if (digit < 0) return false;
    n.extra = f.extra << 4 | static_cast<uint32_t>(digit);
    if (f.phase == kHex4) {
      if (n.extra >= 0xDC00 && n.extra <= 0xDFFF) return false;
      return n.extra >= 0xD800 && n.extra <= 0xDBFF ? go(kLowSlash) : character();
    }
    if (f.phase == kLow4) return n.extra >= 0xDC00 && n.extra <= 0xDFFF && character();
    return go(static_cast<uint8_t>(f.phase + 1));
  }

  bool step_number(const Frame& f, unsigned char c, Set& fresh) {
    Frame n = f;
    const bool digit = c >= '0' && c <= '9', real = f.shape->kind == Shape::Kind::kNumber;
    const auto go = [&](uint8_t phase) {
      n.phase = phase;
      add(fresh, std::make_shared<const Frame>(std::move(n)));
      return true;
    };
    const auto begin = [&](uint8_t phase) {
      n.extra = 0;
      return go(phase);
    };
    switch (f.phase) {
      case kSign:
        if (c == '-') return go(kFirst);
        [[fallthrough]];
      case kFirst:
        if (!digit) return false;
        n.count = 1;
        return go(c == '0' ? kZero : kWhole);
      case kZero:
      case kWhole:
        if (digit) {
          if (f.phase == kZero || f.count >= kIntegerDigitsMax) return false;
          ++n.count;
          return go(kWhole);
        }
        if (real && c == '.') return begin(kPoint);
        return real && (c == 'e' || c == 'E') && begin(kExponent);
      case kPoint: n.extra = 1; return digit && go(kFraction);
      case kFraction:
        if (digit) {
          ++n.extra;
          return f.extra < kFractionDigitsMax && go(kFraction);
        }
        return (c == 'e' || c == 'E') && begin(kExponent);
      case kExponent:
        // extra: 64 marks a negative exponent, the rest counts digits.
        if (c == '+' || c == '-') {
          n.extra = c == '-' ? 64 : 0;
          return go(kExponentFirst);
        }
        [[fallthrough]];
      case kExponentFirst:
        if (!digit) return false;
        // Three digits only where the value stays finite: up to e299 behind one whole digit.
        n.extra += 1;
        n.extra |= (n.extra & 64) != 0 ? (c >= '1' && c <= '3' ? 128u : 0u) : (c >= '1' && c <= '2' && f.count == 1 ? 128u : 0u);
        return go(kExponentDigits);
      case kExponentDigits: {
        const uint32_t digits = f.extra & 63, allowed = (f.extra & 128) != 0 ? 3 : 2;
        n.extra = f.extra + 1;
        return digit && digits < allowed && go(kExponentDigits);
      }
      default: return false;
    }
  }

  ShapePtr root_;  // owns the shapes and texts the frames point into
  Set live_;
  bool complete_ = false;
};

class SchemaAcceptor final : public Acceptor {
 public:
  explicit SchemaAcceptor(ShapePtr root) : root_(std::move(root)) {}
  std::unique_ptr<Acceptor::State> start() const override { return std::make_unique<SchemaState>(root_); }

 private:
  ShapePtr root_;
};

// --- compiling

bool is_annotation(std::string_view key) {
  for (const auto known : {"title", "description", "default", "examples", "example", "$schema", "$id", "$comment", "deprecated", "readOnly", "writeOnly"}) {
    if (key == known) return true;
  }
  return false;
}

class Compiler {
 public:
  Result<ShapePtr> shape(const Json& schema, const std::string& path, int depth) {
    if (depth > kSchemaDepthMax) return invalid("schema {}: nested deeper than {} levels", path, kSchemaDepthMax);
    if (++shapes_ > kShapesMax) return invalid("schema: more than {} parts", kShapesMax);
    if (!schema.is_object()) return invalid("schema {}: must be an object, found {}", path, json_kind(schema));
    if (schema.contains("enum") || schema.contains("const")) return texts(schema, path);
    if (schema.contains("anyOf")) return any_of(schema, path, depth);
    const auto type = schema.find("type");
    if (type == schema.end()) {
      // Names the keyword that is there instead ($ref, oneOf, …), if any.
      RETURN_IF_ERROR(only(schema, path, {}));
      return invalid("schema {}: \"type\", \"enum\", \"const\" or \"anyOf\" is missing; a value of any kind is not supported", path);
    }
    if (type->is_array()) {
      if (type->empty()) return invalid("schema {}: \"type\" is an empty list", path);
      auto made = std::make_shared<Shape>();
      made->kind = Shape::Kind::kAny;
      for (const Json& one : *type) {
        // Keywords of the other types say nothing about this one.
        Json single = Json::object();
        for (const auto& [key, value] : schema.items()) {
          if (key == "type") {
            single["type"] = one;
          } else if (!one.is_string() || belongs(one.get_ref<const std::string&>(), key) || !belongs_anywhere(key)) {
            single[key] = value;
          }
        }
        ASSIGN_OR_RETURN(auto shape_made, shape(single, path, depth + 1));
        made->any.push_back(std::move(shape_made));
      }
      return ShapePtr(made);
    }
    if (!type->is_string()) return invalid("schema {}: \"type\" must be a string, found {}", path, json_kind(*type));
    return typed(schema, type->get_ref<const std::string&>(), path, depth);
  }

 private:
  static bool belongs(std::string_view type, std::string_view key) {
    const auto is = [&](std::initializer_list<std::string_view> keys) { return std::find(keys.begin(), keys.end(), key) != keys.end(); };
    if (type == "object") return is({"properties", "required", "additionalProperties"});
    if (type == "array") return is({"items", "minItems", "maxItems"});
    if (type == "string") return is({"minLength", "maxLength"});
    return false;
  }
  static bool belongs_anywhere(std::string_view key) { return belongs("object", key) || belongs("array", key) || belongs("string", key); }

  static Status only(const Json& schema, const std::string& path, std::initializer_list<std::string_view> known) {
    for (const auto& [key, value] : schema.items()) {
      if (is_annotation(key) || key == "type" || std::find(known.begin(), known.end(), key) != known.end()) continue;
      return invalid("schema {}: the keyword \"{}\" is not supported here", path, key);
    }
    return {};
  }
  static Result<uint64_t> limit(const Json& schema, const char* key, const std::string& path, uint64_t otherwise) {
    ASSIGN_OR_RETURN(auto found, get_int(schema, key, "schema " + path));
    if (!found) return otherwise;
    if (*found < 0) return invalid("schema {}: \"{}\" must not be negative", path, key);
    return static_cast<uint64_t>(*found);
  }
  static Result<ShapePtr> bounded(Shape::Kind kind, const Json& schema, const char* least, const char* most, const std::string& path) {
    auto made = std::make_shared<Shape>();
    made->kind = kind;
    ASSIGN_OR_RETURN(made->min, limit(schema, least, path, 0));
    ASSIGN_OR_RETURN(made->max, limit(schema, most, path, kNoLimit));
    if (made->min > made->max) return invalid("schema {}: \"{}\" is above \"{}\"", path, least, most);
    return ShapePtr(made);
  }

  Result<ShapePtr> texts(const Json& schema, const std::string& path) {
    std::vector<Json> values;
    if (schema.contains("enum")) {
      if (!schema["enum"].is_array()) return invalid("schema {}: \"enum\" must be a list", path);
      values.assign(schema["enum"].begin(), schema["enum"].end());
    } else {
      values.push_back(schema["const"]);
    }
    auto made = std::make_shared<Shape>();
    std::string problem = "it is empty";
    for (const Json& value : values) {
      // Further keywords beside enum: whatever the value must satisfy as well.
      std::string found = schema_problem(schema, value);
      if (!found.empty()) {
        problem = std::move(found);
        continue;
      }
      made->texts.push_back(to_line(value));
    }
    std::sort(made->texts.begin(), made->texts.end());
    made->texts.erase(std::unique(made->texts.begin(), made->texts.end()), made->texts.end());
    if (made->texts.empty()) return invalid("schema {}: no value of \"enum\" or \"const\" is possible: {}", path, problem);
    return ShapePtr(made);
  }

  Result<ShapePtr> any_of(const Json& schema, const std::string& path, int depth) {
    if (schema.contains("type")) return invalid("schema {}: the keyword \"anyOf\" is not supported beside \"type\"", path);
    RETURN_IF_ERROR(only(schema, path, {"anyOf"}));
    const Json& all = schema["anyOf"];
    if (!all.is_array() || all.empty()) return invalid("schema {}: \"anyOf\" must be a list with at least one schema", path);
    auto made = std::make_shared<Shape>();
    made->kind = Shape::Kind::kAny;
    for (size_t k = 0; k < all.size(); ++k) {
      ASSIGN_OR_RETURN(auto one, shape(all[k], fmt::format("{}/anyOf/{}", path, k), depth + 1));
      made->any.push_back(std::move(one));
    }
    return ShapePtr(made);
  }

  Result<ShapePtr> typed(const Json& schema, const std::string& type, const std::string& path, int depth) {
    auto made = std::make_shared<Shape>();
    if (type == "null" || type == "boolean") {
      RETURN_IF_ERROR(only(schema, path, {}));
      made->texts = type == "null" ? std::vector<std::string>{"null"} : std::vector<std::string>{"false", "true"};
      return ShapePtr(made);
    }
    if (type == "integer" || type == "number") {
      RETURN_IF_ERROR(only(schema, path, {}));
      made->kind = type == "integer" ? Shape::Kind::kInteger : Shape::Kind::kNumber;
      return ShapePtr(made);
    }
    if (type == "string") {
      RETURN_IF_ERROR(only(schema, path, {"minLength", "maxLength"}));
      return bounded(Shape::Kind::kString, schema, "minLength", "maxLength", path);
    }
    if (type == "array") {
      RETURN_IF_ERROR(only(schema, path, {"items", "minItems", "maxItems"}));
      ASSIGN_OR_RETURN(auto limits, bounded(Shape::Kind::kArray, schema, "minItems", "maxItems", path));
      *made = *limits;
      if (!schema.contains("items")) return invalid("schema {}: \"items\" is missing; elements of any kind are not supported", path);
      ASSIGN_OR_RETURN(made->items, shape(schema["items"], path + "/items", depth + 1));
      return ShapePtr(made);
    }
    if (type == "object") return object(schema, path, depth);
    return invalid("schema {}: the type \"{}\" is not known", path, type);
  }

  Result<ShapePtr> object(const Json& schema, const std::string& path, int depth) {
    RETURN_IF_ERROR(only(schema, path, {"properties", "required", "additionalProperties"}));
    auto made = std::make_shared<Shape>();
    made->kind = Shape::Kind::kObject;
    if (const auto more = schema.find("additionalProperties"); more != schema.end() && !more->is_boolean()) {
      return invalid("schema {}: the keyword \"additionalProperties\" is only supported as true or false", path);
    }
    if (const auto properties = schema.find("properties"); properties != schema.end()) {
      if (!properties->is_object()) return invalid("schema {}: \"properties\" must be an object", path);
      for (const auto& [name, child] : properties->items()) {
        Property property;
        property.key = to_line(Json(name)) + ":";
        ASSIGN_OR_RETURN(property.shape, shape(child, path + "/properties/" + name, depth + 1));
        made->properties.push_back(std::move(property));
      }
    }
    if (const auto required = schema.find("required"); required != schema.end()) {
      if (!required->is_array()) return invalid("schema {}: \"required\" must be a list", path);
      for (const Json& name : *required) {
        if (!name.is_string()) return invalid("schema {}: \"required\" must hold names", path);
        const std::string key = to_line(name) + ":";
        const auto found = std::find_if(made->properties.begin(), made->properties.end(), [&](const Property& p) { return p.key == key; });
        if (found == made->properties.end()) {
          return invalid("schema {}: \"required\" names \"{}\", which \"properties\" does not have", path, name.get<std::string>());
        }
        found->required = true;
      }
    }
    return ShapePtr(made);
  }

  size_t shapes_ = 0;
};

}  // namespace

Result<std::shared_ptr<const Acceptor>> make_choices(std::vector<std::string> choices) {
  if (choices.empty()) return invalid("choices: there is none");
  std::sort(choices.begin(), choices.end());
  if (choices.front().empty()) return invalid("choices: one of them is empty");
  if (const auto twice = std::adjacent_find(choices.begin(), choices.end()); twice != choices.end()) {
    return invalid("choices: \"{}\" is given twice", *twice);
  }
  return std::shared_ptr<const Acceptor>(std::make_shared<Choices>(std::move(choices)));
}

Result<std::shared_ptr<const Acceptor>> make_json_schema(const Json& schema) {
  ASSIGN_OR_RETURN(auto root, Compiler().shape(schema, "#", 0));
  return std::shared_ptr<const Acceptor>(std::make_shared<SchemaAcceptor>(std::move(root)));
}

}  // namespace colony::text
