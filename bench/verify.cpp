#include "verify.hpp"

#include "costs.hpp"
#include "kernels.hpp"

#include "reference/oracle.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

namespace q4fuse_bench {
namespace {

constexpr int kSampleRows = 8;
constexpr int kSampleColumns = 8;
/// Enough for two digits of a root mean square.
constexpr int kErrorColumns = 64;

/// First, last, and others spread irregularly in between.
std::vector<int64_t> spread(int64_t size, int count) {
  std::vector<int64_t> places = {0, size - 1};
  uint64_t state = static_cast<uint64_t>(size);
  while (static_cast<int>(places.size()) < count) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    places.push_back(static_cast<int64_t>((state >> 33) % static_cast<uint64_t>(size)));
  }
  std::sort(places.begin(), places.end());
  places.erase(std::unique(places.begin(), places.end()), places.end());
  return places;
}

std::string describe(const q4fuse::gemm_shape& s) {
  return "m=" + std::to_string(s.m) + " n=" + std::to_string(s.n) + " k=" + std::to_string(s.k);
}

void check_element(const char* what, const q4fuse::gemm_shape& shape, int64_t row, int64_t column, double got,
                   double expected, double bound) {
  if (std::fabs(got - expected) <= bound) return;  // false for NaN
  char values[128];
  std::snprintf(values, sizeof(values), "got %.9g, expected %.9g within %.3g", got, expected, bound);
  throw std::runtime_error(std::string(what) + ": y(" + std::to_string(row) + ", " + std::to_string(column) + ") of " +
                           describe(shape) + ": " + values);
}

struct product {
  double sum;
  double magnitude;  ///< sum of the terms' magnitudes
};

product multiply(const std::vector<float>& w, const std::vector<__half>& x) {
  product result{0.0, 0.0};
  for (size_t i = 0; i < w.size(); ++i) {
    const double term = static_cast<double>(w[i]) * static_cast<double>(__half2float(x[i]));
    result.sum += term;
    result.magnitude += std::fabs(term);
  }
  return result;
}

q4fuse_reference::expected expected_element(q4fuse::math_mode math, const uint8_t* w, const uint16_t* x,
                                            const uint8_t* x_q8_1, int64_t k) {
  switch (math) {
    case q4fuse::math_mode::dequantized_fp16: return q4fuse_reference::dot_of_halves(w, x_q8_1, k);
    case q4fuse::math_mode::direct_fp16: return q4fuse_reference::dot_with_halves(w, x, k);
    default: return q4fuse_reference::dot(w, x_q8_1, k);
  }
}

}  // namespace

verifier::verifier(const inputs& data, const rotation_pool& pool, const cublas_gemm& cublas, const stream& where)
    : data_(data), pool_(pool), cublas_(cublas), stream_(where) {
  count_.reserve(sizeof(unsigned long long));
}

void verifier::check_pipelines(const call_spec& call) {
  const q4fuse::gemm_shape& shape = call.shape;
  const bool quantized = call.math != q4fuse::math_mode::direct_fp16;
  const slot fused = pool_.reference();
  slot separate = fused;
  separate.y = pool_.timed(0).y;
  poison(fused.y, shape);
  run(pipeline_kind::fused, call, fused);
  if (quantized) {
    poison(separate.y, shape);
    run(pipeline_kind::separate, call, separate);
  }
  stream_.synchronize();

  const sample places = pick(shape, kSampleColumns);
  for (const int64_t row : places.rows) {
    const std::vector<__half> x = data_.activation_row(row, shape.k);
    const auto* const x_bits = reinterpret_cast<const uint16_t*>(x.data());
    const std::vector<uint8_t> x_q8_1 = q4fuse_reference::quantize_q8_1(x_bits, 1, shape.k, shape.k);
    if (quantized && quantized_row(shape, row) != x_q8_1) {
      throw std::runtime_error("quantize: row " + std::to_string(row) + " of " + describe(shape) +
                               " differs from the reference");
    }
    for (const int64_t column : places.columns) {
      const std::vector<q4fuse::block_q4_0> w = data_.weight_row(column, shape.k);
      const auto* const w_bytes = reinterpret_cast<const uint8_t*>(w.data());
      const q4fuse_reference::expected y = expected_element(call.math, w_bytes, x_bits, x_q8_1.data(), shape.k);
      const int64_t index = row * shape.n + column;
      check_element("fused", shape, row, column, element(fused.y, index), y.value, y.bound);
      if (quantized) check_element("separate", shape, row, column, element(separate.y, index), y.value, y.bound);
    }
  }
  if (!quantized) return;
  // Left to itself the library may choose different kernels for the two pipelines; the same bits are promised, and
  // checked, under one plan: the fused pipeline's own.
  if (!call.plan.has_value()) {
    q4fuse::device_info device;
    check(query_device(&device), "q4fuse::query_device");
    call_spec same_plan = call;
    same_plan.plan = q4fuse::plan(shape, device, q4fuse::pipeline::fused, call.math);
    poison(separate.y, shape);
    run(pipeline_kind::separate, same_plan, separate);
    stream_.synchronize();
  }
  if (const unsigned long long count = differences(fused.y, separate.y, shape); count != 0) {
    throw std::runtime_error("fused and separate differ in " + std::to_string(count) + " elements of " +
                             describe(shape));
  }
}

