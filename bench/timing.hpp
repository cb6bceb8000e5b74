#pragma once

// Device time of many calls, from CUDA events.

#include "cuda_handles.hpp"
#include "grid.hpp"

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace q4fuse_bench {

/// Puts call number `call` of a series into the stream.
using call_function = std::function<void(int call, cudaStream_t stream)>;

/// A number of calls that can be run again and again: a graph, or plain launches.
class repeated_calls {
 public:
  /// With `captured`, the calls become one graph here; every kernel must have run before, so that none is loaded now.
  repeated_calls(call_function call, int calls, bool captured, const stream& where);
  ~repeated_calls();
  repeated_calls(const repeated_calls&) = delete;
  repeated_calls& operator=(const repeated_calls&) = delete;

  void run() const;
  void run_one() const { call_(0, stream_.get()); }
  int calls() const { return calls_; }
  bool captured() const { return graph_ != nullptr; }

 private:
  call_function call_;
  int calls_;
  const stream& stream_;
  cudaGraphExec_t graph_ = nullptr;
};

class timer {
 public:
  /// `evicting` bytes read between samples make the L2 cold.
  timer(const stream& where, int64_t evicting);

  /// Seconds of one call, roughly and from above; also loads the kernels. `call` is run up to three times.
  double estimate(const call_function& call);

  /// Seconds per call, once. A graph is launched while the device is still busy with the flush and a spin, so that the
  /// cost of launching it is not measured; plain launches begin on an idle device, so that their cost is.
  double sample(const repeated_calls& calls, l2_state l2);

 private:
  const stream& stream_;
  event start_;
  event stop_;
  device_buffer flush_;
  int64_t spin_cycles_ = 0;
};

}  // namespace q4fuse_bench
