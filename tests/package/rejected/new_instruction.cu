// One instruction by -DCALL_<name>; a target that lacks it must stop the build with the name.

#include <q4fuse/detail/arch/cp_async_sm80.cuh>
#include <q4fuse/detail/arch/mma_sm80.cuh>
#include <q4fuse/detail/arch/pdl_sm90.cuh>
#include <q4fuse/detail/arch/wgmma_sm90.cuh>

namespace arch = q4fuse::detail::arch;

__global__ void call(int* y) {
#if defined(CALL_mma_m16n8k32_s8)
  int d[4];
  const uint32_t a[4] = {}, b[2] = {};
  arch::mma_m16n8k32_s8(d, a, b, 0);
  *y = d[0];
#elif defined(CALL_cp_async)
  __shared__ uint4 shared[1];
  arch::cp_async<16>(shared, y, true);
#elif defined(CALL_cp_async_commit)
  arch::cp_async_commit();
#elif defined(CALL_cp_async_wait)
  arch::cp_async_wait<0>();
#elif defined(CALL_wait_for_dependencies)
  arch::wait_for_dependencies();
#elif defined(CALL_launch_dependents)
  arch::launch_dependents();
#elif defined(CALL_fence_proxy_async)
  arch::fence_proxy_async();
#elif defined(CALL_wgmma_fence)
  arch::wgmma_fence();
#elif defined(CALL_wgmma)
  float d[64] = {};
  const uint32_t a[4] = {};
  arch::wgmma_m64k16_f16<128>(d, a, arch::make_wgmma_descriptor(nullptr));
  *y = static_cast<int>(d[0]);
#elif defined(CALL_wgmma_commit)
  arch::wgmma_commit();
#elif defined(CALL_wgmma_wait)
  arch::wgmma_wait<0>();
#else
#error "which instruction?"
#endif
  (void)y;
}
