// tokenizer.json's "pre_tokenizer": where words may end, so that no token crosses (hf_compat 2.3, 2.4).
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/normalizer.h"

namespace colony::text {

// A piece of the normalised text; at_start: it begins where the original text does.
struct Piece {
  std::string text;
  bool at_start = false;
};

class PreTokenizer {
 public:
  static Result<PreTokenizer> parse(const Json& json);  // null: one that changes nothing
  // As a GGUF file names them: "smollm", "gpt-2", "llama-bpe", "qwen2", …. Fails kInvalid.
  static Result<PreTokenizer> from_gguf_name(const std::string& pre);

  Result<std::vector<Piece>> apply(Piece piece) const;
  // A step is ByteLevel: the vocabulary is spelled in GPT-2's byte characters.
  bool byte_level() const { return byte_level_; }
  // It is the last step, so the pieces keep their bytes and the model works on those. Otherwise the
  // steps after it see its spelling, and the pieces are spelled.
  bool raw_bytes() const { return raw_bytes_; }

 private:
  struct Step {
    enum class Kind { kGpt2, kLlama3, kSplit, kDigits, kMetaspace, kPrefixSpace, kWhitespaceSplit, kWhitespace, kPunctuation, kSpell };
    enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };
    enum class Prepend { kAlways, kFirst, kNever };
    Kind kind = Kind::kGpt2;
    int digits_max = 3;  // kLlama3
    Pattern pattern{};   // kSplit
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;
    std::string replacement{};  // kMetaspace
    Prepend prepend = Prepend::kAlways;
    bool split = true;
  };
  static Status add(const Json& json, int depth, PreTokenizer& out);
  static Result<std::vector<Piece>> run(const Step& step, Piece piece);
  // A stretch of the text, and whether it matched; a match may be empty.
  struct Cut {
    size_t begin, end;
    bool matched;
  };
  static std::vector<Piece> split_by(const Step& step, const Piece& piece, const std::vector<Cut>& cuts);

  std::vector<Step> steps_;
  bool byte_level_ = false, raw_bytes_ = false;
};

// One match of GPT-2's pattern, and of Llama-3's and Qwen's (they differ in the digits a number may
// have), at `at`: where it ends. Hand-written, equal to the regular expressions. Needs at < size.
size_t scan_gpt2(std::string_view text, size_t at);
size_t scan_llama3(std::string_view text, size_t at, int digits_max);

inline constexpr char kGpt2Pattern[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr char kLlama3Pattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr char kQwenPattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

}  // namespace colony::text
