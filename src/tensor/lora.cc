// Packing, and the split of the rows over threads; the arithmetic is in kernels_impl.inl.
//
// Work is split by rows alone, at most kRowsAtOnce of one adapter a part: shrink and expand of a row are
// done by one thread with u in its cache. A lone row's adapter is 2 % of the base weights, too little to
// be worth a second barrier.
#include "tensor/lora.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "tensor/kernels.h"

namespace colony::tensor {
namespace {

constexpr int64_t kRowsAtOnce = 16;

uint64_t aligned(int64_t bytes) { return static_cast<uint64_t>(round_up(bytes, 64)); }
int64_t element(LoraType type) { return type == LoraType::kF32 ? 4 : 1; }

// Rounds `count` numbers to int8 with one scale, which it returns; numbers that are no numbers count as 0.
float quantize(const float* from, int64_t stride, int64_t count, int8_t* to) {
  float most = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float x = std::abs(from[i * stride]);
    if (x > most && std::isfinite(x)) most = x;
  }
  const float scale = most / 127.0f;
  for (int64_t i = 0; i < count; ++i) {
    const float steps = scale > 0 ? std::nearbyint(from[i * stride] / scale) : 0.0f;
    to[i] = std::isfinite(steps) ? static_cast<int8_t>(std::clamp(steps, -127.0f, 127.0f)) : int8_t{0};
  }
  return scale;
}

}  // namespace

uint64_t LoraUpdate::bytes_for(LoraType type, int64_t in, std::span<const LoraPart> parts) {
  uint64_t bytes = 0;
  int64_t ranks = 0;
  for (const LoraPart& part : parts) {
    const int64_t padded = round_up(part.outputs, kLoraBlock);
    ranks += part.rank;
    bytes += aligned(part.rank * padded * element(type));
    if (type == LoraType::kInt8) bytes += aligned(part.rank * (padded / kLoraBlock) * 4);
    if (!part.b_bias.empty()) bytes += aligned(part.outputs * 4);
    if (!part.gain.empty()) bytes += aligned(part.outputs * 4);
  }
  return bytes + aligned(ranks * round_up(in, 16) * element(type)) + aligned(ranks * 4);
}

LoraUpdate LoraUpdate::pack(LoraType type, int64_t in, std::span<const LoraPart> parts, std::span<std::byte> memory) {
  CHECK(in > 0 && memory.size() == bytes_for(type, in, parts), "an update is packed into the memory it asked for");
  LoraUpdate update;
  update.type_ = type;
  update.in_ = in;
  std::byte* at = memory.data();
  const auto take = [&]<typename T>(int64_t count, T) {
    auto* taken = reinterpret_cast<T*>(at);
    at += aligned(count * static_cast<int64_t>(sizeof(T)));
    return taken;
  };
  for (const LoraPart& part : parts) update.ranks_ += part.rank;
  const int64_t lda = round_up(in, 16);
  std::memset(at, 0, memory.size());
  float* const a_scale = take(update.ranks_, float{});
  float* const a_f32 = type == LoraType::kF32 ? take(update.ranks_ * lda, float{}) : nullptr;
  int8_t* const a_int8 = type == LoraType::kInt8 ? take(update.ranks_ * lda, int8_t{}) : nullptr;
  update.a_scale_ = a_scale;
  update.a_ = type == LoraType::kF32 ? static_cast<const void*>(a_f32) : a_int8;
  int64_t first_rank = 0, last_output = 0;
  for (const LoraPart& part : parts) {
    const int64_t outputs = part.outputs, rank = part.rank, ldb = round_up(outputs, kLoraBlock);
    CHECK(rank > 0 && outputs > 0 && part.first_output >= last_output &&
              static_cast<int64_t>(part.a.size()) == rank * in && static_cast<int64_t>(part.b.size()) == outputs * rank &&
              (part.b_bias.empty() || static_cast<int64_t>(part.b_bias.size()) == outputs) &&
              (part.gain.empty() || static_cast<int64_t>(part.gain.size()) == outputs),
          "an update's parts have their sizes");
    last_output = part.first_output + outputs;
    Part packed;
    packed.first_output = part.first_output;
    packed.outputs = outputs;
    packed.rank = rank;
    packed.first_rank = first_rank;
    for (int64_t r = 0; r < rank; ++r) {
      const float* row = part.a.data() + r * in;
      if (type == LoraType::kF32) {
        std::memcpy(a_f32 + (first_rank + r) * lda, row, static_cast<size_t>(in) * 4);
        a_scale[first_rank + r] = part.scale;
      } else {
        a_scale[first_rank + r] = part.scale * quantize(row, 1, in, a_int8 + (first_rank + r) * lda);
      }
    }
    if (type == LoraType::kF32) {
      float* b = take(rank * ldb, float{});
      for (int64_t r = 0; r < rank; ++r) {
        for (int64_t n = 0; n < outputs; ++n) b[r * ldb + n] = part.b[static_cast<size_t>(n * rank + r)];
      }
      packed.b = b;
    } else {
      auto* b = take(rank * ldb, int8_t{});
      float* scale = take(rank * (ldb / kLoraBlock), float{});
      for (int64_t r = 0; r < rank; ++r) {
        for (int64_t n = 0; n < outputs; n += kLoraBlock) {
          scale[r * (ldb / kLoraBlock) + n / kLoraBlock] =
              quantize(part.b.data() + n * rank + r, rank, std::min<int64_t>(kLoraBlock, outputs - n), b + r * ldb + n);
        }
      }
      packed.b = b;
      packed.b_scale = scale;
    }
    if (!part.b_bias.empty()) {
      float* start = take(outputs, float{});
      for (int64_t n = 0; n < outputs; ++n) start[n] = part.scale * part.b_bias[static_cast<size_t>(n)];
      packed.start = start;
    }
    if (!part.gain.empty()) {
      float* gain = take(outputs, float{});
      std::memcpy(gain, part.gain.data(), static_cast<size_t>(outputs) * 4);
      packed.gain = gain;
    }
    first_rank += rank;
    update.parts_.push_back(packed);
  }
  return update;
}

