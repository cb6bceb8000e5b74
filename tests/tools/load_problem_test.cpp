#include "gguf/load_problem.hpp"
#include "support/generate.hpp"
#include "tools/gguf_bytes.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

namespace q4fuse_test {
namespace {

using namespace q4fuse_tools;

const std::string kFolder = Q4FUSE_TEST_DATA "/smollm2";
const std::string kFile = kFolder + "/blk.0.attn_k.weight.f16";

gguf_tensor tensor_of(const std::string& name, uint64_t k) {
  gguf_tensor tensor;
  tensor.name = name;
  tensor.dims = {k, 192};
  return tensor;
}

activation_source from(const std::string& path) {
  activation_source source;
  source.path = path;
  return source;
}

std::string activation_error(const std::string& path, const gguf_tensor& tensor, int64_t rows) {
  try {
    (void)load_activations(from(path), tensor, rows);
    return "";
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

TEST(LoadActivations, TakesAllRowsOrTheFirst) {
  const gguf_tensor tensor = tensor_of("blk.0.attn_k.weight", 576);
  const std::vector<__half> all = load_activations(from(kFile), tensor, 0);
  ASSERT_EQ(all.size(), 33u * 576);
  const std::vector<__half> first = load_activations(from(kFile), tensor, 2);
  ASSERT_EQ(first.size(), 2u * 576);
  for (size_t i = 0; i < first.size(); ++i) ASSERT_EQ(half_bits(first[i]), half_bits(all[i])) << i;
}

TEST(LoadActivations, FindsATensorsFileInAFolder) {
  EXPECT_EQ(load_activations(from(kFolder), tensor_of("blk.0.attn_k.weight", 576), 1).size(), 576u);
}

TEST(LoadActivations, SaysWhatIsWrongWithAFile) {
  const gguf_tensor tensor = tensor_of("blk.0.attn_k.weight", 576);
  EXPECT_EQ(activation_error(kFile, tensor, 34), kFile + ": has 33 rows, m = 34 asks for more");
  EXPECT_EQ(activation_error(kFile, tensor_of("w", 640), 1),
            kFile + ": 38016 bytes are not whole rows of k = 640 halves");
  EXPECT_EQ(activation_error(kFolder, tensor_of("w", 576), 1), kFolder + "/w.f16: no such file");
}

// A tensor's name comes from a file that nobody vouches for.
TEST(LoadActivations, LetsNoTensorNameLeaveTheFolder) {
  EXPECT_EQ(activation_error(kFolder, tensor_of("../smollm2/blk.0.attn_k.weight", 576), 1),
            "tensor '../smollm2/blk.0.attn_k.weight': no file name, give its activations as one file");
}

TEST(LoadActivations, RefusesWhatIsNotFinite) {
  const std::string path = ::testing::TempDir() + "q4fuse_infinite.f16";
  std::string bytes(2 * 32 * sizeof(__half), '\0');
  bytes[2 * 33 + 1] = 0x7C;  // an infinity in row 1, column 1
  std::ofstream(path, std::ios::binary) << bytes;
  EXPECT_EQ(activation_error(path, tensor_of("w", 32), 0), path + ": row 1, column 1 is not finite");
  EXPECT_EQ(activation_error(path, tensor_of("w", 32), 1), "");
  std::filesystem::remove(path);
}

TEST(LoadActivations, GeneratesTheSameTwice) {
  const gguf_tensor tensor = tensor_of("w", 64);
  const std::vector<__half> once = load_activations({}, tensor, 3);
  const std::vector<__half> again = load_activations({}, tensor, 3);
  ASSERT_EQ(once.size(), 3u * 64);
  for (size_t i = 0; i < once.size(); ++i) ASSERT_EQ(half_bits(once[i]), half_bits(again[i])) << i;
}

TEST(LoadWeights, GivesTheFilesBlocks) {
  gguf_file file(kFolder + "/attn_k.gguf");
  const std::vector<q4fuse::block_q4_0> blocks = load_weights(file, file.tensors()[0]);
  const std::string raw = read_whole_file(kFolder + "/blk.0.attn_k.weight.q4_0");
  ASSERT_EQ(blocks.size() * sizeof(q4fuse::block_q4_0), raw.size());
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(blocks.data()), raw.size()), raw);
}

TEST(LoadWeights, RefusesAScaleThatIsNotFinite) {
  std::string bytes = make_gguf({{"w", {64, 2}, kQ4_0, 0}}, 72);
  const size_t data = bytes.size() - 72;
  // All scales finite but that of row 1, block 0.
  for (size_t block = 0; block < 4; ++block) bytes[data + block * 18 + 1] = 0x3C;
  bytes[data + 2 * 18 + 1] = 0x7C;
  gguf_file file = parse(bytes);
  try {
    (void)load_weights(file, file.tensors()[0]);
    FAIL() << "accepted";
  } catch (const gguf_error& error) {
    EXPECT_STREQ(error.what(), "test.gguf: tensor 'w': the scale of row 1, block 0 is not finite");
  }
}

}  // namespace
}  // namespace q4fuse_test
