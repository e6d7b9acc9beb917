#include "text/tokenizer.h"

#include <algorithm>
#include <map>

#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/unicode.h"

namespace colony::text {
namespace {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool single_word = false, lstrip = false, rstrip = false, normalized = false, special = false;
};

// Finds the longest of a set of strings at a position: a trie over bytes.
class Matcher {
 public:
  void add(std::string_view text, size_t index) {
    size_t node = 0;
    for (const char c : text) {
      auto& children = nodes_[node].next;
      const auto at = std::find_if(children.begin(), children.end(), [c](const auto& e) { return e.first == c; });
      if (at != children.end()) {
        node = at->second;
      } else {
        const size_t made = nodes_.size();
        children.emplace_back(c, made);
        nodes_.emplace_back();
        node = made;
      }
    }
    nodes_[node].index = index;
  }
  bool empty() const { return nodes_.size() == 1; }
  // (index, length) of the longest member that begins at `at`.
  std::optional<std::pair<size_t, size_t>> longest(std::string_view text, size_t at) const {
    std::optional<std::pair<size_t, size_t>> best;
    size_t node = 0;
    for (size_t i = at; i < text.size(); ++i) {
      const auto& children = nodes_[node].next;
      const auto next = std::find_if(children.begin(), children.end(), [&](const auto& e) { return e.first == text[i]; });
      if (next == children.end()) break;
      node = next->second;
      if (nodes_[node].index != SIZE_MAX) best = {nodes_[node].index, i + 1 - at};
    }
    return best;
  }

 private:
  struct Node {
    std::vector<std::pair<char, size_t>> next;
    size_t index = SIZE_MAX;
  };
  std::vector<Node> nodes_ = std::vector<Node>(1);
};

// Text, or an added token that was cut out of it.
struct Segment {
  std::string text;
  int32_t id = -1;
  bool at_start = false;
};

}  // namespace

struct Tokenizer::State {
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::optional<Bpe> bpe;
  Decoder decoder;
  std::vector<AddedToken> added;
  Matcher raw, raw_plain, normalized, normalized_plain;  // plain: without special tokens
  std::vector<int32_t> before, after;                    // the post-processor's template
  std::vector<std::string> tokens;                       // by id
  std::vector<uint8_t> known, special;
  std::map<std::string, int32_t, std::less<>> added_ids;
  std::vector<std::pair<std::string, std::string>> named;

  bool byte_level() const { return pre_tokenizer.byte_level() || normalizer.byte_level(); }
  Status add_token(AddedToken token) {
    if (token.content.empty()) return {};
    const auto& vocabulary = bpe->vocabulary();
    if (const auto have = added_ids.find(token.content); have != added_ids.end()) {
      for (auto& a : added) {
        if (a.content == token.content) a.special = a.special || token.special;
      }
      return {};
    }
    const auto in_model = vocabulary.find(token.content);
    if (in_model != vocabulary.end()) {
      token.id = in_model->second;
    } else {
      // The file's id is advice: the next free one is what the reference gives.
      int32_t next = static_cast<int32_t>(vocabulary.size());
      for (const auto& a : added) next = std::max(next, a.id + 1);
      token.id = next;
    }
    added_ids[token.content] = token.id;
    added.push_back(std::move(token));
    return {};
  }
  Status index() {
    int32_t most = -1;
    for (const auto& [token, id] : bpe->vocabulary()) most = std::max(most, id);
    for (const auto& a : added) most = std::max(most, a.id);
    tokens.assign(static_cast<size_t>(most) + 1, "");
    known.assign(tokens.size(), 0);
    special.assign(tokens.size(), 0);
    for (const auto& [token, id] : bpe->vocabulary()) {
      tokens[static_cast<size_t>(id)] = token;
      known[static_cast<size_t>(id)] = 1;
    }
    for (size_t i = 0; i < added.size(); ++i) {
      const auto& a = added[i];
      tokens[static_cast<size_t>(a.id)] = a.content;
      known[static_cast<size_t>(a.id)] = 1;
      special[static_cast<size_t>(a.id)] = a.special;
      std::string content = a.content;
      if (a.normalized) {
        ASSIGN_OR_RETURN(content, normalizer.apply(content));
        if (content.empty()) continue;
      }
      if (content != a.content) {
        // The reference decodes such a token to its normalised spelling, and then no longer knows it as special.
        tokens[static_cast<size_t>(a.id)] = content;
        special[static_cast<size_t>(a.id)] = 0;
      }
      (a.normalized ? normalized : raw).add(content, i);
      if (!a.special) (a.normalized ? normalized_plain : raw_plain).add(content, i);
    }
    return {};
  }
  // Cuts added tokens out of one segment's text, as 2.2 says.
  void cut(const Segment& segment, const Matcher& matcher, std::vector<Segment>& out) const {
    const std::string_view text = segment.text;
    size_t done = 0;
    const auto emit = [&](size_t from, size_t to) {
      if (to > from) out.push_back({std::string(text.substr(from, to - from)), -1, segment.at_start && from == 0});
    };
    for (size_t at = 0; !matcher.empty() && at < text.size();) {
      const auto match = matcher.longest(text, at);
      if (!match) {
        ++at;
        continue;
      }
      const AddedToken& token = added[match->first];
      size_t begin = at, end = at + match->second;
      at = end;
      if (token.single_word) {
        size_t before_at = begin;
        while (before_at > 0 && (static_cast<unsigned char>(text[--before_at]) & 0xc0) == 0x80) {
        }
        if ((begin > 0 && is_word(code_point(text, before_at).value)) ||
            (end < text.size() && is_word(code_point(text, end).value))) {
          continue;
        }
      }
      if (token.lstrip) {
        while (begin > done) {
          size_t last = begin - 1;
          while (last > done && (static_cast<unsigned char>(text[last]) & 0xc0) == 0x80) --last;
          if (!is_space(code_point(text, last).value)) break;
          begin = last;
        }
      }
      if (token.rstrip) {
        while (end < text.size() && is_space(code_point(text, end).value)) end += static_cast<size_t>(code_point(text, end).size);
      }
      emit(done, begin);
      out.push_back({"", token.id, false});
      done = end;  // the search goes on behind the content: the next token may begin in what was stripped
    }
    emit(done, text.size());
  }
};

