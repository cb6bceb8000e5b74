#pragma once

// Element-by-element comparison of matrices. A failure names shape, coordinates, both values and the bound, for the
// first few offenders, and counts the rest: one global norm would hide a bad row.

#include "reference/oracle.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

namespace q4fuse_test {

template <class T>
bool same_bits(const T& a, const T& b) {
  static_assert(std::is_trivially_copyable_v<T>, "compared as bytes");
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

inline float bits_to_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

/// Collects the offenders of one comparison.
class mismatch_report {
 public:
  explicit mismatch_report(std::string what) : what_(std::move(what)) {}

  void add(int64_t row, int64_t column, const std::string& text) {
    if (++count_ <= kShown) {
      lines_ += "\n  (" + std::to_string(row) + ", " + std::to_string(column) + "): " + text;
    }
  }
  ::testing::AssertionResult result() const {
    if (count_ == 0) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << what_ << ": " << count_ << " elements differ" << lines_
                                         << (count_ > kShown ? "\n  ..." : "");
  }

 private:
  static constexpr int64_t kShown = 8;
  std::string what_;
  std::string lines_;
  int64_t count_ = 0;
};

inline std::string describe(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  char text[64];
  std::snprintf(text, sizeof(text), "%.9g [0x%08X]", static_cast<double>(value), bits);
  return text;
}

/// Every bit of two equally long arrays, NaN payloads and untouched gaps included. Rows are `ld` elements apart.
inline ::testing::AssertionResult equal_bits(const std::vector<float>& actual, const std::vector<float>& wanted,
                                             int64_t ld, const std::string& what) {
  if (actual.size() != wanted.size()) return ::testing::AssertionFailure() << what << ": sizes differ";
  mismatch_report report(what);
  for (size_t i = 0; i < actual.size(); ++i) {
    if (!same_bits(actual[i], wanted[i])) {
      const auto index = static_cast<int64_t>(i);
      report.add(index / ld, index % ld, describe(actual[i]) + ", wanted " + describe(wanted[i]));
    }
  }
  return report.result();
}

/// One element against the oracle: within the derived bound, or non-finite where the oracle is.
inline void check_element(float actual, const q4fuse_reference::expected& wanted, int64_t row, int64_t column,
                          mismatch_report& report) {
  const bool good = std::isfinite(wanted.value) ? std::fabs(static_cast<double>(actual) - wanted.value) <= wanted.bound
                                                : !std::isfinite(actual);
  if (good) return;
  char text[128];
  std::snprintf(text, sizeof(text), ", wanted %.17g within %.3g", wanted.value, wanted.bound);
  report.add(row, column, describe(actual) + text);
}

/// Q8_1 blocks [rows x blocks_per_row], byte for byte.
inline ::testing::AssertionResult equal_blocks(const uint8_t* actual, const uint8_t* wanted, int64_t blocks,
                                               int64_t blocks_per_row, const std::string& what) {
  constexpr int64_t kBytes = 36;
  mismatch_report report(what + " (row, block)");
  for (int64_t i = 0; i < blocks; ++i) {
    if (std::memcmp(actual + i * kBytes, wanted + i * kBytes, kBytes) == 0) continue;
    std::string text;
    for (int64_t byte = 0; byte < kBytes; ++byte) {
      const int a = actual[i * kBytes + byte];
      const int b = wanted[i * kBytes + byte];
      if (a == b) continue;
      char part[48];
      std::snprintf(part, sizeof(part), "%sbyte %d is %02X, wanted %02X", text.empty() ? "" : "; ",
                    static_cast<int>(byte), static_cast<unsigned>(a), static_cast<unsigned>(b));
      if (text.size() < 160) text += part;
    }
    report.add(i / blocks_per_row, i % blocks_per_row, text);
  }
  return report.result();
}

}  // namespace q4fuse_test
