#include "tensor/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "tensor/kernels.h"
#include "tensor/ops.h"

namespace colony::tensor {
namespace {

int padded_dim(int head_dim) { return (head_dim + 15) / 16 * 16; }
uint64_t element_bytes(KvType type) { return type == KvType::kF32 ? 4 : type == KvType::kBf16 ? 2 : 1; }
// Bytes of K, and of V, of one kv head inside one page, without its scales.
uint64_t number_bytes(KvType type, int head_dim) {
  return static_cast<uint64_t>(padded_dim(head_dim)) * kPageTokens * element_bytes(type);
}
uint64_t head_bytes(KvType type, int head_dim) {
  return number_bytes(type, head_dim) + (type == KvType::kInt8 ? kPageTokens * sizeof(float) : 0);
}

// x [dim] -> whole numbers at out[i * stride]; returns their scale, NaN when a number is none or infinite.
float store_int8(const float* x, int dim, int8_t* out, int64_t stride) {
  float most = 0, finite = 0;
  for (int d = 0; d < dim; ++d) {
    most = std::max(most, std::fabs(x[d]));
    finite += x[d] * 0.0F;
  }
  const bool sound = finite == 0.0F;
  const float inverse = sound && most > 0 ? 127.0F / most : 0.0F;
  const bool usable = inverse > 0 && inverse < 3e38F;  // a tiny greatest number counts as zero
  for (int d = 0; d < dim; ++d) {
    out[d * stride] = usable ? static_cast<int8_t>(std::lrint(x[d] * inverse)) : int8_t{0};
  }
  return !sound ? std::numeric_limits<float>::quiet_NaN() : usable ? most / 127.0F : 0.0F;
}

}  // namespace

std::string_view kv_type_name(KvType type) {
  switch (type) {
    case KvType::kF32: return "f32";
    case KvType::kBf16: return "bf16";
    case KvType::kInt8: return "int8";
  }
  return "f32";
}

uint64_t kv_page_bytes(KvType type, int kv_heads, int head_dim) {
  return 2 * static_cast<uint64_t>(kv_heads) * head_bytes(type, head_dim);
}

void kv_store(const KvView& kv, std::span<const AttentionRow> rows, const float* k, const float* v,
              int64_t row_stride, ThreadPool& pool) {
  const int dim = kv.head_dim, padded = padded_dim(dim);
  const uint64_t one = head_bytes(kv.type, dim), half = one * static_cast<uint64_t>(kv.kv_heads);
  const auto store = [&](int head, size_t from, size_t to) {
    for (size_t r = from; r < to; ++r) {
      const auto slot = rows[r].position % kPageTokens;
      std::byte* page = kv.base + kv.page_stride * static_cast<uint64_t>(rows[r].pages[static_cast<size_t>(
                                                      rows[r].position / kPageTokens)]);
      std::byte* keys = page + one * static_cast<uint64_t>(head);
      std::byte* values = keys + half;
      const float* from_k = k + static_cast<int64_t>(r) * row_stride + head * dim;
      const float* from_v = v + static_cast<int64_t>(r) * row_stride + head * dim;
      if (kv.type == KvType::kInt8) {
        const uint64_t numbers = number_bytes(kv.type, dim);
        reinterpret_cast<float*>(keys + numbers)[slot] =
            store_int8(from_k, dim, reinterpret_cast<int8_t*>(keys) + slot, kPageTokens);
        reinterpret_cast<float*>(values + numbers)[slot] =
            store_int8(from_v, dim, reinterpret_cast<int8_t*>(values) + slot * padded, 1);
        continue;
      }
      for (int d = 0; d < dim; ++d) {
        if (kv.type == KvType::kF32) {
          reinterpret_cast<float*>(keys)[d * kPageTokens + slot] = from_k[d];
          reinterpret_cast<float*>(values)[slot * padded + d] = from_v[d];
        } else {
          reinterpret_cast<uint16_t*>(keys)[d * kPageTokens + slot] = to_bf16(from_k[d]);
          reinterpret_cast<uint16_t*>(values)[slot * padded + d] = to_bf16(from_v[d]);
        }
      }
    }
  };
  // Split by head and in two halves of the rows: rows of one page share the cache lines of K.
  if (rows.size() >= 8) {
    pool.run(2 * kv.kv_heads, [&](int i) {
      const size_t middle = rows.size() / 2;
      i % 2 == 0 ? store(i / 2, 0, middle) : store(i / 2, middle, rows.size());
    });
  } else {
    for (int head = 0; head < kv.kv_heads; ++head) store(head, 0, rows.size());
  }
}

void attention(const AttentionArgs& args, const KvView& kv, std::span<const AttentionRow> rows,
               ThreadPool& pool) {
  CHECK(args.heads % kv.kv_heads == 0 && kv.head_dim <= 512, "attention's heads");
  const int group = args.heads / kv.kv_heads;
  const uint64_t one = head_bytes(kv.type, kv.head_dim);
  const int64_t units = static_cast<int64_t>(rows.size()) * kv.kv_heads;  // head-major
  const auto tile = [&](int64_t unit) {
    const auto head = static_cast<int>(unit / static_cast<int64_t>(rows.size()));
    const auto r = static_cast<size_t>(unit % static_cast<int64_t>(rows.size()));
    AttentionTile t;
    t.q = args.q + static_cast<int64_t>(r) * args.q_stride + head * group * kv.head_dim;
    t.heads = group;
    t.position = rows[r].position;
    t.first = args.window > 0 ? std::max<int64_t>(0, t.position - args.window + 1) : 0;
    t.pages = rows[r].pages.data();
    t.base = kv.base;
    t.page_stride = kv.page_stride;
    t.k_offset = one * static_cast<uint64_t>(head);
    t.v_offset = one * static_cast<uint64_t>(kv.kv_heads + head);
    t.head_dim = kv.head_dim;
    t.padded_dim = padded_dim(kv.head_dim);
    t.type = kv.type;
    t.scale = args.scale;
    t.softcap = args.softcap;
    t.out = args.out + static_cast<int64_t>(r) * args.heads * kv.head_dim + head * group * kv.head_dim;
    kernels().attention_tile(t);
  };
  int64_t keys = 0;
  for (const auto& row : rows) keys += row.position + 1;
  if (keys * kv.kv_heads < 256) {  // less work than waking another thread
    for (int64_t u = 0; u < units; ++u) tile(u);
    return;
  }
  const auto parts = static_cast<int>(std::min<int64_t>(units, 16L * pool.threads()));
  pool.run(parts, [&](int i) {
    for (int64_t u = units * i / parts; u < units * (i + 1) / parts; ++u) tile(u);
  });
}

}  // namespace colony::tensor
