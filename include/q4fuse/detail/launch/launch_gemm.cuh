#pragma once

// From a checked call to a kernel: device, plan, arguments, launch.

#include <q4fuse/detail/kernel/gemm_kernels.cuh>
#include <q4fuse/detail/launch/launch.cuh>
#include <q4fuse/detail/launch/launch_quantize.cuh>
#include <q4fuse/detail/launch/tensor_map.cuh>
#include <q4fuse/detail/launch/validate.hpp>
#include <q4fuse/gemm.cuh>

#include <utility>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// What a warpgroup kernel takes of its matrices at once.
struct warpgroup_tiles {
  int rows;
  int tokens;
  int block_bytes;  ///< of activations in global memory
  int pairs;        ///< of blocks
  bool as_they_are;
};

/// Says which rows allow tensor copies. Those of W consist of whole pieces then; where they do not, those of X are
/// copied in that way only if they are multiplied as they are.
inline void encode_tensor_maps(const warpgroup_tiles& tiles, gemm_arguments* arguments, warpgroup_tensor_maps* maps) {
  if (arguments->m > INT32_MAX || arguments->n > INT32_MAX) return;  // coordinates
  const row_source& w = arguments->w;
  const row_source& x = arguments->x;
  arguments->weight_tensor_copies =
      w.access_bytes == 16 &&
      encode_tensor_map({w.base, w.row_bytes, w.row_bytes, arguments->n, kWeightPieceBytes, tiles.rows, false},
                        &maps->w);
  const int64_t x_columns = int64_t{arguments->k_blocks} * tiles.block_bytes;
  arguments->tensor_copies = (arguments->weight_tensor_copies || tiles.as_they_are) && x.access_bytes == 16 &&
                             encode_tensor_map({x.base, x.row_bytes, x_columns, arguments->m,
                                                2 * tiles.pairs * tiles.block_bytes, tiles.tokens, tiles.as_they_are},
                                               &maps->x);
}

/// For CTAs of dependent launches that are no more than multiprocessors. Launched while the kernel ahead still runs,
/// two would share whatever multiprocessor is free first, and leave others idle: with more than half of the shared
/// memory each stays alone.
inline int64_t shared_bytes_alone(int64_t shared_bytes, const device_info& device) {
  const int64_t half = device.shared_memory_per_block / 2 + 1024;
  return shared_bytes < half ? half : shared_bytes;
}

/// A kernel's launch, but for its stream and what the warpgroup family adds, and the arguments that depend on it. No
/// template, since one for each kernel makes 80 kB more of host code.
inline launch_config prepare_launch(const kernel_config& config, const gemm_shape& shape, const device_info& device,
                                    gemm_arguments* arguments) {
  launch_config grid{};
  grid.threads = config.threads();
  grid.programmatic_dependent_launch = arguments->dependent;
  grid.cluster_ctas = config.cluster_k;
  const int64_t tiles_m = ceil_div(shape.m, config.tile_m);
  const bool weight_bound = config.family == kernel_family::weight_bound;
  if ((weight_bound || works_in_rounds(config)) && shape.n < config.tile_n / config.warps_n) {
    arguments->w.access_bytes = 2;  // the only copies that look at the number of rows
  }
  if (works_in_rounds(config)) {
    const rounds_grid work = make_rounds_grid(config, shape, device);
    grid.ctas = work.row_clusters * tiles_m * config.cluster_k;
    grid.cluster_ctas = config.cluster_k * config.cluster_n;
    grid.shared_bytes = work.shared_bytes;
    arguments->row_clusters = static_cast<int>(work.row_clusters);
    arguments->round_tiles = static_cast<int>(work.round_tiles);
    return grid;
  }
  grid.shared_bytes = shared_memory_bytes(config, shape);
  bool alone = true;
  if (weight_bound) {
    const int64_t row_clusters = weight_bound_row_clusters(config, shape, device);
    grid.ctas = row_clusters * tiles_m * config.cluster_k;
    arguments->row_clusters = static_cast<int>(row_clusters);
    // Weights of few microseconds gain more where a CTA may begin beside one of the call before.
    alone = shape.m > config.tile_m || weight_memory_time(shape, device) > 6.0;
  } else {
    grid.ctas = ceil_div(shape.n, config.tile_n) * tiles_m * config.cluster_k;
    alone = config.family == kernel_family::tile || shares_k(config);
  }
  if (alone && arguments->dependent && grid.ctas <= device.sm_count) {
    grid.shared_bytes = shared_bytes_alone(grid.shared_bytes, device);
  }
  return grid;
}

