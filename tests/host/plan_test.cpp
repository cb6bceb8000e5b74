// The choice of a kernel, on devices that this machine need not have.

#include <q4fuse/plan.hpp>

#include "host/measured_times.hpp"
#include "support/printers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <string>
#include <vector>

namespace q4fuse_test {
namespace {

using q4fuse::device_info;
using q4fuse::dot_instruction;
using q4fuse::gemm_plan;
using q4fuse::gemm_shape;
using q4fuse::kernel_config;
using q4fuse::kernel_family;
using q4fuse::kKernelConfigs;
using q4fuse::math_mode;
using q4fuse::pipeline;

struct known_device {
  const char* name;
  device_info info;
};

constexpr math_mode kMathModes[] = {math_mode::exact, math_mode::dequantized_fp16, math_mode::direct_fp16};

constexpr int64_t kKib = 1024;
/// Shared memory per block with opt-in: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
constexpr known_device kDevices[] = {
    {"sm_75", {40, 75, 64 * kKib}},          {"sm_80", {108, 80, 163 * kKib}},
    {"sm_86", {84, 86, 99 * kKib}},          {"sm_89", {142, 89, 99 * kKib}},
    {"sm_90", {132, 90, 227 * kKib}},        {"sm_90_running_sm_75_code", {132, 75, 227 * kKib}},
    {"sm_90a", {132, 90, 227 * kKib, true}},
};

std::vector<gemm_shape> many_shapes() {
  std::vector<gemm_shape> shapes;
  for (const int64_t m : {1, 2, 7, 8, 9, 16, 17, 32, 33, 64, 65, 128, 129, 192, 300, 513, 4096, 70000}) {
    for (const int64_t n : {1, 15, 64, 576, 4096, 5472, 10944, 14336, 151936}) {
      for (const int64_t k : {32, 64, 96, 576, 4096, 7392, 8256, 14336, 28672, 1 << 20}) shapes.push_back({m, n, k});
    }
  }
  return shapes;
}

bool is_compiled(const kernel_config& config) {
  return std::find(std::begin(kKernelConfigs), std::end(kKernelConfigs), config) != std::end(kKernelConfigs);
}

std::string describe(const gemm_shape& shape) {
  return "m=" + std::to_string(shape.m) + " n=" + std::to_string(shape.n) + " k=" + std::to_string(shape.k);
}

std::string describe(const known_device& device, const gemm_shape& shape) {
  return std::string(device.name) + ", " + describe(shape);
}

TEST(plan, every_config_and_its_name_are_unique) {
  std::set<std::string> names;
  for (const kernel_config& config : kKernelConfigs) {
    EXPECT_EQ(std::count(std::begin(kKernelConfigs), std::end(kKernelConfigs), config), 1) << to_string(config);
    names.insert(to_string(config));
  }
  EXPECT_EQ(names.size(), std::size(kKernelConfigs));
}

TEST(plan, equality_sees_every_member) {
  const kernel_config original = kKernelConfigs[0];
  const auto other = [](auto value, auto a, auto b) { return value == a ? b : a; };
  for (int member = 0; member < 9; ++member) {
    kernel_config changed = original;
    switch (member) {
      case 0: changed.family = other(original.family, kernel_family::tile, kernel_family::weight_bound); break;
      case 1:
        changed.instruction = other(original.instruction, dot_instruction::dp4a, dot_instruction::mma_m16n8k32_s8);
        break;
      case 2: changed.tile_n += 1; break;
      case 3: changed.tile_m += 1; break;
      case 4: changed.warps_n += 1; break;
      case 5: changed.warps_m += 1; break;
      case 6: changed.warps_k += 1; break;
      case 7: changed.stages += 1; break;
      default: changed.cluster_k += 1; break;
    }
    EXPECT_TRUE(changed != original) << "member " << member;
    EXPECT_NE(to_string(changed), to_string(original)) << "member " << member;
  }
}

TEST(plan, every_config_is_launchable) {
  for (const kernel_config& config : kKernelConfigs) {
    EXPECT_GT(config.stages, 0) << to_string(config);
    EXPECT_EQ(config.threads(), 32 * config.warps_n * config.warps_m * config.warps_k) << to_string(config);
    EXPECT_LE(config.threads(), 1024) << to_string(config);
    EXPECT_TRUE(std::any_of(std::begin(kDevices), std::end(kDevices), [&](const known_device& device) {
      return can_run(config, {1, 1, 32}, device.info);
    })) << to_string(config);
  }
}

/// What the library chooses when the pipeline is its own choice, and when it is given.
std::vector<gemm_plan> every_plan(const gemm_shape& shape, const device_info& device, math_mode math) {
  return {plan(shape, device, math), plan(shape, device, pipeline::fused, math),
          plan(shape, device, pipeline::separate, math)};
}

std::vector<gemm_plan> every_plan(const gemm_shape& shape, const device_info& device) {
  std::vector<gemm_plan> plans;
  for (const math_mode math : kMathModes) {
    for (const gemm_plan& p : every_plan(shape, device, math)) plans.push_back(p);
  }
  return plans;
}

TEST(plan, every_config_serves_some_math_mode) {
  for (const kernel_config& config : kKernelConfigs) {
    EXPECT_TRUE(std::any_of(std::begin(kMathModes), std::end(kMathModes), [&](math_mode math) {
      return serves(config, math);
    })) << to_string(config);
  }
  EXPECT_TRUE(serves(dot_instruction::dp4a, math_mode::exact));
  EXPECT_TRUE(serves(dot_instruction::mma_m16n8k32_s8, math_mode::exact));
  EXPECT_TRUE(serves(dot_instruction::wgmma_m64k32_s8, math_mode::exact));
  EXPECT_FALSE(serves(dot_instruction::mma_m16n8k16_f16, math_mode::exact));
  EXPECT_FALSE(serves(dot_instruction::wgmma_m64k16_f16, math_mode::exact));
  for (const math_mode math : {math_mode::dequantized_fp16, math_mode::direct_fp16}) {
    EXPECT_FALSE(serves(dot_instruction::dp4a, math));
    EXPECT_FALSE(serves(dot_instruction::mma_m16n8k32_s8, math));
    EXPECT_FALSE(serves(dot_instruction::wgmma_m64k32_s8, math));
    EXPECT_TRUE(serves(dot_instruction::mma_m16n8k16_f16, math));
    EXPECT_TRUE(serves(dot_instruction::wgmma_m64k16_f16, math));
  }
}

// The estimates are tables: a kernel that they lack would seem to take no time.
TEST(plan, every_weight_bound_kernel_has_measured_times_of_its_own) {
  int kernels = 0;
  for (const kernel_config& config : kKernelConfigs) {
    if (config.family != kernel_family::weight_bound) continue;
    ++kernels;
    const auto& table = q4fuse::detail::kWeightBoundTimes;
    EXPECT_EQ(std::count_if(std::begin(table), std::end(table), [&](const auto& times) { return times.of(config); }), 1)
        << to_string(config);
    const auto times = q4fuse::detail::find_times(table, config);
    EXPECT_GT(times.start, 0.0) << to_string(config);
    EXPECT_GT(times.piece, 0.0) << to_string(config);
    EXPECT_GT(times.step, 0.0) << to_string(config);
  }
  EXPECT_EQ(kernels, static_cast<int>(std::size(q4fuse::detail::kWeightBoundTimes)));
}

TEST(plan, every_stream_k_kernel_has_its_times) {
  const auto& table = q4fuse::detail::kStreamKTimes;
  for (const kernel_config& config : kKernelConfigs) {
    if (config.family != kernel_family::stream_k) continue;
    EXPECT_EQ(std::count_if(std::begin(table), std::end(table), [&](const auto& times) { return times.of(config); }), 1)
        << to_string(config);
    EXPECT_GT(q4fuse::detail::find_times(table, config).piece, 0.0) << to_string(config);
  }
}

TEST(plan, every_sliced_k_kernel_has_its_times) {
  const auto& table = q4fuse::detail::kSlicedKTimes;
  for (const kernel_config& config : kKernelConfigs) {
    if (config.family != kernel_family::sliced_k) continue;
    for (const pipeline source : {pipeline::fused, pipeline::separate}) {
      EXPECT_EQ(std::count_if(std::begin(table), std::end(table),
                              [&](const auto& times) { return times.of(config, source); }),
                1)
          << to_string(config);
      EXPECT_GT(q4fuse::detail::find_times(table, config, source).piece, 0.0) << to_string(config);
    }
  }
}

TEST(plan, every_wgmma_kernel_has_measured_times) {
  using q4fuse::detail::warpgroup_tile_times;
  int measured = 0;
  for (const kernel_config& config : kKernelConfigs) {
    if (config.family != kernel_family::warpgroup) continue;
    for (const math_mode math : {math_mode::exact, math_mode::dequantized_fp16, math_mode::direct_fp16}) {
      if (!serves(config, math)) continue;
      for (const pipeline source : {pipeline::fused, pipeline::separate}) {
        const auto times = warpgroup_tile_times(config, source, math);
        EXPECT_GT(times.tile, 0.0) << to_string(config) << ' ' << to_string(math);
        EXPECT_GT(times.pair_alone, 0.0) << to_string(config) << ' ' << to_string(math);
        EXPECT_GT(times.pair_of_several, 0.0) << to_string(config) << ' ' << to_string(math);
        ++measured;
      }
    }
  }
  EXPECT_EQ(measured, 2 * (2 + 6 + 17));
}

TEST(plan, wgmma_kernels_of_few_tokens_have_groups_of_warps_where_nothing_is_converted) {
  int direct = 0;
  int dequantized = 0;
  for (const kernel_config& config : kKernelConfigs) {
    if (config.instruction != dot_instruction::wgmma_m64k16_f16) continue;
    EXPECT_FALSE(serves(config, math_mode::exact)) << to_string(config);
    if (serves(config, math_mode::direct_fp16)) {
      ++direct;
      EXPECT_EQ(config.warps_k > 1, config.tile_m <= 64) << to_string(config);
    }
    if (serves(config, math_mode::dequantized_fp16)) {
      ++dequantized;
      EXPECT_EQ(config.warps_k, 1) << to_string(config);
      EXPECT_NE(config.cluster_k, 3) << to_string(config);
      EXPECT_TRUE(q4fuse::detail::is_power_of_two(config.tile_n) && q4fuse::detail::is_power_of_two(config.tile_m))
          << to_string(config);
    }
  }
  EXPECT_EQ(direct, 17);
  EXPECT_EQ(dequantized, 6);
}

TEST(plan, clusters_are_counted_as_they_run_at_once) {
  // As cudaOccupancyMaxActiveClusters counts them on an H100, for kernels with a multiprocessor's shared memory.
  const device_info h100{132, 90, 227 * kKib, true};
  EXPECT_EQ(q4fuse::detail::resident_clusters(1, h100), 132);
  EXPECT_EQ(q4fuse::detail::resident_clusters(2, h100), 66);
  EXPECT_EQ(q4fuse::detail::resident_clusters(3, h100), 39);
  EXPECT_EQ(q4fuse::detail::resident_clusters(4, h100), 30);
  EXPECT_EQ(q4fuse::detail::resident_clusters(8, h100), 15);
}

TEST(plan, choice_serves_the_math_that_is_asked_for) {
  for (const known_device& device : kDevices) {
    for (const gemm_shape& shape : many_shapes()) {
      for (const math_mode math : kMathModes) {
        for (const gemm_plan& chosen : every_plan(shape, device.info, math)) {
          ASSERT_EQ(chosen.math, math) << describe(device, shape);
          ASSERT_TRUE(serves(chosen.config, math)) << describe(device, shape) << ": " << to_string(chosen);
        }
      }
      ASSERT_EQ(to_string(plan(shape, device.info)), to_string(plan(shape, device.info, math_mode::exact)));
      ASSERT_EQ(to_string(plan(shape, device.info, pipeline::fused)),
                to_string(plan(shape, device.info, pipeline::fused, math_mode::exact)));
    }
  }
}

TEST(plan, direct_fp16_is_always_fused) {
  for (const known_device& device : kDevices) {
    for (const gemm_shape& shape : many_shapes()) {
      for (const gemm_plan& chosen : every_plan(shape, device.info, math_mode::direct_fp16)) {
        ASSERT_EQ(chosen.source, pipeline::fused) << describe(device, shape);
      }
    }
  }
}

TEST(plan, names_a_kernel_of_the_math_mode_where_none_is_legal) {
  for (const math_mode math : kMathModes) {
    for (const gemm_plan& chosen : every_plan({8, 64, 64}, {1, 70, 1024}, math)) {
      EXPECT_TRUE(serves(chosen.config, math)) << to_string(chosen);
      EXPECT_FALSE(can_run(chosen.config, {8, 64, 64}, {1, 70, 1024})) << to_string(chosen);
    }
  }
}

TEST(plan, choice_is_always_a_legal_kernel) {
  for (const known_device& device : kDevices) {
    for (const gemm_shape& shape : many_shapes()) {
      for (const gemm_plan& chosen : every_plan(shape, device.info)) {
        const std::string text = describe(device, shape) + ": " + to_string(chosen);
        ASSERT_TRUE(is_compiled(chosen.config)) << text;
        ASSERT_LE(shared_memory_bytes(chosen.config, shape), device.info.shared_memory_per_block) << text;
        ASSERT_TRUE(has_instruction(device.info, chosen.config)) << text;
        ASSERT_TRUE(can_run(chosen.config, shape, device.info)) << text;
        ASSERT_GE(chosen.tail_tokens, 0) << text;
        ASSERT_LT(chosen.tail_tokens, shape.m) << text;
        if (chosen.tail_tokens == 0) continue;
        ASSERT_TRUE(is_compiled(chosen.tail)) << text;
        ASSERT_TRUE(serves(chosen.tail, chosen.math)) << text;
        ASSERT_TRUE(can_run(chosen.tail, {chosen.tail_tokens, shape.n, shape.k}, device.info)) << text;
      }
    }
  }
}

TEST(plan, choice_keeps_the_pipeline_that_is_given_and_is_one_of_the_two_otherwise) {
  for (const known_device& device : kDevices) {
    for (const gemm_shape& shape : many_shapes()) {
      for (const math_mode math : {math_mode::exact, math_mode::dequantized_fp16}) {
        const gemm_plan fused = plan(shape, device.info, pipeline::fused, math);
        const gemm_plan separate = plan(shape, device.info, pipeline::separate, math);
        ASSERT_EQ(fused.source, pipeline::fused) << describe(device, shape);
        ASSERT_EQ(separate.source, pipeline::separate) << describe(device, shape);
        const gemm_plan chosen = plan(shape, device.info, math);
        ASSERT_EQ(to_string(chosen), to_string(chosen.source == pipeline::fused ? fused : separate))
            << describe(device, shape);
      }
    }
  }
}

TEST(plan, choice_is_printable_with_its_reason) {
  for (const known_device& device : kDevices) {
    for (const gemm_shape& shape : many_shapes()) {
      for (const gemm_plan& chosen : every_plan(shape, device.info)) {
        const std::string text = to_string(chosen);
        ASSERT_NE(*chosen.reason, '\0') << describe(device, shape);
        for (const std::string& part : {to_string(chosen.config), std::string(to_string(chosen.math)),
                                        std::string(to_string(chosen.source)), std::string(chosen.reason)}) {
          ASSERT_NE(text.find(part), std::string::npos) << text << " lacks " << part;
        }
      }
    }
  }
}

TEST(plan, choice_depends_on_its_arguments_alone) {
  const gemm_shape shape{33, 4096, 4096};
  const gemm_plan first = plan(shape, kDevices[4].info);
  (void)plan({1, 1, 32}, kDevices[0].info);
  const gemm_plan second = plan(shape, kDevices[4].info);
  EXPECT_EQ(to_string(first), to_string(second));
}

// A kernel that no plan ever picks is dead weight in every user's binary.
TEST(plan, every_config_is_the_choice_for_some_shape) {
  std::vector<kernel_config> chosen;
  for (const known_device& device : kDevices) {
    for (const gemm_shape& shape : many_shapes()) {
      for (const gemm_plan& choice : every_plan(shape, device.info)) {
        chosen.push_back(choice.config);
        if (choice.tail_tokens > 0) chosen.push_back(choice.tail);
      }
    }
  }
  for (const kernel_config& config : kKernelConfigs) {
    EXPECT_NE(std::find(chosen.begin(), chosen.end(), config), chosen.end()) << to_string(config);
  }
}

constexpr device_info kH100{132, 90, 227 * kKib, true};

/// Calls visit(time, math) for each measured shape.
template <class Visitor>
void for_each_measured(Visitor&& visit) {
  for (const measured_time& row : kExactTimes) visit(row, math_mode::exact);
  for (const measured_time& row : kDequantizedTimes) visit(row, math_mode::dequantized_fp16);
}

double time_of(const gemm_plan& chosen, const gemm_shape& shape) {
  const double gemm = q4fuse::detail::estimated_time(chosen, shape, kH100);
  return chosen.source == pipeline::separate ? q4fuse::detail::quantize_time(shape) + gemm : gemm;
}

TEST(plan, automatic_choice_is_the_pipeline_that_was_measured_to_be_faster) {
  for_each_measured([](const measured_time& row, math_mode math) {
    const bool fused_is_faster = row.fused_us < row.separate_us;
    const double slower_by = fused_is_faster ? row.separate_us / row.fused_us : row.fused_us / row.separate_us;
    if (slower_by <= 1.03) return;
    EXPECT_EQ(plan(row.shape, kH100, math).source, fused_is_faster ? pipeline::fused : pipeline::separate)
        << to_string(math) << " " << describe(row.shape) << ": fused " << row.fused_us << " us, separate "
        << row.separate_us;
  });
}

// A new kernel may be faster than what was measured, and nothing in the model may make a choice look slower.
TEST(plan, estimates_are_not_far_above_what_was_measured) {
  for_each_measured([](const measured_time& row, math_mode math) {
    const double fused = time_of(plan(row.shape, kH100, pipeline::fused, math), row.shape);
    const double separate = time_of(plan(row.shape, kH100, pipeline::separate, math), row.shape);
    EXPECT_LT(fused, 1.2 * row.fused_us) << to_string(math) << " " << describe(row.shape);
    EXPECT_LT(separate, 1.2 * row.separate_us) << to_string(math) << " " << describe(row.shape);
  });
}

TEST(plan, estimate_of_the_choice_never_shrinks_with_the_shape) {
  for_each_measured([](const measured_time& row, math_mode math) {
    for (const pipeline source : {pipeline::fused, pipeline::separate}) {
      for (gemm_shape shape = row.shape; shape.m < 512; shape.m *= 2) {
        const double now = time_of(plan(shape, kH100, source, math), shape);
        for (const gemm_shape& larger :
             {gemm_shape{shape.m + 1, shape.n, shape.k}, gemm_shape{shape.m, shape.n + 16, shape.k},
              gemm_shape{shape.m, shape.n, shape.k + 256}}) {
          EXPECT_LE(now, time_of(plan(larger, kH100, source, math), larger) + 1e-9)
              << to_string(math) << " " << describe(shape) << " " << describe(larger);
        }
      }
    }
  });
}

// One token more than whole tiles hold: by one kernel another round of tiles, by two a call of one token more.
TEST(plan, tokens_past_whole_tiles_have_a_kernel_of_their_own_where_that_takes_less) {
  for (const auto& [shape, math] : {std::pair<gemm_shape, math_mode>{{264, 14336, 4096}, math_mode::exact},
                                    {{400, 5120, 13824}, math_mode::exact},
                                    {{264, 14336, 4096}, math_mode::dequantized_fp16},
                                    {{1280, 4096, 4096}, math_mode::dequantized_fp16}}) {
    for (const pipeline source : {pipeline::fused, pipeline::separate}) {
      const gemm_plan chosen = plan(shape, kH100, source, math);
      const gemm_plan one = q4fuse::detail::plan_one_kernel(shape, kH100, source, math);
      EXPECT_GT(chosen.tail_tokens, 0) << describe(shape);
      EXPECT_NE(to_string(chosen).find("last " + std::to_string(chosen.tail_tokens)), std::string::npos);
      EXPECT_EQ(one.tail_tokens, 0) << describe(shape);
      EXPECT_LT(time_of(chosen, shape), time_of(one, shape)) << describe(shape);
    }
  }
  // Where all tokens fit one tile there is nothing to leave over.
  for (int64_t m = 1; m <= 64; ++m) EXPECT_EQ(plan({m, 14336, 4096}, kH100).tail_tokens, 0) << m;
}

TEST(plan, many_tokens_have_no_weight_bound_kernel) {
  for (const gemm_shape shape :
       {gemm_shape{512, 2048, 2048}, {512, 4096, 4096}, {1024, 1024, 8192}, {4096, 2048, 2048}}) {
    for (const math_mode math : {math_mode::exact, math_mode::dequantized_fp16, math_mode::direct_fp16}) {
      EXPECT_NE(plan(shape, kH100, math).config.family, kernel_family::weight_bound) << describe(shape);
    }
  }
}

// Each tile of tokens has CTAs of its own, as many as run at once together.
TEST(plan, weight_bound_ctas_are_dealt_to_tiles_of_tokens) {
  for (const known_device& device : kDevices) {
    for (const kernel_config& config : kKernelConfigs) {
      if (config.family != kernel_family::weight_bound) continue;
      for (const gemm_shape& shape : many_shapes()) {
        const int64_t resident = q4fuse::detail::resident_weight_bound_clusters(config, shape, device.info);
        const int64_t rows = q4fuse::detail::weight_bound_row_clusters(config, shape, device.info);
        const int64_t tokens = q4fuse::detail::ceil_div(shape.m, config.tile_m);
        const int64_t row_tiles = q4fuse::detail::ceil_div(shape.n, config.tile_n / config.warps_n);
        EXPECT_GE(rows, 1) << describe(shape);
        EXPECT_LE(rows, std::max<int64_t>(row_tiles, 1)) << describe(shape);
        EXPECT_LE(rows * tokens, std::max(resident, tokens)) << describe(shape) << " " << to_string(config);
        EXPECT_TRUE(rows == row_tiles || (rows + 1) * tokens > resident) << describe(shape) << " " << to_string(config);
      }
    }
  }
}

// One tile of the family holds fewer tokens than these, and tile kernels without clusters quantize them in every row of
// tiles, one piece of k after the other.
TEST(plan, weights_are_read_for_several_tiles_of_tokens_where_that_costs_less_than_other_tiles) {
  const device_info device{132, 80, 227 * kKib};
  for (const gemm_shape shape : {gemm_shape{16, 4096, 14336}, {64, 4096, 14336}, {8, 8192, 28672}}) {
    const gemm_plan chosen = plan(shape, device, pipeline::fused);
    EXPECT_TRUE(chosen.config.family == kernel_family::weight_bound || chosen.config.family == kernel_family::stream_k)
        << describe(shape);
    EXPECT_GT(shape.m, chosen.config.tile_m) << describe(shape);
  }
}

TEST(plan, no_warp_is_without_a_piece_where_rows_are_short_and_many) {
  for (const int64_t k : {64, 256, 576}) {
    for (const int64_t m : {1, 2, 8, 16}) {
      const kernel_config config = plan({m, 151936, k}, kH100, pipeline::fused).config;
      const bool one_piece = config.family == kernel_family::sliced_k && q4fuse::detail::warps_of_row_tile(k / 32) == 1;
      EXPECT_TRUE(config.warps_k == 1 || one_piece) << "m=" << m << " k=" << k << ' ' << to_string(config);
    }
  }
  // Rows fewer than warps: splitting k is all the parallelism there is.
  EXPECT_GT(plan({6, 1536, 576}, kH100, pipeline::fused).config.warps_k, 1);
}

// Rows of an odd number of blocks are aligned to 2 bytes: of the kernels for few tokens those of the weight-bound
// family take two to four times as long as those that slice or stream k, of the others those of the warpgroup family
// longer than tiles.
TEST(plan, rows_aligned_to_two_bytes_have_kernels_that_can_copy_them) {
  for (const int64_t k : {1056, 4128, 5472, 7392}) {
    for (const pipeline source : {pipeline::fused, pipeline::separate}) {
      for (const int64_t m : {1, 2, 4, 8, 16}) {
        const kernel_family family = plan({m, 4096, k}, kH100, source).config.family;
        EXPECT_TRUE(family == kernel_family::stream_k || family == kernel_family::sliced_k) << "m=" << m << " k=" << k;
      }
      for (const int64_t m : {512, 2048}) {
        EXPECT_NE(plan({m, 4096, k}, kH100, source).config.family, kernel_family::warpgroup) << "m=" << m << " k=" << k;
      }
    }
  }
}

// Two rows a warp where they fill pieces of 64 blocks as well as four fill those of 32, or nearly.
TEST(plan, one_token_has_the_pieces_that_its_rows_fill) {
  const auto blocks = [](int64_t n, int64_t k) {
    return q4fuse::detail::weight_piece_blocks(plan({1, n, k}, kH100, pipeline::fused).config);
  };
  EXPECT_EQ(blocks(4096, 4096), 64);
  EXPECT_EQ(blocks(4096, 14336), 64);
  EXPECT_EQ(blocks(5120, 13824), 64);
  EXPECT_EQ(blocks(151936, 896), 32);
  EXPECT_EQ(blocks(2560, 2560), 32);
}

TEST(plan, empty_shapes_have_a_plan_too) {
  for (const known_device& device : kDevices) {
    for (const gemm_shape& shape : {gemm_shape{0, 64, 64}, {5, 0, 64}, {5, 64, 0}, {0, 0, 0}}) {
      for (const gemm_plan& choice : every_plan(shape, device.info)) {
        EXPECT_NE(std::string(choice.reason), "") << describe(shape);
      }
      for (const kernel_config& config : kKernelConfigs) {
        EXPECT_GE(q4fuse::detail::estimated_time(config, shape, device.info, pipeline::fused, math_mode::exact), 0.0)
            << to_string(config) << " " << describe(shape);
      }
    }
  }
}

// What a stream-K or sliced-K kernel is launched with: CTAs for all rows, sums of all row tiles of a round, within the
// limit; where groups of warps take row tiles in turn, rounds of whole turns, or all of them.
TEST(plan, kernels_that_work_in_rounds_cover_all_rows_within_shared_memory) {
  for (const kernel_config& config : kKernelConfigs) {
    if (!q4fuse::detail::works_in_rounds(config)) continue;
    const bool sliced = config.family == kernel_family::sliced_k;
    for (const known_device& device : kDevices) {
      for (const gemm_shape& shape : many_shapes()) {
        if (!can_run(config, shape, device.info)) continue;
        const auto grid = q4fuse::detail::make_rounds_grid(config, shape, device.info);
        EXPECT_GE(grid.row_clusters * grid.cluster_tiles * config.tile_n, shape.n) << describe(shape);
        EXPECT_LT(grid.row_clusters * (grid.cluster_tiles - 1) * config.tile_n, shape.n > 0 ? shape.n : 1)
            << describe(shape);
        EXPECT_GE(grid.round_tiles, 1) << describe(shape);
        EXPECT_LE(grid.round_tiles, grid.cluster_tiles) << describe(shape);
        EXPECT_LE(grid.shared_bytes, device.info.shared_memory_per_block) << describe(shape);
        const int groups = sliced ? q4fuse::detail::row_tile_groups(config.warps(), shape.k / 32) : 1;
        EXPECT_TRUE(grid.round_tiles % groups == 0 || grid.round_tiles == grid.cluster_tiles) << describe(shape);
      }
    }
  }
}

// A warp holds the activations of one piece of k.
TEST(plan, sliced_k_kernels_run_as_many_pieces_as_warps) {
  for (const kernel_config& config : kKernelConfigs) {
    if (config.family != kernel_family::sliced_k) continue;
    EXPECT_TRUE(can_run(config, {1, 1, 256 * config.warps()}, kH100)) << to_string(config);
    EXPECT_FALSE(can_run(config, {1, 1, 256 * config.warps() + 32}, kH100)) << to_string(config);
  }
}

TEST(plan, nothing_runs_below_the_required_architecture) {
  for (const kernel_config& config : kKernelConfigs) {
    const device_info older{80, required_arch(config) - 1, 227 * kKib, true};
    EXPECT_FALSE(can_run(config, {1, 1, 32}, older)) << to_string(config);
  }
}

// Whole rows are copied where all are aligned and there is a tile of them; else another kernel of the family stands in.
TEST(plan, kernels_that_copy_whole_rows_have_a_stand_in) {
  using q4fuse::detail::copies_rows;
  using q4fuse::detail::launched_for;
  int found = 0;
  for (const kernel_config& config : kKernelConfigs) {
    if (!copies_rows(config)) {
      EXPECT_EQ(launched_for(config, {3, 5, 96}, false), config) << to_string(config);
      continue;
    }
    ++found;
    EXPECT_EQ(launched_for(config, {3, 16, 512}, true), config) << to_string(config);
    const kernel_config stand_in = launched_for(config, {3, 16, 512}, false);
    EXPECT_FALSE(copies_rows(stand_in)) << to_string(stand_in);
    EXPECT_EQ(stand_in.family, config.family) << to_string(stand_in);
    EXPECT_EQ(stand_in.tile_m, config.tile_m) << to_string(stand_in);
    EXPECT_EQ(launched_for(config, {3, 15, 512}, true), stand_in) << to_string(config);
    EXPECT_EQ(launched_for(config, {3, 16, 480}, true), stand_in) << to_string(config);
  }
  EXPECT_GT(found, 0);
}

// The two are the same number, but plain sm_90 code cannot hold the instruction.
TEST(plan, wgmma_runs_on_code_for_sm_90a_alone) {
  for (const kernel_config& config : kKernelConfigs) {
    const bool needs_wgmma = config.instruction == dot_instruction::wgmma_m64k16_f16 ||
                             config.instruction == dot_instruction::wgmma_m64k32_s8;
    EXPECT_EQ(needs_wgmma, config.family == kernel_family::warpgroup) << to_string(config);
    // Its tiles replace those of halves on mma.sync and square ones, stream-K small ones, and tensor cores dp4a from
    // five tokens on.
    const bool replaced =
        config.instruction == dot_instruction::dp4a
            ? config.tile_m > 4
            : config.family == kernel_family::tile && (config.instruction == dot_instruction::mma_m16n8k16_f16 ||
                                                       config.tile_n == 64 || config.tile_n == config.tile_m);
    EXPECT_EQ(can_run(config, {1, 1, 32}, {132, 90, 227 * kKib, true}), !replaced) << to_string(config);
    EXPECT_EQ(can_run(config, {1, 1, 32}, {132, 90, 227 * kKib, false}), !needs_wgmma) << to_string(config);
  }
}

TEST(plan, wgmma_takes_the_large_shapes) {
  const device_info device{132, 90, 227 * kKib, true};
  for (const int64_t m : {1024, 4096}) {
    for (const gemm_shape& shape : {gemm_shape{m, 4096, 4096}, {m, 4096, 14336}}) {
      for (const math_mode math : kMathModes) {
        for (const pipeline source : {pipeline::fused, pipeline::separate}) {
          const gemm_plan chosen = plan(shape, device, source, math);
          EXPECT_EQ(chosen.config.family, kernel_family::warpgroup) << to_string(chosen);
        }
      }
    }
  }
}

TEST(plan, can_run_ends_exactly_at_the_limit_of_shared_memory) {
  for (const kernel_config& config : kKernelConfigs) {
    const gemm_shape shape{5, 100, 1024};
    const int64_t bytes = shared_memory_bytes(config, shape);
    const bool wgmma = config.family == kernel_family::warpgroup;
    EXPECT_TRUE(can_run(config, shape, {132, 90, bytes, wgmma})) << to_string(config);
    EXPECT_FALSE(can_run(config, shape, {132, 90, bytes - 1, wgmma})) << to_string(config);
  }
}

TEST(plan, shared_memory_never_shrinks_with_the_shape) {
  for (const kernel_config& config : kKernelConfigs) {
    for (int64_t m = 1; m < 2 * config.tile_m; ++m) {
      EXPECT_LE(shared_memory_bytes(config, {m, 64, 512}), shared_memory_bytes(config, {m + 1, 64, 512}))
          << to_string(config);
    }
    for (int64_t blocks = 1; blocks < 64; ++blocks) {
      EXPECT_LE(shared_memory_bytes(config, {3, 64, 32 * blocks}),
                shared_memory_bytes(config, {3, 64, 32 * blocks + 32}))
          << to_string(config);
    }
  }
}

}  // namespace
}  // namespace q4fuse_test
