// Dimensions past the limits of grids and 32-bit indices. Judged by a sample: the elements at both ends and around
// 2^31.

#include "gemm/gemm_harness.hpp"

namespace q4fuse_test {
namespace {

class many_tokens : public forced_kernel {};

// gridDim.y and .z end at 65535.
TEST_P(many_tokens, past_65535) {
  const gemm_shape shape{70000, 33, 64};
  EXPECT_EQ(expect_pipelines_agree({shape, config(), math()}, make_inputs(shape, activation_kind::edges)), runs_here());
}

Q4FUSE_FOR_EVERY_KERNEL(many_tokens);

/// Fills a buffer with copies of `period`, one after another, by doubling on the device.
template <class T>
void fill_periodic(guarded_buffer<T>& buffer, const std::vector<T>& period) {
  size_t filled = std::min(buffer.size(), period.size());
  check(cudaMemcpy(buffer.data(), period.data(), filled * sizeof(T), cudaMemcpyHostToDevice));
  while (filled < buffer.size()) {
    const size_t count = std::min(filled, buffer.size() - filled);
    check(cudaMemcpy(buffer.data() + filled, buffer.data(), count * sizeof(T), cudaMemcpyDeviceToDevice));
    filled += count;
  }
}

class past_2_to_31 : public gpu_test {
 protected:
  /// Rows repeat with this period; a prime, so that no tile or power of two hides a wrong row.
  static constexpr int64_t kPeriod = 61;

  static std::vector<int64_t> rows_of_interest(int64_t count, int64_t length) {
    std::vector<int64_t> rows = sample(count, 24);
    const int64_t crossing = (int64_t{1} << 31) / length;  // the row that holds element 2^31
    for (int64_t row = crossing - 1; row <= crossing + 1; ++row) {
      if (row > 0 && row < count) rows.push_back(row);
    }
    return rows;
  }

  static void expect_right(const gemm_shape& shape) {
    const auto [m, n, k] = shape;
    const auto blocks_per_row = static_cast<size_t>(k / 32);
    const size_t bytes = static_cast<size_t>(n) * blocks_per_row * 18 +
                         static_cast<size_t>(m) * blocks_per_row * (64 + 36) +
                         static_cast<size_t>(m) * static_cast<size_t>(n) * 4;
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    check(cudaMemGetInfo(&free_bytes, &total_bytes));
    if (free_bytes < bytes + (size_t{1} << 28)) GTEST_SKIP() << "needs " << (bytes >> 20) << " MiB of GPU memory";

    const gemm_inputs period = make_inputs({kPeriod, kPeriod, k});
    guarded_buffer<q4fuse::block_q4_0> w(static_cast<size_t>(n) * blocks_per_row);
    guarded_buffer<__half> x(static_cast<size_t>(m * k));
    guarded_buffer<q4fuse::block_q8_1> blocks(static_cast<size_t>(m) * blocks_per_row);
    guarded_buffer<float> y(static_cast<size_t>(m * n));
    fill_periodic(w, period.w);
    fill_periodic(x, period.x);
    const auto period_blocks =
        q4fuse_reference::quantize_q8_1(reinterpret_cast<const uint16_t*>(period.x.data()), kPeriod, k, k);
    const auto wanted = q4fuse_reference::gemm(reinterpret_cast<const uint8_t*>(period.w.data()), period_blocks.data(),
                                               kPeriod, kPeriod, k);

    const std::vector<int64_t> rows = rows_of_interest(m, std::max(n, k));
    const auto row_length = static_cast<size_t>(n);
    const auto download_rows = [&] {
      EXPECT_EQ(synchronize(), cudaSuccess);
      EXPECT_TRUE(w.guards_intact() && x.guards_intact() && blocks.guards_intact() && y.guards_intact());
      std::vector<float> values(rows.size() * row_length);
      for (size_t i = 0; i < rows.size(); ++i) {
        check(cudaMemcpy(&values[i * row_length], y.data() + static_cast<size_t>(rows[i]) * row_length, row_length * 4,
                         cudaMemcpyDeviceToHost));
      }
      return values;
    };
    q4fuse::device_info device;
    ASSERT_TRUE(query(&device).ok());
    q4fuse::gemm_options options;  // one plan, since another may sum in another order
    options.plan = q4fuse::plan(shape, device, pipeline::fused);
    const auto fused_status = q4fuse::gemm_q4_0_fp16_fused(w.data(), x.data(), y.data(), shape, options, nullptr);
    ASSERT_TRUE(fused_status.ok()) << to_string(fused_status);
    const auto fused = download_rows();
    y.poison();
    ASSERT_TRUE(q4fuse::quantize_fp16_to_q8_1(x.data(), blocks.data(), m, k, {}, nullptr).ok());
    const auto separate_status = q4fuse::gemm_q4_0_q8_1(w.data(), blocks.data(), y.data(), shape, options, nullptr);
    ASSERT_TRUE(separate_status.ok()) << to_string(separate_status);
    EXPECT_TRUE(equal_bits(download_rows(), fused, n, "sampled rows, fused against separate"));

    mismatch_report report("m=" + std::to_string(m) + " n=" + std::to_string(n) + " k=" + std::to_string(k));
    for (size_t i = 0; i < rows.size(); ++i) {
      for (int64_t column = 0; column < n; ++column) {
        check_element(fused[i * row_length + static_cast<size_t>(column)],
                      wanted[static_cast<size_t>(rows[i] % kPeriod * kPeriod + column % kPeriod)], rows[i], column,
                      report);
      }
    }
    EXPECT_TRUE(report.result());
  }
};

TEST_F(past_2_to_31, elements_of_y) { expect_right({70001, 32768, 32}); }
TEST_F(past_2_to_31, elements_and_bytes_of_w_few_tokens) { expect_right({3, 262149, 16384}); }
TEST_F(past_2_to_31, elements_and_bytes_of_w_many_tokens) { expect_right({65, 262149, 16384}); }
TEST_F(past_2_to_31, elements_of_x) { expect_right({140001, 5, 16384}); }

}  // namespace
}  // namespace q4fuse_test
