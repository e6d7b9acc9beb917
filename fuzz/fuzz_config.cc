// config.json: whatever it says, a config that every later size can be computed from, or an error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "model/config.h"
#include "model/rope_table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace colony;
  const auto json = parse_json(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!json) return 0;
  const auto config = model::parse_model_config(*json, "fuzz");
  if (!config) return 0;
  CHECK(config->hidden_size > 0 && config->head_dim > 0 && config->vocab_size > 0 && config->num_key_value_heads > 0, "a config with nothing in it");
  CHECK(config->num_attention_heads % config->num_key_value_heads == 0, "heads that do not share evenly");
  return 0;
}
