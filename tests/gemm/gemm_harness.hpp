#pragma once

// Runs the GEMMs on exactly sized, guarded buffers and judges what they leave behind.

#include <q4fuse/q4fuse.cuh>

#include "reference/oracle.hpp"
#include "support/backend.hpp"
#include "support/generate.hpp"
#include "support/gpu_test.hpp"
#include "support/matcher.hpp"

#include <algorithm>
#include <cctype>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace q4fuse_test {

using q4fuse::gemm_shape;
using q4fuse::kernel_config;
using q4fuse::math_mode;
using q4fuse::pipeline;
using q4fuse::status_code;

/// Packed matrices on the host.
struct gemm_inputs {
  std::vector<q4fuse::block_q4_0> w;
  std::vector<__half> x;
};

inline gemm_inputs make_inputs(const gemm_shape& shape, activation_kind activations = activation_kind::normal,
                               weight_kind weights = weight_kind::normal, uint64_t seed = 1) {
  return {make_weights(weights, shape.n, shape.k, seed), make_activations(activations, shape.m, shape.k, seed + 1)};
}

inline constexpr math_mode kMathModes[] = {math_mode::exact, math_mode::dequantized_fp16, math_mode::direct_fp16};

/// Whether blocks quantized beforehand can be multiplied in this mode.
constexpr bool has_separate_pipeline(math_mode math) { return math != math_mode::direct_fp16; }

/// Calls `call` with a std::integral_constant of the mode, for the entry points' template argument.
template <class Call>
auto with_math(math_mode math, Call&& call) {
  if (math == math_mode::exact) return call(std::integral_constant<math_mode, math_mode::exact>{});
  if (math == math_mode::dequantized_fp16) {
    return call(std::integral_constant<math_mode, math_mode::dequantized_fp16>{});
  }
  return call(std::integral_constant<math_mode, math_mode::direct_fp16>{});
}

/// The entry points with the math mode as an argument.
inline q4fuse::status gemm_fused(math_mode math, const q4fuse::block_q4_0* w, const __half* x, float* y,
                                 const gemm_shape& shape, const q4fuse::gemm_options& options, cudaStream_t stream) {
  return with_math(
      math, [&](auto constant) { return q4fuse::gemm_q4_0_fp16_fused<constant>(w, x, y, shape, options, stream); });
}
inline q4fuse::status gemm_automatic(math_mode math, const q4fuse::block_q4_0* w, const __half* x, float* y,
                                     const gemm_shape& shape, void* workspace, size_t workspace_bytes,
                                     const q4fuse::gemm_options& options, cudaStream_t stream) {
  return with_math(math, [&](auto constant) {
    return q4fuse::gemm_q4_0_fp16<constant>(w, x, y, shape, workspace, workspace_bytes, options, stream);
  });
}
inline q4fuse::status workspace_size(math_mode math, const gemm_shape& shape, const q4fuse::gemm_options& options,
                                     size_t* bytes) {
  return with_math(
      math, [&](auto constant) { return q4fuse::gemm_q4_0_fp16_workspace_size<constant>(shape, options, bytes); });
}
/// For the modes that have a separate pipeline.
inline q4fuse::status gemm_separate(math_mode math, const q4fuse::block_q4_0* w, const q4fuse::block_q8_1* x, float* y,
                                    const gemm_shape& shape, const q4fuse::gemm_options& options, cudaStream_t stream) {
  if (math == math_mode::exact) return q4fuse::gemm_q4_0_q8_1(w, x, y, shape, options, stream);
  return q4fuse::gemm_q4_0_q8_1<math_mode::dequantized_fp16>(w, x, y, shape, options, stream);
}

/// One call: shape, kernel to force (none: the library's choice), math mode, and layout.
struct gemm_case {
  gemm_shape shape;
  std::optional<kernel_config> config = {};
  math_mode math = math_mode::exact;
  int64_t ldx = 0;  ///< 0: packed, here as in gemm_options
  int64_t ldy = 0;
  size_t w_misalignment = 0;
  size_t x_misalignment = 0;
  size_t y_misalignment = 0;
  bool programmatic_dependent_launch = false;
  int64_t tail_tokens = 0;  ///< the last tokens, which have a kernel of their own beside a forced one
  q4fuse::kernel_config tail{};

