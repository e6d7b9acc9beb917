// For tests: a byte-level tokenizer of 256 bytes, some longer tokens and one special token.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/json.h"
#include "text/tokenizer.h"

namespace colony::engine {

// Ids: 0 "<|end|>" (special), 1 to 256 the bytes 0 to 255, then `longer` in order; each of these is
// made by merging its letters from the left.
inline std::shared_ptr<const text::Tokenizer> small_tokenizer(const std::vector<std::string>& longer) {
  // GPT-2's letters for bytes.
  std::vector<std::string> letters(256);
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool plain = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    const int code = plain ? byte : next++;
    std::string& letter = letters[static_cast<size_t>(byte)];
    if (code < 128) {
      letter = std::string(1, static_cast<char>(code));
    } else {
      letter = {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 63))};
    }
  }
  Json vocab = Json::object(), merges = Json::array();
  vocab["<|end|>"] = 0;
  for (size_t byte = 0; byte < 256; ++byte) vocab[letters[byte]] = byte + 1;
  for (size_t i = 0; i < longer.size(); ++i) {
    std::string left = letters[static_cast<uint8_t>(longer[i][0])];
    for (size_t k = 1; k < longer[i].size(); ++k) {
      const std::string& right = letters[static_cast<uint8_t>(longer[i][k])];
      const std::string merged = left + right;
      if (!vocab.contains(merged) || k + 1 == longer[i].size()) merges.push_back(left + " " + right);
      left = merged;
      CHECK(k + 1 == longer[i].size() || vocab.contains(left), "give the shorter ones first");
    }
    vocab[left] = 257 + i;
  }
  const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  const Json tokenizer = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", Json::array({{{"id", 0}, {"content", "<|end|>"}, {"single_word", false}, {"lstrip", false},
                                     {"rstrip", false}, {"normalized", false}, {"special", true}}})},
      {"normalizer", nullptr},
      {"pre_tokenizer", byte_level},
      {"post_processor", nullptr},
      {"decoder", byte_level},
      {"model", {{"type", "BPE"}, {"dropout", nullptr}, {"unk_token", nullptr}, {"continuing_subword_prefix", nullptr},
                 {"end_of_word_suffix", nullptr}, {"fuse_unk", false}, {"byte_fallback", false},
                 {"vocab", vocab}, {"merges", merges}}}};
  auto made = text::Tokenizer::from_json(tokenizer, Json());
  CHECK(made.has_value(), made ? "" : made.error().message);
  return *made;
}

}  // namespace colony::engine
