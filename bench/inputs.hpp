#pragma once

// Random inputs for every shape from one small supply: a matrix is the supply repeated from its beginning.

#include <q4fuse/formats.hpp>

#include <cstdint>
#include <vector>

namespace q4fuse_bench {

/// Both supplies have a prime length, so that no two rows of a matrix begin at the same place of it and a kernel that
/// reads the wrong row shows.
class inputs {
 public:
  inputs();

  const std::vector<q4fuse::block_q4_0>& weights() const { return weights_; }
  const std::vector<__half>& activations() const { return activations_; }

  /// Row `row` of the weight matrix with k input features.
  std::vector<q4fuse::block_q4_0> weight_row(int64_t row, int64_t k) const;
  /// Row `row` of the activation matrix with k input features.
  std::vector<__half> activation_row(int64_t row, int64_t k) const;

 private:
  std::vector<q4fuse::block_q4_0> weights_;
  std::vector<__half> activations_;
};

}  // namespace q4fuse_bench
