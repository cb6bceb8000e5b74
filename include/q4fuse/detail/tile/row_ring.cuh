#pragma once

// How weights come to all warps of a CTA at once: whole rows by bulk copies, in a ring that every warp reads its
// columns of. A row is many times as long as a piece, so that the memory and the L2 lose little at its ends, and one
// thread asks for all of it.

#include <q4fuse/detail/arch/mbarrier_sm90.cuh>
#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/tensor_copy_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/detail/tile/weight_ring.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// A stage has the row tiles of one turn of the groups of warps, rows of all groups beside each other. The warps of the
/// groups, `users`, share the rows to ask for. Two mbarriers a stage: full, at which each of them arrives with the
/// bytes that it has asked for, and empty, at which each arrives that has read its columns. Rows are aligned to 16
/// bytes and consist of whole pieces.
template <class Policy>
class row_ring {
 public:
  static constexpr int kRowBytes = kWholeRowBytes;  ///< from one row of a stage to the next
  static constexpr int kBarriers = 2 * Policy::kStages;

  /// `tiles` are the CTA's. The ring is at offset `stages` of shared memory.
  __device__ row_ring(const gemm_arguments& arguments, int stages, uint8_t* barriers, const row_tiles<Policy>& tiles,
                      int groups, int users)
      : arguments_(arguments),
        stages_(stages),
        barriers_(barriers),
        tiles_(tiles),
        groups_(groups),
        users_(users),
        next_tile_(tiles.first) {}

  /// By one thread, before all of the CTA meet.
  __device__ __forceinline__ void make_barriers() const {
#pragma unroll
    for (int slot = 0; slot < Policy::kStages; ++slot) {
      arch::mbarrier_init(full(slot), users_);
      arch::mbarrier_init(empty(slot), users_);
    }
  }

  /// Asks for the next turn's rows, those of `warp`, if there are any.
  __device__ __forceinline__ void request(int warp) {
    if (next_tile_ >= tiles_.count) return;
    int there = 1;  // groups that have a row tile
    if (groups_ > 1) {
      const int left = (tiles_.count - next_tile_ + tiles_.step - 1) / tiles_.step;
      there = left < groups_ ? left : groups_;
    }
    if (requested_ >= Policy::kStages) arch::mbarrier_wait(empty(target_), target_parity_ ^ 1);
    const int rows = warp + users_ < Policy::kWarpRows ? 2 : 1;  // more than half as many warps as rows
    const auto bytes = static_cast<int>(arguments_.w.row_bytes);
    const int copy = arch::lane_index();
    if (copy < rows * there) {
      const int row = warp + (copy >= there ? users_ : 0);
      const int group = copy >= there ? copy - there : copy;
      const bool once = arguments_.m <= Policy::kTileM;  // other tiles of tokens need the same
      arch::bulk_copy(stage(target_) + row * kRowBytes + group * bytes,
                      arguments_.w.base + (tiles_.first_row(next_tile_ + group * tiles_.step) + row) * bytes, bytes,
                      full(target_), once);
    }
    arch::sync_warp();
    if (copy == 0) arch::mbarrier_arrive_expecting(full(target_), rows * there * bytes);
    next_tile_ += groups_ * tiles_.step;
    ++requested_;
    advance(target_, target_parity_);
  }

  /// Waits for the oldest turn's rows and gives the place of a warp's columns.
  __device__ __forceinline__ const uint8_t* wait(int warp) const {
    arch::mbarrier_wait(full(source_), source_parity_);
    return stage(source_) + warp * kWeightPieceBytes;
  }

  /// Gives them back.
  __device__ __forceinline__ void release() {
    arch::sync_warp();
    if (arch::lane_index() == 0) arch::mbarrier_arrive(empty(source_));
    advance(source_, source_parity_);
  }

 private:
  __device__ __forceinline__ uint8_t* full(int slot) const { return barriers_ + slot * arch::kMbarrierBytes; }
  __device__ __forceinline__ uint8_t* empty(int slot) const { return full(Policy::kStages + slot); }
  __device__ __forceinline__ uint8_t* stage(int slot) const {
    return arch::shared_memory() + stages_ + slot * Policy::kWarpRows * kRowBytes;
  }
  static __device__ __forceinline__ void advance(int& slot, int& parity) {
    if (++slot < Policy::kStages) return;
    slot = 0;
    parity ^= 1;
  }

  const gemm_arguments& arguments_;
  int stages_;
  uint8_t* barriers_;
  const row_tiles<Policy>& tiles_;
  int groups_;
  int users_;
  int next_tile_;  ///< of the first group
  int requested_ = 0;
  int target_ = 0;
  int target_parity_ = 0;
  int source_ = 0;
  int source_parity_ = 0;
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
