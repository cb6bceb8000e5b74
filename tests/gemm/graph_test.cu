// Calls inside CUDA graphs: captured once, replayed with new activations and poisoned scratch.

#include "gemm/gemm_harness.hpp"
#include "gemm/graph_capture.hpp"

#include <functional>

namespace q4fuse_test {
namespace {

class graph : public forced_kernel {
 protected:
  /// Captures `call` and replays it on three sets of activations. Before each replay everything that the call writes is
  /// back to NaN: a result that survived from the last replay, or a scratch read before it was written, shows.
  template <class Call>
  static void expect_replays(const gemm_case& c, size_t nodes, const Call& call) {
    const auto [m, n, k] = c.shape;
    gemm_inputs inputs = make_inputs(c.shape);
    guarded_buffer<q4fuse::block_q4_0> w(inputs.w);
    guarded_buffer<__half> x(inputs.x);
    guarded_buffer<uint8_t> scratch(static_cast<size_t>(m * k / 32 * 36));
    guarded_buffer<float> y(static_cast<size_t>(m * n));
    const captured_graph captured(
        [&](cudaStream_t stream) { call(w.data(), x.data(), scratch.data(), scratch.size(), y.data(), stream); });
    EXPECT_EQ(captured.node_count(), nodes) << c.describe();
    expect_untouched(y.download(), "y after capture alone");
    for (uint64_t replay = 0; replay < 3; ++replay) {
      inputs.x = make_activations(activation_kind::outliers, m, k, 100 + replay);
      x.upload(inputs.x);
      scratch.poison();
      y.poison();
      captured.replay();
      EXPECT_TRUE(x.guards_intact() && scratch.guards_intact() && y.guards_intact()) << c.describe();
      EXPECT_TRUE(equal_bits(y.download(), run_fused(c, inputs).y, n,
                             "replay " + std::to_string(replay) + ", " + c.describe()));
    }
  }

  static void expect_ok(const q4fuse::status& status) { EXPECT_TRUE(status.ok()) << to_string(status); }
};

TEST_P(graph, each_entry_point_is_captured_and_replayed) {
  if (!runs_here()) return expect_refused();
  for (const bool dependent : {false, true}) {
    gemm_case c{{config().tile_m + 1, config().tile_n + 5, 576}, config(), math()};
    c.programmatic_dependent_launch = dependent;
    expect_replays(c, 1, [&](auto* w, auto* x, uint8_t*, size_t, float* y, cudaStream_t stream) {
      expect_ok(gemm_fused(math(), w, x, y, c.shape, c.options(), stream));
    });
    for (const pipeline source : {pipeline::fused, pipeline::separate}) {
      if (source == pipeline::separate && !has_separate_pipeline(math())) continue;
      expect_replays(c, source == pipeline::fused ? 1 : 2,
                     [&](auto* w, auto* x, uint8_t* scratch, size_t bytes, float* y, cudaStream_t stream) {
                       expect_ok(gemm_automatic(math(), w, x, y, c.shape, scratch, bytes, c.options(source), stream));
                     });
    }
    if (!has_separate_pipeline(math())) continue;
    expect_replays(c, 2, [&](auto* w, auto* x, uint8_t* scratch, size_t, float* y, cudaStream_t stream) {
      auto* const blocks = reinterpret_cast<q4fuse::block_q8_1*>(scratch);
      q4fuse::quantize_options quantize;
      quantize.programmatic_dependent_launch = dependent;
      expect_ok(q4fuse::quantize_fp16_to_q8_1(x, blocks, c.shape.m, c.shape.k, quantize, stream));
      expect_ok(gemm_separate(math(), w, blocks, y, c.shape, c.options(), stream));
    });
  }
}

Q4FUSE_FOR_EVERY_KERNEL(graph);

class graph_of : public gpu_test {};

TEST_F(graph_of, an_empty_sum_zeroes_y_again) {
  guarded_buffer<float> y(4 * 40);
  q4fuse::gemm_options options;
  options.ldy = 40;
  const captured_graph captured([&](cudaStream_t stream) {
    const auto status = q4fuse::gemm_q4_0_fp16_fused(nullptr, nullptr, y.data(), {4, 33, 0}, options, stream);
    EXPECT_TRUE(status.ok()) << to_string(status);
  });
  for (int replay = 0; replay < 2; ++replay) {
    y.poison();
    captured.replay();
    auto wanted = with_stride(std::vector<float>(4 * 33, 0.0f), 4, 33, 40);
    wanted.resize(4 * 40, bits_to_float(0xFFFFFFFF));
    EXPECT_TRUE(equal_bits(y.download(), wanted, 40, "k = 0 in a graph"));
  }
}

}  // namespace
}  // namespace q4fuse_test
