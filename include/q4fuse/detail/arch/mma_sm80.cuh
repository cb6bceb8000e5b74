#pragma once

// Warp-wide matrix products (PTX ISA, "Warp-level matrix instructions: mma").

#include <q4fuse/detail/arch/target.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {
namespace arch {

/// d = a * b + c with every element of c the same; a is 16 x 32 row-major, b 32 x 8 column-major, signed bytes.
/// With g = lane / 4 and t = lane % 4: a[0], a[1] hold k = 4t..4t+3 of rows g and g + 8, a[2], a[3] the same of
/// k + 16; b[0], b[1] hold k = 4t.. and 16 + 4t.. of column g; d[0], d[1] are (g, 2t), (g, 2t + 1), d[2], d[3] row g
/// + 8.
template <int kRequired = 80>
__device__ __forceinline__ void mma_m16n8k32_s8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], int c) {
  static_assert(kTargetHas<kRequired>, "mma.m16n8k32.s8 needs sm_80");
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c));
}

}  // namespace arch
}  // namespace detail
Q4FUSE_NAMESPACE_END
