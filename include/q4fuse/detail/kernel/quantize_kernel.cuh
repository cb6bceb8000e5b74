#pragma once

// The standalone quantizer. A warp encodes 32 blocks into shared memory with the same function as the fused GEMMs and
// writes them out from there, because 36-byte blocks stored straight from registers would touch every sector three
// times.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/pdl_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/quant/q8_1.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

inline constexpr int kQuantizeThreads = 256;
inline constexpr int kQuantizeWarpBlocks = 32;
inline constexpr int kQuantizeCtaBlocks = kQuantizeThreads / kWarpSize * kQuantizeWarpBlocks;
inline constexpr int kQuantizeSharedBytes = kQuantizeCtaBlocks * kQ8_1BlockBytes;

struct quantize_arguments {
  row_source x;            ///< FP16 rows
  uint8_t* y;              ///< Q8_1 rows
  int64_t y_row_bytes;     ///< from one row of y to the next
  int y_access_bytes;      ///< widest store that y allows; 16 only where rows follow each other without a gap
  int64_t blocks_per_row;  ///< all blocks, where rows of x and y are packed and so make up one long row
  int64_t blocks;
  bool dependent;
};

/// Row and column of a block; a packed matrix is one row, which saves the division.
struct block_position {
  int64_t row;
  int64_t column;
};
__device__ __forceinline__ block_position locate_block(const quantize_arguments& arguments, int64_t block) {
  if (arguments.blocks_per_row == arguments.blocks) return {0, block};
  return {block / arguments.blocks_per_row, block % arguments.blocks_per_row};
}

template <int kThreads>
__global__ void __launch_bounds__(kThreads) quantize_kernel(quantize_arguments arguments) {
  constexpr int kSteps = kQuantizeWarpBlocks * kLanesPerBlock / kWarpSize;
  const int lane = arch::lane_index();
  const int warp = arch::warp_index();
  uint8_t* const staging = arch::shared_memory() + warp * kQuantizeWarpBlocks * kQ8_1BlockBytes;
  const int64_t first_block = arch::cta_index() * kQuantizeCtaBlocks + warp * kQuantizeWarpBlocks;
  if constexpr (arch::kTargetHas<90>) {
    arch::launch_dependents();
    if (arguments.dependent) arch::wait_for_dependencies();
  }
  if (first_block >= arguments.blocks) return;

  // Load everything, then encode.
  const bool aligned = arguments.x.access_bytes == 16;
  uint4 halves[kSteps];
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const int portion = step * kWarpSize + lane;
    const int64_t block = first_block + portion / kLanesPerBlock;
    halves[step] = uint4{0, 0, 0, 0};
    if (block < arguments.blocks) {
      const block_position p = locate_block(arguments, block);
      const uint8_t* const address = arguments.x.base + p.row * arguments.x.row_bytes +
                                     (p.column * kBlockSize + portion % kLanesPerBlock * kHalvesPerLane) * 2;
      halves[step] = aligned ? arch::load_global<uint4>(address) : load_halves_unaligned(address);
    }
  }
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const int block = (step * kWarpSize + lane) / kLanesPerBlock;
    quantize_fp16_to_q8_1_smem<true>(halves[step], staging + block * kQ8_1BlockBytes);
  }
  arch::sync_warp();

  // Store.
  const int64_t left = arguments.blocks - first_block;
  const int blocks = left < kQuantizeWarpBlocks ? static_cast<int>(left) : kQuantizeWarpBlocks;
  if (arguments.y_access_bytes == 16 && blocks == kQuantizeWarpBlocks) {
    uint8_t* const y = arguments.y + first_block * kQ8_1BlockBytes;
    for (int offset = lane * 16; offset < kQuantizeWarpBlocks * kQ8_1BlockBytes; offset += kWarpSize * 16) {
      arch::store_global<uint4>(y + offset, arch::load_shared<uint4>(staging + offset));
    }
    return;
  }
  constexpr int kWords = kQ8_1BlockBytes / 4;
  for (int index = lane; index < blocks * kWords; index += kWarpSize) {
    const block_position p = locate_block(arguments, first_block + index / kWords);
    uint8_t* const y = arguments.y + p.row * arguments.y_row_bytes + p.column * kQ8_1BlockBytes + index % kWords * 4;
    const uint32_t word = arch::load_shared<uint32_t>(staging + index * 4);
    if (arguments.y_access_bytes >= 4) {
      arch::store_global<uint32_t>(y, word);
    } else {
      arch::store_global<uint16_t>(y, static_cast<uint16_t>(word));
      arch::store_global<uint16_t>(y + 2, static_cast<uint16_t>(word >> 16));
    }
  }
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
