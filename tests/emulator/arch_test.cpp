// The stand-ins for single instructions, against definitions written down a second time.

#include "emulator/faults/fault_harness.hpp"
#include "reference/oracle.hpp"

#include <q4fuse/detail/arch/ldmatrix_sm75.cuh>
#include <q4fuse/detail/arch/mma_f16_sm75.cuh>
#include <q4fuse/detail/arch/numeric.cuh>

#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <set>

namespace q4fuse_emulator {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(arch_numeric, half_to_float_of_every_pattern) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = arch::half_to_float(half);
    const double wanted = q4fuse_reference::half_to_double(half);
    if (std::isnan(wanted)) {
      EXPECT_TRUE(std::isnan(value)) << bits;
      continue;
    }
    EXPECT_EQ(static_cast<double>(value), wanted) << bits;
    EXPECT_EQ(std::signbit(value), std::signbit(wanted)) << bits;
    EXPECT_EQ(arch::float_to_half_rn(value), half);
    const float2 both = arch::half2_to_float2(bits | 0x3C000000u);
    EXPECT_EQ(both.x, value);
    EXPECT_EQ(both.y, 1.0f);
  }
}

TEST(arch_numeric, float_to_half_rounds_to_nearest_even) {
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) {
    // Exponents around the range of halves, and significands that often end in a tie.
    uint32_t bits = (random() & 0x807FFFFFu) | (100 + random() % 50) << 23;
    if (i % 2 == 0) bits = (bits & ~0x1FFFu) | (i % 4 == 0 ? 0x1000u : 0x0FFFu + random() % 3);
    const float value = arch::bits_to_float(bits);
    EXPECT_EQ(arch::float_to_half_rn(value), q4fuse_reference::double_to_half(static_cast<double>(value))) << bits;
  }
  EXPECT_EQ(arch::float_to_half_rn(65519.996f), 0x7BFF);
  EXPECT_EQ(arch::float_to_half_rn(65520.0f), 0x7C00);
  EXPECT_EQ(arch::float_to_half_rn(-kInfinity), 0xFC00);
  EXPECT_EQ(arch::float_to_half_rn(kNan), 0x7FFF);
}

TEST(arch_numeric, one_rounding_an_operation) {
  // 1 + 2^-12 squared is 1 + 2^-11 + 2^-24: the last term survives in a fused operation only.
  const float x = 1.0f + 0x1p-12f;
  const float square = 1.0f + 0x1p-11f;
  EXPECT_EQ(arch::fma_rn(x, x, -square), 0x1p-24f);
  EXPECT_EQ(arch::add_rn(arch::mul_rn(x, x), -square), 0.0f);
  EXPECT_EQ(arch::add_rn(0x1p24f, 1.0f), 0x1p24f);
  EXPECT_EQ(arch::div_rn(1.0f, 3.0f), 0x1.555556p-2f);
  EXPECT_EQ(arch::mul_rn(FLT_MIN, 0.5f), 0x1p-127f) << "subnormals are not flushed";
  EXPECT_EQ(arch::fma_rn_subnormal(x, x, -square), 0x1p-24f);
  EXPECT_EQ(arch::fma_rn_subnormal(FLT_MIN, 0.5f, 0x1p-149f), 0x1p-127f + 0x1p-149f);
  EXPECT_EQ(arch::fma_rn_subnormal(0x1p-149f, 8.0f, -0x1p-148f), 6 * 0x1p-149f);
  EXPECT_EQ(arch::int_to_float_rn(0x1000001), 0x1p24f);
  EXPECT_EQ(arch::int_to_float_rn(0x1000003), 0x1.000004p24f);
}

TEST(arch_numeric, float_to_int_truncates_and_saturates) {
  constexpr int kMax = std::numeric_limits<int>::max();
  constexpr int kMin = std::numeric_limits<int>::min();
  EXPECT_EQ(arch::float_to_int_rz(2.9999998f), 2);
  EXPECT_EQ(arch::float_to_int_rz(-2.9999998f), -2);
  EXPECT_EQ(arch::float_to_int_rz(-0x1p31f), kMin);
  EXPECT_EQ(arch::float_to_int_rz(0x1.fffffep30f), 0x7FFFFF80);
  EXPECT_EQ(arch::float_to_int_rz(0x1p31f), kMax);
  EXPECT_EQ(arch::float_to_int_rz(kInfinity), kMax);
  EXPECT_EQ(arch::float_to_int_rz(-kInfinity), kMin);
  EXPECT_EQ(arch::float_to_int_rz(kNan), 0);
}

