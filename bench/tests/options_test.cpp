#include "options.hpp"

#include <gtest/gtest.h>

namespace q4fuse_bench {
namespace {

std::string complaint(const std::vector<std::string>& arguments) {
  try {
    (void)parse_options(arguments);
  } catch (const usage_error& error) {
    return error.what();
  }
  return "";
}

TEST(options, defaults) {
  const bench_options options = parse_options({});
  EXPECT_EQ(options.what.m, default_tokens());
  EXPECT_EQ(options.what.shapes, main_shapes());
  EXPECT_TRUE(options.what.pipelines.empty());
  EXPECT_FALSE(options.what.sweep);
  EXPECT_DOUBLE_EQ(options.series_seconds, 0.15);
}

TEST(options, all_flags) {
  const bench_options options = parse_options({"--m=1,3", "--shapes", "64x32", "--pipelines=fused",
                                               "--modes=stream,chain", "--l2=warm", "--plan=sweep", "--seconds=0.5"});
  EXPECT_EQ(options.what.m, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(options.what.shapes, (std::vector<weight_shape>{{64, 32}}));
  EXPECT_EQ(options.what.pipelines, (std::vector{pipeline_kind::fused}));
  EXPECT_EQ(options.what.modes, (std::vector{launch_mode::stream, launch_mode::chain}));
  EXPECT_EQ(options.what.l2, (std::vector{l2_state::warm}));
  EXPECT_TRUE(options.what.sweep);
  EXPECT_DOUBLE_EQ(options.series_seconds, 0.5);
}

TEST(options, a_model_takes_the_place_of_the_shapes) {
  const std::string folder = Q4FUSE_TEST_DATA "/smollm2";
  const std::string file = folder + "/attn_k.gguf";
  EXPECT_FALSE(parse_options({}).model.has_value());
  const bench_options options = parse_options({"--gguf=" + file, "--tensor=w", "--activations", folder});
  ASSERT_TRUE(options.model.has_value());
  EXPECT_EQ(options.model->gguf, file);
  EXPECT_EQ(options.model->tensor, "w");
  EXPECT_EQ(options.model->activations, folder);
  EXPECT_NE(complaint({"--gguf=" + file, "--tensor=w", "--shapes=S1"}).find("--shapes"), std::string::npos);
  EXPECT_NE(complaint({"--gguf=" + file}).find("--tensor"), std::string::npos);
  EXPECT_NE(complaint({"--tensor=w"}).find("--gguf"), std::string::npos);
  EXPECT_NE(complaint({"--activations=" + folder}).find("--gguf"), std::string::npos);
  EXPECT_NE(complaint({"--gguf=no_such_file", "--tensor=w"}).find("no_such_file"), std::string::npos);
}

TEST(options, a_sweep_is_quick_unless_told_otherwise) {
  EXPECT_DOUBLE_EQ(parse_options({"--plan=sweep"}).series_seconds, 0.02);
}

TEST(options, complaints_are_one_line_and_name_the_flag) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"--m=0", "--m"},         {"--m=", "--m"},          {"--shapes=7x7", "--shapes"}, {"--pipelines=best", "best"},
      {"--modes=fast", "fast"}, {"--l2=hot", "hot"},      {"--plan=guess", "guess"},    {"--seconds=0", "--seconds"},
      {"--seconds=x", "x"},     {"--unknown", "unknown"}, {"stray", "stray"},           {"--shapes", "--shapes"},
  };
  for (const auto& [argument, expected] : cases) {
    const std::string message = complaint({argument});
    EXPECT_NE(message.find(expected), std::string::npos) << argument << ": " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << argument;
  }
}

TEST(options, help_lists_every_flag) {
  for (const char* flag : {"--m", "--shapes", "--pipelines", "--modes", "--l2", "--plan", "--seconds", "--gguf",
                           "--tensor", "--activations"}) {
    EXPECT_NE(options_help().find(flag), std::string::npos) << flag;
  }
}

TEST(output_format, the_last_flag_wins_and_the_environment_comes_after_it) {
  EXPECT_TRUE(console_output({}, nullptr));
  EXPECT_FALSE(console_output({}, "json"));
  EXPECT_FALSE(console_output({"--benchmark_format=json"}, nullptr));
  EXPECT_TRUE(console_output({"--benchmark_format=json", "--benchmark_format=console"}, "csv"));
  EXPECT_THROW(console_output({"--benchmark_format=xml"}, nullptr), usage_error);
  EXPECT_THROW(console_output({"--benchmark_out_format=xml"}, nullptr), usage_error);
}

TEST(output_format, names_are_listed_on_demand) {
  EXPECT_TRUE(lists_names({"--benchmark_list_tests"}));
  EXPECT_TRUE(lists_names({"--m=1", "--benchmark_list_tests=true"}));
  EXPECT_FALSE(lists_names({"--benchmark_list_tests=false"}));
}

TEST(output_format, a_json_file_is_written_when_one_is_named) {
  EXPECT_FALSE(writes_json_file({"--benchmark_format=json"}));
  EXPECT_TRUE(writes_json_file({"--benchmark_out=a.json"}));
  EXPECT_FALSE(writes_json_file({"--benchmark_out=a.csv", "--benchmark_out_format=csv"}));
}

}  // namespace
}  // namespace q4fuse_bench
