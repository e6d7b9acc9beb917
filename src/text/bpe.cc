#include "text/bpe.h"

#include <algorithm>
#include <array>
#include <bit>
#include <queue>

#include "text/unicode.h"

namespace colony::text {
namespace {

struct ByteChars {
  std::array<int32_t, 256> chars{};
  std::array<int16_t, 0x144> bytes{};
  ByteChars() {
    bytes.fill(-1);
    int32_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
      chars[static_cast<size_t>(b)] = printable ? b : next++;
      bytes[static_cast<size_t>(chars[static_cast<size_t>(b)])] = static_cast<int16_t>(b);
    }
  }
};
const ByteChars& byte_chars() {
  static const ByteChars table;
  return table;
}

constexpr int64_t kIdMax = 1 << 24;

}  // namespace

int32_t byte_to_char(uint8_t byte) { return byte_chars().chars[byte]; }
int char_to_byte(int32_t c) {
  return c >= 0 && c < static_cast<int32_t>(byte_chars().bytes.size()) ? byte_chars().bytes[static_cast<size_t>(c)] : -1;
}

std::string spelling_of_bytes(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) append_utf8(byte_to_char(static_cast<uint8_t>(c)), out);
  return out;
}

std::optional<std::string> bytes_of_spelling(std::string_view token) {
  std::string bytes;
  for (size_t i = 0; i < token.size();) {
    const auto c = code_point(token, i);
    const int byte = char_to_byte(c.value);
    if (byte < 0) return std::nullopt;
    bytes += static_cast<char>(byte);
    i += static_cast<size_t>(c.size);
  }
  return bytes;
}

void Bpe::PairTable::reserve(size_t pairs) {
  const size_t size = std::bit_ceil(std::max<size_t>(16, pairs * 2));
  slots_.assign(size, Slot{});
  shift_ = 64 - std::countr_zero(size);
}
void Bpe::PairTable::add(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = key_of(left, right);
  for (size_t i = slot_of(key);; i = (i + 1) & (slots_.size() - 1)) {
    if (slots_[i].key == key) return;
    if (slots_[i].key == UINT64_MAX) {
      slots_[i] = {key, merge};
      return;
    }
  }
}
const Bpe::Merge* Bpe::PairTable::find(int32_t left, int32_t right) const {
  const uint64_t key = key_of(left, right);
  for (size_t i = slot_of(key);; i = (i + 1) & (slots_.size() - 1)) {
    if (slots_[i].key == key) return &slots_[i].merge;
    if (slots_[i].key == UINT64_MAX) return nullptr;
  }
}

void Bpe::index_bytes() {
  byte_ids_.assign(256, -1);
  for (int b = 0; b < 256; ++b) {
    std::string spelled;
    if (byte_level_) append_utf8(byte_to_char(static_cast<uint8_t>(b)), spelled);
    else spelled = fmt::format("<0x{:02X}>", b);
    const auto at = vocabulary_.find(spelled);
    if (at != vocabulary_.end()) byte_ids_[static_cast<size_t>(b)] = at->second;
  }
  if (!byte_level_ || !ignore_merges_) return;
  for (const auto& [token, id] : vocabulary_) {
    if (auto bytes = bytes_of_spelling(token)) by_bytes_.emplace(std::move(*bytes), id);
  }
}