TEST(arch_numeric, approximate_reciprocal_is_either_neighbour) {
  std::set<int> errors;
  for (uint32_t i = 0; i < 100000; ++i) {
    const float x = arch::bits_to_float(0x3F800000u + i * 83);
    const float y = arch::rcp_approx(x);
    EXPECT_LT(std::fabs(static_cast<double>(y) - 1.0 / static_cast<double>(x)), 0x1p-24) << "1 ulp below 1";
    errors.insert(static_cast<int>(arch::float_to_bits(y)) - static_cast<int>(arch::float_to_bits(1.0f / x)));
  }
  EXPECT_EQ(errors, (std::set<int>{-1, 0, 1}));
  EXPECT_EQ(arch::rcp_approx(0.5f), 2.0f);
  EXPECT_EQ(arch::rcp_approx(-kInfinity), 0.0f);
}

TEST(arch_numeric, integer_instructions) {
  std::mt19937 random(2);
  for (int i = 0; i < 10000; ++i) {
    const uint32_t a = random(), b = random(), c = random();
    int8_t x[4], y[4];
    std::memcpy(x, &a, 4);
    std::memcpy(y, &b, 4);
    const int64_t dot = int64_t{x[0]} * y[0] + x[1] * y[1] + x[2] * y[2] + x[3] * y[3];
    EXPECT_EQ(arch::dp4a(a, b, static_cast<int>(c)), static_cast<int>(static_cast<uint32_t>(dot) + c));
    uint8_t bytes[8];
    std::memcpy(bytes, &a, 4);
    std::memcpy(bytes + 4, &b, 4);
    const uint32_t permuted = arch::byte_permute(a, b, c);
    for (int byte = 0; byte < 4; ++byte) EXPECT_EQ(permuted >> (8 * byte) & 0xFF, bytes[c >> (4 * byte) & 7]);
    EXPECT_EQ(arch::and_xor(a, b, c), (a & b) ^ c);
    EXPECT_EQ(arch::max_u16x2(a, b), std::max(a >> 16, b >> 16) << 16 | std::max(a & 0xFFFF, b & 0xFFFF));
    EXPECT_EQ(arch::min_u16x2(a, b), std::min(a >> 16, b >> 16) << 16 | std::min(a & 0xFFFF, b & 0xFFFF));
  }
}

/// Low and high half against the same operation on long doubles, whose 64 bits hold every result that is no overflow.
void expect_halves(uint32_t actual, long double low, long double high, const char* what) {
  const long double wanted[2] = {low, high};
  for (int i = 0; i < 2; ++i) {
    const auto half = static_cast<uint16_t>(actual >> (16 * i));
    const double value = q4fuse_reference::half_to_double(half);
    if (std::isnan(wanted[i])) {
      EXPECT_TRUE(std::isnan(value)) << what;
      continue;
    }
    // To odd, so that rounding to half does not see a tie where there is none.
    auto narrow = static_cast<double>(wanted[i]);
    if (static_cast<long double>(narrow) != wanted[i]) {
      if (std::fabs(static_cast<long double>(narrow)) > std::fabs(wanted[i])) narrow = std::nextafter(narrow, 0.0);
      uint64_t bits;
      std::memcpy(&bits, &narrow, sizeof(bits));
      bits |= 1;
      std::memcpy(&narrow, &bits, sizeof(bits));
    }
    EXPECT_EQ(value, q4fuse_reference::half_to_double(q4fuse_reference::double_to_half(narrow))) << what;
  }
}

long double half_value(uint32_t halves, int i) {
  return static_cast<long double>(q4fuse_reference::half_to_double(static_cast<uint16_t>(halves >> (16 * i))));
}

