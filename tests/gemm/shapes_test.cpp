// Every kernel, forced, over shapes at the edges of its tiles: fused equals separate bit for bit, and both are right.

#include "gemm/shapes.hpp"
#include "gemm/gemm_harness.hpp"

namespace q4fuse_test {
namespace {

class shapes : public forced_kernel {};

TEST_P(shapes, at_the_edges_of_tiles_pieces_and_stages) {
  q4fuse::device_info device;
  ASSERT_TRUE(query(&device).ok());
  int ran = 0;
  uint64_t seed = 1;
  for (const gemm_shape& shape : shapes_for(config(), device, kEmulated)) {
    ran += expect_pipelines_agree({shape, config(), math()},
                                  make_inputs(shape, activation_kind::normal, weight_kind::normal, ++seed));
  }
  EXPECT_EQ(ran > 0, runs_here());
}

TEST_P(shapes, any_number_of_tokens) {
  // Pieces for every warp along k, and one block more, or less where each holds one alone.
  const bool one_each = config().family == q4fuse::kernel_family::sliced_k;
  const int64_t k = 32 * (8 * std::max(config().warps_k, 4) + (one_each ? -1 : 1));
  int ran = 0;
  for (const int64_t m : kTokenCounts) {
    if (m == 0 || (kEmulated && m > 17)) continue;
    const gemm_shape shape{m, 77, k};
    ran += expect_pipelines_agree({shape, config(), math()},
                                  make_inputs(shape, activation_kind::outliers, weight_kind::outliers));
  }
  EXPECT_EQ(ran > 0, runs_here());
}

TEST_P(shapes, shards_as_output_features) {
  for (const int64_t n : kShards) {
    if (kEmulated && n != 5472) continue;
    const gemm_shape shape{3, kEmulated ? 101 : n, 64};
    EXPECT_EQ(expect_pipelines_agree({shape, config(), math()}, make_inputs(shape)), runs_here());
  }
}

// Where the activations of all k do not fit shared memory, or the registers, the forced kernel must say so.
TEST_P(shapes, shards_as_input_features) {
  q4fuse::device_info device;
  ASSERT_TRUE(query(&device).ok());
  int ran = 0;
  for (const int64_t k : kShards) {
    if (kEmulated && k != 5472) continue;
    for (const int64_t m : {int64_t{1}, int64_t{config().tile_m} + 1}) {
      const gemm_shape shape{kEmulated ? std::min<int64_t>(m, 2) : m, 17, k};
      const bool agreed = expect_pipelines_agree({shape, config(), math()}, make_inputs(shape));
      EXPECT_EQ(agreed, can_run(config(), shape, device));
      ran += agreed;
    }
  }
  // Of a sliced-K kernel the registers hold too little k for any of these.
  EXPECT_EQ(ran > 0, runs_here() && config().family != q4fuse::kernel_family::sliced_k);
}

Q4FUSE_FOR_EVERY_KERNEL(shapes);

}  // namespace
}  // namespace q4fuse_test