  int64_t x_stride() const { return ldx == 0 ? shape.k : ldx; }
  int64_t y_stride() const { return ldy == 0 ? shape.n : ldy; }
  /// Blocks of a row must stay whole, so the Q8_1 rows take the next multiple of 32.
  int64_t q8_stride() const { return (x_stride() + 31) / 32 * 32; }

  q4fuse::gemm_options options(pipeline source = pipeline::fused) const {
    q4fuse::gemm_options result;
    result.ldx = ldx;
    result.ldy = ldy;
    result.programmatic_dependent_launch = programmatic_dependent_launch;
    if (config.has_value()) {
      result.plan.emplace();
      result.plan->config = *config;
      result.plan->math = math;
      result.plan->source = source;
      result.plan->tail_tokens = tail_tokens;
      result.plan->tail = tail;
    }
    return result;
  }

  std::string describe() const {
    return "m=" + std::to_string(shape.m) + " n=" + std::to_string(shape.n) + " k=" + std::to_string(shape.k) +
           " ldx=" + std::to_string(ldx) + " ldy=" + std::to_string(ldy) + " w+" + std::to_string(w_misalignment) +
           " x+" + std::to_string(x_misalignment) + " y+" + std::to_string(y_misalignment) + " " +
           (config.has_value() ? to_string(*config) : "automatic") + " " + to_string(math) +
           (tail_tokens > 0 ? ", last " + std::to_string(tail_tokens) + " by " + to_string(tail) : "");
  }
};

/// Elements that a matrix of `rows` rows owns: its last row ends with its last element.
inline size_t strided_count(int64_t rows, int64_t length, int64_t ld) {
  return rows == 0 ? 0 : static_cast<size_t>((rows - 1) * ld + length);
}

/// Spreads packed rows to a stride; the gaps are 0xFF bytes, so that a kernel that reads them shows it.
template <class T>
std::vector<T> with_stride(const std::vector<T>& packed, int64_t rows, int64_t length, int64_t ld) {
  std::vector<T> strided(strided_count(rows, length, ld));
  if (!strided.empty()) std::memset(static_cast<void*>(strided.data()), 0xFF, strided.size() * sizeof(T));
  for (int64_t row = 0; row < rows; ++row) {
    std::copy_n(packed.begin() + row * length, length, strided.begin() + row * ld);
  }
  return strided;
}

/// The status of a call and all of y, gaps between rows included.
struct gemm_outcome {
  q4fuse::status status;
  std::vector<float> y;
};

inline gemm_outcome run_fused(const gemm_case& c, const gemm_inputs& inputs) {
  const auto [m, n, k] = c.shape;
  guarded_buffer<q4fuse::block_q4_0> w(inputs.w, c.w_misalignment);
  guarded_buffer<__half> x(with_stride(inputs.x, m, k, c.x_stride()), c.x_misalignment);
  guarded_buffer<float> y(strided_count(m, n, c.y_stride()), c.y_misalignment);
  gemm_outcome outcome;
  outcome.status = gemm_fused(c.math, w.data(), x.data(), y.data(), c.shape, c.options(), nullptr);
  EXPECT_EQ(synchronize(), cudaSuccess) << c.describe();
  EXPECT_TRUE(w.guards_intact() && x.guards_intact() && y.guards_intact())
      << "guard zone written, fused, " << c.describe();
  outcome.y = y.download();
  return outcome;
}

/// For the modes that have a separate pipeline.
inline gemm_outcome run_separate(const gemm_case& c, const gemm_inputs& inputs) {
  const auto [m, n, k] = c.shape;
  guarded_buffer<q4fuse::block_q4_0> w(inputs.w, c.w_misalignment);
  guarded_buffer<__half> x(with_stride(inputs.x, m, k, c.x_stride()), c.x_misalignment);
  guarded_buffer<q4fuse::block_q8_1> blocks(strided_count(m, k / 32, c.q8_stride() / 32), c.x_misalignment);
  guarded_buffer<float> y(strided_count(m, n, c.y_stride()), c.y_misalignment);
  q4fuse::quantize_options quantize;
  quantize.ldx = c.ldx;
  quantize.ldy = c.q8_stride();
  quantize.programmatic_dependent_launch = c.programmatic_dependent_launch;
  const q4fuse::status quantized = q4fuse::quantize_fp16_to_q8_1(x.data(), blocks.data(), m, k, quantize, nullptr);
  EXPECT_TRUE(quantized.ok()) << to_string(quantized) << " at " << c.describe();
  q4fuse::gemm_options options = c.options(pipeline::separate);
  options.ldx = c.q8_stride();
  gemm_outcome outcome;
  outcome.status = gemm_separate(c.math, w.data(), blocks.data(), y.data(), c.shape, options, nullptr);
  EXPECT_EQ(synchronize(), cudaSuccess) << c.describe();
  EXPECT_TRUE(w.guards_intact() && x.guards_intact() && blocks.guards_intact() && y.guards_intact())
      << "guard zone written, separate, " << c.describe();
  outcome.y = y.download();
  return outcome;
}

