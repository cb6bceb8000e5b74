#include "grid.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <stdexcept>

namespace q4fuse_bench {
namespace {

constexpr q4fuse::device_info kHopper{132, 90, 227 * 1024};
constexpr q4fuse::device_info kTuring{40, 75, 64 * 1024};

/// The message of the std::invalid_argument that a parser throws; empty when it throws none.
template <class Parser>
std::string complaint(Parser parser, const std::string& text) {
  try {
    (void)parser(text);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

bool contains(const point& p, pipeline_kind kind) {
  return std::any_of(p.members.begin(), p.members.end(), [&](const series& s) { return s.kind == kind; });
}

TEST(parse_tokens, values_and_ranges) {
  EXPECT_EQ(parse_tokens("7"), (std::vector<int64_t>{7}));
  EXPECT_EQ(parse_tokens("1,2,8-11"), (std::vector<int64_t>{1, 2, 8, 9, 10, 11}));
  EXPECT_EQ(parse_tokens("3,1-4,3"), (std::vector<int64_t>{3, 1, 2, 4}));
}

TEST(parse_tokens, names_the_bad_word) {
  for (const std::string bad : {"", "0", "-1", "1-", "x", "1.5", "+1", "12345678", "99999999999999999999"}) {
    EXPECT_NE(complaint(parse_tokens, "2," + bad).find("'" + bad + "'"), std::string::npos) << bad;
  }
  EXPECT_EQ(complaint(parse_tokens, "8-4"), "'8-4' ends before it begins");
}

TEST(parse_shapes, names_and_sizes) {
  EXPECT_EQ(parse_shapes("S2"), (std::vector<weight_shape>{{14336, 4096}}));
  EXPECT_EQ(parse_shapes("4096x14336,S1,S3"), (std::vector<weight_shape>{{4096, 14336}, {4096, 4096}}));
  EXPECT_EQ(parse_shapes("main"), main_shapes());
  EXPECT_EQ(parse_shapes("all"), all_shapes());
  EXPECT_EQ(all_shapes().size(), 13u);
}

TEST(parse_shapes, names_the_bad_word) {
  for (const std::string bad : {"", "S4", "4096", "x", "4096x", "0x32", "4096x4096x1", "4096X4096"}) {
    EXPECT_NE(complaint(parse_shapes, bad).find("'" + bad + "'"), std::string::npos) << bad;
  }
  EXPECT_EQ(complaint(parse_shapes, "64x48"), "'64x48': k is not a multiple of 32");
}

TEST(parse_names, known_and_unknown) {
  EXPECT_EQ(parse_pipelines("cublas,fused,cublas"), (std::vector{pipeline_kind::cublas, pipeline_kind::fused}));
  EXPECT_EQ(parse_modes("chain,stream"), (std::vector{launch_mode::chain, launch_mode::stream}));
  EXPECT_EQ(parse_l2("warm"), (std::vector{l2_state::warm}));
  EXPECT_EQ(complaint(parse_l2, "hot"), "'hot' is none of cold, warm");
  EXPECT_NE(complaint(parse_modes, "").find("''"), std::string::npos);
}

TEST(make_points, default_grid_is_every_token_count_times_every_main_shape) {
  const std::vector<point> points = make_points({}, kHopper, true);
  EXPECT_EQ(points.size(), 39u);
  for (const point& p : points) {
    EXPECT_EQ(p.mode, launch_mode::graph);
    EXPECT_EQ(p.l2, l2_state::cold);
    EXPECT_EQ(p.members.size(), 6u);  // all but the producer
  }
}

TEST(make_points, names_are_as_documented_and_all_different) {
  grid what;
  what.modes = {launch_mode::graph, launch_mode::stream, launch_mode::overlap, launch_mode::chain};
  what.l2 = {l2_state::cold, l2_state::warm};
  std::set<std::string> names;
  size_t count = 0;
  for (const point& p : make_points(what, kHopper, true)) {
    for (const series& s : p.members) {
      names.insert(series_name(p, s));
      ++count;
    }
  }
  EXPECT_EQ(names.size(), count);
  EXPECT_EQ(names.count("fused/m:1/n:4096/k:4096/graph/cold"), 1u);
  EXPECT_EQ(names.count("producer/m:4096/n:14336/k:4096/chain/warm"), 1u);
}

TEST(make_points, offers_what_mode_device_and_build_have) {
  grid what;
  what.m = {1};
  what.shapes = {{4096, 4096}};
  const auto only_point = [&](launch_mode mode, const q4fuse::device_info& device, bool has_cublas) {
    what.modes = {mode};
    return make_points(what, device, has_cublas).at(0);
  };
  EXPECT_TRUE(contains(only_point(launch_mode::graph, kHopper, true), pipeline_kind::separate_pdl));
  EXPECT_FALSE(contains(only_point(launch_mode::graph, kTuring, true), pipeline_kind::separate_pdl));
  EXPECT_FALSE(contains(only_point(launch_mode::chain, kHopper, true), pipeline_kind::separate_pdl));
  EXPECT_TRUE(contains(only_point(launch_mode::chain, kHopper, true), pipeline_kind::producer));
  EXPECT_FALSE(contains(only_point(launch_mode::overlap, kHopper, true), pipeline_kind::producer));
  EXPECT_FALSE(contains(only_point(launch_mode::graph, kHopper, false), pipeline_kind::cublas));
}

TEST(make_points, one_point_per_math_mode_and_no_quantizer_where_none_is_used) {
  grid what;
  what.m = {64};
  what.shapes = {{4096, 4096}};
  what.math = parse_math("exact,dequantized_fp16,direct_fp16");
  const std::vector<point> points = make_points(what, kHopper, true);
  ASSERT_EQ(points.size(), 3u);
  EXPECT_EQ(series_name(points[0], points[0].members[0]), "fused/m:64/n:4096/k:4096/graph/cold");
  EXPECT_EQ(series_name(points[1], points[1].members[0]), "fused/m:64/n:4096/k:4096/graph/cold/math:dequantized_fp16");
  EXPECT_EQ(points[1].members.size(), points[0].members.size());
  ASSERT_EQ(points[2].members.size(), 2u);
  EXPECT_TRUE(contains(points[2], pipeline_kind::fused) && contains(points[2], pipeline_kind::cublas));
  EXPECT_EQ(complaint(parse_math, "fp8"), "'fp8' is none of exact, dequantized_fp16, direct_fp16");
}

TEST(make_points, a_point_without_members_is_left_out) {
  grid what;
  what.pipelines = {pipeline_kind::producer};
  EXPECT_TRUE(make_points(what, kHopper, true).empty());
}

TEST(make_points, a_sweep_forces_every_legal_kernel_and_no_other) {
  grid what;
  what.m = {1, 64, 4096};
  what.sweep = true;
  for (const q4fuse::device_info& device : {kHopper, kTuring}) {
    for (const point& p : make_points(what, device, true)) {
      for (const q4fuse::kernel_config& config : q4fuse::kKernelConfigs) {
        const auto uses = std::count_if(p.members.begin(), p.members.end(),
                                        [&](const series& s) { return s.config.has_value() && *s.config == config; });
        const bool runs = serves(config, p.math) && can_run(config, p.shape, device);
        EXPECT_EQ(uses, runs ? 2 : 0) << to_string(config) << " m=" << p.shape.m;
      }
      const series& first = p.members.at(0);
      EXPECT_EQ(series_name(p, first).substr(0, 6), "fused/");
      EXPECT_NE(series_name(p, first).find("/graph/cold/config:" + to_string(*first.config)), std::string::npos);
    }
  }
}

TEST(make_points, kernels_are_not_swept_for_what_has_none) {
  grid what;
  what.m = {1};
  what.shapes = {{4096, 4096}};
  what.sweep = true;
  what.pipelines = {pipeline_kind::quantize, pipeline_kind::cublas};
  const point p = make_points(what, kHopper, true).at(0);
  ASSERT_EQ(p.members.size(), 2u);
  EXPECT_FALSE(p.members[0].config.has_value());
  EXPECT_EQ(series_name(p, p.members[1]), "cublas/m:1/n:4096/k:4096/graph/cold");
}

}  // namespace
}  // namespace q4fuse_bench
