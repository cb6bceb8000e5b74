// The program as its user meets it, on a machine without a GPU: exit status and words.

#include "tools/gguf_tool.hpp"
#include "tools/gguf_bytes.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <utility>

namespace q4fuse_test {
namespace {

constexpr int kBadInput = 2;

/// No device is visible, so that the same is true on every machine.
tool_outcome run_tool(const std::string& arguments) { return run_gguf_tool("CUDA_VISIBLE_DEVICES=-1", arguments); }

/// A file that lives as long as the test.
class temporary_file {
 public:
  temporary_file(const std::string& name, const std::string& bytes) : path_(::testing::TempDir() + "q4fuse_" + name) {
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~temporary_file() { (void)std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

const std::string kFixture = Q4FUSE_TEST_DATA "/smollm2/attn_k.gguf";
const std::string kActivations = Q4FUSE_TEST_DATA "/smollm2/blk.0.attn_k.weight.f16";

TEST(GgufTool, ListsARealFile) {
  const tool_outcome result = run_tool("list " + kFixture);
  EXPECT_EQ(result.exit_status, 0);
  EXPECT_TRUE(result.says("blk.0.attn_k.weight      192      576        62208\n")) << result.output;
  EXPECT_TRUE(result.says("GGUF v3, 1 tensors: 1 Q4_0\n")) << result.output;
}

TEST(GgufTool, CountsTheTensorsThatAreNotQ4_0) {
  const temporary_file file("mixed.gguf", make_gguf({{"w"}, {"norm", {8}, kF32, 160}, {"bias", {8}, kF32, 192}}, 224));
  const tool_outcome result = run_tool("list " + file.path());
  EXPECT_EQ(result.exit_status, 0);
  EXPECT_TRUE(result.says("3 tensors: 1 Q4_0, 2 F32\n")) << result.output;
}

TEST(GgufTool, RefusesABadFileInOneLine) {
  const std::string good = make_gguf({{}}, 144);
  const temporary_file file("cut.gguf", good.substr(0, good.size() - 1));
  for (const std::string command : {"list ", "run --all "}) {
    const tool_outcome result = run_tool(command + file.path());
    EXPECT_EQ(result.exit_status, kBadInput);
    EXPECT_EQ(result.lines(), 1) << result.output;
    EXPECT_TRUE(result.says("q4fuse_gguf: " + file.path() + ": tensor 'w': 144 bytes")) << result.output;
  }
}

TEST(GgufTool, NamesTheTensorThatItCannotRun) {
  const temporary_file file("norm.gguf", make_gguf({{"norm", {8}, kF32, 0}}, 32));
  const tool_outcome missing = run_tool("run " + file.path() + " --tensor blk.7");
  EXPECT_EQ(missing.exit_status, kBadInput);
  EXPECT_TRUE(missing.says("no tensor 'blk.7'\n")) << missing.output;
  const tool_outcome wrong_type = run_tool("run " + file.path() + " --tensor norm");
  EXPECT_EQ(wrong_type.exit_status, kBadInput);
  EXPECT_TRUE(wrong_type.says("tensor 'norm' is F32, not Q4_0\n")) << wrong_type.output;
  const tool_outcome none = run_tool("run " + file.path() + " --all");
  EXPECT_EQ(none.exit_status, kBadInput);
  EXPECT_TRUE(none.says("has no Q4_0 tensor\n")) << none.output;
}

TEST(GgufTool, SaysThatRunNeedsADevice) {
  const tool_outcome result = run_tool("run " + kFixture + " --all --activations " + kActivations);
  EXPECT_EQ(result.exit_status, kBadInput);
  EXPECT_EQ(result.output, "q4fuse_gguf: no CUDA device: run needs one\n");
}

TEST(GgufTool, RefusesBadArguments) {
  const std::string run = "run " + kFixture;
  const std::pair<std::string, const char*> cases[] = {
      {"", "A subcommand is required"},
      {"list", "file is required"},
      {"list no_such_file.gguf", "no_such_file.gguf: no such file"},
      {run, "Exactly 1 option from [--tensor,--all] is required"},
      {run + " --all --tensor x", "Exactly 1 option from [--tensor,--all] is required"},
      {run + " --all --m 0", "--m"},
      {run + " --all --m 1,two", "--m"},
      {run + " --all --kind loud", "--kind"},
      {run + " --all --activations no_such_folder", "no_such_folder"},
      {run + " --all --kind normal --activations " + kActivations, "--activations excludes --kind"},
  };
  for (const auto& [arguments, message] : cases) {
    const tool_outcome result = run_tool(arguments);
    EXPECT_EQ(result.exit_status, kBadInput) << arguments;
    EXPECT_TRUE(result.says(message)) << arguments << " says: " << result.output;
  }
}

TEST(GgufTool, HelpsAndSucceeds) {
  const tool_outcome result = run_tool("--help");
  EXPECT_EQ(result.exit_status, 0);
  EXPECT_TRUE(result.says("list") && result.says("run")) << result.output;
}

}  // namespace
}  // namespace q4fuse_test
