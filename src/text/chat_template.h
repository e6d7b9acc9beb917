// Chat templates: the Jinja that Hugging Face models carry, interpreted within limits.
//
// Exact against Python's Jinja2 3.1 in HF's environment (ImmutableSandboxedEnvironment, trim_blocks,
// lstrip_blocks, loopcontrols, HF's tojson, raise_exception, strftime_now); hf_compat part 3.
// A template is data from outside: it reaches nothing but its variables, and a hostile one ends in
// an error, never in a crash or an endless loop.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace colony::text {

struct TemplateLimits {
  uint64_t steps_max = 2'000'000;     // nodes evaluated
  uint64_t output_bytes_max = 16 << 20;
  int depth_max = 100;                // nesting of expressions, blocks and calls
};

class ChatTemplate {
 public:
  // Fails kInvalid: syntax error with line, or a construct that is not implemented.
  static Result<std::shared_ptr<const ChatTemplate>> parse(std::string_view source,
                                                           const TemplateLimits& limits = {});
  ~ChatTemplate();

  // `variables`: messages, tools, documents, add_generation_prompt, bos_token, …; key order is kept.
  // now_unix_ms: what strftime_now sees. Fails kInvalid (what Jinja2 raises, or raise_exception's
  // message), kExhausted (limits). Threads: any.
  Result<std::string> render(const Json& variables, int64_t now_unix_ms) const;

 private:
  ChatTemplate();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace colony::text
