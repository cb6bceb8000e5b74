// Both pipelines on a matrix and activations of a real model: n = 192, k = 576, which is no multiple of 256.

#include "gguf/load_problem.hpp"
#include "gguf/run_pipelines.hpp"
#include "support/gpu_test.hpp"

#include <gtest/gtest.h>

namespace q4fuse_test {
namespace {

using namespace q4fuse_tools;

const std::string kFolder = Q4FUSE_TEST_DATA "/smollm2";

class SmolLm2 : public gpu_test_with<int64_t> {};

TEST_P(SmolLm2, PipelinesAgreeAndLieWithinTheBound) {
  gguf_file file(kFolder + "/attn_k.gguf");
  const gguf_tensor& tensor = file.find_q4_0("blk.0.attn_k.weight");
  activation_source source;
  source.path = kFolder;
  const problem problem{
      {GetParam(), tensor.n(), tensor.k()}, load_weights(file, tensor), load_activations(source, tensor, GetParam())};
  const pipeline_results results = run_pipelines(problem);
  const verdict verdict = verify(problem, results);
  EXPECT_TRUE(verdict.ok()) << verdict.failure << ", " << to_string(results.plan);
  EXPECT_EQ(verdict.checked, GetParam() * tensor.n());
}

INSTANTIATE_TEST_SUITE_P(Tokens, SmolLm2, ::testing::Values(1, 2, 8, 9, 16, 17, 32, 33),
                         ::testing::PrintToStringParamName());

}  // namespace
}  // namespace q4fuse_test
