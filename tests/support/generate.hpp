#pragma once

// Seeded inputs, shared by tests, bench and tools: the same arguments give the same bytes in every run.

#include <q4fuse/formats.hpp>

#include <cuda_fp16.h>

#include <cstdint>
#include <vector>

namespace q4fuse_test {

enum class activation_kind {
  uniform,   ///< [-1, 1)
  normal,    ///< standard normal
  outliers,  ///< normal, with one feature in 64 multiplied by 64 in every row, as in the residual stream of an LLM
  edges,     ///< finite corner cases, one per block: zeros, ties, subnormals, the largest halves, 32 x 2048
};

enum class weight_kind {
  uniform,   ///< [-1, 1), quantized
  normal,    ///< standard normal, quantized
  outliers,  ///< normal with one element in 256 multiplied by 32, quantized
  edges,     ///< corner cases, one per block: extreme nibbles, zero, negative and subnormal scales
};

inline __half half_from_bits(uint16_t bits) {
  __half_raw raw;
  raw.x = bits;
  return raw;
}
inline uint16_t half_bits(__half value) { return static_cast<__half_raw>(value).x; }

/// [m x k] row-major; k is a multiple of 32.
std::vector<__half> make_activations(activation_kind kind, int64_t m, int64_t k, uint64_t seed);

/// [n x k/32] blocks row-major; k is a multiple of 32.
std::vector<q4fuse::block_q4_0> make_weights(weight_kind kind, int64_t n, int64_t k, uint64_t seed);

}  // namespace q4fuse_test
