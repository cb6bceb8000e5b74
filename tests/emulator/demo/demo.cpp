// Both pipelines without a GPU: the library's own kernels, run on the CPU under memory and race checks, on real weights
// and on small random shapes. Exits non-zero when the pipelines disagree in a bit or leave the error bound.

#include "emulator/demo/measured_pipelines.hpp"
#include "reference/oracle.hpp"
#include "support/generate.hpp"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>

namespace {

using namespace q4fuse_emulator;
using q4fuse::pipeline;

template <class T>
std::vector<T> read_file(const std::string& path, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  std::ifstream stream(path, std::ios::binary);
  const auto bytes = static_cast<std::streamsize>(values.size() * sizeof(T));
  if (!stream.read(reinterpret_cast<char*>(values.data()), bytes)) {
    throw std::runtime_error(path + ": cannot read " + std::to_string(bytes) + " bytes");
  }
  return values;
}

/// Key projection of the first layer of SmolLM2-135M, with its activations on real text.
problem read_real_problem(int64_t m) {
  constexpr int64_t kN = 192, kK = 576;
  const std::string path = Q4FUSE_TEST_DATA "/smollm2/blk.0.attn_k.weight";
  return {{m, kN, kK},
          read_file<q4fuse::block_q4_0>(path + ".q4_0", kN * kK / q4fuse::kBlockSize),
          read_file<__half>(path + ".f16", m * kK)};
}

problem make_problem(const q4fuse::gemm_shape& s) {
  return {s, q4fuse_test::make_weights(q4fuse_test::weight_kind::normal, s.n, s.k, 1),
          q4fuse_test::make_activations(q4fuse_test::activation_kind::outliers, s.m, s.k, 2)};
}

/// The worst error, as a part of what FP32 sums of exact block dots may be off by.
double worst_error(const problem& p, const std::vector<float>& y) {
  const auto [m, n, k] = p.shape;
  const auto x = q4fuse_reference::quantize_q8_1(reinterpret_cast<const uint16_t*>(p.x.data()), m, k, k);
  const auto wanted = q4fuse_reference::gemm(reinterpret_cast<const uint8_t*>(p.w.data()), x.data(), m, n, k);
  double worst = 0.0;
  for (size_t i = 0; i < y.size(); ++i) {
    const double error = std::fabs(static_cast<double>(y[i]) - wanted[i].value);
    if (!(error <= wanted[i].bound)) return INFINITY;  // NaN too
    if (wanted[i].bound > 0.0) worst = std::max(worst, error / wanted[i].bound);
  }
  return worst;
}

/// One line of the table; whether every check passed.
bool show(const char* input, const problem& p, const q4fuse::device_info& info) {
  const q4fuse::gemm_plan plan = q4fuse::plan(p.shape, info);
  const measured separate = run_pipeline(p, plan, pipeline::separate);
  const measured fused = run_pipeline(p, plan, pipeline::fused);
  const bool agree = std::memcmp(separate.y.data(), fused.y.data(), fused.y.size() * sizeof(float)) == 0;
  const double error = worst_error(p, fused.y);
  std::printf("%-8s %4d %5d %5d  %-9s %7.3f  %5d %5d  %9d %9d  %s\n", input, static_cast<int>(p.shape.m),
              static_cast<int>(p.shape.n), static_cast<int>(p.shape.k), agree ? "identical" : "DIFFERENT", error,
              static_cast<int>(separate.launches), static_cast<int>(fused.launches),
              static_cast<int>(separate.activation_bytes()), static_cast<int>(fused.activation_bytes()),
              kernel_names(plan).c_str());
  return agree && error <= 1.0;
}

}  // namespace

int main() try {
  q4fuse::device_info info;
  require(q4fuse_test::query(&info));
  std::printf(
      "q4fuse without a GPU: its kernels on the CPU, every access checked (emulated sm_%d, %d multiprocessors)\n\n",
      info.code_arch, info.sm_count);
  std::printf("                          fused and    worst    launches      activation bytes\n");
  std::printf("input       m     n     k separate     error  separ fused   separate     fused  kernel\n");
  bool passed = true;
  for (const int64_t m : {1, 8, 33}) passed &= show("SmolLM2", read_real_problem(m), info);
  for (const q4fuse::gemm_shape& shape :
       {q4fuse::gemm_shape{1, 300, 1024}, q4fuse::gemm_shape{5, 64, 2048}, q4fuse::gemm_shape{100, 130, 544}}) {
    passed &= show("random", make_problem(shape), info);
  }
  std::printf(
      "\nfused and separate: compared bit by bit. Error: against FP64 sums, 1 is the bound that rounding allows.\n"
      "Activation bytes: what passes through global memory (FP16 in; separately also Q8_1 out and in again).\n"
      "%d kernels of %d kinds executed. Times need an NVIDIA GPU.\n",
      static_cast<int>(device.totals().launches), static_cast<int>(device.kernels_executed().size()));
  if (!passed) std::printf("FAILED: see DIFFERENT or an error above 1\n");
  return passed ? 0 : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
