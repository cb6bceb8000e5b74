// More live values than registers: what the kernel budget must catch.

__global__ void __launch_bounds__(1024, 2) spilling_kernel(const float* x, float* y) {
  float values[128];
#pragma unroll
  for (int i = 0; i < 128; ++i) values[i] = x[i * 1024 + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 128; ++i) y[i * 1024 + threadIdx.x] = values[127 - i] * values[(i * 37) % 128];
}
