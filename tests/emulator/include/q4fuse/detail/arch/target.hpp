#pragma once

// The emulated architecture: Q4FUSE_EMULATED_ARCH, as in sm_NN; Q4FUSE_EMULATED_WGMMA makes sm_90 sm_90a. Every file of
// this folder stands in for the one of the same name in include/q4fuse/detail/arch, by coming first on the include
// path; the interface is the same, except that a trailing default argument carries the place of the call for reports.

#include <q4fuse/detail/config.hpp>

#include "emulator/runtime/gpu.hpp"

#include <cuda_runtime.h>

#ifndef Q4FUSE_EMULATED_ARCH
#error "define Q4FUSE_EMULATED_ARCH, for example as 90"
#endif

// Function attributes that the toolkit's headers leave undefined for a plain C++ compiler.
#ifndef __launch_bounds__
#define __launch_bounds__(...)
#endif
#ifndef __grid_constant__
#define __grid_constant__
#endif

Q4FUSE_NAMESPACE_BEGIN
namespace detail::arch {

using q4fuse_emulator::site;

inline constexpr int kTarget = Q4FUSE_EMULATED_ARCH;

template <int kRequired>
inline constexpr bool kTargetHas = kTarget >= kRequired;

#ifdef Q4FUSE_EMULATED_WGMMA
inline constexpr bool kTargetHasWgmma = true;
#else
inline constexpr bool kTargetHasWgmma = false;
#endif

}  // namespace detail::arch
Q4FUSE_NAMESPACE_END
