#pragma once

// The bench's own kernels. All are asynchronous on `stream`; launch errors are thrown.

#include <q4fuse/formats.hpp>

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace q4fuse_bench {

/// Reads every byte of a buffer that memset has filled, and so fills the L2 with its lines, all of them clean. `bytes`
/// is a multiple of 16.
void launch_read(std::byte* data, int64_t bytes, cudaStream_t stream);

/// Keeps the device busy while the host enqueues what comes next.
void launch_spin(int64_t clock_cycles, cudaStream_t stream);

/// The producer of a chain: copies `bytes`, a multiple of 4, between buffers aligned to 16. Launched dependent on the
/// kernel ahead: it lets the next kernel start at once, and writes only after the one ahead has ended.
void launch_producer(const void* source, void* destination, int64_t bytes, cudaStream_t stream);

/// Expands Q4_0 to FP16, each value rounded once.
void launch_dequantize(const q4fuse::block_q4_0* w, __half* y, int64_t blocks, cudaStream_t stream);

/// Adds to *count the 32-bit words in which a and b differ.
void launch_count_differences(const float* a, const float* b, int64_t words, unsigned long long* count,
                              cudaStream_t stream);

}  // namespace q4fuse_bench
