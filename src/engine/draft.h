// Speculation by prompt look-up: where the end of a sequence stood before, what followed it then is
// likely to follow now. Those tokens are computed in the same step as the next one and kept only if
// they are what would have been chosen anyway, so nothing but the number of steps changes.
// Source: Saxena 2023, "Prompt lookup decoding"; Leviathan et al. 2023, arXiv:2211.17192.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace colony::engine {

enum class Speculate : uint8_t {
  kOff,
  kOn,    // wherever something is found
  kAuto,  // where it pays: by how often it came true and by how wide the batch is
};

// Rows of drafts in one step, over all sequences: beyond this another row costs what it brings.
inline constexpr int64_t kDraftRows = 16;

// What a row more costs, in steps of one row. Measured as steps of 1, 4 and 16 rows of SmolLM2-135M in int8 on
// two threads: 0.06 to 0.07 with AVX-512 VNNI, 0.17 to 0.26 with AVX2. One number for all machines, so that the
// same requests take the same steps everywhere.
inline constexpr double kRowCost = 0.15;

// One sequence's look-up and how often it came true. Threads: one owner.
class Draft {
 public:
  // Finds what followed the longest repetition of the end of `tokens`: kMost to kLeast tokens, within
  // the last kWindow tokens, the latest of the longest. At most `count` tokens come, as many when
  // something is found (a repetition that reaches the end goes on as it began), else none.
  // At most kWindow * kMost comparisons.
  void look_up(std::span<const int32_t> tokens, int64_t count);
  std::span<const int32_t> ids() const { return ids_; }
  // How many of ids() are worth a row each, beside `decoding` sequences that decode in this step.
  int64_t worth(int64_t decoding) const;
  // The next of ids() was, or was not, what came.
  void saw(bool hit);
  void clear() { ids_.clear(); }

  static constexpr int kLeast = 2, kMost = 8, kLong = 4;
  static constexpr int64_t kWindow = 8192;

 private:
  std::vector<int32_t> ids_;
  size_t bucket_ = 0;                        // of the last look-up: 0 short, 1 long
  std::array<double, 2> hits_{0.3, 0.6};     // shares of tokens that came true, lately
};

}  // namespace colony::engine
