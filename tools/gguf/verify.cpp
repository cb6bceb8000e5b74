#include "gguf/run_pipelines.hpp"

#include "reference/oracle.hpp"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>

namespace q4fuse_tools {
namespace {

constexpr int64_t kQ4Bytes = sizeof(q4fuse::block_q4_0);
constexpr int64_t kQ8Bytes = sizeof(q4fuse::block_q8_1);

std::string at(int64_t row, int64_t column, const q4fuse::gemm_shape& shape) {
  return "(" + std::to_string(row) + ", " + std::to_string(column) + ") of m=" + std::to_string(shape.m) +
         " n=" + std::to_string(shape.n) + " k=" + std::to_string(shape.k);
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.9g", value);
  return text;
}

/// Row-major indices into Y to look at.
std::vector<int64_t> choose_elements(const q4fuse::gemm_shape& shape, int64_t most) {
  const int64_t count = shape.m * shape.n;
  std::vector<int64_t> elements;
  if (count <= most) {
    for (int64_t i = 0; i < count; ++i) elements.push_back(i);
    return elements;
  }
  elements = {0, shape.n - 1, count - shape.n, count - 1};
  std::mt19937_64 random(0);
  while (static_cast<int64_t>(elements.size()) < most) {
    elements.push_back(static_cast<int64_t>(random() % static_cast<uint64_t>(count)));
  }
  return elements;
}

/// Each check returns what is wrong first, or nothing.
std::string check_blocks(const uint8_t* actual, const std::vector<uint8_t>& expected, int64_t blocks_per_row) {
  for (size_t i = 0; i * kQ8Bytes < expected.size(); ++i) {
    if (std::memcmp(actual + i * kQ8Bytes, expected.data() + i * kQ8Bytes, kQ8Bytes) == 0) continue;
    const auto block = static_cast<int64_t>(i);
    return "Q8_1 block differs from the oracle's at row " + std::to_string(block / blocks_per_row) + ", block " +
           std::to_string(block % blocks_per_row);
  }
  return "";
}

std::string check_agreement(const pipeline_results& results, const q4fuse::gemm_shape& shape) {
  for (int64_t i = 0; i < shape.m * shape.n; ++i) {
    const float separate = results.y_separate[static_cast<size_t>(i)];
    const float fused = results.y_fused[static_cast<size_t>(i)];
    if (std::memcmp(&separate, &fused, sizeof(float)) == 0) continue;
    return "separate " + number(separate) + " and fused " + number(fused) + " differ at " +
           at(i / shape.n, i % shape.n, shape);
  }
  return "";
}

}  // namespace

verdict verify(const problem& problem, const pipeline_results& results, int64_t most_checked) {
  const q4fuse::gemm_shape& shape = problem.shape;
  const int64_t blocks = shape.k / q4fuse::kBlockSize;
  const std::vector<uint8_t> x_q8_1 =
      q4fuse_reference::quantize_q8_1(reinterpret_cast<const uint16_t*>(problem.x.data()), shape.m, shape.k, shape.k);

  verdict verdict;
  verdict.failure = check_blocks(reinterpret_cast<const uint8_t*>(results.x_q8_1.data()), x_q8_1, blocks);
  if (verdict.ok()) verdict.failure = check_agreement(results, shape);
  if (!verdict.ok()) return verdict;

  const auto* w = reinterpret_cast<const uint8_t*>(problem.w.data());
  for (const int64_t i : choose_elements(shape, most_checked)) {
    const int64_t row = i / shape.n;
    const int64_t column = i % shape.n;
    const q4fuse_reference::expected expected =
        q4fuse_reference::dot(w + column * blocks * kQ4Bytes, x_q8_1.data() + row * blocks * kQ8Bytes, shape.k);
    const float y = results.y_fused[static_cast<size_t>(i)];
    const double error = std::fabs(static_cast<double>(y) - expected.value);
    ++verdict.checked;
    if (!(error <= expected.bound)) {  // a NaN is not within
      verdict.worst_ratio = std::numeric_limits<double>::infinity();
      verdict.failure = "y = " + number(y) + ", the oracle says " + number(expected.value) + " within " +
                        number(expected.bound) + ", at " + at(row, column, shape);
      return verdict;
    }
    if (error > 0.0) verdict.worst_ratio = std::fmax(verdict.worst_ratio, error / expected.bound);
  }
  return verdict;
}

}  // namespace q4fuse_tools