bool LoraUpdate::has_gain() const {
  return std::any_of(parts_.begin(), parts_.end(), [](const Part& part) { return part.gain != nullptr; });
}

class LoraAccess {
 public:
  // Rows [first, first + rows) of the batch; u: room for rows * ranks numbers.
  static void run(const LoraArgs& args, const LoraUpdate& update, int64_t first, int64_t rows, float* u) {
    const Kernels& kernel = kernels();
    const bool int8 = update.type_ == LoraType::kInt8;
    LoraShrink shrink;
    shrink.x = args.x.data() + first * args.in;
    shrink.ldx = args.in;
    shrink.rows = rows;
    shrink.k = args.in;
    shrink.a = update.a_;
    shrink.int8 = int8;
    shrink.scale = update.a_scale_;
    shrink.ranks = update.ranks_;
    shrink.u = u;
    kernel.lora_shrink(shrink);
    for (const LoraUpdate::Part& part : update.parts_) {
      LoraExpand expand;
      expand.u = u + part.first_rank;
      expand.ldu = update.ranks_;
      expand.rows = rows;
      expand.ranks = part.rank;
      expand.b = part.b;
      expand.int8 = int8;
      expand.b_scale = part.b_scale;
      expand.start = part.start;
      expand.gain = part.gain;
      expand.bias = args.bias.empty() ? nullptr : args.bias.data() + part.first_output;
      expand.y = args.y.data() + first * args.outputs + part.first_output;
      expand.ldy = args.outputs;
      expand.n = part.outputs;
      kernel.lora_expand(expand);
    }
  }
  static int64_t in(const LoraUpdate& update) { return update.in_; }
  static int64_t end(const LoraUpdate& update) {
    return update.parts_.back().first_output + update.parts_.back().outputs;
  }
};

void lora(const LoraArgs& args, std::span<const LoraSegment> segments, ThreadPool& pool, LoraScratch& scratch) {
  scratch.blocks.clear();
  int64_t ranks = 0;
  for (const LoraSegment& segment : segments) {
    if (segment.update == nullptr || segment.update->empty()) continue;
    CHECK(LoraAccess::in(*segment.update) == args.in && LoraAccess::end(*segment.update) <= args.outputs &&
              (segment.first + segment.rows) * args.in <= static_cast<int64_t>(args.x.size()) &&
              (segment.first + segment.rows) * args.outputs <= static_cast<int64_t>(args.y.size()) &&
              (args.bias.empty() || static_cast<int64_t>(args.bias.size()) == args.outputs),
          "an update fits the product it is added to");
    ranks = std::max(ranks, segment.update->ranks());
    for (int64_t row = 0; row < segment.rows; row += kRowsAtOnce) {
      scratch.blocks.push_back({segment.first + row, std::min(kRowsAtOnce, segment.rows - row), segment.update});
    }
  }
  if (scratch.blocks.empty()) return;
  const auto room = static_cast<size_t>(kRowsAtOnce * ranks);
  if (scratch.u.size() < scratch.blocks.size() * room) scratch.u.resize(scratch.blocks.size() * room);
  pool.run(static_cast<int>(scratch.blocks.size()), [&](int i) {
    const LoraSegment& block = scratch.blocks[static_cast<size_t>(i)];
    LoraAccess::run(args, *block.update, block.first, block.rows, scratch.u.data() + static_cast<size_t>(i) * room);
  });
}

}  // namespace colony::tensor
