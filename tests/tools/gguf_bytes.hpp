#pragma once

// GGUF files made in memory, field by field, so that a test can put anything where a number belongs.

#include "gguf/gguf_file.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace q4fuse_test {

/// Little-endian bytes, appended.
class gguf_bytes {
 public:
  gguf_bytes& u32(uint32_t value) { return number(value, 4); }
  gguf_bytes& u64(uint64_t value) { return number(value, 8); }
  gguf_bytes& raw(std::string_view bytes) {
    data_ += bytes;
    return *this;
  }
  gguf_bytes& text(std::string_view value) { return u64(value.size()).raw(value); }
  /// Zeros up to a multiple of `alignment`.
  gguf_bytes& pad(size_t alignment);

  const std::string& data() const { return data_; }

 private:
  gguf_bytes& number(uint64_t value, int bytes);

  std::string data_;
};

inline constexpr uint32_t kF32 = 0;
inline constexpr uint32_t kQ4_0 = 2;
inline constexpr uint32_t kQ4_K = 12;

/// What a tensor's entry says; nothing keeps it consistent.
struct tensor_entry {
  std::string name = "w";
  std::vector<uint64_t> dims = {64, 4};
  uint32_t type = kQ4_0;
  uint64_t offset = 0;
};

/// A whole file: header, metadata as given (already `metadata_count` entries), entries, padding, `data_bytes` of data.
std::string make_gguf(const std::vector<tensor_entry>& tensors, size_t data_bytes, const gguf_bytes& metadata = {},
                      uint64_t metadata_count = 0, uint32_t version = 3, size_t alignment = 32);

q4fuse_tools::gguf_file parse(const std::string& bytes);

std::string read_whole_file(const std::string& path);

/// The message that parsing these bytes ends with; empty when they are a good file.
std::string parse_error(const std::string& bytes);

}  // namespace q4fuse_test