TEST(arch_numeric, one_rounding_a_half) {
  std::mt19937 random(4);
  for (int i = 0; i < 300000; ++i) {
    const uint32_t a = random(), c = random();
    // Every other time all exponents are close, where sums cancel and end in ties.
    const uint32_t b = i % 2 == 0 ? random() : (a & 0x7C007C00u) ^ (random() & 0x83FF83FFu);
    const long double x[2] = {half_value(a, 0), half_value(a, 1)};
    const long double y[2] = {half_value(b, 0), half_value(b, 1)};
    const long double z[2] = {half_value(c, 0), half_value(c, 1)};
    expect_halves(arch::add_rn_f16x2(a, b), x[0] + y[0], x[1] + y[1], "add");
    expect_halves(arch::mul_rn_f16x2(a, b), x[0] * y[0], x[1] * y[1], "mul");
    expect_halves(arch::fma_rn_f16x2(a, b, c), x[0] * y[0] + z[0], x[1] * y[1] + z[1], "fma");
  }
}

/// Fragments of a 16 x 32 and a 32 x 8 matrix as PTX assigns them to lanes; every lane checks its elements.
struct matrices {
  int8_t a[16][32];
  int8_t b[32][8];
  int c[kWarpSize];
};

uint32_t pack(int8_t x, int8_t y, int8_t z, int8_t w) {
  const int8_t bytes[4] = {x, y, z, w};
  uint32_t word;
  std::memcpy(&word, bytes, 4);
  return word;
}

__global__ void product_kernel(const matrices* m) {
  const int g = arch::lane_index() >> 2;
  const int t = arch::lane_index() & 3;
  uint32_t a[4];
  uint32_t b[2];
  for (int i = 0; i < 4; ++i) {
    const int8_t* row = m->a[g + (i % 2) * 8] + 4 * t + (i / 2) * 16;
    a[i] = pack(row[0], row[1], row[2], row[3]);
  }
  for (int i = 0; i < 2; ++i) {
    const int k = 4 * t + 16 * i;
    b[i] = pack(m->b[k][g], m->b[k + 1][g], m->b[k + 2][g], m->b[k + 3][g]);
  }
  int d[4];
  arch::mma_m16n8k32_s8(d, a, b, m->c[arch::lane_index()]);
  for (int i = 0; i < 4; ++i) {
    const int row = g + (i / 2) * 8;
    const int column = 2 * t + i % 2;
    uint32_t wanted = static_cast<uint32_t>(m->c[arch::lane_index()]);
    for (int k = 0; k < 32; ++k) wanted += static_cast<uint32_t>(m->a[row][k] * m->b[k][column]);
    EXPECT_EQ(static_cast<uint32_t>(d[i]), wanted) << row << ", " << column;
  }
}

/// The same of a 16 x 16 and a 16 x 8 matrix of halves, added to c.
struct half_matrices {
  uint16_t a[16][16];
  uint16_t b[16][8];
  float c[16][8];
};

__global__ void half_product_kernel(const half_matrices* m) {
  const int g = arch::lane_index() >> 2;
  const int t = arch::lane_index() & 3;
  uint32_t a[4];
  uint32_t b[2];
  for (int i = 0; i < 4; ++i) {
    const uint16_t* row = m->a[g + (i % 2) * 8] + 2 * t + (i / 2) * 8;
    a[i] = row[0] | uint32_t{row[1]} << 16;
  }
  for (int i = 0; i < 2; ++i) {
    const int k = 2 * t + 8 * i;
    b[i] = m->b[k][g] | uint32_t{m->b[k + 1][g]} << 16;
  }
  float d[4];
  for (int i = 0; i < 4; ++i) d[i] = m->c[g + (i / 2) * 8][2 * t + i % 2];
  arch::mma_m16n8k16_f16(d, a, b);
  for (int i = 0; i < 4; ++i) {
    const int row = g + (i / 2) * 8;
    const int column = 2 * t + i % 2;
    auto wanted = static_cast<double>(m->c[row][column]);
    for (int k = 0; k < 16; ++k) {
      wanted += q4fuse_reference::half_to_double(m->a[row][k]) * q4fuse_reference::half_to_double(m->b[k][column]);
    }
    if (std::isfinite(wanted)) {
      EXPECT_EQ(d[i], static_cast<float>(wanted)) << row << ", " << column;
    } else {
      EXPECT_FALSE(std::isfinite(d[i])) << row << ", " << column;
    }
  }
}

class arch_warp : public emulator_faults {};
Q4FUSE_FOR_EVERY_SCHEDULE(arch_warp);

