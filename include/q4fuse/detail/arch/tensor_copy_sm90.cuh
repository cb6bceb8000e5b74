#pragma once

// Copies by the tensor memory accelerator (PTX ISA, "cp.async.bulk" and "cp.async.bulk.tensor"): one thread asks for a
// tile of a matrix, or for bytes in a row, and they arrive on an mbarrier by their number.

#include <q4fuse/detail/arch/target.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {
namespace arch {

/// Where a matrix lies and what tiles are taken of it, as the driver encodes it (launch/tensor_map.cuh). A kernel has
/// it as a __grid_constant__ parameter.
struct alignas(64) tensor_map {
  unsigned char encoded[128];
};

/// Copies the tile whose first element is at `column` of `row`; what lies outside the matrix becomes zeros. `shared` is
/// 128-byte aligned, 1024-byte where the tile is swizzled. The bytes of the whole tile count on `barrier`, of this CTA,
/// which must expect them; what they overwrite must have been read, and passed on to this thread, before.
template <int kRequired = 90>
__device__ __forceinline__ void tensor_copy(void* shared, const tensor_map& map, int column, int row, void* barrier) {
  static_assert(kTargetHas<kRequired>, "cp.async.bulk.tensor needs sm_90");
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::
          "r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
      "l"(&map), "r"(column), "r"(row), "r"(static_cast<uint32_t>(__cvta_generic_to_shared(barrier)))
      : "memory");
}

/// Says that `bytes` from `shared` on, a multiple of 16, are read with a tile that a tensor copy fills the rest of, and
/// that nothing that counts depends on them. Not an instruction: where these functions are stood in for, reading what
/// was never written is an error, and NaNs are put there. Before the copy, by the thread that asks for it.
__device__ __forceinline__ void leave_unspecified(void* /*shared*/, int /*bytes*/) {}

/// Copies `bytes` that are in a row in global memory; all three are multiples of 16. They count on `barrier`, as those
/// of a tile do. `once` tells the L2 that nobody reads them again, so that it keeps what others have left there.
template <int kRequired = 90>
__device__ __forceinline__ void bulk_copy(void* shared, const void* global, int bytes, void* barrier, bool once) {
  static_assert(kTargetHas<kRequired>, "cp.async.bulk needs sm_90");
  // evict_first of everything, as createpolicy makes it, or no wish: constants, as CUTLASS has them, since making one
  // here takes registers that kernels do not have.
  const uint64_t policy = static_cast<uint64_t>(once ? 0x12F00000u : 0x10000000u) << 32;
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::
          "r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
      "l"(global), "r"(bytes), "r"(static_cast<uint32_t>(__cvta_generic_to_shared(barrier))), "l"(policy)
      : "memory");
}

/// Copies `bytes`, a multiple of 16, of this CTA's shared memory to the same place in that of the cluster's CTA of rank
/// `rank`. They count on the barrier that is at the place of `barrier` there. Reads through the proxy of tensor copies
/// (fence_proxy_async), and what the bytes overwrite must have been read, and passed on to this thread, before.
template <int kRequired = 90>
__device__ __forceinline__ void copy_to_cluster(const void* shared, int bytes, int rank, const void* barrier) {
  static_assert(kTargetHas<kRequired>, "cp.async.bulk needs sm_90");
  asm volatile(
      "{\n"
      ".reg .b32 target, remote;\n"
      "mapa.shared::cluster.u32 target, %0, %2;\n"
      "mapa.shared::cluster.u32 remote, %3, %2;\n"
      "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [target], [%0], %1, [remote];\n"
      "}" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
      "r"(bytes), "r"(rank), "r"(static_cast<uint32_t>(__cvta_generic_to_shared(barrier)))
      : "memory");
}

}  // namespace arch
}  // namespace detail
Q4FUSE_NAMESPACE_END
