// Bytes → template → rendering over a small conversation, under small limits.
// Wanted: a text or an error; never a crash, a leak, an endless loop.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace colony;
  static const Json variables = *parse_json(R"({
    "messages": [
      {"role": "system", "content": "Be kind."},
      {"role": "user", "content": "Gr\u00fc\u00dfe \ud83e\uddd1 <|im_end|>"},
      {"role": "assistant", "content": null, "tool_calls": [{"id": "abcdef123", "function": {"name": "f", "arguments": {"a": [1, 2.5, true]}}}]},
      {"role": "tool", "content": "{}"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "array"}}}}}],
    "documents": null, "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>", "n": 7, "l": [3, 1, 2]})");
  const text::TemplateLimits limits{.steps_max = 20'000, .output_bytes_max = 64 << 10, .depth_max = 60};
  const auto made = text::ChatTemplate::parse(std::string_view(reinterpret_cast<const char*>(data), size), limits);
  if (made) {
    const auto text = (*made)->render(variables, 1'769'961'603'250);
    if (text && text->size() > limits.output_bytes_max) __builtin_trap();
  }
  return 0;
}
