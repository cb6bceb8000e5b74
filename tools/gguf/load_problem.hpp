#pragma once

// From what the command line names to the matrices to multiply.

#include "gguf/gguf_file.hpp"
#include "gguf/run_pipelines.hpp"
#include "support/generate.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace q4fuse_tools {

/// Where rows of X come from: a file or folder of raw FP16, or the generator.
struct activation_source {
  /// A file of rows of k halves; or a folder with one such file per tensor, TENSOR.f16.
  std::string path;
  q4fuse_test::activation_kind kind = q4fuse_test::activation_kind::normal;
  uint64_t seed = 1;
};

/// The tensor's blocks. Throws gguf_error also when a scale is not finite.
std::vector<q4fuse::block_q4_0> load_weights(gguf_file& file, const gguf_tensor& tensor);

/// The first `rows` rows of X for a tensor; as many as the file has when `rows` is 0. Throws std::runtime_error when
/// the file does not hold whole rows, has too few, or holds a value that is not finite.
std::vector<__half> load_activations(const activation_source& source, const gguf_tensor& tensor, int64_t rows);

}  // namespace q4fuse_tools
