#include "context.hpp"

#include "costs.hpp"
#include "cublas.hpp"
#include "kernels.hpp"

#include <q4fuse/version.hpp>

#include <cstdio>

namespace q4fuse_bench {
namespace {

int attribute(cudaDeviceAttr which) {
  int device = 0;
  int value = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
  return value;
}

std::string cuda_version(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

template <class Work>
double median_seconds(const stream& where, Work work) {
  constexpr int kRepeats = 11;
  event start;
  event stop;
  std::vector<double> seconds;
  work();
  for (int i = 0; i < kRepeats; ++i) {
    start.record(where.get());
    work();
    stop.record(where.get());
    seconds.push_back(stop.seconds_since(start));
  }
  return median(seconds);
}

std::string gigabytes_per_second(double bytes_per_second) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.0f", bytes_per_second * 1e-9);
  return text;
}

}  // namespace

bandwidths measure_bandwidths(const stream& where) {
  constexpr int64_t kLargest = int64_t{1} << 30;
  constexpr int64_t kMultiple = 1 << 20;
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  check(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
  const int64_t bytes = std::min(kLargest, static_cast<int64_t>(free_bytes) / 4 / kMultiple * kMultiple);
  device_buffer from;
  device_buffer to;
  from.reserve(bytes);
  to.reserve(bytes);
  check(cudaMemsetAsync(from.data(), 0x5A, static_cast<size_t>(bytes), where.get()), "cudaMemset");
  const double copy = median_seconds(where, [&] {
    check(cudaMemcpyAsync(to.data(), from.data(), static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, where.get()),
          "cudaMemcpy");
  });
  const double read = median_seconds(where, [&] { launch_read(from.data(), bytes, where.get()); });
  return {2.0 * static_cast<double>(bytes) / copy, static_cast<double>(bytes) / read};
}

int64_t query_l2_bytes() { return attribute(cudaDevAttrL2CacheSize); }

std::vector<std::pair<std::string, std::string>> describe_run(const bandwidths& measured) {
  int device = 0;
  int driver = 0;
  int runtime = 0;
  cudaDeviceProp properties{};
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  return {
      {"gpu", properties.name},
      {"compute_capability", std::to_string(properties.major) + "." + std::to_string(properties.minor)},
      {"sm_count", std::to_string(properties.multiProcessorCount)},
      {"sm_clock_max_mhz", std::to_string(attribute(cudaDevAttrClockRate) / 1000)},
      {"memory_clock_max_mhz", std::to_string(attribute(cudaDevAttrMemoryClockRate) / 1000)},
      {"l2_bytes", std::to_string(properties.l2CacheSize)},
      {"driver", cuda_version(driver)},
      {"cuda_runtime", cuda_version(runtime)},
      {"nvcc", Q4FUSE_BENCH_NVCC},
      {"cublas", cublas_gemm::version()},
      {"q4fuse", std::to_string(Q4FUSE_VERSION_MAJOR) + "." + std::to_string(Q4FUSE_VERSION_MINOR) + "." +
                     std::to_string(Q4FUSE_VERSION_PATCH)},
      {"commit", Q4FUSE_BENCH_COMMIT},
      {"copy_bandwidth_gb_s", gigabytes_per_second(measured.copy_bytes_per_second)},
      {"read_bandwidth_gb_s", gigabytes_per_second(measured.read_bytes_per_second)},
      {"times", "median of samples of many calls, CUDA events; pipelines of a shape take turns"},
  };
}

}  // namespace q4fuse_bench