template <int kIndex, template <int, int> class Activations>
status launch_kernel(launch_config grid, gemm_arguments arguments, const gemm_shape& shape, const device_info& device) {
  using config = policy<kIndex>;
  constexpr kernel_family kFamily = config::kConfig.family;
  if constexpr (kFamily == kernel_family::weight_bound) {
    return launch(weight_bound_kernel<kIndex, Activations>, grid, arguments);
  } else if constexpr (kFamily == kernel_family::stream_k) {
    return launch(stream_k_kernel<kIndex, Activations>, grid, arguments);
  } else if constexpr (kFamily == kernel_family::sliced_k) {
    return launch(sliced_k_kernel<kIndex, Activations>, grid, arguments);
  } else if constexpr (kFamily == kernel_family::tile) {
    return launch(tile_kernel<kIndex, Activations>, grid, arguments);
  } else {
    using warpgroup = warpgroup_config<kIndex, Activations>;
    using portion = typename warpgroup::portion;
    grid.threads = warpgroup::kThreads;
    if constexpr (!config::kSharesK) {
      // CTAs stay for several tiles.
      constexpr int kSharers = warpgroup::kSharers;
      const int64_t resident = int64_t{device.sm_count} * warpgroup::kCtas / kSharers;
      const int64_t clusters =
          ceil_div(shape.n, int64_t{config::kTileN} * kSharers) * ceil_div(shape.m, config::kTileM);
      grid.cluster_ctas = kSharers;
      grid.ctas = (clusters < resident ? clusters : resident) * kSharers;
    }
    warpgroup_tensor_maps maps{};
    encode_tensor_maps({config::kTileN, warpgroup_memory<warpgroup>::copied_tokens(shape.m), portion::kSourceBlockBytes,
                        portion::kCopyPairs, portion::kAsTheyAre},
                       &arguments, &maps);
    return launch(warpgroup_kernel<kIndex, Activations>, grid, arguments, maps);
  }
}

/// Launches the kernel of kKernelConfigs[kIndex] if that is the one. Kernels that do not serve the math mode are not
/// even compiled.
template <math_mode kMath, int kIndex, template <int, int> class Activations>
bool launch_if(int index, const launch_config& grid, const gemm_arguments& arguments, const gemm_shape& shape,
               const device_info& device, status* result) {
  if constexpr (serves(kKernelConfigs[kIndex], kMath)) {
    if (index == kIndex) {
      *result = launch_kernel<kIndex, Activations>(grid, arguments, shape, device);
      return true;
    }
  }
  return false;
}

/// The place of a configuration in kKernelConfigs, or -1.
inline int find_config(const kernel_config& config) {
  for (int index = 0; index < kKernelConfigCount; ++index) {
    if (config == kKernelConfigs[index]) return index;
  }
  return -1;
}

/// Finds the compiled kernel of a configuration.
template <math_mode kMath, template <int, int> class Activations, int... kIndices>
status dispatch(const kernel_config& planned, gemm_arguments arguments, const gemm_shape& shape,
                const device_info& device, cudaStream_t stream, std::integer_sequence<int, kIndices...>) {
  const kernel_config config = launched_for(planned, shape, arguments.w.access_bytes == 16);
  launch_config grid = prepare_launch(config, shape, device, &arguments);
  grid.stream = stream;
  const int index = find_config(config);
  status result(status_code::invalid_plan, "options.plan");
  (void)(launch_if<kMath, kIndices, Activations>(index, grid, arguments, shape, device, &result) || ...);
  return result;
}