/// The outcome of each pipeline that the mode has, fused first.
inline std::vector<gemm_outcome> run_pipelines(const gemm_case& c, const gemm_inputs& inputs) {
  std::vector<gemm_outcome> outcomes = {run_fused(c, inputs)};
  if (has_separate_pipeline(c.math)) outcomes.push_back(run_separate(c, inputs));
  return outcomes;
}

/// All of 0..count-1, or `limit` of them: both ends, where tiles are ragged, and a deterministic scatter between.
inline std::vector<int64_t> sample(int64_t count, int64_t limit) {
  std::vector<int64_t> chosen;
  for (int64_t i = 0; i < std::min(count, limit); ++i) {
    if (count <= limit)
      chosen.push_back(i);
    else if (i < 4)
      chosen.push_back(i < 2 ? i : count - 4 + i);
    else
      chosen.push_back(
          static_cast<int64_t>(static_cast<uint64_t>(i) * 0x9E3779B97F4A7C15u % static_cast<uint64_t>(count)));
  }
  return chosen;
}

/// What a mode must compute: one element of Y.
inline q4fuse_reference::expected expected_element(math_mode math, const uint8_t* w_row, const uint16_t* x_row,
                                                   const uint8_t* x_row_q8_1, int64_t k) {
  switch (math) {
    case math_mode::exact: return q4fuse_reference::dot(w_row, x_row_q8_1, k);
    case math_mode::dequantized_fp16: return q4fuse_reference::dot_of_halves(w_row, x_row_q8_1, k);
    case math_mode::direct_fp16: return q4fuse_reference::dot_with_halves(w_row, x_row, k);
  }
  return {};
}

/// Y against the oracle, within the bound of each element; large products by a sample of rows and columns. Also proves
/// that the gaps between the rows of y are untouched.
inline void expect_as_oracle(const gemm_case& c, const gemm_inputs& inputs, const std::vector<float>& y) {
  constexpr int64_t kElementBudget = int64_t{1} << 18;
  constexpr int64_t kWorkBudget = int64_t{1} << 22;
  const auto [m, n, k] = c.shape;
  const int64_t elements = std::max<int64_t>(64, std::min(kElementBudget, kWorkBudget / std::max<int64_t>(k, 32)));
  const auto columns = sample(n, std::max<int64_t>(8, elements / std::min<int64_t>(m, 64)));
  const auto rows = sample(m, std::max<int64_t>(8, elements / static_cast<int64_t>(columns.size())));
  const auto* w_bytes = reinterpret_cast<const uint8_t*>(inputs.w.data());
  mismatch_report report(c.describe());
  for (const int64_t row : rows) {
    const auto* x_row = reinterpret_cast<const uint16_t*>(inputs.x.data() + row * k);
    const auto x_row_q8_1 = q4fuse_reference::quantize_q8_1(x_row, 1, k, k);
    for (const int64_t column : columns) {
      check_element(y[static_cast<size_t>(row * c.y_stride() + column)],
                    expected_element(c.math, w_bytes + column * (k / 32) * 18, x_row, x_row_q8_1.data(), k), row,
                    column, report);
    }
  }
  for (int64_t row = 0; row + 1 < m; ++row) {
    for (int64_t column = n; column < c.y_stride(); ++column) {
      const float value = y[static_cast<size_t>(row * c.y_stride() + column)];
      if (!same_bits(value, bits_to_float(0xFFFFFFFF))) report.add(row, column, describe(value) + " in the gap");
    }
  }
  EXPECT_TRUE(report.result());
}

