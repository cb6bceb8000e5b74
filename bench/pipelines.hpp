#pragma once

// The calls that are timed.

#include "cublas.hpp"
#include "grid.hpp"
#include "pool.hpp"

#include <q4fuse/plan.hpp>
#include <q4fuse/status.hpp>

#include <cuda_runtime_api.h>

#include <optional>

namespace q4fuse_bench {

struct call_spec {
  pipeline_kind kind;
  q4fuse::gemm_shape shape;
  q4fuse::math_mode math;
  std::optional<q4fuse::gemm_plan> plan;  ///< forced; none: the library's choice
  launch_mode mode;
};

/// Puts one call on `operands` into the stream; throws what the library or CUDA says. In chain mode a producer copies
/// the activations that the call reads from `source` first. `stream` is the one that `cublas` was made for.
void enqueue(const call_spec& call, const slot& operands, const slot& source, const cublas_gemm& cublas,
             cudaStream_t stream);

/// q4fuse::query_device, here because one translation unit with the kernels is enough.
q4fuse::status query_device(q4fuse::device_info* device);

}  // namespace q4fuse_bench
