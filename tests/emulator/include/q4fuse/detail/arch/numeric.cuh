#pragma once

// Compile with -ffp-contract=off: an operator here is one rounding. NaN payloads are the host's own.

#include <q4fuse/detail/arch/target.hpp>

#include <cuda_fp16.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#if defined(__F16C__)
#include <immintrin.h>
#endif
#if defined(__FAST_MATH__)
#error "the emulator needs IEEE arithmetic: build without -ffast-math"
#endif

Q4FUSE_NAMESPACE_BEGIN
namespace detail::arch {

inline float fma_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float fma_rn_subnormal(float a, float b, float c) { return std::fma(a, b, c); }
inline float mul_rn(float a, float b) { return a * b; }
inline float add_rn(float a, float b) { return a + b; }
inline float div_rn(float a, float b) { return a / b; }
inline float min_number(float a, float b) { return std::fmin(a, b); }
/// Either of the two floats around 1 / a, picked by the bits of a: the last bit may differ between devices, and no
/// result may depend on it.
inline float rcp_approx(float a) {
  const float nearest = 1.0f / a;
  if (!std::isnormal(a) || !std::isnormal(nearest)) return nearest;
  const float error = std::fma(-a, nearest, 1.0f);
  const float direction = (error > 0.0f) == (a > 0.0f) ? INFINITY : -INFINITY;
  uint32_t bits;
  std::memcpy(&bits, &a, sizeof(bits));
  return error != 0.0f && bits * 0x9E3779B1u >> 31 != 0 ? std::nextafter(nearest, direction) : nearest;
}
inline int float_to_int_rz(float a) {
  if (std::isnan(a)) return 0;
  if (a >= 0x1p31f) return std::numeric_limits<int>::max();
  if (a < -0x1p31f) return std::numeric_limits<int>::min();
  return static_cast<int>(a);
}
inline float int_to_float_rn(int a) { return static_cast<float>(a); }

inline float bits_to_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
inline uint32_t float_to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}
inline float half_to_float(uint16_t bits) {
#if defined(__F16C__)
  return _cvtsh_ss(bits);
#else
  return __half2float(__half(__half_raw{bits}));
#endif
}
inline float2 half2_to_float2(uint32_t bits) {
  return {half_to_float(static_cast<uint16_t>(bits)), half_to_float(static_cast<uint16_t>(bits >> 16))};
}
inline uint16_t float_to_half_rn(float value) {
  if (std::isnan(value)) return 0x7FFF;
#if defined(__F16C__)
  return static_cast<uint16_t>(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT));
#else
  return static_cast<__half_raw>(__float2half_rn(value)).x;
#endif
}

/// Applies an operation on doubles to both halves, and rounds its result once.
template <class Operation, class... Words>
uint32_t each_half(const Operation& operation, Words... words) {
  uint32_t result = 0;
  for (int shift = 0; shift < 32; shift += 16) {
    const double exact = operation(static_cast<double>(half_to_float(static_cast<uint16_t>(words >> shift)))...);
    const uint32_t bits = std::isnan(exact) ? 0x7FFFu : static_cast<__half_raw>(__double2half(exact)).x;
    result |= bits << shift;
  }
  return result;
}
inline uint32_t duplicate_half(uint16_t half) { return half | uint32_t{half} << 16; }
inline uint32_t add_rn_f16x2(uint32_t a, uint32_t b) {
  return each_half([](double x, double y) { return x + y; }, a, b);
}
inline uint32_t mul_rn_f16x2(uint32_t a, uint32_t b) {
  return each_half([](double x, double y) { return x * y; }, a, b);
}
/// The sum of a product and a half can take more bits than a double has, but only where one of the two is too small to
/// turn the other's rounding to half.
inline uint32_t fma_rn_f16x2(uint32_t a, uint32_t b, uint32_t c) {
  return each_half([](double x, double y, double z) { return x * y + z; }, a, b, c);
}

inline int dp4a(uint32_t a, uint32_t b, int c) {
  auto sum = static_cast<uint32_t>(c);
  for (int i = 0; i < 32; i += 8) {
    sum += static_cast<uint32_t>(static_cast<int8_t>(a >> i) * static_cast<int8_t>(b >> i));
  }
  return static_cast<int>(sum);
}
/// As __byte_perm: the sign-replicating bit of each nibble of PRMT's selector is ignored.
inline uint32_t byte_permute(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t bytes = uint64_t{b} << 32 | a;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t source = selector >> (4 * i) & 7;
    result |= static_cast<uint32_t>(bytes >> (8 * source) & 0xFF) << (8 * i);
  }
  return result;
}
inline uint32_t and_xor(uint32_t a, uint32_t b, uint32_t c) { return (a & b) ^ c; }
inline uint32_t max_u16x2(uint32_t a, uint32_t b) {
  const uint32_t low_a = a & 0xFFFF, low_b = b & 0xFFFF;
  const uint32_t high_a = a & 0xFFFF0000u, high_b = b & 0xFFFF0000u;
  return (low_a > low_b ? low_a : low_b) | (high_a > high_b ? high_a : high_b);
}
inline uint32_t min_u16x2(uint32_t a, uint32_t b) { return ~max_u16x2(~a, ~b); }

}  // namespace detail::arch
Q4FUSE_NAMESPACE_END
