// What the check of dependent launches must catch: kernels that touch X above the wait, fetch no weights above it, or
// do not wait.

#include <q4fuse/detail/arch/cp_async_sm80.cuh>
#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/pdl_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>

namespace arch = q4fuse::detail::arch;

__device__ void fetch(const uint4* w) {
  arch::cp_async<16>(arch::shared_memory() + 16 * arch::thread_index(), w + arch::thread_index(), true);
  arch::cp_async_commit();
}

__device__ void finish(uint32_t x, float* y) {
  arch::cp_async_wait<0>();
  y[arch::thread_index()] = static_cast<float>(x + arch::load_shared<uint32_t>(arch::shared_memory()));
}

__global__ void load_above_the_wait(const uint4* w, const uint32_t* x, float* y) {
  fetch(w);
  const uint32_t element = arch::load_global<uint32_t>(x + arch::thread_index());
  arch::wait_for_dependencies();
  finish(element, y);
}

__global__ void copy_above_the_wait(const uint4* w, const uint32_t* x, float* y) {
  fetch(w);
  arch::cp_async<8>(arch::shared_memory() + 4096 + 8 * arch::thread_index(), x + 2 * arch::thread_index(), true);
  arch::wait_for_dependencies();
  finish(arch::load_global<uint32_t>(x), y);
}

__global__ void no_weights_above_the_wait(const uint4* w, const uint32_t* x, float* y) {
  arch::wait_for_dependencies();
  fetch(w);
  finish(arch::load_global<uint32_t>(x), y);
}

__global__ void no_wait(const uint4* w, const uint32_t* x, float* y) {
  fetch(w);
  finish(arch::load_global<uint32_t>(x), y);
}
