// quantize_fp16_to_q8_1: which bytes it writes for which values.

#include "device/quantize_harness.hpp"
#include "support/golden.hpp"

#include <numeric>

namespace q4fuse_test {
namespace {

class quantize_values : public gpu_test {};
class quantize_golden : public gpu_test_with<golden_case> {};

TEST_P(quantize_golden, equals_another_implementation_byte_for_byte) {
  const auto [name, m, n, k] = GetParam();
  const auto x = read_golden<__half>(GetParam(), "x.f16", m * k);
  const auto wanted = read_golden<uint8_t>(GetParam(), "x.q8_1", m * k / 32 * 36);
  const auto actual = run_quantize({m, k}, x);
  EXPECT_TRUE(equal_blocks(reinterpret_cast<const uint8_t*>(actual.data()), wanted.data(), m * k / 32, k / 32, name));
}

INSTANTIATE_TEST_SUITE_P(golden, quantize_golden, ::testing::ValuesIn(kGoldenCases),
                         [](const auto& instance) { return std::string(instance.param.name); });

std::vector<__half> every_finite_half() {
  std::vector<__half> values;
  for (int bits = 0; bits <= 0xFFFF; ++bits) {
    if ((bits & 0x7C00) != 0x7C00) values.push_back(half_from_bits(static_cast<uint16_t>(bits)));
  }
  return values;
}

// In order, so that the values of a block are of one magnitude and the largest of each differs.
TEST_F(quantize_values, every_finite_half_among_its_neighbours) {
  const auto x = every_finite_half();
  expect_quantized_as_oracle({static_cast<int64_t>(x.size()) / 1024, 1024}, x);
}

// Far apart, so that each meets a scale set by another value. The stride is coprime to the count.
TEST_F(quantize_values, every_finite_half_among_others) {
  const auto ordered = every_finite_half();
  std::vector<__half> x(ordered.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = ordered[i * 39119 % x.size()];
  ASSERT_EQ(std::gcd(x.size(), size_t{39119}), 1u);
  expect_quantized_as_oracle({static_cast<int64_t>(x.size()) / 1024, 1024}, x);
}

// 31 of them under a fixed largest magnitude: one that makes the scale a power of two, the largest half, and one whose
// reciprocal rounds.
TEST_F(quantize_values, every_finite_half_up_to_a_fixed_largest) {
  for (const float largest : {127.0f, 65504.0f, 3.0f}) {
    std::vector<__half> x;
    for (const __half value : every_finite_half()) {
      if (std::fabs(__half2float(value)) > largest) continue;
      if (x.size() % 32 == 0) x.push_back(__float2half_rn(largest));
      x.push_back(value);
    }
    x.resize(x.size() / 32 * 32 + 32, __float2half_rn(0.0f));
    const auto k = static_cast<int64_t>(x.size());
    expect_quantized_as_oracle({1, k}, x);
  }
}

// Scale and sum for every largest magnitude there is, subnormals included, among ordinary values.
TEST_F(quantize_values, every_positive_half_as_the_largest) {
  std::vector<__half> x;
  for (int largest = 0; largest <= 0x7BFF; largest += kEmulated ? 31 : 1) {
    for (int i = 0; i < 32; ++i) {
      const int magnitude = i == largest % 32 ? largest : largest * i / 32;
      x.push_back(half_from_bits(static_cast<uint16_t>(magnitude | (i % 3 == 0 ? 0x8000 : 0))));
    }
  }
  expect_quantized_as_oracle({1, static_cast<int64_t>(x.size())}, x);
}

// Rounding depends on x / amax alone, so every significand of amax against every x that does not vanish beside it
// leaves no pair untried: an encoder may take any short cut that passes here. Powers of two scale along; the binades
// are 1.0, the largest, the smallest normal one, and the subnormals.
TEST_F(quantize_values, every_significand_of_the_largest_against_every_smaller_half) {
  constexpr int kSignificands = 1024;
  constexpr int kBinades = 9;  // below amax / 512 everything rounds to zero
  std::vector<__half> x;
  const auto check_and_clear = [&] {
    expect_quantized_as_oracle({1, static_cast<int64_t>(x.size())}, x);
    x.clear();
  };
  for (const int exponent : {15, 30, 1, 0}) {
    for (int significand = 0; significand < kSignificands; ++significand) {
      // Multiples of 127 are where amax / 127 is exact and most ties are.
      if (kEmulated && significand % 7 != 0 && (significand + kSignificands) % 127 != 0) continue;
      const int largest = exponent * kSignificands + significand;
      for (int bits = std::max(0, largest - kBinades * kSignificands); bits <= largest; ++bits) {
        if (x.size() % 32 == 0) x.push_back(half_from_bits(static_cast<uint16_t>(largest)));
        x.push_back(half_from_bits(static_cast<uint16_t>(bits | (bits % 7 < 3 ? 0x8000 : 0))));
      }
      x.resize((x.size() + 31) / 32 * 32, half_from_bits(0));
      if (x.size() > (size_t{1} << 20)) check_and_clear();
    }
  }
  check_and_clear();
}

// x * id exactly halfway between two integers, for every integer and both signs: rounds away from zero.
TEST_F(quantize_values, ties_round_away_from_zero) {
  for (const float scale : {1.0f, 0.5f, 2.0f, 0.0078125f}) {
    std::vector<__half> x;
    for (int q = -127; q < 127; ++q) {
      if (x.size() % 32 == 0) x.push_back(__float2half_rn(127.0f * scale));
      x.push_back(__float2half_rn((static_cast<float>(q) + 0.5f) * scale));
    }
    x.resize((x.size() + 31) / 32 * 32, __float2half_rn(0.0f));
    expect_quantized_as_oracle({1, static_cast<int64_t>(x.size())}, x);
    const auto blocks = run_quantize({1, static_cast<int64_t>(x.size())}, x);
    EXPECT_EQ(blocks[0].qs[1], -127) << "-126.5 lies halfway";
  }
}

TEST_F(quantize_values, a_zero_block_is_all_zero_bytes) {
  for (const int bits : {0x0000, 0x8000}) {
    const auto blocks = run_quantize({1, 64}, std::vector<__half>(64, half_from_bits(static_cast<uint16_t>(bits))));
    const uint8_t zeros[72] = {};
    EXPECT_EQ(std::memcmp(blocks.data(), zeros, sizeof(zeros)), 0) << bits;
  }
}

TEST_F(quantize_values, sums_beyond_half_precision_overflow_as_the_format_says) {
  const auto blocks = run_quantize({1, 32}, std::vector<__half>(32, __float2half_rn(65504.0f)));
  EXPECT_EQ(half_bits(blocks[0].s), 0x7C00);
  expect_quantized_as_oracle({1, 32}, std::vector<__half>(32, __float2half_rn(65504.0f)));
  expect_quantized_as_oracle({1, 32}, std::vector<__half>(32, __float2half_rn(-65504.0f)));
  expect_quantized_as_oracle({1, 32}, std::vector<__half>(32, __float2half_rn(2048.0f)));
}

TEST_F(quantize_values, the_largest_may_stand_anywhere_in_the_block) {
  std::vector<__half> x = make_activations(activation_kind::uniform, 64, 32, 11);
  for (int64_t row = 0; row < 64; ++row)
    x[static_cast<size_t>(row * 32 + row % 32)] = __float2half_rn(row < 32 ? 7.0f : -7.0f);
  expect_quantized_as_oracle({64, 32}, x);
}

TEST_F(quantize_values, every_kind_of_activations) {
  for (const auto kind :
       {activation_kind::uniform, activation_kind::normal, activation_kind::outliers, activation_kind::edges}) {
    const int64_t m = kEmulated ? 13 : 257;
    expect_quantized_as_oracle({m, 608}, make_activations(kind, m, 608, 21));
  }
}

// Whatever uses such a block is non-finite too; the blocks around it are as ever.
TEST_F(quantize_values, a_nan_or_infinity_anywhere_gives_its_block_a_non_finite_scale_and_no_other) {
  constexpr int kPoisons[] = {0x7C00, 0xFC00, 0x7C01, 0x7E00, 0xFE00, 0xFFFF};
  for (const int poison : kPoisons) {
    // Row r is poisoned at element r of its middle block.
    std::vector<__half> x = make_activations(activation_kind::normal, 32, 96, 31);
    const auto clean = q4fuse_reference::quantize_q8_1(reinterpret_cast<const uint16_t*>(x.data()), 32, 96, 96);
    for (size_t row = 0; row < 32; ++row) x[row * 96 + 32 + row] = half_from_bits(static_cast<uint16_t>(poison));
    const auto blocks = run_quantize({32, 96}, x);
    for (size_t i = 0; i < blocks.size(); ++i) {
      if (i % 3 == 1) {
        EXPECT_EQ(half_bits(blocks[i].d) & 0x7C00, 0x7C00) << std::hex << poison << " at element " << std::dec << i / 3;
      } else {
        EXPECT_EQ(std::memcmp(&blocks[i], clean.data() + i * 36, 36), 0) << std::hex << poison << " beside block " << i;
      }
    }
  }
}

TEST_F(quantize_values, twice_gives_the_same_bits) {
  const auto x = make_activations(activation_kind::edges, 40, 544, 5);
  const auto first = run_quantize({40, 544}, x);
  const auto second = run_quantize({40, 544}, x);
  EXPECT_EQ(std::memcmp(first.data(), second.data(), first.size() * 36), 0);
}

}  // namespace
}  // namespace q4fuse_test