/// One kernel of a forced plan.
inline status check_kernel(const kernel_config& kernel, math_mode math, const gemm_shape& shape,
                           const device_info& device) {
  if (find_config(kernel) < 0 || !serves(kernel, math)) return {status_code::invalid_plan, "options.plan"};
  if (!has_instruction(device, kernel)) return {status_code::no_kernel_for_device, "options.plan"};
  return can_run(kernel, shape, device) ? status{} : status{status_code::invalid_plan, "options.plan"};
}

/// The forced plan after its checks, or the library's own, whose math is the one that the caller was compiled for.
inline status resolve_plan(const gemm_shape& shape, const gemm_options& options, const device_info& device,
                           const gemm_plan& own_choice, gemm_plan* result) {
  if (!options.plan.has_value()) {
    *result = own_choice;
    return can_run(own_choice.config, head_of(own_choice, shape), device)
               ? status{}
               : status{status_code::no_kernel_for_device, ""};
  }
  *result = *options.plan;
  if (result->math != own_choice.math || result->tail_tokens < 0 || result->tail_tokens >= shape.m) {
    return {status_code::invalid_plan, "options.plan"};
  }
  const status head = check_kernel(result->config, result->math, head_of(*result, shape), device);
  if (!head.ok() || result->tail_tokens == 0) return head;
  return check_kernel(result->tail, result->math, tail_of(*result, shape), device);
}

template <math_mode kMath, template <int, int> class Activations>
status run_gemm(const block_q4_0* w, const void* x, int64_t x_row_bytes, int64_t x_row_length, float* y,
                const gemm_shape& shape, const gemm_options& options, const gemm_plan& chosen,
                const device_info& device, cudaStream_t stream) {
  const int64_t w_row_bytes = shape.k / kBlockSize * kWeightBlockBytes;
  gemm_arguments arguments{};
  arguments.w = {reinterpret_cast<const uint8_t*>(w), w_row_bytes, widest_access(w, w_row_bytes, 0)};
  arguments.x = {static_cast<const uint8_t*>(x), x_row_bytes, widest_access(x, x_row_bytes, x_row_length)};
  arguments.y = y;
  arguments.ldy = resolve_strides(shape, options).ldy;
  arguments.m = shape.m;
  arguments.n = shape.n;
  arguments.k_blocks = static_cast<int>(shape.k / kBlockSize);
  arguments.dependent = options.programmatic_dependent_launch && device.code_arch >= 90;
  constexpr auto kIndices = std::make_integer_sequence<int, kKernelConfigCount>{};
  const gemm_shape head = head_of(chosen, shape);
  arguments.m = head.m;
  const status launched = dispatch<kMath, Activations>(chosen.config, arguments, head, device, stream, kIndices);
  if (!launched.ok() || chosen.tail_tokens == 0) return launched;
  // Whole rows further on, so that the widest access stays the same.
  arguments.x.base += head.m * x_row_bytes;
  arguments.y += head.m * arguments.ldy;
  arguments.m = chosen.tail_tokens;
  return dispatch<kMath, Activations>(chosen.tail, arguments, tail_of(chosen, shape), device, stream, kIndices);
}

/// k = 0: an empty sum.
inline status zero_output(float* y, const gemm_shape& shape, int64_t ldy, cudaStream_t stream) {
  return status(cudaMemset2DAsync(y, static_cast<size_t>(ldy) * sizeof(float), 0,
                                  static_cast<size_t>(shape.n) * sizeof(float), static_cast<size_t>(shape.m), stream));
}

