// The host side of the two block formats, byte for byte against data made by another implementation.

#include <q4fuse/formats.hpp>

#include "reference/oracle.hpp"
#include "support/generate.hpp"
#include "support/golden.hpp"
#include "support/matcher.hpp"

namespace q4fuse_test {
namespace {

using q4fuse::block_q4_0;
using q4fuse::block_q8_1;

static_assert(sizeof(block_q4_0) == 18 && sizeof(block_q8_1) == 36);
static_assert(sizeof(block_q4_0[3]) == 54 && sizeof(block_q8_1[3]) == 108, "blocks are packed");

class formats_golden : public ::testing::TestWithParam<golden_case> {};

TEST_P(formats_golden, quantizes_weights_byte_for_byte) {
  const auto [name, m, n, k] = GetParam();
  const auto floats = read_golden<float>(GetParam(), "w.f32", n * k);
  const auto wanted = read_golden<block_q4_0>(GetParam(), "w.q4_0", n * k / 32);
  std::vector<block_q4_0> actual(wanted.size());
  q4fuse::quantize_q4_0(floats.data(), actual.data(), n * k);
  for (size_t i = 0; i < wanted.size(); ++i) {
    ASSERT_TRUE(same_bits(actual[i], wanted[i])) << name << ", block " << i;
  }
}

TEST_P(formats_golden, dequantizes_as_the_formats_define) {
  const auto [name, m, n, k] = GetParam();
  const auto w = read_golden<block_q4_0>(GetParam(), "w.q4_0", n * k / 32);
  const auto x = read_golden<block_q8_1>(GetParam(), "x.q8_1", m * k / 32);
  std::vector<float> w_values(static_cast<size_t>(n * k));
  std::vector<float> x_values(static_cast<size_t>(m * k));
  q4fuse::dequantize_q4_0(w.data(), w_values.data(), n * k);
  q4fuse::dequantize_q8_1(x.data(), x_values.data(), m * k);
  // A product with the dequantized values is what the golden product was made of.
  const auto wanted = read_golden<float>(GetParam(), "y_fp64_q8_1.f32", m * n);
  std::vector<float> actual;
  for (int64_t row = 0; row < m; ++row) {
    for (int64_t column = 0; column < n; ++column) {
      double sum = 0.0;
      for (int64_t i = 0; i < k; ++i) {
        sum += static_cast<double>(x_values[static_cast<size_t>(row * k + i)]) *
               w_values[static_cast<size_t>(column * k + i)];
      }
      actual.push_back(static_cast<float>(sum));
    }
  }
  mismatch_report report(name);
  for (size_t i = 0; i < wanted.size(); ++i) {
    // Both sums are FP64 in different orders, so they may round to neighbouring floats.
    const double bound = std::fabs(wanted[i]) * 0x1p-23 + 1e-12;
    check_element(actual[i], {wanted[i], bound}, static_cast<int64_t>(i) / n, static_cast<int64_t>(i) % n, report);
  }
  EXPECT_TRUE(report.result());
}

INSTANTIATE_TEST_SUITE_P(golden, formats_golden, ::testing::ValuesIn(kGoldenCases),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(formats, q4_0_keeps_element_j_low_and_element_j_plus_16_high) {
  block_q4_0 block;
  block.d = __float2half_rn(0.5f);
  for (int j = 0; j < 16; ++j) block.qs[j] = static_cast<uint8_t>(j | (15 - j) << 4);
  float values[32];
  q4fuse::dequantize_q4_0(&block, values, 32);
  for (int j = 0; j < 16; ++j) {
    EXPECT_EQ(values[j], 0.5f * static_cast<float>(j - 8));
    EXPECT_EQ(values[j + 16], 0.5f * static_cast<float>(15 - j - 8));
  }
}

TEST(formats, q8_1_value_is_d_times_q) {
  block_q8_1 block{};
  block.d = __float2half_rn(0.25f);
  block.s = half_from_bits(0x7C00);  // the sum is not part of the value
  for (int i = 0; i < 32; ++i) block.qs[i] = static_cast<int8_t>(8 * i - 127);
  float values[32];
  q4fuse::dequantize_q8_1(&block, values, 32);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(values[i], 0.25f * static_cast<float>(8 * i - 127));
}

TEST(formats, quantizing_a_zero_block_gives_zeros) {
  const float zeros[32] = {};
  block_q4_0 block;
  q4fuse::quantize_q4_0(zeros, &block, 32);
  EXPECT_EQ(__half2float(block.d), 0.0f);
  float values[32];
  q4fuse::dequantize_q4_0(&block, values, 32);
  for (const float value : values) EXPECT_EQ(value, 0.0f);
}

// The first of equal extremes decides the sign of d and maps to nibble 0.
TEST(formats, the_extreme_element_maps_to_minus_8) {
  for (const float extreme : {4.0f, -4.0f}) {
    float x[32] = {};
    x[7] = extreme;
    x[9] = -extreme;
    block_q4_0 block;
    q4fuse::quantize_q4_0(x, &block, 32);
    EXPECT_EQ(__half2float(block.d), extreme / -8);
    EXPECT_EQ(block.qs[7] & 0x0F, 0);
    EXPECT_EQ(block.qs[9] & 0x0F, 15);
  }
}

TEST(formats, quantizing_what_was_dequantized_changes_nothing) {
  // Only blocks that use nibble 0, the extreme, are fixed points of the format; quantized floats always do.
  const auto w = make_weights(weight_kind::normal, 8, 256, 1);
  std::vector<float> values(8 * 256);
  q4fuse::dequantize_q4_0(w.data(), values.data(), 8 * 256);
  std::vector<block_q4_0> again(w.size());
  q4fuse::quantize_q4_0(values.data(), again.data(), 8 * 256);
  for (size_t i = 0; i < w.size(); ++i) EXPECT_TRUE(same_bits(again[i], w[i])) << "block " << i;
}

TEST(formats, zero_count_writes_nothing) {
  block_q4_0 block;
  std::memset(static_cast<void*>(&block), 0xFF, sizeof(block));
  const block_q4_0 before = block;
  q4fuse::quantize_q4_0(nullptr, &block, 0);
  EXPECT_TRUE(same_bits(block, before));
}

}  // namespace
}  // namespace q4fuse_test
