// Good files: what the reader must find in them.

#include "tools/gguf_bytes.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

namespace q4fuse_test {
namespace {

using q4fuse_tools::gguf_error;
using q4fuse_tools::gguf_file;
using q4fuse_tools::gguf_tensor;

const std::string kFixture = Q4FUSE_TEST_DATA "/smollm2/";
const std::string kTensor = "blk.0.attn_k.weight";

TEST(GgufFile, FindsTheTensorOfARealModel) {
  gguf_file file(kFixture + "attn_k.gguf");
  EXPECT_EQ(file.version(), 3u);
  ASSERT_EQ(file.tensors().size(), 1u);
  const gguf_tensor& tensor = file.find_q4_0(kTensor);
  EXPECT_EQ(tensor.n(), 192);
  EXPECT_EQ(tensor.k(), 576);
  EXPECT_EQ(tensor.bytes, 192u * 18 * 18);
}

TEST(GgufFile, ReadsTheBytesThatTheWriterWrote) {
  gguf_file file(kFixture + "attn_k.gguf");
  const std::vector<uint8_t> bytes = file.read(file.find_q4_0(kTensor));
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), read_whole_file(kFixture + kTensor + ".q4_0"));
}

TEST(GgufFile, ReadsATensorAgainAndAfterAnother) {
  gguf_file file = parse(make_gguf({{"a", {32, 2}, kQ4_0, 0}, {"b", {32, 3}, kQ4_0, 64}}, 64 + 54));
  const std::vector<uint8_t> b = file.read(file.find_q4_0("b"));
  const std::vector<uint8_t> a = file.read(file.find_q4_0("a"));
  ASSERT_EQ(a.size(), 36u);
  ASSERT_EQ(b.size(), 54u);
  EXPECT_EQ(a[0], 0);
  EXPECT_EQ(b[0], 64);
  EXPECT_EQ(file.read(file.find_q4_0("b")), b);
}

TEST(GgufFile, AcceptsVersion2) { EXPECT_EQ(parse(make_gguf({{}}, 144, {}, 0, 2)).version(), 2u); }

TEST(GgufFile, AcceptsAFileWithoutTensors) { EXPECT_TRUE(parse(make_gguf({}, 0)).tensors().empty()); }

TEST(GgufFile, CountsTheRowsOfAStackOfMatrices) {
  const gguf_file file = parse(make_gguf({{"experts", {64, 4, 3}, kQ4_0, 0}}, 64 / 32 * 18 * 4 * 3));
  EXPECT_EQ(file.tensors()[0].n(), 12);
  EXPECT_EQ(file.tensors()[0].k(), 64);
}

TEST(GgufFile, TakesAVectorForOneRow) {
  EXPECT_EQ(parse(make_gguf({{"row", {64}, kQ4_0, 0}}, 36)).tensors()[0].n(), 1);
}

TEST(GgufFile, FollowsTheAlignmentOfTheMetadata) {
  const gguf_bytes metadata = gguf_bytes().text("general.alignment").u32(4).u32(256);
  const std::string bytes = make_gguf({{"w", {32, 1}, kQ4_0, 256}}, 256 + 18, metadata, 1, 3, 256);
  const gguf_file file = parse(bytes);
  EXPECT_EQ(file.tensors()[0].offset % 256, 0u);
  EXPECT_EQ(file.tensors()[0].offset + 18, bytes.size());
}

TEST(GgufFile, StepsOverEveryTypeOfMetadata) {
  constexpr int kFixedBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  gguf_bytes metadata;
  uint64_t count = 0;
  for (uint32_t type = 0; type < 13; ++type) {
    if (kFixedBytes[type] == 0) continue;
    const std::string value(static_cast<size_t>(kFixedBytes[type]), '\1');
    metadata.text("value" + std::to_string(type)).u32(type).raw(value);
    metadata.text("array" + std::to_string(type)).u32(9).u32(type).u64(3).raw(value + value + value);
    count += 2;
  }
  metadata.text("text").u32(8).text("hello");
  metadata.text("texts").u32(9).u32(8).u64(2).text("").text("world");
  metadata.text("empty").u32(9).u32(8).u64(0);
  metadata.text("nested").u32(9).u32(9).u64(2).u32(0).u64(1).raw("x").u32(8).u64(1).text("y");
  const gguf_file file = parse(make_gguf({{}}, 144, metadata, count + 4));
  EXPECT_EQ(file.tensors()[0].name, "w");
}

TEST(GgufFile, NamesWhatItCannotFind) {
  const gguf_file file = parse(make_gguf({{"norm", {64}, kF32, 0}}, 256));
  const auto message = [&](const std::string& name) {
    try {
      (void)file.find_q4_0(name);
      return std::string();
    } catch (const gguf_error& error) {
      return std::string(error.what());
    }
  };
  EXPECT_EQ(message("norm"), "test.gguf: tensor 'norm' is F32, not Q4_0");
  EXPECT_EQ(message("other"), "test.gguf: no tensor 'other'");
}

TEST(GgufFile, SaysWhyAPathIsNoFile) {
  const auto message = [](const std::string& path) {
    try {
      gguf_file file(path);
      return std::string();
    } catch (const gguf_error& error) {
      return std::string(error.what());
    }
  };
  EXPECT_EQ(message(kFixture + "none.gguf"), kFixture + "none.gguf: no such file");
  EXPECT_EQ(message(kFixture), kFixture + ": not a regular file");
}

// A file that shrinks after it was opened: mapped memory would end the process here.
TEST(GgufFile, ReportsDataThatHasGoneAndReadsOn) {
  const std::string path = ::testing::TempDir() + "q4fuse_shrinking.gguf";
  const std::string bytes = make_gguf({{"stays", {32, 1}, kQ4_0, 0}, {"goes", {32, 1}, kQ4_0, 32}}, 32 + 18);
  std::ofstream(path, std::ios::binary) << bytes;
  gguf_file file(path);
  std::ofstream(path, std::ios::binary) << bytes.substr(0, bytes.size() - 1);
  EXPECT_THROW((void)file.read(file.find_q4_0("goes")), gguf_error);
  EXPECT_EQ(file.read(file.find_q4_0("stays")).size(), 18u);
  std::remove(path.c_str());
}

TEST(InQuotes, EscapesWhatATerminalWouldObey) {
  EXPECT_EQ(q4fuse_tools::in_quotes("blk.0"), "'blk.0'");
  EXPECT_EQ(q4fuse_tools::in_quotes("\x1B[2J\n\x80"), "'\\x1B[2J\\x0A\\x80'");
}

}  // namespace
}  // namespace q4fuse_test
