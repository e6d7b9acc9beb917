#include "text/chat_template.h"

#include "text/jinja_interpreter.h"
#include "text/jinja_parser.h"

namespace colony::text {

struct ChatTemplate::State {
  TemplateLimits limits;
  std::unique_ptr<jinja::Template> tree;
};

ChatTemplate::ChatTemplate() : state_(std::make_unique<State>()) {}
ChatTemplate::~ChatTemplate() = default;

Result<std::shared_ptr<const ChatTemplate>> ChatTemplate::parse(std::string_view source,
                                                                const TemplateLimits& limits) {
  std::shared_ptr<ChatTemplate> made(new ChatTemplate);
  made->state_->limits = limits;
  auto tree = jinja::parse_template(source, limits.depth_max);
  if (!tree) return std::move(tree).error().in("chat template");
  made->state_->tree = std::move(*tree);
  return std::shared_ptr<const ChatTemplate>(std::move(made));
}

Result<std::string> ChatTemplate::render(const Json& variables, int64_t now_unix_ms) const {
  return jinja::Interpreter(*state_->tree, state_->limits, now_unix_ms).render(variables);
}

}  // namespace colony::text
