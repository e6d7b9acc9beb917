// tokenizer.json: an error, or a tokenizer that survives text and its own ids.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace colony;
  const auto json = parse_json(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!json) return 0;
  const auto made = text::Tokenizer::from_json(*json, Json());
  if (!made) return 0;
  const auto& tokenizer = **made;
  for (const char* text : {"", "Hello  world 123!", " \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 the\n\n\tthe ", "<s>a</s> <|im_end|>"}) {
    for (const bool special : {false, true}) {
      const auto ids = tokenizer.encode(text, special);
      if (!ids) continue;
      for (const int32_t id : *ids) CHECK(id >= 0, "an id below zero");
      (void)tokenizer.decode(*ids, special);
    }
  }
  std::vector<int32_t> ids;
  for (int32_t id = -2; id < 300; ++id) {
    ids.push_back(id);
    (void)tokenizer.bytes_of(id);
    (void)tokenizer.token(id);
  }
  (void)tokenizer.decode(ids, true);
  text::StreamDecoder stream(*made, true);
  for (const int32_t id : ids) (void)stream.push(id);
  (void)stream.finish();
  return 0;
}
