#include "base/file.h"

#include <gtest/gtest.h>

#include "base/sha256.h"

namespace colony {
namespace {

std::filesystem::path temp(const char* name) {
  return std::filesystem::path(testing::TempDir()) / name;
}

TEST(File, WrittenIsRead) {
  const auto path = temp("colony_file_test");
  ASSERT_TRUE(write_file(path, "hello"));
  EXPECT_EQ(*read_file(path), "hello");
  EXPECT_EQ(read_file(path, 4).error().code, ErrorCode::kExhausted);
  auto mapped = MappedFile::open(path);
  ASSERT_TRUE(mapped);
  EXPECT_EQ((*mapped)->bytes().size(), 5u);
  std::filesystem::remove(path);
}

TEST(File, SaysWhatIsMissing) {
  EXPECT_EQ(read_file(temp("colony_absent")).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(MappedFile::open(temp("colony_absent")).error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(read_file(testing::TempDir()));
  EXPECT_FALSE(MappedFile::open(testing::TempDir()));
}

// FIPS 180-4 examples, and a length that crosses blocks.
TEST(Sha256, MatchesTheStandard) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace
}  // namespace colony
