// quantize_fp16_to_q8_1: shapes, strides, alignment, and what it refuses.

#include "device/quantize_harness.hpp"

#include <cstdint>

namespace q4fuse_test {
namespace {

using q4fuse::quantize_options;
using q4fuse::status_code;

class quantize_layout : public gpu_test {};

// Around what a warp (32 blocks) and a CTA (256 blocks) take at once.
TEST_F(quantize_layout, any_number_of_blocks) {
  for (const int64_t blocks : {1, 2, 3, 7, 8, 31, 32, 33, 63, 255, 256, 257, 511, 513}) {
    expect_quantized_as_oracle({1, 32 * blocks}, make_activations(activation_kind::edges, 1, 32 * blocks, 1));
    expect_quantized_as_oracle({blocks, 32}, make_activations(activation_kind::normal, blocks, 32, 2));
    expect_quantized_as_oracle({3, 32 * blocks}, make_activations(activation_kind::normal, 3, 32 * blocks, 3));
  }
}

TEST_F(quantize_layout, shards_of_real_models) {
  for (const int64_t k : {10944, 7392, 8256, 5472}) {
    expect_quantized_as_oracle({3, k}, make_activations(activation_kind::outliers, 3, k, 4));
  }
}

TEST_F(quantize_layout, rows_with_strides) {
  constexpr int64_t kM = 5;
  constexpr int64_t kK = 288;
  const auto x = make_activations(activation_kind::edges, kM, kK, 5);
  for (const int64_t x_gap : {0, 1, 2, 4, 7, 8, 32}) {
    for (const int64_t y_gap : {0, 32, 224}) expect_quantized_as_oracle({kM, kK, kK + x_gap, kK + y_gap}, x);
  }
}

TEST_F(quantize_layout, misaligned_bases) {
  constexpr int64_t kM = 4;
  constexpr int64_t kK = 1056;
  const auto x = make_activations(activation_kind::outliers, kM, kK, 6);
  for (const size_t x_bytes : {0, 2, 4, 6, 8, 14}) {
    for (const size_t y_bytes : {0, 2, 4, 6, 8, 14}) {
      expect_quantized_as_oracle({kM, kK, 0, 0, x_bytes, y_bytes}, x);
      expect_quantized_as_oracle({kM, kK, kK + 9, kK + 32, x_bytes, y_bytes}, x);
    }
  }
}

TEST_F(quantize_layout, rows_past_65535) {
  if (kEmulated) {
    // The emulator has no limit of 65535 CTAs to run into, and a fiber per thread makes this shape slow there.
    expect_quantized_as_oracle({700, 32}, make_activations(activation_kind::normal, 700, 32, 7));
    return;
  }
  expect_quantized_as_oracle({70000, 32}, make_activations(activation_kind::normal, 70000, 32, 7));
  expect_quantized_as_oracle({70000, 64, 72, 96}, make_activations(activation_kind::normal, 70000, 64, 8));
}

TEST_F(quantize_layout, dependent_launch_gives_the_same_bytes) {
  quantize_case c{33, 544};
  c.programmatic_dependent_launch = true;
  expect_quantized_as_oracle(c, make_activations(activation_kind::edges, 33, 544, 9));
}

/// One call with arguments of a 4 x 64 matrix, some of them replaced.
struct refusal {
  const char* what;
  status_code wanted;
  int64_t m = 4;
  int64_t k = 64;
  quantize_options options = {};
  int x_offset = 0;  ///< bytes added to x; kNull for a null pointer
  int y_offset = 0;
};
constexpr int kNull = -1;

void expect_untouched(const refusal& r) {
  guarded_buffer<__half> x(make_activations(activation_kind::uniform, 8, 128, 1));
  guarded_buffer<q4fuse::block_q8_1> y(8 * 4);
  const auto shifted = [](auto* pointer, int offset) {
    return offset == kNull ? nullptr
                           : reinterpret_cast<decltype(pointer)>(reinterpret_cast<uintptr_t>(pointer) +
                                                                 static_cast<uintptr_t>(offset));
  };
  const q4fuse::status status = q4fuse::quantize_fp16_to_q8_1(
      shifted(x.data(), r.x_offset), shifted(y.data(), r.y_offset), r.m, r.k, r.options, nullptr);
  EXPECT_EQ(status.code(), r.wanted) << r.what << ": " << to_string(status);
  EXPECT_EQ(*status.argument() == '\0', status.ok()) << r.what << ": an error names its argument";
  EXPECT_EQ(synchronize(), cudaSuccess) << r.what;
  EXPECT_TRUE(y.guards_intact()) << r.what;
  for (const auto& block : y.download()) {
    for (size_t i = 0; i < sizeof(block); ++i) {
      ASSERT_EQ(reinterpret_cast<const uint8_t*>(&block)[i], 0xFF) << r.what << " wrote to y";
    }
  }
}

TEST_F(quantize_layout, refuses_bad_arguments_and_writes_nothing) {
  const auto strides = [](int64_t ldx, int64_t ldy) {
    quantize_options options;
    options.ldx = ldx;
    options.ldy = ldy;
    return options;
  };
  const refusal refusals[] = {
      {"m < 0", status_code::invalid_dimension, -1},
      {"k < 0", status_code::invalid_dimension, 4, -32},
      {"k of 33", status_code::invalid_k, 4, 33},
      {"k of 16", status_code::invalid_k, 4, 16},
      {"ldx < k", status_code::invalid_stride, 4, 64, strides(63, 0)},
      {"ldx < 0", status_code::invalid_stride, 4, 64, strides(-64, 0)},
      {"ldy < k", status_code::invalid_stride, 4, 64, strides(0, 32)},
      {"ldy cuts a block", status_code::invalid_stride, 4, 64, strides(0, 80)},
      {"ldy < 0", status_code::invalid_stride, 4, 64, strides(0, -64)},
      {"x null", status_code::null_pointer, 4, 64, {}, kNull, 0},
      {"y null", status_code::null_pointer, 4, 64, {}, 0, kNull},
      {"x odd", status_code::misaligned_pointer, 4, 64, {}, 1, 0},
      {"y odd", status_code::misaligned_pointer, 4, 64, {}, 0, 1},
  };
  for (const refusal& r : refusals) expect_untouched(r);
}

TEST_F(quantize_layout, nothing_to_do_is_success_and_writes_nothing) {
  for (const refusal& r : {refusal{"m = 0", status_code::success, 0, 64}, refusal{"k = 0", status_code::success, 4, 0},
                           refusal{"m = 0, null pointers", status_code::success, 0, 64, {}, kNull, kNull},
                           refusal{"k = 0, null pointers", status_code::success, 4, 0, {}, kNull, kNull}}) {
    expect_untouched(r);
  }
}

}  // namespace
}  // namespace q4fuse_test
