#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>

/// What a multiplication came to; plain data, so that it can cross the border of a shared library.
struct outcome {
  float y;
  int code_arch;
  bool has_wgmma;
  bool ok;
  bool no_gpu;
  bool no_kernel;
};

inline bool right(const outcome& o) { return o.ok && o.y > 31.9f && o.y < 32.1f; }

/// Exit code for a machine without a GPU: CTest's "skipped", or a failure where a GPU is asked for.
inline int skip() {
  const char* require = std::getenv("Q4FUSE_REQUIRE_GPU");
  std::puts("no GPU");
  return require != nullptr && std::strcmp(require, "1") == 0 ? 1 : 77;
}
