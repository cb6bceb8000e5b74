#include "table.hpp"

#include <gtest/gtest.h>

#include <sstream>

namespace q4fuse_bench {
namespace {

constexpr double kCopy = 3e12;

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> result;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) result.push_back(line);
  return result;
}

/// Cells of a line, which are never empty and never hold two spaces in a row.
std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> result;
  for (size_t begin = line.find_first_not_of(' '); begin != std::string::npos;) {
    const size_t end = line.find("  ", begin);
    result.push_back(line.substr(begin, end - begin));
    begin = end == std::string::npos ? end : line.find_first_not_of(' ', end);
  }
  return result;
}

point_result make_result(launch_mode mode, const std::vector<std::pair<pipeline_kind, double>>& times) {
  point_result result;
  result.what.shape = {1, 4096, 4096};
  result.what.math = q4fuse::math_mode::exact;
  result.what.mode = mode;
  result.what.l2 = l2_state::cold;
  for (const auto& [kind, seconds] : times) {
    result.measured[result.what.members.size()] = {seconds, 0.0125};
    result.what.members.push_back({kind, std::nullopt});
  }
  return result;
}

TEST(comparison, columns_and_arithmetic) {
  const auto text = lines(format_comparison(
      {make_result(launch_mode::graph,
                   {{pipeline_kind::fused, 5e-6}, {pipeline_kind::separate, 8e-6}, {pipeline_kind::cublas, 15.5e-6}})},
      kCopy));
  ASSERT_GE(text.size(), 4u);
  EXPECT_EQ(text[1], "exact math, graph, cold L2");
  EXPECT_EQ(cells(text[2]),
            (std::vector<std::string>{"m", "n", "k", "separate us", "fused us", "fused/separate", "cuBLAS us", "TFLOPS",
                                      "GB/s", "% of copy bandwidth", "rms error", "cuBLAS rms error"}));
  // 2 * 4096^2 / 5 us, and 9 MiB of weights + 24 KiB of x and y in 5 us of 3 TB/s.
  EXPECT_EQ(cells(text[3]), (std::vector<std::string>{"1", "4096", "4096", "8.00", "5.00", "1.60", "15.50", "6.7",
                                                      "1892", "63.1", "1.3e-02", "1.3e-02"}));
  EXPECT_EQ(text[2].size(), text[3].size());
}

TEST(comparison, fused_is_compared_with_the_faster_separate) {
  const auto text = lines(format_comparison({make_result(launch_mode::graph, {{pipeline_kind::fused, 5e-6},
                                                                              {pipeline_kind::separate, 8e-6},
                                                                              {pipeline_kind::separate_pdl, 6e-6}})},
                                            kCopy));
  ASSERT_GE(text.size(), 4u);
  EXPECT_EQ(cells(text[2])[4], "separate pdl us");
  EXPECT_EQ(cells(text[3])[6], "1.20");
}

TEST(comparison, what_was_not_measured_is_a_dash) {
  const auto text =
      lines(format_comparison({make_result(launch_mode::stream, {{pipeline_kind::separate, 250e-6}})}, kCopy));
  ASSERT_GE(text.size(), 4u);
  EXPECT_EQ(cells(text[3]),
            (std::vector<std::string>{"1", "4096", "4096", "250.0", "-", "-", "-", "-", "-", "-", "1.3e-02", "-"}));
}

TEST(comparison, one_table_per_mode_and_the_producer_beside_the_chain) {
  const auto text = format_comparison(
      {make_result(launch_mode::graph, {{pipeline_kind::fused, 5e-6}}),
       make_result(launch_mode::chain, {{pipeline_kind::fused, 6e-6}, {pipeline_kind::producer, 1.5e-6}}),
       make_result(launch_mode::graph, {{pipeline_kind::fused, 7e-6}})},
      kCopy);
  const auto all = lines(text);
  ASSERT_GE(all.size(), 8u);
  EXPECT_EQ(all[1], "exact math, graph, cold L2");
  EXPECT_EQ(cells(all[4])[4], "7.00");
  EXPECT_EQ(all[6], "exact math, chain, cold L2");
  EXPECT_EQ(cells(all[7])[6], "producer us");
  EXPECT_EQ(cells(all[8])[6], "1.50");
}

TEST(comparison, one_table_per_math_mode_and_no_separate_without_a_quantizer) {
  point_result direct = make_result(launch_mode::graph, {{pipeline_kind::fused, 4e-6}});
  direct.what.math = q4fuse::math_mode::direct_fp16;
  const auto all =
      lines(format_comparison({make_result(launch_mode::graph, {{pipeline_kind::fused, 5e-6}}), direct}, kCopy));
  ASSERT_GE(all.size(), 8u);
  EXPECT_EQ(all[1], "exact math, graph, cold L2");
  EXPECT_EQ(all[5], "direct_fp16 math, graph, cold L2");
  EXPECT_EQ(cells(all[7])[3], "-");
  EXPECT_EQ(cells(all[7])[4], "4.00");
}

TEST(comparison, nothing_measured_prints_nothing) {
  EXPECT_EQ(format_comparison({}, kCopy), "");
  EXPECT_EQ(format_comparison({make_result(launch_mode::graph, {})}, kCopy), "");
}

TEST(sweep, best_and_chosen_side_by_side) {
  point_result result;
  result.what.shape = {1, 4096, 4096};
  result.what.math = q4fuse::math_mode::exact;
  result.what.mode = launch_mode::graph;
  result.what.l2 = l2_state::cold;
  for (const int config : {0, 1, 2})
    result.what.members.push_back({pipeline_kind::fused, q4fuse::kKernelConfigs[config]});
  result.measured = {{0, {6e-6}}, {1, {5e-6}}, {2, {9e-6}}};
  result.chosen_config = to_string(q4fuse::kKernelConfigs[0]);
  const auto text = lines(format_sweep({result}));
  ASSERT_EQ(text.size(), 4u);
  EXPECT_EQ(cells(text[3]),
            (std::vector<std::string>{"1", "4096", "4096", "fused", "5.00", to_string(q4fuse::kKernelConfigs[1]),
                                      "6.00", "1.20", to_string(q4fuse::kKernelConfigs[0])}));
}

TEST(sweep, a_choice_that_was_not_measured_is_a_dash) {
  point_result result;
  result.what.shape = {1, 32, 32};
  result.what.math = q4fuse::math_mode::exact;
  result.what.mode = launch_mode::graph;
  result.what.l2 = l2_state::cold;
  result.chosen_config = "another";

  result.what.members.push_back({pipeline_kind::gemm, q4fuse::kKernelConfigs[0]});
  result.measured[0] = {1e-6};
  const auto text = lines(format_sweep({result}));
  ASSERT_EQ(text.size(), 4u);
  EXPECT_EQ(cells(text[3])[6], "-");
  EXPECT_EQ(cells(text[3])[7], "-");
}

}  // namespace
}  // namespace q4fuse_bench