Result<Bpe> Bpe::parse(const Json& model, bool byte_level) {
  const std::string what = "tokenizer.json model BPE";
  Bpe bpe;
  bpe.byte_level_ = byte_level;
  const auto flag = [&](const char* key, bool& into) -> Status {
    ASSIGN_OR_RETURN(const auto value, get_bool(model, key, what));
    into = value.value_or(false);
    return {};
  };
  RETURN_IF_ERROR(flag("byte_fallback", bpe.byte_fallback_));
  RETURN_IF_ERROR(flag("fuse_unk", bpe.fuse_unk_));
  RETURN_IF_ERROR(flag("ignore_merges", bpe.ignore_merges_));
  ASSIGN_OR_RETURN(const auto dropout, get_number(model, "dropout", what));
  if (dropout && *dropout != 0) return invalid("{}: dropout {} is not supported", what, *dropout);
  ASSIGN_OR_RETURN(const auto prefix, get_string(model, "continuing_subword_prefix", what));
  ASSIGN_OR_RETURN(const auto suffix, get_string(model, "end_of_word_suffix", what));
  bpe.prefix_ = prefix.value_or("");
  bpe.suffix_ = suffix.value_or("");
  if (byte_level && (!bpe.prefix_.empty() || !bpe.suffix_.empty())) {
    return invalid("{}: subword prefix or suffix with ByteLevel is not supported", what);
  }
  if (!model.contains("vocab") || !model["vocab"].is_object()) return invalid("{}: \"vocab\" must be an object", what);
  const Json& vocab = model["vocab"];
  bpe.vocabulary_.reserve(vocab.size());
  for (const auto& [token, id] : vocab.items()) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > kIdMax) {
      return invalid("{}: vocab[\"{}\"] is {}, expected an id from 0 to {}", what, token, to_line(id), kIdMax);
    }
    bpe.vocabulary_.emplace(token, id.get<int32_t>());
  }
  ASSIGN_OR_RETURN(const auto unk, get_string(model, "unk_token", what));
  if (unk) {
    const auto at = bpe.vocabulary_.find(*unk);
    if (at != bpe.vocabulary_.end()) bpe.unk_ = at->second;
  }
  if (!model.contains("merges") || !model["merges"].is_array()) return invalid("{}: \"merges\" must be a list", what);
  const Json& merges = model["merges"];
  bpe.pairs_.reserve(merges.size());
  uint32_t rank = 0;
  for (const auto& merge : merges) {
    std::string left, right;
    if (merge.is_string()) {
      const auto text = merge.get<std::string>();
      const size_t space = text.find(' ');
      if (space == std::string::npos || space == 0 || text.find(' ', space + 1) != std::string::npos) {
        return invalid("{}: merge {} is \"{}\", expected two tokens with one space between", what, rank, text);
      }
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      left = merge[0].get<std::string>();
      right = merge[1].get<std::string>();
    } else {
      return invalid("{}: merge {} must be \"a b\" or [\"a\", \"b\"]", what, rank);
    }
    std::string joined = left;
    joined += bpe.prefix_.empty() || !right.starts_with(bpe.prefix_) ? right : right.substr(bpe.prefix_.size());
    const auto l = bpe.vocabulary_.find(left), r = bpe.vocabulary_.find(right), j = bpe.vocabulary_.find(joined);
    if (l == bpe.vocabulary_.end() || r == bpe.vocabulary_.end() || j == bpe.vocabulary_.end()) {
      return invalid("{}: merge {} (\"{}\", \"{}\") names a token that is not in the vocabulary", what, rank, left, right);
    }
    bpe.pairs_.add(l->second, r->second, {rank++, j->second});
  }
  bpe.index_bytes();
  return bpe;
}

Result<Bpe> Bpe::from_merges(const std::vector<std::string>& tokens, const std::vector<std::string>& merges,
                             bool ignore_merges) {
  Bpe bpe;
  bpe.byte_level_ = true;
  bpe.ignore_merges_ = ignore_merges;
  bpe.vocabulary_.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) bpe.vocabulary_.emplace(tokens[i], static_cast<int32_t>(i));
  bpe.pairs_.reserve(merges.size());
  uint32_t rank = 0;
  std::string joined;
  for (const auto& merge : merges) {
    const size_t space = merge.find(' ', 1);
    if (space == std::string::npos) return invalid("tokenizer.ggml.merges[{}] is \"{}\", expected two tokens", rank, merge);
    const std::string_view left(merge.data(), space), right(merge.data() + space + 1, merge.size() - space - 1);
    joined.assign(left).append(right);
    const auto l = bpe.vocabulary_.find(left), r = bpe.vocabulary_.find(right), j = bpe.vocabulary_.find(joined);
    if (l == bpe.vocabulary_.end() || r == bpe.vocabulary_.end() || j == bpe.vocabulary_.end()) {
      return invalid("tokenizer.ggml.merges[{}] (\"{}\") names a token that is not in the vocabulary", rank, merge);
    }
    bpe.pairs_.add(l->second, r->second, {rank++, j->second});
  }
  bpe.index_bytes();
  return bpe;
}

Result<Bpe> Bpe::from_scores(const std::vector<std::string>& tokens, const std::vector<float>& scores,
                             std::optional<int32_t> unk) {
  if (scores.size() != tokens.size()) {
    return invalid("tokenizer.ggml.scores has {} entries, tokens has {}", scores.size(), tokens.size());
  }
  Bpe bpe;
  bpe.byte_fallback_ = true;
  bpe.unk_ = unk;
  for (size_t i = 0; i < tokens.size(); ++i) bpe.vocabulary_.emplace(tokens[i], static_cast<int32_t>(i));
  // Ranks: one for each distinct score, highest first; equal scores merge leftmost first.
  std::vector<float> order(scores);
  std::sort(order.begin(), order.end(), std::greater<>());
  order.erase(std::unique(order.begin(), order.end()), order.end());
  struct Found {
    int32_t left, right;
    Merge merge;
  };
  std::vector<Found> found;
  for (const auto& [token, id] : bpe.vocabulary_) {
    const auto rank = static_cast<uint32_t>(
        std::lower_bound(order.begin(), order.end(), scores[static_cast<size_t>(id)], std::greater<>()) - order.begin());
    for (size_t cut = 0; cut < token.size();) {
      cut += static_cast<size_t>(code_point(token, cut).size);
      if (cut >= token.size()) break;
      const auto l = bpe.vocabulary_.find(std::string_view(token).substr(0, cut));
      if (l == bpe.vocabulary_.end()) continue;
      const auto r = bpe.vocabulary_.find(std::string_view(token).substr(cut));
      if (r != bpe.vocabulary_.end()) found.push_back({l->second, r->second, {rank, id}});
    }
  }
  bpe.pairs_.reserve(found.size());
  for (const auto& f : found) bpe.pairs_.add(f.left, f.right, f.merge);
  bpe.index_bytes();
  return bpe;
}

