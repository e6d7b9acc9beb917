#include "text/jinja_parser.h"

#include <algorithm>
#include <optional>

#include "text/jinja_lexer.h"
#include "text/jinja_text.h"

namespace colony::text::jinja {
namespace {

using K = TokenKind;
using Words = std::initializer_list<std::string_view>;

// After a failure error_ is set, every node may be null, and every loop ends.
class Parser {
 public:
  Parser(std::vector<Token> tokens, int depth_max) : tokens_(std::move(tokens)), depth_max_(depth_max) {}

  Result<std::unique_ptr<Template>> run() {
    auto tree = std::make_unique<Template>();
    tree->body = subparse({});
    if (error_) return *error_;
    return tree;
  }

 private:
  // --- tokens
  const Token& now() const { return tokens_[at_]; }
  const Token& look() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& next() {
    const Token& token = tokens_[at_];
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  bool is(K kind) const { return now().kind == kind; }
  bool op(std::string_view text) const { return is(K::kOperator) && now().text == text; }
  bool word(std::string_view text) const { return is(K::kName) && now().text == text; }
  bool any_word(Words words) const { return std::any_of(words.begin(), words.end(), [&](auto w) { return word(w); }); }
  bool skip_op(std::string_view text) {
    if (!op(text)) return false;
    next();
    return true;
  }
  bool skip_word(std::string_view text) {
    if (!word(text)) return false;
    next();
    return true;
  }
  bool failed() const { return error_.has_value(); }
  std::nullptr_t fail(int line, std::string_view why) {
    if (!error_) error_ = invalid("line {}: {}", line, why);
    return nullptr;
  }
  std::string describe() const {
    switch (now().kind) {
      case K::kEof: return "end of template";
      case K::kVariableEnd: return "end of print statement";
      case K::kBlockEnd: return "end of statement block";
      case K::kInteger: return "integer";
      case K::kFloat: return "float";
      default: return now().text;
    }
  }
  void expect_op(std::string_view text) {
    if (!skip_op(text)) fail(now().line, fmt::format("expected token '{}', got '{}'", text, describe()));
  }
  void expect(K kind, std::string_view what) {
    if (is(kind)) {
      next();
    } else {
      fail(now().line, fmt::format("expected token '{}', got '{}'", what, describe()));
    }
  }
  std::string expect_name() {
    std::string name = now().text;
    expect(K::kName, "name");
    return name;
  }

  // --- nodes
  static NodePtr make(Op op, int line) { return std::make_unique<Node>(op, line); }
  // Sets the height, once all children are there.
  NodePtr done(NodePtr node) {
    if (failed()) return nullptr;
    int height = 0;
    bool constant = node->op <= Op::kCompare && node->op != Op::kName && node->op != Op::kNamespaceRef && node->op != Op::kCall;
    if (node->op == Op::kFilter) constant = constant && !needs_context(node->name);
    if (node->op == Op::kConditional) constant = constant && node->c != nullptr;
    const auto see = [&](const NodePtr& child) {
      if (child == nullptr) return;
      height = std::max(height, child->height);
      constant = constant && child->constant;
    };
    const auto see_all = [&](const Nodes& children) { std::for_each(children.begin(), children.end(), see); };
    see(node->a), see(node->b), see(node->c), see(node->more), see(node->more_named), see(node->test_target);
    see_all(node->items), see_all(node->targets), see_all(node->defaults);
    see_all(node->body), see_all(node->otherwise), see_all(node->elifs);
    for (const auto& [name, child] : node->named) see(child);
    node->height = height + 1;
    node->constant = constant;
    if (node->height > 3 * depth_max_) return too_deep(node->line);
    return node;
  }
  static bool needs_context(const std::string& filter) {
    for (const auto name : {"map", "select", "reject", "selectattr", "rejectattr", "random"}) {
      if (filter == name) return true;
    }
    return false;
  }
  std::nullptr_t too_deep(int line) {
    if (!error_) error_ = exhausted("line {}: nested deeper than {} levels", line, depth_max_);
    return nullptr;
  }
  struct Depth {
    explicit Depth(Parser& p) : parser(p) {
      if (++parser.depth_ > parser.depth_max_) parser.too_deep(parser.now().line);
    }
    ~Depth() { --parser.depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;
    Parser& parser;
  };

  // --- statements
  Nodes subparse(Words ends) {
    Nodes body;
    const Depth depth(*this);
    while (!failed() && !is(K::kEof)) {
      const int line = now().line;
      if (is(K::kData)) {
        auto node = make(Op::kData, line);
        node->value = string(next().text);
        body.push_back(std::move(node));
      } else if (is(K::kVariableBegin)) {
        next();
        auto node = make(Op::kOutput, line);
        node->items.push_back(tuple());
        expect(K::kVariableEnd, "end of print statement");
        body.push_back(done(std::move(node)));
      } else if (is(K::kBlockBegin)) {
        next();
        if (ends.size() > 0 && any_word(ends)) return body;
        body.push_back(statement());
        expect(K::kBlockEnd, "end of statement block");
      } else {
        fail(line, "internal parsing error");
      }
    }
    return body;
  }
  // Body up to one of `ends`, which is left as the current token unless `drop`.
  Nodes statements(Words ends, bool drop = false) {
    skip_op(":");
    expect(K::kBlockEnd, "end of statement block");
    if (failed()) return {};
    Nodes body = subparse(ends);
    if (!failed() && is(K::kEof)) {
      fail(now().line, fmt::format("Unexpected end of template. Jinja was looking for the following tags: {}", fmt::join(ends, " or ")));
    }
    if (drop) next();
    return body;
  }

  NodePtr statement() {
    const Token token = now();
    const int line = token.line;
    if (!is(K::kName)) return fail(line, "tag name expected");
    const std::string& tag = token.text;
    if (tag == "for") return for_loop();
    if (tag == "if") return if_block();
    if (tag == "set") return assignment();
    if (tag == "macro") return macro();
    next();
    if (tag == "print") {
      auto node = make(Op::kOutput, line);
      while (!failed() && !is(K::kBlockEnd)) {
        if (!node->items.empty()) expect_op(",");
        node->items.push_back(expression());
      }
      return done(std::move(node));
    }
    if (tag == "with") return with();
    if (tag == "break") return make(Op::kBreak, line);
    if (tag == "continue") return make(Op::kContinue, line);
    if (tag == "generation") {
      auto node = make(Op::kCallBlock, line);
      node->generation = true;
      node->body = statements({"endgeneration"}, true);
      return done(std::move(node));
    }
    if (tag == "call") {
      auto node = make(Op::kCallBlock, line);
      if (op("(")) signature(*node);
      node->a = expression();
      if (!failed() && node->a->op != Op::kCall) return fail(line, "expected call");
      node->body = statements({"endcall"}, true);
      return done(std::move(node));
    }
    if (tag == "filter") {
      auto node = make(Op::kFilterBlock, line);
      node->a = filter(nullptr, true);
      node->body = statements({"endfilter"}, true);
      return done(std::move(node));
    }
    for (const auto known : {"include", "import", "from", "extends", "block", "autoescape"}) {
      if (tag == known) return fail(line, fmt::format("the tag '{}' is not implemented", tag));
    }
    return fail(line, fmt::format("Encountered unknown tag '{}'.", tag));
  }

  NodePtr for_loop() {
    auto node = make(Op::kFor, next().line);
    const size_t target_at = at_;
    node->a = assign_target("in", false);
    if (!skip_word("in")) return fail(now().line, fmt::format("expected token 'in', got '{}'", describe()));
    node->b = tuple(false, "recursive");
    if (skip_word("if")) {
      node->c = expression();
      const size_t here = at_;  // the target again, for the frame the test runs in
      if (!failed()) {
        at_ = target_at;
        node->test_target = assign_target("in", false);
        at_ = failed() ? at_ : here;
      }
    }
    node->recursive = skip_word("recursive");
    node->body = statements({"endfor", "else"});
    if (failed()) return nullptr;
    if (next().text != "endfor") node->otherwise = statements({"endfor"}, true);
    return done(std::move(node));
  }

  NodePtr if_block() {
    auto result = make(Op::kIf, next().line);
    Node* node = result.get();
    while (!failed()) {
      node->a = tuple(false);
      node->body = statements({"elif", "else", "endif"});
      if (failed()) return nullptr;
      const std::string end = next().text;
      if (end == "elif") {
        result->elifs.push_back(make(Op::kIf, now().line));
        node = result->elifs.back().get();
        continue;
      }
      if (end == "else") result->otherwise = statements({"endif"}, true);
      break;
    }
    if (failed()) return nullptr;
    for (auto& elif : result->elifs) elif = done(std::move(elif));
    return done(std::move(result));
  }

  NodePtr assignment() {
    const int line = next().line;
    auto target = assign_target("", true);
    if (skip_op("=")) {
      auto node = make(Op::kAssign, line);
      node->a = std::move(target);
      node->b = tuple();
      return done(std::move(node));
    }
    auto node = make(Op::kAssignBlock, line);
    node->a = std::move(target);
    node->b = filter(nullptr, false);
    node->body = statements({"endset"}, true);
    return done(std::move(node));
  }

  NodePtr with() {
    auto node = make(Op::kWith, now().line);
    while (!failed() && !is(K::kBlockEnd)) {
      if (!node->targets.empty()) expect_op(",");
      auto target = assign_target("", false);
      if (failed()) return nullptr;
      set_use(*target, NameUse::kParam);
      node->targets.push_back(std::move(target));
      expect_op("=");
      node->items.push_back(expression());
    }
    node->body = statements({"endwith"}, true);
    return done(std::move(node));
  }

  NodePtr macro() {
    auto node = make(Op::kMacro, next().line);
    auto name = name_target();
    if (failed()) return nullptr;
    node->name = name->name;
    signature(*node);
    node->body = statements({"endmacro"}, true);
    return done(std::move(node));
  }

  void signature(Node& node) {
    expect_op("(");
    while (!failed() && !op(")")) {
      if (!node.targets.empty()) expect_op(",");
      auto parameter = name_target();
      if (failed()) return;
      parameter->use = NameUse::kParam;
      if (skip_op("=")) {
        node.defaults.push_back(expression());
      } else if (!node.defaults.empty()) {
        fail(now().line, "non-default argument follows default argument");
      }
      node.targets.push_back(std::move(parameter));
    }
    expect_op(")");
  }

  // --- targets of assignments
  static bool reserved(const std::string& name) {
    for (const auto word : {"true", "false", "none", "True", "False", "None"}) {
      if (name == word) return true;
    }
    return false;
  }
  static bool can_assign(const Node& node) {
    if (node.op == Op::kName) return !reserved(node.name);
    if (node.op == Op::kNamespaceRef) return true;
    return node.op == Op::kTuple &&
           std::all_of(node.items.begin(), node.items.end(), [](const NodePtr& n) { return can_assign(*n); });
  }
  static void set_use(Node& node, NameUse use) {
    if (node.op == Op::kName) node.use = use;
    for (auto& item : node.items) set_use(*item, use);
  }
  NodePtr name_target() {
    auto node = make(Op::kName, now().line);
    node->name = expect_name();
    node->use = NameUse::kStore;
    if (!failed() && reserved(node->name)) return fail(node->line, "can't assign to 'name'");
    return done(std::move(node));
  }
  NodePtr assign_target(std::string_view end_word, bool with_namespace) {
    auto target = simple_tuple(end_word, with_namespace);
    if (failed()) return nullptr;
    if (!can_assign(*target)) return fail(target->line, "can't assign to this expression");
    set_use(*target, NameUse::kStore);
    return target;
  }

  // --- expressions
  bool tuple_end(std::string_view end_word) const {
    return is(K::kVariableEnd) || is(K::kBlockEnd) || op(")") || (!end_word.empty() && word(end_word));
  }
  template <typename One>
  NodePtr tuple_of(std::string_view end_word, bool parenthesised, One&& one) {
    int line = now().line;
    Nodes items;
    bool is_tuple = false;
    while (!failed()) {
      if (!items.empty()) expect_op(",");
      if (failed() || tuple_end(end_word)) break;
      items.push_back(one());
      if (!op(",")) break;
      is_tuple = true;
      line = now().line;
    }
    if (failed()) return nullptr;
    if (!is_tuple) {
      if (!items.empty()) return std::move(items[0]);
      if (!parenthesised) return fail(now().line, fmt::format("Expected an expression, got '{}'", describe()));
    }
    auto node = make(Op::kTuple, line);
    node->items = std::move(items);
    return done(std::move(node));
  }
  NodePtr tuple(bool with_conditional = true, std::string_view end_word = "", bool parenthesised = false) {
    return tuple_of(end_word, parenthesised, [&] { return expression(with_conditional); });
  }
  NodePtr simple_tuple(std::string_view end_word, bool with_namespace) {
    return tuple_of(end_word, false, [&] { return primary(with_namespace); });
  }

  NodePtr expression(bool with_conditional = true) {
    const Depth depth(*this);
    if (failed()) return nullptr;
    return with_conditional ? conditional() : logical_or();
  }
  NodePtr conditional() {
    const Depth depth(*this);
    int line = now().line;
    auto value = logical_or();
    while (!failed() && skip_word("if")) {
      auto node = make(Op::kConditional, line);
      node->a = std::move(value);
      node->b = logical_or();
      if (skip_word("else")) node->c = conditional();
      value = done(std::move(node));
      line = now().line;
    }
    return value;
  }
  NodePtr binary(Op op, int line, NodePtr left, NodePtr right) {
    auto node = make(op, line);
    node->a = std::move(left);
    node->b = std::move(right);
    return done(std::move(node));
  }
  NodePtr logical_or() {
    int line = now().line;
    auto left = logical_and();
    while (!failed() && skip_word("or")) {
      left = binary(Op::kOr, line, std::move(left), logical_and());
      line = now().line;
    }
    return left;
  }
  NodePtr logical_and() {
    int line = now().line;
    auto left = logical_not();
    while (!failed() && skip_word("and")) {
      left = binary(Op::kAnd, line, std::move(left), logical_not());
      line = now().line;
    }
    return left;
  }
  NodePtr logical_not() {
    if (!word("not")) return compare();
    const Depth depth(*this);
    if (failed()) return nullptr;
    auto node = make(Op::kNot, next().line);
    node->a = logical_not();
    return done(std::move(node));
  }
  NodePtr compare() {
    static constexpr std::pair<std::string_view, Compare> kOperators[] = {
        {"==", Compare::kEq}, {"!=", Compare::kNe}, {">", Compare::kGt},
        {">=", Compare::kGe}, {"<", Compare::kLt},  {"<=", Compare::kLe}};
    auto node = make(Op::kCompare, now().line);
    auto first = sum();
    while (!failed()) {
      std::optional<Compare> found;
      for (const auto& [text, how] : kOperators) {
        if (op(text)) found = how;
      }
      if (found) {
        next();
      } else if (skip_word("in")) {
        found = Compare::kIn;
      } else if (word("not") && look().kind == K::kName && look().text == "in") {
        next(), next();
        found = Compare::kNotIn;
      } else {
        break;
      }
      node->compares.push_back(*found);
      node->items.push_back(sum());
    }
    if (failed() || node->compares.empty()) return first;
    node->a = std::move(first);
    return done(std::move(node));
  }
  NodePtr sum() {
    int line = now().line;
    auto left = concat();
    while (!failed() && (op("+") || op("-"))) {
      const Op how = next().text == "+" ? Op::kAdd : Op::kSub;
      left = binary(how, line, std::move(left), concat());
      line = now().line;
    }
    return left;
  }
  NodePtr concat() {
    auto node = make(Op::kConcat, now().line);
    node->items.push_back(product());
    while (!failed() && skip_op("~")) node->items.push_back(product());
    if (failed()) return nullptr;
    if (node->items.size() == 1) return std::move(node->items[0]);
    return done(std::move(node));
  }
  NodePtr product() {
    int line = now().line;
    auto left = power();
    while (!failed() && (op("*") || op("/") || op("//") || op("%"))) {
      const std::string& text = next().text;
      const Op how = text == "*" ? Op::kMul : text == "/" ? Op::kDiv : text == "//" ? Op::kFloorDiv : Op::kMod;
      left = binary(how, line, std::move(left), power());
      line = now().line;
    }
    return left;
  }
  NodePtr power() {
    int line = now().line;
    auto left = unary();
    while (!failed() && skip_op("**")) {
      left = binary(Op::kPow, line, std::move(left), unary());
      line = now().line;
    }
    return left;
  }
  NodePtr unary(bool with_filter = true) {
    NodePtr node;
    if (op("-") || op("+")) {
      const Depth depth(*this);
      if (failed()) return nullptr;
      const bool minus = now().text == "-";
      auto sign = make(minus ? Op::kNeg : Op::kPos, next().line);
      sign->a = unary(false);
      node = done(std::move(sign));
    } else {
      node = primary();
    }
    node = postfix(std::move(node));
    return with_filter ? filter_expression(std::move(node)) : std::move(node);
  }
  NodePtr primary(bool with_namespace = false) {
    if (failed()) return nullptr;
    const Token& token = now();
    const int line = token.line;
    if (is(K::kName)) {
      next();
      auto node = make(Op::kConst, line);
      if (token.text == "true" || token.text == "True" || token.text == "false" || token.text == "False") {
        node->value = Value::boolean(token.text[0] == 't' || token.text[0] == 'T');
      } else if (token.text == "none" || token.text == "None") {
        node->value = Value::none();
      } else if (with_namespace && op(".")) {
        next();
        node = make(Op::kNamespaceRef, line);
        node->name = token.text;
        node->attribute = expect_name();
      } else {
        node = make(Op::kName, line);
        node->name = token.text;
      }
      return done(std::move(node));
    }
    if (is(K::kString)) {
      std::string text;
      while (is(K::kString)) text += next().text;
      auto node = make(Op::kConst, line);
      node->value = string(std::move(text));
      return done(std::move(node));
    }
    if (is(K::kInteger) || is(K::kFloat)) {
      auto node = make(Op::kConst, line);
      node->value = is(K::kInteger) ? Value::integer(token.integer) : Value::real(token.real);
      next();
      return done(std::move(node));
    }
    if (skip_op("(")) {
      auto node = tuple(true, "", true);
      expect_op(")");
      return failed() ? nullptr : std::move(node);
    }
    if (skip_op("[")) {
      auto node = make(Op::kList, line);
      while (!failed() && !op("]")) {
        if (!node->items.empty()) expect_op(",");
        if (failed() || op("]")) break;
        node->items.push_back(expression());
      }
      expect_op("]");
      return done(std::move(node));
    }
    if (skip_op("{")) {
      auto node = make(Op::kDict, line);
      while (!failed() && !op("}")) {
        if (!node->items.empty()) expect_op(",");
        if (failed() || op("}")) break;
        node->items.push_back(expression());
        expect_op(":");
        node->items.push_back(expression());
      }
      expect_op("}");
      return done(std::move(node));
    }
    return fail(line, fmt::format("unexpected '{}'", describe()));
  }
  NodePtr postfix(NodePtr node) {
    while (!failed()) {
      if (op(".") || op("[")) {
        node = subscript(std::move(node));
      } else if (op("(")) {
        node = call(std::move(node));
      } else {
        break;
      }
    }
    return node;
  }
  NodePtr filter_expression(NodePtr node) {
    while (!failed()) {
      if (op("|")) {
        node = filter(std::move(node), false);
      } else if (word("is")) {
        node = test(std::move(node));
      } else if (op("(")) {
        node = call(std::move(node));
      } else {
        break;
      }
    }
    return node;
  }
  NodePtr subscript(NodePtr object) {
    const int line = now().line;
    if (next().text == ".") {
      const Token token = next();
      if (token.kind == K::kName) {
        auto node = make(Op::kGetattr, line);
        node->a = std::move(object);
        node->name = token.text;
        return done(std::move(node));
      }
      if (token.kind != K::kInteger) return fail(token.line, "expected name or number");
      auto index = make(Op::kConst, token.line);
      index->constant = true;
      index->value = Value::integer(token.integer);
      auto node = make(Op::kGetitem, line);
      node->a = std::move(object);
      node->b = std::move(index);
      return done(std::move(node));
    }
    Nodes items;
    while (!failed() && !op("]")) {
      if (!items.empty()) expect_op(",");
      items.push_back(subscribed());
    }
    expect_op("]");
    if (failed()) return nullptr;
    auto node = make(Op::kGetitem, line);
    node->a = std::move(object);
    if (items.size() == 1) {
      node->b = std::move(items[0]);
    } else {
      auto all = make(Op::kTuple, line);
      all->items = std::move(items);
      node->b = done(std::move(all));
    }
    return done(std::move(node));
  }
  NodePtr subscribed() {
    auto node = make(Op::kSlice, now().line);
    if (!op(":")) {
      auto only = expression();
      if (failed() || !op(":")) return only;
      node->a = std::move(only);
    }
    next();
    const auto part_ends = [&] { return op("]") || op(","); };
    if (!op(":") && !part_ends()) node->b = expression();
    if (skip_op(":") && !part_ends()) node->c = expression();
    return done(std::move(node));
  }
  void call_arguments(Node& node) {
    const int line = now().line;
    expect_op("(");
    bool comma = false;
    const auto ensure = [&](bool ok) {
      if (!ok) fail(line, "invalid syntax for function call expression");
    };
    while (!failed() && !op(")")) {
      if (comma) {
        expect_op(",");
        if (failed() || op(")")) break;
      }
      if (op("*")) {
        ensure(node.more == nullptr && node.more_named == nullptr);
        next();
        node.more = expression();
      } else if (op("**")) {
        ensure(node.more_named == nullptr);
        next();
        node.more_named = expression();
      } else if (is(K::kName) && look().kind == K::kOperator && look().text == "=") {
        ensure(node.more_named == nullptr);
        std::string key = next().text;
        next();
        node.named.emplace_back(std::move(key), expression());
      } else {
        ensure(node.more == nullptr && node.more_named == nullptr && node.named.empty());
        node.items.push_back(expression());
      }
      comma = true;
    }
    expect_op(")");
  }
  NodePtr call(NodePtr callee) {
    auto node = make(Op::kCall, now().line);
    node->a = std::move(callee);
    call_arguments(*node);
    return done(std::move(node));
  }
  std::string dotted_name() {
    std::string name = expect_name();
    while (!failed() && skip_op(".")) {
      name += '.';
      name += expect_name();
    }
    return name;
  }
  NodePtr filter(NodePtr value, bool inline_start) {
    while (!failed() && (inline_start || op("|"))) {
      if (!inline_start) next();
      inline_start = false;
      auto node = make(Op::kFilter, now().line);
      node->name = dotted_name();
      if (!failed() && op("(")) call_arguments(*node);
      node->a = std::move(value);
      value = done(std::move(node));
    }
    return value;
  }
  NodePtr test(NodePtr value) {
    auto node = make(Op::kTest, next().line);
    node->negated = skip_word("not");
    node->name = dotted_name();
    if (failed()) return nullptr;
    if (op("(")) {
      call_arguments(*node);
    } else if ((is(K::kName) || is(K::kString) || is(K::kInteger) || is(K::kFloat) || op("[") || op("{")) &&
               !any_word({"else", "or", "and"})) {
      if (word("is")) return fail(now().line, "You cannot chain multiple tests with is");
      node->items.push_back(postfix(primary()));
    }
    node->a = std::move(value);
    return done(std::move(node));
  }

  static Value string(std::string text) {
    auto object = std::make_shared<Str>();
    object->length = utf8_length(text);
    object->text = std::move(text);
    Value value;
    value.kind = Kind::kStr;
    value.object = std::move(object);
    return value;
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_max_;
  int depth_ = 0;
  std::optional<Error> error_;
};

}  // namespace

Result<std::unique_ptr<Template>> parse_template(std::string_view source, int depth_max) {
  if (!valid_utf8(source)) return invalid("the template is not UTF-8");
  ASSIGN_OR_RETURN(auto tokens, tokenize(source));
  ASSIGN_OR_RETURN(auto tree, Parser(std::move(tokens), depth_max).run());
  RETURN_IF_ERROR(resolve_names(*tree));
  return tree;
}

}  // namespace colony::text::jinja
