#pragma once

// Asynchronous copies of row pieces from global to shared memory.

#include <q4fuse/detail/arch/cp_async_sm80.cuh>
#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

template <int kBytes>
struct access_type;
template <>
struct access_type<16> {
  using type = uint4;
};
template <>
struct access_type<8> {
  using type = uint2;
};
template <>
struct access_type<4> {
  using type = uint32_t;
};
template <>
struct access_type<2> {
  using type = uint16_t;
};

/// One access: cp.async where target and width have it, else through a register. Not valid means zeros, and no read.
template <int kBytes>
__device__ __forceinline__ void copy_or_zero(uint8_t* shared, const uint8_t* global, bool valid) {
  if constexpr (arch::kTargetHas<80> && kBytes >= 4) {
    arch::cp_async<kBytes>(shared, global, valid);
  } else {
    using type = typename access_type<kBytes>::type;
    arch::store_shared<type>(shared, valid ? arch::load_global<type>(global) : type{});
  }
}

/// One access, or none.
template <int kBytes>
__device__ __forceinline__ void copy_if(bool wanted, uint8_t* shared, const uint8_t* global) {
  if constexpr (arch::kTargetHas<80>) {
    arch::cp_async_if<kBytes>(wanted, shared, global);
  } else {
    if (wanted) copy_or_zero<kBytes>(shared, global, true);
  }
}

__device__ __forceinline__ void commit_copies() {
  if constexpr (arch::kTargetHas<80>) arch::cp_async_commit();
}

/// Waits until at most kPending committed groups of this thread are in flight.
template <int kPending>
__device__ __forceinline__ void wait_for_copies() {
  if constexpr (arch::kTargetHas<80>) arch::cp_async_wait<kPending>();
}

/// Copies kRows pieces of kPieceLength bytes, the work spread over kThreads threads. Rows from `rows` on and bytes from
/// `length` on become zeros. kInColumns, where each thread copies the same bytes of some rows, is twice as fast;
/// kernels that have no registers for it spill.
template <int kAccess, int kRows, int kPieceLength, int kThreads, bool kUnrolled, bool kInColumns = false>
__device__ __forceinline__ void copy_piece_as(uint8_t* shared, int shared_row_bytes, const uint8_t* global,
                                              int64_t global_row_bytes, int rows, int length, int thread) {
  constexpr int kPerRow = kPieceLength / kAccess;
  constexpr int kTotal = kRows * kPerRow;
  if constexpr (kInColumns) {
    // One addition leads from row to row; threads that are left over do nothing.
    static_assert(kThreads >= kPerRow, "a row at a time, or more");
    constexpr int kStep = kThreads / kPerRow;
    const int first = thread / kPerRow;
    const int offset = thread % kPerRow * kAccess;
    if (first >= kStep) return;
    const int end = offset < length ? rows : 0;
    shared += first * shared_row_bytes + offset;
    global += first * global_row_bytes + offset;
#pragma unroll(kUnrolled ? 4 : 1)
    for (int row = first; row < kRows; row += kStep) {
      copy_or_zero<kAccess>(shared, global, row < end);
      shared += kStep * shared_row_bytes;
      global += kStep * global_row_bytes;
    }
    return;
  }
  // At most the fast path is unrolled: the addresses of every width at once would not fit the registers.
  constexpr int kUnroll = kUnrolled && kAccess == 16 ? ceil_div(kTotal, kThreads) : 1;
#pragma unroll kUnroll
  for (int first = 0; first < kTotal; first += kThreads) {
    const int index = first + thread;
    if (first + kThreads <= kTotal || index < kTotal) {
      const int row = index / kPerRow;
      const int offset = index % kPerRow * kAccess;
      copy_or_zero<kAccess>(shared + row * shared_row_bytes + offset, global + row * global_row_bytes + offset,
                            row < rows && offset < length);
    }
  }
}

/// A word of a row that is aligned to 2 bytes, of which `left` bytes exist; zeros for the others.
__device__ __forceinline__ uint32_t load_halves(const uint8_t* global, int left) {
  const uint32_t low = left > 0 ? arch::load_global<uint16_t>(global) : 0;
  const uint32_t high = left > 2 ? arch::load_global<uint16_t>(global + 2) : 0;
  return low | high << 16;
}

/// copy_piece_as for rows that are aligned to 2 bytes alone, which no asynchronous copy can move, to a target that is
/// aligned to 4: kBatch words are on their way together, so that their latencies pass beside each other.
template <int kRows, int kPieceLength, int kThreads, int kBatch>
__device__ __forceinline__ void copy_piece_by_halves(uint8_t* shared, int shared_row_bytes, const uint8_t* global,
                                                     int64_t global_row_bytes, int rows, int length, int thread) {
  constexpr int kPerRow = kPieceLength / 4;
  constexpr int kTotal = kRows * kPerRow;
  constexpr bool kWhole = kTotal % (kBatch * kThreads) == 0;
#pragma unroll 1
  for (int first = thread; first < kTotal; first += kBatch * kThreads) {
    uint32_t words[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int row = (first + i * kThreads) / kPerRow;
      const int offset = (first + i * kThreads) % kPerRow * 4;
      const bool exists = row < rows && (kWhole || first + i * kThreads < kTotal);
      words[i] = load_halves(global + row * global_row_bytes + offset, exists ? length - offset : 0);
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int row = (first + i * kThreads) / kPerRow;
      const int offset = (first + i * kThreads) % kPerRow * 4;
      if (!kWhole && first + i * kThreads >= kTotal) return;
      arch::store_shared<uint32_t>(shared + row * shared_row_bytes + offset, words[i]);
    }
  }
}

/// The same as wide as the source allows, up to kWidest bytes: fewer ways are less code. Up to fewer than 16 bytes
/// threads stay in their columns.
template <int kWidest, int kRows, int kPieceLength, int kThreads, bool kUnrolled>
__device__ __forceinline__ void copy_piece(uint8_t* shared, int shared_row_bytes, const row_source& source,
                                           int64_t first_row, int64_t first_byte, int rows, int length, int thread) {
  const uint8_t* global = source.base + first_row * source.row_bytes + first_byte;
  const auto copy = [&](auto access) {
    copy_piece_as<decltype(access)::value, kRows, kPieceLength, kThreads, kUnrolled, (kWidest < 16)>(
        shared, shared_row_bytes, global, source.row_bytes, rows, length, thread);
  };
  if (kWidest >= 16 && source.access_bytes == 16) {
    if constexpr (kWidest >= 16) copy(std::integral_constant<int, 16>{});
  } else if (kWidest >= 8 && source.access_bytes >= 8) {
    if constexpr (kWidest >= 8) copy(std::integral_constant<int, 8>{});
  } else if (source.access_bytes >= 4) {
    copy(std::integral_constant<int, 4>{});
  } else {
    // Whole ones, where there are.
    constexpr int kWords = kRows * kPieceLength / 4 / kThreads;
    constexpr int kBatch = kWidest == 8 && kWords % 6 == 0 ? 6 : kWords % 2 == 0 ? 2 : 1;
    copy_piece_by_halves<kRows, kPieceLength, kThreads, kBatch>(shared, shared_row_bytes, global, source.row_bytes,
                                                                rows, length, thread);
  }
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
