// The calls of the CUDA runtime that the library makes outside detail/launch/launch.cuh. This definition is found
// before the one of the toolkit, because this archive stands before it on the linker's command line.

#include "emulator/runtime/gpu.hpp"

#include <cuda_runtime_api.h>

#include <algorithm>

extern "C" cudaError_t CUDARTAPI cudaMemset2DAsync(void* base, size_t pitch, int value, size_t width, size_t height,
                                                   cudaStream_t) {
  using q4fuse_emulator::device;
  device.synchronize();  // ordered with the kernels of the stream: none of them runs at the same time
  for (size_t row = 0; row < height; ++row) {
    uint8_t* begin = static_cast<uint8_t*>(base) + row * pitch;
    q4fuse_emulator::allocation* target = device.global.find(begin, width);
    if (target == nullptr) return cudaErrorInvalidValue;
    std::fill_n(target->content.begin() + target->offset_of(begin), width, static_cast<uint8_t>(value));
    target->moved.written += static_cast<int64_t>(width);
  }
  return cudaSuccess;
}
