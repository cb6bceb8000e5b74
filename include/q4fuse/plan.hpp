#pragma once

// Which kernel computes a shape, and why. Host only: everything here runs, and is tested, without a GPU.

#include <q4fuse/detail/plan/estimate.hpp>
#include <q4fuse/kernel_config.hpp>
#include <q4fuse/shape.hpp>

#include <string>

Q4FUSE_NAMESPACE_BEGIN

/// The choice: comparable with a forced one, printable with to_string.
struct gemm_plan {
  kernel_config config = kKernelConfigs[0];
  math_mode math = math_mode::exact;
  pipeline source = pipeline::fused;  ///< which pipeline gemm_q4_0_fp16 runs; the other entry points ignore it
  const char* reason = "";            ///< why this kernel, in words
};

/// Kernel, math, pipeline and reason in one line.
Q4FUSE_HIDDEN inline std::string to_string(const gemm_plan& p) {
  return to_string(p.config) + ", " + to_string(p.math) + ", " + to_string(p.source) + ": " + p.reason;
}

namespace detail Q4FUSE_HIDDEN {

constexpr const char* reason_for(const kernel_config& config, const gemm_shape& shape) {
  if (config.cluster_k > 1) return "least estimated time: a cluster splits the k of each tile";
  if (config.family != kernel_family::weight_bound) return "least estimated time: tiles share weights and activations";
  return shape.m > config.tile_m ? "least estimated time: few tiles of tokens, each of which reads all weights"
                                 : "least estimated time: one tile holds all tokens, so that weights are read once";
}

}  // namespace detail

/// Chooses the kernel for a shape on a device when the pipeline is given: candidates, legality, cost, choice. Where no
/// kernel is legal the result is the last of the math mode, and the launch reports no_kernel_for_device. direct_fp16
/// has nothing to separate: its plans are fused whatever is given.
Q4FUSE_HIDDEN inline gemm_plan plan(const gemm_shape& shape, const device_info& device, pipeline source,
                                    math_mode math = math_mode::exact) {
  if (math == math_mode::direct_fp16) source = pipeline::fused;
  gemm_plan best;
  best.math = math;
  best.source = source;
  best.reason = "no kernel is legal on this device";
  bool found = false;
  double best_time = 0.0;
  for (const kernel_config& config : kKernelConfigs) {
    if (!serves(config, math)) continue;
    if (!found) best.config = config;
    if (!can_run(config, shape, device)) continue;
    const double time = detail::estimated_time(config, shape, device, source, math);
    if (found && time >= best_time) continue;
    best.config = config;
    best.reason = detail::reason_for(config, shape);
    best_time = time;
    found = true;
  }
  return best;
}

/// Chooses the pipeline too: fused where its estimated time is no longer than that of the separate kernels. Within 2 %,
/// less than the estimates know, fused wins: it needs no workspace, and outside a graph a launch costs more.
Q4FUSE_HIDDEN inline gemm_plan plan(const gemm_shape& shape, const device_info& device,
                                    math_mode math = math_mode::exact) {
  const gemm_plan fused = plan(shape, device, pipeline::fused, math);
  if (math == math_mode::direct_fp16) return fused;
  const gemm_plan separate = plan(shape, device, pipeline::separate, math);
  const double fused_time = detail::estimated_time(fused.config, shape, device, pipeline::fused, math);
  const double separate_time =
      detail::quantize_time(shape) + detail::estimated_time(separate.config, shape, device, pipeline::separate, math);
  return 0.98 * fused_time <= separate_time ? fused : separate;
}

Q4FUSE_NAMESPACE_END