TEST_P(arch_warp, matrix_product) {
  std::mt19937 random(3);
  matrices m;
  for (auto& row : m.a) {
    for (int8_t& value : row) value = static_cast<int8_t>(random());
  }
  for (auto& row : m.b) {
    for (int8_t& value : row) value = static_cast<int8_t>(random());
  }
  for (int& value : m.c) value = static_cast<int>(random());
  expect_clean(run(product_kernel, {64}, &m));
}

TEST_P(arch_warp, matrix_product_of_halves) {
  std::mt19937 random(5);
  half_matrices m;
  // Integers of a few bits, so that every order of summation gives the same double; one row of corner cases.
  const auto small = [&] { return q4fuse_reference::double_to_half(static_cast<double>(random() % 4001) - 2000.0); };
  for (auto& row : m.a) {
    for (uint16_t& value : row) value = small();
  }
  for (auto& row : m.b) {
    for (uint16_t& value : row) value = small();
  }
  for (auto& row : m.c) {
    for (float& value : row) value = static_cast<float>(random() % 0xFFFFFF);
  }
  for (uint16_t& value : m.a[3]) value = 0x0001;
  m.a[5][11] = 0x7C00;
  m.a[6][2] = 0x7E00;
  expect_clean(run(half_product_kernel, {64}, &m));
}

__global__ void matrix_load_kernel() {
  uint8_t* const shared = arch::shared_memory();
  const int lane = arch::lane_index();
  for (int i = lane; i < 32 * 4; i += 32)
    arch::store_shared<uint32_t>(shared + 4 * i, 1000u + static_cast<uint32_t>(i));
  arch::sync_warp();
  // Rows in reverse order: row r of matrix i lies at place 31 - (8i + r).
  uint32_t d[4];
  arch::load_matrix_x4(d, shared + 16 * (31 - lane));
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(d[i], 1000u + static_cast<uint32_t>(4 * (31 - (8 * i + lane / 4)) + lane % 4));
  }
}

TEST_P(arch_warp, matrix_load) { expect_clean(run(matrix_load_kernel, {32, 32 * 16})); }

__global__ void misaligned_matrix_load_kernel() {
  uint8_t* const shared = arch::shared_memory();
  for (int i = arch::lane_index(); i < 33 * 4; i += 32) arch::store_shared<uint32_t>(shared + 4 * i, 0u);
  arch::sync_warp();
  uint32_t d[4];
  planted(), arch::load_matrix_x4(d, shared + 16 * arch::lane_index() + 8);
}

TEST_P(arch_warp, matrix_load_asks_for_16_bytes_of_alignment) {
  const auto found = run(misaligned_matrix_load_kernel, {32, 33 * 16});
  expect_fault(found, fault_kind::misaligned_access, 16 * (found->thread / 4) + 8);
}

__global__ void shuffle_kernel() {
  const int lane = arch::lane_index();
  EXPECT_EQ(arch::warp_index(), arch::thread_index() / 32);
  for (const int mask : {1, 2, 4, 8, 16, 31}) {
    EXPECT_EQ(arch::shuffle_xor(100 * lane, mask), 100 * (lane ^ mask));
    EXPECT_EQ(arch::shuffle_xor(0.5f * static_cast<float>(lane), mask), 0.5f * static_cast<float>(lane ^ mask));
    EXPECT_EQ(arch::shuffle_xor(0x80000000u + static_cast<uint32_t>(lane), mask),
              0x80000000u + static_cast<uint32_t>(lane ^ mask));
  }
}

TEST_P(arch_warp, shuffles_and_indices) { expect_clean(run(shuffle_kernel, {96, 0, 2})); }

TEST(emulated_launch, refuses_what_the_driver_would) {
  const auto launch = [](int64_t ctas, int threads, int64_t shared_bytes) {
    return q4fuse::detail::launch<>(shuffle_kernel, {ctas, threads, shared_bytes, false, nullptr}).cuda_error();
  };
  const int64_t launches = device.totals().launches;
  EXPECT_EQ(launch(0, 32, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(int64_t{1} << 31, 32, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(1, 1056, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(1, 32, 227 * 1024 + 1), cudaErrorInvalidValue);
  EXPECT_EQ(device.totals().launches, launches);
  EXPECT_EQ(launch(1, 32, 227 * 1024), cudaSuccess);
  EXPECT_EQ(device.totals().launches, launches + 1);
}

}  // namespace
}  // namespace q4fuse_emulator
