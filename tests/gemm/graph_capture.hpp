#pragma once

// Captures calls into a CUDA graph: to replay them, and to read which kernels they launched. CUDA only.

#include "support/backend.hpp"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace q4fuse_test {

struct kernel_launch {
  std::string name;  ///< demangled, template arguments included
  int64_t ctas;
  int threads;
  int64_t shared_bytes;
};

/// The work that a callable puts into a stream. Global capture mode makes every allocation and synchronization in it
/// an error, so a successful capture also proves that there was none.
class captured_graph {
 public:
  template <class Callable>
  explicit captured_graph(const Callable& work) {
    check(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeGlobal));
    work(stream_.get());
    check(cudaStreamEndCapture(stream_.get(), &graph_));
    check(cudaGraphInstantiate(&executable_, graph_, 0));
  }
  captured_graph(const captured_graph&) = delete;
  captured_graph& operator=(const captured_graph&) = delete;
  ~captured_graph() {
    (void)cudaGraphExecDestroy(executable_);
    (void)cudaGraphDestroy(graph_);
  }

  void replay() const {
    check(cudaGraphLaunch(executable_, stream_.get()));
    check(cudaStreamSynchronize(stream_.get()));
  }

  size_t node_count() const {
    size_t count = 0;
    check(cudaGraphGetNodes(graph_, nullptr, &count));
    return count;
  }

  /// In order of capture.
  std::vector<kernel_launch> kernels() const {
    std::vector<cudaGraphNode_t> nodes(node_count());
    size_t count = nodes.size();
    check(cudaGraphGetNodes(graph_, nodes.data(), &count));
    std::vector<kernel_launch> launches;
    for (const cudaGraphNode_t node : nodes) {
      cudaGraphNodeType type;
      check(cudaGraphNodeGetType(node, &type));
      if (type != cudaGraphNodeTypeKernel) continue;
      cudaKernelNodeParams parameters{};
      check(cudaGraphKernelNodeGetParams(node, &parameters));
      launches.push_back({function_name(parameters.func),
                          int64_t{parameters.gridDim.x} * parameters.gridDim.y * parameters.gridDim.z,
                          static_cast<int>(parameters.blockDim.x * parameters.blockDim.y * parameters.blockDim.z),
                          static_cast<int64_t>(parameters.sharedMemBytes)});
    }
    return launches;
  }

 private:
  static std::string function_name(const void* function) {
    const char* mangled = nullptr;
    check(cudaFuncGetName(&mangled, function));
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> name(abi::__cxa_demangle(mangled, nullptr, nullptr, &status),
                                                           &std::free);
    return status == 0 ? name.get() : mangled;
  }

  stream_holder stream_;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace q4fuse_test
