#include "inputs.hpp"

#include "gguf/load_problem.hpp"
#include "support/generate.hpp"

namespace q4fuse_bench {
namespace {

constexpr int64_t kWeightBlocks = 1000003;
constexpr int64_t kActivations = 4000037;
constexpr uint64_t kSeed = 20;

template <class T>
std::vector<T> cyclic_slice(const std::vector<T>& supply, int64_t first, int64_t count) {
  std::vector<T> slice(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    slice[static_cast<size_t>(i)] = supply[static_cast<size_t>(first + i) % supply.size()];
  }
  return slice;
}

std::vector<__half> random_activations() {
  std::vector<__half> activations = q4fuse_test::make_activations(
      q4fuse_test::activation_kind::normal, kActivations / q4fuse::kBlockSize + 1, q4fuse::kBlockSize, kSeed);
  activations.resize(kActivations);
  return activations;
}

}  // namespace

inputs::inputs()
    : weights_(q4fuse_test::make_weights(q4fuse_test::weight_kind::normal, kWeightBlocks, q4fuse::kBlockSize, kSeed)),
      activations_(random_activations()) {}

inputs::inputs(const model_files& files) {
  q4fuse_tools::gguf_file file(files.gguf);
  const q4fuse_tools::gguf_tensor& tensor = file.find_q4_0(files.tensor);
  shape_ = {tensor.n(), tensor.k()};
  weights_ = q4fuse_tools::load_weights(file, tensor);
  if (files.activations.empty()) {
    activations_ = random_activations();
  } else {
    q4fuse_tools::activation_source source;
    source.path = files.activations;
    constexpr int64_t kAllRows = 0;
    activations_ = q4fuse_tools::load_activations(source, tensor, kAllRows);
  }
}

std::vector<q4fuse::block_q4_0> inputs::weight_row(int64_t row, int64_t k) const {
  const int64_t blocks = k / q4fuse::kBlockSize;
  return cyclic_slice(weights_, row * blocks, blocks);
}

std::vector<__half> inputs::activation_row(int64_t row, int64_t k) const {
  return cyclic_slice(activations_, row * k, k);
}

}  // namespace q4fuse_bench
