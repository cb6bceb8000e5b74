#pragma once

#include <q4fuse/detail/config.hpp>

#include <cuda_runtime_api.h>

#include <string>

Q4FUSE_NAMESPACE_BEGIN

/// One code per cause. Every error is decided before anything is launched, so that nothing is half-written.
enum class status_code {
  success,               ///< done: the work is in the stream, or there was nothing to do
  null_pointer,          ///< a pointer that would be dereferenced is null
  invalid_dimension,     ///< m, n or k is negative
  invalid_k,             ///< k is not a multiple of 32
  invalid_stride,        ///< a row stride is smaller than its row, or cuts a block in two
  misaligned_pointer,    ///< X and W need 2 bytes, Y 4 bytes
  workspace_too_small,   ///< the workspace is smaller than the size query says
  invalid_plan,          ///< the forced plan names no kernel of this library, or one that cannot run this shape
  no_kernel_for_device,  ///< this program holds no code that runs the kernel on the current device
  cuda_error,            ///< a CUDA call failed; `cuda_error()` says which way
};

/// What a call gives back. Default-constructed it means success.
class [[nodiscard]] status {
 public:
  constexpr status() = default;
  constexpr status(status_code code, const char* argument) : code_(code), argument_(argument) {}
  constexpr explicit status(cudaError_t error)
      : code_(error == cudaSuccess ? status_code::success : status_code::cuda_error), cuda_error_(error) {}

  constexpr bool ok() const { return code_ == status_code::success; }
  constexpr status_code code() const { return code_; }
  /// The argument at fault, as it is named in the signature; empty when no single one is.
  constexpr const char* argument() const { return argument_; }
  /// The CUDA runtime's own code; cudaSuccess unless code() is status_code::cuda_error.
  constexpr cudaError_t cuda_error() const { return cuda_error_; }

  /// Two statuses are equal when cause and CUDA error are; the argument is for reading only.
  Q4FUSE_HIDDEN friend constexpr bool operator==(const status& a, const status& b) {
    return a.code_ == b.code_ && a.cuda_error_ == b.cuda_error_;
  }
  Q4FUSE_HIDDEN friend constexpr bool operator!=(const status& a, const status& b) { return !(a == b); }
  Q4FUSE_HIDDEN friend constexpr bool operator==(const status& a, status_code b) { return a.code_ == b; }
  Q4FUSE_HIDDEN friend constexpr bool operator!=(const status& a, status_code b) { return a.code_ != b; }

 private:
  status_code code_ = status_code::success;
  const char* argument_ = "";
  cudaError_t cuda_error_ = cudaSuccess;
};

Q4FUSE_HIDDEN constexpr const char* to_string(status_code code) {
  switch (code) {
    case status_code::success: return "success";
    case status_code::null_pointer: return "null pointer";
    case status_code::invalid_dimension: return "m, n and k must not be negative";
    case status_code::invalid_k: return "k must be a multiple of 32";
    case status_code::invalid_stride: return "row stride smaller than the row, or not a multiple of the block size";
    case status_code::misaligned_pointer: return "misaligned pointer (x and w need 2 bytes, y needs 4)";
    case status_code::workspace_too_small: return "workspace smaller than the size query says";
    case status_code::invalid_plan: return "the plan names no kernel that can run this shape";
    case status_code::no_kernel_for_device: return "this program holds no kernel for the current device";
    case status_code::cuda_error: return "CUDA error";
  }
  return "unknown status code";
}

/// Cause, argument and CUDA's own text, e.g. "k must be a multiple of 32 (argument: shape.k)".
Q4FUSE_HIDDEN inline std::string to_string(const status& s) {
  std::string text = to_string(s.code());
  if (*s.argument() != '\0') text += std::string(" (argument: ") + s.argument() + ")";
  if (s.code() == status_code::cuda_error) {
    text += " " + std::to_string(static_cast<int>(s.cuda_error())) + ": " + cudaGetErrorString(s.cuda_error());
  }
  return text;
}

Q4FUSE_NAMESPACE_END
