#pragma once

// The device buffers that calls rotate through.

#include "cuda_handles.hpp"
#include "inputs.hpp"

#include <q4fuse/shape.hpp>

#include <cstdint>

namespace q4fuse_bench {

/// One set of operands of a call.
struct slot {
  const q4fuse::block_q4_0* w;
  const __half* w_fp16;  ///< the same weights dequantized
  __half* x;
  q4fuse::block_q8_1* x_q8_1;
  float* y;
};

/// Slots that the series of a point need, the reference not counted.
struct slot_counts {
  int products = 1;     ///< w and y: what multiplies
  int activations = 1;  ///< x and x_q8_1: everything
  int cublas = 0;       ///< w_fp16
};

class rotation_pool {
 public:
  rotation_pool(const inputs& data, cudaStream_t where) : data_(data), stream_(where) {}

  /// Makes room, fills w and x with the inputs, w_fp16 with w. Throws where memory does not suffice.
  void prepare(const q4fuse::gemm_shape& shape, const slot_counts& counts);

  /// The operands that the checks use and no timed call writes: x and w hold the inputs from their beginning.
  slot reference() const { return at(0); }
  /// The operands of one timed call, from 0 on.
  slot timed(int index) const { return at(index + 1); }

  /// Fills every timed x and x_q8_1 with NaN bytes, so that a chain that reads one before its producer wrote it shows.
  void poison_activations();

 private:
  slot at(int index) const;
  void fill_activations();
  void fill_dequantized(int slots);

  const inputs& data_;
  cudaStream_t stream_;
  q4fuse::gemm_shape shape_;
  device_buffer w_;
  device_buffer w_fp16_;
  device_buffer x_;
  device_buffer x_q8_1_;
  device_buffer y_;
  bool poisoned_ = false;
  q4fuse::gemm_shape dequantized_shape_;  ///< whose weights w_fp16 holds
  int dequantized_slots_ = 0;
};

}  // namespace q4fuse_bench
