#pragma once

// Warpgroup-wide matrix products (PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions"). They exist on sm_90a
// alone: code for plain sm_90, and for newer GPUs, must not instantiate them.

#include <q4fuse/detail/arch/target.hpp>

#include <cuda_runtime.h>

#include <cstdint>

// Lists of asm operands: ten names, or `d`'s elements from i on as values that are read and written.
#define Q4FUSE_NAMES_10(tens)                                                                               \
  "%" #tens "0,%" #tens "1,%" #tens "2,%" #tens "3,%" #tens "4,%" #tens "5,%" #tens "6,%" #tens "7,%" #tens \
  "8,%" #tens "9,"
#define Q4FUSE_SUMS_4(d, i) "+f"(d[i]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3])
#define Q4FUSE_SUMS_16(d, i) \
  Q4FUSE_SUMS_4(d, i), Q4FUSE_SUMS_4(d, (i) + 4), Q4FUSE_SUMS_4(d, (i) + 8), Q4FUSE_SUMS_4(d, (i) + 12)

// The product of halves for that many columns, by the names of the sums, of a's four registers and of the descriptor.
#define Q4FUSE_WGMMA_F16(columns, sums, a0, a1, a2, a3, b)                                                     \
  "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.f16.f16 {" sums "}, {%" #a0 ",%" #a1 ",%" #a2 ",%" #a3 \
  "}, %" #b ", 1, 1, 1, 0;"
#define Q4FUSE_OPERANDS(a, descriptor) "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(descriptor)

