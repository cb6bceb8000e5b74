// The inputs of all other tests: repeatable, and of the kind that their name says.

#include "support/generate.hpp"
#include "support/matcher.hpp"

#include <algorithm>
#include <set>

namespace q4fuse_test {
namespace {

constexpr activation_kind kActivationKinds[] = {activation_kind::uniform, activation_kind::normal,
                                                activation_kind::outliers, activation_kind::edges};
constexpr weight_kind kWeightKinds[] = {weight_kind::uniform, weight_kind::normal, weight_kind::outliers,
                                        weight_kind::edges};

std::vector<double> values_of(const std::vector<__half>& x) {
  std::vector<double> values;
  for (const __half value : x) values.push_back(__half2float(value));
  return values;
}

double root_mean_square(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

TEST(generate, same_arguments_give_same_bytes_and_another_seed_others) {
  for (const auto kind : kActivationKinds) {
    const auto a = make_activations(kind, 24, 96, 7);
    const auto b = make_activations(kind, 24, 96, 7);
    const auto c = make_activations(kind, 24, 96, 8);
    ASSERT_EQ(a.size(), 24u * 96u);
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * 2), 0);
    EXPECT_NE(std::memcmp(a.data(), c.data(), a.size() * 2), 0);
  }
  for (const auto kind : kWeightKinds) {
    const auto a = make_weights(kind, 24, 96, 7);
    const auto b = make_weights(kind, 24, 96, 7);
    const auto c = make_weights(kind, 24, 96, 8);
    ASSERT_EQ(a.size(), 24u * 3u);
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * 18), 0);
    EXPECT_NE(std::memcmp(a.data(), c.data(), a.size() * 18), 0);
  }
}

TEST(generate, everything_is_finite) {
  for (const auto kind : kActivationKinds) {
    for (const double value : values_of(make_activations(kind, 64, 256, 3))) ASSERT_TRUE(std::isfinite(value));
  }
  for (const auto kind : kWeightKinds) {
    for (const auto& block : make_weights(kind, 64, 256, 3)) ASSERT_TRUE(std::isfinite(__half2float(block.d)));
  }
}

TEST(generate, distributions_are_what_their_names_say) {
  const auto uniform = values_of(make_activations(activation_kind::uniform, 64, 1024, 5));
  EXPECT_GE(*std::min_element(uniform.begin(), uniform.end()), -1.0);
  EXPECT_LE(*std::max_element(uniform.begin(), uniform.end()), 1.0);
  EXPECT_NEAR(root_mean_square(uniform), 0.57735, 0.01);

  const auto normal = values_of(make_activations(activation_kind::normal, 64, 1024, 5));
  EXPECT_NEAR(root_mean_square(normal), 1.0, 0.02);
  EXPECT_GT(*std::max_element(normal.begin(), normal.end()), 3.5);

  const auto outliers = values_of(make_activations(activation_kind::outliers, 64, 1024, 5));
  std::set<size_t> features;
  for (size_t i = 0; i < outliers.size(); ++i) {
    if (std::fabs(outliers[i]) > 10.0) features.insert(i % 1024);
  }
  EXPECT_EQ(features.size(), 16u) << "one feature in 64, the same in every row";
}

TEST(generate, edges_hold_the_corner_cases) {
  std::set<uint16_t> seen;
  for (const __half value : make_activations(activation_kind::edges, 12, 32, 1)) seen.insert(half_bits(value));
  for (const int bits : {0x0000, 0x8000, 0x7BFF, 0xFBFF, 0x6800, 0x0001, 0x8001, 0x0400}) {
    EXPECT_EQ(seen.count(static_cast<uint16_t>(bits)), 1u) << bits;
  }
  std::set<uint16_t> scales;
  for (const auto& block : make_weights(weight_kind::edges, 10, 32, 1)) scales.insert(half_bits(block.d));
  for (const int bits : {0x0000, 0x8000, 0x0001, 0xBC00}) {
    EXPECT_EQ(scales.count(static_cast<uint16_t>(bits)), 1u) << bits;
  }
}

TEST(generate, weights_use_every_nibble) {
  std::set<int> nibbles;
  for (const auto& block : make_weights(weight_kind::uniform, 16, 256, 2)) {
    for (const uint8_t byte : block.qs) nibbles.insert({byte & 15, byte >> 4});
  }
  EXPECT_EQ(nibbles.size(), 16u);
}

}  // namespace
}  // namespace q4fuse_test
