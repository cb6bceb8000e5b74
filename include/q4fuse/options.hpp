#pragma once

#include <q4fuse/plan.hpp>

#include <cstdint>
#include <optional>

Q4FUSE_NAMESPACE_BEGIN

/// Options of `quantize_fp16_to_q8_1`; `{}` means packed rows.
struct quantize_options {
  int64_t ldx = 0;  ///< elements between rows of x; at least k; 0 stands for k
  int64_t ldy = 0;  ///< elements between rows of y; at least k and a multiple of 32; 0 stands for k
  /// Launch with programmatic stream serialization: the kernel may start before the one ahead of it in the stream has
  /// ended, and waits for its end before it reads x. Needs sm_90; ignored elsewhere.
  bool programmatic_dependent_launch = false;
};

/// Options of the GEMMs; `{}` means packed rows and the library's own choice of kernel.
struct gemm_options {
  /// Elements between rows of x; at least k; 0 stands for k. For Q8_1 input a multiple of 32.
  int64_t ldx = 0;
  int64_t ldy = 0;  ///< elements between rows of y; at least n; 0 stands for n
  /// Forces a kernel instead of asking plan(); `source` also forces the pipeline of gemm_q4_0_fp16. `math` has to be
  /// the mode that the call was compiled for, `config` to serve it, and `tail_tokens`, which may be 0, to be fewer than
  /// the call's, with `tail` serving the mode, too: invalid_plan otherwise.
  std::optional<gemm_plan> plan;
  /// Launch with programmatic stream serialization: weights are fetched while the kernel ahead in the stream is still
  /// running, x is first read after it has ended. Only sound when no kernel ahead writes w. Needs sm_90; ignored
  /// elsewhere.
  bool programmatic_dependent_launch = false;
};

Q4FUSE_NAMESPACE_END
