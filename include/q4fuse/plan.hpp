#pragma once

// Which kernel computes a shape, and why. Host only: everything here runs, and is tested, without a GPU.

#include <q4fuse/detail/plan/estimate.hpp>
#include <q4fuse/kernel_traits.hpp>
#include <q4fuse/shape.hpp>

#include <string>

Q4FUSE_NAMESPACE_BEGIN

/// The choice: comparable with a forced one, printable with to_string.
struct gemm_plan {
  kernel_config config = kKernelConfigs[0];
  math_mode math = math_mode::exact;
  pipeline source = pipeline::fused;  ///< which pipeline gemm_q4_0_fp16 runs; the other entry points ignore it
  const char* reason = "";            ///< why this kernel, in words
  /// The last tokens of X, fewer than all, which kernel `tail` multiplies in a launch of its own; 0: there is none.
  int64_t tail_tokens = 0;
  kernel_config tail = kKernelConfigs[0];
};

/// The kernel of a plan, and that of the last tokens if they have another.
Q4FUSE_HIDDEN inline std::string kernel_names(const gemm_plan& p) {
  if (p.tail_tokens == 0) return to_string(p.config);
  return to_string(p.config) + ", last " + std::to_string(p.tail_tokens) + " tokens " + to_string(p.tail);
}

/// Kernels, math, pipeline and reason in one line.
Q4FUSE_HIDDEN inline std::string to_string(const gemm_plan& p) {
  return kernel_names(p) + ", " + to_string(p.math) + ", " + to_string(p.source) + ": " + p.reason;
}

namespace detail Q4FUSE_HIDDEN {

constexpr const char* reason_for(const kernel_config& config, const gemm_shape& shape) {
  if (config.cluster_k > 1) return "least estimated time: a cluster splits the k of each tile";
  if (config.family != kernel_family::weight_bound) return "least estimated time: tiles share weights and activations";
  return shape.m > config.tile_m ? "least estimated time: few tiles of tokens, each of which reads all weights"
                                 : "least estimated time: one tile holds all tokens, so that weights are read once";
}

/// The tokens that the first kernel of a plan multiplies, and those of the last, if there is one.
constexpr gemm_shape head_of(const gemm_plan& plan, const gemm_shape& shape) {
  return {shape.m - plan.tail_tokens, shape.n, shape.k};
}
constexpr gemm_shape tail_of(const gemm_plan& plan, const gemm_shape& shape) {
  return {plan.tail_tokens, shape.n, shape.k};
}

/// Microseconds of a second launch, and what the estimates of two kernels are held to be too low by. Of calls chosen
/// with 2 % those of exact and dequantized math took 2 % longer than with one kernel at most, but some of direct_fp16,
/// whose many sizes of tiles leave less to gain, 11 %.
inline constexpr double kSecondLaunch = 0.5;
constexpr double doubt(math_mode math) { return math == math_mode::direct_fp16 ? 1.08 : 1.02; }

constexpr double estimated_time(const gemm_plan& plan, const gemm_shape& shape, const device_info& device) {
  const double head = estimated_time(plan.config, head_of(plan, shape), device, plan.source, plan.math);
  if (plan.tail_tokens == 0) return head;
  const double tail = estimated_time(plan.tail, tail_of(plan, shape), device, plan.source, plan.math);
  return doubt(plan.math) * (head + tail) + kSecondLaunch;
}

/// One kernel for all tokens: candidates, legality, cost, choice.
constexpr gemm_plan plan_one_kernel(const gemm_shape& shape, const device_info& device, pipeline source,
                                    math_mode math) {
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
    const double time = estimated_time(config, shape, device, source, math);
    if (found && time >= best_time) continue;
    best.config = config;
    best.reason = reason_for(config, shape);
    best_time = time;
    found = true;
  }
  return best;
}

/// Whole tiles of tokens by one kernel and the rest by another, where that is estimated to take less than `best`, a
/// plan of one kernel: past the edge of a tile, or of a round of tiles, most of its time is for tokens that do not
/// exist, or leaves most multiprocessors idle. Few heads are tried, since every call makes a plan.
constexpr gemm_plan with_tail(const gemm_plan& best, const gemm_shape& shape, const device_info& device) {
  constexpr int kHeads = 4;
  const int64_t step = shape.m <= 256 ? 64 : 128;
  gemm_plan result = best;
  double best_time = estimated_time(best, shape, device);
  int64_t head = (shape.m - 1) / step * step;
  for (int i = 0; i < kHeads && head > 0; ++i, head -= step) {
    gemm_plan candidate = plan_one_kernel({head, shape.n, shape.k}, device, best.source, best.math);
    if (estimated_time(candidate, {head, shape.n, shape.k}, device) >= best_time) continue;
    candidate.tail_tokens = shape.m - head;
    candidate.tail = plan_one_kernel(tail_of(candidate, shape), device, best.source, best.math).config;
    candidate.reason = "least estimated time: whole tiles of tokens, and another kernel for the rest";
    const double time = estimated_time(candidate, shape, device);
    if (time >= best_time) continue;
    result = candidate;
    best_time = time;
  }
  return result;
}

}  // namespace detail

/// Chooses the kernel for a shape on a device when the pipeline is given, or two where one for all tokens is estimated
/// to take longer. Where no kernel is legal the result is the last of the math mode, and the launch reports
/// no_kernel_for_device. direct_fp16 has nothing to separate: its plans are fused whatever is given. Every call without
/// a plan in its options makes one: about a microsecond of the host, several for more than 64 tokens.
Q4FUSE_HIDDEN inline gemm_plan plan(const gemm_shape& shape, const device_info& device, pipeline source,
                                    math_mode math = math_mode::exact) {
  if (math == math_mode::direct_fp16) source = pipeline::fused;
  const gemm_plan one = detail::plan_one_kernel(shape, device, source, math);
  return can_run(one.config, shape, device) ? detail::with_tail(one, shape, device) : one;
}

/// Chooses the pipeline too: fused where its estimated time is no longer than that of the separate kernels. Within 2 %,
/// less than the estimates know, fused wins: it needs no workspace, and outside a graph a launch costs more.
Q4FUSE_HIDDEN inline gemm_plan plan(const gemm_shape& shape, const device_info& device,
                                    math_mode math = math_mode::exact) {
  const gemm_plan fused = plan(shape, device, pipeline::fused, math);
  if (math == math_mode::direct_fp16) return fused;
  const gemm_plan separate = plan(shape, device, pipeline::separate, math);
  const double separate_time = detail::quantize_time(shape) + detail::estimated_time(separate, shape, device);
  return 0.98 * detail::estimated_time(fused, shape, device) <= separate_time ? fused : separate;
}

Q4FUSE_NAMESPACE_END
