// Files from outside: GGUF's blocks number by number, and broken checkpoints of every kind we know.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "base/rng.h"
#include "model/gguf.h"
#include "tensor/f16.h"
#include "model/golden_checkpoint.h"
#include "model/packed_cache.h"
#include "model/rope_table.h"
#include "model/safetensors.h"
#include "model/transformer.h"
#include "model/weights.h"

namespace colony::model {
namespace {

namespace fs = std::filesystem;

const std::vector<std::pair<std::string, DType>> kBlocks = {
    {"Q8_0", DType::kQ8_0}, {"Q4_0", DType::kQ4_0}, {"Q4_1", DType::kQ4_1}, {"Q5_0", DType::kQ5_0}, {"Q5_1", DType::kQ5_1},
    {"Q4_K", DType::kQ4_K}, {"Q5_K", DType::kQ5_K}, {"Q6_K", DType::kQ6_K}};

void check_blocks(const fs::path& folder) {
  int seen = 0;
  for (const auto& [name, type] : kBlocks) {
    const auto blocks = read_file(folder / (name + ".blocks"));
    const auto want_bytes = read_file(folder / (name + ".f32"));
    if (!blocks || !want_bytes) continue;
    ++seen;
    std::vector<float> want(want_bytes->size() / 4), got(want.size());
    std::memcpy(want.data(), want_bytes->data(), want_bytes->size());
    const auto shape = block_shape(type);
    ASSERT_EQ(blocks->size() % static_cast<size_t>(shape.bytes), 0u) << name;
    ASSERT_EQ(static_cast<int64_t>(blocks->size()) / shape.bytes * shape.numbers, static_cast<int64_t>(want.size())) << name;
    decode(type, reinterpret_cast<const std::byte*>(blocks->data()), got);
    double most = 0;
    for (const float x : want) {
      ASSERT_TRUE(std::isfinite(x));
      most = std::max(most, std::abs(static_cast<double>(x)));
    }
    ASSERT_GT(most, 0);
    for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-6 * most) << name << " number " << i;
    // The kinds of 32 numbers as they are stored: the same numbers, where q has room.
    const std::map<std::string, int> largest = {{"Q4_0", 15}, {"Q4_1", 15}, {"Q5_0", 31}, {"Q5_1", 31}, {"Q8_0", 255}};
    for (const int q_most : {15, 255}) {
      std::vector<uint16_t> d(want.size() / 32), m(d.size());
      std::vector<uint8_t> q(want.size());
      const bool fits = largest.count(name) > 0 && largest.at(name) <= q_most;
      ASSERT_EQ(decode_groups(type, reinterpret_cast<const std::byte*>(blocks->data()), q_most, d, m, q), fits) << name << ", " << q_most;
      for (size_t i = 0; fits && i < want.size(); ++i) {
        ASSERT_LE(q[i], q_most);
        ASSERT_EQ(tensor::from_f16(d[i / 32]) * static_cast<float>(q[i]) + tensor::from_f16(m[i / 32]), got[i]) << name << " number " << i;
      }
    }
  }
  EXPECT_EQ(seen, static_cast<int>(kBlocks.size())) << folder;
}

TEST(OwnBlocks, AreGgufPysNumbers) { check_blocks("tests/goldens/gguf"); }
TEST(SharedBlocks, AreGgufPysNumbers) {
  const char* set = std::getenv("COLONY_SHARED");
  const fs::path folder = fs::path(set != nullptr ? set : "../shared") / "golden/gguf";
  if (!fs::exists(folder)) GTEST_SKIP() << "no golden/gguf beside the repository; our own are always run";
  check_blocks(folder);
}

// ---- safetensors ----

std::string st(const std::string& header, size_t data_bytes, uint64_t length_of_header = 0) {
  const uint64_t length = length_of_header != 0 ? length_of_header : header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, '\1');
}
auto parse_st(const std::string& bytes) { return SafetensorsFile::parse(std::as_bytes(std::span(bytes)), "test.safetensors"); }

TEST(Safetensors, AcceptsWhatTheReferenceAccepts) {
  for (const auto& [header, data] : std::vector<std::pair<std::string, size_t>>{
           {R"({"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}})", 16},
           {R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   )", 4},
           {R"({"a":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]}})", 0},
           {R"({"__metadata__":{"format":"pt"},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}})", 3},
           {R"({})", 0}}) {
    const std::string bytes = st(header, data);
    const auto file = parse_st(bytes);
    EXPECT_TRUE(file) << header << ": " << (file ? "" : file.error().message);
  }
}

