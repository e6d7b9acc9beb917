// tokenizer.json's "decoder": token spellings back to text (hf_compat 2.4).
#pragma once
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/normalizer.h"

namespace colony::text {

class Decoder {
 public:
  static Result<Decoder> parse(const Json& json);  // null: tokens are joined with spaces
  static Decoder byte_level();
  static Decoder llama();  // Replace ▁, ByteFallback, Fuse, Strip one leading space
  // Always UTF-8.
  std::string apply(std::vector<std::string> tokens) const;

 private:
  struct Step {
    enum class Kind { kByteLevel, kReplace, kByteFallback, kFuse, kStrip, kMetaspace };
    Kind kind = Kind::kFuse;
    std::string what, with;          // Replace; Strip: what; Metaspace: what
    size_t start = 0, stop = 0;      // Strip
    bool drop_first = false;         // Metaspace: leading ones of the first token vanish
  };
  static Status add(const Json& json, int depth, std::vector<Step>& steps);
  std::vector<Step> steps_;
};

}  // namespace colony::text