Tokenizer::Tokenizer() : state_(std::make_unique<State>()) {}
Tokenizer::~Tokenizer() = default;

namespace {

Result<std::string> token_text(const Json& value, const std::string& what) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string()) return value["content"].get<std::string>();
  return invalid("{} must be a string or an object with \"content\", found {}", what, json_kind(value));
}

Result<AddedToken> parse_added(const Json& json, const std::string& what) {
  AddedToken token;
  ASSIGN_OR_RETURN(const auto content, get_string(json, "content", what));
  if (!content) return invalid("{}: \"content\" is missing", what);
  token.content = *content;
  const auto flag = [&](const char* key, bool fallback, bool& into) -> Status {
    ASSIGN_OR_RETURN(const auto value, get_bool(json, key, what));
    into = value.value_or(fallback);
    return {};
  };
  RETURN_IF_ERROR(flag("single_word", false, token.single_word));
  RETURN_IF_ERROR(flag("lstrip", false, token.lstrip));
  RETURN_IF_ERROR(flag("rstrip", false, token.rstrip));
  RETURN_IF_ERROR(flag("special", false, token.special));
  RETURN_IF_ERROR(flag("normalized", !token.special, token.normalized));
  return token;
}

// The ids a template puts before and after the text.
Status parse_post_processor(const Json& json, int depth, const std::map<std::string, int32_t, std::less<>>& added,
                            const Vocabulary& vocabulary, std::vector<int32_t>& before, std::vector<int32_t>& after) {
  if (json.is_null()) return {};
  if (depth > 8) return invalid("tokenizer.json: post-processors nested deeper than 8");
  ASSIGN_OR_RETURN(const auto type, get_string(json, "type", "tokenizer.json post_processor"));
  if (!type) return invalid("tokenizer.json post_processor: \"type\" is missing");
  const std::string what = "tokenizer.json post_processor " + *type;
  if (*type == "ByteLevel") return {};  // moves offsets only
  if (*type == "Sequence") {
    if (!json.contains("processors") || !json["processors"].is_array()) return invalid("{}: \"processors\" must be a list", what);
    for (const auto& inner : json["processors"]) {
      RETURN_IF_ERROR(parse_post_processor(inner, depth + 1, added, vocabulary, before, after));
    }
    return {};
  }
  const auto push = [](const std::vector<int32_t>& ids, bool seen, std::vector<int32_t>& b, std::vector<int32_t>& a) {
    auto& into = seen ? a : b;
    into.insert(into.end(), ids.begin(), ids.end());
  };
  if (*type == "TemplateProcessing") {
    if (!json.contains("single") || !json["single"].is_array() || json["single"].size() > 1000) {
      return invalid("{}: \"single\" must be a list of at most 1000 parts", what);
    }
    std::vector<int32_t> b, a;
    bool seen = false;
    for (const auto& part : json["single"]) {
      if (part.is_object() && part.contains("Sequence")) {
        if (seen) return invalid("{}: \"single\" names the text twice", what);
        seen = true;
        continue;
      }
      if (!part.is_object() || !part.contains("SpecialToken") || !part["SpecialToken"].is_object()) {
        return invalid("{}: a part of \"single\" is neither SpecialToken nor Sequence", what);
      }
      ASSIGN_OR_RETURN(const auto name, get_string(part["SpecialToken"], "id", what));
      const Json* table = json.contains("special_tokens") && json["special_tokens"].is_object() ? &json["special_tokens"] : nullptr;
      if (!name || table == nullptr || !table->contains(*name) || !(*table)[*name].contains("ids") ||
          !(*table)[*name]["ids"].is_array() || (*table)[*name]["ids"].size() > 1000) {
        return invalid("{}: special token \"{}\" has no ids in special_tokens", what, name.value_or(""));
      }
      std::vector<int32_t> ids;
      for (const auto& id : (*table)[*name]["ids"]) {
        if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX) {
          return invalid("{}: special token \"{}\" has the id {}", what, *name, to_line(id));
        }
        ids.push_back(id.get<int32_t>());
      }
      push(ids, seen, b, a);
    }
    before.insert(before.begin(), b.begin(), b.end());
    after.insert(after.end(), a.begin(), a.end());
    return {};
  }
  if (*type == "BertProcessing" || *type == "RobertaProcessing") {
    for (const char* key : {"cls", "sep"}) {
      if (!json.contains(key) || !json[key].is_array() || json[key].size() != 2 || !json[key][1].is_number_integer() ||
          json[key][1].get<int64_t>() < 0 || json[key][1].get<int64_t>() > INT32_MAX) {
        return invalid("{}: \"{}\" must be [token, id]", what, key);
      }
    }
    before.insert(before.begin(), json["cls"][1].get<int32_t>());
    after.push_back(json["sep"][1].get<int32_t>());
    return {};
  }
  return invalid("tokenizer.json: post-processor \"{}\" is not supported", *type);
}