void Bpe::symbols_of(std::string_view piece, std::vector<int32_t>& ids) const {
  if (byte_level_) {
    for (const char c : piece) {
      const int32_t id = byte_ids_[static_cast<unsigned char>(c)];
      if (id >= 0) ids.push_back(id);
      else if (unk_) ids.push_back(*unk_);
    }
    return;
  }
  bool fusing = false;  // the last symbol is an unk that the next one may join
  std::string symbol;
  for (size_t i = 0; i < piece.size();) {
    const auto size = static_cast<size_t>(code_point(piece, i).size);
    const std::string_view plain = piece.substr(i, size);
    const bool first = i == 0, last = i + size == piece.size();
    i += size;
    symbol.assign(first ? "" : prefix_).append(plain);
    if (last) symbol.append(suffix_);
    if (const auto at = vocabulary_.find(symbol); at != vocabulary_.end()) {
      ids.push_back(at->second);
      fusing = false;
      continue;
    }
    if (byte_fallback_) {
      bool all = true;
      for (const char c : symbol) all = all && byte_ids_[static_cast<unsigned char>(c)] >= 0;
      if (all) {
        for (const char c : symbol) ids.push_back(byte_ids_[static_cast<unsigned char>(c)]);
        fusing = false;
        continue;
      }
    }
    if (!unk_ || (fuse_unk_ && fusing)) continue;
    ids.push_back(*unk_);
    fusing = true;
  }
}

void Bpe::merge_short(std::vector<int32_t>& ids, size_t from) const {
  for (;;) {
    const Merge* best = nullptr;
    size_t at = 0;
    for (size_t i = from; i + 1 < ids.size(); ++i) {
      const Merge* m = pairs_.find(ids[i], ids[i + 1]);
      if (m != nullptr && (best == nullptr || m->rank < best->rank)) best = m, at = i;
    }
    if (best == nullptr) return;
    ids[at] = best->id;
    ids.erase(ids.begin() + static_cast<int64_t>(at) + 1);
  }
}

void Bpe::merge_long(std::vector<int32_t>& ids, size_t from) const {
  struct Symbol {
    int32_t id, previous, next;
  };
  struct Entry {
    uint32_t rank;
    int32_t left, id;
    bool operator<(const Entry& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
  };
  const auto count = static_cast<int32_t>(ids.size() - from);
  std::vector<Symbol> symbols(static_cast<size_t>(count));
  for (int32_t i = 0; i < count; ++i) {
    symbols[static_cast<size_t>(i)] = {ids[from + static_cast<size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1};
  }
  std::priority_queue<Entry> queue;
  const auto offer = [&](int32_t left) {
    if (left < 0) return;
    const auto& l = symbols[static_cast<size_t>(left)];
    if (l.next < 0) return;
    if (const Merge* m = pairs_.find(l.id, symbols[static_cast<size_t>(l.next)].id)) queue.push({m->rank, left, m->id});
  };
  for (int32_t i = 0; i + 1 < count; ++i) offer(i);
  while (!queue.empty()) {
    const Entry top = queue.top();
    queue.pop();
    auto& l = symbols[static_cast<size_t>(top.left)];
    if (l.id < 0 || l.next < 0) continue;
    auto& r = symbols[static_cast<size_t>(l.next)];
    const Merge* m = pairs_.find(l.id, r.id);
    if (m == nullptr || m->id != top.id || m->rank != top.rank) continue;  // stale
    l.id = m->id;
    r.id = -1;
    l.next = r.next;
    if (l.next >= 0) symbols[static_cast<size_t>(l.next)].previous = top.left;
    offer(l.previous);
    offer(top.left);
  }
  ids.resize(from);
  for (int32_t i = 0; i >= 0; i = symbols[static_cast<size_t>(i)].next) ids.push_back(symbols[static_cast<size_t>(i)].id);
}

void Bpe::encode(std::string_view piece, std::vector<int32_t>& ids) const {
  if (piece.empty()) return;
  if (ignore_merges_) {
    const Vocabulary& whole = byte_level_ ? by_bytes_ : vocabulary_;
    if (const auto at = whole.find(piece); at != whole.end()) {
      ids.push_back(at->second);
      return;
    }
  }
  const size_t from = ids.size();
  symbols_of(piece, ids);
  if (ids.size() - from <= 1) return;
  ids.size() - from <= 48 ? merge_short(ids, from) : merge_long(ids, from);
}

}  // namespace colony::text
