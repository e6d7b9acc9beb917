// Training data: JSON lines, the rows of a CSV file with these names as columns, or the lines of a plain text, become token ids
// with a mark on every token the loss sees.
//
// A line is {"messages"}, {"prompt", "completion"}, {"prompt", "answer"} or, raw only, {"text"}; other fields are
// ignored. A prompt is one user message through the model's chat template (or, raw, as it is); a target is
// the answer and the end-of-turn token. Prompt and answer are tokenised apart, so the border is a token
// border, as it is when the answer is generated. In messages every assistant turn is a target; the template
// must write the turns before it as it writes them alone, else the line is refused.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "data/task_line.h"
#include "text/tokenizer.h"
#include "train/network.h"

namespace colony::train {

// The members that are looked at.
inline const std::vector<std::string> kExampleFields{"messages", "prompt", "completion", "answer", "text"};

// The model's text side. `render`: the chat template over messages; empty: prompts as they are.
struct TextSide {
  const text::Tokenizer* tokenizer = nullptr;
  std::function<Result<std::string>(const Json& messages, bool add_generation_prompt)> render;
  std::vector<int32_t> eos_ids;  // not empty
};

// What becomes of an example longer than max_length.
enum class TooLong : uint8_t {
  kRefuse,  // its line is bad
  kDrop,    // left out, and counted
  kCut,     // its end is cut off, and counted; left out when no target is left
};

// How a file is read. Text: every line that is not blank is a {"text"}.
enum class DataFormat : uint8_t { kJsonLines, kCsv, kText };

struct ExampleOptions {
  bool answer_only = true;  // else every token but the first is a target
  int64_t max_length = 0;   // > 0
  TooLong too_long = TooLong::kRefuse;
  DataFormat format = DataFormat::kJsonLines;
};

struct ReadExample {
  int64_t line = 0;
  Example example;
  std::string prompt_hash;  // of what comes before the first target: splits go by it
  std::string hash;         // of everything
};
struct ExampleFile {
  std::vector<ReadExample> examples;
  std::vector<data::LineProblem> problems;  // these lines were left out
  int64_t cut = 0, dropped = 0;
  int64_t duplicates = 0;  // lines equal to an earlier one; they are kept
  std::string content_hash;
};

// Blank lines are skipped. Fails kInvalid when there is no line at all, or no CSV header.
Result<ExampleFile> read_examples(std::string_view bytes, const ExampleOptions& options, const TextSide& text);

// Moves about `share` of the examples, all those of a prompt together, into the second of the two: by a hash of the
// prompt, so that the same line falls on the same side whatever else is in the file.
std::pair<std::vector<ReadExample>, std::vector<ReadExample>> split_by_content(std::vector<ReadExample> examples, double share);

// Pairs of lines (first's, second's) that hold the same example.
std::vector<std::pair<int64_t, int64_t>> shared_examples(const std::vector<ReadExample>& first, const std::vector<ReadExample>& second);

}  // namespace colony::train