constexpr const char* kNamedSpecials[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                          "pad_token", "cls_token", "mask_token"};

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_json(const Json& json, const Json& config) {
  if (!json.is_object()) return invalid("tokenizer.json: expected an object, found {}", json_kind(json));
  const std::shared_ptr<Tokenizer> tokenizer(new Tokenizer());
  State& s = *tokenizer->state_;
  const auto part = [&](const char* key) { return json.contains(key) ? json[key] : Json(); };
  ASSIGN_OR_RETURN(s.normalizer, Normalizer::parse(part("normalizer")));
  ASSIGN_OR_RETURN(s.pre_tokenizer, PreTokenizer::parse(part("pre_tokenizer")));
  ASSIGN_OR_RETURN(s.decoder, Decoder::parse(part("decoder")));
  if (!json.contains("model") || !json["model"].is_object()) return invalid("tokenizer.json: \"model\" must be an object");
  ASSIGN_OR_RETURN(const auto type, get_string(json["model"], "type", "tokenizer.json model"));
  // Old files leave the type out; what has merges is BPE.
  const std::string kind = type ? *type : json["model"].contains("merges") ? "BPE" : "none";
  if (kind != "BPE") return invalid("tokenizer.json: model \"{}\" is not supported (BPE is)", kind);
  ASSIGN_OR_RETURN(s.bpe, Bpe::parse(json["model"], s.pre_tokenizer.raw_bytes()));
  if (json.contains("added_tokens") && !json["added_tokens"].is_null()) {
    if (!json["added_tokens"].is_array()) return invalid("tokenizer.json: \"added_tokens\" must be a list");
    for (const auto& added : json["added_tokens"]) {
      ASSIGN_OR_RETURN(auto token, parse_added(added, "tokenizer.json added_tokens"));
      RETURN_IF_ERROR(s.add_token(std::move(token)));
    }
  }
  if (config.is_object()) {
    if (config.contains("added_tokens_decoder") && config["added_tokens_decoder"].is_object()) {
      for (const auto& [id, added] : config["added_tokens_decoder"].items()) {
        ASSIGN_OR_RETURN(auto token, parse_added(added, "tokenizer_config.json added_tokens_decoder." + id));
        RETURN_IF_ERROR(s.add_token(std::move(token)));
      }
    }
    for (const char* name : kNamedSpecials) {
      if (!config.contains(name) || config[name].is_null()) continue;
      ASSIGN_OR_RETURN(const auto content, token_text(config[name], fmt::format("tokenizer_config.json: \"{}\"", name)));
      s.named.emplace_back(name, content);
      RETURN_IF_ERROR(s.add_token({.content = content, .special = true}));
    }
    for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
      if (!config.contains(key) || !config[key].is_array()) continue;
      for (const auto& token : config[key]) {
        ASSIGN_OR_RETURN(const auto content, token_text(token, fmt::format("tokenizer_config.json: \"{}\"", key)));
        RETURN_IF_ERROR(s.add_token({.content = content, .special = true}));
      }
    }
  }
  RETURN_IF_ERROR(parse_post_processor(part("post_processor"), 0, s.added_ids, s.bpe->vocabulary(), s.before, s.after));
  RETURN_IF_ERROR(s.index());
  return std::shared_ptr<const Tokenizer>(tokenizer);
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_gguf(const GgufTokenizer& gguf) {
  if (!gguf.tokenizer_json.empty()) {
    ASSIGN_OR_RETURN(const auto json, parse_json(gguf.tokenizer_json));
    return from_json(json, Json());
  }
  const std::shared_ptr<Tokenizer> tokenizer(new Tokenizer());
  State& s = *tokenizer->state_;
  const auto count = static_cast<int64_t>(gguf.tokens.size());
  if (count == 0) return invalid("tokenizer.ggml.tokens is empty");
  for (const auto& id : {gguf.bos_id, gguf.eos_id, gguf.unk_id, gguf.pad_id}) {
    if (id && (*id < 0 || *id >= count)) return invalid("a special token id is {}, the vocabulary has {} tokens", *id, count);
  }
  if (!gguf.token_type.empty() && gguf.token_type.size() != gguf.tokens.size()) {
    return invalid("tokenizer.ggml.token_type has {} entries, tokens has {}", gguf.token_type.size(), count);
  }
  if (gguf.model == "gpt2") {
    ASSIGN_OR_RETURN(s.pre_tokenizer, PreTokenizer::from_gguf_name(gguf.pre));
    const bool ignore = gguf.pre == "llama-bpe" || gguf.pre == "llama3" || gguf.pre == "llama-v3";
    ASSIGN_OR_RETURN(s.bpe, Bpe::from_merges(gguf.tokens, gguf.merges, ignore));
    if (gguf.pre == "qwen2") {
      ASSIGN_OR_RETURN(s.normalizer, Normalizer::parse(Json{{"type", "NFC"}}));
    }
    s.decoder = Decoder::byte_level();
  } else if (gguf.model == "llama") {
    s.normalizer = Normalizer::llama(gguf.add_space_prefix.value_or(true));
    ASSIGN_OR_RETURN(s.bpe, Bpe::from_scores(gguf.tokens, gguf.scores, gguf.unk_id));
    s.decoder = Decoder::llama();
  } else {
    return invalid("tokenizer.ggml.model \"{}\" is not supported (gpt2 and llama are)", gguf.model);
  }
  constexpr int32_t kUnknown = 2, kControl = 3, kUserDefined = 4;
  for (size_t i = 0; i < gguf.token_type.size(); ++i) {
    const int32_t type = gguf.token_type[i];
    if (type != kControl && type != kUserDefined && type != kUnknown) continue;
    RETURN_IF_ERROR(s.add_token({.content = gguf.tokens[i], .special = type != kUserDefined}));
  }
  const auto named = [&](const char* name, const std::optional<int32_t>& id) {
    if (id) s.named.emplace_back(name, gguf.tokens[static_cast<size_t>(*id)]);
  };
  named("bos_token", gguf.bos_id);
  named("eos_token", gguf.eos_id);
  named("unk_token", gguf.unk_id);
  named("pad_token", gguf.pad_id);
  if (gguf.bos_id && gguf.add_bos.value_or(gguf.model == "llama")) s.before.push_back(*gguf.bos_id);
  if (gguf.eos_id && gguf.add_eos.value_or(false)) s.after.push_back(*gguf.eos_id);
  RETURN_IF_ERROR(s.index());
  return std::shared_ptr<const Tokenizer>(tokenizer);
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, bool add_special, bool parse_special) const {
  const State& s = *state_;
  if (!valid_utf8(text)) return invalid("the text is not UTF-8");
  std::vector<int32_t> ids;
  if (add_special) ids = s.before;
  std::vector<Segment> raw;
  s.cut({std::string(text), -1, true}, parse_special ? s.raw : s.raw_plain, raw);
  for (auto& segment : raw) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
      continue;
    }
    ASSIGN_OR_RETURN(segment.text, s.normalizer.apply(std::move(segment.text)));
    std::vector<Segment> parts;
    s.cut(segment, parse_special ? s.normalized : s.normalized_plain, parts);
    for (auto& part : parts) {
      if (part.id >= 0) {
        ids.push_back(part.id);
        continue;
      }
      ASSIGN_OR_RETURN(const auto pieces, s.pre_tokenizer.apply({std::move(part.text), part.at_start}));
      for (const auto& piece : pieces) s.bpe->encode(piece.text, ids);
    }
  }
  if (add_special) ids.insert(ids.end(), s.after.begin(), s.after.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  const State& s = *state_;
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int32_t id : ids) {
    if (id < 0 || id >= size() || !s.known[static_cast<size_t>(id)]) continue;
    if (skip_special && s.special[static_cast<size_t>(id)]) continue;
    tokens.push_back(s.tokens[static_cast<size_t>(id)]);
  }
  return s.decoder.apply(std::move(tokens));
}

