#include "inputs.hpp"

#include "tools/gguf_bytes.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

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
}

TEST(inputs_of_a_model, are_multiplied_with_random_activations_where_there_are_none) {
  const inputs data({kModel + "attn_k.gguf", kTensor, ""});
  const inputs random;
  EXPECT_EQ(data.shape(), (weight_shape{192, 576}));
  ASSERT_EQ(data.activations().size(), random.activations().size());
  EXPECT_EQ(
      std::memcmp(data.activations().data(), random.activations().data(), random.activations().size() * sizeof(__half)),
      0);
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
  EXPECT_NE(complaint({kActivationFile, kTensor, ""}).find(kActivationFile), std::string::npos);
  EXPECT_NE(complaint({kModel + "attn_k.gguf", kTensor, kModel + "LICENSE"}).find("not whole rows of k = 576"),
            std::string::npos);
}

}  // namespace
}  // namespace q4fuse_bench
