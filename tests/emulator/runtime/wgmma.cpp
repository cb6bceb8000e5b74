#include "emulator/runtime/wgmma.hpp"

#include <cuda_fp16.h>

#include <cstring>

namespace q4fuse_emulator {
namespace {

struct halves {
  using element = float;
  using sum = float;
  static constexpr int kBytes = 2;
  static element at(const uint8_t* bytes) {
    __half_raw raw;
    std::memcpy(&raw.x, bytes, sizeof(raw.x));
    return __half2float(__half(raw));
  }
};

/// Unsigned sums: the instruction wraps around.
struct signed_bytes {
  using element = int32_t;
  using sum = uint32_t;
  static constexpr int kBytes = 1;
  static element at(const uint8_t* bytes) { return static_cast<int8_t>(*bytes); }
};

template <class Elements>
void multiply_as(const wgmma_product& product, const uint8_t* a, const uint8_t* b, uint32_t* d) {
  using element = typename Elements::element;
  using sum = typename Elements::sum;
  static_assert(sizeof(sum) == sizeof(*d), "accumulators are moved as words");
  constexpr int kDepth = wgmma_product::kRowBytes / Elements::kBytes;
  const auto columns = static_cast<size_t>(product.columns);
  const auto at = [](const uint8_t* rows, size_t row, int k) {
    return Elements::at(rows + row * wgmma_product::kRowBytes + k * Elements::kBytes);
  };
  std::vector<element> turned(kDepth * columns);  // B with a row for each k
  for (size_t j = 0; j < columns; ++j) {
    for (int k = 0; k < kDepth; ++k) turned[static_cast<size_t>(k) * columns + j] = at(b, j, k);
  }
  std::vector<sum> sums(columns);
  for (size_t row = 0; row < wgmma_product::kRows; ++row) {
    if (product.accumulates) {
      std::memcpy(sums.data(), d + row * columns, columns * sizeof(sum));
    } else {
      sums.assign(columns, sum{0});
    }
    for (int k = 0; k < kDepth; ++k) {
      const element factor = at(a, row, k);
      const element* const others = &turned[static_cast<size_t>(k) * columns];
      for (size_t j = 0; j < columns; ++j) sums[j] += static_cast<sum>(factor * others[j]);
    }
    std::memcpy(d + row * columns, sums.data(), columns * sizeof(sum));
  }
}

}  // namespace

void multiply(const wgmma_product& product, const uint8_t* a, const uint8_t* b, uint32_t* d) {
  switch (product.type) {
    case wgmma_product::elements::halves: return multiply_as<halves>(product, a, b, d);
    case wgmma_product::elements::signed_bytes: return multiply_as<signed_bytes>(product, a, b, d);
  }
}

}  // namespace q4fuse_emulator