TEST(Safetensors, RefusesWhatTheReferenceRefusesAndSaysWhere) {
  const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  ASSERT_TRUE(parse_st(st(good, 8)));
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "at least 8"},
      {std::string(7, 'x'), "at least 8"},
      {st(good, 8, 100'000'001), "limit"},
      {st(good, 8, ~0ULL), "limit"},
      {st(good, 8, good.size() + 9), "does not fit"},
      {st(" " + good, 8), "begin with"},
      {st("[1]", 0), "begin with"},
      {st("{", 0), "header"},
      {st("{\"a\xff\":1}", 0), "header"},
      {st(R"({"a":1})", 0), "expected an object"},
      {st(R"({"a":{"dtype":"F32","shape":[2]}})", 8), "expected an object with"},
      {st(R"({"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})", 8), "expected a string"},
      {st(R"({"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}})", 8), "unknown dtype"},
      {st(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8), "shape"},
      {st(R"({"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}})", 8), "shape"},
      {st(R"({"a":{"dtype":"F32","shape":[9223372036854775807,9],"data_offsets":[0,8]}})", 8), "overflow"},
      {st(R"({"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,8]}})", 8), "shape"},
      {st(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", 8), "data_offsets"},
      {st(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8), "do not fit"},
      {st(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}})", 8), "do not fit"},
      {st(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8), "takes"},
      {st(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 9), "the file at"},
      {st(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12), "no holes"},
      {st(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12), "no overlaps"},
      {st(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8), "header"},
      {st(R"({"a":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}})", 1), "takes"},
      {st(R"({"__metadata__":{"x":1},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8), "__metadata__"},
  };
  for (const auto& [bytes, says] : cases) {
    const auto file = parse_st(bytes);
    ASSERT_FALSE(file) << bytes.substr(0, 120);
    EXPECT_EQ(file.error().code, ErrorCode::kCorrupt);
    EXPECT_NE(file.error().message.find(says), std::string::npos) << file.error().message << "\n  expected: " << says;
    EXPECT_NE(file.error().message.find("test.safetensors"), std::string::npos);
  }
}

// ---- GGUF ----

struct GgufWriter {
  std::string bytes;
  template <typename T>
  GgufWriter& put(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  GgufWriter& text(const std::string& s) { return put<uint64_t>(s.size()).raw(s); }
  GgufWriter& raw(const std::string& s) {
    bytes += s;
    return *this;
  }
  GgufWriter& head(int64_t tensors, int64_t pairs, uint32_t version = 3) { return raw("GGUF").put(version).put(tensors).put(pairs); }
  GgufWriter& tensor(const std::string& name, std::vector<int64_t> dims, int32_t type, uint64_t offset) {
    text(name).put<uint32_t>(static_cast<uint32_t>(dims.size()));
    for (const int64_t d : dims) put(d);
    return put(type).put(offset);
  }
  GgufWriter& data(size_t size, size_t align = 32) {
    bytes.resize((bytes.size() + align - 1) / align * align);
    bytes += std::string(size, '\0');
    return *this;
  }
};
auto parse_gguf(const std::string& bytes) { return GgufFile::parse(std::as_bytes(std::span(bytes)), "test.gguf"); }

TEST(Gguf, RefusesBrokenFilesAndSaysWhere) {
  const std::string good = GgufWriter().head(2, 1).text("general.alignment").put<int32_t>(4).put<uint32_t>(32)
                               .tensor("a", {4}, 0, 0).tensor("b", {32, 2}, 8, 32).data(32 + 68).bytes;
  const auto file = parse_gguf(good);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->tensors().size(), 2u);
  const auto one = [](std::vector<int64_t> dims, int32_t type, uint64_t offset, size_t data) {
    return GgufWriter().head(1, 0).tensor("a", std::move(dims), type, offset).data(data).bytes;
  };
  ASSERT_TRUE(parse_gguf(one({4}, 0, 0, 16)));
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "GGUF"},
      {"GGUX" + good.substr(4), "GGUF"},
      {GgufWriter().head(0, 0, 1).bytes, "version"},
      {GgufWriter().head(0, 0, 0x03000000).bytes, "version"},
      {GgufWriter().head(-1, 0).bytes, "do not fit"},
      {GgufWriter().head(1LL << 60, 0).bytes, "do not fit"},
      {GgufWriter().head(0, 1LL << 60).bytes, "do not fit"},
      {GgufWriter().head(0, 1).text("k").put<int32_t>(99).put<uint64_t>(0).bytes, "type"},
      {GgufWriter().head(0, 1).text("k").put<int32_t>(9).put<int32_t>(4).put<uint64_t>(1ULL << 40).put<uint64_t>(0).bytes, "array"},
      {GgufWriter().head(0, 1).text("k").put<int32_t>(9).put<int32_t>(9).put<uint64_t>(1).put<uint64_t>(0).put<uint64_t>(0).bytes, "array"},
      {GgufWriter().head(0, 1).text("k").put<int32_t>(8).put<uint64_t>(~0ULL).put<uint64_t>(0).bytes, "ends inside"},
      {GgufWriter().head(0, 2).text("k").put<int32_t>(4).put<uint32_t>(1).text("k").put<int32_t>(4).put<uint32_t>(1).bytes, "twice"},
      {GgufWriter().head(0, 1).text("general.alignment").put<int32_t>(4).put<uint32_t>(24).data(0).bytes, "power of two"},
      {one({4}, 77, 0, 16), "unknown type"},
      {one({33}, 8, 0, 68), "multiple"},
      {one({-4}, 0, 0, 16), "dimension"},
      {one({1LL << 40, 1LL << 40}, 0, 0, 16), "too large"},
      {one({1, 1, 1, 1, 1}, 0, 0, 16), "at most 4"},
      {one({4}, 0, 32, 48), "offset"},
      {one({4}, 0, 0, 8), "bytes of data"},
      {GgufWriter().head(1, 0).tensor(std::string(64, 'n'), {4}, 0, 0).data(16).bytes, "64"},
      {GgufWriter().head(2, 0).tensor("a", {4}, 0, 0).tensor("a", {4}, 0, 32).data(48).bytes, "twice"},
  };
  for (const auto& [bytes, says] : cases) {
    const auto broken = parse_gguf(bytes);
    ASSERT_FALSE(broken) << says;
    EXPECT_EQ(broken.error().code, ErrorCode::kCorrupt);
    EXPECT_NE(broken.error().message.find(says), std::string::npos) << broken.error().message << "\n  expected: " << says;
  }
  for (size_t cut = 0; cut < good.size(); ++cut) EXPECT_FALSE(parse_gguf(good.substr(0, cut))) << cut;
}

TEST(Gguf, BigEndianIsSaid) {
  for (const uint32_t version : {0x02000000u, 0x03000000u}) {
    const auto file = parse_gguf(GgufWriter().head(0, 0, version).bytes);
    ASSERT_FALSE(file);
    EXPECT_NE(file.error().message.find("big-endian"), std::string::npos) << file.error().message;
  }
}

