#pragma once

// Arithmetic with stated rounding. Intrinsics, not operators: -use_fast_math and contraction must not change a bit.

#include <q4fuse/detail/arch/target.hpp>

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {
namespace arch {

__device__ __forceinline__ float fma_rn(float a, float b, float c) { return __fmaf_rn(a, b, c); }
/// Subnormals kept, whatever the compiler's -ftz.
__device__ __forceinline__ float fma_rn_subnormal(float a, float b, float c) {
  float result;
  asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(result) : "f"(a), "f"(b), "f"(c));
  return result;
}
__device__ __forceinline__ float mul_rn(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ float add_rn(float a, float b) { return __fadd_rn(a, b); }
__device__ __forceinline__ float div_rn(float a, float b) { return __fdiv_rn(a, b); }
/// 1 / a within 1 ulp, for normal a (MUFU.RCP); its last bit may differ between devices.
__device__ __forceinline__ float rcp_approx(float a) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(a));
  return result;
}
/// The smaller one, or the one that is a number.
__device__ __forceinline__ float min_number(float a, float b) { return fminf(a, b); }
__device__ __forceinline__ int float_to_int_rz(float a) { return __float2int_rz(a); }
__device__ __forceinline__ float int_to_float_rn(int a) { return __int2float_rn(a); }

__device__ __forceinline__ float bits_to_float(uint32_t bits) { return __uint_as_float(bits); }
__device__ __forceinline__ uint32_t float_to_bits(float value) { return __float_as_uint(value); }
__device__ __forceinline__ float half_to_float(uint16_t bits) { return __half2float(__ushort_as_half(bits)); }
/// Both halves of a word, the low one first.
__device__ __forceinline__ float2 half2_to_float2(uint32_t bits) {
  __half2 halves;
  memcpy(&halves, &bits, sizeof(halves));
  return __half22float2(halves);
}
__device__ __forceinline__ uint16_t float_to_half_rn(float value) { return __half_as_ushort(__float2half_rn(value)); }

/// A half twice: instructions on two halves take that as an operand without an instruction of its own.
__device__ __forceinline__ uint32_t duplicate_half(uint16_t half) {
  uint32_t result;
  asm("mov.b32 %0, {%1, %1};" : "=r"(result) : "h"(half));
  return result;
}
/// Two halves at once, subnormals kept. PTX rather than intrinsics, which would need a conversion to __half2 and back.
__device__ __forceinline__ uint32_t add_rn_f16x2(uint32_t a, uint32_t b) {
  uint32_t result;
  asm("add.rn.f16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
  return result;
}
__device__ __forceinline__ uint32_t mul_rn_f16x2(uint32_t a, uint32_t b) {
  uint32_t result;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
  return result;
}
__device__ __forceinline__ uint32_t fma_rn_f16x2(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t result;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(c));
  return result;
}

/// Four signed byte products added to c (DP4A, sm_61).
__device__ __forceinline__ int dp4a(uint32_t a, uint32_t b, int c) {
  return __dp4a(static_cast<int>(a), static_cast<int>(b), c);
}
/// Picks four of the eight bytes of {b, a} by the nibbles of selector (PRMT).
__device__ __forceinline__ uint32_t byte_permute(uint32_t a, uint32_t b, uint32_t selector) {
  return __byte_perm(a, b, selector);
}
/// (a & b) ^ c in one LOP3; left to itself the compiler spends two, for want of a second immediate operand.
__device__ __forceinline__ uint32_t and_xor(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t result;
  asm("lop3.b32 %0, %1, %2, %3, 0x6A;" : "=r"(result) : "r"(a), "r"(b), "r"(c));
  return result;
}
/// Larger of each pair of unsigned 16-bit halves.
__device__ __forceinline__ uint32_t max_u16x2(uint32_t a, uint32_t b) { return __vmaxu2(a, b); }
/// Smaller of each pair of unsigned 16-bit halves.
__device__ __forceinline__ uint32_t min_u16x2(uint32_t a, uint32_t b) { return __vminu2(a, b); }

}  // namespace arch
}  // namespace detail
Q4FUSE_NAMESPACE_END
