// The program from a file to a verdict and its times.

#include "support/gpu_test.hpp"
#include "tools/gguf_tool.hpp"

#include <gtest/gtest.h>

#include <regex>

namespace q4fuse_test {
namespace {

const std::string kRun = "run " Q4FUSE_TEST_DATA "/smollm2/attn_k.gguf --all ";

class GgufToolOnDevice : public gpu_test {};

TEST_F(GgufToolOnDevice, ChecksAndTimesRealActivations) {
  const tool_outcome result = run_gguf_tool("", kRun + "--m 1,33 --activations " Q4FUSE_TEST_DATA "/smollm2");
  EXPECT_EQ(result.exit_status, 0) << result.output;
  EXPECT_TRUE(result.says("2 of 2 runs: pipelines equal bit for bit")) << result.output;
  const std::regex timed_line("192 +576 +33 +[0-9.]*[1-9][0-9.]* +[0-9.]*[1-9][0-9.]* ");
  EXPECT_TRUE(std::regex_search(result.output, timed_line)) << result.output;
}

TEST_F(GgufToolOnDevice, ChecksGeneratedActivations) {
  for (const std::string kind : {"uniform", "normal", "outliers", "edges"}) {
    const tool_outcome result = run_gguf_tool("", kRun + "--m 1,8,64 --kind " + kind);
    EXPECT_EQ(result.exit_status, 0) << result.output;
    EXPECT_TRUE(result.says("3 of 3 runs: pipelines equal bit for bit")) << result.output;
  }
}

}  // namespace
}  // namespace q4fuse_test