inline void expect_untouched(const std::vector<float>& y, const std::string& what) {
  EXPECT_TRUE(
      equal_bits(y, std::vector<float>(y.size(), bits_to_float(0xFFFFFFFF)), static_cast<int64_t>(y.size()), what));
}

/// What a forced kernel must answer.
inline status_code expected_code(const gemm_case& c, const q4fuse::device_info& device) {
  if (!c.config.has_value() || can_run(*c.config, c.shape, device)) return status_code::success;
  return has_instruction(device, *c.config) ? status_code::invalid_plan : status_code::no_kernel_for_device;
}

/// All pipelines of the mode under one plan: equal bit for bit and right, or all refused with y untouched. True where
/// they ran.
inline bool expect_pipelines_agree(const gemm_case& c, const gemm_inputs& inputs) {
  q4fuse::device_info device;
  const q4fuse::status queried = query(&device);
  EXPECT_TRUE(queried.ok()) << to_string(queried);
  const status_code wanted = expected_code(c, device);
  const std::vector<gemm_outcome> outcomes = run_pipelines(c, inputs);
  for (const gemm_outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.status, wanted) << to_string(outcome.status) << ", " << c.describe();
    if (wanted != status_code::success) expect_untouched(outcome.y, "refused, " + c.describe());
  }
  if (wanted != status_code::success) return false;
  const std::vector<float>& fused = outcomes.front().y;
  const std::vector<float>& separate = outcomes.back().y;
  expect_as_oracle(c, inputs, fused);
  if (c.config.has_value()) {
    EXPECT_TRUE(equal_bits(fused, separate, c.y_stride(), "fused against separate, " + c.describe()));
  } else if (has_separate_pipeline(c.math)) {
    // Left to themselves the pipelines may choose different kernels: each is right, and under one plan they agree.
    expect_as_oracle(c, inputs, separate);
    gemm_case same_plan = c;
    const q4fuse::gemm_plan of_fused = plan(c.shape, device, q4fuse::pipeline::fused, c.math);
    same_plan.config = of_fused.config;
    same_plan.tail_tokens = of_fused.tail_tokens;
    same_plan.tail = of_fused.tail;
    EXPECT_TRUE(equal_bits(fused, run_separate(same_plan, inputs).y, c.y_stride(),
                           "fused against separate under the plan of fused, " + c.describe()));
  }
  return true;
}

/// A kernel of kKernelConfigs, and a math mode that it serves.
struct forced_choice {
  int index;
  math_mode math;
};

inline std::vector<forced_choice> every_forced_choice() {
  std::vector<forced_choice> choices;
  for (int index = 0; index < q4fuse::kKernelConfigCount; ++index) {
    for (const math_mode math : kMathModes) {
      if (serves(q4fuse::kKernelConfigs[index], math)) choices.push_back({index, math});
    }
  }
  return choices;
}

inline std::string forced_choice_name(const forced_choice& choice) {
  const std::string math = choice.math == math_mode::exact ? "" : std::string("_") + to_string(choice.math);
  std::string name = to_string(q4fuse::kKernelConfigs[choice.index]) + math;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
}
inline void PrintTo(const forced_choice& choice, std::ostream* stream) { *stream << forced_choice_name(choice); }

/// Tests that run once per entry of kKernelConfigs and math mode that it serves, with that kernel forced.
class forced_kernel : public gpu_test_with<forced_choice> {
 protected:
  static kernel_config config() { return q4fuse::kKernelConfigs[GetParam().index]; }
  static math_mode math() { return GetParam().math; }
  /// False where no shape at all can make this kernel run, e.g. too little shared memory.
  static bool runs_here() {
    q4fuse::device_info device;
    EXPECT_TRUE(query(&device).ok());
    return can_run(config(), {1, 1, 32}, device);
  }
  /// What stands in for a test on a device that cannot run the kernel: the refusal.
  static void expect_refused() {
    const gemm_shape shape{1, 1, 32};
    EXPECT_FALSE(expect_pipelines_agree({shape, config(), math()}, make_inputs(shape)));
  }
};

}  // namespace q4fuse_test

#define Q4FUSE_FOR_EVERY_KERNEL(suite)                                                \
  INSTANTIATE_TEST_SUITE_P(kernel, suite, ::testing::ValuesIn(every_forced_choice()), \
                           [](const auto& instance) { return forced_choice_name(instance.param); })
