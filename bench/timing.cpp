#include "timing.hpp"

#include "kernels.hpp"

#include <algorithm>
#include <utility>

namespace q4fuse_bench {
namespace {

/// Longer than the host needs to launch a graph.
constexpr int64_t kSpinMicroseconds = 100;

cudaGraphExec_t capture(const call_function& call, int calls, cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  try {
    for (int i = 0; i < calls; ++i) call(i, stream);
  } catch (...) {
    (void)cudaStreamEndCapture(stream, &graph);
    if (graph != nullptr) (void)cudaGraphDestroy(graph);
    throw;
  }
  check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
  (void)cudaGraphDestroy(graph);
  check(error, "cudaGraphInstantiate");
  return executable;
}

}  // namespace

repeated_calls::repeated_calls(call_function call, int calls, bool captured, const stream& where)
    : call_(std::move(call)), calls_(calls), stream_(where) {
  if (captured) graph_ = capture(call_, calls_, stream_.get());
}

repeated_calls::~repeated_calls() {
  if (graph_ != nullptr) (void)cudaGraphExecDestroy(graph_);
}

void repeated_calls::run() const {
  if (graph_ != nullptr) {
    check(cudaGraphLaunch(graph_, stream_.get()), "cudaGraphLaunch");
    return;
  }
  for (int i = 0; i < calls_; ++i) call_(i, stream_.get());
}

timer::timer(const stream& where, int64_t evicting) : stream_(where) {
  flush_.reserve(evicting);
  check(cudaMemsetAsync(flush_.data(), 0, static_cast<size_t>(evicting), where.get()), "cudaMemset");
  int device = 0;
  int kilohertz = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&kilohertz, cudaDevAttrClockRate, device), "cudaDeviceGetAttribute");
  constexpr int kUnknownClock = 1500000;
  spin_cycles_ = (kilohertz > 0 ? kilohertz : kUnknownClock) * kSpinMicroseconds / 1000;
}

double timer::estimate(const call_function& call) {
  constexpr int kTries = 3;
  constexpr double kLong = 2e-3;
  double fastest = 0.0;
  for (int i = 0; i < kTries; ++i) {
    start_.record(stream_.get());
    call(i, stream_.get());
    stop_.record(stream_.get());
    const double seconds = stop_.seconds_since(start_);
    fastest = i == 0 ? seconds : std::min(fastest, seconds);
    if (i > 0 && seconds > kLong) break;  // the first may have loaded a kernel
  }
  return fastest;
}

double timer::sample(const repeated_calls& calls, l2_state l2) {
  if (l2 == l2_state::cold) {
    launch_read(flush_.data(), flush_.size(), stream_.get());
  } else {
    calls.run_one();
  }
  if (calls.captured()) {
    launch_spin(spin_cycles_, stream_.get());
  } else {
    stream_.synchronize();
  }
  start_.record(stream_.get());
  calls.run();
  stop_.record(stream_.get());
  return stop_.seconds_since(start_) / calls.calls();
}

}  // namespace q4fuse_bench
