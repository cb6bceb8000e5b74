#include "support/generate.hpp"

#include <cmath>

namespace q4fuse_test {
namespace {

constexpr int kBlock = q4fuse::kBlockSize;

/// SplitMix64 (Steele, Lea, Flood 2014): a generator of our own, because the distributions of the standard library
/// differ between its implementations.
class random_stream {
 public:
  explicit random_stream(uint64_t seed) : state_(seed) {}

  uint64_t bits() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  float uniform() { return static_cast<float>(bits() >> 40) * 0x1p-23f - 1.0f; }
  float normal();

 private:
  uint64_t state_;
};

/// 2^16 standard normal samples (Box-Muller); drawing from a table makes 10^8 normal weights a matter of seconds.
const std::vector<float>& normal_table() {
  static const std::vector<float> table = [] {
    random_stream random(0);
    std::vector<float> values(1 << 16);
    for (float& value : values) {
      const double radius = std::sqrt(-2.0 * std::log((static_cast<double>(random.bits() >> 11) + 0.5) * 0x1p-53));
      value =
          static_cast<float>(radius * std::cos(6.283185307179586 * 0x1p-53 * static_cast<double>(random.bits() >> 11)));
    }
    return values;
  }();
  return table;
}

float random_stream::normal() { return normal_table()[bits() >> 48]; }

/// One block of corner cases; `pattern` picks the case, `index` varies it.
void fill_edge_activations(__half* x, int64_t pattern, int64_t index, random_stream& random) {
  constexpr uint16_t kMax = 0x7BFF;       // 65504
  constexpr uint16_t kSmallest = 0x0001;  // 2^-24
  constexpr uint16_t kSmallestNormal = 0x0400;
  constexpr uint16_t kSign = 0x8000;
  const auto alternating = [](uint16_t bits, int i) { return static_cast<uint16_t>(i % 2 ? bits | kSign : bits); };
  for (int i = 0; i < kBlock; ++i) {
    switch (pattern) {
      case 0: x[i] = half_from_bits(0); break;
      case 1: x[i] = half_from_bits(kSign); break;
      case 2: x[i] = half_from_bits(kMax); break;
      case 3: x[i] = half_from_bits(alternating(kMax, i)); break;
      case 4: x[i] = __float2half_rn(2048.0f); break;
      // With a largest magnitude of 127 the scale is 1, and every other element lies halfway between two integers.
      case 5:
        x[i] = __float2half_rn(i == 0 ? 127.0f : (i % 2 ? 1.0f : -1.0f) * (static_cast<float>(3 * i) + 0.5f));
        break;
      case 6: x[i] = half_from_bits(alternating(kSmallest, i)); break;
      case 7: x[i] = half_from_bits(alternating(static_cast<uint16_t>(random.bits() % kSmallestNormal), i)); break;
      case 8: x[i] = half_from_bits(i == index % kBlock ? 0x3C00 : 0); break;
      case 9: x[i] = __float2half_rn(i % 2 ? -0.5f : 0.5f); break;
      case 10: x[i] = half_from_bits(alternating(kSmallestNormal, i)); break;
      default: x[i] = half_from_bits(alternating(static_cast<uint16_t>(random.bits() % (kMax + 1)), i)); break;
    }
  }
}
constexpr int64_t kActivationPatterns = 12;

q4fuse::block_q4_0 make_edge_weights(int64_t pattern, random_stream& random) {
  q4fuse::block_q4_0 block;
  constexpr float kScales[] = {1.0f, 1.0f, -1.0f, 0.0f, -0.0f, 0x1p-24f, -0x1.ff8p-15f, 8.0f, 0.5f, -0.125f};
  block.d = __float2half_rn(kScales[pattern]);
  for (int j = 0; j < kBlock / 2; ++j) {
    switch (pattern) {
      case 0: block.qs[j] = 0x00; break;
      case 1: block.qs[j] = 0xFF; break;
      case 2: block.qs[j] = j % 2 ? 0xF0 : 0x0F; break;
      // No two bytes alike: a permutation of the block shows.
      case 8: block.qs[j] = static_cast<uint8_t>(j | (15 - j) << 4); break;
      default: block.qs[j] = static_cast<uint8_t>(random.bits() >> 56); break;
    }
  }
  return block;
}
constexpr int64_t kWeightPatterns = 10;

}  // namespace

std::vector<__half> make_activations(activation_kind kind, int64_t m, int64_t k, uint64_t seed) {
  random_stream random(seed);
  std::vector<__half> x(static_cast<size_t>(m * k));
  const int64_t outlier_phase = static_cast<int64_t>(random.bits() >> 58);
  for (int64_t row = 0; row < m; ++row) {
    __half* values = x.data() + row * k;
    for (int64_t i = 0; i < k; ++i) {
      switch (kind) {
        case activation_kind::uniform: values[i] = __float2half_rn(random.uniform()); break;
        case activation_kind::normal: values[i] = __float2half_rn(random.normal()); break;
        case activation_kind::outliers:
          values[i] = __float2half_rn(random.normal() * (i % 64 == outlier_phase ? 64.0f : 1.0f));
          break;
        case activation_kind::edges:
          if (i % kBlock == 0) {
            fill_edge_activations(values + i, (row + i / kBlock) % kActivationPatterns, row, random);
          }
          break;
      }
    }
  }
  return x;
}

std::vector<q4fuse::block_q4_0> make_weights(weight_kind kind, int64_t n, int64_t k, uint64_t seed) {
  random_stream random(seed);
  const int64_t blocks_per_row = k / kBlock;
  std::vector<q4fuse::block_q4_0> w(static_cast<size_t>(n * blocks_per_row));
  for (int64_t i = 0; i < n * blocks_per_row; ++i) {
    if (kind == weight_kind::edges) {
      w[i] = make_edge_weights((i / blocks_per_row + i % blocks_per_row) % kWeightPatterns, random);
      continue;
    }
    float values[kBlock];
    for (float& value : values) value = kind == weight_kind::uniform ? random.uniform() : random.normal();
    if (kind == weight_kind::outliers) {
      const uint64_t draw = random.bits();
      if (draw % 8 == 0) values[draw >> 59] *= 32.0f;
    }
    q4fuse::quantize_q4_0(values, &w[i], kBlock);
  }
  return w;
}

}  // namespace q4fuse_test
