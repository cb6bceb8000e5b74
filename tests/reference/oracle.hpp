#pragma once

// What the kernels must compute, written from the formats' definitions on raw bytes. Shares no code with the library.

#include <cstdint>
#include <vector>

namespace q4fuse_reference {

/// One element of Y, summed in FP64 from unrounded products, and how far a result may lie from it.
struct expected {
  double value;
  double bound;
};

double half_to_double(uint16_t bits);
/// Rounds to nearest, ties to even; overflows to infinity.
uint16_t double_to_half(double value);

/// Q8_1 rows of 36-byte blocks, packed, as GGML's CPU reference makes them from every finite input. A block with a NaN
/// or an infinity gets NaN as scale and sum, and zeros. `ldx` counts elements between rows of x.
std::vector<uint8_t> quantize_q8_1(const uint16_t* x, int64_t m, int64_t k, int64_t ldx);

/// One element of Y from a row of Q4_0 blocks and a row of Q8_1 blocks, for integer block dots and FP32 sums:
/// bound = (k/32 + 2) * 2^-24 * sum |d4 * d8 * dot|.
expected dot(const uint8_t* w_row, const uint8_t* x_row, int64_t k);

/// The same element for tensor cores that multiply halves, both factors of a product rounded to one.
///
/// A rounded factor v is off by e(v) = max(2^-11 |v|, 2^-25), the second where the half is subnormal; so is one of
/// magnitude 65504 to 65532 that is saturated. Products are exact. A step of the tensor cores adds p products to the
/// accumulator, p = 4, 8 or 16 by generation: of these p + 1 addends all but the largest are truncated 23 bits below it
/// or lower, and so is the sum, which makes p + 1 errors of at most 2^-23 times the sum of magnitudes so far. Over
/// k / p steps that is k * (1 + 1/p) <= 1.25 k errors, hence with gamma = 1.25 * k * 2^-23
///   bound = sum (|w| e(x) + |x| e(w) + e(w) e(x)) + gamma / (1 - gamma) * sum (|w| + e(w)) * (|x| + e(x)).
expected dot_of_halves(const uint8_t* w_row, const uint8_t* x_row, int64_t k);

/// And for a row of halves as activations, which are not rounded: e(x) = 0.
expected dot_with_halves(const uint8_t* w_row, const uint16_t* x_row, int64_t k);

/// Y [m x n] row-major from W [n x k/32] Q4_0 blocks and X [m x k/32] Q8_1 blocks, both packed.
std::vector<expected> gemm(const uint8_t* w, const uint8_t* x_q8_1, int64_t m, int64_t n, int64_t k);

}  // namespace q4fuse_reference
