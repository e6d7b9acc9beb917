#include "base/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"

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

// Results sent to /dev/null must not turn it into a file.
TEST(File, WhatIsNoRegularFileIsWrittenToAndNeverReplaced) {
  const auto pipe = temp("colony_pipe"), link = temp("colony_link"), file = temp("colony_linked");
  std::filesystem::remove(pipe);
  std::filesystem::remove(link);
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  ASSERT_TRUE(check_writable(pipe));
  ASSERT_TRUE(write_file(pipe, "hello"));
  char read[8] = {};
  EXPECT_EQ(::read(reader, read, sizeof read), 5);
  ::close(reader);
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
  std::filesystem::remove(pipe);

  ASSERT_TRUE(write_file(file, "old"));
  std::filesystem::create_symlink(file, link);
  ASSERT_TRUE(write_file(link, "new"));
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(*read_file(file), "new");
  std::filesystem::remove(link);
  std::filesystem::remove(file);
}

TEST(File, AWriteThatFailsLeavesNothingBehind) {
  const auto folder = temp("colony_write_fails");
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder / "taken" / "full");
  EXPECT_FALSE(write_file(folder / "taken", "x"));
  EXPECT_FALSE(check_writable(folder / "taken"));
  EXPECT_FALSE(check_writable(folder / "absent" / "x"));
  EXPECT_TRUE(check_writable(folder / "x"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
  std::filesystem::remove_all(folder);
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