std::optional<std::string> Tokenizer::token(int32_t id) const {
  if (id < 0 || id >= size() || !state_->known[static_cast<size_t>(id)]) return std::nullopt;
  return state_->tokens[static_cast<size_t>(id)];
}

std::optional<int32_t> Tokenizer::id_of(std::string_view token) const {
  if (const auto at = state_->added_ids.find(token); at != state_->added_ids.end()) return at->second;
  const auto& vocabulary = state_->bpe->vocabulary();
  const auto at = vocabulary.find(token);
  return at == vocabulary.end() ? std::nullopt : std::optional<int32_t>(at->second);
}

std::string Tokenizer::bytes_of(int32_t id) const {
  const auto spelled = token(id);
  if (!spelled || is_special(id)) return "";
  if (state_->byte_level()) return bytes_of_spelling(*spelled).value_or(*spelled);
  if (is_byte(id)) {
    return std::string(1, static_cast<char>(std::strtol(spelled->substr(3, 2).c_str(), nullptr, 16)));
  }
  return replace_all(*spelled, "\u2581", " ");
}

bool Tokenizer::is_byte(int32_t id) const {
  if (state_->byte_level()) return false;
  const auto spelled = token(id);
  return spelled && spelled->size() == 6 && spelled->starts_with("<0x") && spelled->ends_with('>');
}

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && id < size() && state_->special[static_cast<size_t>(id)] != 0;
}