// What people have in the place of a file, by its first bytes.
TEST(Files, WhatIsNoModelFileIsNamed) {
  const std::string page = std::string("\n  <!DOCTYPE html><html>") + std::string(100, ' ');
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12345\n", "Git LFS pointer"},
      {"/annex/objects/SHA256E-s12--0123.safetensors\n", "git-annex"},
      {page, "web page"},
      {"<HTML><head>", "web page"},
      {"<?xml version=\"1.0\"?><Error>", "web page"},
      {std::string("PK\x03\x04", 4) + std::string(60, '\0'), "zip"},
      {"\x80\x02}q\x01(X", "pickle"},
      {"\x80\x04\x95\x10", "pickle"},
      {"\x89HDF\r\n\x1a\n", "HDF5"},
      {"\x1f\x8b\x08", "gzip"},
      {"tjgg\x03", "before GGUF"}};
  for (const auto& [bytes, says] : cases) {
    EXPECT_NE(mistaken_for(bytes).find(says), std::string::npos) << says;
    const auto safetensors = parse_st(bytes);
    const auto gguf = parse_gguf(bytes);
    ASSERT_FALSE(safetensors || gguf);
    for (const auto& message : {safetensors.error().message, gguf.error().message}) EXPECT_NE(message.find(says), std::string::npos) << message;
  }
  for (const std::string good : {"{\"a\": 1}", "GGUF\x03", "{# a template #}<|im_start|>", ""}) EXPECT_EQ(mistaken_for(good), "");
  EXPECT_NE(parse_st("{\"error\": \"Repository not found\"}").error().message.find("JSON"), std::string::npos);
  EXPECT_NE(parse_st("GGUF\x03").error().message.find("GGUF"), std::string::npos);
  const std::string good = st(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  EXPECT_NE(parse_st(good.substr(0, good.size() - 1)).error().message.find("cut short"), std::string::npos);
}

// A file of the metadata of a llama and an embedding of two tokens.
struct TinyGguf {
  std::string pairs, tensors, data;
  int64_t pair_count = 0, tensor_count = 0;
  TinyGguf& text(const std::string& key, const std::string& value) {
    pairs += GgufWriter().text(key).put<int32_t>(8).text(value).bytes;
    ++pair_count;
    return *this;
  }
  TinyGguf& integer(const std::string& key, uint32_t value) {
    pairs += GgufWriter().text(key).put<int32_t>(4).put(value).bytes;
    ++pair_count;
    return *this;
  }
  TinyGguf& number(const std::string& key, float value) {
    pairs += GgufWriter().text(key).put<int32_t>(6).put(value).bytes;
    ++pair_count;
    return *this;
  }
  TinyGguf& tensor(const std::string& name, std::vector<int64_t> dims) {
    int64_t count = 1;
    for (const int64_t d : dims) count *= d;
    data.resize((data.size() + 31) / 32 * 32);
    tensors += GgufWriter().tensor(name, std::move(dims), 0, data.size()).bytes;
    data += std::string(static_cast<size_t>(count) * 4, '\0');
    ++tensor_count;
    return *this;
  }
  TinyGguf& llama() {
    text("general.architecture", "llama");
    for (const auto& [key, value] : std::vector<std::pair<const char*, uint32_t>>{
             {"embedding_length", 32}, {"feed_forward_length", 16}, {"block_count", 1}, {"context_length", 256}, {"attention.head_count", 2}}) {
      integer(std::string("llama.") + key, value);
    }
    return number("llama.attention.layer_norm_rms_epsilon", 1e-5F);
  }
  std::string bytes() const {
    std::string all = GgufWriter().head(tensor_count, pair_count).raw(pairs).raw(tensors).bytes;
    all.resize((all.size() + 31) / 32 * 32);
    return all + data;
  }
};

class GgufFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / fmt::format("colony-gguf-{}", ::getpid());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path put(const std::string& name, const TinyGguf& file) {
    EXPECT_TRUE(write_file(folder_ / name, file.bytes()));
    return folder_ / name;
  }
  fs::path folder_;
};

