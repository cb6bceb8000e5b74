// The oracle itself, against data made by another implementation and against the CUDA toolkit's half conversions.

#include "reference/oracle.hpp"
#include "support/generate.hpp"
#include "support/golden.hpp"
#include "support/matcher.hpp"

#include <limits>

namespace q4fuse_test {
namespace {

class oracle_golden : public ::testing::TestWithParam<golden_case> {
 protected:
  static void expect_close_to(const char* file, bool sums_replaced);
};

TEST_P(oracle_golden, quantizes_byte_for_byte) {
  const auto [name, m, n, k] = GetParam();
  const auto x = read_golden<uint16_t>(GetParam(), "x.f16", m * k);
  const auto wanted = read_golden<uint8_t>(GetParam(), "x.q8_1", m * k / 32 * 36);
  const auto actual = q4fuse_reference::quantize_q8_1(x.data(), m, k, k);
  ASSERT_EQ(actual.size(), wanted.size());
  EXPECT_TRUE(equal_blocks(actual.data(), wanted.data(), m * k / 32, k / 32, name));
}

TEST_P(oracle_golden, multiplies_to_the_last_bit_of_fp32) {
  const auto [name, m, n, k] = GetParam();
  const auto w = read_golden<uint8_t>(GetParam(), "w.q4_0", n * k / 32 * 18);
  const auto x = read_golden<uint8_t>(GetParam(), "x.q8_1", m * k / 32 * 36);
  const auto wanted = read_golden<float>(GetParam(), "y_fp64_q8_1.f32", m * n);
  std::vector<float> actual;
  for (const auto& element : q4fuse_reference::gemm(w.data(), x.data(), m, n, k)) {
    actual.push_back(static_cast<float>(element.value));
  }
  EXPECT_TRUE(equal_bits(actual, wanted, n, name));
}

/// What quantizing to Q8_1 may cost one element of Y: half a step for each activation, and the rounding of the scale to
/// half, 2^-11 of it or 2^-25 where it is subnormal, times up to 127; each times the magnitude of its weight.
/// `sums_replaced`: the weights' offset of 8 is applied to another sum of the block than the quantized one, itself
/// rounded to half, so that 8 is the magnitude and the rounding counts twice.
double q8_1_error(const uint8_t* w_row, const uint8_t* x_row, int64_t k, bool sums_replaced) {
  const auto scale = [](const uint8_t* block) {
    return q4fuse_reference::half_to_double(static_cast<uint16_t>(block[0] | block[1] << 8));
  };
  double error = 0.0;
  for (int64_t block = 0; block < k / 32; ++block, w_row += 18, x_row += 36) {
    int magnitude = sums_replaced ? 8 * 32 : 0;
    for (int j = 2; j < 18 && !sums_replaced; ++j) {
      magnitude += std::abs((w_row[j] & 15) - 8) + std::abs((w_row[j] >> 4) - 8);
    }
    const double d8 = scale(x_row);
    const double rounding = std::fmax(d8 * 0x1p-11, 0x1p-25);
    error += std::fabs(scale(w_row)) * magnitude * (0.5 * (d8 + rounding) + (sums_replaced ? 2 : 1) * 127.0 * rounding);
  }
  return error * 1.001;  // for the FP32 steps of the quantizer and the sum
}

TEST_P(oracle_golden, differs_from_unquantized_activations_by_no_more_than_q8_1_costs) {
  expect_close_to("y_fp64_exact_activations.f32", false);
}

// GGML's GPU kernels replace, for few tokens, the sum of a quantized block by the unquantized one.
TEST_P(oracle_golden, differs_from_ggml_on_a_gpu_by_no_more_than_its_sums_cost) {
  expect_close_to("y_ggml_cuda.f32", true);
}

void oracle_golden::expect_close_to(const char* file, bool sums_replaced) {
  const auto [name, m, n, k] = GetParam();
  const auto w = read_golden<uint8_t>(GetParam(), "w.q4_0", n * k / 32 * 18);
  const auto x = read_golden<uint8_t>(GetParam(), "x.q8_1", m * k / 32 * 36);
  const auto other = read_golden<float>(GetParam(), file, m * n);
  const auto actual = q4fuse_reference::gemm(w.data(), x.data(), m, n, k);
  mismatch_report report(std::string(name) + "/" + file);
  for (int64_t row = 0; row < m; ++row) {
    for (int64_t column = 0; column < n; ++column) {
      const auto i = static_cast<size_t>(row * n + column);
      const double bound = q8_1_error(w.data() + column * k / 32 * 18, x.data() + row * k / 32 * 36, k, sums_replaced);
      check_element(other[i], {actual[i].value, bound}, row, column, report);
    }
  }
  EXPECT_TRUE(report.result());
}

INSTANTIATE_TEST_SUITE_P(golden, oracle_golden, ::testing::ValuesIn(kGoldenCases),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(oracle, reads_every_half) {
  for (uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const auto pattern = static_cast<uint16_t>(bits);
    const double actual = q4fuse_reference::half_to_double(pattern);
    const auto wanted = static_cast<double>(__half2float(half_from_bits(pattern)));
    if (std::isnan(wanted)) {
      ASSERT_TRUE(std::isnan(actual)) << bits;
    } else {
      ASSERT_TRUE(same_bits(actual, wanted)) << bits << ": " << actual << ", wanted " << wanted;
    }
  }
}

// Around every half: the value itself, the midpoint to the next one (a tie), and both neighbours of the midpoint.
TEST(oracle, rounds_to_half_as_ieee_does) {
  for (uint32_t bits = 0; bits < 0x7C00; ++bits) {
    const auto value = static_cast<float>(q4fuse_reference::half_to_double(static_cast<uint16_t>(bits)));
    const auto next = bits == 0x7BFF
                          ? 65536.0f
                          : static_cast<float>(q4fuse_reference::half_to_double(static_cast<uint16_t>(bits + 1)));
    const float middle = (value + next) / 2;
    for (const float probe : {value, middle, std::nextafterf(middle, 0.0f), std::nextafterf(middle, next)}) {
      for (const float signed_probe : {probe, -probe}) {
        ASSERT_EQ(q4fuse_reference::double_to_half(signed_probe), half_bits(__float2half_rn(signed_probe)))
            << describe(signed_probe);
      }
    }
  }
  EXPECT_EQ(q4fuse_reference::double_to_half(std::numeric_limits<float>::infinity()), 0x7C00);
  EXPECT_EQ(q4fuse_reference::double_to_half(-1e30f), 0xFC00);
}

TEST(oracle, gives_the_bound_of_the_contract) {
  uint8_t w[2 * 18] = {};
  uint8_t x[2 * 36] = {};
  for (int block = 0; block < 2; ++block) {
    w[block * 18 + 1] = 0x3C;                      // d4 = 1
    x[block * 36 + 1] = 0x38;                      // d8 = 0.5
    w[block * 18 + 2] = block == 0 ? 0x89 : 0x98;  // element 0 or 16 is +1, all others 0 or -8
    for (int j = 1; j < 16; ++j) w[block * 18 + 2 + j] = 0x88;
    x[block * 36 + 4 + (block == 0 ? 0 : 16)] = static_cast<uint8_t>(block == 0 ? 100 : -60);
  }
  const auto result = q4fuse_reference::dot(w, x, 64);
  EXPECT_EQ(result.value, 0.5 * 100 - 0.5 * 60);
  EXPECT_EQ(result.bound, 4 * 0x1p-24 * (50 + 30));
}

// One element each of 1 and of the smallest half, so that every term of the bound is a different power of two.
TEST(oracle, gives_the_bounds_of_the_fp16_math_modes) {
  uint8_t w[18] = {};
  uint8_t x[36] = {};
  w[1] = 0x3C;                                   // d4 = 1
  for (int j = 0; j < 16; ++j) w[2 + j] = 0x88;  // 0
  w[2] = 0x89;                                   // element 0 is 1
  w[3] = 0x98;                                   // element 17 is 1
  x[0] = 0x01;                                   // d8 = 2^-24
  x[4] = 64;                                     // element 0 is 2^-18, subnormal as half
  x[4 + 17] = 1;
  const double gamma = 40 * 0x1p-23;
  const double sum = 0x1p-18 + 0x1p-24;
  const auto rounded = q4fuse_reference::dot_of_halves(w, x, 32);
  EXPECT_EQ(rounded.value, sum);
  EXPECT_DOUBLE_EQ(rounded.bound, 2 * 0x1p-25 + sum * 0x1p-11 + 2 * 0x1p-36 +
                                      gamma / (1 - gamma) * (1 + 0x1p-11) * (sum + 2 * 0x1p-25));
  std::vector<uint16_t> halves(32, 0);
  halves[0] = 0x0040;
  halves[17] = 0x0001;
  const auto direct = q4fuse_reference::dot_with_halves(w, halves.data(), 32);
  EXPECT_EQ(direct.value, sum);
  EXPECT_DOUBLE_EQ(direct.bound, sum * 0x1p-11 + gamma / (1 - gamma) * (1 + 0x1p-11) * sum);
}

TEST(oracle, makes_a_row_with_a_nan_or_infinity_non_finite) {
  for (const int poison : {0x7C00, 0xFC00, 0x7C01, 0x7E00, 0xFFFF}) {
    std::vector<uint16_t> x(96, 0x3C00);
    x[40] = static_cast<uint16_t>(poison);
    const auto blocks = q4fuse_reference::quantize_q8_1(x.data(), 1, 96, 96);
    const std::vector<uint8_t> w(3 * 18, 0x22);
    EXPECT_FALSE(std::isfinite(q4fuse_reference::dot(w.data(), blocks.data(), 96).value));
    EXPECT_TRUE(std::isfinite(q4fuse_reference::dot(w.data(), blocks.data(), 32).value));
    EXPECT_FALSE(std::isfinite(q4fuse_reference::dot_of_halves(w.data(), blocks.data(), 96).value));
    EXPECT_FALSE(std::isfinite(q4fuse_reference::dot_with_halves(w.data(), x.data(), 96).value));
    EXPECT_TRUE(std::isfinite(q4fuse_reference::dot_with_halves(w.data(), x.data(), 32).value));
  }
}

}  // namespace
}  // namespace q4fuse_test
