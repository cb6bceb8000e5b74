#include "pool.hpp"

#include "costs.hpp"
#include "kernels.hpp"

#include <algorithm>

namespace q4fuse_bench {
namespace {

/// Slots begin where a 16-byte access may, and in w also where a block does: lcm(256, 18).
constexpr int64_t kAlignment = 256;
constexpr int64_t kWeightAlignment = 2304;

constexpr int64_t align(int64_t bytes, int64_t alignment) { return (bytes + alignment - 1) / alignment * alignment; }

int64_t w_stride(const q4fuse::gemm_shape& s) { return align(weight_bytes(s), kWeightAlignment); }
int64_t w_fp16_stride(const q4fuse::gemm_shape& s) { return align(weight_fp16_bytes(s), kAlignment); }
int64_t x_stride(const q4fuse::gemm_shape& s) { return align(activation_bytes(s), kAlignment); }
int64_t x_q8_1_stride(const q4fuse::gemm_shape& s) { return align(quantized_bytes(s), kAlignment); }
int64_t y_stride(const q4fuse::gemm_shape& s) { return align(output_bytes(s), kAlignment); }

/// Repeats the supply over the whole buffer, doubling what is there.
template <class T>
void fill_cyclic(const std::vector<T>& supply, const device_buffer& buffer, cudaStream_t stream) {
  const int64_t period = static_cast<int64_t>(supply.size() * sizeof(T));
  int64_t filled = std::min(period, buffer.size());
  check(cudaMemcpyAsync(buffer.data(), supply.data(), static_cast<size_t>(filled), cudaMemcpyHostToDevice, stream),
        "upload of the inputs");
  while (filled < buffer.size()) {
    const int64_t bytes = std::min(filled, buffer.size() - filled);
    check(cudaMemcpyAsync(buffer.data() + filled, buffer.data(), static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice,
                          stream),
          "copy of the inputs");
    filled += bytes;
  }
}

}  // namespace

void rotation_pool::prepare(const q4fuse::gemm_shape& shape, const slot_counts& counts) {
  shape_ = shape;
  if (w_.reserve((counts.products + 1) * w_stride(shape))) {
    fill_cyclic(data_.weights(), w_, stream_);
    dequantized_slots_ = 0;
  }
  if (x_.reserve((counts.activations + 1) * x_stride(shape)) || poisoned_) fill_activations();
  x_q8_1_.reserve((counts.activations + 1) * x_q8_1_stride(shape));
  y_.reserve((counts.products + 1) * y_stride(shape));
  if (counts.cublas > 0) fill_dequantized(counts.cublas + 1);
}

void rotation_pool::fill_activations() {
  fill_cyclic(data_.activations(), x_, stream_);
  poisoned_ = false;
}

void rotation_pool::fill_dequantized(int slots) {
  const bool same_weights = dequantized_shape_.n == shape_.n && dequantized_shape_.k == shape_.k;
  const bool fresh = w_fp16_.reserve(slots * w_fp16_stride(shape_));
  if (!fresh && same_weights && slots <= dequantized_slots_) return;
  for (int i = 0; i < slots; ++i) {
    const slot s = at(i);
    launch_dequantize(s.w, const_cast<__half*>(s.w_fp16), shape_.n * shape_.k / q4fuse::kBlockSize, stream_);
  }
  dequantized_shape_ = shape_;
  dequantized_slots_ = slots;
}

void rotation_pool::poison_activations() {
  constexpr int kNan = 0xFF;
  const int64_t x_first = x_stride(shape_);
  const int64_t x_q8_1_first = x_q8_1_stride(shape_);
  check(cudaMemsetAsync(x_.data() + x_first, kNan, static_cast<size_t>(x_.size() - x_first), stream_), "cudaMemset");
  check(
      cudaMemsetAsync(x_q8_1_.data() + x_q8_1_first, kNan, static_cast<size_t>(x_q8_1_.size() - x_q8_1_first), stream_),
      "cudaMemset");
  poisoned_ = true;
}

slot rotation_pool::at(int index) const {
  const auto place = [&](const device_buffer& buffer, int64_t stride) {
    return buffer.data() == nullptr ? nullptr : buffer.data() + index * stride;
  };
  slot s{};
  s.w = reinterpret_cast<const q4fuse::block_q4_0*>(place(w_, w_stride(shape_)));
  s.w_fp16 = reinterpret_cast<const __half*>(place(w_fp16_, w_fp16_stride(shape_)));
  s.x = reinterpret_cast<__half*>(place(x_, x_stride(shape_)));
  s.x_q8_1 = reinterpret_cast<q4fuse::block_q8_1*>(place(x_q8_1_, x_q8_1_stride(shape_)));
  s.y = reinterpret_cast<float*>(place(y_, y_stride(shape_)));
  return s;
}

}  // namespace q4fuse_bench
