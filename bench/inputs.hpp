#pragma once

// Inputs for every shape from one small supply: a matrix is the supply repeated from its beginning.

#include "grid.hpp"

#include <q4fuse/formats.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace q4fuse_bench {

/// Where a matrix of a real model lies.
struct model_files {
  std::string gguf;
  std::string tensor;       ///< of Q4_0
  std::string activations;  ///< rows of k halves: a file, or a folder with TENSOR.f16; empty: random ones
};

class inputs {
 public:
  /// Random ones. Both supplies have a prime length, so that no two rows of a matrix begin at the same place of it and
  /// a kernel that reads the wrong row shows.
  inputs();
  /// A model's: of as many tokens as there are, then the same again. Throws std::runtime_error with what is wrong with
  /// the files.
  explicit inputs(const model_files& files);

  /// Of the model's weights, or all zeros where the inputs suit any shape.
  weight_shape shape() const { return shape_; }

  const std::vector<q4fuse::block_q4_0>& weights() const { return weights_; }
  const std::vector<__half>& activations() const { return activations_; }

  /// Row `row` of the weight matrix with k input features.
  std::vector<q4fuse::block_q4_0> weight_row(int64_t row, int64_t k) const;
  /// Row `row` of the activation matrix with k input features.
  std::vector<__half> activation_row(int64_t row, int64_t k) const;

 private:
  std::vector<q4fuse::block_q4_0> weights_;
  std::vector<__half> activations_;
  weight_shape shape_{0, 0};
};

}  // namespace q4fuse_bench
