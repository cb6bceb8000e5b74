// A C++ compiler and no nvcc: formats, status, shape, options and plan.

#include <q4fuse/formats.hpp>
#include <q4fuse/options.hpp>
#include <q4fuse/plan.hpp>
#include <q4fuse/shape.hpp>
#include <q4fuse/status.hpp>
#include <q4fuse/version.hpp>

#include <cstdio>
#include <string>

int main() {
  const std::string version = std::to_string(Q4FUSE_VERSION_MAJOR) + "." + std::to_string(Q4FUSE_VERSION_MINOR) + "." +
                              std::to_string(Q4FUSE_VERSION_PATCH);
  const q4fuse::device_info hopper{132, 90, 227 * 1024};
  const q4fuse::gemm_plan plan = q4fuse::plan({8, 4096, 4096}, hopper);
  const q4fuse::gemm_options options{0, 0, plan, false};
  const q4fuse::status error(cudaErrorInvalidValue);
  float x[32] = {-8.0f};
  q4fuse::block_q4_0 block;
  q4fuse::quantize_q4_0(x, &block, 32);
  q4fuse::dequantize_q4_0(&block, x, 32);
  std::printf("%s: %s; %s\n", version.c_str(), to_string(plan).c_str(), to_string(error).c_str());
  return version == EXPECTED_VERSION && options.plan->config == plan.config && !error.ok() && x[0] == -8.0f ? 0 : 1;
}