// llama.cpp's load_hparams, ggml_rope_yarn_corr_dims and rope_yarn.
TEST_F(GgufFolder, RopeKeysAsLlamaCppReadsThem) {
  using Kind = RopeConfig::Kind;
  const auto rope = [&](const std::function<void(TinyGguf&)>& with) -> Result<ModelConfig> {
    TinyGguf file;
    with(file.llama().tensor("token_embd.weight", {32, 2}));
    auto weights = Weights::open(put("m.gguf", file));
    if (!weights) return weights.error();
    return weights->config();
  };
  const std::string r = "llama.rope.";
  const std::vector<std::tuple<std::function<void(TinyGguf&)>, Kind, double>> linear = {
      {[](TinyGguf&) {}, Kind::kDefault, 1},
      {[&](TinyGguf& f) { f.number(r + "scale_linear", 4); }, Kind::kLinear, 4},
      {[&](TinyGguf& f) { f.number(r + "scaling.factor", 4); }, Kind::kLinear, 4},
      {[&](TinyGguf& f) { f.number(r + "scaling.factor", 2).number(r + "scale_linear", 8); }, Kind::kLinear, 2},
      {[&](TinyGguf& f) { f.number(r + "scaling.factor", 0).number(r + "scale_linear", 8); }, Kind::kDefault, 1},  // the new key is there
      {[&](TinyGguf& f) { f.text(r + "scaling.type", "linear").number(r + "scaling.factor", 4); }, Kind::kLinear, 4},
      {[&](TinyGguf& f) { f.text(r + "scaling.type", "linear"); }, Kind::kDefault, 1},
      {[&](TinyGguf& f) { f.text(r + "scaling.type", "linear").number(r + "scale_linear", 4); }, Kind::kLinear, 4},
      {[&](TinyGguf& f) { f.text(r + "scaling.type", "none").number(r + "scaling.factor", 4); }, Kind::kDefault, 1},
      {[&](TinyGguf& f) { f.text(r + "scaling.type", "none").number(r + "scale_linear", 4); }, Kind::kDefault, 1}};
  for (size_t i = 0; i < linear.size(); ++i) {
    const auto& [with, kind, factor] = linear[i];
    const auto config = rope(with);
    ASSERT_TRUE(config) << i << config.error().message;
    EXPECT_EQ(config->rope.kind, kind) << i;
    EXPECT_EQ(config->rope.factor, factor) << i;
    const RopeTable table(*config, config->rope);
    for (int k = 0; k < table.half(); ++k) {
      EXPECT_NEAR(table.frequencies(1)[static_cast<size_t>(k)] * factor, std::pow(1e4, -k / 8.0), 1e-6) << i;
    }
  }
  // Yarn by ggml's own formulas.
  for (const double attn : {1.0, 1.5}) {
    const auto config = rope([&](TinyGguf& f) {
      f.text(r + "scaling.type", "yarn").number(r + "scaling.factor", 4).integer(r + "scaling.original_context_length", 64);
      if (attn != 1) f.number(r + "scaling.attn_factor", static_cast<float>(attn));
    });
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->context_length(), 256);
    const RopeTable table(*config, config->rope);
    const auto corr = [](double rotations) { return 16 * std::log(64 / (rotations * 2 * 3.14159265358979)) / (2 * std::log(1e4)); };
    const double low = std::max(0.0, std::floor(corr(32))), high = std::min(15.0, std::ceil(corr(1)));
    for (int k = 0; k < 8; ++k) {
      const double base = std::pow(1e4, -k / 8.0), mix = 1 - std::clamp((k - low) / std::max(0.001, high - low), 0.0, 1.0);
      EXPECT_NEAR(table.frequencies(1)[static_cast<size_t>(k)], base / 4 * (1 - mix) + base * mix, 1e-6) << k;
    }
    EXPECT_NEAR(table.attention_factor(), (1 + 0.1 * std::log(4.0)) * attn, 1e-6);
  }
  const auto bare_yarn = rope([&](TinyGguf& f) { f.text(r + "scaling.type", "yarn"); });
  ASSERT_TRUE(bare_yarn) << bare_yarn.error().message;
  EXPECT_EQ(bare_yarn->rope.factor, 1);
  // What cannot be done here is named.
  for (const auto& [with, says] : std::vector<std::pair<std::function<void(TinyGguf&)>, std::string>>{
           {[&](TinyGguf& f) { f.text(r + "scaling.type", "longrope"); }, "longrope"},
           {[&](TinyGguf& f) { f.text(r + "scaling.type", "spiral"); }, "spiral"},
           {[&](TinyGguf& f) { f.number(r + "scaling.factor", -2); }, "scaling.factor is -2"},
           {[&](TinyGguf& f) { f.number(r + "scale_linear", -2); }, "scale_linear is -2"},
           {[&](TinyGguf& f) { f.number(r + "scaling.factor", 2).number(r + "scaling.yarn_ext_factor", 1); }, "yarn_ext_factor"},
           {[&](TinyGguf& f) { f.text(r + "scaling.type", "yarn").number(r + "scaling.yarn_log_multiplier", 0.1F); }, "yarn_log_multiplier"},
           {[&](TinyGguf& f) { f.number(r + "scaling.attn_factor", 2); }, "attn_factor"}}) {
    const auto config = rope(with);
    ASSERT_FALSE(config) << says;
    EXPECT_NE(config.error().message.find(says), std::string::npos) << config.error().message;
  }
}

TEST_F(GgufFolder, AnyPartOfASplitModelIsTheWhole) {
  const auto part = [](int number, int count, int tensors) {
    TinyGguf file;
    if (number == 0) file.llama();
    return file.integer("split.no", static_cast<uint32_t>(number)).integer("split.count", static_cast<uint32_t>(count)).integer("split.tensors.count", static_cast<uint32_t>(tensors));
  };
  const fs::path first = put("m-00001-of-00003.gguf", part(0, 3, 4).tensor("token_embd.weight", {32, 2}));
  const fs::path second = put("m-00002-of-00003.gguf", part(1, 3, 4).tensor("output_norm.weight", {32}).tensor("blk.0.attn_norm.weight", {32}));
  const auto lacking = GgufFile::open(second);
  ASSERT_FALSE(lacking);
  EXPECT_EQ(lacking.error().code, ErrorCode::kNotFound);
  EXPECT_NE(lacking.error().message.find("part 2 of 3"), std::string::npos) << lacking.error().message;
  EXPECT_NE(lacking.error().message.find("m-00003-of-00003.gguf"), std::string::npos) << lacking.error().message;
  const fs::path third = put("m-00003-of-00003.gguf", part(2, 3, 4).tensor("blk.0.ffn_norm.weight", {32}));
  std::string hash;
  for (const auto& path : {first, second, third}) {
    const auto file = GgufFile::open(path);
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ((*file)->tensors().size(), 4u);
    EXPECT_EQ((*file)->parts().size(), 3u);
    EXPECT_EQ(**(*file)->text("general.architecture"), "llama");
    const auto weights = Weights::open(path);
    ASSERT_TRUE(weights) << weights.error().message;
    EXPECT_TRUE(weights->find("model.layers.0.post_attention_layernorm.weight", 1, 32));
    if (hash.empty()) hash = weights->content_hash();
    EXPECT_EQ(weights->content_hash(), hash) << "the same model whichever part is named";
  }
  const auto error_of = [](const fs::path& path) {
    const auto file = GgufFile::open(path);
    return file ? std::string() : file.error().message;
  };
  put("m-00003-of-00003.gguf", part(2, 3, 4).tensor("output_norm.weight", {32}));
  EXPECT_NE(error_of(first).find("output_norm.weight stands in an earlier part"), std::string::npos) << error_of(first);
  put("m-00003-of-00003.gguf", part(2, 3, 4));
  EXPECT_NE(error_of(first).find("3 tensors"), std::string::npos) << error_of(first);
  put("m-00003-of-00003.gguf", part(1, 3, 4).tensor("x", {32}));
  EXPECT_NE(error_of(first).find("says it is part 2 of 3"), std::string::npos) << error_of(first);
  const fs::path other = put("other.gguf", part(0, 2, 4).tensor("token_embd.weight", {32, 2}));
  EXPECT_NE(error_of(other).find("part 1 of 2 of a split model"), std::string::npos) << error_of(other);
  EXPECT_EQ(error_of(put("one-00001-of-00001.gguf", part(0, 1, 1).tensor("token_embd.weight", {32, 2}))), "");
}