#define Q4FUSE_DOTS_4(d, i) "+r"(d[i]), "+r"(d[(i) + 1]), "+r"(d[(i) + 2]), "+r"(d[(i) + 3])
#define Q4FUSE_DOTS_16(d, i) \
  Q4FUSE_DOTS_4(d, i), Q4FUSE_DOTS_4(d, (i) + 4), Q4FUSE_DOTS_4(d, (i) + 8), Q4FUSE_DOTS_4(d, (i) + 12)

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {
namespace arch {

/// A tile that wgmma reads has rows of 128 bytes, eight rows to 1024 bytes, and begins at a multiple of 1024 bytes.
/// Its 16-byte units are permuted within their row (PTX ISA, "Swizzling Modes", 128-byte swizzle): this is the place
/// of byte `byte` of row `row`.
inline constexpr int kSwizzledRowBytes = 128;
inline constexpr int kSwizzledTileAlignment = 1024;
__device__ __forceinline__ constexpr int swizzled_offset(int row, int byte) {
  return row * kSwizzledRowBytes + (byte ^ (row % 8 * 16));
}

/// Matrix descriptor of such a tile, K-major (PTX ISA, "Matrix Descriptor Format"): bits 0-13 the address, 16-29 the
/// leading-dimension offset, which swizzled K-major layouts do not use, 32-45 the stride from eight rows to the next
/// eight, each in units of 16 bytes; bits 49-51 the base offset, 0 as the rows begin at a multiple of 1024; bits 62-63
/// the swizzle, 1 for 128 bytes. `tile` may point 32, 64 or 96 bytes into the first row, for later columns of k.
/// Addresses of shared memory have 18 bits, nothing is masked and nothing carries: put together by other than
/// additions, a descriptor would be taken apart again for each that follows from it.
__device__ __forceinline__ uint64_t make_wgmma_descriptor(const void* tile) {
  constexpr uint64_t kStride = kSwizzledTileAlignment >> 4;
  const uint64_t address = static_cast<uint32_t>(__cvta_generic_to_shared(tile));
  return (address >> 4) + (kStride << 32) + (uint64_t{1} << 62);
}

/// The same for an operand whose rows are all those of one group of eight.
__device__ __forceinline__ uint64_t make_repeating_wgmma_descriptor(const void* eight_rows) {
  const uint64_t address = static_cast<uint32_t>(__cvta_generic_to_shared(eight_rows));
  return address >> 4 | uint64_t{1} << 16 | uint64_t{1} << 62;
}

/// The descriptor of an operand that begins `bytes` further on, a multiple of 16 within the CTA's shared memory.
__device__ __forceinline__ uint64_t advance_wgmma_descriptor(uint64_t descriptor, int bytes) {
  return descriptor + static_cast<uint64_t>(bytes / 16);
}

/// Orders the warpgroup's accesses to accumulators and A registers before the wgmma that follow.
template <bool kRequired = true>
__device__ __forceinline__ void wgmma_fence() {
  static_assert(kTargetHasWgmma || !kRequired, "wgmma.fence needs sm_90a");
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

/// d += a * b, asynchronously: a is 64 x 16 halves in registers, b the 16 columns of k at `descriptor` of a tile of kN
/// rows, d 64 x kN floats. Warp w of the warpgroup holds rows 16w to 16w + 15. With g = lane / 4 and t = lane % 4, a[0]
/// and a[1] hold k = 2t, 2t + 1 of rows g and g + 8, a[2] and a[3] the same of k + 8; d[4j] and d[4j + 1] are columns
/// 8j + 2t and 8j + 2t + 1 of row g, d[4j + 2] and d[4j + 3] those of row g + 8. Neither d nor a may be touched before
/// the wait.
template <int kN>
__device__ __forceinline__ void wgmma_m64k16_f16(float (&d)[kN / 2], const uint32_t (&a)[4], uint64_t descriptor) {
  static_assert(kTargetHasWgmma || kN == 0, "wgmma needs sm_90a");
  static_assert(kN == 32 || kN == 64 || kN == 96 || kN == 128 || kN == 160 || kN == 192,
                "one list of operands a width");
  if constexpr (kN == 32) {
    asm volatile(Q4FUSE_WGMMA_F16(32, Q4FUSE_NAMES_10() "%10,%11,%12,%13,%14,%15", 16, 17, 18, 19, 20)
                 : Q4FUSE_SUMS_16(d, 0)
                 : Q4FUSE_OPERANDS(a, descriptor));
  } else if constexpr (kN == 64) {
    asm volatile(
        Q4FUSE_WGMMA_F16(64, Q4FUSE_NAMES_10() Q4FUSE_NAMES_10(1) Q4FUSE_NAMES_10(2) "%30,%31", 32, 33, 34, 35, 36)
        : Q4FUSE_SUMS_16(d, 0), Q4FUSE_SUMS_16(d, 16)
        : Q4FUSE_OPERANDS(a, descriptor));
  } else if constexpr (kN == 96) {
    asm volatile(Q4FUSE_WGMMA_F16(96,
                                  Q4FUSE_NAMES_10() Q4FUSE_NAMES_10(1) Q4FUSE_NAMES_10(2)
                                      Q4FUSE_NAMES_10(3) "%40,%41,%42,%43,%44,%45,%46,%47",
                                  48, 49, 50, 51, 52)
                 : Q4FUSE_SUMS_16(d, 0), Q4FUSE_SUMS_16(d, 16), Q4FUSE_SUMS_16(d, 32)
                 : Q4FUSE_OPERANDS(a, descriptor));
  } else if constexpr (kN == 128) {
    asm volatile(Q4FUSE_WGMMA_F16(128,
                                  Q4FUSE_NAMES_10() Q4FUSE_NAMES_10(1) Q4FUSE_NAMES_10(2) Q4FUSE_NAMES_10(3)
                                      Q4FUSE_NAMES_10(4) Q4FUSE_NAMES_10(5) "%60,%61,%62,%63",
                                  64, 65, 66, 67, 68)
                 : Q4FUSE_SUMS_16(d, 0), Q4FUSE_SUMS_16(d, 16), Q4FUSE_SUMS_16(d, 32), Q4FUSE_SUMS_16(d, 48)
                 : Q4FUSE_OPERANDS(a, descriptor));
  } else if constexpr (kN == 160) {
    asm volatile(
        Q4FUSE_WGMMA_F16(160,
                         Q4FUSE_NAMES_10() Q4FUSE_NAMES_10(1) Q4FUSE_NAMES_10(2) Q4FUSE_NAMES_10(3) Q4FUSE_NAMES_10(4)
                             Q4FUSE_NAMES_10(5) Q4FUSE_NAMES_10(6) "%70,%71,%72,%73,%74,%75,%76,%77,%78,%79",
                         80, 81, 82, 83, 84)
        : Q4FUSE_SUMS_16(d, 0), Q4FUSE_SUMS_16(d, 16), Q4FUSE_SUMS_16(d, 32), Q4FUSE_SUMS_16(d, 48),
          Q4FUSE_SUMS_16(d, 64)
        : Q4FUSE_OPERANDS(a, descriptor));
  } else {
    asm volatile(Q4FUSE_WGMMA_F16(192,
                                  Q4FUSE_NAMES_10() Q4FUSE_NAMES_10(1) Q4FUSE_NAMES_10(2) Q4FUSE_NAMES_10(3)
                                      Q4FUSE_NAMES_10(4) Q4FUSE_NAMES_10(5) Q4FUSE_NAMES_10(6) Q4FUSE_NAMES_10(7)
                                          Q4FUSE_NAMES_10(8) "%90,%91,%92,%93,%94,%95",
                                  96, 97, 98, 99, 100)
                 : Q4FUSE_SUMS_16(d, 0), Q4FUSE_SUMS_16(d, 16), Q4FUSE_SUMS_16(d, 32), Q4FUSE_SUMS_16(d, 48),
                   Q4FUSE_SUMS_16(d, 64), Q4FUSE_SUMS_16(d, 80)
                 : Q4FUSE_OPERANDS(a, descriptor));
  }
}

/// d += a * b on signed bytes, asynchronously: a is 64 x 32 in registers, b the 32 columns of k at `descriptor` of a
/// tile of kN rows, d 64 x kN in int32, owned as above. a[0] and a[1] hold k = 4t to 4t + 3 of rows g and g + 8, a[2]
/// and a[3] the same of k + 16.
template <int kN>
__device__ __forceinline__ void wgmma_m64k32_s8(int (&d)[kN / 2], const uint32_t (&a)[4], uint64_t descriptor) {
  static_assert(kTargetHasWgmma || kN == 0, "wgmma needs sm_90a");
  static_assert(kN == 32 || kN == 64, "one list of operands a width");
  if constexpr (kN == 32) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n32k32.s32.s8.s8 {" Q4FUSE_NAMES_10()
                 "%10,%11,%12,%13,%14,%15}, {%16,%17,%18,%19}, %20, 1;"
                 : Q4FUSE_DOTS_16(d, 0)
                 : Q4FUSE_OPERANDS(a, descriptor));
  } else {
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k32.s32.s8.s8 {" Q4FUSE_NAMES_10() Q4FUSE_NAMES_10(1)
                     Q4FUSE_NAMES_10(2) "%30,%31}, {%32,%33,%34,%35}, %36, 1;"
                 : Q4FUSE_DOTS_16(d, 0), Q4FUSE_DOTS_16(d, 16)
                 : Q4FUSE_OPERANDS(a, descriptor));
  }
}

/// d = a * b, both in shared memory. d is declared as an operand that is read, too: as a mere result it would be given
/// registers of its own, and copied.
template <int kN>
__device__ __forceinline__ void wgmma_m64k32_s8_start(int (&d)[kN / 2], uint64_t a_descriptor, uint64_t b_descriptor) {
  static_assert(kTargetHasWgmma || kN == 0, "wgmma needs sm_90a");
  static_assert(kN == 32 || kN == 64, "one list of operands a width");
  if constexpr (kN == 32) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n32k32.s32.s8.s8 {" Q4FUSE_NAMES_10() "%10,%11,%12,%13,%14,%15}, %16, %17, 0;"
        : Q4FUSE_DOTS_16(d, 0)
        : "l"(a_descriptor), "l"(b_descriptor));
  } else {
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k32.s32.s8.s8 {" Q4FUSE_NAMES_10() Q4FUSE_NAMES_10(1)
                     Q4FUSE_NAMES_10(2) "%30,%31}, %32, %33, 0;"
                 : Q4FUSE_DOTS_16(d, 0), Q4FUSE_DOTS_16(d, 16)
                 : "l"(a_descriptor), "l"(b_descriptor));
  }
}

