#pragma once

// Both pipelines on host data, and the judgement of what they gave. Knows nothing of files or of where kernels run:
// tests/support/backend.hpp decides that.

#include <q4fuse/formats.hpp>
#include <q4fuse/options.hpp>
#include <q4fuse/plan.hpp>
#include <q4fuse/shape.hpp>
#include <q4fuse/status.hpp>

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <string>
#include <vector>

namespace q4fuse_tools {

/// One multiplication: W [n x k/32] blocks, X [m x k], both packed row-major.
struct problem {
  q4fuse::gemm_shape shape;
  std::vector<q4fuse::block_q4_0> w;
  std::vector<__half> x;
};

struct pipeline_results {
  q4fuse::gemm_plan plan;                  ///< the library's own choice, under which both pipelines ran
  std::vector<q4fuse::block_q8_1> x_q8_1;  ///< what the separate pipeline's first kernel wrote
  std::vector<float> y_separate;
  std::vector<float> y_fused;
};

/// What a multiplication reads and writes on the device.
struct device_operands {
  const q4fuse::block_q4_0* w;
  const __half* x;
  q4fuse::block_q8_1* x_q8_1;  ///< of the separate pipeline
  float* y;
};

/// The pipelines, as the library has them. One source file calls them, so that their kernels are compiled once.
q4fuse::status launch_separate(const device_operands& operands, const q4fuse::gemm_shape& shape,
                               const q4fuse::gemm_options& options, cudaStream_t stream);
q4fuse::status launch_fused(const device_operands& operands, const q4fuse::gemm_shape& shape,
                            const q4fuse::gemm_options& options, cudaStream_t stream);

/// Whether there is anything to run kernels on.
bool can_run_pipelines();

/// Runs quantize + gemm_q4_0_q8_1, and gemm_q4_0_fp16_fused. Throws std::runtime_error on a status other than success,
/// or when a kernel wrote outside its buffer.
pipeline_results run_pipelines(const problem& problem);

struct verdict {
  int64_t checked = 0;       ///< elements compared with the oracle
  double worst_ratio = 0.0;  ///< largest |y - oracle| / bound
  std::string failure;       ///< the first thing that is wrong, with coordinates and values; empty when nothing is

  bool ok() const { return failure.empty(); }
};

/// Compares the Q8_1 blocks with the oracle's byte for byte, the two pipelines with each other bit for bit, and every
/// element with the oracle's bound; of more than `most_checked` elements, the corners and a fixed random sample.
verdict verify(const problem& problem, const pipeline_results& results, int64_t most_checked = int64_t{1} << 18);

}  // namespace q4fuse_tools
