#pragma once

// Where the kernels under test run: on the GPU here; the emulator has a header of the same name and interface.

#include <q4fuse/q4fuse.cuh>

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace q4fuse_test {

inline constexpr bool kEmulated = false;

inline bool device_available() {
  int count = 0;
  const bool available = cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
  (void)cudaGetLastError();
  return available;
}

inline void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

inline cudaError_t synchronize() { return cudaDeviceSynchronize(); }

inline q4fuse::status query(q4fuse::device_info* device) { return q4fuse::query_device(device); }

/// Device memory of exactly `count` elements between two guard zones. Everything starts as 0xFF bytes, which are NaN as
/// half and as float: what a kernel reads outside its rows poisons the result, what it writes there shows.
template <class T>
class guarded_buffer {
  static_assert(std::is_trivially_copyable_v<T>, "copied as bytes");

 public:
  explicit guarded_buffer(size_t count, size_t misalignment_bytes = 0)
      : count_(count), front_(kGuardBytes + misalignment_bytes) {
    check(cudaMalloc(reinterpret_cast<void**>(&base_), total_bytes()));
    check(cudaMemset(base_, 0xFF, total_bytes()));
  }
  explicit guarded_buffer(const std::vector<T>& values, size_t misalignment_bytes = 0)
      : guarded_buffer(values.size(), misalignment_bytes) {
    upload(values);
  }
  guarded_buffer(const guarded_buffer&) = delete;
  guarded_buffer& operator=(const guarded_buffer&) = delete;
  ~guarded_buffer() { (void)cudaFree(base_); }

  /// Aligned to 256 bytes plus the misalignment asked for.
  T* data() { return reinterpret_cast<T*>(base_ + front_); }
  size_t size() const { return count_; }

  /// Back to 0xFF bytes, guard zones included.
  /// Done when it returns, also for streams that do not wait for the default one.
  void poison() {
    check(cudaMemset(base_, 0xFF, total_bytes()));
    check(cudaDeviceSynchronize());
  }
  void upload(const std::vector<T>& values) {
    if (values.size() != count_) throw std::invalid_argument("guarded_buffer: upload of another size");
    check(cudaMemcpy(base_ + front_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  std::vector<T> download() const {
    std::vector<T> values(count_);
    check(cudaMemcpy(values.data(), base_ + front_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }
  bool guards_intact() const {
    return is_untouched(0, front_) && is_untouched(front_ + count_ * sizeof(T), total_bytes());
  }

 private:
  static constexpr size_t kGuardBytes = 4096;

  size_t total_bytes() const { return front_ + count_ * sizeof(T) + kGuardBytes; }
  bool is_untouched(size_t begin, size_t end) const {
    std::vector<uint8_t> bytes(end - begin);
    check(cudaMemcpy(bytes.data(), base_ + begin, bytes.size(), cudaMemcpyDeviceToHost));
    return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0xFF; });
  }

  size_t count_;
  size_t front_;
  uint8_t* base_ = nullptr;
};

/// A stream that does not wait for the default one.
class stream_holder {
 public:
  stream_holder() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  stream_holder(const stream_holder&) = delete;
  stream_holder& operator=(const stream_holder&) = delete;
  ~stream_holder() { (void)cudaStreamDestroy(stream_); }

  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace q4fuse_test
