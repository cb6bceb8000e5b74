#include "cublas.hpp"

#if Q4FUSE_BENCH_HAS_CUBLAS
#include <cublas_v2.h>
#endif

namespace q4fuse_bench {

#if Q4FUSE_BENCH_HAS_CUBLAS

namespace {

void check_cublas(cublasStatus_t result, const char* what) {
  if (result != CUBLAS_STATUS_SUCCESS)
    throw std::runtime_error(std::string(what) + ": " + cublasGetStatusString(result));
}

/// NVIDIA's recommendation for Hopper; given by us, because the default is allocated during graph capture.
constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;

}  // namespace

cublas_gemm::cublas_gemm(cudaStream_t where) {
  workspace_.reserve(kWorkspaceBytes);
  cublasHandle_t handle = nullptr;
  check_cublas(cublasCreate(&handle), "cublasCreate");
  handle_ = handle;
  check_cublas(cublasSetStream(handle, where), "cublasSetStream");
  check_cublas(cublasSetWorkspace(handle, workspace_.data(), static_cast<size_t>(kWorkspaceBytes)),
               "cublasSetWorkspace");
}

cublas_gemm::~cublas_gemm() { (void)cublasDestroy(static_cast<cublasHandle_t>(handle_)); }

void cublas_gemm::run(const __half* w, const __half* x, float* y, const q4fuse::gemm_shape& shape) const {
  const float one = 1.0f;
  const float zero = 0.0f;
  const int m = static_cast<int>(shape.m);
  const int n = static_cast<int>(shape.n);
  const int k = static_cast<int>(shape.k);
  // cuBLAS is column-major: it sees our row-major Y, X and W transposed, and computes Y^T = W * X^T.
  check_cublas(
      cublasGemmEx(static_cast<cublasHandle_t>(handle_), CUBLAS_OP_T, CUBLAS_OP_N, n, m, k, &one, w, CUDA_R_16F, k, x,
                   CUDA_R_16F, k, &zero, y, CUDA_R_32F, n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
      "cublasGemmEx");
}

std::string cublas_gemm::version() {
  std::string text;
  for (const libraryPropertyType part : {MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL}) {
    int value = 0;
    check_cublas(cublasGetProperty(part, &value), "cublasGetProperty");
    text += (text.empty() ? "" : ".") + std::to_string(value);
  }
  return text;
}

#else

cublas_gemm::cublas_gemm(cudaStream_t) {}
cublas_gemm::~cublas_gemm() = default;
void cublas_gemm::run(const __half*, const __half*, float*, const q4fuse::gemm_shape&) const {
  throw std::logic_error("this build of the bench has no cuBLAS");
}
std::string cublas_gemm::version() { return "none"; }

#endif

}  // namespace q4fuse_bench
