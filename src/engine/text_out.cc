#include "engine/text_out.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace colony::engine {
namespace {

// Bytes at the end of `text` that begin one of `stop` without being the whole of it.
size_t unsure_tail(std::string_view text, const std::vector<std::string>& stop) {
  size_t longest = 0;
  for (const std::string& word : stop) {
    for (size_t size = std::min(word.size() - 1, text.size()); size > longest; --size) {
      if (text.ends_with(std::string_view(word).substr(0, size))) {
        longest = size;
        break;
      }
    }
  }
  return longest;
}

}  // namespace

TextOut::TextOut(std::shared_ptr<const text::Tokenizer> tokenizer, std::vector<std::string> stop)
    : decoder_(std::move(tokenizer), true), stop_(std::move(stop)) {}

bool TextOut::push(int32_t id) { return stopped_ || add(decoder_.push(id)); }

bool TextOut::finish() {
  if (stopped_) return true;
  if (add(decoder_.finish())) return true;
  certain_ = text_.size();
  return false;
}

bool TextOut::add(std::string piece) {
  text_ += piece;
  if (piece.empty()) return false;
  // What is complete now and was not before begins after what was certain. The first to be complete
  // counts, of several the one that began first: so it would be, letter by letter.
  size_t first = std::string::npos, first_end = std::string::npos;
  for (const std::string& word : stop_) {
    const size_t begin = text_.find(word, certain_);
    if (begin == std::string::npos) continue;
    const size_t end = begin + word.size();
    if (end < first_end || (end == first_end && begin < first)) {
      first = begin;
      first_end = end;
    }
  }
  if (first != std::string::npos) {
    text_.resize(first);
    certain_ = first;
    stopped_ = true;
    return true;
  }
  certain_ = text_.size() - unsure_tail(text_, stop_);
  return false;
}

std::string TextOut::take_piece() {
  std::string piece = text_.substr(given_, certain_ - given_);
  given_ = certain_;
  return piece;
}

}  // namespace colony::engine
