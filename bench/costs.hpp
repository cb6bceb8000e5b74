#pragma once

// Bytes and operations of a call, and how often to repeat it. Host only.

#include "grid.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace q4fuse_bench {

constexpr int64_t weight_bytes(const q4fuse::gemm_shape& s) { return s.n * (s.k / 32) * 18; }
constexpr int64_t weight_fp16_bytes(const q4fuse::gemm_shape& s) { return s.n * s.k * 2; }
constexpr int64_t activation_bytes(const q4fuse::gemm_shape& s) { return s.m * s.k * 2; }
constexpr int64_t quantized_bytes(const q4fuse::gemm_shape& s) { return s.m * (s.k / 32) * 36; }
constexpr int64_t output_bytes(const q4fuse::gemm_shape& s) { return s.m * s.n * 4; }

/// What a call must move at least: each input read once, each output written once. The Q8_1 blocks between the two
/// kernels of `separate` are not counted, so that the GB/s of both pipelines compare.
constexpr int64_t moved_bytes(pipeline_kind kind, const q4fuse::gemm_shape& s) {
  switch (kind) {
    case pipeline_kind::gemm: return weight_bytes(s) + quantized_bytes(s) + output_bytes(s);
    case pipeline_kind::quantize: return activation_bytes(s) + quantized_bytes(s);
    case pipeline_kind::cublas: return weight_fp16_bytes(s) + activation_bytes(s) + output_bytes(s);
    case pipeline_kind::producer: return 2 * activation_bytes(s);
    default: return weight_bytes(s) + activation_bytes(s) + output_bytes(s);
  }
}

/// Multiplications and additions of the product; 0 for the kernels that multiply nothing.
constexpr double operations(pipeline_kind kind, const q4fuse::gemm_shape& s) {
  if (kind == pipeline_kind::quantize || kind == pipeline_kind::producer) return 0.0;
  return 2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
}

/// Bytes that have to pass through the L2 before a buffer counts as cold: more than 200 MB and more than four L2s.
constexpr int64_t eviction_bytes(int64_t l2_bytes) { return std::max<int64_t>(int64_t{200} << 20, 4 * l2_bytes); }

/// Calls between two events, and buffers of a rotation, at most: past that a graph is only slower to build.
inline constexpr int kMaxCalls = 256;

/// Buffers that take turns. The L2 is flushed before every sample, so where the calls are too small to evict one
/// another, it is enough that no buffer is used twice in one sample.
constexpr int rotation_slots(l2_state l2, int64_t bytes_per_call, int64_t evicting) {
  if (l2 == l2_state::warm) return 1;
  return static_cast<int>(std::min<int64_t>(evicting / std::max<int64_t>(bytes_per_call, 1) + 2, kMaxCalls));
}

struct repetition {
  int calls;    ///< calls between two events
  int replays;  ///< samples; the median is reported
};

/// About a millisecond between two events dilutes their own cost; long calls need fewer repeats to be as exact.
constexpr repetition choose_repetition(double seconds_per_call, double series_seconds) {
  constexpr double kSample = 1e-3;
  constexpr double kLongestSample = 10e-3;
  constexpr int kMinCalls = 20;
  constexpr int kMinReplays = 3;
  constexpr int kMaxReplays = 25;
  const double t = std::max(seconds_per_call, 1e-7);
  double calls = std::max<double>(kSample / t, kMinCalls);
  if (calls * t > kLongestSample) calls = kLongestSample / t;
  const int whole_calls = static_cast<int>(std::clamp(calls, 1.0, static_cast<double>(kMaxCalls)));
  const double replays = series_seconds / (whole_calls * t);
  return {whole_calls, static_cast<int>(std::clamp<double>(replays, kMinReplays, kMaxReplays))};
}

/// Not empty; of an even count the mean of the two in the middle.
inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

}  // namespace q4fuse_bench
