#include "gguf/device_timing.hpp"

#include "support/backend.hpp"

#include <cuda_runtime.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <vector>

namespace q4fuse_tools {
namespace {

constexpr int64_t kMostCalls = 4096;
constexpr int64_t kFewestCalls = 16;
constexpr int kReplays = 11;

void require(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(std::string("timing: CUDA: ") + cudaGetErrorString(error));
}
void require(const q4fuse::status& status) {
  if (!status.ok()) throw std::runtime_error("timing: " + to_string(status));
}

/// Owns what a CUDA create function made.
template <auto kDestroy, class Handle>
struct destroyer {
  using pointer = Handle;
  void operator()(Handle handle) const { (void)kDestroy(handle); }
};
using stream_handle = std::unique_ptr<cudaStream_t, destroyer<cudaStreamDestroy, cudaStream_t>>;
using event_handle = std::unique_ptr<cudaEvent_t, destroyer<cudaEventDestroy, cudaEvent_t>>;
using graph_handle = std::unique_ptr<cudaGraph_t, destroyer<cudaGraphDestroy, cudaGraph_t>>;
using graph_exec_handle = std::unique_ptr<cudaGraphExec_t, destroyer<cudaGraphExecDestroy, cudaGraphExec_t>>;

event_handle make_event() {
  cudaEvent_t event = nullptr;
  require(cudaEventCreate(&event));
  return event_handle(event);
}

template <class Calls>
graph_exec_handle capture(cudaStream_t stream, const Calls& calls) {
  require(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  calls();
  cudaGraph_t graph = nullptr;
  require(cudaStreamEndCapture(stream, &graph));
  const graph_handle owner(graph);
  cudaGraphExec_t executable = nullptr;
  require(cudaGraphInstantiate(&executable, graph, 0));
  return graph_exec_handle(executable);
}

double replay(cudaGraphExec_t graph, cudaStream_t stream, cudaEvent_t begin, cudaEvent_t end) {
  require(cudaEventRecord(begin, stream));
  require(cudaGraphLaunch(graph, stream));
  require(cudaEventRecord(end, stream));
  require(cudaEventSynchronize(end));
  float milliseconds = 0.0f;
  require(cudaEventElapsedTime(&milliseconds, begin, end));
  return 1000.0 * static_cast<double>(milliseconds);
}

template <class T>
std::vector<T> repeat(const std::vector<T>& values, int64_t times) {
  std::vector<T> all;
  all.reserve(values.size() * static_cast<size_t>(times));
  for (int64_t i = 0; i < times; ++i) all.insert(all.end(), values.begin(), values.end());
  return all;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

std::string describe_device() {
  int device = 0;
  cudaDeviceProp properties;
  require(cudaGetDevice(&device));
  require(cudaGetDeviceProperties(&properties, device));
  return std::string(properties.name) + "; times of one call in a CUDA graph, weights cold in L2";
}

std::optional<pipeline_times> time_pipelines(const problem& problem, const q4fuse::gemm_plan& plan) {
  const q4fuse::gemm_shape& shape = problem.shape;
  int device = 0;
  int l2_bytes = 0;
  require(cudaGetDevice(&device));
  require(cudaDeviceGetAttribute(&l2_bytes, cudaDevAttrL2CacheSize, device));
  const auto w_bytes = static_cast<int64_t>(problem.w.size() * sizeof(q4fuse::block_q4_0));
  const int64_t copies = std::clamp(2 * static_cast<int64_t>(l2_bytes) / w_bytes + 1, int64_t{2}, kMostCalls);
  const int64_t calls = std::max(copies, kFewestCalls);

  q4fuse_test::guarded_buffer<q4fuse::block_q4_0> w(repeat(problem.w, copies));
  q4fuse_test::guarded_buffer<__half> x(problem.x);
  q4fuse_test::guarded_buffer<q4fuse::block_q8_1> x_q8_1(problem.x.size() / q4fuse::kBlockSize);
  q4fuse_test::guarded_buffer<float> y(static_cast<size_t>(shape.m * shape.n));
  require(q4fuse_test::synchronize());  // the stream below does not wait for the uploads

  cudaStream_t created = nullptr;
  require(cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking));
  const stream_handle stream(created);
  q4fuse::gemm_options options;
  options.plan = plan;
  const auto weights_of = [&](int64_t call) {
    return w.data() + call % copies * static_cast<int64_t>(problem.w.size());
  };
  const graph_exec_handle separate = capture(stream.get(), [&] {
    for (int64_t call = 0; call < calls; ++call) {
      require(launch_separate({weights_of(call), x.data(), x_q8_1.data(), y.data()}, shape, options, stream.get()));
    }
  });
  const graph_exec_handle fused = capture(stream.get(), [&] {
    for (int64_t call = 0; call < calls; ++call) {
      require(launch_fused({weights_of(call), x.data(), nullptr, y.data()}, shape, options, stream.get()));
    }
  });

  const event_handle begin = make_event();
  const event_handle end = make_event();
  std::vector<double> separate_us;
  std::vector<double> fused_us;
  for (int i = 0; i <= kReplays; ++i) {
    const double one = replay(separate.get(), stream.get(), begin.get(), end.get()) / static_cast<double>(calls);
    const double other = replay(fused.get(), stream.get(), begin.get(), end.get()) / static_cast<double>(calls);
    if (i == 0) continue;  // the first replay also uploads the graph
    separate_us.push_back(one);
    fused_us.push_back(other);
  }
  return pipeline_times{median(separate_us), median(fused_us)};
}

}  // namespace q4fuse_tools
