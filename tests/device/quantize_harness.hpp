#pragma once

// Runs the standalone quantizer on exactly sized, guarded buffers and compares every byte with the oracle.

#include <q4fuse/q4fuse.cuh>

#include "reference/oracle.hpp"
#include "support/backend.hpp"
#include "support/generate.hpp"
#include "support/gpu_test.hpp"
#include "support/matcher.hpp"

#include <string>
#include <vector>

namespace q4fuse_test {

/// A matrix [m x k] in rows of ldx halves, and where its blocks go.
struct quantize_case {
  int64_t m;
  int64_t k;
  int64_t ldx = 0;  ///< 0: packed, here as in quantize_options
  int64_t ldy = 0;
  size_t x_misalignment = 0;
  size_t y_misalignment = 0;
  bool programmatic_dependent_launch = false;

  int64_t x_stride() const { return ldx == 0 ? k : ldx; }
  int64_t y_stride() const { return ldy == 0 ? k : ldy; }
  /// The last row ends with its last element: a caller owns no more than that.
  int64_t x_count() const { return m == 0 ? 0 : (m - 1) * x_stride() + k; }
  int64_t y_blocks() const { return m == 0 ? 0 : ((m - 1) * y_stride() + k) / 32; }

  std::string describe() const {
    return "m=" + std::to_string(m) + " k=" + std::to_string(k) + " ldx=" + std::to_string(ldx) +
           " ldy=" + std::to_string(ldy) + " x+" + std::to_string(x_misalignment) + " y+" +
           std::to_string(y_misalignment);
  }
};

/// Spreads packed rows to a stride; the gaps are NaN, so that a kernel that reads them shows it.
inline std::vector<__half> with_stride(const std::vector<__half>& packed, int64_t m, int64_t k, int64_t ld) {
  std::vector<__half> x(static_cast<size_t>(m == 0 ? 0 : (m - 1) * ld + k), half_from_bits(0xFFFF));
  for (int64_t row = 0; row < m; ++row) std::copy_n(packed.begin() + row * k, k, x.begin() + row * ld);
  return x;
}

/// The blocks of y, gaps between rows included; anything wrong besides them is a failure here.
inline std::vector<q4fuse::block_q8_1> run_quantize(const quantize_case& c, const std::vector<__half>& x_strided) {
  guarded_buffer<__half> x(x_strided, c.x_misalignment);
  guarded_buffer<q4fuse::block_q8_1> y(static_cast<size_t>(c.y_blocks()), c.y_misalignment);
  q4fuse::quantize_options options;
  options.ldx = c.ldx;
  options.ldy = c.ldy;
  options.programmatic_dependent_launch = c.programmatic_dependent_launch;
  const q4fuse::status status = q4fuse::quantize_fp16_to_q8_1(x.data(), y.data(), c.m, c.k, options, nullptr);
  EXPECT_TRUE(status.ok()) << to_string(status) << " at " << c.describe();
  EXPECT_EQ(synchronize(), cudaSuccess) << c.describe();
  EXPECT_TRUE(x.guards_intact() && y.guards_intact()) << "guard zone written at " << c.describe();
  const std::vector<__half> after = x.download();
  EXPECT_TRUE(after.empty() || std::memcmp(after.data(), x_strided.data(), after.size() * 2) == 0)
      << "x written at " << c.describe();
  return y.download();
}

/// Every byte of y: the oracle's blocks in the rows, 0xFF in the gaps between them. `x` is packed and finite.
inline void expect_quantized_as_oracle(const quantize_case& c, const std::vector<__half>& x) {
  const auto actual = run_quantize(c, with_stride(x, c.m, c.k, c.x_stride()));
  const auto packed = q4fuse_reference::quantize_q8_1(reinterpret_cast<const uint16_t*>(x.data()), c.m, c.k, c.k);
  std::vector<uint8_t> wanted(actual.size() * 36, 0xFF);
  const int64_t row_bytes = c.k / 32 * 36;
  for (int64_t row = 0; row < c.m; ++row) {
    std::copy_n(packed.begin() + row * row_bytes, row_bytes, wanted.begin() + row * (c.y_stride() / 32 * 36));
  }
  EXPECT_TRUE(equal_blocks(reinterpret_cast<const uint8_t*>(actual.data()), wanted.data(),
                           static_cast<int64_t>(actual.size()), c.y_stride() / 32, c.describe()));
}

}  // namespace q4fuse_test
