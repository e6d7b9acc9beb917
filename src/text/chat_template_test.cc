#include "text/chat_template.h"

#include <gtest/gtest.h>

namespace colony::text {
namespace {

std::string render(std::string_view source, const Json& variables = Json::object()) {
  auto made = ChatTemplate::parse(source);
  if (!made) return "parse error: " + made.error().message;
  auto text = (*made)->render(variables, 0);
  return text ? *text : "error: " + text.error().message;
}

TEST(ChatTemplate, RendersMessagesInOrder) {
  const Json variables = *parse_json(R"({"messages":[{"role":"user","content":" hi "},{"role":"assistant","content":"x"}]})");
  EXPECT_EQ(render("{% for m in messages %}\n<{{ m.role }}>{{ m['content']|trim }}{% if not loop.last %},{% endif %}\n{% endfor %}\n", variables),
            "<user>hi,<assistant>x");
}

}  // namespace
}  // namespace colony::text