TEST_F(GgufFolder, NamesTheModelItWasMadeOf) {
  const auto origin = [&](const std::string& name, const std::map<std::string, std::string>& says) {
    TinyGguf file;
    file.llama();
    for (const auto& [key, value] : says) file.text("general." + key, value);
    return gguf_origin(**GgufFile::open(put(name, file))).value_or("");
  };
  EXPECT_EQ(origin("a.gguf", {}), "");
  EXPECT_EQ(origin("a.gguf", {{"base_model.0.repo_url", "https://huggingface.co/org/Base-1B"}}), "org/Base-1B");
  EXPECT_EQ(origin("a.gguf", {{"base_model.0.repo_url", "https://huggingface.co/org/Base-1B-Instruct"}, {"finetune", "Instruct"}}), "org/Base-1B-Instruct");
  EXPECT_EQ(origin("a.gguf", {{"source.huggingface.repository", "org/src"}, {"base_model.0.repo_url", "https://huggingface.co/org/Base-1B"}}), "org/src");
  EXPECT_EQ(origin("a.gguf", {{"source.repo_url", "https://huggingface.co/org/src/tree/main"}}), "org/src");
  // The base of a fine-tune is not what these weights are.
  EXPECT_EQ(origin("a.gguf", {{"base_model.0.repo_url", "https://huggingface.co/org/Base-1B"}, {"finetune", "Instruct"}}), "");
  EXPECT_EQ(origin("Base-1B-Instruct-Q4_K_M.gguf", {{"base_model.0.repo_url", "https://huggingface.co/org/Base-1B"}, {"finetune", "Instruct"},
                                                    {"organization", "Our Org"}, {"basename", "base"}}), "Our-Org/Base-1B-Instruct");
  // As the starter model says it.
  EXPECT_EQ(origin("SmolLM2-135M-Instruct.Q4_1.gguf", {{"organization", "HuggingFaceTB"}, {"basename", "smollm2"}, {"finetune", "8k-lc100k-mix1-ep2"}}),
            "HuggingFaceTB/SmolLM2-135M-Instruct");
  EXPECT_EQ(origin("mine.gguf", {{"organization", "HuggingFaceTB"}, {"basename", "smollm2"}}), "");
}

// ---- whole checkpoints ----

class BrokenFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / fmt::format("colony-files-{}", ::getpid());
    fs::remove_all(folder_);
    fs::copy("tests/goldens/checkpoints/llama_default", folder_);
    ASSERT_TRUE(load());
  }
  void TearDown() override { fs::remove_all(folder_); }
  Result<std::shared_ptr<const Transformer>> load() { return Transformer::load(folder_, {}, ledger_, pool_); }
  void config(const char* key, const Json& value) {
    auto json = *parse_json(*read_file(folder_ / "config.json"));
    if (value.is_null()) json.erase(key);
    else json[key] = value;
    ASSERT_TRUE(write_file(folder_ / "config.json", to_line(json)));
  }
  void expect_error(const std::string& says) {
    const auto model = load();
    ASSERT_FALSE(model) << says;
    EXPECT_NE(model.error().message.find(says), std::string::npos) << model.error().message << "\n  expected: " << says;
    EXPECT_EQ(ledger_.used(), 0u) << "a failed load keeps bytes";
  }
  fs::path folder_;
  ByteLedger ledger_{1 << 30};
  tensor::ThreadPool pool_{1};
};

TEST_F(BrokenFolder, MissingFiles) {
  fs::remove(folder_ / "model.safetensors");
  expect_error("neither model.safetensors");
  ASSERT_TRUE(write_file(folder_ / "pytorch_model.bin", "x"));
  expect_error("pytorch_model.bin");
  fs::remove(folder_ / "config.json");
  expect_error("config.json");
}
TEST_F(BrokenFolder, ConfigsThatAreNone) {
  for (const auto& [key, value, says] : std::vector<std::tuple<const char*, Json, std::string>>{
           {"hidden_size", "x", "hidden_size"}, {"hidden_size", 0, "hidden_size"}, {"hidden_size", -32, "hidden_size"},
           {"hidden_size", 1LL << 40, "hidden_size"}, {"num_attention_heads", 0, "num_attention_heads"},
           {"num_key_value_heads", 3, "num_key_value_heads"}, {"model_type", "mamba", "mamba"}, {"vocab_size", 1e9, "vocab_size"},
           {"rms_norm_eps", -1, "rms_norm_eps"}, {"num_hidden_layers", 1 << 30, "num_hidden_layers"},
           {"rope_parameters", Json{{"rope_type", "spiral"}}, "spiral"}, {"quantization_config", Json{{"quant_method", "gptq"}}, "quantization_config"}}) {
    TearDown();
    SetUp();
    config(key, value);
    expect_error(says);
  }
  ASSERT_TRUE(write_file(folder_ / "config.json", "{"));
  expect_error("config.json");
  ASSERT_TRUE(write_file(folder_ / "config.json", "[]"));
  expect_error("config.json");
}
// LlamaConfig keeps -1 and null; neither is a token.
TEST(Config, TokenIdsThatMeanNone) {
  const auto parse = [](Json more) {
    Json json = {{"model_type", "llama"}, {"hidden_size", 32}, {"intermediate_size", 64}, {"num_hidden_layers", 1}, {"num_attention_heads", 2}, {"vocab_size", 64}};
    json.update(more);
    return parse_model_config(json, "config.json");
  };
  for (const char* key : {"pad_token_id", "bos_token_id", "eos_token_id"}) {
    for (const Json& none : {Json(-1), Json(nullptr), Json::array(), Json::array({-1}), Json(-100)}) {
      const auto config = parse({{key, none}});
      ASSERT_TRUE(config) << key << none << config.error().message;
      EXPECT_TRUE(!config->pad_token_id && !config->bos_token_id && config->eos_token_ids.empty()) << key << none;
    }
    for (const Json& bad : {Json("x"), Json(1.5), Json(true), Json::array({"x"})}) EXPECT_FALSE(parse({{key, bad}})) << key << bad;
  }
  EXPECT_EQ(parse({{"eos_token_id", {7, -1, 9}}})->eos_token_ids, (std::vector<int32_t>{7, 9}));
  EXPECT_EQ(parse({{"bos_token_id", {3, 4}}})->bos_token_id, 3);
  EXPECT_TRUE(parse({{"eos_token_id", 4294967295}})->eos_token_ids.empty());
}

