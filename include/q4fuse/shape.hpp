#pragma once

#include <q4fuse/detail/config.hpp>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN

/// Y [m x n] = X [m x k] * W [n x k]^T. All sizes in elements; k is a multiple of 32.
struct gemm_shape {
  int64_t m = 0;  ///< tokens: rows of X and Y
  int64_t n = 0;  ///< output features: rows of W, columns of Y
  int64_t k = 0;  ///< input features: columns of X and W

  Q4FUSE_HIDDEN friend constexpr bool operator==(const gemm_shape& a, const gemm_shape& b) {
    return a.m == b.m && a.n == b.n && a.k == b.k;
  }
  Q4FUSE_HIDDEN friend constexpr bool operator!=(const gemm_shape& a, const gemm_shape& b) { return !(a == b); }
};

Q4FUSE_NAMESPACE_END