int32_t Tokenizer::size() const { return static_cast<int32_t>(state_->tokens.size()); }

const std::vector<std::pair<std::string, std::string>>& Tokenizer::named_specials() const { return state_->named; }

StreamDecoder::StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special)
    : tokenizer_(std::move(tokenizer)), skip_special_(skip_special) {}

// What the ids since prefix_ say beyond what those before read_ said. The text is held back while
// it ends in U+FFFD, which may be half a character, and while it ends in a byte token: a run of them
// is text or not as a whole.
std::string StreamDecoder::push(int32_t id) {
  if (!tokenizer_->token(id) || (skip_special_ && tokenizer_->is_special(id))) return "";
  ids_.push_back(id);
  if (tokenizer_->is_byte(id)) return "";
  const std::span<const int32_t> all(ids_);
  const std::string before = tokenizer_->decode(all.subspan(prefix_, read_ - prefix_), skip_special_);
  const std::string now = tokenizer_->decode(all.subspan(prefix_), skip_special_);
  if (now.size() <= before.size() || now.ends_with("\uFFFD")) return "";
  prefix_ = read_;
  read_ = ids_.size();
  return now.substr(before.size());
}

std::string StreamDecoder::finish() {
  const std::span<const int32_t> all(ids_);
  const std::string before = tokenizer_->decode(all.subspan(prefix_, read_ - prefix_), skip_special_);
  const std::string now = tokenizer_->decode(all.subspan(prefix_), skip_special_);
  prefix_ = read_ = ids_.size();
  return now.size() > before.size() ? now.substr(before.size()) : "";
}

}  // namespace colony::text
