#pragma once

#include <q4fuse/detail/config.hpp>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {
namespace arch {

/// The architecture this pass compiles for, as in sm_NN; 0 on the host pass. Functions that wrap an instruction newer
/// than the target stop the build by name when they are instantiated.
#ifdef __CUDA_ARCH__
inline constexpr int kTarget = __CUDA_ARCH__ / 10;
#else
inline constexpr int kTarget = 0;
#endif

template <int kRequired>
inline constexpr bool kTargetHas = kTarget == 0 || kTarget >= kRequired;

/// wgmma is no part of plain sm_90, nor of any newer GPU.
#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
inline constexpr bool kTargetHasWgmma = false;
#else
inline constexpr bool kTargetHasWgmma = true;
#endif

}  // namespace arch
}  // namespace detail
Q4FUSE_NAMESPACE_END
