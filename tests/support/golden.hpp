#pragma once

// The golden data of tests/data/golden, made by another implementation (see its README).

#include <cstdint>
#include <fstream>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

namespace q4fuse_test {

struct golden_case {
  const char* name;
  int64_t m, n, k;
};

/// For GoogleTest, which would print the bytes of the struct, pointer included.
inline void PrintTo(const golden_case& golden, std::ostream* stream) { *stream << golden.name; }

inline constexpr golden_case kGoldenCases[] = {
    {"m1_n40_k96", 1, 40, 96},
    {"m9_n24_k544", 9, 24, 544},
    {"m33_n64_k512", 33, 64, 512},
};

/// One whole file as an array of T; the caller states how many elements it must hold.
template <class T>
std::vector<T> read_golden(const golden_case& golden, const std::string& file, int64_t count) {
  const std::string path = std::string(Q4FUSE_TEST_DATA "/golden/") + golden.name + "/" + file;
  std::ifstream stream(path, std::ios::binary);
  std::vector<T> values(static_cast<size_t>(count));
  const auto bytes = static_cast<std::streamsize>(values.size() * sizeof(T));
  if (!stream.read(reinterpret_cast<char*>(values.data()), bytes) ||
      stream.peek() != std::ifstream::traits_type::eof()) {
    throw std::runtime_error(path + ": expected " + std::to_string(bytes) + " bytes");
  }
  return values;
}

}  // namespace q4fuse_test