// A folder with biases whose config denies them gives what it gives without; one that promises them must have them.
TEST(Biases, AreReadWhereTheConfigSaysSo) {
  const fs::path folder = fs::temp_directory_path() / fmt::format("colony-biases-{}", ::getpid());
  fs::remove_all(folder);
  fs::copy("tests/goldens/checkpoints/llama_tied_bias_headdim", folder);
  const auto set = [&](const char* key, bool value) {
    auto json = *parse_json(*read_file(folder / "config.json"));
    json[key] = value;
    EXPECT_TRUE(write_file(folder / "config.json", to_line(json)));
  };
  const auto size_of = [&](const std::string& module) -> int64_t {
    const auto weights = Weights::open(folder);
    if (!weights) return -1;
    const auto rows = weights->has(module + ".weight") ? (*SafetensorsFile::open(folder / "model.safetensors"))->tensors().at(module + ".weight").shape[0] : 0;
    const auto biases = weights->biases({{module, static_cast<int64_t>(rows)}});
    return biases ? static_cast<int64_t>(biases->size()) : -1;
  };
  const std::string q = "model.layers.0.self_attn.q_proj", gate = "model.layers.0.mlp.gate_proj";
  EXPECT_GT(size_of(q), 0);
  EXPECT_GT(size_of(gate), 0);
  set("mlp_bias", false);
  EXPECT_GT(size_of(q), 0);
  EXPECT_EQ(size_of(gate), 0);
  set("attention_bias", false);
  EXPECT_EQ(size_of(q), 0);
  ByteLedger ledger(1 << 30);
  tensor::ThreadPool pool(1);
  EXPECT_TRUE(Transformer::load(folder, {}, ledger, pool));
  EXPECT_TRUE(Transformer::check(folder, tensor::WeightType::kF32, ledger));
  fs::remove_all(folder);
  fs::copy("tests/goldens/checkpoints/llama_default", folder);
  set("attention_bias", true);
  const auto lacking = Transformer::check(folder, tensor::WeightType::kF32, ledger);
  ASSERT_FALSE(lacking);
  EXPECT_NE(lacking.error().message.find("q_proj.bias is missing"), std::string::npos) << lacking.error().message;
  fs::remove_all(folder);
}

// What the families' configurations say, in transformers 4's form and in 5's, and what of it is refused.
TEST(Families, Qwen3AndGemma3) {
  const auto parse = [](Json json) {
    const Json usual = {{"hidden_size", 32}, {"intermediate_size", 64}, {"num_hidden_layers", 4}, {"num_attention_heads", 2}, {"num_key_value_heads", 1}, {"vocab_size", 64}};
    for (const auto& [key, value] : usual.items()) {
      if (!json.contains(key)) json[key] = value;
    }
    return parse_model_config(json, "config.json");
  };
  const auto error = [&](const Json& json) {
    const auto config = parse(json);
    return config ? std::string() : config.error().message;
  };
  const auto qwen3 = parse({{"model_type", "qwen3"}, {"sliding_window", 4096}, {"use_sliding_window", false}});
  ASSERT_TRUE(qwen3) << qwen3.error().message;
  EXPECT_TRUE(qwen3->qk_norm && !qwen3->norm_offset && !qwen3->post_norms && !qwen3->gelu);
  EXPECT_EQ(qwen3->head_dim, 128);  // the family's own, not hidden / heads
  EXPECT_EQ(qwen3->window(3), 0);
  const auto windowed = parse({{"model_type", "qwen3"}, {"sliding_window", 9}, {"use_sliding_window", true}, {"max_window_layers", 2}});
  ASSERT_TRUE(windowed);
  EXPECT_EQ(windowed->windows, (std::vector<int64_t>{0, 0, 9, 9}));
  EXPECT_EQ(windowed->rope_of(3).theta, 1e4);

  const auto old = parse({{"model_type", "gemma3_text"}, {"sliding_window", 8}, {"sliding_window_pattern", 3}, {"rope_local_base_freq", 2e4},
                          {"rope_scaling", {{"rope_type", "linear"}, {"factor", 8.0}}}});
  ASSERT_TRUE(old) << old.error().message;
  EXPECT_TRUE(old->qk_norm && old->norm_offset && old->post_norms && old->gelu && old->tie_word_embeddings);
  EXPECT_EQ(old->windows, (std::vector<int64_t>{8, 8, 0, 8}));
  EXPECT_EQ(old->rope_of(2).theta, 1e6);
  EXPECT_EQ(old->rope_of(2).kind, RopeConfig::Kind::kLinear);
  EXPECT_EQ(old->rope_of(0).theta, 2e4);
  EXPECT_EQ(old->rope_of(0).kind, RopeConfig::Kind::kDefault);
  EXPECT_EQ(old->attention_scale, 1.0 / 16);  // query_pre_attn_scalar 256
  EXPECT_EQ(old->head_dim, 256);
  const auto now = parse({{"model_type", "gemma3_text"}, {"sliding_window", 8}, {"layer_types", {"full_attention", "sliding_attention", "full_attention", "full_attention"}},
                          {"rope_parameters", {{"full_attention", {{"rope_type", "default"}, {"rope_theta", 5e5}}}, {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 3e4}}}}}});
  ASSERT_TRUE(now) << now.error().message;
  EXPECT_EQ(now->windows, (std::vector<int64_t>{0, 8, 0, 0}));
  EXPECT_EQ(now->rope_of(0).theta, 5e5);
  EXPECT_EQ(now->rope_of(1).theta, 3e4);

  EXPECT_NE(error({{"model_type", "gemma3_text"}, {"final_logit_softcapping", 30.0}}).find("final_logit_softcapping = 30"), std::string::npos);
  EXPECT_NE(error({{"model_type", "gemma3_text"}, {"hidden_activation", "relu"}}).find("relu"), std::string::npos);
  EXPECT_NE(error({{"model_type", "gemma3_text"}, {"use_bidirectional_attention", true}}).find("use_bidirectional_attention"), std::string::npos);
  EXPECT_NE(error({{"model_type", "gemma3_text"}, {"sliding_window", 0}}).find("sliding_window is 0"), std::string::npos);
  EXPECT_NE(error({{"model_type", "gemma3_text"}, {"query_pre_attn_scalar", -1}}).find("q·k"), std::string::npos);
  EXPECT_NE(error({{"model_type", "qwen3"}, {"layer_types", {"full_attention"}}}).find("layer_types"), std::string::npos);
  EXPECT_NE(error({{"model_type", "qwen3"}, {"layer_types", {"full_attention", "full_attention", "linear_attention", "full_attention"}}}).find("linear_attention"), std::string::npos);
  EXPECT_NE(error({{"model_type", "gemma2"}}).find("gemma2"), std::string::npos);
}

