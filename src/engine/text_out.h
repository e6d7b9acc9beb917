// Turns generated ids into text as it comes, and ends it before the first stop string.
//
// What may still become part of a stop string, or of a character, is held back. The result does not
// depend on how the text fell into tokens. Threads: one owner.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace colony::engine {

class TextOut {
 public:
  // `stop`: non-empty strings.
  TextOut(std::shared_ptr<const text::Tokenizer> tokenizer, std::vector<std::string> stop);

  // Takes one more token. True when a stop string is complete: the text is then final.
  bool push(int32_t id);
  // Takes what the decoder still holds. True as above.
  bool finish();

  // Text that became certain since the last call.
  std::string take_piece();
  const std::string& text() const { return text_; }

 private:
  bool add(std::string piece);

  text::StreamDecoder decoder_;
  const std::vector<std::string> stop_;
  std::string text_;
  size_t certain_ = 0;  // bytes that no stop string can take back
  size_t given_ = 0;    // bytes that take_piece() returned
  bool stopped_ = false;
};

}  // namespace colony::engine
