#pragma once

// Errors as exceptions, and owners of what CUDA hands out.

#include <q4fuse/status.hpp>

#include <cuda_runtime_api.h>

#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>

namespace q4fuse_bench {

inline void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  (void)cudaGetLastError();  // an error that is not sticky must not surface again in the next launch
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

inline void check(const q4fuse::status& result, const char* what) {
  if (!result.ok()) throw std::runtime_error(std::string(what) + ": " + to_string(result));
}

class stream {
 public:
  stream() { check(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking), "cudaStreamCreate"); }
  ~stream() { (void)cudaStreamDestroy(handle_); }
  stream(const stream&) = delete;
  stream& operator=(const stream&) = delete;
  cudaStream_t get() const { return handle_; }
  void synchronize() const { check(cudaStreamSynchronize(handle_), "cudaStreamSynchronize"); }

 private:
  cudaStream_t handle_ = nullptr;
};

class event {
 public:
  event() { check(cudaEventCreate(&handle_), "cudaEventCreate"); }
  ~event() { (void)cudaEventDestroy(handle_); }
  event(const event&) = delete;
  event& operator=(const event&) = delete;
  void record(cudaStream_t where) { check(cudaEventRecord(handle_, where), "cudaEventRecord"); }
  /// Waits for both; seconds from `start` to this event.
  double seconds_since(const event& start) const {
    check(cudaEventSynchronize(handle_), "cudaEventSynchronize");
    float milliseconds = 0.0f;
    check(cudaEventElapsedTime(&milliseconds, start.handle_, handle_), "cudaEventElapsedTime");
    return static_cast<double>(milliseconds) * 1e-3;
  }

 private:
  cudaEvent_t handle_ = nullptr;
};

/// Device memory that only grows, so that a run over many shapes allocates few times.
class device_buffer {
 public:
  device_buffer() = default;
  ~device_buffer() { (void)cudaFree(data_); }
  device_buffer(const device_buffer&) = delete;
  device_buffer& operator=(const device_buffer&) = delete;

  /// True when the memory is new and its content lost.
  bool reserve(int64_t bytes) {
    if (bytes <= bytes_) return false;
    check(cudaFree(std::exchange(data_, nullptr)), "cudaFree");
    bytes_ = 0;
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    check(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
    void* memory = nullptr;
    const std::string what =
        "cudaMalloc of " + std::to_string(bytes >> 20) + " MiB, " + std::to_string(free_bytes >> 20) + " MiB free";
    check(cudaMalloc(&memory, static_cast<size_t>(bytes)), what.c_str());
    data_ = static_cast<std::byte*>(memory);
    bytes_ = bytes;
    return true;
  }
  std::byte* data() const { return data_; }
  int64_t size() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace q4fuse_bench
