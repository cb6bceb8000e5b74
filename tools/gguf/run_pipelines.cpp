#include "gguf/run_pipelines.hpp"

#include "support/backend.hpp"

#include <q4fuse/q4fuse.cuh>

#include <stdexcept>
#include <string>

namespace q4fuse_tools {
namespace {

void require(const q4fuse::status& status, const char* call) {
  if (!status.ok()) throw std::runtime_error(std::string(call) + ": " + to_string(status));
}

template <class T>
std::vector<T> take(const q4fuse_test::guarded_buffer<T>& buffer, const char* name) {
  if (!buffer.guards_intact()) throw std::runtime_error(std::string("a kernel wrote outside ") + name);
  return buffer.download();
}

}  // namespace

q4fuse::status launch_separate(const device_operands& operands, const q4fuse::gemm_shape& shape,
                               const q4fuse::gemm_options& options, cudaStream_t stream) {
  const q4fuse::status quantized =
      q4fuse::quantize_fp16_to_q8_1(operands.x, operands.x_q8_1, shape.m, shape.k, {}, stream);
  if (!quantized.ok()) return quantized;
  return q4fuse::gemm_q4_0_q8_1(operands.w, operands.x_q8_1, operands.y, shape, options, stream);
}

q4fuse::status launch_fused(const device_operands& operands, const q4fuse::gemm_shape& shape,
                            const q4fuse::gemm_options& options, cudaStream_t stream) {
  return q4fuse::gemm_q4_0_fp16_fused(operands.w, operands.x, operands.y, shape, options, stream);
}

bool can_run_pipelines() { return q4fuse_test::device_available(); }

pipeline_results run_pipelines(const problem& problem) {
  const q4fuse::gemm_shape& shape = problem.shape;
  q4fuse::device_info device;
  require(q4fuse_test::query(&device), "query_device");
  pipeline_results results;
  results.plan = q4fuse::plan(shape, device);
  q4fuse::gemm_options options;
  options.plan = results.plan;

  const auto y_count = static_cast<size_t>(shape.m * shape.n);
  q4fuse_test::guarded_buffer<q4fuse::block_q4_0> w(problem.w);
  q4fuse_test::guarded_buffer<__half> x(problem.x);
  q4fuse_test::guarded_buffer<q4fuse::block_q8_1> x_q8_1(problem.x.size() / q4fuse::kBlockSize);
  q4fuse_test::guarded_buffer<float> y_separate(y_count);
  q4fuse_test::guarded_buffer<float> y_fused(y_count);

  require(launch_separate({w.data(), x.data(), x_q8_1.data(), y_separate.data()}, shape, options, nullptr),
          "the separate pipeline");
  require(launch_fused({w.data(), x.data(), nullptr, y_fused.data()}, shape, options, nullptr), "the fused pipeline");
  require(q4fuse::status(q4fuse_test::synchronize()), "running the kernels");

  results.x_q8_1 = take(x_q8_1, "the Q8_1 activations");
  results.y_separate = take(y_separate, "Y of the separate pipeline");
  results.y_fused = take(y_fused, "Y of the fused pipeline");
  return results;
}

}  // namespace q4fuse_tools
