#pragma once

// The two GGUF block formats, and host functions that convert to and from them.
// Source of both: GGML, ggml-common.h and quantize_row_q4_0_ref / quantize_row_q8_1_ref in ggml-quants.c.

#include <q4fuse/detail/config.hpp>

#include <cuda_fp16.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

Q4FUSE_NAMESPACE_BEGIN

/// Elements of k that share one scale, in both formats.
inline constexpr int kBlockSize = 32;

/// 32 weights in 18 bytes. Byte j of `qs` holds element j in its low nibble and element j + 16 in its high one;
/// element value = d * (nibble - 8). Alignment 2: blocks are packed without padding, as in a GGUF file.
struct block_q4_0 {
  __half d;        ///< scale
  uint8_t qs[16];  ///< 32 nibbles
};

/// 32 activations in 36 bytes; element value = d * qs[i]. `s` is half(d32 * sum of qs), kept so that the bytes equal
/// GGML's; the GEMMs never read it, because a half-precision sum overflows.
struct block_q8_1 {
  __half d;       ///< scale, half(max|x| / 127)
  __half s;       ///< d times the sum of qs
  int8_t qs[32];  ///< quantized values, -127..127
};

static_assert(sizeof(__half) == 2 && alignof(block_q4_0) == 2 && alignof(block_q8_1) == 2, "blocks are packed");
static_assert(sizeof(block_q4_0) == 18 && offsetof(block_q4_0, d) == 0 && offsetof(block_q4_0, qs) == 2, "GGUF layout");
static_assert(sizeof(block_q8_1) == 36 && offsetof(block_q8_1, d) == 0 && offsetof(block_q8_1, s) == 2 &&
                  offsetof(block_q8_1, qs) == 4,
              "GGML layout");

/// Quantizes `count` floats to Q4_0 byte for byte as GGML does. `count` is a multiple of 32; `y` has count / 32 blocks.
/// Host only. The element of largest magnitude maps to -8, so d carries the opposite of its sign.
Q4FUSE_HIDDEN inline void quantize_q4_0(const float* x, block_q4_0* y, int64_t count) {
  for (int64_t block = 0; block < count / kBlockSize; ++block, x += kBlockSize) {
    float extreme = 0.0f;
    for (int i = 0; i < kBlockSize; ++i) {
      if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
    }
    const float d = extreme / -8.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    const auto nibble = [&](float value) {
      const float scaled = value * inverse;
      const int q = static_cast<int>(scaled + 8.5f);
      return static_cast<uint8_t>(q < 15 ? q : 15);
    };
    y[block].d = __float2half_rn(d);
    for (int j = 0; j < kBlockSize / 2; ++j) {
      y[block].qs[j] = static_cast<uint8_t>(nibble(x[j]) | nibble(x[j + kBlockSize / 2]) << 4);
    }
  }
}

/// Expands `count` Q4_0 elements to float; exact. Host only.
Q4FUSE_HIDDEN inline void dequantize_q4_0(const block_q4_0* x, float* y, int64_t count) {
  for (int64_t block = 0; block < count / kBlockSize; ++block, y += kBlockSize) {
    const float d = __half2float(x[block].d);
    for (int j = 0; j < kBlockSize / 2; ++j) {
      y[j] = static_cast<float>((x[block].qs[j] & 0x0F) - 8) * d;
      y[j + kBlockSize / 2] = static_cast<float>((x[block].qs[j] >> 4) - 8) * d;
    }
  }
}

/// Expands `count` Q8_1 elements to float; exact. Host only.
Q4FUSE_HIDDEN inline void dequantize_q8_1(const block_q8_1* x, float* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    y[i] = static_cast<float>(x[i / kBlockSize].qs[i % kBlockSize]) * __half2float(x[i / kBlockSize].d);
  }
}

Q4FUSE_NAMESPACE_END
