#include "inputs.hpp"

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

}  // namespace
}  // namespace q4fuse_bench