// max_position_embeddings 100; what each kind of rope makes of it.
TEST(Context, AStretchedRopeReachesFurther) {
  const auto context = [](const Json& rope) {
    const Json json = {{"model_type", "llama"}, {"hidden_size", 32}, {"intermediate_size", 64}, {"num_hidden_layers", 1},
                       {"num_attention_heads", 2}, {"vocab_size", 64}, {"max_position_embeddings", 100}, {"rope_scaling", rope}};
    const auto config = parse_model_config(json, "config.json");
    return config ? config->context_length() : -1;
  };
  EXPECT_EQ(context(nullptr), 100);
  EXPECT_EQ(context({{"rope_type", "linear"}, {"factor", 4.0}}), 400);
  EXPECT_EQ(context({{"rope_type", "dynamic"}, {"factor", 2.5}}), 250);
  EXPECT_EQ(context({{"rope_type", "linear"}, {"factor", 0.5}}), 100);
  EXPECT_EQ(context({{"rope_type", "linear"}, {"factor", 1e300}}), 1 << 26);
  EXPECT_EQ(context({{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 25}}), 100);
  EXPECT_EQ(context({{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 100}}), 400);
  EXPECT_EQ(context({{"rope_type", "llama3"}, {"factor", 8.0}, {"original_max_position_embeddings", 50}}), 100);
}
TEST_F(BrokenFolder, TensorsOfAnotherShapeOrTypeOrNone) {
  config("num_hidden_layers", 3);
  expect_error("model.layers.2");
  config("num_hidden_layers", 2);
  config("intermediate_size", 65);
  expect_error("mlp");
}
TEST_F(BrokenFolder, AnIndexThatLies) {
  fs::remove(folder_ / "model.safetensors");
  for (const auto& [text, says] : std::vector<std::pair<std::string, std::string>>{
           {"{}", "weight_map"}, {R"({"weight_map":{}})", "empty"}, {R"({"weight_map":{"a":"../x.safetensors"}})", "without a path"},
           {R"({"weight_map":{"a":"gone.safetensors"}})", "gone.safetensors"}, {R"({"weight_map":{"a":3}})", "file name"}}) {
    ASSERT_TRUE(write_file(folder_ / "model.safetensors.index.json", text));
    expect_error(says);
  }
}
TEST_F(BrokenFolder, MoreThanTheLedgerHolds) {
  ByteLedger small(1000);
  const auto model = Transformer::load(folder_, {}, small, pool_);
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kExhausted);
  EXPECT_EQ(small.used(), 0u);
}
TEST_F(BrokenFolder, TheContentHashTellsModelsApart) {
  const std::string whole = *read_file(folder_ / "model.safetensors"), hash = (*load())->content_hash();
  EXPECT_EQ(hash.size(), 64u);
  EXPECT_EQ((*Transformer::load("tests/goldens/checkpoints/llama_default", {}, ledger_, pool_))->content_hash(), hash);
  std::string other = whole;
  other[other.size() - 5] ^= 1;
  ASSERT_TRUE(write_file(folder_ / "model.safetensors", other));
  EXPECT_NE((*load())->content_hash(), hash);
  ASSERT_TRUE(write_file(folder_ / "model.safetensors", whole));
  EXPECT_EQ((*load())->content_hash(), hash);
  config("rms_norm_eps", 2e-6);
  EXPECT_NE((*load())->content_hash(), hash);
}

// ---- packed weights that are kept ----

