#pragma once

// cuBLAS FP16 x FP16 -> FP32: what a user has who keeps 16-bit weights.

#include "cuda_handles.hpp"

#include <q4fuse/shape.hpp>

#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <memory>
#include <string>

namespace q4fuse_bench {

inline constexpr bool kHasCublas = Q4FUSE_BENCH_HAS_CUBLAS;

/// In a build without cuBLAS every call throws.
class cublas_gemm {
 public:
  explicit cublas_gemm(cudaStream_t where);
  ~cublas_gemm();

  /// Y = X * W^T with the shapes and row order of q4fuse's GEMMs, on the stream of the constructor.
  void run(const __half* w, const __half* x, float* y, const q4fuse::gemm_shape& shape) const;

  /// e.g. "13.0.0"; "none" in a build without it.
  static std::string version();

 private:
  void* handle_ = nullptr;
  device_buffer workspace_;
};

}  // namespace q4fuse_bench
