#pragma once

// What the kernels must compute, written from the formats' definitions on raw bytes. Shares no code with the library.

#include <cstdint>
#include <vector>

namespace q4fuse_reference {

/// One element of Y: exact int32 block dots, summed in FP64, and how far an FP32 result may lie from it:
/// bound = (k/32 + 2) * 2^-24 * sum |d4 * d8 * dot|.
struct expected {
  double value;
  double bound;
};

double half_to_double(uint16_t bits);
/// Rounds to nearest, ties to even; overflows to infinity.
uint16_t float_to_half(float value);

/// Q8_1 rows of 36-byte blocks, packed, as GGML's CPU reference makes them from every finite input. A block with a NaN
/// or an infinity gets NaN as scale and sum, and zeros. `ldx` counts elements between rows of x.
std::vector<uint8_t> quantize_q8_1(const uint16_t* x, int64_t m, int64_t k, int64_t ldx);

/// One element of Y from a row of Q4_0 blocks and a row of Q8_1 blocks.
expected dot(const uint8_t* w_row, const uint8_t* x_row, int64_t k);

/// Y [m x n] row-major from W [n x k/32] Q4_0 blocks and X [m x k/32] Q8_1 blocks, both packed.
std::vector<expected> gemm(const uint8_t* w, const uint8_t* x_q8_1, int64_t m, int64_t n, int64_t k);

}  // namespace q4fuse_reference
