#pragma once

// The emulated GPU behind the interface of tests/support/backend.hpp, which this header stands in for.

#include <q4fuse/q4fuse.cuh>

#include "emulator/runtime/gpu.hpp"

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <type_traits>
#include <vector>

namespace q4fuse_test {

inline constexpr bool kEmulated = true;

inline bool device_available() { return true; }

inline void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error("the emulator gives no CUDA errors");
}

inline cudaError_t synchronize() {
  q4fuse_emulator::device.synchronize();
  return cudaSuccess;
}

inline q4fuse::status query(q4fuse::device_info* device) { return q4fuse::query_device(device); }

/// Memory of exactly `count` elements. The guard zones are absolute here: a kernel that touches a byte outside stops
/// with a report, so they are always intact.
template <class T>
class guarded_buffer {
  static_assert(std::is_trivially_copyable_v<T>, "copied as bytes");

 public:
  explicit guarded_buffer(size_t count, size_t misalignment_bytes = 0)
      : count_(count), memory_(q4fuse_emulator::device.global.allocate(count * sizeof(T), misalignment_bytes, "")) {}
  explicit guarded_buffer(const std::vector<T>& values, size_t misalignment_bytes = 0)
      : guarded_buffer(values.size(), misalignment_bytes) {
    upload(values);
  }
  guarded_buffer(const guarded_buffer&) = delete;
  guarded_buffer& operator=(const guarded_buffer&) = delete;
  ~guarded_buffer() { q4fuse_emulator::device.global.release(memory_.base); }

  T* data() { return reinterpret_cast<T*>(memory_.base); }
  size_t size() const { return count_; }

  /// Like a copy on the GPU, both wait for all kernels.
  void upload(const std::vector<T>& values) {
    if (values.size() != count_) throw std::invalid_argument("guarded_buffer: upload of another size");
    q4fuse_emulator::device.synchronize();
    std::copy_n(reinterpret_cast<const uint8_t*>(values.data()), memory_.bytes, memory_.content.begin());
  }
  std::vector<T> download() const {
    q4fuse_emulator::device.synchronize();
    std::vector<T> values(count_);
    std::copy_n(memory_.content.begin(), memory_.bytes, reinterpret_cast<uint8_t*>(values.data()));
    return values;
  }
  bool guards_intact() const { return true; }

  // Of the emulator alone: a name for reports, and the bytes that kernels moved.
  void label(const char* name) { memory_.label = name; }
  q4fuse_emulator::traffic& traffic() { return memory_.moved; }

 private:
  size_t count_;
  q4fuse_emulator::allocation& memory_;
};

}  // namespace q4fuse_test
