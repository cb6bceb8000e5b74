#pragma once

// Warp-wide FP16 matrix products (PTX ISA, "Warp-level matrix instructions: mma").

#include <q4fuse/detail/arch/target.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {
namespace arch {

/// d += a * b in FP32; a is 16 x 16 row-major, b 16 x 8 column-major, pairs of halves. With g = lane / 4 and t = lane
/// % 4: a[0], a[1] hold k = 2t, 2t + 1 of rows g and g + 8, a[2], a[3] the same of k + 8; b[0], b[1] hold k = 2t.. and
/// 8 + 2t.. of column g; d[0], d[1] are (g, 2t), (g, 2t + 1), d[2], d[3] row g + 8. Turing has half the depth: two
/// m16n8k8, whose fragments are the halves of these.
template <int kRequired = 75>
__device__ __forceinline__ void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  static_assert(kTargetHas<kRequired>, "mma.m16n8k8.f16 needs sm_75");
  if constexpr (kTargetHas<80>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%8}, {%0,%1,%2,%3};\n\t"
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%6,%7}, {%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

}  // namespace arch
}  // namespace detail
Q4FUSE_NAMESPACE_END
