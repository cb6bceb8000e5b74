#pragma once

// What every header needs: the versioned inline namespace, symbol visibility, and the toolchain gates.

#include <q4fuse/version.hpp>

#if defined(__CUDACC_VER_MAJOR__) && (__CUDACC_VER_MAJOR__ * 100 + __CUDACC_VER_MINOR__ < 1204)
#error "q4fuse needs CUDA Toolkit 12.4 or newer"
#endif

#if defined(_MSVC_LANG) ? _MSVC_LANG < 201703L : __cplusplus < 201703L
#error "q4fuse needs C++17: compile with -std=c++17 or newer"
#endif

// Functions are hidden, so that two shared libraries built for different GPU architectures keep their own kernels:
// with default visibility the dynamic linker would merge the launch stubs and run one library's kernels for the other.
#if defined(__GNUC__)
#define Q4FUSE_HIDDEN __attribute__((visibility("hidden")))
#else
#define Q4FUSE_HIDDEN
#endif

#define Q4FUSE_CONCATENATE_(a, b, c) a##b##_##c
#define Q4FUSE_CONCATENATE(a, b, c) Q4FUSE_CONCATENATE_(a, b, c)

#define Q4FUSE_NAMESPACE_BEGIN \
  namespace q4fuse {           \
  inline namespace Q4FUSE_CONCATENATE(v, Q4FUSE_VERSION_MAJOR, Q4FUSE_VERSION_MINOR) {
#define Q4FUSE_NAMESPACE_END \
  }                          \
  }