class KeptWeights : public BrokenFolder {
 protected:
  void SetUp() override {
    BrokenFolder::SetUp();
    fs::remove_all(kept_);
  }
  void TearDown() override {
    fs::remove_all(kept_);
    BrokenFolder::TearDown();
  }
  std::vector<float> logits(const PackedCache* cache, tensor::WeightType dtype = tensor::WeightType::kInt8) {
    const auto model = Transformer::load(folder_, {.dtype = dtype, .packed = cache}, ledger_, pool_);
    if (!model) ADD_FAILURE() << model.error().message;
    return model ? golden::Runner(*model, 8, ledger_, pool_).feed({1, 2, 3, 4, 5}, 5) : std::vector<float>();
  }
  std::vector<fs::path> files() const {
    std::vector<fs::path> all;
    if (fs::exists(kept_)) {
      for (const auto& at : fs::directory_iterator(kept_)) all.push_back(at.path());
    }
    return all;
  }
  const fs::path kept_ = fs::temp_directory_path() / fmt::format("colony-packed-{}", ::getpid());
  const PackedCache cache_{kept_, {.most = 64 << 20, .least = 0}};
};

TEST_F(KeptWeights, GiveTheSameBitsAndAreReallyUsed) {
  for (const auto dtype : {tensor::WeightType::kF32, tensor::WeightType::kBf16, tensor::WeightType::kInt8, tensor::WeightType::kInt4}) {
    fs::remove_all(kept_);
    const auto plain = logits(nullptr, dtype);
    ASSERT_TRUE(std::any_of(plain.begin(), plain.end(), [](float x) { return x != 0; }));
    EXPECT_EQ(logits(&cache_, dtype), plain);
    ASSERT_EQ(files().size(), 1u);
    EXPECT_EQ(logits(&cache_, dtype), plain);
    // Other numbers in the file are other numbers in the model.
    std::string bytes = *read_file(files()[0]);
    for (size_t i = 0; i < bytes.size() - 4096; ++i) bytes[i] = static_cast<char>(bytes[i] ^ 1);
    ASSERT_TRUE(write_file(files()[0], bytes));
    EXPECT_NE(logits(&cache_, dtype), plain);
  }
}
TEST_F(KeptWeights, OfOtherFilesOrAnotherTypeAreNotUsed) {
  logits(&cache_);
  ASSERT_EQ(files().size(), 1u);
  logits(&cache_, tensor::WeightType::kInt4);
  EXPECT_EQ(files().size(), 2u);
  fs::last_write_time(folder_ / "model.safetensors", fs::file_time_type::clock::now() + std::chrono::seconds(5));
  logits(&cache_);
  EXPECT_EQ(files().size(), 3u);
}
TEST_F(KeptWeights, ThatAreBrokenAreMadeAnew) {
  const auto plain = logits(&cache_);
  const std::string whole = *read_file(files().at(0));
  for (const std::string& broken : {std::string(), whole.substr(0, 100), whole.substr(0, whole.size() - 1), whole + "x",
                                    whole.substr(0, whole.size() - 4096) + std::string(4096, 'x')}) {
    ASSERT_TRUE(write_file(files().at(0), broken));
    EXPECT_EQ(logits(&cache_), plain);
    EXPECT_EQ(*read_file(files().at(0)), whole);
  }
}
TEST_F(KeptWeights, ThatCannotBeWrittenAreDoneWithout) {
  ASSERT_TRUE(write_file(kept_, "a file where the folder would be"));
  EXPECT_EQ(logits(&cache_), logits(nullptr));
}
TEST_F(KeptWeights, StayWithinTheirLimits) {
  const auto some = [](size_t size) { return std::vector<std::byte>(size, std::byte{7}); };
  const PackedCache cache(kept_, {.most = 100000, .least = 1000});
  cache.keep("small", some(999));
  cache.keep("large", some(50001));
  EXPECT_TRUE(files().empty());
  for (const char* key : {"a", "b", "c"}) {
    cache.keep(key, some(20000));
    fs::last_write_time(kept_ / (std::string(key) + ".packed"), fs::file_time_type::clock::now() - std::chrono::hours(std::string("cba").find(*key) + 1));
  }
  ASSERT_EQ(files().size(), 3u);
  for (const char* name : {"note.txt", "old.packed.17.part", "new.packed.18.part"}) ASSERT_TRUE(write_file(kept_ / name, "not ours, or a part"));
  fs::last_write_time(kept_ / "old.packed.17.part", fs::file_time_type::clock::now() - std::chrono::hours(2));
  EXPECT_NE(cache.find("a", 20000), nullptr);  // used now, so b is the oldest
  EXPECT_EQ(cache.find("a", 19999), nullptr);
  cache.keep("d", some(40000));
  EXPECT_EQ(cache.find("b", 20000), nullptr);
  for (const auto& [key, size] : {std::pair{"a", 20000}, {"c", 20000}, {"d", 40000}}) {
    const auto found = cache.find(key, static_cast<uint64_t>(size));
    ASSERT_NE(found, nullptr) << key;
    EXPECT_TRUE(std::all_of(found->bytes().begin(), found->bytes().begin() + size, [](std::byte b) { return b == std::byte{7}; }));
  }
  EXPECT_TRUE(fs::exists(kept_ / "note.txt"));
  EXPECT_FALSE(fs::exists(kept_ / "old.packed.17.part")) << "its writer is gone";
  EXPECT_TRUE(fs::exists(kept_ / "new.packed.18.part"));
}

TEST_F(BrokenFolder, EveryFlippedByteOfTheHeaderIsAnErrorOrAModel) {
  const std::string whole = *read_file(folder_ / "model.safetensors");
  for (uint64_t round = 0; round < 200; ++round) {
    RngStream rng(3, round, 0, 0);
    std::string bytes = whole;
    bytes[rng.below(2000)] = static_cast<char>(rng.below(256));
    if (round % 4 == 0) bytes.resize(rng.below(bytes.size()));
    ASSERT_TRUE(write_file(folder_ / "model.safetensors", bytes));
    const auto model = load();
    if (!model) { EXPECT_FALSE(model.error().message.empty()); }
  }
}

}  // namespace
}  // namespace colony::model
