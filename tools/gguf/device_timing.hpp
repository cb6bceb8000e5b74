#pragma once

// Apart from run_pipelines.hpp, because it is the part that has no meaning where kernels are emulated.

#include "gguf/run_pipelines.hpp"

#include <optional>
#include <string>

namespace q4fuse_tools {

/// Microseconds of one call, nothing overlapped.
struct pipeline_times {
  double separate_us;  ///< quantize + GEMM
  double fused_us;
};

/// What the kernels run on and what its times mean, in words.
std::string describe_device();

/// Medians over replays of a CUDA graph of many calls, the two pipelines alternating. The weights rotate through up to
/// 4096 copies, as many as exceed the L2 cache twice. Empty where kernels are emulated. Throws std::runtime_error.
std::optional<pipeline_times> time_pipelines(const problem& problem, const q4fuse::gemm_plan& plan);

}  // namespace q4fuse_tools
