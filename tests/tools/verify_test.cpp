// The tool's judgement: right results pass, and each kind of wrong one is seen and named.

#include "gguf/run_pipelines.hpp"
#include "reference/oracle.hpp"
#include "support/generate.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

namespace q4fuse_test {
namespace {

using namespace q4fuse_tools;

constexpr q4fuse::gemm_shape kShape{3, 5, 96};

class Verify : public ::testing::Test {
 protected:
  void SetUp() override {
    problem_ = {kShape, make_weights(weight_kind::normal, kShape.n, kShape.k, 1),
                make_activations(activation_kind::outliers, kShape.m, kShape.k, 2)};
    const std::vector<uint8_t> x_q8_1 = q4fuse_reference::quantize_q8_1(
        reinterpret_cast<const uint16_t*>(problem_.x.data()), kShape.m, kShape.k, kShape.k);
    expected_ = q4fuse_reference::gemm(reinterpret_cast<const uint8_t*>(problem_.w.data()), x_q8_1.data(), kShape.m,
                                       kShape.n, kShape.k);
    results_.x_q8_1.resize(x_q8_1.size() / sizeof(q4fuse::block_q8_1));
    std::memcpy(static_cast<void*>(results_.x_q8_1.data()), x_q8_1.data(), x_q8_1.size());
    for (const auto& element : expected_) results_.y_fused.push_back(static_cast<float>(element.value));
    results_.y_separate = results_.y_fused;
  }

  void set_both(size_t index, float value) { results_.y_fused[index] = results_.y_separate[index] = value; }

  problem problem_;
  pipeline_results results_;
  std::vector<q4fuse_reference::expected> expected_;
};

TEST_F(Verify, AcceptsRightResults) {
  const verdict verdict = verify(problem_, results_);
  EXPECT_TRUE(verdict.ok()) << verdict.failure;
  EXPECT_EQ(verdict.checked, kShape.m * kShape.n);
  EXPECT_GT(verdict.worst_ratio, 0.0);
  EXPECT_LT(verdict.worst_ratio, 1.0);
}

TEST_F(Verify, SeesPipelinesThatDifferInOneBit) {
  results_.y_fused[7] = std::nextafter(results_.y_fused[7], 1e9f);
  const verdict verdict = verify(problem_, results_);
  EXPECT_EQ(verdict.failure.find("separate "), 0u) << verdict.failure;
  EXPECT_NE(verdict.failure.find("differ at (1, 2) of m=3 n=5 k=96"), std::string::npos) << verdict.failure;
}

TEST_F(Verify, SeesAnElementOutOfBound) {
  set_both(14, static_cast<float>(expected_[14].value + 4.0 * expected_[14].bound));
  const verdict verdict = verify(problem_, results_);
  EXPECT_NE(verdict.failure.find("at (2, 4) of m=3 n=5 k=96"), std::string::npos) << verdict.failure;
}

TEST_F(Verify, SeesANaN) {
  set_both(0, std::numeric_limits<float>::quiet_NaN());
  EXPECT_NE(verify(problem_, results_).failure.find("y = nan"), std::string::npos);
}

TEST_F(Verify, SeesAWrongQ8_1Byte) {
  results_.x_q8_1[4].qs[31] ^= 1;
  EXPECT_EQ(verify(problem_, results_).failure, "Q8_1 block differs from the oracle's at row 1, block 1");
}

TEST_F(Verify, SamplesLargeResultsAndAlwaysTheirCorners) {
  EXPECT_EQ(verify(problem_, results_, 6).checked, 6);
  for (const size_t corner : {size_t{0}, size_t{4}, size_t{10}, size_t{14}}) {
    const float good = results_.y_fused[corner];
    set_both(corner, 1e6f);
    EXPECT_FALSE(verify(problem_, results_, 6).ok()) << corner;
    set_both(corner, good);
  }
}

}  // namespace
}  // namespace q4fuse_test
