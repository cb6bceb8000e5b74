#pragma once

// Argument checks that all entry points share.

#include <q4fuse/formats.hpp>
#include <q4fuse/options.hpp>
#include <q4fuse/shape.hpp>
#include <q4fuse/status.hpp>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

inline status check_pointer(const void* pointer, uintptr_t alignment, const char* name) {
  if (pointer == nullptr) return {status_code::null_pointer, name};
  if (reinterpret_cast<uintptr_t>(pointer) % alignment != 0) return {status_code::misaligned_pointer, name};
  return {};
}

/// Row strides with the default of packed rows filled in.
struct gemm_strides {
  int64_t ldx;
  int64_t ldy;
};

inline gemm_strides resolve_strides(const gemm_shape& shape, const gemm_options& options) {
  return {options.ldx == 0 ? shape.k : options.ldx, options.ldy == 0 ? shape.n : options.ldy};
}

/// Dimensions and strides. `block_rows` says that x holds blocks, whose rows a stride must not cut.
inline status check_shape(const gemm_shape& shape, const gemm_options& options, bool block_rows) {
  const gemm_strides strides = resolve_strides(shape, options);
  if (shape.m < 0) return {status_code::invalid_dimension, "shape.m"};
  if (shape.n < 0) return {status_code::invalid_dimension, "shape.n"};
  if (shape.k < 0) return {status_code::invalid_dimension, "shape.k"};
  if (shape.k % kBlockSize != 0) return {status_code::invalid_k, "shape.k"};
  if (strides.ldx < shape.k || (block_rows && strides.ldx % kBlockSize != 0)) {
    return {status_code::invalid_stride, "options.ldx"};
  }
  if (strides.ldy < shape.n) return {status_code::invalid_stride, "options.ldy"};
  return {};
}

/// Pointers of a GEMM that has something to write; with k = 0 only y is used.
inline status check_pointers(const void* w, const void* x, const void* y, const gemm_shape& shape) {
  if (shape.k > 0) {
    if (const status s = check_pointer(w, 2, "w"); !s.ok()) return s;
    if (const status s = check_pointer(x, 2, "x"); !s.ok()) return s;
  }
  return check_pointer(y, 4, "y");
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
