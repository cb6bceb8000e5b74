#pragma once

// Results are checked before they are timed.

#include "inputs.hpp"
#include "pipelines.hpp"
#include "pool.hpp"

#include <cstdint>
#include <vector>

namespace q4fuse_bench {

/// Every check throws a std::runtime_error that names shape, element and both values. The pool is prepared for the
/// shape.
class verifier {
 public:
  verifier(const inputs& data, const rotation_pool& pool, const cublas_gemm& cublas, const stream& where);

  /// The quantizer against the oracle byte for byte, fused against separate bit for bit, and a sample of both against
  /// the oracle within the bound of the call's math mode. Without quantized activations there is fused alone.
  void check_pipelines(const call_spec& call);

  /// A sample of cuBLAS's result against FP64, within FP16 rounding of the weights.
  void check_cublas(const call_spec& call);

  /// Root mean square of a product's error over that of the product itself, for a sample of elements: against the FP64
  /// product of the activations as they are given and the weights as they are stored. For cuBLAS's call of its result,
  /// else of the fused pipeline's.
  double relative_error(const call_spec& call);

  /// What the timed call left in slot `slot_index` against a call by itself, bit for bit. Nothing for calls that leave
  /// no product.
  void check_replay(const call_spec& call, int slot_index);

 private:
  struct sample {
    std::vector<int64_t> rows;
    std::vector<int64_t> columns;
  };
  sample pick(const q4fuse::gemm_shape& shape, int columns) const;
  void run(pipeline_kind kind, const call_spec& call, const slot& operands);
  void poison(float* y, const q4fuse::gemm_shape& shape);
  unsigned long long differences(const float* a, const float* b, const q4fuse::gemm_shape& shape);
  std::vector<float> dequantized_row(int64_t row, int64_t k) const;
  float element(const float* y, int64_t index);
  std::vector<uint8_t> quantized_row(const q4fuse::gemm_shape& shape, int64_t row);

  const inputs& data_;
  const rotation_pool& pool_;
  const cublas_gemm& cublas_;
  const stream& stream_;
  device_buffer count_;
};

}  // namespace q4fuse_bench
