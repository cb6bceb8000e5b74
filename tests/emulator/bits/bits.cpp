// Prints a hash of the output bits of every kernel and pipeline on fixed inputs: "kernel m n k hash", one line each.
// Compiled for the GPU and for the emulator from this one source, so that two runs can be compared line by line.

#include "support/backend.hpp"
#include "support/generate.hpp"

#include <cinttypes>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

namespace {

using q4fuse_test::guarded_buffer;

/// What a test reports as skipped.
constexpr int kSkippedExitCode = 77;

/// FNV-1a over bytes. Inputs are finite, so that no NaN, whose bits a GPU and a CPU choose differently, comes out.
template <class T>
uint64_t hash(const std::vector<T>& values) {
  uint64_t result = 0xCBF29CE484222325u;
  const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
  for (size_t i = 0; i < values.size() * sizeof(T); ++i) result = (result ^ bytes[i]) * 0x100000001B3u;
  return result;
}

void print(const std::string& what, const q4fuse::gemm_shape& s, uint64_t value) {
  std::printf("%s %" PRId64 " %" PRId64 " %" PRId64 " %016" PRIx64 "\n", what.c_str(), s.m, s.n, s.k, value);
}

void require(const q4fuse::status& status) {
  if (!status.ok()) throw std::runtime_error(to_string(status));
}

void run_shape(const q4fuse::gemm_shape& shape, q4fuse_test::activation_kind activations,
               q4fuse_test::weight_kind weights, const q4fuse::device_info& device) {
  const auto [m, n, k] = shape;
  guarded_buffer<q4fuse::block_q4_0> w(q4fuse_test::make_weights(weights, n, k, 1));
  guarded_buffer<__half> x(q4fuse_test::make_activations(activations, m, k, 2));
  guarded_buffer<q4fuse::block_q8_1> blocks(static_cast<size_t>(m * k / q4fuse::kBlockSize));
  require(q4fuse::quantize_fp16_to_q8_1(x.data(), blocks.data(), m, k, {}, nullptr));
  print("quantize", shape, hash(blocks.download()));
  for (const q4fuse::kernel_config& config : q4fuse::kKernelConfigs) {
    // FP16 math sums in the order of the tensor cores, which the emulator does not claim to know.
    if (!serves(config, q4fuse::math_mode::exact) || !can_run(config, shape, device)) continue;
    q4fuse::gemm_options options;
    options.plan.emplace();
    options.plan->config = config;
    guarded_buffer<float> y(static_cast<size_t>(m * n));
    require(q4fuse::gemm_q4_0_q8_1(w.data(), blocks.data(), y.data(), shape, options, nullptr));
    print(to_string(config) + "/separate", shape, hash(y.download()));
    guarded_buffer<float> fused(static_cast<size_t>(m * n));
    require(q4fuse::gemm_q4_0_fp16_fused(w.data(), x.data(), fused.data(), shape, options, nullptr));
    print(to_string(config) + "/fused", shape, hash(fused.download()));
  }
}

}  // namespace

int main() try {
  using q4fuse_test::activation_kind;
  using q4fuse_test::weight_kind;
  if (!q4fuse_test::device_available()) {
    std::printf("no CUDA device\n");
    return kSkippedExitCode;
  }
  q4fuse::device_info device;
  require(q4fuse_test::query(&device));
  run_shape({1, 33, 32}, activation_kind::edges, weight_kind::edges, device);
  run_shape({2, 130, 1056}, activation_kind::normal, weight_kind::normal, device);
  run_shape({7, 70, 544}, activation_kind::outliers, weight_kind::outliers, device);
  run_shape({12, 40, 768}, activation_kind::edges, weight_kind::normal, device);
  run_shape({33, 257, 288}, activation_kind::uniform, weight_kind::uniform, device);
  run_shape({129, 65, 576}, activation_kind::normal, weight_kind::edges, device);
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