double verifier::relative_error(const call_spec& call) {
  const q4fuse::gemm_shape& shape = call.shape;
  const slot operands = pool_.reference();
  run(call.kind == pipeline_kind::cublas ? pipeline_kind::cublas : pipeline_kind::fused, call, operands);
  stream_.synchronize();
  const sample places = pick(shape, kErrorColumns);
  double squared_error = 0.0;
  double squared_product = 0.0;
  for (const int64_t column : places.columns) {
    const std::vector<float> w = dequantized_row(column, shape.k);
    for (const int64_t row : places.rows) {
      const std::vector<__half> x = data_.activation_row(row, shape.k);
      const product exact = multiply(w, x);
      const double error = element(operands.y, row * shape.n + column) - exact.sum;
      squared_error += error * error;
      squared_product += exact.sum * exact.sum;
    }
  }
  return std::sqrt(squared_error / squared_product);
}

void verifier::check_cublas(const call_spec& call) {
  // The weights are rounded once to FP16 (2^-11), and the sum is taken in FP32 in an order that only cuBLAS knows.
  constexpr double kTolerance = 0x1p-10;
  const q4fuse::gemm_shape& shape = call.shape;
  const slot operands = pool_.reference();
  poison(operands.y, shape);
  run(pipeline_kind::cublas, call, operands);
  stream_.synchronize();
  const sample places = pick(shape, kSampleColumns);
  for (const int64_t row : places.rows) {
    const std::vector<__half> x = data_.activation_row(row, shape.k);
    for (const int64_t column : places.columns) {
      const product exact = multiply(dequantized_row(column, shape.k), x);
      check_element("cublas", shape, row, column, element(operands.y, row * shape.n + column), exact.sum,
                    kTolerance * exact.magnitude);
    }
  }
}

void verifier::check_replay(const call_spec& call, int slot_index) {
  if (call.kind == pipeline_kind::quantize || call.kind == pipeline_kind::producer ||
      call.kind == pipeline_kind::cublas) {
    return;
  }
  const slot replayed = pool_.timed(slot_index);
  slot alone = replayed;
  alone.y = pool_.reference().y;
  if (call.mode == launch_mode::chain) {
    // From the producer's source: its copy would hide a producer that never wrote.
    alone.x = pool_.reference().x;
    if (call.kind == pipeline_kind::gemm) alone.x_q8_1 = pool_.reference().x_q8_1;
  }
  poison(alone.y, call.shape);
  run(call.kind, call, alone);
  if (const unsigned long long count = differences(alone.y, replayed.y, call.shape); count != 0) {
    throw std::runtime_error("the timed call and the same call by itself differ in " + std::to_string(count) +
                             " elements of " + describe(call.shape) + " (" + to_string(call.mode) + ")");
  }
}

verifier::sample verifier::pick(const q4fuse::gemm_shape& shape, int columns) const {
  return {spread(shape.m, kSampleRows), spread(shape.n, columns)};
}

void verifier::run(pipeline_kind kind, const call_spec& call, const slot& operands) {
  enqueue({kind, call.shape, call.math, call.plan, launch_mode::graph}, operands, operands, cublas_, stream_.get());
}

void verifier::poison(float* y, const q4fuse::gemm_shape& shape) {
  check(cudaMemsetAsync(y, 0xFF, static_cast<size_t>(output_bytes(shape)), stream_.get()), "cudaMemset");
}

unsigned long long verifier::differences(const float* a, const float* b, const q4fuse::gemm_shape& shape) {
  auto* const device_count = reinterpret_cast<unsigned long long*>(count_.data());
  unsigned long long count = 0;
  check(cudaMemsetAsync(device_count, 0, sizeof(count), stream_.get()), "cudaMemset");
  launch_count_differences(a, b, shape.m * shape.n, device_count, stream_.get());
  check(cudaMemcpyAsync(&count, device_count, sizeof(count), cudaMemcpyDeviceToHost, stream_.get()), "cudaMemcpy");
  stream_.synchronize();
  return count;
}

std::vector<float> verifier::dequantized_row(int64_t row, int64_t k) const {
  std::vector<float> w(static_cast<size_t>(k));
  q4fuse::dequantize_q4_0(data_.weight_row(row, k).data(), w.data(), k);
  return w;
}

float verifier::element(const float* y, int64_t index) {
  float value = 0.0f;
  check(cudaMemcpy(&value, y + index, sizeof(value), cudaMemcpyDeviceToHost), "cudaMemcpy");
  return value;
}

std::vector<uint8_t> verifier::quantized_row(const q4fuse::gemm_shape& shape, int64_t row) {
  const int64_t blocks = shape.k / q4fuse::kBlockSize;
  std::vector<uint8_t> bytes(static_cast<size_t>(blocks) * sizeof(q4fuse::block_q8_1));
  check(cudaMemcpy(bytes.data(), pool_.reference().x_q8_1 + row * blocks, bytes.size(), cudaMemcpyDeviceToHost),
        "cudaMemcpy");
  return bytes;
}

}  // namespace q4fuse_bench
