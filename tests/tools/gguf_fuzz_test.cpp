// Damaged files by the thousand: each is read to an end or refused in one line, and memory stays in proportion.

#include "tools/allocation_watch.hpp"
#include "tools/gguf_bytes.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace q4fuse_test {
namespace {

/// Every feature of a header: metadata of several types, nested arrays, an alignment of its own, several tensors.
std::string rich_file() {
  gguf_bytes metadata;
  metadata.text("general.architecture").u32(8).text("llama");
  metadata.text("general.alignment").u32(4).u32(64);
  metadata.text("tokens").u32(9).u32(8).u64(3).text("a").text("bc").text("");
  metadata.text("scores").u32(9).u32(6).u64(2).u32(0).u32(1);
  metadata.text("nested").u32(9).u32(9).u64(1).u32(8).u64(1).text("x");
  return make_gguf({{"token_embd.weight", {64, 8}, kF32, 0},
                    {"blk.0.attn_k.weight", {64, 4}, kQ4_0, 2048},
                    {"blk.0.ffn_up.weight", {32, 4, 2}, kQ4_0, 2240}},
                   2240 + 144, metadata, 5, 3, 64);
}

struct outcome {
  bool accepted;
  std::string message;
};

/// Reads everything that the reader accepts, and checks what it promises.
outcome read_all(const std::string& bytes) {
  reset_largest_allocation();
  outcome result{true, ""};
  try {
    q4fuse_tools::gguf_file file = parse(bytes);
    for (const q4fuse_tools::gguf_tensor& tensor : file.tensors()) {
      EXPECT_LE(tensor.offset + tensor.bytes, bytes.size());
      EXPECT_EQ(file.read(tensor).size(), tensor.bytes);
      if (tensor.is_q4_0()) {
        EXPECT_EQ(static_cast<uint64_t>(tensor.n() * (tensor.k() / 32) * 18), tensor.bytes);
      }
    }
  } catch (const q4fuse_tools::gguf_error& error) {
    result = {false, error.what()};
  }
  // The list of tensors takes more memory than their entries in the file do, by a fixed factor.
  EXPECT_LE(largest_allocation(), 8 * bytes.size() + 4096);
  EXPECT_EQ(result.message.find('\n'), std::string::npos) << result.message;
  return result;
}

std::string mutate(std::string bytes, size_t header_bytes, std::mt19937_64& random) {
  constexpr uint64_t kNumbers[] = {0,
                                   1,
                                   31,
                                   33,
                                   0x7FFFFFFF,
                                   0x80000000,
                                   0xFFFFFFFF,
                                   uint64_t{1} << 32,
                                   uint64_t{1} << 61,
                                   uint64_t{1} << 63,
                                   ~uint64_t{0},
                                   ~uint64_t{0} - 31};
  const int changes = 1 + static_cast<int>(random() % 3);
  for (int i = 0; i < changes; ++i) {
    // The header decides; the data is hit now and then.
    const size_t reach = random() % 16 == 0 ? bytes.size() : std::min(bytes.size(), header_bytes);
    const size_t at = reach == 0 ? 0 : random() % reach;
    switch (random() % 5) {
      case 0:
        if (at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ 1 << random() % 8);
        break;
      case 1: {
        const std::string number = gguf_bytes().u64(kNumbers[random() % std::size(kNumbers)]).data();
        bytes.replace(at, random() % 2 ? 4 : 8, number, 0, random() % 2 ? 4 : 8);
        break;
      }
      case 2: bytes.erase(at, 1 + random() % 16); break;
      case 3: bytes.insert(at, bytes.substr(at, 1 + random() % 32)); break;
      default: bytes.resize(bytes.size() - random() % (bytes.size() / 4 + 1)); break;
    }
  }
  return bytes;
}

TEST(GgufFuzz, RefusesEveryTruncation) {
  for (const std::string& whole : {rich_file(), read_whole_file(Q4FUSE_TEST_DATA "/smollm2/attn_k.gguf")}) {
    ASSERT_TRUE(read_all(whole).accepted);
    // Every length within the header and a while into the data; then in steps.
    for (size_t size = 0; size < whole.size(); size += size < 4096 ? 1 : 997) {
      EXPECT_FALSE(read_all(whole.substr(0, size)).accepted) << "cut to " << size << " of " << whole.size();
    }
  }
}

TEST(GgufFuzz, SurvivesRandomDamage) {
  constexpr int kIterations = 20000;
  const std::string rich = rich_file();
  const std::string real = read_whole_file(Q4FUSE_TEST_DATA "/smollm2/attn_k.gguf");
  std::mt19937_64 random(1);
  int accepted = 0;
  for (int i = 0; i < kIterations; ++i) {
    const std::string& source = i % 4 == 0 ? real : rich;
    const std::string damaged = mutate(source, i % 4 == 0 ? 992 : rich.size() - 2384, random);
    accepted += read_all(damaged).accepted ? 1 : 0;
    if (::testing::Test::HasFailure()) FAIL() << "iteration " << i;
  }
  // Both ends must have been reached, or the damage tests nothing.
  EXPECT_GT(accepted, kIterations / 100);
  EXPECT_LT(accepted, kIterations / 2);
}

}  // namespace
}  // namespace q4fuse_test
