// Every GEMM kernel as it runs when launched dependent and aligned: what is known here folds, so that the one path left
// can be read in the machine code. Other accesses tell copies of X from those of W where both are asynchronous. The
// warpgroup family is there with tensor copies and without, and where nothing is converted with such of X alone.

#include <q4fuse/detail/kernel/gemm_kernels.cuh>

#include <utility>

namespace {

using namespace q4fuse::detail;
using q4fuse::kernel_family;
using q4fuse::math_mode;

template <int kIndex, template <int, int> class Activations>
constexpr int threads() {
  if constexpr (policy<kIndex>::kConfig.family == kernel_family::warpgroup) {
    return warpgroup_config<kIndex, Activations>::kThreads;
  } else {
    return policy<kIndex>::kThreads;
  }
}

/// Copies of W are asynchronous, of kWeightBytes, or tensor copies if that is 0; the check reads that in the name.
template <int kIndex, template <int, int> class Activations, int kAccessBytes, int kWeightBytes>
__global__ void __launch_bounds__(threads<kIndex, Activations>(), 1)
    dependent_kernel(gemm_arguments arguments, const __grid_constant__ warpgroup_tensor_maps maps) {
  using config = policy<kIndex>;
  arguments.dependent = true;
  arguments.weight_tensor_copies = kWeightBytes == 0;
  arguments.tensor_copies = kWeightBytes == 0 || kWeightBytes == 8;
  arguments.w.access_bytes = kWeightBytes;
  arguments.x.access_bytes = config::kConfig.family == kernel_family::warpgroup ? 8 : kAccessBytes;
  if constexpr (config::kConfig.family == kernel_family::weight_bound) {
    weight_bound_mainloop<config, Activations>(arguments);
  } else if constexpr (config::kConfig.family == kernel_family::stream_k) {
    stream_k_mainloop<config, Activations>(arguments);
  } else if constexpr (config::kConfig.family == kernel_family::sliced_k) {
    sliced_k_mainloop<config, Activations>(arguments);
  } else if constexpr (config::kConfig.family == kernel_family::tile) {
    tile_mainloop<config, Activations>(arguments, 0, 0);
  } else {
    warpgroup_mainloop<warpgroup_config<kIndex, Activations>>(arguments, maps);
  }
}

template <math_mode kMath, int kIndex, template <int, int> class Activations, int kAccessBytes>
bool exists() {
  if constexpr (q4fuse::serves(q4fuse::kKernelConfigs[kIndex], kMath)) {
    constexpr bool kWarpgroup = q4fuse::kKernelConfigs[kIndex].family == kernel_family::warpgroup;
    constexpr bool kDirect = kWarpgroup && kMath == math_mode::direct_fp16;
    const void* const kernels[] = {
        reinterpret_cast<const void*>(dependent_kernel < kIndex, Activations, kAccessBytes, kDirect ? 4 : 16 >),
        reinterpret_cast<const void*>(dependent_kernel < kIndex, Activations, kAccessBytes, kDirect ? 8 : 16 >),
        reinterpret_cast<const void*>(dependent_kernel < kIndex, Activations, kAccessBytes, kWarpgroup ? 0 : 16 >)};
    return kernels[0] != nullptr && kernels[1] != nullptr && kernels[2] != nullptr;
  }
  return true;
}

template <math_mode kMath, template <int, int> class Activations, int kAccessBytes, int... kIndices>
bool all_of_mode(std::integer_sequence<int, kIndices...>) {
  return (exists<kMath, kIndices, Activations, kAccessBytes>() && ...);
}

}  // namespace

bool all_exist() {
  constexpr std::make_integer_sequence<int, q4fuse::kKernelConfigCount> kAll{};
  return all_of_mode<math_mode::exact, fp16_activations, 16>(kAll) &&
         all_of_mode<math_mode::exact, q8_1_activations, 8>(kAll) &&
         all_of_mode<math_mode::dequantized_fp16, dequantized_fp16_activations, 16>(kAll) &&
         all_of_mode<math_mode::dequantized_fp16, dequantized_q8_1_activations, 8>(kAll) &&
         all_of_mode<math_mode::direct_fp16, direct_fp16_activations, 16>(kAll);
}