template <math_mode kMath>
status run_q8_1(const block_q4_0* w, const block_q8_1* x, float* y, const gemm_shape& shape,
                const gemm_options& options, const gemm_plan& chosen, const device_info& device, cudaStream_t stream) {
  const int64_t row_bytes = resolve_strides(shape, options).ldx / kBlockSize * kQ8_1BlockBytes;
  const int64_t row_length = shape.k / kBlockSize * kQ8_1BlockBytes;
  if constexpr (kMath == math_mode::exact) {
    return run_gemm<kMath, q8_1_activations>(w, x, row_bytes, row_length, y, shape, options, chosen, device, stream);
  } else {
    return run_gemm<kMath, dequantized_q8_1_activations>(w, x, row_bytes, row_length, y, shape, options, chosen, device,
                                                         stream);
  }
}

template <math_mode kMath>
status run_fused(const block_q4_0* w, const __half* x, float* y, const gemm_shape& shape, const gemm_options& options,
                 const gemm_plan& chosen, const device_info& device, cudaStream_t stream) {
  const int64_t row_bytes = resolve_strides(shape, options).ldx * 2;
  if constexpr (kMath == math_mode::exact) {
    return run_gemm<kMath, fp16_activations>(w, x, row_bytes, 0, y, shape, options, chosen, device, stream);
  } else if constexpr (kMath == math_mode::dequantized_fp16) {
    return run_gemm<kMath, dequantized_fp16_activations>(w, x, row_bytes, 0, y, shape, options, chosen, device, stream);
  } else {
    return run_gemm<kMath, direct_fp16_activations>(w, x, row_bytes, 0, y, shape, options, chosen, device, stream);
  }
}

}  // namespace detail

Q4FUSE_HIDDEN inline status query_device(device_info* device) {
  if (device == nullptr) return {status_code::null_pointer, "device"};
  return detail::inspect_device(device);
}

template <math_mode kMath>
Q4FUSE_HIDDEN inline status gemm_q4_0_q8_1(const block_q4_0* w, const block_q8_1* x, float* y, gemm_shape shape,
                                           const gemm_options& options, cudaStream_t stream) {
  static_assert(kMath != math_mode::direct_fp16, "direct_fp16 multiplies FP16 activations: call gemm_q4_0_fp16_fused");
  if (const status s = detail::check_shape(shape, options, true); !s.ok()) return s;
  if (shape.m == 0 || shape.n == 0) return {};
  if (const status s = detail::check_pointers(w, x, y, shape); !s.ok()) return s;
  if (shape.k == 0) return detail::zero_output(y, shape, detail::resolve_strides(shape, options).ldy, stream);
  device_info device;
  if (const status s = query_device(&device); !s.ok()) return s;
  gemm_plan chosen;
  if (const status s =
          detail::resolve_plan(shape, options, device, plan(shape, device, pipeline::separate, kMath), &chosen);
      !s.ok()) {
    return s;
  }
  return detail::run_q8_1<kMath>(w, x, y, shape, options, chosen, device, stream);
}

template <math_mode kMath>
Q4FUSE_HIDDEN inline status gemm_q4_0_fp16_fused(const block_q4_0* w, const __half* x, float* y, gemm_shape shape,
                                                 const gemm_options& options, cudaStream_t stream) {
  if (const status s = detail::check_shape(shape, options, false); !s.ok()) return s;
  if (shape.m == 0 || shape.n == 0) return {};
  if (const status s = detail::check_pointers(w, x, y, shape); !s.ok()) return s;
  if (shape.k == 0) return detail::zero_output(y, shape, detail::resolve_strides(shape, options).ldy, stream);
  device_info device;
  if (const status s = query_device(&device); !s.ok()) return s;
  gemm_plan chosen;
  if (const status s =
          detail::resolve_plan(shape, options, device, plan(shape, device, pipeline::fused, kMath), &chosen);
      !s.ok()) {
    return s;
  }
  return detail::run_fused<kMath>(w, x, y, shape, options, chosen, device, stream);
}

Q4FUSE_NAMESPACE_END

#include <q4fuse/detail/launch/launch_auto.cuh>
