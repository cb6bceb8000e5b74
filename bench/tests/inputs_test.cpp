#include "inputs.hpp"

#include "tools/gguf_bytes.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace q4fuse_bench {
namespace {

template <class T>
bool same_bytes(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

class inputs_test : public testing::Test {
 protected:
  static const inputs& data() {
    static const inputs shared;
    return shared;
  }
};

TEST_F(inputs_test, rows_are_the_supply_repeated) {
  constexpr int64_t k = 4096;
  const int64_t supply = static_cast<int64_t>(data().weights().size());
  const int64_t blocks = k / q4fuse::kBlockSize;
  const int64_t wrapping = supply / blocks;  // the row in which the supply ends
  const auto row = data().weight_row(wrapping, k);
  ASSERT_EQ(static_cast<int64_t>(row.size()), blocks);
  const int64_t left = supply - wrapping * blocks;
  ASSERT_GT(left, 0);
  EXPECT_TRUE(same_bytes(row[static_cast<size_t>(left - 1)], data().weights().back()));
  EXPECT_TRUE(same_bytes(row[static_cast<size_t>(left)], data().weights().front()));
  EXPECT_TRUE(same_bytes(data().activation_row(1, k)[0], data().activations()[k]));
}

TEST_F(inputs_test, every_value_is_finite) {
  for (const __half x : data().activations()) ASSERT_TRUE(std::isfinite(__half2float(x)));
  for (const q4fuse::block_q4_0& w : data().weights()) ASSERT_TRUE(std::isfinite(__half2float(w.d)));
}

TEST_F(inputs_test, lengths_have_no_factor_in_common_with_a_row) {
  for (const size_t size : {data().weights().size(), data().activations().size()}) {
    for (size_t divisor = 2; divisor * divisor <= size; ++divisor) ASSERT_NE(size % divisor, 0u) << size;
  }
}

const std::string kModel = Q4FUSE_TEST_DATA "/smollm2/";
const std::string kTensor = "blk.0.attn_k.weight";
const std::string kActivationFile = kModel + kTensor + ".f16";

TEST(inputs_of_a_model, are_the_files_bytes) {
  const inputs data({kModel + "attn_k.gguf", kTensor, kActivationFile});
  EXPECT_EQ(data.shape(), (weight_shape{192, 576}));
  const std::string blocks = q4fuse_test::read_whole_file(kModel + kTensor + ".q4_0");
  const std::string halves = q4fuse_test::read_whole_file(kActivationFile);
  for (const int64_t row : {0, 1, 191}) {
    const auto w = data.weight_row(row, 576);
    const size_t bytes = w.size() * sizeof(w[0]);
    ASSERT_EQ(bytes, 18u * 18);
    EXPECT_EQ(std::memcmp(w.data(), blocks.data() + static_cast<size_t>(row) * bytes, bytes), 0) << row;
  }
  for (const int64_t row : {0, 32, 33, 70}) {
    const auto x = data.activation_row(row, 576);
    const size_t bytes = x.size() * sizeof(x[0]);
    ASSERT_EQ(bytes, 576u * 2);
    EXPECT_EQ(std::memcmp(x.data(), halves.data() + static_cast<size_t>(row % 33) * bytes, bytes), 0) << row;
  }
  EXPECT_NE(data.description().find("33 tokens of " + kActivationFile), std::string::npos) << data.description();
}

TEST(inputs_of_a_model, need_no_name_for_the_only_tensor_and_no_activations) {
  const inputs data({kModel + "attn_k.gguf", "", ""});
  EXPECT_EQ(data.shape(), (weight_shape{192, 576}));
  const inputs random;
  ASSERT_EQ(data.activations().size(), random.activations().size());
  EXPECT_TRUE(same_bytes(data.activations().back(), random.activations().back()));
  EXPECT_NE(data.description().find("'" + kTensor + "'"), std::string::npos) << data.description();
  EXPECT_NE(data.description().find("activations random"), std::string::npos) << data.description();
}

std::string complaint(const model_files& files) {
  try {
    (void)inputs(files);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

TEST(inputs_of_a_model, say_what_is_wrong_with_the_files) {
  EXPECT_NE(complaint({kModel + "attn_k.gguf", "w", ""}).find("'w'"), std::string::npos);
  EXPECT_NE(complaint({kActivationFile, "", ""}).find(kActivationFile), std::string::npos);
  EXPECT_NE(complaint({kModel + "attn_k.gguf", "", kModel + "LICENSE"}).find("not whole rows of k = 576"),
            std::string::npos);
}

TEST(inputs_of_a_model, ask_for_a_name_where_several_tensors_could_be_meant) {
  const std::filesystem::path path = std::filesystem::path(testing::TempDir()) / "q4fuse_bench_inputs.gguf";
  const auto complaint_about = [&](const std::vector<q4fuse_test::tensor_entry>& tensors) {
    std::ofstream(path, std::ios::binary) << q4fuse_test::make_gguf(tensors, 2048);
    return complaint({path.string(), "", ""});
  };
  constexpr uint64_t kBytes = 64 / 32 * 18 * 4;
  const q4fuse_test::tensor_entry first{"a"};
  q4fuse_test::tensor_entry second{"b"};
  second.offset = (kBytes + 31) / 32 * 32;
  q4fuse_test::tensor_entry other{"c"};
  other.type = q4fuse_test::kF32;
  EXPECT_NE(complaint_about({first, second}).find("name one with --tensor"), std::string::npos);
  EXPECT_NE(complaint_about({other}).find("has no Q4_0 tensor"), std::string::npos);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace q4fuse_bench
