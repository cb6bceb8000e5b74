#include "reference/oracle.hpp"

#include <cmath>
#include <cstring>

namespace q4fuse_reference {
namespace {

constexpr int64_t kBlock = 32;
constexpr int64_t kQ4Bytes = 18;
constexpr int64_t kQ8Bytes = 36;
constexpr uint16_t kHalfNan = 0x7E00;

uint16_t load_half(const uint8_t* bytes) { return static_cast<uint16_t>(bytes[0] | bytes[1] << 8); }

void store_half(uint8_t* bytes, uint16_t half) {
  bytes[0] = static_cast<uint8_t>(half & 0xFF);
  bytes[1] = static_cast<uint8_t>(half >> 8);
}

void quantize_block(const uint16_t* x, uint8_t* block) {
  float values[kBlock];
  float amax = 0.0f;
  bool finite = true;
  for (int i = 0; i < kBlock; ++i) {
    values[i] = static_cast<float>(half_to_double(x[i]));
    finite = finite && std::isfinite(values[i]);
    amax = std::fmax(amax, std::fabs(values[i]));
  }
  std::memset(block, 0, kQ8Bytes);
  if (!finite) {
    store_half(block, kHalfNan);
    store_half(block + 2, kHalfNan);
    return;
  }
  const float d = amax / 127.0f;
  const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
  int sum = 0;
  for (int i = 0; i < kBlock; ++i) {
    const int q = static_cast<int>(std::round(values[i] * inverse));  // halfway cases away from zero
    block[4 + i] = static_cast<uint8_t>(static_cast<int8_t>(q));
    sum += q;
  }
  store_half(block, double_to_half(d));
  store_half(block + 2, double_to_half(d * static_cast<float>(sum)));
}

/// The error of rounding to half.
double rounding_error(double value) { return value == 0.0 ? 0.0 : std::fmax(std::fabs(value) * 0x1p-11, 0x1p-25); }

/// Sums products of FP16 factors; activation(i) gives x, x_error(x) how far off the factor of the product is.
template <class Activation, class Error>
expected sum_of_products(const uint8_t* w_row, int64_t k, const Activation& activation, const Error& x_error) {
  double value = 0.0;
  double rounding = 0.0;
  double magnitude = 0.0;
  for (int64_t i = 0; i < k; ++i) {
    const uint8_t* block = w_row + i / kBlock * kQ4Bytes;
    const int64_t j = i % kBlock;
    const int nibble = j < 16 ? block[2 + j] & 0x0F : block[2 + j - 16] >> 4;
    const double w = half_to_double(load_half(block)) * (nibble - 8);
    const double x = activation(i);
    const double w_off = rounding_error(w);
    const double x_off = x_error(x);
    value += w * x;
    rounding += std::fabs(w) * x_off + std::fabs(x) * w_off + w_off * x_off;
    magnitude += (std::fabs(w) + w_off) * (std::fabs(x) + x_off);
  }
  const double gamma = 1.25 * static_cast<double>(k) * 0x1p-23;
  return {value, rounding + gamma / (1.0 - gamma) * magnitude};
}

}  // namespace

double half_to_double(uint16_t bits) {
  const int exponent = bits >> 10 & 0x1F;
  const int mantissa = bits & 0x3FF;
  const double sign = bits & 0x8000 ? -1.0 : 1.0;
  if (exponent == 31) return mantissa != 0 ? std::nan("") : sign * HUGE_VAL;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

uint16_t double_to_half(double value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return sign | kHalfNan;
  const double magnitude = std::fabs(value);
  if (magnitude >= 65520.0) return sign | 0x7C00;  // halfway to the first magnitude past 65504
  // One unit in the last place: 2^-24 for subnormals, 2^-10 of the binade above. nearbyint rounds ties to even, and a
  // carry into the next binade is the right encoding by itself.
  const int exponent = magnitude < 0x1p-14 ? -14 : std::ilogb(magnitude);
  const int units = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
  return static_cast<uint16_t>(sign | (((exponent + 14) << 10) + units));
}

std::vector<uint8_t> quantize_q8_1(const uint16_t* x, int64_t m, int64_t k, int64_t ldx) {
  std::vector<uint8_t> blocks(static_cast<size_t>(m * (k / kBlock) * kQ8Bytes));
  uint8_t* block = blocks.data();
  for (int64_t row = 0; row < m; ++row) {
    for (int64_t i = 0; i < k; i += kBlock, block += kQ8Bytes) quantize_block(x + row * ldx + i, block);
  }
  return blocks;
}

expected dot(const uint8_t* w_row, const uint8_t* x_row, int64_t k) {
  double value = 0.0;
  double magnitude = 0.0;
  for (int64_t block = 0; block < k / kBlock; ++block, w_row += kQ4Bytes, x_row += kQ8Bytes) {
    const uint8_t* nibbles = w_row + 2;
    const uint8_t* q8 = x_row + 4;
    int32_t sum = 0;
    for (int j = 0; j < 16; ++j) {
      sum += ((nibbles[j] & 0x0F) - 8) * static_cast<int8_t>(q8[j]);
      sum += ((nibbles[j] >> 4) - 8) * static_cast<int8_t>(q8[j + 16]);
    }
    // Exact: 11 + 11 + 16 bits.
    const double term = half_to_double(load_half(w_row)) * half_to_double(load_half(x_row)) * sum;
    value += term;
    magnitude += std::fabs(term);
  }
  return {value, static_cast<double>(k / kBlock + 2) * 0x1p-24 * magnitude};
}

expected dot_of_halves(const uint8_t* w_row, const uint8_t* x_row, int64_t k) {
  const auto activation = [&](int64_t i) {
    const uint8_t* block = x_row + i / kBlock * kQ8Bytes;
    return half_to_double(load_half(block)) * static_cast<int8_t>(block[4 + i % kBlock]);
  };
  return sum_of_products(w_row, k, activation, rounding_error);
}

expected dot_with_halves(const uint8_t* w_row, const uint16_t* x_row, int64_t k) {
  return sum_of_products(
      w_row, k, [&](int64_t i) { return half_to_double(x_row[i]); }, [](double) { return 0.0; });
}

std::vector<expected> gemm(const uint8_t* w, const uint8_t* x_q8_1, int64_t m, int64_t n, int64_t k) {
  std::vector<expected> y;
  y.reserve(static_cast<size_t>(m * n));
  for (int64_t row = 0; row < m; ++row) {
    for (int64_t column = 0; column < n; ++column) {
      y.push_back(dot(w + column * (k / kBlock) * kQ4Bytes, x_q8_1 + row * (k / kBlock) * kQ8Bytes, k));
    }
  }
  return y;
}

}  // namespace q4fuse_reference
