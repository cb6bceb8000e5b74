// Dequantization to FP16, over every scale: one rounding to nearest even, in the order of k.

#include "reference/oracle.hpp"

#include <q4fuse/detail/quant/fp16_activations.cuh>
#include <q4fuse/detail/quant/fp16_weights.cuh>

#include <gtest/gtest.h>

#include <cmath>

namespace q4fuse_emulator {
namespace {

using q4fuse::detail::dequantize_q4_0;
using q4fuse::detail::dequantize_q8_1;
using q4fuse::detail::arch::duplicate_half;
using q4fuse_reference::double_to_half;
using q4fuse_reference::half_to_double;

uint32_t both(uint16_t half) { return half | uint32_t{half} << 16; }
uint32_t pair(double low, double high) { return double_to_half(low) | uint32_t{double_to_half(high)} << 16; }

TEST(dequantize, weights_are_rounded_once) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const double d = half_to_double(static_cast<uint16_t>(bits));
    if (!(std::fabs(d) <= 8188.0)) continue;
    const uint32_t scale = duplicate_half(static_cast<uint16_t>(bits));
    for (uint32_t q = 0; q < 16; ++q) {
      const uint32_t wanted = both(double_to_half(d * (static_cast<int>(q) - 8)));
      const auto w = dequantize_q4_0(static_cast<uint16_t>(q * 0x1111u), scale);
      ASSERT_TRUE(w.low == wanted && w.high == wanted) << "d " << d << ", q " << q;
    }
  }
}

TEST(dequantize, weights_come_in_the_order_of_k) {
  // Low nibbles are elements 0 and 1 of the block, high ones elements 16 and 17.
  const auto w = dequantize_q4_0(0xD9C8u, duplicate_half(double_to_half(1.0)));
  EXPECT_EQ(w.low, pair(0, 1));
  EXPECT_EQ(w.high, pair(4, 5));
}

TEST(dequantize, activations_are_rounded_once_and_saturate) {
  for (uint32_t bits = 0; bits < 0x7C00; ++bits) {
    const double d = half_to_double(static_cast<uint16_t>(bits));
    if (d > 516.0) break;
    for (int q = -127; q <= 127; ++q) {
      const uint32_t bytes = static_cast<uint8_t>(q) * 0x01010101u;
      const double value = d * q;
      const uint32_t wanted = both(double_to_half(std::fabs(value) > 65504.0 ? std::copysign(65504.0, value) : value));
      const auto x = dequantize_q8_1({{bytes, bytes}, bits | 0xABCD0000u});
      ASSERT_TRUE(x.x == wanted && x.y == wanted && x.z == wanted && x.w == wanted) << "d " << d << ", q " << q;
    }
  }
}

TEST(dequantize, activations_carry_a_scale_that_is_not_finite) {
  for (const uint32_t bits : {0x7C00u, 0xFC00u, 0x7C01u, 0x7E00u, 0x7FFFu}) {
    for (int q = -127; q <= 127; ++q) {
      const uint32_t bytes = static_cast<uint8_t>(q) * 0x01010101u;
      const auto x = dequantize_q8_1({{bytes, bytes}, bits});
      for (const uint32_t halves : {x.x, x.y, x.z, x.w}) {
        ASSERT_FALSE(std::isfinite(half_to_double(static_cast<uint16_t>(halves)))) << bits << ", q " << q;
        ASSERT_FALSE(std::isfinite(half_to_double(static_cast<uint16_t>(halves >> 16)))) << bits << ", q " << q;
      }
    }
  }
}

TEST(dequantize, activations_come_in_the_order_of_k) {
  const auto x = dequantize_q8_1({{0x0302FF00u, 0x07060504u}, double_to_half(1.0)});
  EXPECT_EQ(x.x, pair(0, -1));
  EXPECT_EQ(x.y, pair(2, 3));
  EXPECT_EQ(x.z, pair(4, 5));
  EXPECT_EQ(x.w, pair(6, 7));
}

}  // namespace
}  // namespace q4fuse_emulator