/// Closes the warpgroup's group of wgmma.
template <bool kRequired = true>
__device__ __forceinline__ void wgmma_commit() {
  static_assert(kTargetHasWgmma || !kRequired, "wgmma.commit_group needs sm_90a");
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/// Waits until at most kPending of the warpgroup's newest groups are still running.
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  static_assert(kTargetHasWgmma || kPending < 0, "wgmma.wait_group needs sm_90a");
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

/// After the last wait, on each accumulator: keeps the compiler, to which the wait says nothing about registers, from
/// moving a use of it ahead.
__device__ __forceinline__ void wgmma_release(float& accumulator) { asm volatile("" : "+f"(accumulator)::"memory"); }
__device__ __forceinline__ void wgmma_release(int& accumulator) { asm volatile("" : "+r"(accumulator)::"memory"); }

/// Makes the thread's own writes to shared memory visible to wgmma, which reads it through another proxy (PTX ISA,
/// "Async proxy"); a barrier passes that on.
template <int kRequired = 90>
__device__ __forceinline__ void fence_proxy_async() {
  static_assert(kTargetHas<kRequired>, "fence.proxy.async needs sm_90");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

}  // namespace arch
}  // namespace detail
Q4FUSE_NAMESPACE_END

#undef Q4FUSE_NAMES_10
#undef Q4FUSE_SUMS_4
#undef Q4FUSE_SUMS_16
#undef Q4FUSE_DOTS_4
#undef Q4FUSE_DOTS_16
#undef Q4FUSE_WGMMA_F16
#undef Q4FUSE_OPERANDS
