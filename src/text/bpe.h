// Byte-pair encoding: the lowest-ranked adjacent pair merges first, leftmost first.
//
// Source: huggingface/tokenizers models/bpe (hf_compat 2.4). Words of up to 48 symbols are merged by
// scanning; longer ones with a heap, so that "a" a million times stays O(n log n).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace colony::text {

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
using Vocabulary = std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>>;

class Bpe {
 public:
  // tokenizer.json's "model" of type BPE. byte_level: the vocabulary is spelled in GPT-2's byte
  // characters, and encode() gets raw bytes. Fails kInvalid naming the field or merge.
  static Result<Bpe> parse(const Json& model, bool byte_level);
  // merges as "a b"; ids are positions in `tokens`.
  static Result<Bpe> from_merges(const std::vector<std::string>& tokens, const std::vector<std::string>& merges,
                                 bool ignore_merges);
  // SentencePiece as llama.cpp runs it: of all adjacent pairs that join to a token, the one with the
  // highest score merges first. Unknown characters fall back to bytes, then to unk.
  static Result<Bpe> from_scores(const std::vector<std::string>& tokens, const std::vector<float>& scores,
                                 std::optional<int32_t> unk);

  // Appends the ids of one piece.
  void encode(std::string_view piece, std::vector<int32_t>& ids) const;
  // As the file spells them.
  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  struct Merge {
    uint32_t rank = 0;
    int32_t id = 0;
  };
  // Open addressing over (left, right), for the innermost loop.
  class PairTable {
   public:
    void reserve(size_t pairs);
    // The first rank given to a pair stays.
    void add(int32_t left, int32_t right, Merge merge);
    const Merge* find(int32_t left, int32_t right) const;

   private:
    struct Slot {
      uint64_t key = UINT64_MAX;
      Merge merge;
    };
    static uint64_t key_of(int32_t left, int32_t right) {
      return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
    }
    size_t slot_of(uint64_t key) const { return (key * 0x9E3779B97F4A7C15ULL) >> shift_; }
    std::vector<Slot> slots_;
    int shift_ = 63;
  };

  void index_bytes();
  void symbols_of(std::string_view piece, std::vector<int32_t>& ids) const;
  void merge_short(std::vector<int32_t>& ids, size_t from) const;
  void merge_long(std::vector<int32_t>& ids, size_t from) const;

  Vocabulary vocabulary_;
  Vocabulary by_bytes_;  // byte level: whole words as raw bytes, for ignore_merges
  PairTable pairs_;
  std::vector<int32_t> byte_ids_;  // [256]: byte level, or <0xXX>; -1 when absent
  bool byte_level_ = false, byte_fallback_ = false, fuse_unk_ = false, ignore_merges_ = false;
  std::optional<int32_t> unk_;
  std::string prefix_, suffix_;
};

// GPT-2's spelling of a byte: printable ones as themselves, the others from U+0100 on.
int32_t byte_to_char(uint8_t byte);
// The byte a character spells; -1 when none.
int char_to_byte(int32_t code_point);
std::string spelling_of_bytes(std::string_view bytes);
// A token's bytes under that spelling; nullopt when a character spells none.
std::optional<std::string> bytes_of_spelling(std::string_view token);

}  // namespace colony::text
