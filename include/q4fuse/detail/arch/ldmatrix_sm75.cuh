#pragma once

// Matrix fragments from shared memory (PTX ISA, "Warp-level matrix instructions: ldmatrix").

#include <q4fuse/detail/arch/target.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {
namespace arch {

/// Four matrices of 8 rows x 16 bytes. Lane 8i + r passes the address of row r of matrix i, 16-byte aligned; d[i] is
/// word lane % 4 of row lane / 4 of matrix i.
template <int kRequired = 75>
__device__ __forceinline__ void load_matrix_x4(uint32_t (&d)[4], const void* row) {
  static_assert(kTargetHas<kRequired>, "ldmatrix needs sm_75");
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

}  // namespace arch
}  // namespace detail
Q4FUSE_NAMESPACE_END
