// Every GEMM kernel as it runs when launched dependent and aligned: what is known here folds, so that the one path left
// can be read in the machine code. X of the tile family's separate pipeline has 8-byte accesses, which tell its copies
// from those of W.

#include <q4fuse/detail/mainloop/tile.cuh>
#include <q4fuse/detail/mainloop/weight_bound.cuh>

#include <utility>

namespace {

using namespace q4fuse::detail;

template <int kIndex, template <int, int> class Activations>
__global__ void __launch_bounds__(policy<kIndex>::kThreads, 1) dependent_kernel(gemm_arguments arguments) {
  using config = policy<kIndex>;
  constexpr bool kFused = Activations<32, 1>::kPipeline == q4fuse::pipeline::fused;
  arguments.dependent = true;
  arguments.w.access_bytes = 16;
  arguments.x.access_bytes = kFused ? 16 : 8;
  if constexpr (config::kConfig.family == q4fuse::kernel_family::weight_bound) {
    weight_bound_mainloop<config, Activations>(arguments, 0);
  } else {
    tile_mainloop<config, Activations>(arguments, 0, 0);
  }
}

template <int... kIndices>
bool instantiate(std::integer_sequence<int, kIndices...>) {
  const void* const kernels[] = {reinterpret_cast<const void*>(dependent_kernel<kIndices, fp16_activations>)...,
                                 reinterpret_cast<const void*>(dependent_kernel<kIndices, q8_1_activations>)...};
  return kernels[0] != nullptr;
}

}  // namespace

bool all_exist() { return instantiate(std::make_integer_sequence<int, q4fuse::kKernelConfigCount>{}); }
