// Every kernel, forced, over what the numbers may be: corner cases, NaN and Inf, the largest halves, golden data.

#include "gemm/gemm_harness.hpp"
#include "support/golden.hpp"

#include <tuple>

namespace q4fuse_test {
namespace {

class values : public forced_kernel {
 protected:
  /// A token where a tile begins, and is neither the first nor the last of the shape below.
  static int64_t second_tile() { return std::clamp(config().tile_m, 8, kEmulated ? 8 : 1024); }
  /// At least two token tiles and two row tiles, ragged, with an odd number of blocks, or whole pieces for a kernel for
  /// which another stands in elsewhere.
  static gemm_shape ragged_shape() {
    return {second_tile() + 3, config().tile_n + 3, q4fuse::detail::copies_rows(config()) ? 32 * 16 : 32 * 17};
  }
};

TEST_P(values, every_kind_of_activations_and_weights) {
  for (const auto activations : {activation_kind::uniform, activation_kind::outliers, activation_kind::edges}) {
    for (const auto weights : {weight_kind::uniform, weight_kind::outliers, weight_kind::edges}) {
      if (kEmulated && (activations == activation_kind::uniform || weights == weight_kind::uniform)) continue;
      EXPECT_EQ(expect_pipelines_agree({ragged_shape(), config(), math()},
                                       make_inputs(ragged_shape(), activations, weights, 3)),
                runs_here());
    }
  }
}

TEST_P(values, golden_data_of_another_implementation) {
  if (!runs_here()) return expect_refused();
  for (const golden_case& golden : kGoldenCases) {
    const auto [name, m, n, k] = golden;
    const gemm_case c{{m, n, k}, config(), math()};
    const gemm_inputs inputs{read_golden<q4fuse::block_q4_0>(golden, "w.q4_0", n * k / 32),
                             read_golden<__half>(golden, "x.f16", m * k)};
    EXPECT_TRUE(expect_pipelines_agree(c, inputs));
    const bool quantized = math() != math_mode::direct_fp16;
    const auto wanted =
        read_golden<float>(golden, quantized ? "y_fp64_q8_1.f32" : "y_fp64_exact_activations.f32", m * n);
    const auto x_q8_1 = read_golden<uint8_t>(golden, "x.q8_1", m * k / 32 * 36);
    const auto actual = run_fused(c, inputs).y;
    mismatch_report report(c.describe());
    for (int64_t row = 0; row < m; ++row) {
      for (int64_t column = 0; column < n; ++column) {
        const auto i = static_cast<size_t>(row * n + column);
        const auto own =
            expected_element(math(), reinterpret_cast<const uint8_t*>(&inputs.w[column * k / 32]),
                             reinterpret_cast<const uint16_t*>(&inputs.x[row * k]), &x_q8_1[row * k / 32 * 36], k);
        // The golden value is itself rounded to FP32.
        check_element(actual[i], {wanted[i], own.bound + std::fabs(wanted[i]) * 0x1p-24}, row, column, report);
      }
    }
    EXPECT_TRUE(report.result());
  }
}

// Block sums of 32 x 2048 and of 65504 overflow half precision; the result must not notice.
TEST_P(values, largest_activations_give_finite_results) {
  const gemm_shape shape{4, 33, 1056};
  gemm_inputs inputs = make_inputs(shape, activation_kind::normal, weight_kind::edges);
  const float largest[] = {65504.0f, -65504.0f, 2048.0f, -2048.0f};
  for (size_t i = 0; i < inputs.x.size(); ++i) inputs.x[i] = __float2half_rn(largest[i / 1056]);
  if (expect_pipelines_agree({shape, config(), math()}, inputs)) {
    for (const float value : run_fused({shape, config(), math()}, inputs).y) ASSERT_TRUE(std::isfinite(value)) << value;
  } else {
    EXPECT_FALSE(runs_here());
  }
}

// Eight times 8188 is the largest half: no larger scale is in the domain of the FP16 modes. Activations of 65504 have
// a Q8_1 scale past whose 127th part no half is.
TEST_P(values, largest_weights_give_finite_results) {
  const gemm_shape shape{12, 33, 32 * 17};
  gemm_inputs inputs = make_inputs(shape, activation_kind::edges, weight_kind::uniform);
  for (size_t i = 0; i < inputs.w.size(); ++i) inputs.w[i].d = __float2half_rn(i % 3 == 0 ? -8188.0f : 8188.0f);
  if (expect_pipelines_agree({shape, config(), math()}, inputs)) {
    for (const float value : run_fused({shape, config(), math()}, inputs).y) {
      ASSERT_TRUE(std::isfinite(value)) << value;
    }
  } else {
    EXPECT_FALSE(runs_here());
  }
}

// Scales so small that dequantized elements are subnormal halves, or zero.
TEST_P(values, tiny_activations_and_weights) {
  const gemm_shape shape{9, 33, 32 * 9};
  gemm_inputs inputs = make_inputs(shape, activation_kind::normal, weight_kind::normal, 5);
  for (size_t i = 0; i < inputs.x.size(); ++i) {
    inputs.x[i] = __float2half_rn(std::ldexp(__half2float(inputs.x[i]), -static_cast<int>(i / 32 % 3) * 7 - 8));
  }
  for (size_t i = 0; i < inputs.w.size(); ++i) {
    inputs.w[i].d = __float2half_rn(std::ldexp(__half2float(inputs.w[i].d), -static_cast<int>(i % 2) * 14));
  }
  EXPECT_EQ(expect_pipelines_agree({shape, config(), math()}, inputs), runs_here());
}

// A NaN or Inf reaches every element of its own row, also through weights of zero, and no element of another row.
TEST_P(values, a_non_finite_row_poisons_itself_wholly_and_nothing_else) {
  if (!runs_here()) return expect_refused();
  const gemm_case c{ragged_shape(), config(), math()};
  const auto [m, n, k] = c.shape;
  gemm_inputs inputs = make_inputs(c.shape, activation_kind::normal, weight_kind::edges);
  const auto clean = run_fused(c, inputs).y;
  // Each poison in another row and at another place of k: first, last, both sides of a piece's end, second of a pair.
  const std::vector<std::tuple<int64_t, int64_t, uint16_t>> poisons = {
      {0, k - 1, uint16_t{0x7C00}},
      {2, 0, uint16_t{0xFC00}},
      {second_tile() - 1, 8 * 32 - 1, uint16_t{0x7E00}},
      {second_tile(), 8 * 32, uint16_t{0x7C01}},
      {m - 1, 9 * 32 + 5, uint16_t{0xFFFF}}};
  std::vector<bool> poisoned(static_cast<size_t>(m), false);
  for (const auto& [row, column, bits] : poisons) {
    inputs.x[static_cast<size_t>(row * k + column)] = half_from_bits(bits);
    poisoned[static_cast<size_t>(row)] = true;
  }
  for (const gemm_outcome& outcome : run_pipelines(c, inputs)) {
    const std::vector<float>& y = outcome.y;
    mismatch_report report(c.describe());
    for (int64_t row = 0; row < m; ++row) {
      for (int64_t column = 0; column < n; ++column) {
        const auto i = static_cast<size_t>(row * n + column);
        if (poisoned[static_cast<size_t>(row)]) {
          if (std::isfinite(y[i])) report.add(row, column, describe(y[i]) + ", wanted NaN or Inf");
        } else if (!same_bits(y[i], clean[i])) {
          report.add(row, column, describe(y[i]) + ", wanted " + describe(clean[i]) + " as without the NaN");
        }
      }
    }
    EXPECT_TRUE(report.result());
  }
}

TEST_P(values, two_runs_and_dependent_launch_give_the_same_bits) {
  if (!runs_here()) return expect_refused();
  gemm_case c{ragged_shape(), config(), math()};
  const gemm_inputs inputs = make_inputs(c.shape, activation_kind::outliers, weight_kind::normal, 9);
  const auto first = run_fused(c, inputs).y;
  EXPECT_TRUE(equal_bits(run_fused(c, inputs).y, first, c.shape.n, "second run, " + c.describe()));
  c.programmatic_dependent_launch = true;
  for (const gemm_outcome& outcome : run_pipelines(c, inputs)) {
    EXPECT_TRUE(equal_bits(outcome.y, first, c.shape.n, "dependent launch, " + c.describe()));
  }
}

Q4FUSE_FOR_EVERY_KERNEL(values);

}  // namespace
}  // namespace q4fuse_test
